"""A clip with its completions as the trackers store it: real TensorBoard files, W&B offline."""

from __future__ import annotations

import io
import logging
import sys
import wave
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from avatar_verl.adapter.media_samples import log_media
from avatar_verl.media import FrameBudget, load_audio
from avatar_verl.types import RewardBreakdown, RewardPart, Sample


def report(group: str, text: str, media: tuple[str, ...]) -> dict[str, Any]:
    sample = Sample(text, "B", "multiple_choice", group=group, question="How many beeps?", media=media)
    return {"sample": sample, "breakdown": RewardBreakdown(0.75, {"accuracy": RewardPart(1.0, "right")}, "B")}


@pytest.fixture
def reports(toy_world: Path, modal_rows: Any) -> list[dict[str, Any]]:
    """A group of two over a clip and a picture, and a group that must be left out."""
    media = (str(toy_world / "modal" / "clip.mp4"), str(toy_world / "modal" / "picture.png"))
    texts = ("<b>one</b>", "two")
    return [*(report("a", text, media) for text in texts), report("b", "other", media)]


def test_tensorboard_gets_frames_and_texts_of_the_first_group(reports: list[dict[str, Any]], tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from torch.utils.tensorboard import SummaryWriter

    writer = SummaryWriter(str(tmp_path))
    log_media(SimpleNamespace(logger={"tensorboard": SimpleNamespace(writer=writer)}), 7, reports)
    writer.close()
    stored = EventAccumulator(str(tmp_path), size_guidance={"images": 0, "tensors": 0, "audio": 0}).Reload()
    (text,) = stored.Tensors("avatar/samples/completions/text_summary")
    assert text.step == 7
    words = text.tensor_proto.string_val[0].decode()
    assert "    <b>one</b>" in words  # indented: code, not markup
    assert "reward 0.750 (accuracy: right)" in words
    assert "other" not in words
    (frames,) = stored.Images("avatar/samples/frames_0")
    assert frames.encoded_image_string[:4] == b"\x89PNG"
    assert frames.width > 0
    assert stored.Images("avatar/samples/frames_1")
    (sound,) = stored.Audio("avatar/samples/sound_0")
    assert sound.sample_rate == 16_000
    with wave.open(io.BytesIO(sound.encoded_audio_string)) as heard:
        samples = np.frombuffer(heard.readframes(heard.getnframes()), np.int16) / 32767
    given = load_audio(reports[0]["sample"].media[0], FrameBudget(max_audio_seconds=10.0)).waveform
    assert np.abs(samples - given).max() < 1e-4
    assert "avatar/samples/sound_1" not in stored.Tags()["audio"]  # a picture


def test_wandb_gets_the_clip_itself(
    reports: list[dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import wandb

    monkeypatch.setenv("WANDB_SILENT", "true")
    run = wandb.init(project="test", mode="offline", dir=str(tmp_path))
    log_media(SimpleNamespace(logger={"wandb": wandb}), 3, reports)
    run.finish()
    stored = [path for path in (tmp_path / "wandb").rglob("media/**/*") if path.is_file()]
    (clip,) = [path for path in stored if path.suffix == ".mp4"]
    assert clip.read_bytes() == Path(reports[0]["sample"].media[0]).read_bytes()
    (table,) = [path for path in stored if path.name.endswith(".table.json")]
    assert "<b>one</b>" in table.read_text()
    assert any(path.suffix == ".png" for path in stored)


def test_mlflow_gets_files(reports: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    """mlflow is no dependency of ours: its two calls are recorded here, and its store is read below where it is."""
    calls: list[tuple[str, str]] = []
    texts = SimpleNamespace(
        log_text=lambda text, file: calls.append((text, file)), log_artifact=lambda path, to: calls.append((path, to))
    )
    monkeypatch.setitem(sys.modules, "mlflow", texts)
    log_media(SimpleNamespace(logger={"mlflow": object()}), 5, reports)
    assert calls[0][1] == "samples/step_5.txt"
    assert calls[1:] == [(path, "samples/step_5") for path in reports[0]["sample"].media]


def test_mlflow_keeps_the_files(reports: list[dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow = pytest.importorskip("mlflow", reason="mlflow is no dependency of ours")
    monkeypatch.chdir(tmp_path)
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/mlflow.db")
    mlflow.set_experiment("avatar")
    with mlflow.start_run():
        log_media(SimpleNamespace(logger={"mlflow": object()}), 5, reports)
    (clip,) = tmp_path.rglob("samples/step_5/*.mp4")
    assert clip.read_bytes() == Path(reports[0]["sample"].media[0]).read_bytes()
    (text,) = tmp_path.rglob("samples/step_5.txt")
    assert "    <b>one</b>" in text.read_text()


def test_a_tracker_that_is_away_does_not_end_the_run(
    reports: list[dict[str, Any]], caplog: pytest.LogCaptureFixture
) -> None:
    def away(*_: Any, **__: Any) -> None:
        raise ConnectionError("no route to host")

    writer = SimpleNamespace(add_text=away)
    with caplog.at_level(logging.WARNING):
        log_media(SimpleNamespace(logger={"tensorboard": SimpleNamespace(writer=writer)}), 9, reports)
    assert "tensorboard did not take the samples of step 9" in caplog.text
    assert "no route to host" in caplog.text


def test_other_trackers_and_empty_steps_are_passed_over(reports: list[dict[str, Any]]) -> None:
    log_media(SimpleNamespace(logger={"console": object()}), 1, reports)
    log_media(SimpleNamespace(logger={"wandb": None}), 1, [])
