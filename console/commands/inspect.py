"""Commands that read: journal, why, export."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from homeostat.console.arguments import HERE, AsJson, Folder, FromWhere, open_for_reading, split_action
from homeostat.console.label_origins import describe_origin, describe_sources
from homeostat.console.output import say, say_facts, say_json, say_table
from homeostat.errors import CheckFailed, HomeostatError

ROLES = ("champion", "challenger", "baseline", "correction")


class What(StrEnum):
    """What can be exported."""

    PREDICTIONS = "predictions"
    DECISIONS = "decisions"
    WINDOWS = "windows"


def add_to(app: typer.Typer) -> None:
    """Add this module's commands."""
    for command in (journal, why, export):
        app.command(command.__name__)(command)


def journal(
    action: Annotated[str, typer.Argument(help="show or verify")] = "show",
    folder: Folder = HERE,
    limit: Annotated[int, typer.Option(help="How many of the newest to show.")] = 50,
    as_json: AsJson = False,
    from_: FromWhere = None,
) -> None:
    """Show the journal of decisions and actions, a chain of hashes; `verify` checks that nobody edited it."""
    from homeostat.store import rows

    action, folder = split_action(action, folder, ("show", "verify"))
    loop = open_for_reading(folder, from_)
    if action == "verify":
        _verify(loop, as_json)
        return
    entries = loop.store.list_journal()[-limit:]
    if as_json:
        say_json([rows.values(e) for e in entries])
    else:
        say_table(f"Journal of {loop.paths.model_name}", ["#", "at (UTC)", "hash", "kind", "content"],
                  [(e.seq, e.at, e.hash[:12], e.kind, _gist(e.body)) for e in entries])  # fmt: skip


def why(
    folder: Folder,
    key: Annotated[str | None, typer.Argument(help="The key of a row that was scored.", show_default=False)] = None,
    as_json: AsJson = False,
    from_: FromWhere = None,
) -> None:
    """Explain a score: the version that gave it, its reasons, the label, and the decision that promoted the version."""
    from homeostat.flows.queries.why import why as find

    if key is None:
        folder, key = HERE, str(folder)
    answer = find(open_for_reading(folder, from_), key)
    if as_json:
        say_json(answer)
        return
    label = answer["label"]
    say_facts(f"{answer['key']}: predicted {answer['prediction']}", {
        "score": answer["score"],
        "event": answer["event_at"],
        "scored": answer["scored_at"],
        "label": "unknown" if label is None else f"{label['label']} (known {label['known_at']:%Y-%m-%d %H:%M} UTC)",
        **({} if label is None else {"label from": describe_origin(label)}),
        "scored by": f"version {answer['model_version']}",
        **({f"rescored {again['scored_at']:%Y-%m-%d %H:%M}": _rescored(again) for again in answer["corrections"]}),
    })  # fmt: skip
    _tell_model(answer)


def _rescored(again: dict[str, Any]) -> str:
    score = "" if again["score"] is None else f", score {again['score']}"
    return f"corrected inputs: {again['prediction']}{score}, by version {again['model_version']}; counts for no metric"


def _tell_model(answer: dict[str, Any]) -> None:
    version, model, promoted = answer["model_version"], answer["model"], answer["promoted_by"]
    if model is not None:
        holdout = ", ".join(f"{name} {value:.4f}" for name, value in model["holdout"].items())
        say_facts(f"Version {version}", {
            "family": model["family"],
            "trained": model["trained_at"],
            "rows": _span(model),
            **({"labels": describe_sources(model["labels"])} if model["labels"] else {}),
            "holdout": holdout,
        })  # fmt: skip
    if promoted is not None:
        say_facts("Promoted by", {
            "decision": f"{promoted['decision']} at {promoted['at']:%Y-%m-%d %H:%M} UTC",
            "reasons": "; ".join(promoted["reasons"]),
        })  # fmt: skip
    if isinstance(answer["reasons"], str):
        say(answer["reasons"])
    elif answer["reasons"]:
        say_table("Why this score", ["feature", "contribution"], answer["reasons"])


def export(
    what: Annotated[What, typer.Argument(help="predictions, decisions or windows")],
    folder: Folder = HERE,
    to: Annotated[Path | None, typer.Option("--out", help="A .parquet, .csv or .jsonl file.")] = None,
    role: Annotated[str, typer.Option(help="champion, challenger, baseline or correction")] = "champion",
    as_json: AsJson = False,
    from_: FromWhere = None,
) -> None:
    """Write predictions, decisions or windows to a file."""
    if to is None:
        raise HomeostatError("export: no output file.", "Give --out FILE.parquet, .csv or .jsonl.")
    if to.suffix not in {".parquet", ".csv", ".jsonl"}:
        raise HomeostatError(f"{to}: unknown format.", "Use a .parquet, .csv or .jsonl file.")
    if role not in ROLES:
        raise HomeostatError(f"--role {role!r}: unknown.", f"Expected {', '.join(ROLES[:-1])} or {ROLES[-1]}.")
    from homeostat.flows import exports

    loop = open_for_reading(folder, from_)
    frame = exports.export_predictions(loop, role) if what is What.PREDICTIONS else (
        exports.export_decisions(loop) if what is What.DECISIONS else exports.export_windows(loop)
    )  # fmt: skip
    exports.write_table(frame, to)
    if as_json:
        say_json({"what": what.value, "rows": frame.height, "file": str(to)})
    else:
        say(f"{frame.height} {what.value} written to {to}")


def _span(model: dict[str, Any]) -> str:
    until = model["learned_until"]
    return f"{model['rows']:,}" + (f", up to {until:%Y-%m-%d %H:%M} UTC" if until is not None else "")


def _verify(loop: Any, as_json: bool) -> None:
    from homeostat.store import rows

    verdict = loop.store.verify_journal(loop.models.anchored())
    if as_json:
        say_json(rows.values(verdict))
    if not verdict.sound:
        raise CheckFailed(f"the journal is broken at link {verdict.broken_at}: {verdict.reason}.")
    if not as_json:
        say(f"The journal is intact: {verdict.entries} links, head {verdict.head[:12]}.")


def _gist(body: Any) -> str:
    if "decision" in body:
        version = f" (version {body['model_version']})" if body.get("model_version") else ""
        return f"{body['decision']}{version}: {'; '.join(body['reasons'])}"
    for name in ("message", "told"):
        if name in body:
            return body[name]
    return ", ".join(f"{name} {value}" for name, value in body.items())[:200]
