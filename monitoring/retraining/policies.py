"""Retraining policies: named pure functions from evidence to a decision; a project file chooses one by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from homeostat.errors import ProjectError
from homeostat.monitoring.retraining.forecast import Outcome, Plan, choose_plan, describe
from homeostat.project import Project
from homeostat.records import Decision, ModelRecord


@dataclass(frozen=True, slots=True)
class Learning:
    """What a forecast is made of: the plans that can be carried out, what came of earlier ones, and the accounts.

    `rows_a_tick` counts labelled rows; `spent`, `full_cost` and `full_cost_per_tick` are rows x rounds (see
    `homeostat.monitoring.retraining.forecast`). `broken` says what is wrong with the newest rows, where they must not
    be learned from, `harm` why the lineage's root version must come back, `unlabelled` why labels are wanted where
    too few have come.
    """

    plans: tuple[Plan, ...]
    outcomes: tuple[Outcome, ...]
    rows_a_tick: float
    spent: float
    full_cost: float
    full_cost_per_tick: float
    broken: str | None = None
    harm: str | None = None
    unlabelled: str | None = None


@dataclass(frozen=True, slots=True)
class RetrainingEvidence:
    """What is known at a tick when retraining is decided.

    `labels` counts the labelled rows that may be trained on, `fresh_labels` those the champion can be compared on
    (scored after it was made), `labels_at_last_attempt` what `labels` was when a model was last trained. `caused` is
    the share of `labels` that an action on the model's own score caused.
    """

    champion: ModelRecord | None
    labels: int
    fresh_labels: int
    labels_at_last_attempt: int
    last_attempt_at: datetime | None
    ticks_since_attempt: int
    alarm: Decision
    learning: Learning | None = None
    caused: float = 0.0


Verdict = tuple[str, tuple[str, ...]] | tuple[str, tuple[str, ...], dict[str, Any]]
Policy = Callable[[RetrainingEvidence, Project, datetime], Verdict]


def never(evidence: RetrainingEvidence, project: Project, now: datetime) -> tuple[str, tuple[str, ...]]:
    """Keep the first champion for ever."""
    return "wait", ("the policy is never to retrain",)


def every_tick(evidence: RetrainingEvidence, project: Project, now: datetime) -> tuple[str, tuple[str, ...]]:
    """Retrain at every tick that brought labels."""
    if evidence.labels == evidence.labels_at_last_attempt:
        return "wait", ("no new labels since the last training",)
    return "retrain", ("the policy is to retrain at every tick",)


def periodic(evidence: RetrainingEvidence, project: Project, now: datetime) -> tuple[str, tuple[str, ...]]:
    """Retrain at every `retraining.every`-th tick."""
    every = project.retraining.every
    if evidence.ticks_since_attempt < every:
        return "wait", (f"{evidence.ticks_since_attempt} of {every} ticks have passed since the last training",)
    return "retrain", (f"{every} ticks have passed since the last training",)


def threshold(evidence: RetrainingEvidence, project: Project, now: datetime) -> tuple[str, tuple[str, ...]]:
    """Retrain when the champion's alarm stands, or when labels grew by `retraining.growth`; not within the cooldown."""
    last, cooldown = evidence.last_attempt_at, project.cooldown
    if last is not None and now - last < cooldown:
        return "wait", ("the cooldown after the last training is not over",)
    new = evidence.labels - evidence.labels_at_last_attempt
    wanted = project.retraining.growth * evidence.labels_at_last_attempt
    if evidence.alarm.kind in {"alarm", "standing"}:
        return "retrain", evidence.alarm.reasons
    if new >= max(wanted, 1):
        return "retrain", (f"{new} new labels since the last training; {wanted:.0f} were waited for",)
    return "wait", (f"no alarm, and {new} of {wanted:.0f} new labels",)


