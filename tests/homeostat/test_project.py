"""The project file: what it may say, its defaults, and one clear line for every kind of mistake."""

from __future__ import annotations

import tomllib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from homeostat import mistakes
from homeostat.errors import ProjectError
from homeostat.project import METRICS, Project, Task, list_retired_keys, load_project
from homeostat.records import Severity

DESIGN = """
[project]
name = "flights"
task = "binary"                 # binary | multiclass | regression

[data]
key = "id"                      # unique per row
event_time = "at"
timezone = "UTC"                # of times that carry none
target = "y"
numeric = ["distance"]
categorical = ["carrier"]
segments = ["carrier"]          # watched one by one; sensitive ones also gate promotion
sensitive = []

[data.inputs]
uri = "inputs.parquet"          # path, glob, s3://, SQLAlchemy URL with table or query, or hook
# known_at = "column"           # when an input can be had; without it, its event time
[data.feedback]
uri = "feedback.parquet"        # columns: the key, the target, and known_at
known_at = "known_at"
horizon = "7d"                  # after this a missing label counts as missing

[loop]
tick = "1d"
start = "2020-01-07"            # what is known by then trains the first champion
"""
BELOW_LOOP = ("training", "gates", "monitoring", "retraining", "labeling", "notify", "schedule")


def load(folder: Path, text: str) -> Project:
    """Write a project file and load it."""
    (folder / "homeostat.toml").write_text(text, encoding="utf-8")
    return load_project(folder)


def changed(old: str, new: str) -> str:
    """The file of the design with one passage exchanged."""
    assert old in DESIGN
    return DESIGN.replace(old, new, 1)


def told(folder: Path, text: str) -> str:
    """What a mistaken file is told, without the file's own path."""
    with pytest.raises(ProjectError) as fault:
        load(folder, text)
    file = f"{folder / 'homeostat.toml'}: "
    assert all(line.startswith(file) for line in str(fault.value).splitlines()), fault.value
    return str(fault.value).replace(file, "")


def test_the_file_of_the_design_is_a_complete_project(tmp_path: Path) -> None:
    project = load(tmp_path, DESIGN)
    assert (project.name, project.task, project.metric) == ("flights", Task.BINARY, "auc")
    assert project.data.columns == ["distance", "carrier"]
    assert project.data.feedback.horizon == timedelta(days=7)
    assert project.start_at == datetime(2020, 1, 7, tzinfo=UTC)
    assert project.cooldown == timedelta(days=1)
    assert project.file == tmp_path / "homeostat.toml"


def test_sections_below_the_loop_may_be_written_empty_and_change_nothing(tmp_path: Path) -> None:
    plain = load(tmp_path, DESIGN)
    assert load(tmp_path, DESIGN + "".join(f"[{section}]\n" for section in BELOW_LOOP)) == plain


@pytest.mark.parametrize("task", Task)
def test_every_task_watches_its_first_metric_unless_another_is_set(tmp_path: Path, task: Task) -> None:
    text = changed('"binary"', f'"{task}"')
    assert load(tmp_path, text).metric == METRICS[task][0]
    for metric in METRICS[task]:
        assert load(tmp_path, f'{text}[monitoring]\nmetric = "{metric}"').metric == metric


@pytest.mark.parametrize(
    ("start", "zone", "expected"),
    [
        ('"2020-01-07"', "Europe/Berlin", datetime(2020, 1, 7, tzinfo=ZoneInfo("Europe/Berlin"))),
        ('"2020-01-07T06:30"', "UTC", datetime(2020, 1, 7, 6, 30, tzinfo=UTC)),
        ("2020-01-07", "UTC", datetime(2020, 1, 7, tzinfo=UTC)),
        ('"2020-01-07T00:00:00+01:00"', "America/Lima", datetime(2020, 1, 6, 23, tzinfo=UTC)),
        ("2020-01-07T00:00:00Z", "America/Lima", datetime(2020, 1, 7, tzinfo=UTC)),
    ],
)
def test_the_start_is_read_in_the_zone_of_the_data_unless_it_names_one(
    tmp_path: Path, start: str, zone: str, expected: datetime
) -> None:
    text = changed('"2020-01-07"', start).replace('"UTC"', f'"{zone}"')
    assert load(tmp_path, text).start_at == expected


def test_a_file_saved_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    assert load(tmp_path, "\ufeff" + DESIGN).name == "flights"


