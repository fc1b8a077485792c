"""Where labels come from, in words: those of one row, and those a model was trained on."""

from __future__ import annotations

from typing import Any

PURPOSES = {
    "measure": "drawn at random, to measure performance",
    "learn": "chosen because the model can learn most from it",
    "relabel": "asked for again because the label looked wrong",
}
SOURCES = {"observed": "from the source", "human": "from people", "programmatic": "by rule"}


def describe_origin(label: dict[str, Any]) -> str:
    """Where the label of a row came from, in words."""
    if label["provenance"] == "programmatic":
        return f"rules: {label['who']}"
    task = label["task"]
    if label["provenance"] != "human" or task is None:
        caused = ", caused by an action taken on the model's score" if label["caused"] else ""
        chance = label["propensity"]
        known = f", which had a probability of {chance:.0%} of arriving" if chance is not None and chance < 1 else ""
        return f"{label['who'] or 'the source'}{caused}{known}"
    answers = ", ".join(
        f"{a['who']} said {a['label'] if a['label'] is not None else 'nothing'}" for a in task["answers"]
    )
    right = "" if task["quality"] is None else f"; correct with a probability of {task['quality']:.0%}"
    chance = "" if label["propensity"] is None else f" (with a probability of {label['propensity']:.0%})"
    return f"{answers}{right}; {PURPOSES[task['purpose']]}{chance}"


def describe_sources(labels: dict[str, int]) -> str:
    """Where a model's labels came from, in words."""
    return ", ".join(f"{count:,} {SOURCES.get(name, name)}" for name, count in labels.items())
