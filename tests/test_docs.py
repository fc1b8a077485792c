"""Documentation is tested: what the code knows is documented, what is documented exists, and examples run."""

from __future__ import annotations

import ast
import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, get_args

import pytest
import typer
from documents import FENCE, PACKAGES, ROOT, every_page, fences, parts, read, rows
from pydantic import BaseModel

from homeostat.console.main import app
from homeostat.durations import parse_duration
from homeostat.hooks import HOOK_NAMES, load_hooks
from homeostat.project import Project, load_project
from homeostat.store.schema import Base

HEREDOC = re.compile(r"<<'(\w+)'\n(.*?)^\1$", re.MULTILINE | re.DOTALL)
OPTION = re.compile(r"(?<![\w-])--[a-z][\w-]*")
FOREIGN = {"mkdir", "cp", "chmod", "docker", "mlflow", "prefect", ".", ".venv/bin/python"}
SHELL_OPTIONS = {"--help", "--install-completion", "--show-completion"}


# The project file


def sections(model: type[BaseModel], path: str = "") -> Iterator[tuple[str, type[BaseModel]]]:
    """Every table of the project file with its model; what is nested in a mapping goes by the mapping's name."""
    for name, field in model.model_fields.items():
        for part in (field.annotation, *get_args(field.annotation)):
            if isinstance(part, type) and issubclass(part, BaseModel):
                yield f"{path}{name}", part
                yield from sections(part, f"{path}{name}.")


def document_of_keys() -> dict[str, dict[str, list[str]]]:
    """The rows of each section of docs/reference/project-file.md, by the section's name."""
    text = read("docs/reference/project-file.md")
    found = {**parts(text, 2), **parts(text, 3)}
    return {title.strip("[]"): rows(re.split(r"^### ", body, flags=re.MULTILINE)[0]) for title, body in found.items()}


def is_section(field: Any) -> bool:
    return isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)


SECTIONS = dict(sections(Project))


@pytest.mark.parametrize("section", SECTIONS)
def test_every_key_of_the_project_file_is_documented_and_no_other(section: str) -> None:
    keys = {name for name, field in SECTIONS[section].model_fields.items() if not is_section(field)}
    assert set(document_of_keys()[section]) == keys


@pytest.mark.parametrize("section", SECTIONS)
def test_the_documented_defaults_are_the_defaults(section: str) -> None:
    for name, cells in document_of_keys()[section].items():
        field = SECTIONS[section].model_fields[name]
        if field.is_required():
            assert cells[2] == "must be set", name
        elif field.default is None:
            assert "`" not in cells[2].replace("`loop.tick`", "").replace(*DEFAULT_METRICS), name
        else:
            told = json.loads(cells[2].strip("`"))
            assert (parse_duration(told) if isinstance(field.default, timedelta) else told) == field.default, name


DEFAULT_METRICS = ("`auc`, `accuracy` or `rmse`", "")


def test_a_key_that_is_not_documented_would_be_found() -> None:
    class More(BaseModel):
        new_key: int = 3

    class Grown(BaseModel):
        more: More = More()
        many: dict[str, More] = {}

    assert set(dict(sections(Grown))) == {"more", "many"}
    assert rows("| `a` | int | `3` | x |\ntext `b`\n| c | int |") == {"a": ["`a`", "int", "`3`", "x"]}


# Commands


def commands() -> dict[str, Any]:
    return typer.main.get_command(app).commands  # type: ignore[attr-defined]


def options(command: Any) -> set[str]:
    """The options of a command, and of the commands under it."""
    params = [param for each in (command, *getattr(command, "commands", {}).values()) for param in each.params]
    return {name for param in params for name in param.opts if name.startswith("--")}


def document_of_commands() -> dict[str, str]:
    """What docs/reference/commands.md says of each command."""
    found = parts(read("docs/reference/commands.md"), 3)
    return {name: body for title, body in found.items() for name in title.split(", ")}


def test_every_command_is_documented_and_no_other() -> None:
    assert set(document_of_commands()) == set(commands())


@pytest.mark.parametrize("name", sorted(commands()))
def test_every_option_of_a_command_is_documented_and_no_other(name: str) -> None:
    told = set(OPTION.findall(document_of_commands()[name]))
    shared = [other for other, body in document_of_commands().items() if body == document_of_commands()[name]]
    known = set().union(*(options(commands()[other]) for other in shared))
    assert options(commands()[name]) - {"--help"} <= told
    assert told <= known | SHELL_OPTIONS