def test_the_file_itself_may_be_named_and_its_folder_is_the_projects(tmp_path: Path) -> None:
    load(tmp_path, DESIGN)
    assert load_project(tmp_path / "homeostat.toml").folder == tmp_path


def test_routes_name_the_variables_that_hold_addresses(tmp_path: Path) -> None:
    text = DESIGN + '[notify.routes]\ncritical = ["PAGER_URL"]\nwarning = []'
    assert load(tmp_path, text).notify.routes == {Severity.CRITICAL: ["PAGER_URL"], Severity.WARNING: []}


TYPES = {
    "a number for text": ('"flights"', "3", "project.name: expected text in quotes, got 3."),
    "text for a list": ('["distance"]', '"distance"',
        "data.numeric: expected a list, as in [\"...\"], got 'distance'."),
    "a number in a list": ('["distance"]', '["a", 3]', "data.numeric, entry 2: expected text in quotes, got 3."),
    "text for a number": ("[loop]", '[monitoring]\ntolerance = "0.1"\n[loop]',
        "monitoring.tolerance: expected a number, got '0.1'."),
    "true for a whole number": ("[loop]", "[monitoring]\nmin_rows = true\n[loop]",
        "monitoring.min_rows: expected a whole number, got True."),
    "half a row": ("[loop]", "[gates]\nmin_rows = 10.5\n[loop]", "gates.min_rows: expected a whole number, got 10.5."),
    "not a number": ("[loop]", "[gates]\nmin_gain = nan\n[loop]", "gates.min_gain: expected a finite number, got nan."),
    "a value for a section": ("[loop]", "labeling = 3\n[loop]", "data.feedback.labeling: unknown key. "
        "Did you mean [labeling]?"),
    "a value for a named section": ("[project]", 'training = "hard"\n[project]',
        "training: expected a section, as in [training], got 'hard'."),
    "too small": ("[loop]", "[monitoring]\nsample = 10\n[loop]", "monitoring.sample: must be at least 200, got 10."),
    "too large": ("[loop]", "[training]\nmax_depth = 99\n[loop]", "training.max_depth: must be at most 16, got 99."),
    "not more than nothing": ("[loop]", "[retraining]\ngrowth = 0\n[loop]",
        "retraining.growth: must be more than 0, got 0."),
    "an empty list": ("[loop]", "[training]\ncandidates = []\n[loop]", "training.candidates: must name at least one."),
    "an unknown choice": ('"binary"', '"binray"', "project.task: expected one of 'binary', 'multiclass', 'regression', "
        "got 'binray'. Did you mean 'binary'?"),
    "an unknown severity": ("[loop]", "[notify.routes]\nloud = []\n[loop]",
        "notify.routes.loud: expected one of 'info', 'warning', 'critical', got 'loud'."),
}  # fmt: skip
KEYS = {
    "misspelt": ("horizon =", "horizn =", "data.feedback.horizn: unknown key. Did you mean 'horizon'?"),
    "misspelt though needed": ("tick =", "tik =", "loop.tik: unknown key. Did you mean 'tick'?"),
    "a misspelt section": ("[loop]", "[lop]", "lop: unknown key. Did you mean 'loop'?"),
    "in the wrong section": ('key = "id"', 'key = "id"\nhorizon = "7d"',
        "data.horizon: unknown key. It belongs under [data.feedback]."),
    "a section out of its section": ("[data.inputs]", "[inputs]", "inputs: unknown key. Did you mean [data.inputs]?"),
    "like nothing": ("[loop]", "[loop]\nzzz = 1", "loop.zzz: unknown key. Known here: start, tick."),
    "in a range": ("[loop]", "[data.rules.ranges]\ndistance = {mx = 2}\n[loop]",
        "data.rules.ranges.distance.mx: unknown key. Did you mean 'max'?"),
    "the folder": ("[project]", 'folder = "x"\n[project]',
        "folder: unknown key. A project lies where its file lies; take it out."),
    "missing": ('tick = "1d"', "", "loop.tick: missing; it must be set."),
    "a missing section": (DESIGN[DESIGN.index("[loop]"):], "", "loop: missing; it must be set."),
}  # fmt: skip
VALUES = {
    "no name": ('"flights"', '""',
        "project.name: '' is not a project name; use letters, digits, - and _, at most 100."),
    "a name with a blank": ('"flights"', '"my flights"', "project.name: 'my flights' is not a project name; "
        "use letters, digits, - and _, at most 100."),
    "no zone": ('"UTC"', '"Mars/Base"', "data.timezone: 'Mars/Base' is not a time zone; "
        "expected an IANA name such as 'Europe/Berlin'."),
    "no zone of the schedule": ("[loop]", '[schedule]\ntimezone = ""\n[loop]', "schedule.timezone: '' is not a time "
        "zone; expected an IANA name such as 'Europe/Berlin'."),
    "no duration": ('"1d"', '"1 day"', "loop.tick: '1 day' is not a duration; "
        "write a whole number and s, m, h, d or w, as in '7d'."),
    "a bare number": ('"7d"', "7", "data.feedback.horizon: 7 is not a duration; "
        "write a whole number and s, m, h, d or w, as in '7d'."),
    "an endless duration": ('"1d"', '"99999999999d"',
        "loop.tick: '99999999999d' is longer than a duration can be."),
    "no time between ticks": ('"1d"', '"0d"', "loop.tick: must be longer than nothing, as in '1d'."),
    "no date": ('"2020-01-07"', '"yesterday"', "loop.start: 'yesterday' is not a date or a time; "
        "write it as in '2020-01-31' or '2020-01-31T06:00Z'."),
    "a year alone": ('"2020-01-07"', "2020", "loop.start: 2020 is not a date or a time; "
        "write it as in '2020-01-31' or '2020-01-31T06:00Z'."),
    "a year out of this world": ('"2020-01-07"', '"0001-01-01"',
        "loop.start: '0001-01-01' lies outside of the years 1900 to 2200."),
    "another task's metric": ("[loop]", '[monitoring]\nmetric = "rmse"\n[loop]', "monitoring.metric: 'rmse' is not "
        "a metric of a binary task; expected one of auc, log_loss, accuracy, brier, f1."),
    "the route's address itself": ("[loop]", '[notify.routes]\ncritical = ["json://u:s3cret@h"]\n[loop]',
        "notify.routes.critical, entry 1: not the name of an environment variable; "
        "put the address into one, as in CHAT_URL, and name it here."),
    "the address without a list": ("[loop]", '[notify.routes]\ncritical = "json://u:s3cret@h"\n[loop]',
        'notify.routes.critical: expected a list, as in ["..."].'),
    "a table and a query": ('"inputs.parquet"', '"sqlite:///a.db"\ntable = "t"\nquery = "select 1"',
        "data.inputs.query: give a table or a query, not both."),
    "a table of nothing": ('uri = "inputs.parquet"', 'table = "t"',
        "data.inputs.uri: missing; a table or a query needs the SQLAlchemy URL of its database."),
}  # fmt: skip
COLUMNS = {
    "the target among the features": ('["distance"]', '["distance", "y"]',
        "data.target: 'y' is among the features; take it out of numeric."),
    "the target among the segments": ('segments = ["carrier"]', 'segments = ["y"]',
        "data.target: 'y' is among the features; take it out of segments."),
    "the key among the features": ('["distance"]', '["id"]',
        "data.key: 'id' is among the features; take it out."),
    "the time among the features": ('["distance"]', '["at"]',
        "data.event_time: 'at' is among the features; take it out."),
    "the key as target": ('target = "y"', 'target = "id"',
        "data.target: 'id' is the key already; they are two columns."),
    "the time as target": ('target = "y"', 'target = "at"',
        "data.target: 'at' is the event_time already; they are two columns."),
    "the key as time": ('event_time = "at"', 'event_time = "id"',
        "data.event_time: 'id' is the key already; they are two columns."),
    "a column of two kinds": ('["distance"]', '["carrier"]',
        "data.categorical: 'carrier' is numeric already; name it once."),
    "a column twice": ('["distance"]', '["distance", "distance"]', "data.numeric: 'distance' is named twice."),
    "a column without a name": ('["distance"]', '[" "]',
        "data.numeric, entry 1: ' ' is not a column name; it must not be empty or begin with = or !."),
    "a reserved key": ('key = "id"', 'key = "score"',
        "data.key: 'score' is a name Homeostat keeps for itself; rename the key column."),
    "a reserved column": ('["distance"]', '["known_at"]',
        "data.numeric: 'known_at' is a name Homeostat keeps for itself; rename the column."),
    "a rule about no column": ("[loop]", '[data.rules]\nrequired = ["distanse"]\n[loop]',
        "data.rules.required: 'distanse' is not a column of this project; did you mean 'distance'?"),
    "a range about no column": ("[loop]", "[data.rules.ranges]\nzzz = {min = 0}\n[loop]",
        "data.rules.ranges: 'zzz' is not a column of this project; its columns are distance, carrier."),
    "a range without an inside": ("[loop]", "[data.rules.ranges]\ndistance = {min = 5, max = 2}\n[loop]",
        "data.rules.ranges.distance.min: 5 is above max, 2; nothing would lie between them."),
    "a class that is no class": ('target = "y"', 'target = "y"\nclasses = [0.5, 1]',
        "data.classes, entry 1: 0.5 is not a class; write text in quotes, a whole number, true or false."),
    "three classes of two": ('target = "y"', 'target = "y"\nclasses = ["a", "b", "c"]',
        "data.classes: a binary target has exactly two classes, not 3."),
    "a class twice": ('target = "y"', 'target = "y"\nclasses = ["1", 1]', "data.classes: a class is named twice."),
    "a positive class of none": ('target = "y"', 'target = "y"\nclasses = [0, 1]\npositive = true',
        "data.positive: True is not one of data.classes, 0, 1."),
}  # fmt: skip
TABLES = {f"{table} {name}": case for table, cases in
    {"type:": TYPES, "key:": KEYS, "value:": VALUES, "columns:": COLUMNS}.items() for name, case in cases.items()
}  # fmt: skip


