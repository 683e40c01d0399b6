"""Separated rollout: the same run with generation in a slot of its own, killed and resumed, gives the same numbers."""

from __future__ import annotations

from pathlib import Path

import pytest
from support import family
from support.checkpoints import largest_difference
from support.runs import Job, RunResult, completions, read_lines

from avatar_verl.replay import store

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(2400)]

STEPS = 5


@pytest.fixture(scope="module")
def separated(full_arguments: list[str], tmp_path_factory: pytest.TempPathFactory) -> tuple[RunResult, int, list[str]]:
    """What came of it, the step that was killed in, and the processes that outlived the kill."""
    outputs = tmp_path_factory.mktemp("separated")
    arguments = [*full_arguments, "profile=cpu_separated"]
    first = Job(arguments, outputs, "stage1")
    first.wait_for(lambda folder: (folder / "checkpoints" / "global_step_2" / "complete.json").exists())
    first.kill()
    left = family.wait_until_gone(first.mark, 30)
    done = max(record["step"] for record in read_lines(first.folder / "metrics.jsonl"))
    return Job(arguments, outputs, "stage1").wait(), done + 1, left


@pytest.fixture(autouse=True)
def finished(separated: tuple[RunResult, int, list[str]], undisturbed: RunResult) -> None:
    result, killed_in, left = separated
    assert result.code == 0, result.output + result.log_tail
    assert undisturbed.code == 0, undisturbed.output + undisturbed.log_tail
    assert 2 <= killed_in < STEPS
    assert left == []


@pytest.fixture
def apart(separated: tuple[RunResult, int, list[str]]) -> RunResult:
    return separated[0]


def test_training_ranks_hold_no_rollout(apart: RunResult, undisturbed: RunResult) -> None:
    """Workers of verl's rollout replicas, beside the training workers, are processes of their own."""
    names = ["CheckpointEngineWorker" in result.log() for result in (apart, undisturbed)]
    assert names == [True, False]
    assert f"resuming {apart.folder}" in apart.output


@pytest.mark.parametrize("step", range(1, STEPS + 1))
def test_rollout_has_the_weights_of_the_step(apart: RunResult, step: int) -> None:
    """The learning rate is 1e-3: with the weights of a step before, log-probs would part."""
    assert apart.metrics[step]["avatar/parity/correlation"] >= 0.9999


@pytest.mark.parametrize("step", range(1, STEPS + 1))
def test_completions_are_those_of_the_colocated_run(apart: RunResult, undisturbed: RunResult, step: int) -> None:
    assert completions(apart.samples()[step]) == completions(undisturbed.samples()[step])


@pytest.mark.parametrize("step", range(1, STEPS + 1))
def test_metrics_are_those_of_the_colocated_run(apart: RunResult, undisturbed: RunResult, step: int) -> None:
    """All of them but what a step took of the machine."""
    ours, theirs = apart.metrics[step], undisturbed.metrics[step]
    kinds = ("actor/", "avatar/", "critic/", "response_length/", "prompt_length/")
    names = [name for name in theirs if name.startswith(kinds) and "/perf/" not in name]
    assert len(names) > 60
    assert {n: ours.get(n) for n in names} == pytest.approx({n: theirs[n] for n in names}, rel=1e-4, abs=1e-5)
    assert step == 1 or ours["avatar/replay/active"] == 1.0


def test_final_weights_are_those_of_the_colocated_run(apart: RunResult, undisturbed: RunResult) -> None:
    assert largest_difference(apart.folder, undisturbed.folder, STEPS) <= 1e-6


def test_buffer_is_that_of_the_colocated_run(apart: RunResult, undisturbed: RunResult) -> None:
    def entries(folder: Path) -> list[tuple[str, int, list[int]]]:
        saved = store.read(folder / "checkpoints" / f"global_step_{STEPS}" / "avatar").buffer["entries"]
        return [(entry.prompt_id, entry.reuse_count, entry.token_ids.tolist()) for entry in saved]

    assert entries(apart.folder) == entries(undisturbed.folder)
