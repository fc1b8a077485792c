import json
import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from ports import free_port

from homeostat.errors import ModelRefused, RegistryError
from homeostat.hooks import load_hooks
from homeostat.pipelines.models.training import Trained, train_model
from homeostat.project import Project
from homeostat.registry.foreign import Contract
from homeostat.registry.models import CHAMPION, Models
from homeostat.registry.registration import Registration

START = datetime(2020, 1, 1, tzinfo=UTC)
HOOK = (
    "def build_features(frame):\n    import polars as pl\n    return frame.select(h=pl.col('x') * {}, n=pl.col('n'))\n"
)


def train(folder: Path, task: str = "binary", hook: str | None = None) -> tuple[Trained, Path, pl.DataFrame]:
    folder.mkdir(parents=True, exist_ok=True)
    if hook is not None:
        (folder / "hooks.py").write_text(hook)
    draw = np.random.default_rng(4)
    x, n = draw.normal(size=120), draw.integers(0, 9, 120)
    labels: Any = x if task == "regression" else [str(int(v > 0)) for v in x]
    times = pl.Series([START + timedelta(hours=i) for i in range(120)], dtype=pl.Datetime("us", "UTC"))
    columns = {"id": range(120), "event_at": times, "x": x, "n": n.astype(float), "c": [str(v) for v in n]}
    raw: dict[str, Any] = {"folder": folder, "project": {"name": "p", "task": task}}
    raw["data"] = {"key": "id", "event_time": "at", "target": "y", "numeric": ["x", "n"], "categorical": ["c"]}
    raw |= {"loop": {"tick": "1d", "start": "2020-01-07"}, "training": {"rounds": 4, "candidates": ["xgboost"]}}
    frame = pl.DataFrame(columns | {"label": labels})
    made = train_model(frame, Project.model_validate(raw), load_hooks(folder))
    return made, made.save(folder / "model"), frame


def register(models: Models, made: Trained, folder: Path, key: str) -> int:
    registration = Registration(
        key,
        START,
        made.family,
        made.rows,
        made.reference,
        made.cost,
        made.params,
        made.candidates,
        "/data/lake",
        {"inputs": 3, "feedback": 2},
    )
    return models.register(folder, registration)


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("registry")


@pytest.fixture
def models(paths: Path, request: pytest.FixtureRequest) -> Iterator[Models]:
    name = f"m{abs(hash(request.node.name)) % 10**8}"
    made = Models(f"sqlite:///{paths / 'mlflow.db'}", paths / "artifacts", name, "p")
    yield made
    made.forget()


def runs(models: Models, part: str = "training") -> list[Any]:
    return list(models.tracking.client.search_runs([models.tracking.experiment(part)]))


def test_the_same_key_registers_once_with_its_facts(models: Models, tmp_path: Path) -> None:
    made, folder, frame = train(tmp_path)
    assert models.find("k1") is None
    assert register(models, made, folder, "k1") == register(models, made, folder, "k1") == models.find("k1") == 1
    assert register(models, made, folder, "k2") == 2
    first = next(run for run in runs(models) if run.data.tags["homeostat.key"] == "k1")
    assert first.info.status == "FINISHED"
    assert first.data.metrics["reference.auc"] == made.reference["auc"]
    assert first.data.metrics["cost.row_rounds"] == made.cost.row_rounds
    assert first.data.params["lake.inputs"] == "3"
    sources = [json.loads(given.dataset.source) for given in first.inputs.dataset_inputs]
    assert {(source["path"], source["delta_table_version"]) for source in sources} == {
        ("/data/lake/inputs", 3),
        ("/data/lake/feedback", 2),
    }
    assert models.load(1).score(frame).equals(made.predictor.score(frame))
    assert models.describe(1).run_id == first.info.run_id
    assert (models.folder(1) / "reference.parquet").is_file()


def test_a_run_that_a_kill_left_behind_is_cleared_away(models: Models, tmp_path: Path) -> None:
    made, folder, _ = train(tmp_path)
    models.tracking.start("training", "k1", "killed", START, {})
    assert register(models, made, folder, "k1") == 1
    assert [run.info.status for run in runs(models)] == ["FINISHED"]