@pytest.mark.parametrize(("old", "new", "line"), TABLES.values(), ids=TABLES)
def test_a_mistake_is_one_line_with_file_and_key(tmp_path: Path, old: str, new: str, line: str) -> None:
    assert told(tmp_path, changed(old, new)) == line


def test_several_mistakes_are_a_line_each(tmp_path: Path) -> None:
    lines = told(tmp_path, changed('"binary"', '"binray"').replace('"1d"', '"soon"')).splitlines()
    assert [line.split(":")[0] for line in lines] == ["project.task", "loop.tick"]


@pytest.mark.parametrize("setting", ["classes = [0, 1]", "positive = 1"])
def test_a_regression_has_neither_classes_nor_a_positive_one(tmp_path: Path, setting: str) -> None:
    text = changed('"binary"', '"regression"').replace('target = "y"', f'target = "y"\n{setting}')
    assert told(tmp_path, text).startswith(f"data.{setting.split()[0]}: ")


def test_a_key_of_an_earlier_release_that_does_nothing_is_read_and_named(tmp_path: Path) -> None:
    project = load(tmp_path, DESIGN + "[monitoring]\nwindows = 3\nmin_rows = 50\n")
    assert project.monitoring.min_rows == 50 and "windows" not in project.monitoring.model_dump()
    assert list_retired_keys(project.file) == [("monitoring.windows", "an alarm needs no windows in a row")]
    assert list_retired_keys(load(tmp_path, DESIGN).file) == []


