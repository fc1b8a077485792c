"""The structure holds: layers, one room a vendor, no circles, a light command line, no machine's name."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[1]
BELOW = {
    "homeostat": set(),
    "pipelines": {"homeostat"},
    "monitoring": {"homeostat"},
    "registry": {"homeostat"},
    "flows": {"homeostat", "pipelines", "monitoring", "registry"},
    "console": {"homeostat", "pipelines", "monitoring", "registry", "flows"},
}
ROOMS = {
    "mlflow": "homeostat.registry",
    "river": "homeostat.monitoring.retraining.detectors",
    "cleanlab": "homeostat.pipelines.labels.label_quality",
    "krippendorff": "homeostat.pipelines.labels.agreement",
    "tomlkit": "homeostat.editing",
    "evidently": "homeostat.monitoring.drift",
    **dict.fromkeys(("prefect", "prefect_dask"), ("homeostat.flows.orchestration", "homeostat.flows.servers")),
    "deltalake": "homeostat.lake",
    "label_studio_sdk": "homeostat.flows.labeling.label_studio",
    **dict.fromkeys(("fastapi", "starlette", "uvicorn", "flask", "aiohttp"), "homeostat.console"),
}
HEAVY = {"mlflow", "evidently", "prefect", "xgboost", "sklearn", "polars", "pandas", "numpy"}
HEAVY |= {"alembic", "pydantic", "sqlalchemy"}
VAGUE = {"utils", "util", "helpers", "helper", "common"}
MACHINE = re.compile(r"(?<![\w.~/-])/(?:home|Users|root|work|mnt)/\w|\b[A-Z]:\\+Users\\|\bfile:///\w")
INDEX = re.compile(
    r"(?i)--(?:extra-|default-)?index[-]url|--find[-]links|--trusted[-]host|\b(?:PIP|UV)_\w*INDEX\w*\s*[=:]"
    r"|https?://\S+/simple\b"
)

Sources = Mapping[str, str]


class Import(NamedTuple):
    """One import: of what, on which line, and whether it runs when its module is imported."""

    target: str
    line: int
    eager: bool


def read_packages() -> dict[str, str]:
    """Map every module of ours, by dotted name, to its source."""
    files = [file for package in BELOW for file in sorted((ROOT / package).rglob("*.py"))]
    return {name_of(file.relative_to(ROOT)): file.read_text(encoding="utf-8") for file in files}


def name_of(file: Path) -> str:
    """The dotted name under which a module's file is installed; a package goes by its folder."""
    parts = file.with_suffix("").parts
    inner = parts[:-1] if parts[-1] == "__init__" else parts
    return ".".join(inner if inner[0] == "homeostat" else ("homeostat", *inner))


def floor_of(module: str) -> str | None:
    """The floor that a dotted name of ours stands on; None for what is not ours."""
    parts = module.split(".")
    if parts[0] != "homeostat":
        return None
    return parts[1] if parts[1:] and parts[1] in BELOW else "homeostat"


def imports_of(source: str, module: str, sources: Iterable[str] = ()) -> list[Import]:
    """Every import of a source; one name of `paths` where a module is imported out of its package."""
    known, found = set(sources), []
    for node, eager in _walk(ast.parse(source), True):
        for target in _targets(node, module, known):
            found.append(Import(target, node.lineno, eager))
    return found


def _walk(node: ast.AST, eager: bool) -> Iterator[tuple[ast.stmt | ast.expr, bool]]:
    for child in ast.iter_child_nodes(node):
        now = eager and not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            now = False
        if isinstance(child, ast.Import | ast.ImportFrom | ast.Call):
            yield child, now
        yield from _walk(child, now)


def _targets(node: ast.AST, module: str, known: set[str]) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        base = node.module or ""
        if node.level:
            package = module.split(".") if any(n.startswith(module + ".") for n in known) else module.split(".")[:-1]
            base = ".".join([*package[: len(package) - node.level + 1], *([base] if base else [])])
        inner = [f"{base}.{alias.name}" for alias in node.names]
        return sorted({name if name in known else base for name in inner})
    if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
        return [arg.value for arg in node.args[:1] if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]
    return []


def floor_breaks(sources: Sources) -> list[str]:
    """Imports of one of our packages that the importing floor does not stand on."""
    return [
        f"{module}:{line} imports {target}"
        for module, source in sources.items()
        for target, line, _ in imports_of(source, module, sources)
        if (floor := floor_of(target)) is not None
        and (own := floor_of(module)) is not None
        and own != floor
        and floor not in BELOW[own]
    ]


def vendor_breaks(sources: Sources) -> list[str]:
    """Imports of a vendor outside of its room."""
    return [
        f"{module}:{line} imports {target}"
        for module, source in sources.items()
        for target, line, _ in imports_of(source, module, sources)
        if (rooms := ROOMS.get(target.split(".")[0])) and not _is_inside(module, rooms)
    ]


