"""The Dockerfile and the compose file, read: each command, path, port and variable in them exists."""

from __future__ import annotations

import ast
import json
import re
import shlex
import subprocess
import sys
import threading
import tomllib
from datetime import UTC, datetime, timedelta
from http.server import HTTPServer, SimpleHTTPRequestHandler
from pathlib import Path
from typing import Any

import composed
import pytest
import typer
from composed import ROOT

from homeostat.console.main import app

DOCKERFILE = (ROOT / "docker" / "Dockerfile").read_text(encoding="utf-8")
COMPOSE = composed.COMPOSE.read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
SERVICES = composed.services()
OURS = [name for name in SERVICES if name != "postgres"]
PINNED = re.compile(r"[a-z]+:\d+(\.\d+)+(-[a-z]+)+")
POSTGRES = {"POSTGRES_USER", "POSTGRES_PASSWORD", "POSTGRES_DB", "POSTGRES_INITDB_ARGS"}
SYSTEM = {"PATH", "PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE", "PYTHONSAFEPATH", "GIT_PYTHON_REFRESH"}
PIP = {"PIP_DISABLE_PIP_VERSION_CHECK", "PIP_NO_CACHE_DIR", "PIP_ROOT_USER_ACTION"}
every_service = pytest.mark.parametrize("name", SERVICES)


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions, each a word and the rest, on one line."""
    text = re.sub(r"^#.*\n", "", DOCKERFILE, flags=re.MULTILINE).replace("\\\n", " ")
    return [(word, rest.strip()) for word, rest in re.findall(r"^([A-Z]+) (.*)$", text, re.MULTILINE)]


def stages() -> list[list[tuple[str, str]]]:
    found: list[list[tuple[str, str]]] = []
    for word, rest in instructions():
        if word == "FROM":
            found.append([])
        found[-1].append((word, rest))
    return found


def environment(text: str) -> set[str]:
    return set(re.findall(r"([A-Z_]+)=", text))


# The image


def test_the_base_is_pinned_and_the_same_in_both_stages() -> None:
    bases = [rest.split()[0] for word, rest in instructions() if word == "FROM"]
    assert len(bases) == 2 and len(set(bases)) == 1 and PINNED.fullmatch(bases[0])
    assert PINNED.fullmatch(SERVICES["postgres"]["image"])


def test_the_final_stage_is_not_root_and_installs_nothing() -> None:
    last = stages()[-1]
    assert [rest for word, rest in last if word == "USER"] == ["10001:10001"]
    assert not any(tool in rest for word, rest in last if word == "RUN" for tool in ("pip", "apt", "curl"))
    words = [word for word, _ in last]
    assert words.index("USER") < words.index("ENTRYPOINT") and "HEALTHCHECK" in words


def test_everything_that_is_copied_exists_and_is_let_into_the_build() -> None:
    let_in = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = [rest.split()[:-1] for word, rest in instructions() if word == "COPY" and "--from" not in rest]
    sources = {source for each in copied for source in each}
    assert all((ROOT / source).exists() for source in sources)
    assert sources == let_in


def test_every_package_is_copied() -> None:
    packages = set(PROJECT["tool"]["setuptools"]["package-dir"].values())
    copied = {rest.split()[0] for word, rest in stages()[0] if word == "COPY"}
    files = {name for word, rest in stages()[0] if word == "COPY" for name in rest.split()[:-1]}
    assert packages <= copied
    assert {PROJECT["project"]["readme"], *PROJECT["project"]["license-files"]} <= files


def test_the_line_that_lists_what_to_install_lists_it(tmp_path: Path) -> None:
    run = next(rest for _, rest in stages()[0] if "wanted.txt" in rest).split("&&")[0]
    words = shlex.split(run.replace("> wanted.txt", ""))
    told = subprocess.run([sys.executable, *words[1:]], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    project = PROJECT["project"]
    assert told.splitlines() == [*project["dependencies"], *project["optional-dependencies"]["postgresql"]]


def test_the_image_in_compose_is_of_this_version_and_built_from_here() -> None:
    for name in OURS:
        assert SERVICES[name]["image"] == f"homeostat:{PROJECT['project']['version']}"
        build = SERVICES[name]["build"]
        assert (composed.COMPOSE.parent / build["context"]).resolve() == ROOT
        assert (ROOT / build["dockerfile"]).is_file()


# Commands


@pytest.mark.parametrize("name", OURS)
def test_what_a_service_runs_exists_with_every_option(name: str) -> None:
    assert usage_fault(composed.command(SERVICES[name])) is None


def test_what_the_image_runs_by_itself_exists() -> None:
    entry, default = (ast.literal_eval(next(r for w, r in stages()[-1] if w == word)) for word in ("ENTRYPOINT", "CMD"))
    assert usage_fault([*entry, *default]) is None


def test_a_command_that_does_not_exist_is_found() -> None:
    for words in (["homeostat", "upp"], ["homeostat", "up", "--nly"], ["mlflow", "server", "--nothing"]):
        assert usage_fault(words)
    assert usage_fault(["prefect", "server", "start", "--nothing"])


def usage_fault(words: list[str]) -> str | None:
    """Why a program of ours cannot be run with these words; None where it can."""
    program, *rest = words
    if program == "prefect":
        return prefect_fault(rest)
    if program == "mlflow":
        from mlflow.cli import cli as group
    else:
        group: Any = typer.main.get_command(app)
    if rest[0] not in group.commands:
        return f"there is no {program} {rest[0]}"
    try:
        group.commands[rest[0]].make_context(rest[0], [word.replace("/projects", str(ROOT)) for word in rest[1:]])
    except Exception as fault:
        return f"{type(fault).__name__}: {fault}"
    return None


def prefect_fault(words: list[str]) -> str | None:
    command = [str(Path(sys.executable).parent / "prefect"), *words[:2], "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    unknown = [word for word in words if word.startswith("--") and word not in done.stdout]
    return done.stderr if done.returncode else f"prefect knows no {unknown}" if unknown else None


# Ports and addresses


def port_of(service: dict[str, Any]) -> str | None:
    """The port a service listens on, by its command."""
    words = composed.command(service)
    return words[words.index("--port") + 1] if "--port" in words else None


@every_service
def test_the_ports_of_a_service_agree(name: str) -> None:
    service = SERVICES[name]
    listens = "5432" if name == "postgres" else port_of(service)
    assert service.get("expose", []) == ([listens] if listens else [])
    for published in service.get("ports", []):
        address, outside, inside = published.split(":")
        assert (address, inside) == ("127.0.0.1", listens) and outside.isdigit()
    for checked in re.findall(r"127\.0\.0\.1:(\d+)", " ".join(service["healthcheck"]["test"])):
        assert checked == listens


def test_every_address_of_another_service_is_where_it_listens() -> None:
    named = [
        (host, port)
        for service in SERVICES.values()
        for value in service["environment"].values()
        for host, port in re.findall(r"(?:@|//)([a-z]+):(\d+)", value)
    ]
    assert {host for host, _ in named} == {"postgres", "mlflow", "prefect"}
    assert all(SERVICES[host]["expose"] == [port] for host, port in named)


def test_the_databases_that_are_named_are_made() -> None:
    made = re.findall(r"CREATE DATABASE (\w+)", (ROOT / "docker" / "databases.sql").read_text())
    made.append(SERVICES["postgres"]["environment"]["POSTGRES_DB"])
    assert sorted(made) == sorted(set(re.findall(r"postgres:5432/(\w+)", COMPOSE)))


@every_service
def test_a_service_is_watched_started_again_bounded_and_waits_for_what_it_needs(name: str) -> None:
    service = SERVICES[name]
    assert service["healthcheck"]["test"][0] == "CMD" and service["restart"] == "unless-stopped"
    assert service["deploy"]["resources"]["limits"]["memory"]
    hosts = set(re.findall(r"(?:@|//)([a-z]+):\d+", " ".join(service["environment"].values())))
    waits = service.get("depends_on", {})
    assert hosts <= set(waits) and all(wait == {"condition": "service_healthy"} for wait in waits.values())


@every_service
def test_every_place_a_service_keeps_things_in_is_a_volume_or_a_file_of_ours(name: str) -> None:
    known = set(composed.yaml.safe_load(COMPOSE)["volumes"])
    for volume in SERVICES[name].get("volumes", []):
        source = volume["source"] if isinstance(volume, dict) else volume.split(":")[0]
        assert source in known or source == composed.GIVEN["PROJECTS"] or (ROOT / "docker" / source).is_file()


# Variables


def known_variables() -> set[str]:
    """Every variable of the environment that our code, MLflow, Prefect or PostgreSQL's image reads."""
    import mlflow.environment_variables as of_mlflow
    from mlflow.cli import cli
    from prefect.settings import Settings
    from prefect.settings.legacy import _get_settings_fields

    page = (ROOT / "docs" / "reference" / "environment.md").read_text(encoding="utf-8")
    options = {param.envvar for param in cli.commands["server"].params if isinstance(param.envvar, str)}
    mlflow = {value.name for value in vars(of_mlflow).values() if hasattr(value, "name")}
    ours = set(re.findall(r"^\| .*", page, re.MULTILINE))
    named = {name for row in ours for name in re.findall(r"`([A-Z][A-Z0-9_]+)`", row.split("|")[1])}
    return named | options | mlflow | set(_get_settings_fields(Settings)) | POSTGRES | SYSTEM | PIP