def test_no_file_says_how_to_come_by_one(tmp_path: Path) -> None:
    with pytest.raises(ProjectError, match=r"homeostat\.toml: no such project file\. .*homeostat init"):
        load_project(tmp_path)


@pytest.mark.parametrize("text", ["[project", DESIGN + "[loop]", "name = flights", changed('"id"', '"id"\nkey = "b"')])
def test_what_is_no_toml_says_where(tmp_path: Path, text: str) -> None:
    line = told(tmp_path, text)
    assert line.startswith("not valid TOML: ")
    assert "at " in line and "\n" not in line


def test_what_is_no_text_says_so(tmp_path: Path) -> None:
    (tmp_path / "homeostat.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ProjectError, match=r"homeostat\.toml: not UTF-8 text\."):
        load_project(tmp_path)


VALUE = st.recursive(
    st.one_of(st.integers(), st.floats(), st.booleans(), st.text(max_size=5)), lambda inner: st.lists(inner, max_size=2)
)
PLACES = [(s, k) for s, f in Project.model_fields.items() if s != "folder" for k in f.annotation.model_fields]  # type: ignore[union-attr]


@given(st.sampled_from(PLACES), VALUE)
def test_whatever_a_setting_holds_the_answer_is_a_project_or_a_line(place: tuple[str, str], value: object) -> None:
    section, key = place
    raw = tomllib.loads(DESIGN)
    raw.setdefault(section, {})[key] = value
    try:
        Project.model_validate({**raw, "folder": Path("p")})
    except ValidationError as fault:
        lines = mistakes.describe_mistakes(Path("homeostat.toml"), fault.errors(), Project, {"folder"}).splitlines()
        assert lines and all(line.startswith(f"homeostat.toml: {section}") for line in lines), lines
