"""Every extension point of a project, in one place: what `hooks.py` may define, and how it is loaded.

load_inputs(folder, until) -> polars.DataFrame       rows to score; `until` bounds what is needed
load_feedback(folder, until) -> polars.DataFrame     key, target and the time the label was known
build_features(frame) -> polars.DataFrame            raw rows in, one row of features for each, same order
build_model(task, seed) -> estimator                 a scikit-learn estimator for the candidate "hook"
evaluate(truth, scores) -> dict[str, float]          more metrics for a window
label(frame) -> polars.DataFrame                     votes of labeling functions, one column each; null abstains
annotate(rows, now) -> polars.DataFrame              answers to labeling tasks: key, who, label
"""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from homeostat.errors import ProjectError

HOOK_NAMES = ("load_inputs", "load_feedback", "build_features", "build_model", "evaluate", "label", "annotate")


@dataclass(frozen=True, slots=True)
class Hooks:
    """The hooks of one project; None stands for the default. `source` is the text of `hooks.py`."""

    load_inputs: Callable[..., Any] | None = None
    load_feedback: Callable[..., Any] | None = None
    build_features: Callable[..., Any] | None = None
    build_model: Callable[..., Any] | None = None
    evaluate: Callable[..., Any] | None = None
    label: Callable[..., Any] | None = None
    annotate: Callable[..., Any] | None = None
    source: str | None = None

    @property
    def digest(self) -> str | None:
        """What tells one hook file from another; None where there is none."""
        return None if self.source is None else digest_source(self.source)


def load_hooks(folder: Path) -> Hooks:
    """Load `hooks.py` of a project folder, or the defaults where there is none.

    The module is imported under a name made from its content, so two projects never share one.
    Raises ProjectError where the file does not import, or a hook in it is no function.
    """
    file = folder / "hooks.py"
    if not file.is_file():
        return Hooks()
    try:
        source = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as fault:
        why = "it is not UTF-8 text" if isinstance(fault, UnicodeDecodeError) else fault.strerror
        raise ProjectError(f"{file}: cannot be imported: {why}.", "Mend the hook file.") from fault
    module = import_source(file, source)
    functions = {name: getattr(module, name, None) for name in HOOK_NAMES}
    for name, hook in functions.items():
        if hook is not None and not callable(hook):
            raise ProjectError(f"{file}: {name} is not a function, but {hook!r:.60}.", "Mend the hook file.")
    return Hooks(**functions, source=source)


def digest_source(source: str) -> str:
    """The digest that hook files of this content are known by."""
    return hashlib.sha256(source.encode()).hexdigest()[:16]


def import_source(file: Path, source: str) -> ModuleType:
    """Import a Python file under a name made from the digest of its content; the same content is imported once."""
    name = "homeostat_hooks_" + digest_source(source)
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as fault:
        del sys.modules[name]
        why = " ".join(f"{type(fault).__name__}: {fault}".split())
        raise ProjectError(f"{file}: cannot be imported: {why}.", "Mend the hook file.") from fault
    return module
