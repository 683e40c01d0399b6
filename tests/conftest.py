"""What all tests share: a CPU platform for verl, and a tiny toy world with one row of each modality."""

from __future__ import annotations

import logging
import os

# verl picks its platform when it is first imported; this file is read before any test module is.
os.environ.setdefault("VERL_PLATFORM", "cpu")
os.environ.setdefault("VERL_USE_EXTERNAL_MODULES", "avatar_verl.adapter.platform")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from avatar_verl.adapter import compat
from avatar_verl.schema import validate_row

compat.install()  # what the environment's .pth file does, where a test environment has none

Row = dict[str, Any]


@pytest.fixture(autouse=True)
def heard_loggers() -> None:
    """vLLM and others configure logging when they are imported, which mutes loggers that existed before."""
    for name, logger in list(logging.Logger.manager.loggerDict.items()):
        if name.split(".")[0] in ("avatar_verl", "data_prep") and isinstance(logger, logging.Logger):
            logger.disabled, logger.propagate = False, True


@pytest.fixture(scope="session")
def toy_world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``train.parquet`` (24 rows), ``val.parquet`` (8), ``cold_start.parquet`` (16) and ``model``."""
    from data_prep.toy.world import build_toy_world

    folder = tmp_path_factory.mktemp("world") / "toy"
    build_toy_world(folder, train=24, val=8, cold_start=16)
    return folder


def make_row(name: str, use_audio_in_video: bool = False, **media: list[str]) -> Row:
    """A row that asks about media given by column: ``videos=["a.mp4"]``. Placeholders come in the order given."""
    kinds = {"images": "image", "videos": "video", "audios": "audio"}
    placeholders = "".join(f"<{kinds[column]}>" * len(paths) for column, paths in media.items())
    row = {
        "data_source": f"test/{name}",
        "prompt": [
            {"role": "system", "content": "Look and listen. Think, then answer."},
            {"role": "user", "content": f"{placeholders}How many beeps are there?"},
        ],
        **{column: [{kind: path} for path in media.get(column, [])] for column, kind in kinds.items()},
        "ability": "audio_visual",
        "reward_model": {"style": "rule", "ground_truth": "2"},
        "response": "<think>heard low high.</think><answer>2</answer>",
        "extra_info": {
            "index": 0,
            "prompt_id": f"test/{name}",
            "split": "train",
            "stage": 1,
            "problem_type": "count",
            "question": "How many beeps are there?",
            "options": [],
            "hint": "",
            "audio_cues": "",
            "use_audio_in_video": use_audio_in_video,
            "duration": 3.0,
            "source": "test",
            "family": "beeps",
            "difficulty": "easy",
        },
    }
    validate_row(row)
    return row


@pytest.fixture(scope="session")
def modal_rows(toy_world: Path) -> dict[str, Row]:
    """One row of each kind of prompt; their media lie under ``toy_world / "modal"``, paths are relative to there.

    Clips last 3 s, except ``long.mp4`` (12 s) and ``brief.mp4`` (2 s); ``mute.mp4`` has no sound track.
    """
    from data_prep.toy.render import render_frames, render_sound, write_mp4, write_png, write_wav
    from data_prep.toy.scene import sample_scene

    folder = toy_world / "modal"
    folder.mkdir()
    rng = np.random.default_rng(7)
    scene = sample_scene(rng, "sync", held_out=False)
    frames, sound = render_frames(scene, rng), render_sound(scene, rng)
    write_mp4(folder / "clip.mp4", frames, sound)
    write_mp4(folder / "mute.mp4", frames, None)
    write_mp4(folder / "long.mp4", np.concatenate([frames] * 4), np.concatenate([sound] * 4))
    write_mp4(folder / "brief.mp4", frames[: len(frames) * 2 // 3], sound[: len(sound) * 2 // 3])
    write_wav(folder / "sound.wav", sound)
    write_png(folder / "picture.png", frames[0])
    return {
        "audio_in_video": make_row("audio_in_video", True, videos=["clip.mp4"]),
        "long_audio_in_video": make_row("long_audio_in_video", True, videos=["long.mp4"]),
        "two_with_sound": make_row("two_with_sound", True, videos=["clip.mp4", "brief.mp4"]),
        "video_and_audio": make_row("video_and_audio", videos=["mute.mp4"], audios=["sound.wav"]),
        "audio_and_video": make_row("audio_and_video", audios=["sound.wav"], videos=["mute.mp4"]),
        "video": make_row("video", videos=["mute.mp4"]),
        "two_videos": make_row("two_videos", videos=["long.mp4", "mute.mp4"]),
        "audio": make_row("audio", audios=["sound.wav"]),
        "two_audios": make_row("two_audios", audios=["sound.wav", "clip.mp4"]),
        "image": make_row("image", images=["picture.png"]),
        "image_and_audio": make_row("image_and_audio", images=["picture.png"], audios=["sound.wav"]),
        "text": make_row("text"),
        "silent_clip": make_row("silent_clip", True, videos=["mute.mp4"]),
    }


@pytest.fixture(scope="session")
def processor(toy_world: Path) -> Any:
    from transformers import Qwen2_5OmniProcessor

    return Qwen2_5OmniProcessor.from_pretrained(toy_world / "model")


@pytest.fixture(scope="session")
def thinker(toy_world: Path) -> Any:
    """The toy thinker, in float32 and evaluation mode, by transformers alone. Tests must not change its weights."""
    from transformers import Qwen2_5OmniConfig, Qwen2_5OmniThinkerForConditionalGeneration

    config = Qwen2_5OmniConfig.from_pretrained(toy_world / "model").thinker_config
    return Qwen2_5OmniThinkerForConditionalGeneration.from_pretrained(toy_world / "model", config=config).eval()


@pytest.fixture(scope="session")
def make_builder(processor: Any, thinker: Any) -> Any:
    """``make_builder(max_frames=8)``: a prompt builder with that budget."""
    from avatar_verl.media import Decoder, FrameBudget
    from avatar_verl.omni.prompt import PromptBuilder

    return lambda **budget: PromptBuilder(processor, thinker.config, FrameBudget(**budget), Decoder())


@pytest.fixture(scope="session")
def build(make_builder: Any, toy_world: Path) -> Any:
    """``build(row, max_frames=8)``: the prompt of one of ``modal_rows``."""
    from avatar_verl.omni.messages import build_messages

    def run(row: Row, **budget: float) -> Any:
        use_audio = row["extra_info"]["use_audio_in_video"]
        return make_builder(**budget).build(build_messages(row), str(toy_world / "modal"), use_audio)

    return run


@pytest.fixture(scope="session")
def prompts(modal_rows: dict[str, Row], build: Any) -> dict[str, Any]:
    """All of ``modal_rows``, built; at most 8 frames a clip, so that ``long.mp4`` is sampled at 2/3 frames a second."""
    return {name: build(row, max_frames=8) for name, row in modal_rows.items()}
