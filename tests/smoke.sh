#!/bin/sh
# Installs a wheel into an empty environment, and there replays a CSV file and predicts with the registered model. The
# project has packages of its own, with the names of this repository's folders.
#     tests/smoke.sh PYTHON WHEEL
set -eu
[ $# -eq 2 ] && [ -f "$2" ] || { echo "usage: $0 PYTHON WHEEL" >&2; exit 2; }
python=$1
wheel=$(cd "$(dirname "$2")" && pwd)/$(basename "$2")
constraints=$(cd "$(dirname "$0")/.." && pwd)/constraints.txt
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
trap 'exit 1' HUP INT TERM

# A step says one line where it passes, and the end of what it wrote where it fails.
step() {
    name=$1
    shift
    if "$@" >"$place/log" 2>&1; then
        echo "ok  $name"
    else
        echo "failed: $name" >&2
        tail -n 40 "$place/log" >&2
        exit 1
    fi
}

# Runs a command with nothing of the caller's environment, and the project's folder before all else on Python's path.
bare() {
    env -i HOME="$place/home" PATH="$place/venv/bin:/usr/bin:/bin" PYTHONPATH="$project" LANG=C.UTF-8 "$@"
}

replay() {
    bare homeostat replay --until 2024-01-20 --json >"$place/summary.json"
}

project=$place/orders
mkdir "$place/home" "$project"
for package in console flows monitoring pipelines registry; do
    mkdir "$project/$package"
    echo 'OWNER = "the team"' >"$project/$package/__init__.py"
done
cat >"$project/hooks.py" <<'PY'
import console
import flows
import monitoring
import pipelines
import registry

OWNERS = {package.OWNER for package in (console, flows, monitoring, pipelines, registry)}


def evaluate(truth, scores):
    return {"owners": float(len(OWNERS))}
PY
cat >"$place/make_orders.py" <<'PY'
import csv
import random
from datetime import UTC, datetime, timedelta

draw, start = random.Random(0), datetime(2024, 1, 1, tzinfo=UTC)
with open("orders.csv", "w", newline="") as file:
    rows = csv.writer(file)
    rows.writerow(["order_id", "ordered_at", "carrier", "weight_kg", "late"])
    for i in range(400):
        carrier, weight = draw.choice(["north", "south"]), round(draw.uniform(0, 10), 2)
        late = draw.random() < (0.2 + 0.07 * weight if carrier == "north" else 0.1)
        rows.writerow([i + 1, f"{start + timedelta(hours=2 * i):%Y-%m-%dT%H:%M:%SZ}", carrier, weight, int(late)])
PY
cat >"$place/look.py" <<'PY'
import json
import sys

import mlflow
import pandas as pd

summary = json.load(open(sys.argv[1]))
assert summary["ticks"] >= 10 and summary["predictions"] > 100, summary
mlflow.set_tracking_uri("sqlite:///.homeostat/mlflow.db")
model = mlflow.pyfunc.load_model("models:/orders-replay@champion")
found = model.predict(pd.read_csv("orders.csv").drop(columns="late"))
assert len(found) == 400 and set(found["prediction"]) == {"0", "1"}, found
PY

step "an empty environment" "$python" -m venv "$place/venv"
step "install" "$place/venv/bin/python" -m pip install --disable-pip-version-check --no-compile --only-binary :all: \
    -c "$constraints" "$wheel"
cd "$project"
bare python "$place/make_orders.py"
step "homeostat --help" bare homeostat --help
step "homeostat init" bare homeostat init orders.csv
step "homeostat check" bare homeostat check
step "homeostat replay" replay
step "the registered model predicts" bare python "$place/look.py" "$place/summary.json"
