"""The pinned verl, vLLM, transformers and TransferQueue still have every name and signature that the adapter uses.

An upgrade that moves one fails here, by name, and not after an hour of training. A new override is added to the table.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]

#: Our class -> verl's methods and properties that it overrides, each with the parameters that verl gives it.
OVERRIDES: dict[str, dict[str, str]] = {
    "agent_loop.OmniAgentLoopWorker": {
        "__init__": "args kwargs",
        "_run_prompt": "prompt sampling_params trajectory trace",
        "_run_agent_loop": "sampling_params trajectory agent_name trace kwargs",
    },
    "agent_loop_manager.LateAgentLoopWorker": {"__init__": "args kwargs"},
    "agent_loop_manager.OmniAgentLoopManager": {"__init__": "args kwargs", "_init_agent_loop_workers": ""},
    "dataset.AvatarDataset": {"_read_files_and_tokenize": "", "__getitem__": "item"},
    "durable.DurableTrainer": {
        "__init__": "config",
        "_init_dataloader": "",
        "_load_checkpoint": "",
        "_save_checkpoint": "",
        "on_step_begin": "",
        "on_step_end": "",
    },
    "engine.OmniEngine": {
        "_build_module": "",
        "_build_fsdp_module": "module",
        "prepare_model_inputs": "micro_batch",
        "prepare_model_outputs": "output output_args micro_batch logits_processor_func",
        "get_per_tensor_param": "layered_summon base_sync_done kwargs",
        "_merged_lora_per_tensor_param": "",
        "save_checkpoint": "local_path hdfs_path global_step max_ckpt_to_keep kwargs",
    },
    "gloo_transfer.GlooCheckpointEngine": {
        "prepare": "",
        "init_process_group": "kwargs",
        "finalize": "",
        "send_weights": "weights global_steps",
        "receive_weights": "global_steps",
    },
    "model_config.OmniModelConfig": {"__post_init__": ""},
    "platform.CpuPlatform": {
        "device_name": "",
        "vendor_name": "",
        "device_module": "",
        "is_available": "",
        "is_platform_available": "use_smi_check",
        "current_device": "",
        "device_count": "",
        "set_device": "device_index",
        "synchronize": "device_index",
        "manual_seed": "seed",
        "manual_seed_all": "seed",
        "set_allocator_settings": "settings",
        "empty_cache": "",
        "get_device_capability": "device_index",
        "communication_backend_name": "",
        "visible_devices_envvar": "",
        "nvtx_range": "msg",
        "profiler_start": "",
        "profiler_stop": "",
        "ray_resource_name": "",
        "ray_noset_envvars": "",
        "is_ipc_supported": "",
        "cudart": "",
    },
    "rollout.OmniWorkerExtension": {
        "monkey_patch_model": "vocab_size banned_token_ids",
        "update_weights_from_ipc": "peft_config base_sync_done use_shm",
    },
    "rollout.OmniHttpServer": {
        "__init__": "config model_config rollout_mode workers replica_rank node_rank gpus_per_node nnodes "
        "cuda_visible_devices disaggregation_role disaggregation_kv_transfer_config",
        "_init_model_config": "model_config",
        "_get_worker_extension_cls": "",
        "run_server": "args",
    },
    "rollout.OmniReplica": {
        "__init__": "replica_rank config model_config gpus_per_node is_reward_model is_teacher_model name_suffix",
        "launch_servers": "",
    },
    "separated.SeparatedTrainer": {"_setup": "", "_get_n_gpus_for_throughput": ""},
    "trainer.AvatarTrainer": {
        "__init__": "config",
        "_build_replay_buffer": "",
        "_init_resource_pool_mgr": "",
        "_next_train_batch": "num_prompts",
        "_add_prompts_to_generate": "num_prompts",
        "step": "metrics timing_raw",
        "_balance_batch": "batch metrics logging_prefix keep_minibatch",
        "_compute_old_log_prob": "batch metrics",
        "_compute_advantage": "batch metrics",
        "_update_actor": "batch metrics",
        "_validate": "",
    },
    "worker.OmniTrainingWorker": {"__init__": "config", "train_mini_batch": "data", "infer_batch": "data"},
    "worker.OmniActorRolloutRefWorker": {"actor_worker_cls": "config", "ref_worker_cls": "config"},
}

#: Functions and classes that the adapter calls or patches -> the parameters it counts on, by name or by place.
USED: dict[str, str] = {
    "transfer_queue:init": "conf",
    "transfer_queue:close": "",
    "transfer_queue:kv_batch_get": "keys partition_id select_fields",
    "transfer_queue:kv_batch_put": "keys partition_id fields tags",
    "transfer_queue:kv_clear": "keys partition_id",
    "transfer_queue:async_kv_put": "key partition_id fields tag",
    "transfer_queue:async_kv_batch_put": "keys partition_id fields tags",
    "transformers:Qwen2_5OmniProcessor.get_chunked_index": "self token_indices tokens_per_chunk",
    "transformers:Qwen2_5OmniThinkerForConditionalGeneration.get_chunked_index": (
        "self token_indices tokens_per_chunk remove_index"
    ),
    "transformers:Qwen2_5OmniThinkerForConditionalGeneration.get_llm_pos_ids_for_vision": "self start_idx vision_idx",
    "transformers:Qwen2_5OmniThinkerForConditionalGeneration.get_rope_index": (
        "self input_ids image_grid_thw video_grid_thw attention_mask use_audio_in_video audio_seqlens second_per_grids"
    ),
    "verl.checkpoint_engine:CheckpointEngine.build_topology": "actor_wg_world_size rollout_world_size metadata",
    "verl.checkpoint_engine:CheckpointEngineManager.__init__": "self config actor_wg replicas",
    "verl.checkpoint_engine:CheckpointEngineRegistry.get": "backend",
    "verl.checkpoint_engine:CheckpointEngineRegistry.register": "backend",
    "verl.checkpoint_engine.base:merge_weight_chunks": "chunks bucket_size",
    "verl.checkpoint_engine.base:split_weight_chunks": "weights bucket_size",
    "verl.experimental.reward_loop.reward_model:RewardModelManager.get_router_address": "self",
    "verl.plugin.platform:PlatformRegistry.register": "platform",
    "verl.plugin.platform:get_platform": "",
    "verl.trainer.constants_ppo:get_ppo_ray_runtime_env": "",
    "verl.trainer.ppo.core_algos:register_adv_est": "name_or_enum",
    "verl.trainer.ppo.utils:need_critic": "config",
    "verl.trainer.ppo.utils:need_reference_policy": "config",
    "verl.trainer.ppo.v1:get_trainer_cls": "name",
    "verl.trainer.ppo.v1:register_trainer": "name",
    "verl.trainer.sft_trainer:SFTTrainer.__init__": "self config",
    "verl.trainer.sft_trainer:SFTTrainer.fit": "self",
    "verl.utils.config:omega_conf_to_dataclass": "config dataclass_type",
    "verl.utils.config:validate_config": "config use_reference_policy use_critic",
    "verl.utils.fsdp_utils:fsdp_version": "model",
    "verl.utils.fsdp_utils:offload_fsdp_model_to_cpu": "model",
    "verl.utils.tensordict_utils:get_non_tensor_data": "data key default",
    "verl.utils.tensordict_utils:list_of_dict_to_tensordict": "list_of_dicts",
    "verl.utils.tensordict_utils:nested_tensor_from_tensor_list": "tensors ragged_idx",
    "verl.workers.engine.base:EngineRegistry.get_engine_cls": "model_type backend",
    "verl.workers.engine.base:EngineRegistry.register": "model_type backend device vendor",
    "verl.workers.rollout.llm_server:LLMServerManager.create": "cls args kwargs",
    "verl.workers.rollout.llm_server:LLMServerManager.get_replicas": "self",
    "verl.workers.rollout.replica:RolloutReplicaRegistry.get": "name",
    "verl.workers.rollout.replica:RolloutReplicaRegistry.register": "name loader",
    "verl.workers.rollout.vllm_rollout.bucketed_weight_transfer:BucketedWeightReceiver.__init__": (
        "self zmq_handle device use_shm"
    ),
    "verl.workers.rollout.vllm_rollout.bucketed_weight_transfer:BucketedWeightReceiver.receive_weights": (
        "self on_bucket_received"
    ),
    "verl.workers.rollout.vllm_rollout.utils:vLLMColocateWorkerExtension._get_zmq_handle": "self",
    "verl.workers.utils.padding:response_to_nested": "tensor response_mask",
    "vllm:LLM.apply_model": "self func",
    "vllm.model_executor.models.qwen2_5_omni_thinker:"
    "Qwen2_5OmniThinkerForConditionalGeneration.get_mrope_input_positions": "self input_tokens mm_features",
    "vllm.model_executor.models.qwen2_5_omni_thinker:"
    "Qwen2_5OmniThinkerMultiModalProcessor.omni_get_updates_use_audio_in_video": (
        "thinker_config audio_len video_grid_thw video_second_per_grid_t"
    ),
    "vllm.v1.worker.gpu_model_runner:GPUModelRunner.reload_weights": "self weights_iterator",
}

#: Attributes that are read or set on verl's objects.
ATTRIBUTES = (
    "verl.workers.engine.base:EngineRegistry._engines",
    "verl.trainer.ppo.v1.agent_loop_tq:AgentLoopWorkerTQ.__ray_metadata__.modified_class",
)


def parameters(function: Any) -> list[str]:
    if isinstance(function, property):
        function = function.fget
    function = inspect.unwrap(getattr(function, "__func__", function))
    return [name for name in inspect.signature(function).parameters if name != "_ray_trace_ctx"]


def ours(name: str) -> type:
    module, _, attribute = name.partition(".")
    found = getattr(importlib.import_module(f"avatar_verl.adapter.{module}"), attribute)
    assert isinstance(found, type)
    return found


def overridden(cls: type) -> Iterator[tuple[str, Any, Any]]:
    """(name, ours, the overridden one of verl's or vLLM's) of each member that has one."""
    generated = {"__init__", "__eq__", "__repr__", "__replace__"} if "__dataclass_fields__" in vars(cls) else set()
    for name, member in vars(cls).items():
        if name in generated or not (callable(member) or isinstance(member, property)):
            continue
        for base in cls.__mro__[1:]:
            if name in vars(base) and base.__module__.startswith(("verl.", "vllm.")):
                yield name, member, vars(base)[name]
                break


@pytest.mark.parametrize("name", OVERRIDES)
def test_verl_has_what_we_override(name: str) -> None:
    found = {member: parameters(theirs) for member, _, theirs in overridden(ours(name))}
    own = {member: [word for word in words if word != "self"] for member, words in found.items()}
    assert own == {member: words.split() for member, words in OVERRIDES[name].items()}


@pytest.mark.parametrize("name", OVERRIDES)
def test_our_overrides_take_what_verl_gives(name: str) -> None:
    """By name too: verl may call any of them with keywords."""
    for member, mine, theirs in overridden(ours(name)):
        if isinstance(mine, (property, type)):
            continue
        signature = inspect.signature(inspect.unwrap(getattr(mine, "__func__", mine)))
        kinds = {parameter.kind for parameter in signature.parameters.values()}
        if inspect.Parameter.VAR_KEYWORD in kinds or member == "__init__":
            continue
        missing = set(parameters(theirs)) - signature.parameters.keys() - {"args", "kwargs"}
        assert not missing, f"{name}.{member} does not take {sorted(missing)}"


def test_the_table_names_every_class_that_overrides() -> None:
    adapter = ROOT / "avatar_verl" / "adapter"
    found = set()
    for path in adapter.glob("*.py"):
        if path.stem in ("__init__", "compat"):
            continue
        module = importlib.import_module(f"avatar_verl.adapter.{path.stem}")
        for attribute, cls in vars(module).items():
            if isinstance(cls, type) and cls.__module__ == module.__name__ and any(overridden(cls)):
                found.add(f"{path.stem}.{attribute}")
    assert found == set(OVERRIDES)


def resolve(path: str) -> Any:
    module, _, attributes = path.partition(":")
    found = importlib.import_module(module)
    for attribute in attributes.split("."):
        found = getattr(found, attribute)
    return found


@pytest.mark.parametrize("path", USED)
def test_what_we_call_takes_what_we_give(path: str) -> None:
    assert set(USED[path].split()) <= set(parameters(resolve(path)))


@pytest.mark.parametrize("path", ATTRIBUTES)
def test_what_we_reach_into_is_there(path: str) -> None:
    assert resolve(path) is not None


def test_verl_is_the_pinned_one() -> None:
    """The table is of this version; both profiles pin it."""
    pins = re.findall(r'"verl(?:\[[a-z0-9,-]+\])?==([\d.]+)"', (ROOT / "pyproject.toml").read_text())
    assert len(pins) == 2
    assert {importlib.metadata.version("verl")} == set(pins)
