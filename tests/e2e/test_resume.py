"""A run that is killed in the middle of a step, then stopped by Ctrl-C in a validation, ends as if nothing had been."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import pytest
from support import family
from support.checkpoints import largest_difference
from support.runs import Job, RunResult, completions, read_lines, run
from support.sameness import of_the_training

from avatar_verl.replay import store

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(2400)]

STEPS = 5


@dataclass(frozen=True)
class Disturbed:
    """The three starts of one command."""

    killed_in: int  # step
    left_by_kill: list[str]
    beside: RunResult  # the command once more while it runs
    interrupted: RunResult
    finished_by_interrupt: bool
    left_by_interrupt: list[str]
    result: RunResult


def _rollouts_done(folder: Path, step: int) -> bool:
    """The step has its completions and not yet its metrics: its update is under way."""
    return any(s["step"] == step and s["split"] == "train" for s in read_lines(folder / "samples.jsonl"))


def _saved(folder: Path, step: int) -> bool:
    return (folder / "checkpoints" / f"global_step_{step}" / "complete.json").exists()


@pytest.fixture(scope="module")
def disturbed(full_arguments: list[str], tmp_path_factory: pytest.TempPathFactory) -> Disturbed:
    outputs = tmp_path_factory.mktemp("disturbed")
    first = Job(full_arguments, outputs, "stage1")
    first.wait_for(lambda folder: _saved(folder, 1) and _rollouts_done(folder, 2))
    first.kill()
    left_by_kill = family.wait_until_gone(first.mark, 30)
    killed_in = max(record["step"] for record in read_lines(first.folder / "metrics.jsonl")) + 1

    second = Job(full_arguments, outputs, "stage1")
    second.wait_for(lambda _: "resuming" in second.output)
    beside = run("stage1", outputs, *full_arguments)
    second.wait_for(lambda folder: _saved(folder, 4))
    interrupted = second.interrupt()
    finished = (second.folder / "finished.json").exists()
    left_by_interrupt = family.wait_until_gone(second.mark, 5)
    result = run("stage1", outputs, *full_arguments)
    return Disturbed(killed_in, left_by_kill, beside, interrupted, finished, left_by_interrupt, result)


def test_kill_hits_the_middle_of_a_step_and_leaves_nothing(disturbed: Disturbed) -> None:
    assert disturbed.killed_in == 2
    assert disturbed.left_by_kill == []


def test_the_same_command_twice_at_a_time_is_refused(disturbed: Disturbed) -> None:
    assert disturbed.beside.code == 2
    assert f"{disturbed.result.folder} is being trained by another process" in disturbed.beside.output


def test_ctrl_c_leaves_no_process_and_tells_how_to_resume(disturbed: Disturbed) -> None:
    stopped = disturbed.interrupted
    assert disturbed.left_by_interrupt == []
    assert stopped.code == 130
    assert re.search(r"[Rr]un the same command again to resume", stopped.output)
    assert str(stopped.folder / "log.txt") in stopped.output
    assert "Traceback" not in stopped.output
    assert not disturbed.finished_by_interrupt


def test_same_command_goes_on_in_the_same_folder(disturbed: Disturbed) -> None:
    result = disturbed.result
    assert result.code == 0, result.output + result.log_tail
    assert result.folder == disturbed.interrupted.folder
    assert f"resuming {result.folder}" in result.output


def test_each_step_is_there_once(disturbed: Disturbed, undisturbed: RunResult) -> None:
    assert list(disturbed.result.metrics) == list(undisturbed.metrics) == [0, 1, 2, 3, 4, 5]
    for split in ("train", "val"):
        counts = [{step: len(s) for step, s in r.samples(split).items()} for r in (disturbed.result, undisturbed)]
        assert counts[0] == counts[1], split
    listed = [
        sorted((row["step"], row["split"], row["prompt_id"]) for row in r.lines("bad_rows.jsonl"))
        for r in (disturbed.result, undisturbed)
    ]
    assert listed[0] == listed[1]


@pytest.mark.parametrize("step", range(1, STEPS + 1))
def test_completions_are_those_of_an_undisturbed_run(disturbed: Disturbed, undisturbed: RunResult, step: int) -> None:
    """Step 1 repeats by its seed alone; the others need data order, weights, optimiser, hints and replay restored."""
    assert completions(disturbed.result.samples()[step]) == completions(undisturbed.samples()[step])


@pytest.mark.parametrize("step", range(2, STEPS + 1))
def test_replay_draws_what_an_undisturbed_run_draws(disturbed: Disturbed, undisturbed: RunResult, step: int) -> None:
    ours, theirs = disturbed.result.metrics[step], undisturbed.metrics[step]
    names = [name for name in theirs if name.startswith(("avatar/replay/", "avatar/vcrs/", "avatar/advantage/"))]
    assert len(names) > 20
    assert {n: ours.get(n) for n in names} == pytest.approx({n: theirs[n] for n in names}, rel=1e-4, abs=1e-5)


def test_metrics_lost_in_the_validation_are_made_up_for(disturbed: Disturbed, undisturbed: RunResult) -> None:
    ours, theirs = (of_the_training(result.metrics[4]) for result in (disturbed.result, undisturbed))
    assert {"actor/loss", "critic/score/mean", "response_length/mean", "avatar/val/accuracy"} <= theirs.keys()
    assert ours == pytest.approx(theirs, rel=1e-3, abs=1e-5)


def test_final_weights_are_those_of_an_undisturbed_run(disturbed: Disturbed, undisturbed: RunResult) -> None:
    assert largest_difference(disturbed.result.folder, undisturbed.folder, STEPS) <= 1e-6


def test_buffer_is_that_of_an_undisturbed_run(disturbed: Disturbed, undisturbed: RunResult) -> None:
    ours, theirs = (
        store.read(result.folder / "checkpoints" / f"global_step_{STEPS}" / "avatar").buffer["entries"]
        for result in (disturbed.result, undisturbed)
    )
    assert len(ours) == len(theirs) == 80
    for one, other in zip(ours, theirs, strict=True):
        assert (one.entry_id, one.prompt_id, one.reuse_count) == (other.entry_id, other.prompt_id, other.reuse_count)
        assert one.token_ids.tolist() == other.token_ids.tolist()
        assert one.behaviour_log_probs == pytest.approx(other.behaviour_log_probs, abs=1e-5)