def test_aliases_point_move_and_go(models: Models, tmp_path: Path) -> None:
    made, folder, _ = train(tmp_path)
    assert models.get_alias(CHAMPION) is None
    for key in ("a", "b"):
        models.set_alias(CHAMPION, register(models, made, folder, key))
    assert models.get_alias(CHAMPION) == 2
    models.delete_alias(CHAMPION)
    models.delete_alias(CHAMPION)
    assert models.get_alias(CHAMPION) is None


def test_pyfunc_takes_raw_inputs_and_two_versions_with_different_hooks_coexist(models: Models, tmp_path: Path) -> None:
    import mlflow

    for at, factor in enumerate((1, -2)):
        made, folder, frame = train(tmp_path / str(at), hook=HOOK.format(factor))
        models.set_alias(CHAMPION, register(models, made, folder, f"k{at}"))
    rows = frame.rename({"event_at": "at"}).drop("label").with_columns(pl.col("n").cast(pl.Int64)).to_pandas()
    loaded = [mlflow.pyfunc.load_model(f"models:/{models.name}/{version}") for version in (1, 2)]
    champion = mlflow.pyfunc.load_model(f"models:/{models.name}@champion").predict(rows)
    assert list(champion.columns) == ["prediction", "score"]
    for version, model in zip((1, 2), loaded, strict=True):
        assert model.predict(rows)["score"].tolist() == models.load(version).score(frame)["score"].to_list()
    assert models.load(1).features(rows)["h"][0] == pytest.approx(models.load(2).features(rows)["h"][0] / -2)


def test_pyfunc_takes_whole_numbers_nulls_and_fewer_columns(models: Models, tmp_path: Path) -> None:
    import mlflow

    made, folder, _ = train(tmp_path, "regression")
    register(models, made, folder, "k")
    model = mlflow.pyfunc.load_model(f"models:/{models.name}/1")
    rows = pd.DataFrame({"x": [1, 2, 3], "n": [4, None, 5], "c": [1, 2, None]})
    assert model.predict(rows)["prediction"].dtype == float
    assert len(model.predict(rows[["x"]])) == 3


def test_a_tampered_version_is_refused_at_load(models: Models, tmp_path: Path) -> None:
    made, folder, _ = train(tmp_path)
    version = register(models, made, folder, "k")
    (models.folder(version) / "model.ubj").write_bytes(b"no model")
    with pytest.raises(ModelRefused, match="version 1 is refused"):
        models.load(version)


def test_a_model_made_elsewhere_is_adopted_and_scores_in_our_frame(models: Models, tmp_path: Path) -> None:
    import mlflow
    from mlflow.models import infer_signature
    from sklearn.linear_model import LogisticRegression

    _, _, frame = train(tmp_path)
    table = frame.select("x", pl.col("n").cast(pl.Int64)).to_pandas()
    fitted = LogisticRegression().fit(table, (frame["label"] == "1").to_numpy().astype(int))
    for at, outcome in enumerate(("predict", "predict_proba")):
        place, key = str(tmp_path / outcome), f"base{at}"
        signature = infer_signature(table, fitted.predict(table))
        kinds = {"pip_requirements": [], "serialization_format": "cloudpickle"}
        mlflow.sklearn.save_model(fitted, place, signature=signature, pyfunc_predict_fn=outcome, **kinds)
        contract = Contract("binary", ("x", "n"), ("0", "1"), "1")
        version = models.adopt(place, key, contract, START)
        assert models.adopt(place, key, contract, START) == version
        scored = models.load(version).score(frame)
        assert scored["prediction"].to_list() == fitted.predict(table).astype(str).tolist()
        assert models.load_uri(place, contract).score(frame).equals(scored)
        if outcome == "predict_proba":
            assert np.allclose(scored["score"], fitted.predict_proba(table)[:, 1])


def test_a_check_is_one_run_with_its_page(models: Models, tmp_path: Path) -> None:
    page = tmp_path / "drift.html"
    page.write_text("<p>drift</p>")
    models.tracking.start("monitoring", "c1", "killed", START, {})
    first = models.log_check(START, "c1", {"share": 0.5}, {"drift": "stable"}, page)
    assert models.log_check(START, "c1", {"share": 0.5}, {"drift": "stable"}, page) == first
    (run,) = runs(models, "monitoring")
    assert run.info.run_name == "p check 2020-01-01 00:00: stable" and run.info.status == "FINISHED"
    assert [file.path for file in models.tracking.client.list_artifacts(first)] == ["drift.html"]


