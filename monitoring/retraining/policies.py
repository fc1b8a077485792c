"""Retraining policies: named pure functions from evidence to a verdict; a project file chooses one by name.

Each is registered in `POLICIES`; a package adds its own there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from homeostat.decisions import AlarmKind, PlanForecast, RetrainingFacts, RetrainingKind, Weighing
from homeostat.errors import ProjectError
from homeostat.extensions import Extensions
from homeostat.monitoring.retraining.forecast import Forecast, Outcome, Plan, choose_plan, describe
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


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a policy wants done and why; `weighing` is what it weighed, where it weighed something."""

    kind: RetrainingKind
    reasons: tuple[str, ...]
    weighing: Weighing = field(default_factory=Weighing)


Policy = Callable[[RetrainingEvidence, Project, datetime], Verdict]
POLICIES: Extensions[Policy] = Extensions("retraining policy")


@POLICIES.register("forecast")
def forecast(evidence: RetrainingEvidence, project: Project, now: datetime) -> Verdict:
    """Do the most that is forecast to pay, within the budget: retrain, refresh, recalibrate, or wait."""
    learning, last = evidence.learning, evidence.last_attempt_at
    if learning is None:
        return threshold(evidence, project, now)
    if learning.broken is not None:
        return Verdict(RetrainingKind.FIX_DATA, (f"{learning.broken}; nothing is learned from such rows",))
    if last is not None and now - last < project.cooldown:
        return _wait("the cooldown after the last training is not over")
    chosen, forecasts = choose_plan(
        learning.plans,
        learning.outcomes,
        rows_a_tick=learning.rows_a_tick,
        spent=learning.spent,
        full_cost=learning.full_cost,
        full_cost_per_tick=learning.full_cost_per_tick,
        settings=project.retraining,
    )
    weighing = _weighing(learning, forecasts)
    if chosen is None:
        reason = "nothing pays: " + "; ".join(describe(item) for item in forecasts)
        return Verdict(RetrainingKind.WAIT, (reason,), weighing)
    weighing = weighing.model_copy(update={"members": chosen.plan.members, "gain": chosen.gain})
    return Verdict(RetrainingKind(chosen.plan.kind), (describe(chosen),), weighing)


@POLICIES.register("threshold")
def threshold(evidence: RetrainingEvidence, project: Project, now: datetime) -> Verdict:
    """Retrain when the champion's alarm stands, or when labels grew by `retraining.growth`; not within the cooldown."""
    last, cooldown = evidence.last_attempt_at, project.cooldown
    if last is not None and now - last < cooldown:
        return _wait("the cooldown after the last training is not over")
    new = evidence.labels - evidence.labels_at_last_attempt
    wanted = project.retraining.growth * evidence.labels_at_last_attempt
    if AlarmKind(evidence.alarm.kind).stands:
        return Verdict(RetrainingKind.RETRAIN, evidence.alarm.reasons)
    if new >= max(wanted, 1):
        return _retrain(f"{new} new labels since the last training; {wanted:.0f} were waited for")
    return _wait(f"no alarm, and {new} of {wanted:.0f} new labels")


@POLICIES.register("never")
def never(evidence: RetrainingEvidence, project: Project, now: datetime) -> Verdict:
    """Keep the first champion for ever."""
    return _wait("the policy is never to retrain")


@POLICIES.register("every_tick")
def every_tick(evidence: RetrainingEvidence, project: Project, now: datetime) -> Verdict:
    """Retrain at every tick that brought labels."""
    if evidence.labels == evidence.labels_at_last_attempt:
        return _wait("no new labels since the last training")
    return _retrain("the policy is to retrain at every tick")


@POLICIES.register("periodic")
def periodic(evidence: RetrainingEvidence, project: Project, now: datetime) -> Verdict:
    """Retrain at every `retraining.every`-th tick."""
    every = project.retraining.every
    if evidence.ticks_since_attempt < every:
        return _wait(f"{evidence.ticks_since_attempt} of {every} ticks have passed since the last training")
    return _retrain(f"{every} ticks have passed since the last training")


def get_policy(project: Project) -> Policy:
    """The policy a project names. Raises ProjectError naming the known ones."""
    name = project.retraining.policy
    if name not in POLICIES.names():
        raise ProjectError(
            f"{project.file}: retraining.policy: there is no policy named {name!r}.",
            f"Known: {', '.join(sorted(POLICIES.names()))}.",
        )
    return POLICIES.get(name)


def decide_retraining(evidence: RetrainingEvidence, project: Project, now: datetime) -> Decision:
    """Decide whether to train, by the project's policy; pure. The kinds are those of `RetrainingKind`.

    Without a champion the first one is trained, or a base model adopted. What cannot be compared is not trained:
    without fresh labels the answer is "wait", or "label" where a person should see to it that they come. Nor is
    anything trained while the model caused more than `labeling.max_caused` of its own labels; the evidence then says
    `blocked`.
    """
    champion, blocked = evidence.champion, _blocked(evidence, project)
    verdict = _verdict(evidence, project, now, blocked)
    facts = RetrainingFacts(
        policy=project.retraining.policy,
        labels=evidence.labels,
        fresh_labels=evidence.fresh_labels,
        labels_at_last_attempt=evidence.labels_at_last_attempt,
        alarm=AlarmKind(evidence.alarm.kind),
        caused=evidence.caused,
        blocked=blocked is not None,
        **verdict.weighing.as_json(),
    )
    version = champion.version if champion else None
    return Decision(now, "retraining", verdict.kind, verdict.reasons, facts.as_json(), version)


def _verdict(evidence: RetrainingEvidence, project: Project, now: datetime, blocked: str | None) -> Verdict:
    learning, least = evidence.learning, project.gates.min_rows
    if evidence.champion is None and blocked is None:
        return _first(evidence, project)
    if learning is not None and learning.harm is not None:
        return Verdict(RetrainingKind.ROLLBACK, (learning.harm,))
    if blocked is not None:
        return _wait(blocked)
    if evidence.fresh_labels >= least:
        return get_policy(project)(evidence, project, now)
    few = f"{evidence.fresh_labels} of {least} fresh labels to compare models on"
    wanted = None if learning is None else learning.unlabelled
    return _wait(few) if wanted is None else Verdict(RetrainingKind.LABEL, (wanted, few))


def _wait(reason: str) -> Verdict:
    return Verdict(RetrainingKind.WAIT, (reason,))


def _retrain(reason: str) -> Verdict:
    return Verdict(RetrainingKind.RETRAIN, (reason,))


def _weighing(learning: Learning, forecasts: Sequence[Forecast]) -> Weighing:
    weighed = tuple(
        PlanForecast(
            kind=item.plan.kind,
            gain=item.gain,
            spread=item.spread,
            worth=item.worth,
            cost=item.cost,
            row_rounds=item.plan.row_rounds,
            affordable=item.affordable,
        )
        for item in forecasts
    )
    accounts = {name: getattr(learning, name) for name in ("spent", "full_cost", "full_cost_per_tick")}
    return Weighing(forecasts=weighed, **accounts)


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


def _first(evidence: RetrainingEvidence, project: Project) -> Verdict:
    base, least = project.training.base_model, project.training.min_rows
    if base is not None:
        return Verdict(RetrainingKind.ADOPT, (f"the project starts with the model {base}",))
    if evidence.labels < least:
        return _wait(f"there is no champion, and {evidence.labels} of {least} labels to train one on")
    return Verdict(RetrainingKind.TRAIN_FIRST, (f"there is no champion, and {evidence.labels} labels to train one on",))
