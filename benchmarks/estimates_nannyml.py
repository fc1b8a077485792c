"""NannyML's CBPE over one stream of scored windows; runs in the environment that `benchmarks/estimates.py` makes.

    python benchmarks/estimates_nannyml.py STREAM.parquet REFERENCE LAG OUT.json

Writes, for accuracy and AUC, its estimates of the windows from REFERENCE on: fitted once on the windows before
("nannyml"), and fitted anew for each window on the newest REFERENCE windows that are LAG windows old ("refitted").
"""

import json
import sys
import warnings
from pathlib import Path

import nannyml
import pandas as pd

METRICS = {"accuracy": "accuracy", "auc": "roc_auc"}
warnings.simplefilter("ignore")


def estimate(reference: pd.DataFrame, asked: pd.DataFrame, rows: int) -> dict[str, list[float]]:
    """CBPE's estimates of each chunk of `asked`."""
    cbpe = nannyml.CBPE(
        y_pred_proba="score",
        y_pred="prediction",
        y_true="y",
        problem_type="classification_binary",
        metrics=list(METRICS.values()),
        chunk_number=len(asked) // rows,
    )
    found = cbpe.fit(reference).estimate(asked.drop(columns="y")).filter(period="analysis").to_df()
    return {ours: found[(theirs, "value")].tolist() for ours, theirs in METRICS.items()}


def main(source: str, reference: int, lag: int, out: str) -> None:
    """Read the stream, estimate its windows, write what came out."""
    stream = pd.read_parquet(source)
    parts = {window: part.reset_index(drop=True) for window, part in stream.groupby("window")}
    first = pd.concat([parts[w] for w in range(reference)], ignore_index=True)
    found: dict[str, dict[str, list[float]]] = {way: {m: [] for m in METRICS} for way in ("nannyml", "refitted")}
    for window in range(reference, len(parts)):
        newest = [parts[w] for w in range(max(window - lag - reference + 1, 0), window - lag + 1)]
        for way, learned in (("nannyml", first), ("refitted", pd.concat(newest, ignore_index=True))):
            values = estimate(learned, parts[window], len(parts[window]))
            for metric, value in values.items():
                found[way][metric].append(value[0])
    Path(out).write_text(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