def test_the_journals_head_is_anchored_even_before_the_first_model(models: Models) -> None:
    assert models.anchored() is None
    models.anchor("abc")
    models.anchor("def")
    assert models.anchored() == "def"


def test_a_forgotten_model_begins_at_version_one_again(models: Models, tmp_path: Path) -> None:
    made, folder, _ = train(tmp_path)
    for key in ("a", "b"):
        register(models, made, folder, key)
    models.forget()
    models.forget()
    assert models.find("a") is None and runs(models) == []
    assert register(models, made, folder, "a") == 1


def test_faults_of_mlflow_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_text("this is no database, and it is long enough to be read as one" * 50)
    with pytest.raises(RegistryError, match=r"^MLflow cannot read an alias") as caught:
        Models(f"sqlite:///{tmp_path / 'mlflow.db'}", tmp_path, "m", "p").get_alias(CHAMPION)
    assert "\n" not in str(caught.value)


def test_mlflow_serves_the_champion_over_http(models: Models, paths: Path, tmp_path: Path) -> None:
    made, folder, _ = train(tmp_path)
    models.set_alias(CHAMPION, register(models, made, folder, "k"))
    port = free_port()
    uri = f"models:/{models.name}@champion"
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", uri, "-p", str(port), "--env-manager", "local"]
    quiet = {"MLFLOW_TRACKING_URI": f"sqlite:///{paths / 'mlflow.db'}", "MLFLOW_DISABLE_TELEMETRY": "true"}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    with (tmp_path / "serve.log").open("wb") as log:
        served = subprocess.Popen(
            command, env=os.environ | quiet | {"PATH": path}, stdout=log, stderr=log, start_new_session=True
        )
    try:
        rows = {
            "columns": ["id", "at", "x", "n", "c"],
            "data": [[1, "2020-01-02T00:00:00", 1, 4, 4], [2, None, -1.5, None, "x"]],
        }
        answer = ask(port, {"dataframe_split": rows}, served, tmp_path / "serve.log")
    finally:
        os.killpg(served.pid, 15)
        served.wait(20)
    expected = made.predictor.score(pl.DataFrame({"x": [1.0, -1.5], "n": [4.0, None], "c": ["4", "x"]}))
    assert [row["prediction"] for row in answer["predictions"]] == expected["prediction"].to_list()
    assert [row["score"] for row in answer["predictions"]] == pytest.approx(expected["score"].to_list())


def ask(port: int, body: dict[str, Any], served: subprocess.Popen[bytes], log: Path) -> Any:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/invocations", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    for _ in range(240):
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as fault:
            raise AssertionError(fault.read().decode()[:2000]) from None
        except OSError:
            assert served.poll() is None, log.read_text()[-2000:]
            time.sleep(0.5)
    raise AssertionError(log.read_text()[-2000:])


def test_a_copied_store_has_its_models_where_they_lie_now_and_leaves_the_original_alone(tmp_path: Path) -> None:
    first, copied = tmp_path / "a b" / "state", tmp_path / "elsewhere" / "state"

    def models_in(state: Path) -> Models:
        return Models(f"sqlite:///{state / 'mlflow.db'}", state / "mlartifacts", "p", "p")

    def files() -> set[Path]:
        return set(first.rglob("*"))

    made, folder, frame = train(tmp_path / "trained")
    models = models_in(first)
    register(models, made, folder, "one")
    expected = models.load(1).score(frame)
    shutil.copytree(first, copied)
    before = files()
    assert register(models_in(copied), made, folder, "two") == 2
    assert files() == before
    shutil.rmtree(first)
    models = models_in(copied)
    assert all(models.load(version).score(frame).equals(expected) for version in (1, 2))
    assert models.folder(1).is_relative_to(copied)


def test_a_store_whose_artifacts_stayed_behind_finds_them_there(tmp_path: Path) -> None:
    stayed = tmp_path / "artifacts"
    made, folder, frame = train(tmp_path / "trained")
    models = Models(f"sqlite:///{tmp_path / 'mlflow.db'}", stayed, "p", "p")
    register(models, made, folder, "one")
    expected = models.load(1).score(frame)
    models = Models(f"sqlite:///{tmp_path / 'mlflow.db'}", tmp_path / "other", "p", "p")
    assert models.load(1).score(frame).equals(expected)
