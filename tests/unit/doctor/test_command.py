"""The command: what it reads off a configuration, what it prints, how it exits."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from avatar_verl.adapter.placement import Needs
from avatar_verl.doctor.__main__ import show, subject_of
from avatar_verl.doctor.findings import Finding

#: Log-probs in passes that divide any rank's completions here.
SMALL_PASSES = [f"actor_rollout_ref.{name}.log_prob_micro_batch_size_per_gpu=4" for name in ("rollout", "ref")]


@pytest.fixture
def arguments(toy_world: Path) -> list[str]:
    return [
        f"actor_rollout_ref.model.path={toy_world / 'model'}",
        f"run.train_files=[{toy_world / 'train.parquet'}]",
        f"run.val_files=[{toy_world / 'val.parquet'}]",
    ]


def test_what_a_run_needs_is_read_off_its_configuration(arguments: list[str], toy_world: Path) -> None:
    more = [
        "actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu=4",
        *SMALL_PASSES,
        "trainer.nnodes=2",
        "trainer.n_gpus_per_node=2",
        "run.outputs=/somewhere",
        "avatar.media.root=/media",
    ]
    subject, findings = subject_of("stage1", [*arguments, *more])
    assert (subject.device, subject.outputs, subject.gpus) == ("cpu", "/somewhere", 2)
    assert subject.needs == Needs(nodes=2, gpus_per_node=2)
    assert set(subject.inputs) == {
        str(toy_world / "model"),
        str(toy_world / "train.parquet"),
        str(toy_world / "val.parquet"),
        "/media",
    }
    weights = sum(file.stat().st_size for file in (toy_world / "model").glob("*.safetensors"))
    assert subject.checkpoint_bytes == 4 * weights > 0
    assert subject.judge is None
    assert [finding.level for finding in findings] == ["ok"]


def test_the_judge_is_looked_at_where_there_is_one(arguments: list[str]) -> None:
    subject, _ = subject_of("stage1", [*arguments, "avatar.reward.judge.endpoint=http://127.0.0.1:9/v1"])
    assert subject.judge is not None
    assert subject.judge.endpoint == "http://127.0.0.1:9/v1"
    pool = ["avatar.reward.judge.endpoint=pool", "avatar.reward.weights={judge: 1.0}", "+judge=pool"]
    subject, _ = subject_of("stage1", [*arguments, *pool, "reward.reward_model.model_path=/models/judge"])
    assert subject.judge is None, "it is there only while the run is"


def test_problems_of_the_configuration_are_findings(arguments: list[str]) -> None:
    _, findings = subject_of("stage1", [*arguments, *SMALL_PASSES, "data.train_batch_size=5"])
    assert [finding.level for finding in findings] == ["fail"]
    assert "data.train_batch_size (5)" in findings[0].detail


def test_the_table_says_what_to_do_and_where(capsys: pytest.CaptureFixture[str]) -> None:
    from rich.console import Console

    show([Finding("disk", "fail", "full", "buy one", "node-7"), Finding("GPUs", "ok", "8 x H100")], Console(width=100))
    printed = capsys.readouterr().out
    for words in ("fail", "disk", "node-7", "full", "to do: buy one", "1 to repair, 0 to improve, 1 well"):
        assert words in printed


def test_the_command_looks_at_this_machine(arguments: list[str], tmp_path: Path) -> None:
    """The real command, on a run whose media root nobody sees."""
    command = [sys.executable, "-m", "avatar_verl.doctor", "--json", "stage1", *arguments]
    command += [f"run.outputs={tmp_path}", "avatar.media.root=/no/such/root"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    findings = {finding["check"]: finding for finding in json.loads(done.stdout)}
    assert findings["inputs"]["level"] == "fail"
    assert "/no/such/root" in findings["inputs"]["detail"]
    assert findings["gloo all-reduce"]["level"] == "ok"
    assert findings["disk"]["level"] == "ok"
    assert done.returncode == 1


def test_a_stage_that_cannot_be_composed(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "avatar_verl.doctor", "stage1", "no.such.key=1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert "The configuration has to change" in done.stderr
    assert "Traceback" not in done.stderr