def _is_inside(module: str, rooms: str | tuple[str, ...]) -> bool:
    places = (rooms,) if isinstance(rooms, str) else rooms
    return any(module == place or module.startswith(place + ".") for place in places)


def find_cycle(sources: Sources) -> list[str]:
    """One circle of modules that import each other, whether at once or late; empty where there is none."""
    graph = {
        module: {t for t, _, _ in imports_of(source, module, sources) if t in sources and t != module}
        for module, source in sources.items()
    }
    return _circle(graph)


def find_package_cycle(sources: Sources) -> list[str]:
    """One circle of packages that stand beside each other and whose modules import each other."""
    packages = {name.rpartition(".")[0] for name in sources} - {""}
    for parent in sorted({name.rpartition(".")[0] for name in packages} - {""}):
        rooms = {name for name in packages if name.rpartition(".")[0] == parent}
        graph: dict[str, set[str]] = {room: set() for room in rooms}
        for module, source in sources.items():
            if own := _room_of(module, rooms):
                met = {_room_of(target, rooms) for target, _, _ in imports_of(source, module, sources)}
                graph[own] |= {room for room in met if room and room != own}
        if circle := _circle(graph):
            return circle
    return []


def _room_of(module: str, rooms: set[str]) -> str | None:
    return next((room for room in rooms if module == room or module.startswith(room + ".")), None)


def _circle(graph: Mapping[str, set[str]]) -> list[str]:
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as circle:
        return circle.args[1]
    return []


def heavy_at_import(sources: Sources, door: str) -> list[str]:
    """Heavy libraries that importing `door` would import at once, with the module that does."""
    seen, waiting, heavy = set(), [door], []
    while waiting:
        module = waiting.pop()
        if module in seen or module not in sources:
            continue
        seen.add(module)
        waiting.append(module.rpartition(".")[0])
        for target, line, eager in imports_of(sources[module], module, sources):
            if eager and target.split(".")[0] in HEAVY:
                heavy.append(f"{module}:{line} imports {target}")
            elif eager:
                waiting.append(target)
    return sorted(heavy)


def name_breaks(modules: Iterable[str]) -> list[str]:
    """Modules with a name that says nothing, or that shadows a package of ours."""
    return [m for m in modules if (last := m.split(".")[-1]) in VAGUE or (m.count(".") > 1 and last in BELOW)]


def place_breaks(text: str) -> list[str]:
    """Lines that name a path of some machine, or a host to install from."""
    return [line.strip() for line in text.splitlines() if MACHINE.search(line) or INDEX.search(line)]


def package_breaks(files: Iterable[str]) -> list[str]:
    """Files that would make `docker/` a package and so shadow the Docker SDK."""
    return [f for f in files if PurePosixPath(f).parts[0] == "docker" and f.endswith("__init__.py")]


