"""Batch arithmetic and files, on plain mappings; tests/contract/test_configs.py checks the real configurations."""

from __future__ import annotations

import copy
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from avatar_verl.config import ConfigError
from avatar_verl.manifest import mark_validated
from avatar_verl.preflight import check_run
from data_prep.table import arrow_schema


@pytest.fixture
def config(toy_world: Path) -> dict[str, Any]:
    """What the checks read: 8 prompts of 4 completions in two mini-batches, on 2 ranks."""
    return {
        "avatar": {},
        "run": {"train_files": [str(toy_world / "train.parquet")], "val_files": str(toy_world / "val.parquet")},
        "data": {"train_batch_size": 8, "max_prompt_length": 100, "max_response_length": 20},
        "trainer": {"n_gpus_per_node": 2, "nnodes": 1, "v1": {"trainer_mode": "avatar"}},
        "actor_rollout_ref": {
            "model": {"path": str(toy_world / "model"), "lora_rank": 0},
            "actor": {"ppo_mini_batch_size": 4, "ppo_micro_batch_size_per_gpu": 2, "use_dynamic_bsz": False},
            "rollout": {
                "n": 4,
                "tensor_model_parallel_size": 1,
                "max_model_len": 120,
                "nnodes": 0,
                "checkpoint_engine": {"backend": "naive"},
            },
        },
    }


def problems(config: dict[str, Any]) -> list[str]:
    try:
        check_run(config)
    except ConfigError as error:
        return str(error).splitlines()
    return []


def test_several_nodes_of_a_cold_start_need_ray(config: dict[str, Any]) -> None:
    start = {**config, "model": config["actor_rollout_ref"]["model"]}
    del start["actor_rollout_ref"]
    for launcher, nodes, wrong in (("torchrun", 1, 0), ("ray", 2, 0), ("torchrun", 2, 1), ("slurm", 1, 1)):
        start["run"] = {**config["run"], "launcher": launcher}
        start["trainer"] = {"n_gpus_per_node": 2, "nnodes": nodes}
        assert len(problems(start)) == wrong, (launcher, nodes)


def test_a_tracker_that_is_not_there_is_named(config: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    there = {"tensorboard", "wandb", "mlflow"}
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name if name in there else None)
    config["trainer"]["logger"] = ["console", "file", "tensorboard", "wandb"]
    assert problems(config) == []
    config["trainer"]["logger"] = ["console", "swanlab"]
    assert problems(config) == ["trainer.logger: swanlab is not installed here; pip install swanlab, or leave it out"]
    config["trainer"]["logger"] = "mlflow"
    (problem,) = problems(config)
    assert "mlflow-skinny has no store" in problem
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://there")
    assert problems(config) == []


def test_settings_that_make_the_trainer_another_model_are_refused(config: dict[str, Any]) -> None:
    for part in ("actor", "ref"):
        settings = config["actor_rollout_ref"].setdefault(part, {})
        settings["fsdp_config"] = {"model_dtype": "fp32", "ulysses_sequence_parallel_size": 1}
    assert problems(config) == []
    config["actor_rollout_ref"]["ref"]["fsdp_config"]["model_dtype"] = "bf16"
    config["actor_rollout_ref"]["actor"]["ulysses_sequence_parallel_size"] = 2
    config["engine"] = {"model_dtype": "bf16", "ulysses_sequence_parallel_size": 1}  # where a cold start has them
    split, rounded, rounded_too = problems(config)
    assert split.startswith("actor_rollout_ref.actor.ulysses_sequence_parallel_size")
    assert rounded.startswith("actor_rollout_ref.ref.fsdp_config.model_dtype: bf16 would round the frequencies")
    assert rounded_too.startswith("engine.model_dtype: bf16")


def test_a_right_configuration_passes(config: dict[str, Any]) -> None:
    assert problems(config) == []


@pytest.mark.parametrize(
    ("node", "key", "value", "wrong"),
    [
        ("actor", "ppo_micro_batch_size_per_gpu", 8, False),  # 4 x 4 / 2 ranks = 8 completions a rank
        ("actor", "ppo_micro_batch_size_per_gpu", 3, True),
        ("actor", "ppo_mini_batch_size", 3, True),  # 8 prompts are no whole number of them
        ("actor", "ppo_mini_batch_size", 8, False),
        ("rollout", "log_prob_micro_batch_size_per_gpu", 8, False),  # 8 x 4 / 2 ranks = 16 completions a rank
        ("rollout", "log_prob_micro_batch_size_per_gpu", 6, True),
        ("rollout", "n", 2, False),
        ("rollout", "n", 1, True),
        ("rollout", "tensor_model_parallel_size", 2, False),
        ("rollout", "tensor_model_parallel_size", 3, True),
        ("rollout", "max_model_len", 119, True),
        ("rollout", "max_model_len", None, False),  # the model's own limit
    ],
)
def test_batch_arithmetic(config: dict[str, Any], node: str, key: str, value: Any, wrong: bool) -> None:
    config["actor_rollout_ref"][node][key] = value
    found = problems(config)
    assert bool(found) == wrong
    assert all(key in line for line in found)


