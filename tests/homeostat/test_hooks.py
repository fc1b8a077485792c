"""Hooks: each has a default, a broken file is one line, and two projects never share a module."""

from __future__ import annotations

from pathlib import Path

import pytest

from homeostat.errors import ProjectError
from homeostat.hooks import HOOK_NAMES, Hooks, load_hooks


def project_with(folder: Path, source: str) -> Path:
    """A folder that holds these hooks."""
    folder.mkdir(exist_ok=True)
    (folder / "hooks.py").write_text(source, encoding="utf-8")
    return folder


def test_without_a_file_every_hook_is_the_default(tmp_path: Path) -> None:
    assert load_hooks(tmp_path) == Hooks()
    assert all(getattr(load_hooks(tmp_path), name) is None for name in HOOK_NAMES)


@pytest.mark.parametrize("name", HOOK_NAMES)
def test_a_hook_that_is_defined_is_found_and_the_others_stay_defaults(tmp_path: Path, name: str) -> None:
    hooks = load_hooks(project_with(tmp_path, f"def {name}(*given):\n    return {name!r}, given\n"))
    assert getattr(hooks, name)(1, 2) == (name, (1, 2))
    assert [n for n in HOOK_NAMES if getattr(hooks, n) is not None] == [name]


def test_the_text_of_the_file_is_kept_as_it_is(tmp_path: Path) -> None:
    source = "# größer\ndef label(frame):\n    return frame\n"
    assert load_hooks(project_with(tmp_path, source)).source == source


def test_two_projects_keep_their_own_hooks_in_one_process(tmp_path: Path) -> None:
    first = load_hooks(project_with(tmp_path / "a", "def evaluate(truth, scores):\n    return {'a': 1.0}\n"))
    second = load_hooks(project_with(tmp_path / "b", "def evaluate(truth, scores):\n    return {'b': 2.0}\n"))
    assert first.evaluate is not None and second.evaluate is not None
    assert (first.evaluate(None, None), second.evaluate(None, None)) == ({"a": 1.0}, {"b": 2.0})


def test_hooks_that_change_are_loaded_anew(tmp_path: Path) -> None:
    for value in (1, 2):
        hooks = load_hooks(project_with(tmp_path, f"def label(frame):\n    return {value}\n"))
        assert hooks.label is not None and hooks.label(None) == value


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        ("import nowhere_to_be_found\n", "ModuleNotFoundError"),
        ("def label(:\n", "SyntaxError"),
        ("1 / 0\n", "ZeroDivisionError"),
        ("raise SystemExit(3)\n", "SystemExit"),
    ],
)
def test_a_file_that_does_not_import_is_one_line_and_may_be_mended(tmp_path: Path, source: str, fault: str) -> None:
    with pytest.raises(ProjectError) as told:
        load_hooks(project_with(tmp_path, source))
    assert str(told.value).startswith(f"{tmp_path / 'hooks.py'}: cannot be imported: {fault}")
    assert "\n" not in str(told.value)
    assert load_hooks(project_with(tmp_path, "def label(frame):\n    return 1\n")).label is not None


def test_a_file_that_is_no_text_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "hooks.py").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ProjectError, match=r"hooks\.py: cannot be imported: .*UTF-8"):
        load_hooks(tmp_path)


def test_a_hook_that_cannot_be_called_is_named(tmp_path: Path) -> None:
    with pytest.raises(ProjectError, match=r"hooks\.py: build_features is not a function"):
        load_hooks(project_with(tmp_path, "build_features = 3\n"))
