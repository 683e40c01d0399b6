"""What a run logs, read back from the trackers' own files: through verl's tracking, into the run's folder."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from avatar_verl.adapter.run_log import RunLog
from avatar_verl.adapter.trackers import keep_in
from avatar_verl.adapter.trainer import _LogTee

#: The forms of names that there are: a family below a name, a ``+`` in a modality, verl's own ``@``.
METRICS = {
    "avatar/val/accuracy": 0.5,
    "avatar/val/accuracy/family/beeps": 0.25,
    "avatar/val/accuracy/modality/video+audio": 0.75,
    "val-core/toy/beeps/acc/mean@1": 1.0,
}

Logged = Callable[[str], Path]


@pytest.fixture
def logged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Logged:
    """``logged(tracker)``: the folder of a run that has logged :data:`METRICS` for steps 1 and 2 to it."""
    for name in ("TENSORBOARD_DIR", "WANDB_DIR", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv(name, "")  # so that what keep_in sets is taken away again
        os.environ.pop(name)
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.chdir(tmp_path)

    def log(tracker: str) -> Path:
        from verl.utils.tracking import Tracking

        run = tmp_path / "outputs" / "stage1" / "now"
        run.mkdir(parents=True)
        keep_in(run)
        tracking = Tracking("avatar", "stage1", [tracker], config={"trainer": {"project_name": "avatar"}})
        tee: Any = _LogTee(tracking, RunLog(run, 0.1))
        tee.log(data=METRICS, step=1)
        tee.log(data={name: value + 1 for name, value in METRICS.items()}, step=2)
        tracking.finish()
        assert [json.loads(line)["step"] for line in (run / "metrics.jsonl").read_text().splitlines()] == [1, 2]
        return run

    return log


def test_tensorboard_has_every_number_in_the_runs_folder(logged: Logged, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = logged("tensorboard")
    stored = EventAccumulator(str(run / "tensorboard")).Reload()
    for name, value in METRICS.items():
        assert [(event.step, event.value) for event in stored.Scalars(name)] == [(1, value), (2, value + 1)]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["outputs"]


def test_wandb_has_every_number_in_the_runs_folder(logged: Logged, tmp_path: Path) -> None:
    import wandb

    wandb.teardown()  # its settings of an earlier run in this process
    run = logged("wandb")
    (stored,) = (run / "wandb").glob("offline-run-*/*.wandb")
    records = stored.read_bytes()
    assert all(name.encode() in records for name in METRICS)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["outputs"]


def test_mlflow_has_every_number_in_one_store_for_all_runs(logged: Logged, tmp_path: Path) -> None:
    mlflow = pytest.importorskip("mlflow", reason="mlflow is no dependency of ours")
    logged("mlflow")
    assert (tmp_path / "outputs" / "mlflow.db").exists()
    (run,) = mlflow.search_runs(search_all_experiments=True, output_format="list")
    history = mlflow.MlflowClient().get_metric_history(run.info.run_id, "avatar/val/accuracy")
    assert [(one.step, one.value) for one in history] == [(1, 0.5), (2, 1.5)]
    assert run.data.metrics["avatar/val/accuracy/family/beeps"] == 1.25
    assert run.data.metrics["avatar/val/accuracy/modality/video_audio"] == 1.75
    assert run.data.metrics["val-core/toy/beeps/acc/mean_at_1"] == 2.0


def test_a_place_that_was_chosen_stays(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("TENSORBOARD_DIR", "WANDB_DIR", "MLFLOW_TRACKING_URI"):
        monkeypatch.setenv(name, "elsewhere")
    keep_in(tmp_path / "stage1" / "now")
    assert {os.environ[name] for name in ("TENSORBOARD_DIR", "WANDB_DIR", "MLFLOW_TRACKING_URI")} == {"elsewhere"}
