"""The members of an ensemble: how weights follow losses, and what a quick fit gives and costs."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_training import frame_of, project_of

from homeostat.hooks import Hooks
from homeostat.pipelines import inference
from homeostat.pipelines.models.features import build_features
from homeostat.pipelines.models.members import (
    LEAST_ROWS,
    SHARE,
    Member,
    MemberSpec,
    admit,
    fit_member,
    follow,
    forecast_cost,
    list_specs,
)

NAMES = ("first", "everything", "continued", "recent", "newest")
CLASSES = {"binary": ["0", "1"], "multiclass": ["0", "1", "2"], "regression": None}


@st.composite
def weights(draw: st.DrawFn) -> dict[str, float]:
    """Weights of one to five members, as any number of steps may leave them."""
    names = NAMES[: draw(st.integers(1, len(NAMES)))]
    raw = {name: draw(st.floats(SHARE / len(NAMES), 1)) for name in names}
    return {name: value / sum(raw.values()) for name, value in raw.items()}


LOSSES = st.dictionaries(st.sampled_from(NAMES), st.floats(0, 4), max_size=len(NAMES))


def is_whole(made: dict[str, float]) -> bool:
    return min(made.values()) > 0 and sum(made.values()) == pytest.approx(1)


@given(weights(), st.lists(LOSSES, min_size=1, max_size=30))
def test_weights_stay_positive_and_add_up_to_1_and_nobody_is_ever_out_of_the_game(
    before: dict[str, float], batches: list[dict[str, float]]
) -> None:
    made = before
    for losses in batches:
        made = follow(made, losses)
        assert is_whole(made) and list(made) == list(before)
        if losses:
            assert min(made.values()) >= SHARE / len(made) * (1 - 1e-9)


@given(weights(), st.floats(0, 4), st.floats(0.001, 1))
def test_who_loses_less_than_the_others_gains_on_each_of_them(
    before: dict[str, float], loss: float, less: float
) -> None:
    even = {name: 1 / len(before) for name in before}
    made = follow(even, {**dict.fromkeys(even, loss + less), "first": loss})
    assert all(made["first"] > made[name] for name in made if name != "first")
    worse = follow(even, {**dict.fromkeys(even, loss), "first": loss + less})
    assert all(worse["first"] < worse[name] for name in worse if name != "first")


@given(weights(), st.lists(st.floats(0, 4), min_size=4, max_size=4))
def test_who_has_no_loss_is_taken_to_have_lost_the_average(before: dict[str, float], lost: list[float]) -> None:
    losses = dict(zip([name for name in before if name != "recent"], lost, strict=False))
    average = sum(losses.values()) / len(losses)
    filled = {**dict.fromkeys(before, average), **losses}
    assert follow(before, losses) == pytest.approx(follow(before, filled))


def test_without_any_loss_nothing_moves_and_with_equal_ones_only_the_share_does() -> None:
    before = {"first": 0.9, "recent": 0.1}
    assert follow(before, {}) == before
    assert follow(before, {"first": 0.5, "recent": 0.5}) == pytest.approx({"first": 0.82, "recent": 0.18})


@given(weights(), st.lists(st.sampled_from([*NAMES, "new", "newer"]), min_size=1, unique=True))
def test_who_is_admitted_begins_with_as_much_as_the_best_and_who_is_gone_leaves(
    before: dict[str, float], names: list[str]
) -> None:
    made = admit(before, names)
    assert is_whole(made) and list(made) == names
    stayed = [name for name in names if name in before]
    for new in set(names) - set(stayed):
        assert made[new] == max(made.values())
    for name in stayed:
        assert made[name] / made[stayed[0]] == pytest.approx(before[name] / before[stayed[0]])


def fitted(
    name: str, frame: pl.DataFrame, task: str = "binary", base: Member | None = None, **training: Any
) -> Member | None:
    project = project_of(task, threads=1, **training)
    spec = next(spec for spec in list_specs(project) if spec.name == name)
    return fit_member(spec, frame, project, Hooks(), CLASSES[task], base)


def values(member: Member | None, frame: pl.DataFrame, task: str = "binary") -> Any:
    assert member is not None
    project = project_of(task)
    matrix = inference.encode(build_features(frame, project, Hooks()), member.manifest["features"])
    manifest: Any = {"task": task, **member.manifest}
    return inference.model_values(member.model, manifest, matrix)


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
@pytest.mark.parametrize("name", ["recent", "linear_recent"])
def test_the_same_rows_give_the_same_member_bit_for_bit_whatever_the_task(name: str, task: str) -> None:
    frame = frame_of(400, task)
    one, two = (values(fitted(name, frame, task), frame, task) for _ in range(2))
    assert one.tobytes() == two.tobytes()
    assert one.shape == ((400, 3) if task == "multiclass" else (400,)) and one.std() > 0.05


def test_too_few_rows_one_class_or_no_base_give_no_member() -> None:
    frame = frame_of(LEAST_ROWS)
    assert fitted("recent", frame) is not None
    assert fitted("recent", frame.head(LEAST_ROWS - 1)) is None
    assert fitted("recent", frame.with_columns(label=pl.lit("1"))) is None
    assert fitted("continued", frame) is None


def test_one_value_of_a_number_can_be_learned() -> None:
    frame = frame_of(200, "regression").with_columns(label=pl.lit(2.0))
    assert values(fitted("recent", frame, "regression"), frame, "regression") == pytest.approx([2.0] * 200, abs=0.1)


def test_what_goes_on_from_a_base_has_more_rounds_and_costs_only_those_it_adds() -> None:
    frame = frame_of(600)
    base = fitted("everything", frame)
    assert base is not None and (base.manifest["rounds"], base.cost.row_rounds) == (40, 600 * 40)
    newer = frame.tail(200)
    before = values(base, frame).tobytes()
    made = fitted("continued", newer, base=base)
    assert made is not None and made.manifest["rounds"] == 50
    assert (made.cost.fits, made.cost.row_rounds) == (1, 200 * 10)
    assert made.manifest["features"] == base.manifest["features"]
    assert values(made, frame).tobytes() != before == values(base, frame).tobytes()


def test_a_boosted_member_costs_what_was_forecast() -> None:
    frame = frame_of(300)
    for name in ("everything", "recent", "newest"):
        made = fitted(name, frame)
        spec = next(spec for spec in list_specs(project_of("binary")) if spec.name == name)
        assert made is not None and made.cost.row_rounds == forecast_cost(spec, 300)


@pytest.mark.parametrize(
    ("candidates", "families"),
    [(["xgboost"], {"xgboost"}), (["linear"], {"linear"}), (["hook"], set()), (["xgboost", "linear"], None)],
)
def test_the_candidates_say_which_members_there_are_and_a_base_comes_first(
    candidates: list[str], families: set[str] | None
) -> None:
    specs = list_specs(project_of("binary", candidates=candidates))
    assert {spec.family for spec in specs} == ({"xgboost", "linear"} if families is None else families)
    seen: list[MemberSpec] = []
    for spec in specs:
        assert spec.base is None or spec.base in {other.name for other in seen}
        seen.append(spec)


@pytest.mark.parametrize("name", ["continued", "growing"])
def test_what_goes_on_from_a_base_understands_it_where_a_column_no_longer_changes(name: str) -> None:
    whole = frame_of(1200, "regression").with_columns(z=(pl.col("id") % 2).cast(pl.Float64))
    whole = whole.with_columns(label=pl.col("x") + 20 * pl.col("z"))
    recent = whole.filter(pl.col("z") == 1)
    base = fitted("everything", whole, "regression")
    made = fitted(name, recent, "regression", base)
    error = (pl.Series(values(made, recent, "regression")) - recent["label"]).abs().mean()
    assert isinstance(error, float) and error < 0.5
