"""The benchmark of services runs as its page says, and leaves nothing."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from programs import ROOT


@pytest.mark.long
def test_every_service_is_measured_and_all_of_them_together() -> None:
    command = [sys.executable, "benchmarks/services.py", "--settle", "0", "--seconds", "2"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    *table, said = done.stdout.splitlines()
    found = json.loads(said)
    assert set(found["services"]) == {"prefect", "mlflow", "console", "runner", "supervisor"}
    assert [line.split()[0] for line in table[1:]] == [*found["services"], "all"]
    assert found["all"]["pss_mb"] == pytest.approx(sum(row["pss_mb"] for row in found["services"].values()))
