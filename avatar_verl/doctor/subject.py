"""What the doctor looks at: read off a run's configuration, or given by hand. It travels to other nodes as values."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from avatar_verl.adapter.placement import Needs
from avatar_verl.config import JUDGE_POOL, AvatarConfig, JudgeReward, separated_rollout
from avatar_verl.doctor import devices, machine, packages, services
from avatar_verl.doctor.findings import Finding, guarded

GIB = machine.GIB
#: Shared memory and host memory that a node of each kind should have.
_SHARED = {"cpu": GIB, "cuda": 32 * GIB}
_HOST = {"cpu": 6 * GIB, "cuda": 200 * GIB}
_WORLDS = {"cpu": 2}  # ranks of the collective on a machine without GPUs


@dataclass(frozen=True)
class Subject:
    """A run that is to be started, as far as nodes are concerned.

    Attributes:
        device: "cpu" or "cuda".
        outputs: folder of the runs.
        gpus: GPUs (or slots, on CPUs) wanted on each node; 0: any number.
        needs: what is wanted of a cluster in all.
        inputs: files and folders each node must see: model, data, media root.
        judge: the judge's settings, where one is asked.
    """

    device: str
    outputs: str
    gpus: int = 0
    needs: Needs = field(default_factory=lambda: Needs(nodes=1, gpus_per_node=0))
    inputs: tuple[str, ...] = ()
    judge: JudgeReward | None = None

    @classmethod
    def of(cls, config: dict[str, Any]) -> Subject:
        """Of a composed configuration, as plain containers."""
        avatar = AvatarConfig.from_mapping(config["avatar"])
        model = config["actor_rollout_ref"]["model"] if "actor_rollout_ref" in config else config["model"]
        given = (config["run"]["train_files"], config["run"]["val_files"])
        files = [name for value in given for name in ([value] if isinstance(value, str) else value or [])]
        cache, needs = avatar.media.cache.folder, Needs.of(config)
        inputs = [
            str(model["path"]),
            *files,
            *([avatar.media.root] if avatar.media.root else []),
            *filter(None, [cache]),
        ]
        return cls(
            device=str(config["trainer"]["device"]),
            outputs=str(Path(config["run"]["outputs"]).absolute()),
            gpus=min(needs.gpus_per_node, separated_rollout(config)[1] or needs.gpus_per_node),
            needs=needs,
            inputs=tuple(inputs),
            judge=avatar.reward.judge if avatar.reward.judge.endpoint not in ("", JUDGE_POOL) else None,
        )

    @property
    def checkpoint_bytes(self) -> int:
        """Of the largest kind: weights twice (verl's own and Hugging Face's), and two states of the optimiser."""
        model = Path(self.inputs[0]) if self.inputs else Path("/nowhere")
        return 4 * sum(file.stat().st_size for file in model.glob("*.safetensors"))


def examine(subject: Subject, collective: bool = True) -> list[Finding]:
    """All checks of the machine this runs on."""
    device, outputs = subject.device, Path(subject.outputs)
    looks = [
        ("versions", lambda: packages.check_versions(device)),
        ("repairs", packages.check_repairs),
        ("disk", lambda: machine.check_disk(outputs, subject.checkpoint_bytes)),
        ("temporary files", machine.check_temporary),
        ("shared memory", lambda: machine.check_shared_memory(_SHARED[device])),
        ("host memory", lambda: machine.check_memory(_HOST[device])),
        ("limits", lambda: machine.check_limits(device)),
        ("file system", lambda: machine.check_latency(outputs)),
    ]
    if subject.inputs:
        looks.append(("inputs", lambda: services.check_files("inputs", list(subject.inputs))))
    if subject.judge is not None:
        judge = subject.judge
        looks.append(("judge", lambda: services.check_judge(judge)))
    if device == "cuda":
        looks += [("GPUs", lambda: devices.check_gpus(subject.gpus)), ("flash-attn", devices.check_flash_attention)]
    if collective:
        looks.append(("collective", lambda: devices.check_collective(device, _ranks(subject))))
    return [finding for name, look in looks for finding in guarded(name, look)]


def _ranks(subject: Subject) -> int:
    if subject.device == "cpu":
        return _WORLDS["cpu"]
    import torch

    return subject.gpus or torch.cuda.device_count()
