"""Retraining policies: named pure functions from evidence to a verdict; a project file chooses one by name.

Each is registered in `POLICIES`; a package adds its own there.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from datetime import datetime

from homeostat.decisions import AlarmKind, PlanForecast, RetrainingFacts, RetrainingKind, Weighing
from homeostat.errors import ProjectError
from homeostat.extensions import Extensions
from homeostat.monitoring.retraining.evidence import Learning, RetrainingEvidence, Verdict
from homeostat.monitoring.retraining.forecast import Forecast, choose_plan, describe
from homeostat.monitoring.retraining.preconditions import find_blocked, meet_preconditions, wait
from homeostat.project import Project
from homeostat.records import Decision

NEW_SHARE = 0.25
"""A step wants this share of `gates.min_rows` in new labels."""
Policy = Callable[[RetrainingEvidence, Project, datetime], Verdict]
POLICIES: Extensions[Policy] = Extensions("retraining policy")


@POLICIES.register("forecast")
def forecast(evidence: RetrainingEvidence, project: Project, now: datetime) -> Verdict:
    """Do the most that is forecast to pay, within the budget: retrain, refresh, recalibrate, or wait."""
    learning, last = evidence.learning, evidence.last_attempt_at
    if learning is None:
        return threshold(evidence, project, now)
    if last is not None and now - last < project.cooldown:
        return wait("the cooldown after the last training is not over")
    if learning.new_labels < (wanted := math.ceil(NEW_SHARE * project.gates.min_rows)):
        few = f"{learning.new_labels} of {wanted} new labels since the last step"
        asked = evidence.unlabelled
        return wait(few) if asked is None else Verdict(RetrainingKind.LABEL, (asked, few))
    chosen, forecasts = choose_plan(
        learning.plans,
        learning.outcomes,
        rows_a_tick=learning.rows_a_tick,
        spent=learning.spent,
        full_cost=learning.full_cost,
        full_cost_per_tick=learning.full_cost_per_tick,
        settings=project.retraining,
        urgent=AlarmKind(evidence.alarm.kind).stands,
    )
    weighing = _weighing(learning, forecasts)
    if chosen is None:
        reason = "nothing pays: " + "; ".join(describe(item) for item in forecasts)
        return Verdict(RetrainingKind.WAIT, (reason,), weighing)
    weighing = weighing.model_copy(
        update={
            "members": chosen.plan.members,
            "gain": chosen.gain,
            "free": chosen.plan.seconds <= project.retraining.free_seconds,
        }
    )
    state = () if evidence.fallen is None else (evidence.fallen,)
    return Verdict(RetrainingKind(chosen.plan.kind), (*state, describe(chosen)), weighing)


@POLICIES.register("threshold")
def threshold(evidence: RetrainingEvidence, project: Project, now: datetime) -> Verdict:
    """Retrain when the champion's alarm stands, or when labels grew by `retraining.growth`; not within the cooldown."""
    last, cooldown = evidence.last_attempt_at, project.cooldown
    if last is not None and now - last < cooldown:
        return wait("the cooldown after the last training is not over")
    new = evidence.labels - evidence.labels_at_last_attempt
    wanted = project.retraining.growth * evidence.labels_at_last_attempt
    if AlarmKind(evidence.alarm.kind).stands:
        return Verdict(RetrainingKind.RETRAIN, evidence.alarm.reasons)
    if new >= max(wanted, 1):
        return _retrain(f"{new} new labels since the last training; {wanted:.0f} were waited for")
    return wait(f"no alarm, and {new} of {wanted:.0f} new labels")


@POLICIES.register("never")
def never(evidence: RetrainingEvidence, project: Project, now: datetime) -> Verdict:
    """Keep the first champion for ever."""
    return wait("the policy is never to retrain")


@POLICIES.register("every_tick")
def every_tick(evidence: RetrainingEvidence, project: Project, now: datetime) -> Verdict:
    """Retrain at every tick that brought labels."""
    if evidence.labels == evidence.labels_at_last_attempt:
        return wait("no new labels since the last training")
    return _retrain("the policy is to retrain at every tick")


@POLICIES.register("periodic")
def periodic(evidence: RetrainingEvidence, project: Project, now: datetime) -> Verdict:
    """Retrain at every `retraining.every`-th tick."""
    every = project.retraining.every
    if evidence.ticks_since_attempt < every:
        return wait(f"{evidence.ticks_since_attempt} of {every} ticks have passed since the last training")
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
    """Decide whether to train; pure. The kinds are those of `RetrainingKind`.

    Without a champion the first one is trained, or a base model adopted. Then come the preconditions, which hold for
    every policy and every model (`homeostat.monitoring.retraining.preconditions`). Only then the project's policy is
    asked. If it would wait while labels no longer come, the answer is "label". The facts say `blocked` where the model
    caused more than `labeling.max_caused` of its own labels.
    """
    champion, blocked = evidence.champion, find_blocked(evidence, project)
    verdict = _verdict(evidence, project, now, blocked)
    told = {name: getattr(evidence, name) for name in ("broken", "unlabelled")}
    told["harm"] = evidence.harm if evidence.held is not None else None
    facts = RetrainingFacts(
        policy=project.retraining.policy,
        labels=evidence.labels,
        fresh_labels=evidence.fresh_labels,
        labels_at_last_attempt=evidence.labels_at_last_attempt,
        alarm=AlarmKind(evidence.alarm.kind),
        caused=evidence.caused,
        blocked=blocked is not None,
        **{name: sentence for name, sentence in told.items() if sentence is not None},
        **verdict.weighing.as_json(),
    )
    version = champion.version if champion else None
    return Decision(now, "retraining", verdict.kind, verdict.reasons, facts.as_json(), version)


def _verdict(evidence: RetrainingEvidence, project: Project, now: datetime, blocked: str | None) -> Verdict:
    if evidence.champion is None:
        return _first(evidence, project) if blocked is None else wait(blocked)
    stopped = meet_preconditions(evidence, project)
    if stopped is not None:
        return stopped
    verdict = get_policy(project)(evidence, project, now)
    if verdict.kind is not RetrainingKind.WAIT or evidence.stopped is None:
        return verdict
    return dataclasses.replace(verdict, kind=RetrainingKind.LABEL, reasons=(evidence.stopped, *verdict.reasons))


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
            seconds=None if math.isinf(item.plan.seconds) else item.plan.seconds,
            affordable=item.affordable,
        )
        for item in forecasts
    )
    accounts = {name: getattr(learning, name) for name in ("spent", "full_cost", "full_cost_per_tick")}
    return Weighing(forecasts=weighed, **accounts)


def _first(evidence: RetrainingEvidence, project: Project) -> Verdict:
    base, least = project.training.base_model, project.training.min_rows
    if base is not None:
        return Verdict(RetrainingKind.ADOPT, (f"the project starts with the model {base}",))
    if evidence.labels < least:
        return wait(f"there is no champion, and {evidence.labels} of {least} labels to train one on")
    return Verdict(RetrainingKind.TRAIN_FIRST, (f"there is no champion, and {evidence.labels} labels to train one on",))
