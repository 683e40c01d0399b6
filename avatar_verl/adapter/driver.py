"""The process that drives a run: starts Ray, builds the trainer, fits it.

verl puts its driver into a Ray actor of its own; here it stays in this process, which saves a process and its start.
Run as ``python -m avatar_verl.adapter.driver RUN_FOLDER``; ``--check`` stops before Ray starts.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import signal
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from avatar_verl.adapter.compat import init_ray
from avatar_verl.adapter.judge_pool import connect_judge
from avatar_verl.adapter.liveness import watched
from avatar_verl.adapter.model_config import write_thinker_config
from avatar_verl.adapter.placement import Needs, ray_nodes, wait_until_placeable
from avatar_verl.adapter.trackers import keep_in
from avatar_verl.export import merge_thinker
from avatar_verl.launch import ASKED, FOR_WORKERS
from avatar_verl.run_folder import StopAskedError, newest_checkpoint, write_json

logger = logging.getLogger(__name__)

_JOIN_TIMEOUT_S = 120.0  # nodes of a cluster may still be starting


def check(config: DictConfig) -> None:
    """Everything verl itself can say about the configuration without Ray."""
    from verl.trainer.ppo.utils import need_critic, need_reference_policy
    from verl.utils.config import validate_config

    validate_config(config, need_reference_policy(config), need_critic(config))


def assert_registered(config: DictConfig) -> None:
    """Stop with a plain error where one of our names, or the way of the weights, is not known to verl."""
    from verl.checkpoint_engine import CheckpointEngineRegistry
    from verl.plugin.platform import get_platform
    from verl.trainer.ppo.v1 import get_trainer_cls
    from verl.workers.engine.base import EngineRegistry
    from verl.workers.rollout.replica import RolloutReplicaRegistry

    import avatar_verl.adapter.gloo_transfer
    import avatar_verl.adapter.register
    import avatar_verl.adapter.separated  # noqa: F401
    from avatar_verl.adapter.engine import OmniEngine
    from avatar_verl.adapter.rollout import OmniReplica

    get_trainer_cls(config.trainer.v1.trainer_mode)
    device = get_platform().device_name
    if device != config.trainer.device:
        raise RuntimeError(
            f"verl's platform is {device!r} but trainer.device is {config.trainer.device!r}: set VERL_PLATFORM and "
            "VERL_USE_EXTERNAL_MODULES as avatar_verl.launch does"
        )
    engine = EngineRegistry.get_engine_cls("language_model", config.actor_rollout_ref.actor.strategy)
    if engine is not OmniEngine:
        raise RuntimeError(f"verl would train with {engine.__name__}; our engine is not registered for {device!r}")
    if RolloutReplicaRegistry.get(config.actor_rollout_ref.rollout.name) is not OmniReplica:
        raise RuntimeError("verl would roll out with its own vLLM replica; ours is not registered")
    CheckpointEngineRegistry.get(config.actor_rollout_ref.rollout.checkpoint_engine.backend)


def join_ray(config: DictConfig, **for_workers: str) -> None:
    """Join the cluster that RAY_ADDRESS names, or start one on this machine; wait until it holds the run's ranks.

    Args:
        config: of the run.
        for_workers: environment variables of every worker, beside :data:`FOR_WORKERS`.
    """
    from verl.trainer.constants_ppo import get_ppo_ray_runtime_env

    options: dict[str, Any] = OmegaConf.to_container(config.ray_kwargs.ray_init, resolve=True)  # type: ignore[assignment]
    runtime_env = dict(get_ppo_ray_runtime_env(config))
    variables = {**runtime_env.get("env_vars", {}), **for_workers}
    variables.update((name, os.environ[name]) for name in FOR_WORKERS if name in os.environ)
    runtime_env["env_vars"] = {**variables, **(options.pop("runtime_env", None) or {}).get("env_vars", {})}
    joined = bool(os.environ.get("RAY_ADDRESS"))
    if joined:
        options = {}  # resources belong to whoever started the cluster
        os.environ["RAY_OVERRIDE_JOB_RUNTIME_ENV"] = "1"  # a job's own variables are no conflict; ours count
    init_ray(runtime_env=runtime_env, **options)
    wait_until_placeable(Needs.of(config), ray_nodes, _JOIN_TIMEOUT_S if joined else 0.0)


def start_ray(config: DictConfig) -> None:
    """:func:`join_ray` for reinforcement learning."""
    import ray

    join_ray(config, TRANSFER_QUEUE_ENABLE="1")
    # verl's load balancer is the last actor to start. By value its process has no need to import verl first.
    import verl.workers.rollout.router as router

    ray.cloudpickle.register_pickle_by_value(router)


def start_cluster(config: DictConfig) -> None:
    """Start Ray, and TransferQueue, through which rows go from rollouts to the trainer."""
    start_ray(config)
    import transfer_queue as tq

    tq.init(config.transfer_queue)


def fit(config: DictConfig) -> None:
    """Run the training to its end."""
    import transfer_queue as tq
    from verl.trainer.ppo.v1 import get_trainer_cls

    from avatar_verl.adapter.agent_loop_manager import OmniAgentLoopManager, start_workers
    from avatar_verl.adapter.rollout import launch_early

    workers = start_workers(config)
    if config.trainer.device == "cpu" and not os.environ.get("RAY_ADDRESS"):  # all of it is on this machine
        launch_early(config)
    try:
        trainer = get_trainer_cls(config.trainer.v1.trainer_mode)(config=config)
        trainer.init()
        connect_judge(config, trainer.reward_loop_manager.reward_router_address)
        manager = OmniAgentLoopManager.create(
            workers,
            config=config,
            llm_client=trainer.get_llm_client(),
            teacher_client=trainer.get_teacher_client(),
            reward_loop_worker_handles=trainer.get_reward_handles(),
        )
        with finishing_trackers(trainer):
            trainer.fit(manager)
    finally:
        tq.close()


@contextlib.contextmanager
def finishing_trackers(trainer: Any) -> Iterator[None]:
    """End the trackers with the training.

    verl leaves it to the deletion of its ``Tracking``, at the interpreter's end: by then W&B's own exit has stopped the
    process it speaks to, and the driver would wait for an answer for ever.
    """
    exit_code = 1
    try:
        yield
        exit_code = 0
    finally:
        if trackers := getattr(trainer, "logger", None):  # made when the training begins
            try:
                trackers.finish(exit_code)
            except Exception:  # a service that is away must not end a run
                logger.warning("a tracker did not end well", exc_info=True)


def export_model(config: DictConfig, run: Path) -> None:
    """Write the trained policy as a complete Omni folder, ``RUN_FOLDER/model``: what the next stage starts from."""
    newest = newest_checkpoint(run / "checkpoints")
    if newest is not None and (newest / "actor" / "huggingface").is_dir():
        merge_thinker(Path(config.actor_rollout_ref.model.path), newest / "actor" / "huggingface", run / "model")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run_folder", type=Path)
    parser.add_argument("--check", action="store_true", help="check the configuration and stop")
    options = parser.parse_args(arguments)
    run: Path = options.run_folder
    config = OmegaConf.load(run / "config.yaml")
    assert isinstance(config, DictConfig)
    if options.check:
        check(config)
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    write_thinker_config(config.actor_rollout_ref.model.path, config.actor_rollout_ref.model.hf_config_path)
    (run / "error.json").unlink(missing_ok=True)
    keep_in(run, config.trainer.logger, config.trainer.project_name)
    import ray

    try:
        check(config)
        OmegaConf.resolve(config)
        with watched(run):
            with ThreadPoolExecutor(1) as pool:  # imports go on while Ray and the queue's actors start
                registered = pool.submit(assert_registered, config)
                start_cluster(config)  # in this thread: Ray's processes end with the thread that started them
                registered.result()
            fit(config)
        export_model(config, run)
        write_json(run / "finished.json", {"steps": config.trainer.total_training_steps})
    except StopAskedError:
        return ASKED
    except Exception as error:
        write_json(run / "error.json", {"type": type(error).__name__, "message": str(error)})
        raise
    finally:
        ray.shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
