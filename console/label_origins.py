"""Where labels come from, in words: of one row, and of all that a model learned from."""

from __future__ import annotations

from typing import Any

PURPOSES = {
    "measure": "drawn at random, to measure on",
    "learn": "asked for because the model could learn most from it",
    "relabel": "asked for again because the label looked wrong",
}
SOURCES = {"observed": "from the source", "human": "from people", "programmatic": "by rule"}


def describe_origin(label: dict[str, Any]) -> str:
    """Who says what is true of a row, in words."""
    if label["provenance"] == "programmatic":
        return f"rules: {label['who']}"
    task = label["task"]
    if label["provenance"] != "human" or task is None:
        caused = ", after an action on the model's score, which caused it" if label["caused"] else ""
        chance = label["propensity"]
        known = f", which had a chance of {chance:.0%} to come" if chance is not None and chance < 1 else ""
        return f"{label['who'] or 'the source'}{caused}{known}"
    answers = ", ".join(
        f"{a['who']} said {a['label'] if a['label'] is not None else 'nothing'}" for a in task["answers"]
    )
    right = "" if task["quality"] is None else f"; together right with a chance of {task['quality']:.0%}"
    chance = "" if label["propensity"] is None else f" (with a chance of {label['propensity']:.0%})"
    return f"{answers}{right}; {PURPOSES[task['purpose']]}{chance}"


def describe_sources(labels: dict[str, int]) -> str:
    """Where a model's labels came from, in words."""
    return ", ".join(f"{count:,} {SOURCES.get(name, name)}" for name, count in labels.items())
