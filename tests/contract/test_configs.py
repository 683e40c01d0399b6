"""Every stage of recipe/config composes and passes the checks; what cannot work is named before anything starts."""

from __future__ import annotations

import copy
import functools
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from omegaconf import OmegaConf

from avatar_verl.adapter.node import plain
from avatar_verl.config import AvatarConfig, ConfigError
from avatar_verl.main import load
from avatar_verl.manifest import mark_validated
from avatar_verl.preflight import check_run

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / "recipe" / "config"
STAGES = sorted(path.stem for path in CONFIG.glob("*.yaml") if path.stem != "avatar")
PROFILES = sorted(path.stem for path in (CONFIG / "profile").glob("*.yaml"))
PRESETS = sorted(path.stem for path in (CONFIG / "preset").glob("*.yaml"))


@pytest.fixture(scope="module")
def many_rows(toy_world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The toy rows often enough for any batch size; only the checks read it."""
    table = pq.read_table(toy_world / "train.parquet")
    path = tmp_path_factory.mktemp("rows") / "train.parquet"
    pq.write_table(pa.concat_tables([table] * 40), path)
    mark_validated(path, {})
    return path


def arguments(stage: str, world: Path, train: Path | None = None) -> list[str]:
    """What run.sh adds to every command."""
    reinforced = "- avatar\n" in (CONFIG / f"{stage}.yaml").read_text()
    words = [f"{'actor_rollout_ref.' if reinforced else ''}model.path={world / 'model'}"]
    words.append(f"run.train_files=[{train or world / 'train.parquet'}]")
    return [*words, f"run.val_files=[{world / 'val.parquet'}]"] if reinforced else words


def checked(stage: str, overrides: list[str]) -> dict[str, Any]:
    config = plain(load(stage, overrides, "<run folder>"))
    check_run(config)
    return config


@pytest.mark.parametrize("stage", STAGES)
def test_stage_passes_with_its_defaults(stage: str, toy_world: Path) -> None:
    config = checked(stage, arguments(stage, toy_world))
    assert config["run"]["stage"] == stage
    AvatarConfig.from_mapping(config["avatar"])


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("stage", [stage for stage in STAGES if stage.startswith("stage")])
def test_stage_passes_with_every_profile(stage: str, profile: str, toy_world: Path, many_rows: Path) -> None:
    checked(stage, [*arguments(stage, toy_world, many_rows), f"profile={profile}", "preset=best"])
    config = checked(stage, [*arguments(stage, toy_world, many_rows), f"profile={profile}"])
    assert config["trainer"]["device"] == ("cpu" if profile.startswith("cpu") else "cuda")


@pytest.mark.parametrize(("profile", "nodes"), [("gpu", 1), ("gpu_2x8", 2), ("gpu_4x8", 4)])
def test_each_gpu_has_the_same_part_however_many_nodes(
    profile: str, nodes: int, toy_world: Path, many_rows: Path
) -> None:
    words = [*arguments("stage1", toy_world, many_rows), f"profile={profile}", "+size=3b"]
    config = checked("stage1", words)
    ranks = config["trainer"]["nnodes"] * config["trainer"]["n_gpus_per_node"]
    assert ranks == 8 * nodes
    assert config["data"]["train_batch_size"] / ranks == 8
    assert config["actor_rollout_ref"]["actor"]["ppo_mini_batch_size"] / ranks == 4
    assert config["actor_rollout_ref"]["rollout"]["agent"]["num_workers"] / ranks == 1
    assert config["actor_rollout_ref"]["actor"]["ppo_max_token_len_per_gpu"] == 24576  # of the smaller model


@pytest.mark.parametrize("nodes", ["1x8", "2x8", "4x8"])
def test_a_separated_profile_shares_out_the_gpus_of_the_colocated_one(
    nodes: str, toy_world: Path, many_rows: Path
) -> None:
    """The same GPUs and the same batches, so that the two can be compared."""
    words = arguments("stage1", toy_world, many_rows)
    together = checked("stage1", [*words, f"profile=gpu{'' if nodes == '1x8' else '_' + nodes}"])
    apart = checked("stage1", [*words, f"profile=gpu_{nodes}_separated"])
    training, rollout = apart["trainer"], apart["actor_rollout_ref"]["rollout"]
    pools = [pool["nnodes"] * pool["n_gpus_per_node"] for pool in (training, rollout)]
    assert pools[0] == pools[1]
    assert sum(pools) == together["trainer"]["nnodes"] * together["trainer"]["n_gpus_per_node"]
    assert not rollout["enable_sleep_mode"]
    assert not rollout["free_cache_engine"]
    same = ("data", "avatar", "algorithm", "transfer_queue")
    assert {key: apart[key] for key in same} == {key: together[key] for key in same}
    assert apart["actor_rollout_ref"]["actor"] == together["actor_rollout_ref"]["actor"]
    small = checked("stage1", [*words, f"profile=gpu_{nodes}_separated", "+size=3b"])
    assert small["actor_rollout_ref"]["rollout"]["gpu_memory_utilization"] == 0.85


@pytest.mark.parametrize("profile", sorted(path.stem for path in (CONFIG / "cold_start_profile").glob("*.yaml")))
def test_cold_start_passes_with_every_profile_and_with_lora(profile: str, toy_world: Path, many_rows: Path) -> None:
    words = [*arguments("cold_start", toy_world, many_rows), f"cold_start_profile={profile}", "model.lora_rank=16"]
    config = checked("cold_start", words)
    assert config["trainer"]["device"] == {"cpu": "cpu", "gpu": "cuda"}[profile]
    assert config["model"]["lora"]["merge"] is True
    assert config["data"]["train_batch_size"] % config["trainer"]["n_gpus_per_node"] == 0


def test_presets_differ_in_what_they_say(toy_world: Path) -> None:
    """A preset that the base overrides again would be without effect."""
    found = {name: checked("stage1", [*arguments("stage1", toy_world), f"preset={name}"]) for name in PRESETS}
    assert found["grpo"]["avatar"]["replay"]["off_policy_batches"] == 0
    assert found["grpo"]["avatar"]["shaping"]["strength"] == 0.0
    assert found["paper"]["avatar"]["vcrs"]["alpha"] == 0.6
    assert found["released"]["avatar"]["vcrs"]["alpha"] == 1.0
    aggregation = {name: preset["actor_rollout_ref"]["actor"]["loss_agg_mode"] for name, preset in found.items()}
    assert aggregation.pop("released") == "seq-mean-token-mean"
    assert set(aggregation.values()) == {"token-mean"}
    best, paper = found["best"]["avatar"], found["paper"]["avatar"]
    assert {key for key in paper if best[key] != paper[key]} == {"replay", "vcrs"}
    assert (best["vcrs"]["prior"], paper["vcrs"]["prior"]) == (2.0, 0.0)
    assert [best["replay"][key] for key in ("on_policy_batches", "off_policy_batches")] == [2, 6]
    assert found["best"]["actor_rollout_ref"]["rollout"]["n"] == 2
    assert found["released"]["avatar"]["reward"]["weights"] == {"accuracy": 1.0, "format": 0.5}
    weights = found["fs_grpo"]["avatar"]["reward"]["weights"]
    assert {name for name, weight in weights.items() if weight} == {"fs_grpo", "diversity"}


def test_fs_grpo_is_a_stage_and_a_preset(toy_world: Path) -> None:
    stage = checked("fs_grpo", arguments("fs_grpo", toy_world))
    preset = checked("stage1", [*arguments("stage1", toy_world), "preset=fs_grpo", "run.stage=fs_grpo"])
    assert stage == preset
    assert checked("fs_grpo_cold_start", arguments("fs_grpo_cold_start", toy_world))["run"]["outputs"] == "outputs"


def test_the_judge_can_be_verls_own_pool(toy_world: Path) -> None:
    words = arguments("stage3", toy_world)
    pool = [*words, "+judge=pool", f"reward.reward_model.model_path={toy_world / 'model'}"]
    assert checked("stage3", pool)["avatar"]["reward"]["judge"]["endpoint"] == "pool"
    for wrong, message in (
        ([*words, "avatar.reward.judge.endpoint=pool"], "verl serves no pool; set +judge=pool"),
        ([*words, "+judge=pool"], "reward.reward_model.model_path: give the judge's model folder"),
        ([*pool, "reward.reward_model.enable_resource_pool=false"], "verl serves no pool"),
        ([*pool, "reward.reward_model.rollout.free_cache_engine=true"], "verl would not wake the pool"),
        ([*pool, "avatar.reward.judge.endpoint=''"], "nothing asks verl's reward model"),
    ):
        with pytest.raises(ConfigError, match=re.escape(message)):
            checked("stage3", wrong)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("trainer.no_such_key=1", "no_such_key"),
        ("avatar.shaping.strenght=0.1", "avatar.shaping.strenght: unknown key"),
        ("avatar.shaping.strength=-1", "avatar.shaping.strength"),
        ("profile=tpu", "tpu"),
    ],
)
def test_a_wrong_word_on_the_command_line_is_named(override: str, message: str, toy_world: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        checked("stage1", [*arguments("stage1", toy_world), override])
    assert message in str(caught.value)


@pytest.fixture(scope="module")
def whole(toy_world: Path) -> dict[str, Any]:
    """A configuration that passes: 4 prompts of 8 completions a step, one rank."""
    return checked("stage1", [*arguments("stage1", toy_world), "preset=grpo"])


def changed(config: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """A copy with some values changed; ``__`` in a name stands for a dot."""
    config = copy.deepcopy(config)
    for name, value in changes.items():
        *path, last = name.split("__")
        functools.reduce(dict.__getitem__, path, config)[last] = value
    return config


ROLLOUT, ACTOR, MODEL = (f"actor_rollout_ref__{part}__" for part in ("rollout", "actor", "model"))
#: What makes of a run on one GPU one on two, of which one generates.
APART = {
    "trainer__v1__trainer_mode": "avatar_separated",
    ROLLOUT + "nnodes": 1,
    ROLLOUT + "n_gpus_per_node": 1,
    ROLLOUT + "checkpoint_engine__backend": "gloo",
}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"avatar__media__max_frames": 2}, "avatar.media: Value error, min_frames"),
        ({MODEL + "path": "/no/such/model"}, "model.path: /no/such/model is no model folder"),
        ({"run__train_files": ["/no/such.parquet"]}, "run.train_files: /no/such.parquet does not exist"),
        ({"run__val_files": ["/no/such.parquet"]}, "run.val_files: /no/such.parquet does not exist"),
        ({"run__train_files": []}, "run.train_files: no file given"),
        ({"data__train_batch_size": 5}, "data.train_batch_size (5) must be a multiple"),
        ({"data__train_batch_size": 64}, "24 rows are fewer than data.train_batch_size (64)"),
        ({"trainer__n_gpus_per_node": 5}, "must be a multiple of the 5 ranks"),
        ({ACTOR + "ppo_micro_batch_size_per_gpu": 7}, "actor.ppo_micro_batch_size_per_gpu (7)"),
        ({ACTOR + "ppo_micro_batch_size_per_gpu": None}, "actor.ppo_micro_batch_size_per_gpu: set it"),
        ({ROLLOUT + "tensor_model_parallel_size": 2}, "rollout.tensor_model_parallel_size"),
        ({ROLLOUT + "n": 1}, "rollout.n must be at least 2"),
        ({ROLLOUT + "max_model_len": 100}, "rollout.max_model_len (100)"),
        ({ROLLOUT + "nnodes": 1}, "rollout.nnodes (1): these nodes would stand idle; set trainer.v1.trainer_mode="),
        ({**APART, ROLLOUT + "nnodes": 0}, "rollout.nnodes, rollout.n_gpus_per_node: trainer.v1.trainer_mode="),
        ({**APART, ROLLOUT + "checkpoint_engine__backend": "naive"}, "naive takes weights nowhere; set nccl (gloo"),
        ({**APART, ROLLOUT + "checkpoint_engine__backend": "nccl"}, "nccl needs GPUs; set gloo"),
        (
            {**APART, ROLLOUT + "n_gpus_per_node": 3, ROLLOUT + "tensor_model_parallel_size": 2},
            "rollout.tensor_model_parallel_size must divide the 3 GPUs of the separated rollout",
        ),
        ({"avatar__reward__judge__endpoint": "http://me:pa55@host/v1"}, "endpoint: the URL holds a password"),
        ({"trainer__wandb": {"api_key": "abc123"}}, "trainer.wandb.api_key: a secret would be saved"),
        ({MODEL + "lora_rank": 8, MODEL + "lora": {"merge": False}}, "model.lora.merge"),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, dict) else "",
)
def test_what_cannot_work_is_named(changes: dict[str, Any], message: str, whole: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as caught:
        check_run(changed(whole, **changes))
    assert message in str(caught.value)


def test_a_separated_rollout_may_have_other_engines_than_the_training_has_ranks(whole: dict[str, Any]) -> None:
    check_run(changed(whole, **APART))
    wide = {ROLLOUT + "n_gpus_per_node": 2, ROLLOUT + "tensor_model_parallel_size": 2}
    check_run(changed(whole, **{**APART, **wide}))


def test_a_value_that_was_never_given_is_named(toy_world: Path) -> None:
    given = arguments("stage1", toy_world)
    for missing in ("actor_rollout_ref.model.path", "run.train_files"):
        with pytest.raises(ConfigError, match=re.escape(missing)):
            load("stage1", [word for word in given if not word.startswith(missing)], "<run folder>")


def test_a_secret_is_named_but_not_shown(whole: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as caught:
        check_run(changed(whole, trainer__wandb={"api_key": "abc123"}))
    assert "abc123" not in str(caught.value)
    check_run(changed(whole, avatar__reward__judge__api_key_env="JUDGE_KEY"))  # a name is no secret


@pytest.mark.parametrize("profile", PROFILES)
def test_no_code_of_a_model_folder_is_run(profile: str, toy_world: Path, many_rows: Path) -> None:
    config = checked("stage1", [*arguments("stage1", toy_world, many_rows), f"profile={profile}"])

    def values(node: Any) -> list[Any]:
        if isinstance(node, list):
            return [found for value in node for found in values(value)]
        if not isinstance(node, dict):
            return []
        own = [node["trust_remote_code"]] if "trust_remote_code" in node else []
        return own + [found for value in node.values() for found in values(value)]

    assert values(config)
    assert not any(values(config))


def test_all_problems_come_in_one_message(whole: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as caught:
        check_run(changed(whole, data__train_batch_size=5, avatar__media__fps=0))
    assert "avatar.media.fps" in str(caught.value)
    assert "data.train_batch_size" in str(caught.value)


def rewritten(world: Path, folder: Path, change: Any) -> Path:
    table = pq.read_table(world / "train.parquet")
    path = folder / "changed.parquet"
    pq.write_table(change(table), path)
    return path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: table.drop_columns("reward_model"), "lacks reward_model"),
        (lambda table: table.rename_columns(["source", *table.column_names[1:]]), "lacks data_source"),
        (
            lambda table: table.set_column(
                table.column_names.index("extra_info"),
                "extra_info",
                pa.array([{k: v for k, v in x.items() if k != "prompt_id"} for x in table["extra_info"].to_pylist()]),
            ),
            "lacks extra_info.prompt_id",
        ),
        (
            lambda table: table.set_column(
                table.column_names.index("extra_info"),
                "extra_info",
                pa.array([{**x, "problem_type": "multiple choice"} for x in table["extra_info"].to_pylist()]),
            ),
            "row 0: unknown_problem_type: 'multiple choice'",
        ),
    ],
    ids=["no column", "renamed column", "no field", "problem type"],
)
def test_wrong_data_is_named(change: Any, message: str, whole: dict[str, Any], toy_world: Path, tmp_path: Path) -> None:
    path = rewritten(toy_world, tmp_path, change)
    with pytest.raises(ConfigError) as caught:
        check_run(changed(whole, run__train_files=[str(path)]))
    assert f"run.train_files: {path}" in str(caught.value)
    assert message in str(caught.value)


def test_a_file_that_is_no_parquet_is_named(whole: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    path.write_text("not a parquet file at all")
    with pytest.raises(ConfigError, match=r"rows\.parquet cannot be read as parquet"):
        check_run(changed(whole, run__train_files=[str(path)]))


# ---- the real command


def command(
    toy_world: Path, outputs: Path, *overrides: str, train: Path | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, "-m", "avatar_verl.main", "stage1", *arguments("stage1", toy_world, train)]
    variables = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    return subprocess.run(
        [*words, f"run.outputs={outputs}", *overrides], env=variables, cwd=ROOT, capture_output=True, text=True
    )


def test_dry_run_prints_and_starts_nothing(toy_world: Path, tmp_path: Path) -> None:
    outputs = tmp_path / "outputs"
    done = command(toy_world, outputs, "trainer.total_training_steps=7", DRY_RUN="1")
    assert done.returncode == 0, done.stderr
    text, _, line = done.stdout.partition("# command: ")
    printed = yaml.safe_load(text)
    assert printed["trainer"]["total_training_steps"] == 7
    assert printed["actor_rollout_ref"]["model"]["path"] == str(toy_world / "model")
    assert line.split()[1:3] == ["-m", "avatar_verl.adapter.driver"]
    assert not outputs.exists()
    assert OmegaConf.create(printed).avatar  # what is printed is a whole configuration again


@pytest.mark.skipif("gpu" not in PROFILES, reason="no GPU profile")
def test_the_gpu_profile_can_be_checked_without_a_gpu(toy_world: Path, many_rows: Path, tmp_path: Path) -> None:
    done = command(toy_world, tmp_path / "outputs", "profile=gpu", train=many_rows, DRY_RUN="1")
    assert done.returncode == 0, done.stderr
    printed = yaml.safe_load(done.stdout.partition("# command: ")[0])
    assert printed["trainer"]["device"] == "cuda"
    assert printed["trainer"]["n_gpus_per_node"] == 8
    assert printed["actor_rollout_ref"]["rollout"]["dtype"] == "bfloat16"


def test_a_wrong_key_stops_the_command_with_one_message(toy_world: Path, tmp_path: Path) -> None:
    done = command(toy_world, tmp_path / "outputs", "data.train_batchsize=3")
    assert done.returncode == 2
    assert "train_batchsize" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "outputs").exists()