def test_every_variable_is_one_that_somebody_reads() -> None:
    used = {name for service in SERVICES.values() for name in service["environment"]}
    used |= set().union(*(environment(rest) for word, rest in instructions() if word == "ENV"))
    assert used <= known_variables()


def test_every_variable_of_the_env_file_is_used_and_every_one_used_is_in_it() -> None:
    example = (ROOT / "docker" / "example.env").read_text(encoding="utf-8")
    assert set(re.findall(r"^(?:# )?([A-Z_]+)=", example, re.MULTILINE)) == {n for n, _ in composed.variables(COMPOSE)}


def test_no_secret_has_a_value_by_default() -> None:
    assert {how for name, how in composed.variables(COMPOSE) if "PASSWORD" in name} == {":?"}
    with pytest.raises(KeyError, match="POSTGRES_PASSWORD: set it in"):
        composed.services({"PROJECTS": "somewhere"})
    example = (ROOT / "docker" / "example.env").read_text(encoding="utf-8")
    assert re.search(r"^POSTGRES_PASSWORD=$", example, re.MULTILINE)


def test_files_with_secrets_are_kept_out_of_git_and_of_the_image() -> None:
    for name in ("docker/.env", "docker/projects.env"):
        done = subprocess.run(["git", "check-ignore", "-q", name], cwd=ROOT, check=False)
        assert done.returncode == 0, name