def own_files() -> list[str]:
    """Paths of the files that are, or are about to be, tracked; below the root."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    try:
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
        found = [name for name in listed.split("\0") if name]
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    return [name for name in found if (ROOT / name).is_file()]


def test_every_floor_imports_only_what_lies_below() -> None:
    assert floor_breaks(read_packages()) == []


def test_every_vendor_stays_in_its_room() -> None:
    assert vendor_breaks(read_packages()) == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    assert find_cycle(read_packages()) == []


def test_no_packages_import_each_other_in_a_circle() -> None:
    assert find_package_cycle(read_packages()) == []


def test_no_module_has_a_name_that_says_nothing() -> None:
    assert name_breaks(read_packages()) == []


def test_the_command_line_imports_nothing_heavy() -> None:
    sources = read_packages()
    assert "homeostat.console.main" in sources
    assert heavy_at_import(sources, "homeostat.console.main") == []


def test_the_help_of_the_command_line_really_imports_nothing_heavy() -> None:
    code = (
        "import sys; from homeostat.console.main import app; app(['--help'], standalone_mode=False); "
        f"print(sorted({HEAVY!r} & set(sys.modules)), 'typer' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[] True"


def test_docker_is_no_package() -> None:
    assert package_breaks(own_files()) == []


def test_no_file_names_a_machine_path_or_an_index_host() -> None:
    found = {}
    for name in own_files():
        data = (ROOT / name).read_bytes()
        if b"\0" not in data and (lines := place_breaks(data.decode("utf-8", "replace"))):
            found[name] = lines
    assert found == {}


def test_the_packages_are_those_that_are_installed() -> None:
    import tomllib

    listed = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    packages = set(listed["tool"]["setuptools"]["packages"])
    assert {name.split(".")[0] for name in packages} == {"homeostat"}
    inner = {name_of(file.relative_to(ROOT)) for p in BELOW for file in (ROOT / p).rglob("__init__.py")}
    assert inner | {"homeostat.examples"} == packages


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("homeostat.records", "import homeostat.pipelines.sources"),
        ("homeostat.lake", "def f():\n    from homeostat.flows import tick"),
        ("homeostat.pipelines.models.training", "from homeostat.registry.models import Models"),
        (
            "homeostat.monitoring.report.page",
            "from importlib import import_module\nimport_module('homeostat.pipelines.models.splits')",
        ),
        ("homeostat.flows.orchestration.tick", "import homeostat.console"),
    ],
)
def test_a_step_to_a_higher_or_neighbouring_floor_is_found(module: str, source: str) -> None:
    assert floor_breaks({module: source})


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("homeostat.pipelines.models.training", "import mlflow.pyfunc"),
        ("homeostat.monitoring.report.page", "def page():\n    from evidently import Report"),
        ("homeostat.store.store", "from deltalake import DeltaTable"),
        ("homeostat.console.serve", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import prefect"),
        ("homeostat.flows.orchestration.tick", "import importlib\nimportlib.import_module('mlflow')"),
        ("homeostat.flows.web", "from fastapi import FastAPI"),
    ],
)
def test_a_vendor_outside_of_its_room_is_found(module: str, source: str) -> None:
    assert vendor_breaks({module: source})


@pytest.mark.parametrize(
    ("module", "source"),
    [
        (
            "homeostat.flows.orchestration.tick",
            "from homeostat import records\nfrom homeostat.registry.models import Models\nimport prefect",
        ),
        ("homeostat.registry.models", "import mlflow"),
        ("homeostat.lake", "import deltalake"),
        ("homeostat.registry.mlflow_like", "import os"),
    ],
)
def test_what_is_allowed_is_not_complained_of(module: str, source: str) -> None:
    assert floor_breaks({module: source}) == vendor_breaks({module: source}) == []


@pytest.mark.parametrize(
    "sources",
    [
        {
            "homeostat.flows": "",
            "homeostat.flows.a": "from homeostat.flows import b",
            "homeostat.flows.b": "import homeostat.flows.a",
        },
        {
            "homeostat.flows": "",
            "homeostat.flows.a": "from homeostat.flows.b import x",
            "homeostat.flows.b": "def f():\n    from . import a",
        },
        {
            "homeostat.flows": "",
            "homeostat.flows.a": "import homeostat.flows.b",
            "homeostat.flows.b": "import homeostat.flows.c",
            "homeostat.flows.c": "from .a import x",
        },
        {"homeostat.flows": "from homeostat.flows.a import f", "homeostat.flows.a": "from homeostat.flows import f"},
    ],
)
def test_a_circle_is_found(sources: Sources) -> None:
    assert find_cycle(sources)
    assert not find_cycle({**sources, "homeostat.flows.a": "import os"})


@pytest.mark.parametrize(
    "sources",
    [
        {"homeostat.console.main": "import polars as pl"},
        {
            "homeostat.console.main": "from homeostat.console import web",
            "homeostat.console.web": "",
            "homeostat.console": "import pandas",
        },
        {
            "homeostat.console.main": "from homeostat.flows.tick import run",
            "homeostat.flows.tick": "import homeostat.flows.deep",
            "homeostat.flows.deep": "import mlflow",
        },
        {"homeostat.console.main": "try:\n    import sklearn.metrics\nexcept ImportError:\n    pass"},
        {"homeostat.console.main": "class A:\n    import xgboost"},
    ],
)
def test_a_heavy_library_at_the_door_is_found(sources: Sources) -> None:
    assert heavy_at_import(sources, "homeostat.console.main")


def test_a_heavy_library_inside_a_function_is_no_burden() -> None:
    sources = {
        "homeostat.console.main": "import homeostat.flows.tick\ndef f():\n    import polars",
        "homeostat.flows.orchestration.tick": "",
    }
    assert heavy_at_import(sources, "homeostat.console.main") == []


@pytest.mark.parametrize(
    "module", ["homeostat.flows.utils", "homeostat.store.helpers", "common", "homeostat.flows.monitoring"]
)
def test_a_name_that_says_nothing_or_shadows_is_found(module: str) -> None:
    assert name_breaks([module]) == [module]


@pytest.mark.parametrize(
    "line",
    [
        "data = '/" + "home/ann/data.csv'",
        "see /" + "work/project",
        "RUN pip install --index" + "-url https://example.org x",
        "PIP_INDEX" + "_URL=https://example.org",
        "https://mirror.example.org/" + "simple",
        "C:\\" + "Users\\ann",
    ],
)
def test_a_machine_path_or_an_index_host_is_found(line: str) -> None:
    assert place_breaks(f"fine\n{line}\n") == [line]


@pytest.mark.parametrize(
    "line", ["a simple rule", "~/" + "work/x", "docs/work/x.md", "pip install -e .", "https://" + "pypi.org"]
)
def test_plain_text_is_not_taken_for_a_place(line: str) -> None:
    assert place_breaks(line) == []


def test_a_docker_package_is_found() -> None:
    assert package_breaks(["docker/__init__.py", "docker/compose.yaml", "flows/__init__.py"]) == ["docker/__init__.py"]
