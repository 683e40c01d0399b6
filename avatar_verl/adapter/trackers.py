"""Where the trackers that ``trainer.logger`` names keep their files, and how they go on when a run does.

verl's own places are the working directory (TensorBoard, W&B, files of MLflow) and ``/tmp`` (numbers of MLflow), which
the node of a scheduler does not keep. It names no run either, so each start of a run that is resumed would be a run of
its own in W&B and MLflow, and TensorBoard would show the steps behind the last checkpoint twice.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import secrets
from collections.abc import Collection
from pathlib import Path
from typing import Any

from avatar_verl.adapter.run_log import RunLog
from avatar_verl.run_folder import write_json

logger = logging.getLogger(__name__)

#: In the run's folder: name of a tracker -> the id that it knows the run by.
KNOWN = "trackers.json"


def keep_in(run: Path, trackers: Collection[str] = (), project: str = "") -> None:
    """Set the trackers' own variables for this process, but for those that the environment has already.

    TensorBoard writes ``RUN/tensorboard``, W&B ``RUN/wandb``. MLflow compares runs, so all runs below one outputs
    folder share ``OUTPUTS/mlflow.db`` and ``OUTPUTS/mlflow_files``. Its numbers are in no store of files: there ``a/b``
    and ``a/b/c`` would be a file and a folder of one name.

    Args:
        run: ``OUTPUTS/STAGE/TIME``.
        trackers: that will be used; W&B gets an id that a resumed run has again, MLflow a place for files.
        project: ``trainer.project_name``, MLflow's experiment.
    """
    run = run.absolute()
    os.environ.setdefault("TENSORBOARD_DIR", str(run / "tensorboard"))
    os.environ.setdefault("WANDB_DIR", str(run))
    if "MLFLOW_TRACKING_URI" not in os.environ:
        os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{run.parents[1] / 'mlflow.db'}"
        if "mlflow" in trackers:
            _make_experiment(project, run.parents[1] / "mlflow_files")
    if "wandb" in trackers and "WANDB_RUN_ID" not in os.environ:
        os.environ["WANDB_RUN_ID"] = _known(run).get("wandb") or secrets.token_hex(4)
        os.environ.setdefault("WANDB_RESUME", "allow")
        _know(run, "wandb", os.environ["WANDB_RUN_ID"])


class LogTee:
    """Writes each step's metrics to the run folder and passes them on to verl's tracking, where the run goes on.

    Args:
        tracking: verl's ``Tracking``; its ``logger`` maps a tracker's name to the tracker.
        run_log: of the run folder.
        first_step: that is logged now. What an earlier start logged of it and of later steps is forgotten by
            TensorBoard; W&B keeps the first values of such a step, MLflow keeps both.
    """

    def __init__(self, tracking: Any, run_log: RunLog, first_step: int) -> None:
        self._tracking = tracking
        self._run_log = run_log
        board = tracking.logger.get("tensorboard")
        self._board_writer = board and board.writer
        if self._board_writer:
            _forget_from(self._board_writer, first_step)
        if "mlflow" in tracking.logger and "MLFLOW_RUN_ID" not in os.environ:
            try:
                _rejoin_mlflow(run_log.folder)
            except Exception:  # a service that is away must not end a run
                logger.warning("this start is a run of its own in MLflow", exc_info=True)

    def log(self, data: dict[str, Any], step: int) -> None:
        """Numbers of a step, to all."""
        data = self._run_log.metrics(step, data)
        self._tracking.log(data=data, step=step)
        # A run that is killed goes on behind its checkpoint and never says again what is held back: TensorBoard's last
        # two minutes, and a step of W&B until the next one comes.
        if self._board_writer:
            self._board_writer.flush()
        if "wandb" in self._tracking.logger:
            self._tracking.logger["wandb"].log({}, step=step, commit=True)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tracking, name)


def _make_experiment(project: str, files: Path) -> None:
    """verl would make it with files in the working directory."""
    import mlflow

    # Not there, or made by another run at this very moment; verl's own tracking reports a store that does not work.
    with contextlib.suppress(mlflow.MlflowException):
        client = mlflow.MlflowClient(os.environ["MLFLOW_TRACKING_URI"])
        if client.get_experiment_by_name(project) is None:
            client.create_experiment(project, artifact_location=files.as_uri())


def _forget_from(writer: Any, step: int) -> None:
    """What ``SummaryWriter(purge_step=...)`` writes; verl makes the writer without it."""
    from tensorboard.compat.proto.event_pb2 import Event, SessionLog

    writer.file_writer.add_event(Event(step=step, file_version="brain.Event:2"))
    writer.file_writer.add_event(Event(step=step, session_log=SessionLog(status=SessionLog.START)))


def _rejoin_mlflow(run: Path) -> None:
    """Leave the run that verl has just started for the one of the first start.

    Naming it beforehand by ``MLFLOW_RUN_ID`` would not do: verl logs the configuration again, in which a resume is
    another one, and MLflow refuses to change it.
    """
    import mlflow

    started, earlier = mlflow.active_run().info.run_id, _known(run).get("mlflow")
    if earlier is None:
        _know(run, "mlflow", started)
        return
    client = mlflow.MlflowClient()
    client.get_run(earlier)  # raises where the store has lost it, and this start stays a run of its own
    mlflow.end_run()
    client.delete_run(started)
    mlflow.start_run(run_id=earlier)


def _known(run: Path) -> dict[str, str]:
    file = run / KNOWN
    return json.loads(file.read_text()) if file.exists() else {}


def _know(run: Path, tracker: str, name: str) -> None:
    write_json(run / KNOWN, {**_known(run), tracker: name})
