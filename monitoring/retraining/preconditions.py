"""What must hold before any policy is asked, whichever it is, and whatever the models are made of.

Each rule is a pure function that says what is to be done instead of asking the policy, or None where it is met. They
are asked in this order: harm, a column that has gone, labels that the model caused, too few labels to compare on.
"""

from __future__ import annotations

from homeostat.decisions import RetrainingKind
from homeostat.monitoring.retraining.evidence import RetrainingEvidence, Verdict
from homeostat.project import Project


def meet_preconditions(evidence: RetrainingEvidence, project: Project) -> Verdict | None:
    """What is to be done before the policy is asked; None where nothing stands in its way."""
    found = (rule(evidence, project) for rule in (_harm, _broken, _caused, _few))
    return next((verdict for verdict in found if verdict is not None), None)


def find_blocked(evidence: RetrainingEvidence, project: Project) -> str | None:
    """Why nothing may be learned from labels that the model caused; None where they are few enough."""
    most = project.labeling.max_caused
    if evidence.caused <= most or (evidence.champion is None and project.training.base_model is not None):
        return None
    if evidence.champion is None and evidence.labels < project.training.min_rows:
        return None
    return (
        f"the model itself caused {evidence.caused:.0%} of the labels, of all or of high scores, and at most "
        f"{most:.0%} may be (labeling.max_caused): an action on its score decided what they say"
    )


def wait(reason: str) -> Verdict:
    """The verdict to wait."""
    return Verdict(RetrainingKind.WAIT, (reason,))


def _harm(evidence: RetrainingEvidence, project: Project) -> Verdict | None:
    """What was served is worse than the root version, which comes back; but not over a person's word."""
    if evidence.harm is None or evidence.held is not None:
        return None
    return Verdict(RetrainingKind.ROLLBACK, (evidence.harm,))


def _broken(evidence: RetrainingEvidence, project: Project) -> Verdict | None:
    if evidence.broken is None:
        return None
    blocked = find_blocked(evidence, project)
    reason = f"{evidence.broken}; nothing is learned from such rows"
    return Verdict(RetrainingKind.FIX_DATA, (reason, *([] if blocked is None else [blocked])))


def _caused(evidence: RetrainingEvidence, project: Project) -> Verdict | None:
    blocked = find_blocked(evidence, project)
    return None if blocked is None else wait(blocked)


def _few(evidence: RetrainingEvidence, project: Project) -> Verdict | None:
    """What cannot be compared is not trained."""
    least = project.gates.min_rows
    if evidence.fresh_labels >= least:
        return None
    few = f"{evidence.fresh_labels} of {least} fresh labels to compare models on"
    wanted = evidence.unlabelled
    return wait(few) if wanted is None else Verdict(RetrainingKind.LABEL, (wanted, few))
