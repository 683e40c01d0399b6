"""The processes of a real run by what they do, and which part of a step a run is in: what a kill needs to know."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import psutil

from avatar_verl.run_folder import newest_checkpoint, torn
from support import family
from support.runs import Job, read_lines

#: Target -> words of the command line of its process. Ray actors carry their class as the title.
TITLES = {
    "rollout server": ("ray::OmniHttpServer",),
    "rollout engine": ("VLLM::EngineCore",),
    "FSDP worker": ("ray::WorkerDict",),
    "reward worker": ("ray::LateAgentLoopWorker",),
    "queue storage": ("ray::SimpleStorageUnit",),
    "queue controller": ("ray::TransferQueueController",),
    "Ray GCS": ("/gcs_server",),
    "raylet": ("/raylet/raylet",),
    "driver": ("avatar_verl.adapter.driver",),
    "command": ("avatar_verl.main",),
}
WHOLE_JOB = "whole job"  # every process at once, as when the machine goes down
PHASES = ("generation", "update", "save")
START_UP = "start-up"


def find(mark: str, target: str) -> list[psutil.Process]:
    """The living processes of a run that are a target; none: it has not started yet."""
    found = []
    for process in family.members(mark):
        try:
            line = " ".join(process.cmdline())
        except psutil.Error:
            continue
        if target == WHOLE_JOB or any(words in line for words in TITLES[target]):
            found.append(process)
    return found


@dataclass(frozen=True)
class Moment:
    """Where a run is: the step under way (0 before the first of this start) and its phase."""

    step: int
    phase: str


class Watch:
    """Tells the moment of one start of a run, from the files that it writes."""

    def __init__(self, outputs: Path, stage: str) -> None:
        """Call before the start: what lies there then is of earlier starts."""
        log = outputs / stage / "latest" / "log.txt"
        self._seen = log.stat().st_size if log.exists() else 0
        self._old = {path: path.stat().st_mtime for path in outputs.glob(f"{stage}/*/checkpoints/**/*")}
        self._begun = False

    def moment(self, job: Job) -> Moment:
        """Now."""
        checkpoints = job.folder / "checkpoints"
        self._begun = self._begun or self._training(job.folder / "log.txt")
        if not self._begun:
            return Moment(0, START_UP)
        last = saved_step(checkpoints)
        step = last + 1
        if self._is_written(checkpoints / f"global_step_{step}"):
            return Moment(step, "save")
        rolled_out = any(s["step"] == step and s["split"] == "train" for s in read_lines(job.folder / "samples.jsonl"))
        return Moment(step, "update" if rolled_out else "generation")

    def _training(self, log: Path) -> bool:
        if not log.exists():
            return False
        with log.open("rb") as file:
            file.seek(self._seen)
            return b"Training Progress" in file.read()

    def _is_written(self, checkpoint: Path) -> bool:
        """Whether this start writes it now: it is not whole, and something in it is new."""
        try:
            new = any(self._old.get(path) != path.stat().st_mtime for path in (checkpoint, *checkpoint.rglob("*")))
            return new and bool(torn(checkpoint))
        except FileNotFoundError:  # not there yet, or a temporary name that is gone again
            return False


def saved_step(checkpoints: Path) -> int:
    """Step of the newest whole checkpoint; 0 without one."""
    newest = newest_checkpoint(checkpoints)
    return 0 if newest is None else int(newest.name.removeprefix("global_step_"))
