"""Agreement beyond chance: by the books' own examples, and nothing where it is undefined."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeostat.pipelines.labels.agreement import cohen_kappa, krippendorff_alpha


def answers(**told: list[str | None]) -> pl.DataFrame:
    rows = [(str(i), name, label) for name, labels in told.items() for i, label in enumerate(labels)]
    return pl.DataFrame(rows, schema={"item": pl.String, "annotator": pl.String, "label": pl.String}, orient="row")


def test_kappa_is_that_of_the_textbook() -> None:
    """Twenty both yes, five only the first, ten only the second, fifteen both no: 0.4."""
    first, second = ["y"] * 25 + ["n"] * 25, ["y"] * 20 + ["n"] * 5 + ["y"] * 10 + ["n"] * 15
    made = cohen_kappa(answers(bob=second, ann=first))
    assert made.row(0) == ("ann", "bob", 50, pytest.approx(0.4))


def test_alpha_is_that_of_krippendorffs_example() -> None:
    sheet = [
        ["1", "2", "3", "3", "2", "1", "4", "1", "2", None, None, None],
        ["1", "2", "3", "3", "2", "2", "4", "1", "2", "5", None, "3"],
        [None, "3", "3", "3", "2", "3", "4", "2", "2", "5", "1", None],
        ["1", "2", "3", "3", "2", "4", "4", "1", "2", "5", "1", None],
    ]
    told = answers(**{f"c{i}": row for i, row in enumerate(sheet)})
    assert krippendorff_alpha(told, ["1", "2", "3"]) == pytest.approx(0.743, abs=5e-4)


LABELS = st.lists(st.sampled_from(["a", "b", None]), min_size=1, max_size=20)


@given(LABELS, LABELS)
def test_agreement_is_at_most_1_and_1_exactly_where_all_say_the_same(
    one: list[str | None], two: list[str | None]
) -> None:
    told = answers(ann=one, bob=two)
    pairs = [(a, b) for a, b in zip(one, two, strict=False) if a and b]
    alpha, kappas = krippendorff_alpha(told, ["a", "b"]), cohen_kappa(told)["kappa"].drop_nulls().to_list()
    for value in [*kappas, *([] if alpha is None else [alpha])]:
        assert value <= 1 + 1e-12
        assert (value == pytest.approx(1)) is all(a == b for a, b in pairs)
    assert (alpha is None) is (len({label for pair in pairs for label in pair}) < 2)


def test_who_answers_at_random_agrees_no_more_than_by_chance() -> None:
    draw = np.random.default_rng(0)
    told = answers(**{name: draw.choice(["a", "b", "c"], 2000).tolist() for name in ("x", "y", "z")})
    assert max(map(abs, cohen_kappa(told)["kappa"])) < 0.07
    alpha = krippendorff_alpha(told, ["a", "b", "c"])
    assert alpha is not None and abs(alpha) < 0.05


def test_where_it_is_undefined_there_is_none() -> None:
    apart = answers(ann=["a", None], bob=[None, "b"])
    assert cohen_kappa(apart).rows() == [("ann", "bob", 0, None)] and krippendorff_alpha(apart, ["a", "b"]) is None
    same = answers(ann=["a", "a"], bob=["a", "a"])
    assert cohen_kappa(same).rows() == [("ann", "bob", 2, None)] and krippendorff_alpha(same, ["a", "b"]) is None
    nobody = answers()
    assert cohen_kappa(nobody).height == 0 and krippendorff_alpha(nobody, ["a"]) is None
    assert cohen_kappa(answers(ann=["a"])).height == 0
