import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeostat.editing import set_keys, write_setting
from homeostat.errors import ProjectError

PROJECT = """# ours
[project]
name = "p"   # a name
task = "binary"

[data]
key = "id"
event_time = "at"
target = "y"
numeric = [
    "a",  # first
  "b" ]
[loop]
tick = "1d"
start = "2020-01-07"
"""
SECTION = """
[retraining]     # who decides
every   =  7     # a week
policy = 'threshold'# by the metric

[gates]
min_gain = 0.1
"""
WANTED = {"policy": "periodic", "every": 10}


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_only_the_values_change_and_every_comment_stays(newline):
    text = (PROJECT + SECTION).replace("\n", newline)
    changed = set_keys(text, "retraining", WANTED)
    assert changed.replace('"periodic"', "'threshold'").replace("=  10", "=  7") == text


def test_a_section_that_is_not_there_comes_last():
    assert set_keys(PROJECT, "retraining", WANTED) == PROJECT + '\n[retraining]\npolicy = "periodic"\nevery = 10\n'
    assert set_keys("a = 1", "b", {"c": True}) == "a = 1\n\n[b]\nc = true\n"


def test_what_says_so_already_is_not_touched():
    text = PROJECT + "[retraining]\npolicy = 'never'  # for good\n"
    assert set_keys(text, "retraining", {"policy": "never"}) == text


def test_dotted_and_inline_sections_are_understood():
    for text in ("retraining.policy = 'never'\n", "retraining = { policy = 'never' }\n"):
        assert tomllib.loads(set_keys(text, "retraining", WANTED)) == {"retraining": WANTED}


@given(st.lists(st.sampled_from(["", "# c", "[x]", "[[y]]", "[x.z]  # d"]), max_size=3, unique=True))
def test_whatever_stands_there_stays(lines):
    text = "\n".join(lines) + "\n"
    changed = set_keys(text, "retraining", {"policy": "never"})
    assert changed.startswith(text)
    assert tomllib.loads(changed) == tomllib.loads(text) | {"retraining": {"policy": "never"}}


def test_a_project_file_is_written_whole_and_only_where_it_is_sound(tmp_path):
    file = tmp_path / "homeostat.toml"
    file.write_bytes(b"\xef\xbb\xbf" + PROJECT.encode())
    assert write_setting(tmp_path, "retraining", WANTED)
    assert file.read_bytes().startswith(b"\xef\xbb\xbf# ours")
    assert not write_setting(tmp_path, "retraining", WANTED)
    before = file.read_bytes()
    with pytest.raises(ProjectError, match="every"):
        write_setting(tmp_path, "retraining", {"every": 0})
    assert file.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["homeostat.toml"]