def forecast(evidence: RetrainingEvidence, project: Project, now: datetime) -> Verdict:
    """Do the most that is forecast to pay, within the budget: retrain, refresh, recalibrate, or wait."""
    learning, last = evidence.learning, evidence.last_attempt_at
    if learning is None:
        return threshold(evidence, project, now)
    if learning.broken is not None:
        return "fix_data", (f"{learning.broken}; nothing is learned from such rows",)
    if last is not None and now - last < project.cooldown:
        return "wait", ("the cooldown after the last training is not over",)
    chosen, found = choose_plan(
        learning.plans,
        learning.outcomes,
        rows_a_tick=learning.rows_a_tick,
        spent=learning.spent,
        full_cost=learning.full_cost,
        full_cost_per_tick=learning.full_cost_per_tick,
        settings=project.retraining,
    )
    seen = {
        "forecasts": [
            {
                "kind": each.plan.kind,
                "gain": each.gain,
                "spread": each.spread,
                "worth": each.worth,
                "cost": each.cost,
                "row_rounds": each.plan.row_rounds,
                "affordable": each.affordable,
            }
            for each in found
        ],
        "spent": learning.spent,
        "full_cost": learning.full_cost,
        "full_cost_per_tick": learning.full_cost_per_tick,
    }
    if chosen is None:
        return "wait", ("nothing pays: " + "; ".join(describe(each) for each in found),), seen
    seen |= {"members": list(chosen.plan.members), "gain": chosen.gain}
    return chosen.plan.kind, (describe(chosen),), seen


POLICIES: dict[str, Policy] = {
    "forecast": forecast,
    "threshold": threshold,
    "never": never,
    "every_tick": every_tick,
    "periodic": periodic,
}


def get_policy(project: Project) -> Policy:
    """The policy a project names. Raises ProjectError naming the known ones."""
    name = project.retraining.policy
    if name not in POLICIES:
        raise ProjectError(
            f"{project.file}: retraining.policy: there is no policy named {name!r}.",
            f"Known: {', '.join(sorted(POLICIES))}.",
        )
    return POLICIES[name]


def decide_retraining(evidence: RetrainingEvidence, project: Project, now: datetime) -> Decision:
    """Decide whether to train, by the project's policy; pure.

    Kinds: "train_first" (there is no champion and enough is labelled), "adopt" (a base model is named), "recalibrate"
    (new weights for the champion's members), "refresh" (some of them refitted), "retrain", "rollback", "fix_data",
    "label", "wait". What cannot be compared is not trained: without fresh labels the answer is "wait", or "label" where
    a person should see to it that they come. Nor is anything trained while the model caused more than
    `labeling.max_caused` of its own labels; the evidence then says `blocked`.
    """
    champion, blocked = evidence.champion, _blocked(evidence, project)
    seen: dict[str, Any] = {
        "policy": project.retraining.policy,
        "labels": evidence.labels,
        "fresh_labels": evidence.fresh_labels,
        "labels_at_last_attempt": evidence.labels_at_last_attempt,
        "alarm": evidence.alarm.kind,
        "caused": evidence.caused,
        "blocked": blocked is not None,
    }
    if champion is None and blocked is None:
        kind, reasons = _first(evidence, project)
    elif evidence.learning is not None and evidence.learning.harm is not None:
        kind, reasons = "rollback", (evidence.learning.harm,)
    elif blocked is not None:
        kind, reasons = "wait", (blocked,)
    elif evidence.fresh_labels < project.gates.min_rows:
        wanted = evidence.learning.unlabelled if evidence.learning is not None else None
        few = f"{evidence.fresh_labels} of {project.gates.min_rows} fresh labels to compare models on"
        kind, reasons = ("wait", (few,)) if wanted is None else ("label", (wanted, few))
    else:
        kind, reasons, *more = get_policy(project)(evidence, project, now)
        seen |= more[0] if more else {}
    return Decision(now, "retraining", kind, reasons, seen, champion.version if champion else None)


def _blocked(evidence: RetrainingEvidence, project: Project) -> str | None:
    """Why nothing may be learned from labels that the model caused; None where they are few enough."""
    most = project.labeling.max_caused
    if evidence.caused <= most or (evidence.champion is None and project.training.base_model is not None):
        return None
    if evidence.champion is None and evidence.labels < project.training.min_rows:
        return None
    return (
        f"the model itself caused {evidence.caused:.0%} of the labels, and at most {most:.0%} may be "
        "(labeling.max_caused): an action on its score decided what they say"
    )


def _first(evidence: RetrainingEvidence, project: Project) -> tuple[str, tuple[str, ...]]:
    if project.training.base_model is not None:
        return "adopt", (f"the project starts with the model {project.training.base_model}",)
    if evidence.labels < project.training.min_rows:
        wanted = project.training.min_rows
        return "wait", (f"there is no champion, and {evidence.labels} of {wanted} labels to train one on",)
    return "train_first", (f"there is no champion, and {evidence.labels} labels to train one on",)