def command_lines(text: str) -> Iterator[str]:
    """The lines a person would type: of sh blocks, without what is fed to a program, and indented ones."""
    for block in fences(text, "sh"):
        yield from (line.strip() for line in HEREDOC.sub("", block).replace("\\\n", " ").splitlines() if line.strip())
    for line in FENCE.sub("", text).splitlines():
        if re.match(r"    (homeostat|make) \S", line):
            yield re.split(r"\s{2,}", line.strip())[0]


def fault(line: str) -> str | None:
    """Why a line cannot be run as written; None where it can."""
    words = [word for word in shlex.split(line, comments=True) if not re.match(r"[A-Z_]+=", word)]
    if words[:1] == ["time"]:
        words = words[1:]
    if words[:2] == ["python", "benchmarks/watch.py"]:
        words = words[2:]
    if words[0] in {"homeostat", ".venv/bin/homeostat"}:
        return usage_fault(words[1:])
    if words[0] == "make":
        targets = set(re.findall(r"^([a-z-]+):", read("Makefile"), re.MULTILINE))
        return None if set(words[1:]) <= targets else f"make knows no {words[1:]}"
    if words[0] == "python":
        return None if words[1] == "-" or (ROOT / words[1]).is_file() else f"there is no {words[1]}"
    return None if words[0] in FOREIGN | {"export", "pip"} else f"{words[0]} is not a command of these pages"


def usage_fault(words: list[str]) -> str | None:
    if words[:1] == ["--help"]:
        return None
    if not words or words[0] not in commands():
        return f"there is no command {words[:1]}"
    command, rest = commands()[words[0]], list(words[1:])
    if rest[:1] and rest[0] in getattr(command, "commands", {}):
        command, rest = command.commands[rest[0]], rest[1:]
    try:
        command.make_context(words[0], rest)
    except Exception as mistake:
        return f"{type(mistake).__name__}: {mistake}"
    return None


