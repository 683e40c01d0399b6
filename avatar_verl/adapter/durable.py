"""verl's synchronous trainer with checkpoints that are whole, and a resume that repeats nothing and misses nothing.

A checkpoint is the replay state, then verl's own files, then the mark that all of it is there. A run that starts again
finds the newest marked one and cuts its own files (metrics, samples, bad rows) back to it.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from transfer_queue import KVBatchMeta
from verl.trainer.ppo.v1 import PPOTrainerSync

from avatar_verl.adapter.replay_cycle import ReplayCycle
from avatar_verl.adapter.run_log import BadDataError, RunLog, numbers
from avatar_verl.run_folder import (
    StopAskedError,
    asked_to_stop,
    mark_complete,
    newest_checkpoint,
    prune_checkpoints,
    saved_replay,
    torn,
    write_json,
)


class DurableTrainer(PPOTrainerSync):
    """See the module's docstring. A derived class makes ``replay`` and ``run_log`` before it calls ``__init__``."""

    replay: ReplayCycle
    run_log: RunLog

    def __init__(self, config: Any) -> None:
        self._step_metrics: dict[str, Any] = {}  # of the step that is under way; verl adds to it
        self._usual_entropy: float | None = None  # the guard's yardstick, a moving average
        self._step_batch: KVBatchMeta | None = None
        self._step_began = 0.0  # seconds, of time.monotonic()
        self._saved_for_stop = False
        self.first_logged = 0  # step of the first metrics that this start logs
        self.owes_metrics = False  # those of the checkpoint's step are to be logged before anything else
        super().__init__(config)

    def _init_dataloader(self) -> None:
        """The first thing verl sets up. The run's files are cut back to the checkpoint before they grow again."""
        self._start = self._find_checkpoint()
        self._metrics_filed = self.run_log.resume_at(-1 if self._start is None else _step_of(self._start))
        self.first_logged = 0 if self._start is None else _step_of(self._start) + self._metrics_filed
        super()._init_dataloader()
        for split, dataset in (("train", self.train_dataset), ("val", self.val_dataset)):
            total = len(dataset) + len(dataset.bad_rows)
            self.run_log.dataset_rows(dataset.bad_rows, total, split, resumed=self._start is not None)
        self._allow_epochs()

    def _allow_epochs(self) -> None:
        """``total_training_steps``, where it is given, decides alone; verl would also stop after ``total_epochs``."""
        if not self.steps_per_epoch:
            raise BadDataError(
                f"only {len(self.train_dataset)} rows can be used, fewer than data.train_batch_size; see bad_rows.jsonl"
            )
        needed = -(-self.total_training_steps // self.steps_per_epoch)
        self.config.trainer.total_epochs = max(self.config.trainer.total_epochs, needed)

    def _find_checkpoint(self) -> Path | None:
        """Where to start from: the newest complete checkpoint, where verl's own tracker file may name a torn one."""
        trainer = self.config.trainer
        if trainer.resume_mode == "auto":
            return newest_checkpoint(Path(trainer.default_local_dir), _refuse)
        if trainer.resume_mode != "resume_path":
            return None
        given = Path(trainer.resume_from_path)
        if reason := torn(given):
            raise ValueError(f"trainer.resume_from_path: {reason}")
        return given

    def _load_checkpoint(self) -> None:
        trainer = self.config.trainer
        trainer.resume_mode = "disable" if self._start is None else "resume_path"
        trainer.resume_from_path = None if self._start is None else str(self._start)
        super()._load_checkpoint()
        if self._start is None:
            self._inherit_replay()
            return
        self._usual_entropy = self.replay.load(self._start / "avatar").get("usual_entropy")
        trainer.val_before_train = False
        if not self._metrics_filed:
            self._finish_step(self._start)

    def _inherit_replay(self) -> None:
        """The buffer of an earlier stage, where the configuration names one."""
        start = self.replay.config.replay.start_from
        if not start:
            return
        folder = saved_replay(Path(start))
        if folder is None:  # it was there when the run was checked
            raise FileNotFoundError(f"avatar.replay.start_from: {start} holds no replay state any more")
        self.replay.inherit(folder)
        print(f"[AVATAR] replay begins with {len(self.replay.buffer)} entries of {folder}", flush=True)

    def _finish_step(self, checkpoint: Path) -> None:
        """Make up for what was cut off between a checkpoint and the end of its step: metrics, maybe a validation."""
        trainer = self.config.trainer
        saved = checkpoint / "metrics.json"
        self.run_log.carry(json.loads(saved.read_text()) if saved.exists() else {})
        last = self.global_steps >= self.total_training_steps
        if trainer.test_freq > 0 and (last or self.global_steps % trainer.test_freq == 0):
            trainer.val_before_train = True  # verl logs it under the checkpoint's step
        else:
            self.owes_metrics = True

    def on_step_begin(self) -> None:
        if self._saved_for_stop:
            raise StopAskedError(f"step {self.global_steps - 1} is saved")
        self._step_began = time.monotonic()
        super().on_step_begin()

    def on_step_end(self) -> None:
        """Where verl saves, so is where a stop that was asked for saves: the rollout still sleeps."""
        if asked_to_stop(self.run_log.folder):
            folder = Path(self.config.trainer.default_local_dir) / f"global_step_{self.global_steps}"
            if torn(folder):
                self._save_checkpoint()
            self._saved_for_stop = True
        super().on_step_end()

    def _save_checkpoint(self) -> None:
        folder = Path(self.config.trainer.default_local_dir) / f"global_step_{self.global_steps}"
        self.replay.save(folder / "avatar", self.global_steps, usual_entropy=self._usual_entropy)
        keep = self.config.trainer.get("max_actor_ckpt_to_keep", None)
        # verl would remove an older actor before the new checkpoint is whole; ours are pruned behind the mark.
        self.config.trainer.max_actor_ckpt_to_keep = None
        try:
            super()._save_checkpoint()
        finally:
            self.config.trainer.max_actor_ckpt_to_keep = keep
        write_json(folder / "metrics.json", numbers(self._metrics_so_far()))
        mark_complete(folder, {"global_step": self.global_steps})
        self._prune_checkpoints()

    def _metrics_so_far(self) -> dict[str, Any]:
        """The step's metrics with those that verl works out behind the checkpoint and the validation.

        Its times are those up to now; of the validation there is nothing.
        """
        metrics = dict(self._step_metrics)
        if self._step_batch is not None:
            self._compute_metrics(
                self._step_batch,
                metrics,
                {**self.timing_raw, "step": time.monotonic() - self._step_began},
                global_steps=self.global_steps,
                epoch=(self.global_steps - 1) // self.steps_per_epoch,
            )
        return metrics

    def _prune_checkpoints(self) -> None:
        """Keep the newest ``max_actor_ckpt_to_keep`` whole checkpoints, with all that belongs to them."""
        keep = self.config.trainer.get("max_actor_ckpt_to_keep", None)
        if keep:
            prune_checkpoints(Path(self.config.trainer.default_local_dir), keep)


def _refuse(reason: str) -> None:
    print(f"[AVATAR] not resumed from: {reason}", flush=True)


def _step_of(checkpoint: Path) -> int:
    return int(checkpoint.name.removeprefix("global_step_"))
