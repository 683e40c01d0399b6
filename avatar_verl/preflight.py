"""What can be said of a run before Ray starts: one message per problem, each saying what to change."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from avatar_verl.config import JUDGE_POOL, SEPARATED, AvatarConfig, ConfigError, RewardConfig, separated_rollout
from avatar_verl.manifest import is_validated
from avatar_verl.run_folder import saved_replay
from avatar_verl.schema import COLUMNS, EXTRA_INFO, RowError, validate_row

#: Names of values that nobody may read, but for names of the environment variables that hold them (``..._env``).
_SECRET_KEY = re.compile(
    r"(^|[._-])(api_?key|secret|secret_?key|access_?key|password|passwd|auth_?token)$", re.IGNORECASE
)
_SECRET_IN_URL = re.compile(r"^[a-z]+://[^/@:]*:[^/@]+@", re.IGNORECASE)
#: Trackers that are packages of their own names.
_TRACKERS = ("tensorboard", "wandb", "mlflow", "swanlab", "trackio", "clearml")
_LOOK_AT = 64  # rows of each file that are checked here; the data set checks all of them
_NAMED = 3  # files of one message


def check_run(config: dict[str, Any]) -> None:
    """Check a resolved configuration, whichever driver it is for.

    Raises:
        ConfigError: listing all problems found.
    """
    problems: list[str] = []
    avatar = None
    try:
        avatar = AvatarConfig.from_mapping(config["avatar"])
        problems.extend(_replay_problems(avatar.replay.start_from))
    except ConfigError as error:
        problems.extend(str(error).splitlines())
    problems.extend(_model_problems(config))
    problems.extend(_engine_problems(config))
    problems.extend(_secrets(config))
    problems.extend(_launcher_problems(config))
    problems.extend(_tracker_problems((config.get("trainer") or {}).get("logger")))
    before = len(problems)
    rows = _file_problems("run.train_files", config["run"]["train_files"], problems)
    if not rows and len(problems) == before:
        problems.append("run.train_files: the files hold no rows")
    _file_problems("run.val_files", config["run"]["val_files"], problems)
    if avatar is not None and avatar.data.require_validated:
        problems.extend(_validation_problems(config["run"], avatar.media.root))
    if "actor_rollout_ref" in config:
        if avatar is not None and "reward" in config:
            problems.extend(_pool_problems(config["reward"]["reward_model"], avatar.reward))
        problems.extend(_separation_problems(config))
        problems.extend(_batch_problems(config, rows))
        problems.extend(_length_problems(config))
    if problems:
        raise ConfigError("\n".join(problems))


def _replay_problems(start: str) -> Iterable[str]:
    if start and saved_replay(Path(start)) is None:
        yield f"avatar.replay.start_from: {start} is neither a run folder with a whole checkpoint nor a replay state"


def _launcher_problems(config: dict[str, Any]) -> Iterable[str]:
    """Of a cold start; reinforcement learning always runs under Ray."""
    launcher = config["run"].get("launcher")
    if launcher not in (None, "torchrun", "ray"):
        yield f"run.launcher: {launcher!r} is neither torchrun nor ray"
    elif launcher == "torchrun" and config["trainer"]["nnodes"] > 1:
        yield f"trainer.nnodes: {config['trainer']['nnodes']} nodes need run.launcher=ray; torchrun starts one"


def _tracker_problems(names: Any) -> Iterable[str]:
    """verl goes on without MLflow where it is missing, and says so in the log only."""
    for name in _as_list(names):
        local = name == "mlflow" and "MLFLOW_TRACKING_URI" not in os.environ
        if name in _TRACKERS and importlib.util.find_spec(name) is None:
            yield f"trainer.logger: {name} is not installed here; pip install {name}, or leave it out"
        elif local and importlib.util.find_spec("sqlalchemy") is None:
            yield "trainer.logger: mlflow-skinny has no store; pip install mlflow, or set MLFLOW_TRACKING_URI"


def _pool_problems(pool: dict[str, Any], reward: RewardConfig) -> Iterable[str]:
    """A pool that nobody asks, and a judge that asks a pool that is not there or sleeps."""
    wanted = "judge" in reward.weights and reward.judge.endpoint == JUDGE_POOL
    if pool["enable"] and not wanted:
        yield "reward.reward_model.enable: nothing asks verl's reward model; for a judge set +judge=pool"
    if not wanted:
        return
    if not (pool["enable"] and pool["enable_resource_pool"]):
        yield "avatar.reward.judge.endpoint: verl serves no pool; set +judge=pool, which makes it"
    if not pool["model_path"]:
        yield "reward.reward_model.model_path: give the judge's model folder"
    if pool["rollout"]["free_cache_engine"]:
        yield "reward.reward_model.rollout.free_cache_engine: must be false; verl would not wake the pool"


def _model_problems(config: dict[str, Any]) -> Iterable[str]:
    model = config["actor_rollout_ref"]["model"] if "actor_rollout_ref" in config else config["model"]
    path = Path(model["path"])
    if not (path / "config.json").is_file():
        yield f"model.path: {path} is no model folder (no config.json); give a complete Qwen2.5-Omni folder"
    elif not any(path.glob("*.safetensors")):
        yield f"model.path: {path} holds no *.safetensors"
    if model.get("lora_rank", 0) and not (model.get("lora") or {}).get("merge", False):
        yield "model.lora.merge: must be true with LoRA; vLLM has no adapters for the audio and vision towers"


def _secrets(node: Any, key: str = "") -> Iterable[str]:
    """A configuration is saved, printed and given to trackers, so it must not hold what nobody may read."""
    if isinstance(node, Mapping):
        for name, value in node.items():
            yield from _secrets(value, f"{key}.{name}" if key else str(name))
    elif isinstance(node, list):
        for value in node:
            yield from _secrets(value, key)
    elif isinstance(node, str) and node:
        if _SECRET_KEY.search(key):
            yield f"{key}: a secret would be saved with the run; set it in the environment instead"
        elif _SECRET_IN_URL.search(node):
            yield f"{key}: the URL holds a password; set it in the environment instead"


def _as_list(value: Any) -> list[str]:
    if value is None:
        return []
    return [value] if isinstance(value, str) else list(value)


def _file_problems(key: str, value: Any, problems: list[str]) -> int:
    """Append what is wrong with the files; return how many rows they hold."""
    rows = 0
    files = _as_list(value)
    if not files and key == "run.train_files":
        problems.append(f"{key}: no file given")
    for name in files:
        if not Path(name).is_file():
            problems.append(f"{key}: {name} does not exist")
            continue
        try:
            file = pq.ParquetFile(name)
        except Exception as error:  # pyarrow raises several types for a file that is no parquet
            problems.append(f"{key}: {name} cannot be read as parquet ({error})")
            continue
        rows += file.metadata.num_rows
        schema = file.schema_arrow
        missing = [column for column in COLUMNS if column not in schema.names]
        if "extra_info" in schema.names:
            fields = {field.name for field in schema.field("extra_info").type}
            missing += [f"extra_info.{field}" for field in EXTRA_INFO if field not in fields]
        if missing:
            problems.append(f"{key}: {name} lacks {', '.join(missing)}; build it with python -m data_prep")
            continue
        problems.extend(_row_problems(key, name, file))
    return rows


def _validation_problems(run: dict[str, Any], media_root: str) -> Iterable[str]:
    """One message for all files together: none of them was checked clip by clip, or it was changed since."""
    names = dict.fromkeys([*_as_list(run["train_files"]), *_as_list(run["val_files"])])
    unchecked = [name for name in names if Path(name).is_file() and not is_validated(name)]
    if unchecked:
        shown, places = ", ".join(unchecked), unchecked
        if len(unchecked) > _NAMED:
            shown = f"{', '.join(unchecked[:_NAMED])} and {len(unchecked) - _NAMED} more"
            places = list(dict.fromkeys(str(Path(name).parent) for name in unchecked))
        command = ["python", "-m", "data_prep", "validate", *places]
        command += ["--media-root", media_root] if media_root else []
        yield (
            f"run.train_files, run.val_files: never validated, or changed since: {shown}; run {shlex.join(command)}, "
            "or set avatar.data.require_validated=false"
        )


def _row_problems(key: str, name: str, file: pq.ParquetFile) -> Iterable[str]:
    head = next(file.iter_batches(_LOOK_AT), None)
    for number, row in enumerate([] if head is None else head.to_pylist()):
        try:
            validate_row(row)
        except RowError as error:
            if error.reason == "unknown_problem_type":
                yield f"{key}: {name}, row {number}: {error}"


def _separation_problems(config: dict[str, Any]) -> Iterable[str]:
    """GPUs of a rollout that nobody would use, or a separated rollout without GPUs or without a way for its weights."""
    rollout = config["actor_rollout_ref"]["rollout"]
    backend = rollout["checkpoint_engine"]["backend"]
    if config["trainer"]["v1"]["trainer_mode"] != SEPARATED:
        if rollout["nnodes"]:
            yield (
                f"rollout.nnodes ({rollout['nnodes']}): these nodes would stand idle; set "
                f"trainer.v1.trainer_mode={SEPARATED}, or 0 for a rollout on the training GPUs"
            )
        return
    if min(separated_rollout(config)) < 1:
        yield f"rollout.nnodes, rollout.n_gpus_per_node: trainer.v1.trainer_mode={SEPARATED} needs at least one of each"
    if backend == "naive":
        yield (
            "rollout.checkpoint_engine.backend: naive takes weights nowhere; set nccl (gloo where there is no GPU) for "
            "a separated rollout"
        )
    elif backend == "nccl" and config["trainer"]["device"] == "cpu":
        yield "rollout.checkpoint_engine.backend: nccl needs GPUs; set gloo"


def _batch_problems(config: dict[str, Any], rows: int) -> Iterable[str]:
    data, actor = config["data"], config["actor_rollout_ref"]["actor"]
    rollout, trainer = config["actor_rollout_ref"]["rollout"], config["trainer"]
    batch, mini, group = data["train_batch_size"], actor["ppo_mini_batch_size"], rollout["n"]
    ranks = trainer["n_gpus_per_node"] * trainer["nnodes"]
    if batch % mini:
        yield f"data.train_batch_size ({batch}) must be a multiple of actor.ppo_mini_batch_size ({mini})"
    if mini * group % ranks:
        yield f"actor.ppo_mini_batch_size x rollout.n ({mini} x {group}) must be a multiple of the {ranks} ranks"
    elif not actor["use_dynamic_bsz"] and actor["ppo_micro_batch_size_per_gpu"] is None:
        yield "actor.ppo_micro_batch_size_per_gpu: set it, or actor.use_dynamic_bsz"
    elif not actor["use_dynamic_bsz"] and (mini * group // ranks) % actor["ppo_micro_batch_size_per_gpu"]:
        yield (
            f"actor.ppo_micro_batch_size_per_gpu ({actor['ppo_micro_batch_size_per_gpu']}) must divide the "
            f"{mini * group // ranks} completions each rank gets of a mini-batch"
        )
    for name in ("rollout", "ref"):
        node = config["actor_rollout_ref"].get(name) or {}
        size = node.get("log_prob_micro_batch_size_per_gpu")
        if size and not node.get("log_prob_use_dynamic_bsz") and (batch * group // ranks) % size:
            yield (
                f"{name}.log_prob_micro_batch_size_per_gpu ({size}) must divide the {batch * group // ranks} "
                "completions each rank gets of a batch"
            )
    nodes, gpus = separated_rollout(config)
    engines, what = (nodes * gpus, "GPUs of the separated rollout") if nodes * gpus else (ranks, "ranks")
    if engines % rollout["tensor_model_parallel_size"]:
        yield f"rollout.tensor_model_parallel_size must divide the {engines} {what}"
    if group < 2:
        yield "rollout.n must be at least 2: a group of one has no advantage"
    if rows and rows < batch:
        yield f"run.train_files: {rows} rows are fewer than data.train_batch_size ({batch})"


#: Where verl's engines have their settings, in reinforcement learning and in a cold start.
_ENGINES = (
    "actor_rollout_ref.actor",
    "actor_rollout_ref.ref",
    "actor_rollout_ref.actor.fsdp_config",
    "actor_rollout_ref.ref.fsdp_config",
    "engine",
)


def _engine_problems(config: dict[str, Any]) -> Iterable[str]:
    """Settings of verl's engine under which the trainer is another model than the rollout, or none."""
    for key in _ENGINES:
        settings: Any = config
        for name in key.split("."):
            settings = settings.get(name) or {}
        stored = settings.get("model_dtype", "fp32")
        if stored not in ("fp32", "float32"):  # verl casts all that is stored, buffers too
            yield (
                f"{key}.model_dtype: {stored} would round the frequencies of the rotary embeddings, which the rollout "
                "does not; set fp32: arithmetic is that of mixed_precision.param_dtype"
            )
        if (settings.get("ulysses_sequence_parallel_size") or 1) > 1:
            yield f"{key}.ulysses_sequence_parallel_size: verl 0.9.1 cannot cut Qwen2.5-Omni's sequences; set 1"


def _length_problems(config: dict[str, Any]) -> Iterable[str]:
    data, rollout = config["data"], config["actor_rollout_ref"]["rollout"]
    needed = data["max_prompt_length"] + data["max_response_length"]
    if rollout["max_model_len"] is not None and rollout["max_model_len"] < needed:
        yield (
            f"rollout.max_model_len ({rollout['max_model_len']}) is less than data.max_prompt_length + "
            f"data.max_response_length ({needed})"
        )
