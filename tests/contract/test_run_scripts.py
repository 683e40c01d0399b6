"""What the run scripts start, in which order, from which model. The interpreter is a recorder: nothing is trained."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
#: Writes its words down, and leaves behind what a finished cold start and a made world leave.
RECORDER = """#!/usr/bin/env bash
echo "$*" >>calls.txt
case "$*" in
*"data_prep toy --out "*) mkdir -p "$5/model" && echo {} >"$5/manifest.json" ;;
*avatar_verl.main*cold_start*) mkdir -p "outputs/$3/latest/model" && echo {} >"outputs/$3/latest/finished.json" ;;
esac
"""
DATA = {"TRAIN_FILES": "/data/a.parquet,/data/b.parquet", "VAL_FILES": "/data/v.parquet"}


@dataclass(frozen=True)
class Clone:
    """A bare clone with the recorder as its interpreter."""

    folder: Path

    def run(self, script: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        ours = ("MODEL_PATH", "TRAIN_FILES", "VAL_FILES", "PROFILE", "DRY_RUN")
        clean = {name: value for name, value in os.environ.items() if name not in ours}
        command = [str(self.folder / script), *arguments]
        return subprocess.run(command, env={**clean, **variables}, capture_output=True, text=True)

    def calls(self) -> list[list[str]]:
        path = self.folder / "calls.txt"
        return [line.split() for line in path.read_text().splitlines()] if path.exists() else []

    def finish(self, stage: str) -> None:
        """Pretend that a stage has run."""
        run = self.folder / "outputs" / stage / "20260101-000000"
        (run / "model").mkdir(parents=True)
        (run / "finished.json").write_text("{}")
        (run.parent / "latest").symlink_to(run.name)


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    (tmp_path / "recipe" / "launch").mkdir(parents=True)
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv-gpu").symlink_to(".venv")
    for name in (
        "recipe/launch/run.sh",
        "recipe/launch/venv.sh",
        "run_fs_grpo.sh",
        *(f"run_stage{n}.sh" for n in range(4)),
    ):
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "recipe" / "launch" / "setup.sh").write_text("exit 0\n")
    recorder = tmp_path / ".venv" / "bin" / "python"
    recorder.write_text(RECORDER)
    recorder.chmod(0o755)
    return Clone(tmp_path)


def told(words: list[str], key: str) -> str:
    """Value of the last override of a key."""
    return [word.partition("=")[2] for word in words if word.startswith(f"{key}=")][-1]


MODEL = "actor_rollout_ref.model.path"


def test_stage_one_makes_the_world_and_the_cold_start_once(clone: Clone) -> None:
    for _ in range(2):
        assert clone.run("run_stage1.sh", "trainer.save_freq=5").returncode == 0
    calls = clone.calls()
    assert [call[1:3] for call in calls[:2]] == [["data_prep", "toy"], ["avatar_verl.main", "cold_start"]]
    assert calls[2] == calls[3]
    assert len(calls) == 4
    assert calls[2][2] == "stage1"
    assert told(calls[2], MODEL) == str(clone.folder / "outputs/cold_start/latest/model")
    assert told(calls[2], "run.train_files") == str(clone.folder / "data/toy/train.parquet")
    assert calls[2][-1] == "trainer.save_freq=5"


@pytest.mark.parametrize(("stage", "before"), [("stage2", "stage1"), ("stage3", "stage2")])
def test_a_stage_goes_on_from_the_one_before(stage: str, before: str, clone: Clone) -> None:
    refused = clone.run(f"run_{stage}.sh")
    assert refused.returncode == 2
    assert f"run ./run_{before}.sh first" in " ".join(refused.stderr.split())
    clone.finish(before)
    assert clone.run(f"run_{stage}.sh").returncode == 0
    words = clone.calls()[-1]
    assert told(words, MODEL) == str(clone.folder / f"outputs/{before}/20260101-000000/model")
    assert ("+data.where.family=[source]" in words) == (stage == "stage3")


def test_a_stage_starts_from_any_other_by_its_name(clone: Clone) -> None:
    clone.finish("cold_start")
    assert clone.run("run_stage3.sh", MODEL_PATH="cold_start").returncode == 0
    assert told(clone.calls()[-1], MODEL) == str(clone.folder / "outputs/cold_start/20260101-000000/model")


def test_the_cold_start_alone(clone: Clone, tmp_path: Path) -> None:
    assert clone.run("run_stage0.sh", "optim.lr=1e-4").returncode == 0
    words = clone.calls()[-1]
    assert words[2] == "cold_start"
    assert told(words, "model.path") == str(clone.folder / "data/toy/model")
    assert told(words, "run.train_files") == str(clone.folder / "data/toy/cold_start.parquet")
    assert words[-1] == "optim.lr=1e-4"
    (tmp_path / "Qwen").mkdir()
    assert clone.run("run_stage0.sh", MODEL_PATH=str(tmp_path / "Qwen"), TRAIN_FILES="/data/a.parquet").returncode == 0
    words = clone.calls()[-1]
    assert told(words, "model.path") == str(tmp_path / "Qwen")
    assert told(words, "cold_start_profile") == "gpu"
    assert not any(word.startswith("run.val_files") for word in words)


def test_own_data_takes_the_gpu_profile_and_the_given_model(clone: Clone, tmp_path: Path) -> None:
    model = tmp_path / "Qwen"
    model.mkdir()
    assert clone.run("run_stage1.sh", MODEL_PATH=str(model), **DATA).returncode == 0
    (words,) = clone.calls()
    assert told(words, MODEL) == str(model)
    assert told(words, "profile") == "gpu"
    assert told(words, "run.train_files") == "[/data/a.parquet,/data/b.parquet]"


def test_own_data_goes_on_from_the_stage_before_too(clone: Clone) -> None:
    clone.finish("stage1")
    assert clone.run("run_stage2.sh", **DATA).returncode == 0
    assert told(clone.calls()[-1], MODEL) == str(clone.folder / "outputs/stage1/20260101-000000/model")


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        (DATA, "set MODEL_PATH too"),
        ({"MODEL_PATH": "/models/Qwen"}, "set TRAIN_FILES too"),
        ({"MODEL_PATH": "/models/Qwen", "TRAIN_FILES": "a"}, "set VAL_FILES too"),
        ({"MODEL_PATH": "nothing"}, "outputs/nothing has none yet"),
    ],
)
def test_what_is_missing_is_named(variables: dict[str, str], message: str, clone: Clone) -> None:
    done = clone.run("run_stage1.sh", **variables)
    assert done.returncode != 0
    assert message in done.stderr
    assert not any("stage1" in call for call in clone.calls())


def test_fs_grpo_has_a_world_and_a_cold_start_of_its_own(clone: Clone) -> None:
    assert clone.run("run_fs_grpo.sh").returncode == 0
    world, cold, reinforced = clone.calls()
    assert world[1:] == ["data_prep", "toy", "--out", "data/toy_adaptive", "--seed", "0", "--style", "adaptive"]
    assert cold[2] == "fs_grpo_cold_start"
    assert told(cold, "model.path") == str(clone.folder / "data/toy_adaptive/model")
    assert reinforced[2] == "fs_grpo"
    assert told(reinforced, MODEL) == str(clone.folder / "outputs/fs_grpo_cold_start/latest/model")
    assert told(reinforced, "run.val_files") == str(clone.folder / "data/toy_adaptive/val.parquet")


def test_a_dry_run_of_a_bare_clone_resolves_the_stage_alone(clone: Clone) -> None:
    for script in ("run_stage1.sh", "run_stage2.sh"):
        assert clone.run(script, DRY_RUN="1").returncode == 0
    world, *stages = clone.calls()
    assert world[1:3] == ["data_prep", "toy"]
    assert [words[2] for words in stages] == ["stage1", "stage2"]
    assert {told(words, MODEL) for words in stages} == {str(clone.folder / "data/toy/model")}


def test_profiles_of_gpus_have_an_environment_of_their_own(clone: Clone, tmp_path: Path) -> None:
    (tmp_path / "Qwen").mkdir()
    (tmp_path / ".venv-gpu").unlink()
    wanted = {"MODEL_PATH": str(tmp_path / "Qwen"), **DATA}
    assert clone.run("run_stage1.sh", **wanted).returncode != 0
    assert clone.run("run_stage1.sh", **wanted, DRY_RUN="1").returncode == 0  # any that can compose will do
    assert clone.run("run_stage1.sh", **wanted, PROFILE="cpu").returncode == 0


#: Stands for the interpreter of an environment: writes its words and what it is to install down.
PIP = """#!/usr/bin/env bash
echo "$*" >>pip.txt
case "$*" in
*" -r "*) cat "${!#}" >>installed.txt ;;
-c*) echo site ;;
esac
"""


@pytest.mark.parametrize(("profile", "venv"), [("cpu", ".venv"), ("gpu", ".venv-gpu"), ("gpu_2x8", ".venv-gpu")])
def test_set_up_installs_the_lock_of_the_profile(profile: str, venv: str, tmp_path: Path) -> None:
    for name in ("recipe/launch/setup.sh", "recipe/launch/venv.sh", "pyproject.toml"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    locks = {"cpu": ["torch==2.13.0+cpu", "numpy==2.0"], "gpu": ["numpy==2.0", "flash-attn==2.8.3", "torch==2.11"]}
    (tmp_path / "requirements").mkdir()
    for name, lines in locks.items():
        (tmp_path / "requirements" / f"{name}.lock").write_text("\n".join(lines) + "\n")
    interpreter = tmp_path / venv / "bin" / "python"
    interpreter.parent.mkdir(parents=True)
    interpreter.write_text(PIP)
    interpreter.chmod(0o755)
    (tmp_path / "site").mkdir()
    command = ["bash", str(tmp_path / "recipe/launch/setup.sh")]
    for _ in range(2):  # the second time there is nothing to do
        done = subprocess.run(
            command, env={**os.environ, "PROFILE": profile, "PYTHON": sys.executable}, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
    calls = (tmp_path / "pip.txt").read_text().splitlines()
    flash = [i for i, call in enumerate(calls) if "flash-attn" in call]
    (lock,) = [i for i, call in enumerate(calls) if " -r " in call]
    together = [line for line in locks[profile.partition("_")[0]] if not line.startswith("flash-attn")]
    assert (tmp_path / "installed.txt").read_text().splitlines() == together
    if profile == "cpu":
        assert not flash
    else:  # it is built against the torch that the lock has brought
        assert flash == [lock + 1]
        assert "--no-build-isolation" in calls[flash[0]]
    assert (tmp_path / venv / f".avatar-{profile.partition('_')[0]}").exists()


def test_set_up_refuses_a_profile_without_a_lock() -> None:
    done = subprocess.run(
        ["bash", str(ROOT / "recipe/launch/setup.sh")],
        env={**os.environ, "PROFILE": "tpu"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "PROFILE=tpu: its name must begin with cpu or gpu" in done.stderr