@every_page
def test_the_command_lines_of_a_page_are_understood(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert [(line, why) for line in command_lines(text) if (why := fault(line))] == []
    for block in fences(text, "sh"):
        subprocess.run(["bash", "-n"], input=block, text=True, check=True)


@pytest.mark.parametrize(
    "line",
    ["homeostat rply", "homeostat replay --frsh", "homeostat export nothing", "make everything", "curl example.org"],
)
def test_a_line_that_cannot_be_run_is_found(line: str) -> None:
    assert fault(line)
    assert line in list(command_lines(f"```sh\n{line}\n```\n"))


# Blocks


@every_page
def test_the_blocks_of_a_page_can_be_read(page: Path, tmp_path: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for block in fences(text, "toml"):
        if {"project", "data"} <= set(tomllib.loads(block)):
            (tmp_path / "homeostat.toml").write_text(block, encoding="utf-8")
            load_project(tmp_path)
    for block in [*fences(text, "python"), *(body for _, body in HEREDOC.findall(text))]:
        compile(block, str(page), "exec")


def test_the_shorter_toml_blocks_hold_keys_of_the_project_file() -> None:
    for block in fences(read("docs/reference/project-file.md"), "toml"):
        if "project" not in (given := tomllib.loads(block)):
            assert all(SECTIONS[name].model_validate(value | REQUIRED.get(name, {})) for name, value in given.items())


REQUIRED = {
    "data": {"key": "k", "event_time": "t", "target": "y", "numeric": ["weight_kg"], "categorical": ["carrier"]}
}


# Hooks


def test_every_hook_is_documented_with_an_example() -> None:
    text = read("docs/reference/hooks.md")
    assert set(rows(text)) == set(HOOK_NAMES)
    for name, body in parts(text, 2).items():
        assert any(f"def {name}(" in block for block in fences(body, "python")), name
    assert set(parts(text, 2)) == set(HOOK_NAMES)


def test_the_examples_of_hooks_are_a_project_that_runs(tmp_path: Path) -> None:
    text = read("docs/reference/hooks.md")
    (tmp_path / "homeostat.toml").write_text(fences(text, "toml")[0], encoding="utf-8")
    (tmp_path / "hooks.py").write_text("\n".join(fences(text, "python")), encoding="utf-8")
    assert all(getattr(load_hooks(tmp_path), name) for name in HOOK_NAMES)
    done = run(["homeostat", "check", str(tmp_path), "--json"], tmp_path)
    assert json.loads(done)["sound"]
    summary = json.loads(run(["homeostat", "replay", str(tmp_path), "--no-prefect", "--json"], tmp_path))
    assert summary["predictions"] > 500 and summary["loop_metric"] > 0.6
    run(["homeostat", "export", "windows", str(tmp_path), "--out", "windows.csv"], tmp_path)
    assert "metric_missed_failures" in (tmp_path / "windows.csv").read_text(encoding="utf-8")


def run(command: list[str], folder: Path) -> str:
    """What a command says on standard output; the programs of this environment come first."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environ = {name: value for name, value in os.environ.items() if not name.startswith("HOMEOSTAT_")}
    done = subprocess.run(command, cwd=folder, env={**environ, "PATH": path}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


# Storage


def test_every_table_of_the_store_is_documented_and_no_other() -> None:
    assert set(rows(parts(read("docs/reference/storage.md"), 2)["The store"])) == set(Base.metadata.tables)


# The first project


ACTIVATE = ". .venv/bin/activate\n"
STAYS = re.compile(r"^homeostat up .*\n", re.MULTILINE)  # until Ctrl-C


def lines_of_the_readme() -> list[str]:
    return "".join(fences(parts(read("README.md"), 2)["A first project of your own"], "sh")).splitlines(keepends=True)


def script_of_the_docs() -> str:
    return "".join(fences(read("docs/start/five-minutes.md"), "sh"))


def test_the_first_project_of_the_readme_is_that_of_the_docs() -> None:
    remaining = iter(script_of_the_docs().splitlines(keepends=True))
    assert [line for line in lines_of_the_readme() if line not in remaining] == []


def test_the_first_project_begins_by_activating_the_environment() -> None:
    assert lines_of_the_readme()[0] == ACTIVATE and script_of_the_docs().startswith(ACTIVATE)


@pytest.mark.long
def test_the_first_project_of_the_docs_runs_as_written(tmp_path: Path) -> None:
    output = run(["bash", "-e", "-c", STAYS.sub("", script_of_the_docs().removeprefix(ACTIVATE))], tmp_path)
    assert "first model, never replaced" in output and "is now the live state" in output
    assert (tmp_path / "orders/scored.csv").is_file()


# The environment


SERVICE_PAGES = {"service_url", "find_service_url"}


def environment_names(source: str) -> set[str]:
    """Variables of the environment that a source reads, and beginnings of names that it looks for."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Subscript) and _is_environ(node.value) and isinstance(node.ctx, ast.Load):
            found.add(node.slice)
        if isinstance(node, ast.Call) and node.args and isinstance(node.func, ast.Attribute):
            by_name = node.func.attr in {"get", "setdefault"} and _is_environ(node.func.value)
            if by_name or node.func.attr == "getenv" or (node.func.attr == "startswith" and "environ" in source):
                found.add(node.args[0])
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in SERVICE_PAGES:
            found.add(node.args[-1])
    texts = {part.value for part in found if isinstance(part, ast.Constant) and isinstance(part.value, str)}
    return {text for text in texts if re.fullmatch(r"[A-Z][A-Z0-9_]+", text)}


def _is_environ(node: ast.expr) -> bool:
    return ast.unparse(node).split(".")[-1] == "environ"


def test_every_variable_of_the_environment_is_documented_and_no_other() -> None:
    sources = [file.read_text(encoding="utf-8") for name in PACKAGES for file in (ROOT / name).rglob("*.py")]
    read_by_code = set().union(*map(environment_names, sources))
    table = read("docs/reference/environment.md")
    named = set(
        re.findall(r"`([A-Z][A-Z0-9_]+)`", " ".join(line.split("|")[1] for line in table.split("\n") if "|" in line))
    )
    assert {name for name in read_by_code if not any(n.startswith(name) for n in named)} == set()
    assert {n for n in named if not any(n.startswith(name) for name in read_by_code)} == {"NO_PROXY"}


@pytest.mark.parametrize(
    "source",
    [
        "os.environ.get('NEW_ONE')",
        "os.environ['NEW_ONE']",
        "os.getenv('NEW_ONE', 'x')",
        "environ.setdefault('NEW_ONE', 'x')",
        "[n for n in os.environ if n.startswith('NEW_ONE')]",
    ],
)
def test_a_variable_that_is_read_is_found(source: str) -> None:
    assert environment_names(source) == {"NEW_ONE"}
