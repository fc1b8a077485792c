"""Is a project sound: its data, its labels and its feature hook, checked before anything runs on them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import polars as pl

from homeostat.errors import DataError, HomeostatError
from homeostat.hooks import Hooks
from homeostat.metrics import positive_class
from homeostat.pipelines.data.ahead import last_credible
from homeostat.pipelines.data.canonical import canonical_class, canonical_classes, canonical_key
from homeostat.pipelines.data.sources import FOREVER, as_text, date_labels, has_feedback, load_feedback, load_inputs
from homeostat.pipelines.data.validation import Validated, validate_feedback, validate_inputs
from homeostat.pipelines.labels.votes import cast_votes
from homeostat.pipelines.setup.ahead import check_ahead, check_label_times
from homeostat.pipelines.setup.findings import Finding, shown_time
from homeostat.pipelines.setup.lookahead import find_look_ahead
from homeostat.pipelines.setup.positive import choose_positive
from homeostat.pipelines.setup.trial import try_out
from homeostat.project import Project, Task, list_retired_keys

MOST_SHOWN = 5
SAMPLE = 500


@dataclass(frozen=True, slots=True)
class _Inputs:
    """The inputs as they came and as they passed."""

    source: pl.DataFrame
    checked: Validated


def check_project(project: Project, hooks: Hooks, *, trial: bool = False) -> list[Finding]:
    """Check a project against all of its data and its feature hook; errors first.

    Reads everything once. An error is what would stop the loop or mislead it; a warning is what the loop will
    quarantine and report. With `trial` each candidate is fitted on a sample too.
    """
    findings = [
        Finding("warning", key, f"it has no effect any more: {why}. Delete it.")
        for key, why in list_retired_keys(project.file)
    ]
    inputs = _check_inputs(project, hooks, findings)
    if inputs is not None and inputs.source.height:
        labels = _check_labels(project, hooks, inputs, findings)
        _check_hook(project, hooks, inputs.checked.accepted, findings)
        _check_votes(project, hooks, inputs.checked.accepted, findings)
        if trial and labels is not None and not any(finding.level == "error" for finding in findings):
            findings += try_out(project, hooks, _labelled(project, inputs.checked.accepted, labels))
    order = {"error": 0, "warning": 1, "ok": 2}
    return sorted(findings, key=lambda finding: order[finding.level])


def require_sound(project: Project, hooks: Hooks) -> None:
    """Raise DataError, one line an error, where the project is not sound."""
    errors = [f"{project.file}: {f.where}: {f.message}" for f in check_project(project, hooks) if f.level == "error"]
    if errors:
        more = [f"... and {len(errors) - MOST_SHOWN} more; see 'homeostat check'."] if len(errors) > MOST_SHOWN else []
        raise DataError("\n".join([*errors[:MOST_SHOWN], *more]))


def _check_inputs(project: Project, hooks: Hooks, findings: list[Finding]) -> _Inputs | None:
    where = "data.inputs"
    try:
        source = load_inputs(project, hooks, None, FOREVER)
        checked = validate_inputs(source, project, None, FOREVER)
    except HomeostatError as fault:
        findings.append(Finding("error", where, str(fault)))
        return None
    if source.is_empty() and project.data.inputs.posted:
        findings.append(Finding("ok", where, "inputs come by posts"))
        return None
    if source.is_empty():
        findings.append(Finding("error", where, "it holds no rows. Give a source with data in it."))
        return None
    start = len(findings)
    _check_duplicates(project, checked, findings)
    _add_rejected(checked, source.height, where, project, findings)
    check_ahead(project, source, findings)
    last = last_credible(source["available_at"])
    if not isinstance(last, datetime) or last <= project.start_at:
        message = f"no input has a time. Check that {project.data.event_time!r} holds times."
        if isinstance(last, datetime):
            end, start = shown_time(last), shown_time(project.start_at)
            message = f"the last input is available at {end}, before the loop starts at {start}. Set an earlier start."
        findings.append(Finding("error", "loop.start", message))
    if len(findings) == start:
        findings.append(Finding("ok", where, f"{source.height} rows are sound"))
    return _Inputs(source, checked)


def _check_duplicates(project: Project, checked: Validated, findings: list[Finding]) -> None:
    key = project.data.key
    rejected = checked.rejected.filter(pl.col("rule") == "duplicate_key")["key"]
    several = checked.accepted[key].filter(checked.accepted[key].is_duplicated()) if not _dated(project) else rejected
    keys = pl.concat([rejected, as_text(several)]).unique().sort()
    if len(keys):
        advice = "Give each row a key of its own"
        advice += "." if _dated(project) else ", or, where these are corrections, set data.inputs.known_at."
        message = f"{len(keys)} keys come more than once with different contents, such as {keys[0]!r}. {advice}"
        findings.append(Finding("error", "data.key", message))


def _dated(project: Project) -> bool:
    return project.data.inputs.known_at is not None


def _add_rejected(checked: Validated, rows: int, where: str, project: Project, findings: list[Finding]) -> None:
    """One warning a rule, or an error where so much breaks that the loop would hold everything."""
    rest = checked.rejected.filter(~pl.col("rule").is_in(["duplicate_key", "unknown_key", "class"]))
    level = "error" if rest.height > project.data.rules.max_broken * rows else "warning"
    for (rule,), broken in sorted(rest.group_by("rule", maintain_order=True)):
        detail = broken["detail"][0]
        message = f"{broken.height} of {rows} rows break the rule {rule!r} and go to quarantine, as in {detail!r}."
        findings.append(Finding(level, where, message))


def _labelled(project: Project, inputs: pl.DataFrame, labels: pl.DataFrame) -> pl.DataFrame:
    """The inputs that have a label, each key once, with what came last."""
    key = project.data.key
    newest = labels.select(key, "label").unique(key, keep="last", maintain_order=True)
    return inputs.unique(key, keep="first", maintain_order=True).join(newest, on=key, how="inner")


def _check_labels(project: Project, hooks: Hooks, inputs: _Inputs, findings: list[Finding]) -> pl.DataFrame | None:
    """Check the labels; those that are accepted, None where there are none."""
    where, start = "data.feedback", len(findings)
    try:
        source = load_feedback(project, hooks, None, FOREVER)
        if not has_feedback(project, hooks):
            findings.append(_without_labels(project))
            return None
        if source.is_empty() and project.data.feedback.posted:
            findings.append(Finding("ok", where, "labels come by posts"))
            return None
        keys = canonical_key(inputs.source[project.data.key], inputs.checked.accepted.schema[project.data.key])
        checked = validate_feedback(source, project, keys.drop_nulls(), keys.dtype, None, FOREVER)
        checked = Validated(checked.accepted.drop_nulls("label"), checked.rejected)
    except HomeostatError as fault:
        findings.append(Finding("error", where, str(fault)))
        return None
    _check_unknown_keys(project, checked, findings)
    _check_twice(project, checked, findings)
    _check_classes(project, checked, findings)
    _add_rejected(checked, source.height, where, project, findings)
    check_label_times(source, findings)
    if project.training.base_model is None:
        labels = checked.accepted.rename({"known_at": "available_at"})
        if project.data.feedback.known_at is None:
            labels = labels.with_columns(pl.lit(None, pl.Datetime("us", "UTC")).alias("available_at"))
        had = inputs.source.select(as_text(inputs.source[project.data.key]).alias("_key"), had_at="available_at")
        known = inputs.checked.accepted.with_columns(_key=as_text(inputs.checked.accepted[project.data.key]))
        known = known.join(had.unique("_key", keep="first"), on="_key", how="left", maintain_order="left")
        _check_start(project, date_labels(labels, known.drop("_key"), project), inputs, findings)
    if all(finding.level == "ok" for finding in findings[start:]):
        findings.append(Finding("ok", where, f"{checked.accepted.height} labels are sound"))
    return checked.accepted


def _without_labels(project: Project) -> Finding:
    where = "data.feedback"
    if project.training.base_model is not None:
        return Finding("ok", where, "there is no source of labels; the loop starts with the base model")
    if project.labeling.budget:
        return Finding("ok", where, f"labels come from people, {project.labeling.budget} answers at most a period")
    advice = "Set data.feedback.uri, labeling.budget to ask people, or training.base_model with a model made elsewhere."
    return Finding("warning", where, f"there is no source of labels, so no model can be trained. {advice}")


def _check_unknown_keys(project: Project, checked: Validated, findings: list[Finding]) -> None:
    unknown = checked.rejected.filter(pl.col("rule") == "unknown_key")["key"]
    if len(unknown):
        message = (
            f"{len(unknown)} labels have a key that is not among the inputs, such as {unknown[0]!r}. "
            f"Check that {project.data.key!r} means the same in both, or take these rows out."
        )
        findings.append(Finding("error", "data.feedback", message))


def _check_twice(project: Project, checked: Validated, findings: list[Finding]) -> None:
    keys = checked.rejected.filter(pl.col("rule") == "duplicate_key")["key"].unique().sort()
    if len(keys):
        message = f"{len(keys)} keys come more than once with different labels, such as {keys[0]!r}."
        dated = project.data.feedback.known_at is not None
        advice = "Give each correction a later time" if dated else "Keep one, or set data.feedback.known_at"
        findings.append(Finding("error", "data.feedback", f"{message} {advice}."))


def _check_classes(project: Project, checked: Validated, findings: list[Finding]) -> None:
    stated = canonical_classes(project.data.classes)
    wrong = checked.rejected.filter(pl.col("rule") == "class")
    if wrong.height:
        message = f"{wrong.height} labels are outside of the classes, as in {wrong['detail'][0]!r}."
        findings.append(Finding("error", "data.classes", f"{message} Fix them, or state the class."))
    if project.task is Task.REGRESSION:
        return
    labels = checked.accepted.group_by("label").len().sort("len", "label", descending=[True, False])
    if project.task is Task.BINARY:
        findings += _of_positive(project, dict(labels.sort("label").iter_rows()))
    if stated:
        return
    if project.task is Task.BINARY and labels.height > 2:
        odd = f"{labels.height} different labels, such as {labels['label'][2]!r} ({labels['len'][2]} times)"
        message = f"a binary target has two classes, but there are {odd}. Fix them, or set task = 'multiclass'."
        findings.append(Finding("error", "data.target", message))
    positive = project.data.positive
    if positive is not None and canonical_class(positive) not in labels["label"].to_list():
        findings.append(Finding("error", "data.positive", f"no label is {positive!r}."))


def _of_positive(project: Project, counts: dict[str, int]) -> list[Finding]:
    """Which class scores are the probability of, where there are two to choose from."""
    where, stated, natural = "data.positive", project.data.positive, choose_positive(counts)
    if len(counts) != 2:
        return []
    taken, total = positive_class(counts, stated), sum(counts.values())
    if taken not in counts:
        return []  # An error says so.
    share = f"{counts[taken]} of {total} labels"
    if stated is not None:
        return [Finding("ok", where, f"scores are the probability of {taken!r}, as stated: {share}")]
    message = f"none is stated, so scores are the probability of {taken!r}, the last in order: {share}."
    if natural is None or natural.name == taken:
        return [Finding("ok", where, message)]
    advice = f"{natural.name!r} is the likelier one ({natural.why}). State data.positive, whichever is meant."
    return [Finding("warning", where, f"{message} {advice}")]


def _check_start(project: Project, labels: pl.DataFrame, inputs: _Inputs, findings: list[Finding]) -> None:
    """What is known by the start must train a first champion: enough labels, and two classes."""
    key, start = project.data.key, project.start_at
    had = inputs.source.select(as_text(inputs.source[key]).alias("_key"), pl.col("available_at").alias("had_at"))
    usable = labels.with_columns(as_text(labels[key]).alias("_key"))
    usable = usable.join(had.unique("_key", keep="first"), on="_key", how="inner")
    usable = usable.with_columns(pl.max_horizontal("available_at", "had_at").alias("at")).drop_nulls("at").sort("at")
    usable = usable.unique("_key", keep="first", maintain_order=True)
    known = usable.filter((pl.col("available_at") <= start) & (pl.col("had_at") < start))
    need = project.training.min_rows
    classes = known["label"].n_unique()
    one_class = project.task is not Task.REGRESSION and classes == 1
    if known.height >= need and not one_class:
        return
    if known.is_empty():
        message = "no labels are known by the start, and there is no training.base_model"
    elif known.height < need:
        message = f"only {known.height} labels are known by the start; training needs {need} (training.min_rows)"
    else:
        message = f"only one class ({known['label'][0]!r}) is known by the start; training needs two"
    works = _start_that_works(project, usable, need)
    last = last_credible(inputs.source["available_at"])
    can = works is not None and last is not None and works < last
    advice = (
        f"A start of {shown_time(works)} would work." if can and works else "No later start would work with these data."
    )
    wait = "The first champion waits for more; what comes before it is not scored."
    findings.append(Finding("warning", "loop.start", f"{message}. {wait} {advice}"))


def _start_that_works(project: Project, usable: pl.DataFrame, need: int) -> datetime | None:
    """The first midnight (UTC) by which enough labels, of two classes, are known."""
    if usable.height < need:
        return None
    at = usable["at"][need - 1]
    if project.task is not Task.REGRESSION:
        firsts = usable.group_by("label").agg(pl.col("at").min())["at"].sort()
        if len(firsts) < 2:
            return None
        at = max(at, firsts[1])
    day = at.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return day + timedelta(days=1)


def _check_hook(project: Project, hooks: Hooks, accepted: pl.DataFrame, findings: list[Finding]) -> None:
    where = "hooks.build_features"
    if hooks.build_features is None or accepted.is_empty():
        return
    try:
        columns = find_look_ahead(accepted, project, hooks)
    except HomeostatError as fault:
        findings.append(Finding("error", where, str(fault)))
        return
    if columns:
        named = ", ".join(repr(column) for column in columns[:5])
        message = (
            f"features depend on which other rows are in the batch: {named} differ between a batch, its first rows "
            "alone and single rows. Make each row's features from that row alone."
        )
        findings.append(Finding("error", where, message))
    else:
        findings.append(Finding("ok", where, "features of a batch, of its prefix and of single rows agree"))


def _check_votes(project: Project, hooks: Hooks, accepted: pl.DataFrame, findings: list[Finding]) -> None:
    where = "hooks.label"
    if hooks.label is None or accepted.is_empty():
        return
    sample = accepted.head(SAMPLE)
    try:
        votes = cast_votes(sample, project, hooks, canonical_classes(project.data.classes) or ())
    except HomeostatError as fault:
        findings.append(Finding("error", where, str(fault)))
        return
    spoken = sample.height - votes.select(pl.all_horizontal(pl.all().is_null()).sum()).item()
    message = f"{votes.width} labeling functions; at least one of them votes on {spoken} of {sample.height} rows"
    findings.append(Finding("ok" if spoken else "warning", where, message))