# The health check


def healthy(*args: object) -> tuple[int, str]:
    """What the program of the health checks says."""
    command = [sys.executable, str(ROOT / "docker" / "healthy.py"), *map(str, args)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, done.stderr


@pytest.mark.parametrize(("age", "code"), [(5, 0), (600, 1)])
def test_a_heartbeat_is_healthy_while_it_is_young(tmp_path: Path, age: int, code: int) -> None:
    at = datetime.now(UTC) - timedelta(seconds=age)
    (tmp_path / "runner.json").write_text(json.dumps({"at": at.isoformat(), "pid": 1, "projects": {}}))
    assert healthy(tmp_path / "runner.json")[0] == code


@pytest.mark.parametrize(("states", "code"), [(["healthy", "adopted"], 0), (["healthy", "failing"], 1), ([], 1)])
def test_what_up_runs_is_healthy_when_all_of_it_is(tmp_path: Path, states: list[str], code: int) -> None:
    for number, state in enumerate(states):
        note = {"pid": 1, "services": {f"service{number}": {"state": state}}}
        (tmp_path / f"services-{number}.json").write_text(json.dumps(note))
    assert healthy(tmp_path)[0] == code


def test_a_server_is_healthy_when_it_answers() -> None:
    server = HTTPServer(("127.0.0.1", 0), SimpleHTTPRequestHandler)
    url = f"http://127.0.0.1:{server.server_port}/"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    assert healthy(url) == (0, "")
    assert healthy(f"{url}nothing") == (1, f"{url}nothing: HTTPError: HTTP Error 404: File not found\n")
    server.shutdown()
    server.server_close()
    assert healthy(url)[0] == 1
