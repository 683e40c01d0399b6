"""One clip with its completions, for the trackers that ``trainer.logger`` names: W&B, TensorBoard and MLflow.

verl's tracking takes numbers only, so this speaks to the trackers themselves, as verl's own table of validation
generations does. Trackers that are not among these three are passed over.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from avatar_verl.adapter.judge_frames import frame_source
from avatar_verl.config import JudgeReward
from avatar_verl.media import SAMPLE_RATE, FrameBudget, MediaError, load_audio
from avatar_verl.types import Sample

logger = logging.getLogger(__name__)

#: What TensorBoard stores of a clip: a few small frames, and the beginning of its sound.
_FRAMES = JudgeReward(frames=4, frame_side=224)
_SOUND = FrameBudget(max_audio_seconds=10.0)

_SOUNDS, _CLIPS = (".wav", ".mp3", ".flac", ".ogg"), (".mp4", ".webm", ".gif")
_COLUMNS = ["completion", "reward", "reasons"]


def log_media(tracking: Any, step: int, reports: Sequence[dict[str, Any]]) -> None:
    """Give the first group of some reports to the trackers. A tracker that refuses is a warning in the log.

    Args:
        tracking: verl's ``Tracking``; its ``logger`` maps a tracker's name to the tracker.
        step: trainer step.
        reports: of completions, as the agent loops make them: ``sample`` and ``breakdown`` are read.
    """
    if not reports:
        return
    first: Sample = reports[0]["sample"]
    rows = [
        [
            r["sample"].completion,
            r["breakdown"].total,
            "; ".join(f"{n}: {p.reason}" for n, p in r["breakdown"].parts.items()),
        ]
        for r in reports
        if r["sample"].group == first.group
    ]
    for name, tracker in tracking.logger.items():
        if name not in _TRACKERS:
            continue
        try:
            _TRACKERS[name](tracker, step, first, rows)
        except Exception:  # a service that is away must not end a run, whose own log has everything
            logger.warning("%s did not take the samples of step %d", name, step, exc_info=True)


def _to_wandb(wandb: Any, step: int, first: Sample, rows: list[list[Any]]) -> None:
    """``wandb`` is the module. A step's later numbers join what is logged here under the same step."""
    found: dict[str, Any] = {"avatar/samples/completions": wandb.Table(columns=_COLUMNS, data=rows)}
    caption = f"{first.question} Answer: {first.ground_truth}"
    for number, path in enumerate(first.media):
        ending = Path(path).suffix.lower()
        if ending in _CLIPS:
            found[f"avatar/samples/video_{number}"] = wandb.Video(path, caption=caption, format=ending[1:])
        elif ending in _SOUNDS:
            found[f"avatar/samples/audio_{number}"] = wandb.Audio(path, caption=caption)
        else:
            found[f"avatar/samples/image_{number}"] = [wandb.Image(path, caption=caption)]
    wandb.log(found, step=step)


def _to_tensorboard(adapter: Any, step: int, first: Sample, rows: list[list[Any]]) -> None:
    from PIL import Image

    adapter.writer.add_text("avatar/samples/completions", _indented(first, rows), step)
    for number, path in enumerate(first.media):
        jpegs = frame_source(_FRAMES)(path)
        if jpegs:
            frames = np.stack([np.asarray(Image.open(io.BytesIO(jpeg))) for jpeg in jpegs])
            adapter.writer.add_images(f"avatar/samples/frames_{number}", frames, step, dataformats="NHWC")
        sound = _sound(path)
        if sound is not None:
            adapter.writer.add_audio(f"avatar/samples/sound_{number}", sound[None], step, SAMPLE_RATE)


def _sound(path: str) -> Any:
    """Waveform [N] of a clip or a sound file; None where there is none."""
    try:
        return load_audio(path, _SOUND).waveform
    except MediaError:
        return None


def _to_mlflow(_: Any, step: int, first: Sample, rows: list[list[Any]]) -> None:
    import mlflow

    mlflow.log_text(_indented(first, rows), f"samples/step_{step}.txt")
    for path in first.media:
        mlflow.log_artifact(path, f"samples/step_{step}")


def _indented(first: Sample, rows: list[list[Any]]) -> str:
    """Markdown in which all text of the model is code, so that nothing in it is markup."""
    texts = [f"{first.question}\nAnswer: {first.ground_truth}"]
    texts += [f"reward {reward:.3f} ({reasons})\n{completion}" for completion, reward, reasons in rows]
    return "\n\n---\n\n".join("\n".join(f"    {line}" for line in text.splitlines()) for text in texts)


_TRACKERS: dict[str, Callable[[Any, int, Sample, list[list[Any]]], None]] = {
    "wandb": _to_wandb,
    "tensorboard": _to_tensorboard,
    "mlflow": _to_mlflow,
}