def test_dynamic_batches_need_no_micro_batch_size(config: dict[str, Any]) -> None:
    config["actor_rollout_ref"]["actor"].update(ppo_micro_batch_size_per_gpu=None, use_dynamic_bsz=True)
    assert problems(config) == []


def test_completions_must_fit_the_ranks(config: dict[str, Any]) -> None:
    """One prompt of 3 completions over 2 ranks."""
    config["actor_rollout_ref"]["actor"]["ppo_mini_batch_size"] = 1
    config["actor_rollout_ref"]["rollout"]["n"] = 3
    assert problems(config) == ["actor.ppo_mini_batch_size x rollout.n (1 x 3) must be a multiple of the 2 ranks"]


def test_supervised_training_needs_no_rollout(config: dict[str, Any], toy_world: Path) -> None:
    run = {"train_files": str(toy_world / "cold_start.parquet"), "val_files": None}
    assert problems({"avatar": {}, "run": run, "model": config["actor_rollout_ref"]["model"]}) == []


def test_a_folder_without_weights_is_no_model(config: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    config["actor_rollout_ref"]["model"]["path"] = str(tmp_path)
    assert problems(config) == [f"model.path: {tmp_path} holds no *.safetensors"]


def test_files_without_rows_are_named(config: dict[str, Any], tmp_path: Path) -> None:
    pq.write_table(arrow_schema().empty_table(), tmp_path / "empty.parquet")
    mark_validated(tmp_path / "empty.parquet", {})
    config["run"]["val_files"] = [str(tmp_path / "empty.parquet")]
    assert problems(config) == []  # a run without held-out rows is allowed
    config["run"]["train_files"] = [str(tmp_path / "empty.parquet")]
    assert problems(config) == ["run.train_files: the files hold no rows"]


def test_rows_of_all_files_count(config: dict[str, Any]) -> None:
    """24 rows and 24 rows."""
    config["data"]["train_batch_size"] = 28
    assert problems(config) == ["run.train_files: 24 rows are fewer than data.train_batch_size (28)"]
    config["run"]["train_files"] *= 2
    assert problems(config) == []


def test_a_few_broken_rows_do_not_stop_a_start(config: dict[str, Any], toy_world: Path, tmp_path: Path) -> None:
    """They are counted and listed while the run goes on; an unknown problem type is a mistake in all rows."""
    rows = pq.read_table(toy_world / "train.parquet").to_pylist()
    broken = copy.deepcopy(rows)
    broken[0]["reward_model"]["ground_truth"] = ""
    broken[1]["extra_info"]["problem_type"] = "riddle"
    path = tmp_path / "broken.parquet"
    pq.write_table(pa.Table.from_pylist(broken, schema=arrow_schema()), path)
    mark_validated(path, {})
    config["run"]["train_files"] = str(path)
    (line,) = problems(config)
    assert line.startswith(f"run.train_files: {path}, row 1: unknown_problem_type: 'riddle'")


def test_a_file_that_was_never_validated_is_refused_unless_that_is_allowed(
    config: dict[str, Any], toy_world: Path, tmp_path: Path
) -> None:
    """One message for all files, with the command that mends it, quoted for a shell."""
    train, val = tmp_path / "my train.parquet", tmp_path / "val.parquet"
    shutil.copy(toy_world / "train.parquet", train)
    shutil.copy(toy_world / "val.parquet", val)
    config["run"] = {"train_files": [str(train)], "val_files": str(val)}
    config["avatar"] = {"media": {"root": "/data/my media"}}

    (line,) = problems(config)
    assert f"never validated, or changed since: {train}, {val};" in line
    assert f"python -m data_prep validate '{train}' {val} --media-root '/data/my media'" in line
    assert "avatar.data.require_validated=false" in line

    config["avatar"]["data"] = {"require_validated": False}
    assert problems(config) == []


def test_a_file_that_was_changed_after_its_validation_is_refused(
    config: dict[str, Any], toy_world: Path, tmp_path: Path
) -> None:
    file = tmp_path / "train.parquet"
    shutil.copy(toy_world / "train.parquet", file)
    mark_validated(file, {})
    config["run"]["train_files"] = [str(file)]
    assert problems(config) == []

    pq.write_table(pq.read_table(file).slice(1), file)
    (line,) = problems(config)
    assert f"changed since: {file};" in line


def test_the_message_stays_short_with_many_files(config: dict[str, Any], toy_world: Path, tmp_path: Path) -> None:
    """Five shards: three are named, the others counted; the folder's own command covers them all."""
    files = [tmp_path / f"shard-{number}.parquet" for number in range(5)]
    for file in files:
        shutil.copy(toy_world / "train.parquet", file)
    config["run"]["train_files"] = list(map(str, files))
    (line,) = problems(config)
    assert "shard-2.parquet and 2 more" in line
    assert f"python -m data_prep validate {tmp_path}," in line


def test_a_replay_state_to_begin_with_must_be_there(config: dict[str, Any], tmp_path: Path) -> None:
    config["avatar"] = {"replay": {"start_from": str(tmp_path)}}
    (problem,) = problems(config)
    assert problem.startswith(f"avatar.replay.start_from: {tmp_path} is neither a run folder")
    (tmp_path / "manifest.json").write_text("{}")
    assert problems(config) == []
