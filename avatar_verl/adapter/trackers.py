"""Where the trackers that ``trainer.logger`` names keep their files: in the run's folder, not where a run was started.

verl's own places are the working directory (TensorBoard, W&B) and ``/tmp`` (MLflow), which the node of a scheduler does
not keep.
"""

from __future__ import annotations

import os
from pathlib import Path


def keep_in(run: Path) -> None:
    """Set the trackers' own variables for this process, but for those that the environment has already.

    TensorBoard writes ``RUN/tensorboard``, W&B ``RUN/wandb``. MLflow compares runs, so all runs below one outputs
    folder share ``OUTPUTS/mlflow.db``. It is no store of files: there ``a/b`` and ``a/b/c`` would be a file and a
    folder of one name.

    Args:
        run: ``OUTPUTS/STAGE/TIME``.
    """
    run = run.absolute()
    os.environ.setdefault("TENSORBOARD_DIR", str(run / "tensorboard"))
    os.environ.setdefault("WANDB_DIR", str(run))
    os.environ.setdefault("MLFLOW_TRACKING_URI", f"sqlite:///{run.parents[1] / 'mlflow.db'}")
