"""The cold start with LoRA on two ranks: what is frozen stays, adapters are merged, the export is whole; and under Ray
the ranks train to the same numbers as under torchrun."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from support.runs import RunResult, run
from support.world import World

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]


def _lora_on_two_ranks(world: World, outputs: Path, *more: str) -> RunResult:
    return run(
        "cold_start",
        outputs,
        f"run.train_files={world.folder}/cold_start.parquet",
        f"model.path={world.folder}/model",
        "trainer.n_gpus_per_node=2",
        "trainer.total_training_steps=3",
        "trainer.save_freq=3",
        "data.train_batch_size=8",
        "data.micro_batch_size_per_gpu=4",
        "data.num_workers=0",
        "model.lora_rank=4",
        "model.freeze=[audio]",
        "optim.lr_warmup_steps=1",
        "run.print_every=1",
        *more,
    )


@pytest.fixture(scope="module")
def by_torchrun(world: World, tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    return _lora_on_two_ranks(world, tmp_path_factory.mktemp("torchrun"))


def test_lora_on_two_ranks_trains_what_is_not_frozen(world: World, by_torchrun: RunResult) -> None:
    done = by_torchrun
    assert done.code == 0, done.log_tail
    assert [line["step"] for line in done.lines("metrics.jsonl")] == [1, 2, 3]  # one rank logs
    base, made = (load_file(folder / "model.safetensors") for folder in (world.folder / "model", done.folder / "model"))
    assert base.keys() == made.keys()
    changed = {name for name in base if not torch.equal(base[name], made[name])}
    assert not any(name.startswith("thinker.audio_tower") for name in changed)
    assert any(name.startswith("thinker.model") and "q_proj" in name for name in changed)
    assert any(name.startswith("thinker.visual") for name in changed)
    assert all(name.endswith(".weight") for name in changed)  # adapters sit on weights; biases and norms stay
    assert not any("norm" in name or "embed_tokens" in name for name in changed)


def test_under_ray_the_ranks_train_to_the_same_numbers(world: World, by_torchrun: RunResult, tmp_path: Path) -> None:
    done = _lora_on_two_ranks(world, tmp_path, "run.launcher=ray")
    assert done.code == 0, done.log_tail
    ours, theirs = (
        [
            (line["step"], line["data"]["train/loss"], line["data"]["train/grad_norm"])
            for line in made.lines("metrics.jsonl")
        ]
        for made in (done, by_torchrun)
    )
    assert ours == [pytest.approx(line, rel=1e-5) for line in theirs]
    weights, wanted = (load_file(made.folder / "model" / "model.safetensors") for made in (done, by_torchrun))
    assert weights.keys() == wanted.keys()
    assert all(torch.allclose(weights[name], wanted[name], rtol=0, atol=1e-6) for name in wanted)


@pytest.mark.parametrize("launcher", ["torchrun", "ray"])
def test_a_rank_that_fails_ends_the_run_with_its_own_error(world: World, tmp_path: Path, launcher: str) -> None:
    done = run(
        "cold_start",
        tmp_path,
        f"run.train_files={world.folder}/cold_start.parquet",
        f"model.path={world.folder}/model",
        "trainer.n_gpus_per_node=2",
        "trainer.total_training_steps=2",
        "model.lora_rank=4",
        "model.target_modules=not_a_module",
        f"run.launcher={launcher}",
    )
    assert done.code not in (0, None)
    assert "not_a_module" in done.output
