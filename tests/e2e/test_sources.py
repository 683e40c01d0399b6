"""Every source, from its own annotation through the commands that a user types, into two real training steps."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from support.lookalikes import lay_out_media, recipe_of_all, write_annotations
from support.rows import modality
from support.runs import RunResult, run

from avatar_verl.manifest import is_validated
from data_prep.sources import SOURCES
from data_prep.table import read_rows
from data_prep.toy.render import render_frames, render_sound, write_mp4, write_png, write_wav
from data_prep.toy.scene import sample_scene

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]

BATCH, GROUP = 13, 4  # two steps see each of the 26 rows once


@dataclass(frozen=True)
class Mix:
    """Files that passed the doctor, and what is in them."""

    root: Path
    files: list[Path]
    rows: dict[str, dict[str, Any]]  # by prompt id


def toy_media(folder: Path) -> tuple[list[Path], Path, Path]:
    """(six-second clips with sound, a sound, a picture) of the toy world."""
    rng = np.random.default_rng(11)
    clips = []
    for number in range(4):
        scenes = [sample_scene(rng, "sync", held_out=False) for _ in range(2)]
        frames = np.concatenate([render_frames(scene, rng) for scene in scenes])
        sound = np.concatenate([render_sound(scene, rng) for scene in scenes])
        clips.append(folder / f"{number}.mp4")
        write_mp4(clips[-1], frames, sound)
    write_wav(folder / "sound.wav", sound)
    write_png(folder / "picture.png", frames[0])
    return clips, folder / "sound.wav", folder / "picture.png"


@pytest.fixture(scope="module")
def mix(toy_world: Path, tmp_path_factory: pytest.TempPathFactory) -> Mix:
    folder = tmp_path_factory.mktemp("sources")
    clips, sound, picture = toy_media(folder)
    annotations = write_annotations(folder, picture, sound)
    lay_out_media(folder / "media", clips, sound)
    (folder / "all.yaml").write_text(yaml.safe_dump(recipe_of_all(annotations, folder / "media")))
    model = ["--model", str(toy_world / "model"), "--max-prompt-length", "512"]
    for words in (
        ["build", "--recipe", "all.yaml", "--out", "built"],
        ["validate", "built", "--media-root", "media", "--out", "ready", "--decode", *model],
    ):
        done = subprocess.run([sys.executable, "-m", "data_prep", *words], cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    files = sorted((folder / "ready").glob("*.parquet"))
    rows = {row["extra_info"]["prompt_id"]: row for file in files for row in read_rows(file)}
    return Mix(folder / "media", files, rows)


@pytest.fixture(scope="module")
def trained(mix: Mix, toy_world: Path, tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    files = f"[{','.join(map(str, mix.files))}]"
    result = run(
        "stage1",
        tmp_path_factory.mktemp("trained"),
        f"actor_rollout_ref.model.path={toy_world / 'model'}",
        f"run.train_files={files}",
        f"run.val_files={files}",
        f"avatar.media.root={mix.root}",
        f"avatar.reward.custom={Path(__file__).parent / 'support' / 'reward.py'}",
        "avatar.reward.weights={accuracy: 0.5, format: 0.5, custom: 1.0}",
        f"data.train_batch_size={BATCH}",
        f"actor_rollout_ref.actor.ppo_mini_batch_size={BATCH}",
        f"actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu={BATCH}",
        f"actor_rollout_ref.rollout.log_prob_micro_batch_size_per_gpu={BATCH}",
        f"actor_rollout_ref.ref.log_prob_micro_batch_size_per_gpu={BATCH}",
        "data.max_response_length=16",
        "avatar.replay.min_size=52",
        "trainer.total_training_steps=2",
        "trainer.val_before_train=false",
        "trainer.test_freq=-1",
        "trainer.save_freq=-1",
    )
    assert result.code == 0, result.output + result.log_tail
    return result


def test_all_rows_of_all_sources_passed_the_doctor(mix: Mix) -> None:
    assert {row["extra_info"]["source"] for row in mix.rows.values()} == SOURCES.keys()
    assert len(mix.rows) == 2 * BATCH
    assert all(map(is_validated, mix.files))


def test_both_batches_hold_them_and_nothing_was_bad(mix: Mix, trained: RunResult) -> None:
    samples = trained.samples()
    assert samples.keys() == {1, 2}
    groups = {step: Counter(sample["prompt_id"] for sample in found) for step, found in samples.items()}
    assert groups[1].keys() | groups[2].keys() == mix.rows.keys()
    assert all(set(found.values()) == {GROUP} and len(found) == BATCH for found in groups.values())
    assert trained.lines("bad_rows.jsonl") == []


def test_each_is_trained_as_what_it_is(mix: Mix, trained: RunResult) -> None:
    for found in trained.samples().values():
        for sample in found:
            assert sample["modality"] == modality(mix.rows[sample["prompt_id"]]), sample["prompt_id"]


def test_the_steps_are_real(trained: RunResult) -> None:
    for step in (1, 2):
        assert trained.metrics[step]["actor/grad_norm"] > 1e-3
        assert trained.metrics[step]["avatar/parity/correlation"] >= 0.9999
    assert trained.metrics[2]["avatar/replay/active"] == 1  # the first step's 52 completions are enough to draw from
