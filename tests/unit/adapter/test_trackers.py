"""What a run logs, read back from the trackers' own files: through verl's tracking, into the run's folder."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from avatar_verl.adapter.run_log import RunLog
from avatar_verl.adapter.trackers import LogTee, keep_in

#: The forms of names that there are: a family below a name, a ``+`` in a modality, verl's own ``@``.
METRICS = {
    "avatar/val/accuracy": 0.5,
    "avatar/val/accuracy/family/beeps": 0.25,
    "avatar/val/accuracy/modality/video+audio": 0.75,
    "val-core/toy/beeps/acc/mean@1": 1.0,
}

Start = Callable[..., Path]
VARIABLES = ("TENSORBOARD_DIR", "WANDB_DIR", "WANDB_RUN_ID", "WANDB_RESUME", "MLFLOW_TRACKING_URI")


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Start:
    """``start(tracker, steps)``: the folder of a run, after a start that logs :data:`METRICS` + step for each step."""
    for name in VARIABLES:
        monkeypatch.setenv(name, "")  # so that what keep_in sets is taken away again
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.chdir(tmp_path)

    def log(tracker: str, steps: tuple[int, ...] = (1, 2), **config: Any) -> Path:
        from verl.utils.tracking import Tracking

        for name in VARIABLES:
            os.environ.pop(name, None)
        run = tmp_path / "outputs" / "stage1" / "now"
        run.mkdir(parents=True, exist_ok=True)
        keep_in(run, [tracker], "avatar")
        tracking = Tracking("avatar", "stage1", [tracker], config={"trainer": {"project_name": "avatar"}, **config})
        run_log = RunLog(run, 0.1)
        run_log.resume_at(steps[0] - 1)
        tee: Any = LogTee(tracking, run_log, steps[0])
        for step in steps:
            tee.log(data={name: value + step for name, value in METRICS.items()}, step=step)
        tracking.finish()
        logged = [json.loads(line)["step"] for line in (run / "metrics.jsonl").read_text().splitlines()]
        assert logged == list(range(1, steps[-1] + 1))
        return run

    return log


def test_tensorboard_has_every_number_once_in_the_runs_folder(start: Start, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    start("tensorboard", (1, 2, 3))
    run = start("tensorboard", (2, 3, 4))  # resumed from the checkpoint of step 1
    stored = EventAccumulator(str(run / "tensorboard")).Reload()
    for name, value in METRICS.items():
        found = [(event.step, event.value) for event in stored.Scalars(name)]
        assert found == [(step, value + step) for step in (1, 2, 3, 4)]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["outputs"]


def test_tensorboard_has_a_step_before_the_next_one_ends(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    monkeypatch.setattr("verl.utils.tracking._TensorboardAdapter.finish", lambda _: None)  # as if killed here
    run = start("tensorboard")
    assert len(EventAccumulator(str(run / "tensorboard")).Reload().Scalars("avatar/val/accuracy")) == 2


def test_wandb_does_not_wait_for_the_next_step(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    import wandb

    wandb.teardown()  # its settings of an earlier test in this process
    monkeypatch.setattr("verl.utils.tracking.Tracking.finish", lambda *_: None)
    start("wandb")
    assert wandb.run is not None
    assert wandb.run.step == 3, "step 2 is done, not open for more"
    wandb.finish()


def test_wandb_has_every_number_in_the_runs_folder_under_one_id(start: Start, tmp_path: Path) -> None:
    import wandb

    wandb.teardown()  # its settings of an earlier run in this process
    start("wandb")
    run = start("wandb", (2, 3))
    stored = sorted((run / "wandb").glob("offline-run-*/*.wandb"))
    records = b"".join(file.read_bytes() for file in stored)
    assert all(name.encode() in records for name in METRICS)
    own = json.loads((run / "trackers.json").read_text())["wandb"]
    assert [file.stem for file in stored] == [f"run-{own}"] * len(stored)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["outputs"]


def test_mlflow_has_every_number_in_one_store_for_all_runs(start: Start, tmp_path: Path) -> None:
    mlflow = pytest.importorskip("mlflow", reason="mlflow is no dependency of ours")
    start("mlflow")
    # A resume has another configuration, which MLflow would refuse to log into the same run.
    start("mlflow", (2, 3), resume_mode="resume_path")
    (run,) = mlflow.search_runs(search_all_experiments=True, output_format="list")
    history = mlflow.MlflowClient().get_metric_history(run.info.run_id, "avatar/val/accuracy")
    assert [(one.step, one.value) for one in history] == [(1, 1.5), (2, 2.5), (2, 2.5), (3, 3.5)]
    assert run.data.metrics["avatar/val/accuracy/family/beeps"] == 3.25
    assert run.data.metrics["avatar/val/accuracy/modality/video_audio"] == 3.75
    assert run.data.metrics["val-core/toy/beeps/acc/mean_at_1"] == 4.0
    assert run.info.status == "FINISHED"
    assert run.info.artifact_uri.startswith((tmp_path / "outputs" / "mlflow_files").as_uri())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["outputs"]


def test_a_place_that_was_chosen_stays(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("TENSORBOARD_DIR", "WANDB_DIR", "MLFLOW_TRACKING_URI"):
        monkeypatch.setenv(name, "elsewhere")
    keep_in(tmp_path / "stage1" / "now")
    assert {os.environ[name] for name in ("TENSORBOARD_DIR", "WANDB_DIR", "MLFLOW_TRACKING_URI")} == {"elsewhere"}
