"""What is installed: one name, with everything it needs, beside whatever packages a team has."""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from test_architecture import own_files

ROOT = Path(__file__).resolve().parents[1]
TEAM = ("flows", "pipelines", "monitoring", "registry", "console")
PROJECT = """
[project]
name = "orders"
task = "binary"

[data]
key = "id"
event_time = "at"
target = "y"
numeric = ["x"]

[data.inputs]
uri = "rows.csv"
[data.feedback]
uri = "rows.csv"
horizon = "1d"

[loop]
tick = "1d"
start = "2024-01-03"
"""
HOOKS = "".join(f"import {name}\nassert {name}.OURS\n" for name in TEAM)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the sdist of the checkout."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.fixture(scope="module")
def unpacked(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for `sys.path` that holds what the wheel installs."""
    folder = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(next(built.glob("*.whl"))) as wheel:
        wheel.extractall(folder)
    return folder


def names_of(built: Path) -> set[str]:
    with zipfile.ZipFile(next(built.glob("*.whl"))) as wheel:
        return set(wheel.namelist())


def team_project(folder: Path) -> Path:
    """A project in a folder that holds packages called as our folders are, which its hooks import."""
    for name in TEAM:
        (folder / name).mkdir()
        (folder / name / "__init__.py").write_text("OURS = True\n")
    (folder / "homeostat.toml").write_text(PROJECT)
    (folder / "hooks.py").write_text(HOOKS)
    rows = [f"{i},2024-01-0{1 + i // 100}T00:{i % 60:02d}:00Z,{i % 7},{int(i % 7 > 3)}" for i in range(500)]
    (folder / "rows.csv").write_text("\n".join(["id,at,x,y", *rows]) + "\n")
    return folder


def test_the_wheel_installs_nothing_at_the_top_but_homeostat(built: Path) -> None:
    tops = {name.split("/")[0] for name in names_of(built)}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"homeostat"}


def test_every_module_template_migration_and_example_is_in_the_wheel(built: Path) -> None:
    inside = ("homeostat/", *(f"{name}/" for name in TEAM), "examples/")
    wanted = {
        name if name.startswith("homeostat/") else f"homeostat/{name}"
        for name in own_files()
        if name.startswith(inside)
    }
    assert wanted - names_of(built) == set()


def test_the_sdist_holds_whatever_its_tests_need(built: Path) -> None:
    with tarfile.open(next(built.glob("*.tar.gz"))) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    assert set(own_files()) - held == set()


@pytest.mark.parametrize("installed", ["wheel", "editable"])
def test_a_team_with_packages_of_our_folders_names_is_not_disturbed(
    installed: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    folder = team_project(tmp_path)
    site = [str(request.getfixturevalue("unpacked"))] if installed == "wheel" else []
    code = f"import sys; sys.path[:0] = {[*site, str(folder)]!r}; from homeostat.console.main import main; main()"
    command = [sys.executable, "-c", code, "check", "--json"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert json.loads(done.stdout)["sound"], done.stdout + done.stderr
    where = f"import sys; sys.path[:0] = {site!r}; import homeostat; print(homeostat.__file__)"
    shown = subprocess.run([sys.executable, "-c", where], cwd=folder, capture_output=True, text=True, check=True).stdout
    assert Path(shown.strip()).is_relative_to(site[0] if site else ROOT)
