"""verl's vLLM rollout server, told about Qwen2.5-Omni, and able to take weights on a CPU."""

from __future__ import annotations

import asyncio
import os
import threading
from concurrent.futures import Future
from typing import Any, ClassVar

import ray
import torch
from verl.utils.config import omega_conf_to_dataclass
from verl.workers.rollout.replica import RolloutMode
from verl.workers.rollout.vllm_rollout.utils import vLLMColocateWorkerExtension
from verl.workers.rollout.vllm_rollout.vllm_async_server import vLLMHttpServer, vLLMReplica

from avatar_verl.adapter.compat import align_vllm_interleaving, align_vllm_positions
from avatar_verl.adapter.named_actor import NamedActor
from avatar_verl.config import separated_rollout
from avatar_verl.omni.tokens import MediaTokens

_ENGINE_INTERVAL_S = 2.0  # between two looks at the engine's process


class OmniWorkerExtension(vLLMColocateWorkerExtension):
    """Runs inside vLLM's worker process."""

    model_runner: Any  # vLLM mixes this class into its worker

    def monkey_patch_model(self, vocab_size: int, banned_token_ids: list[int] | None = None) -> None:
        """verl bans images and videos; sounds and begin/end marks must not be sampled either."""
        config = self.model_runner.vllm_config.model_config.hf_config
        thinker = getattr(config, "thinker_config", config)
        align_vllm_positions(self.model_runner.get_model(), thinker)
        tokens = MediaTokens.from_config(thinker)
        super().monkey_patch_model(vocab_size, sorted({*(banned_token_ids or []), *tokens.never_sampled}))

    def update_weights_from_ipc(
        self, peft_config: Any = None, base_sync_done: bool = False, use_shm: bool = False
    ) -> None:
        if torch.cuda.is_available():
            super().update_weights_from_ipc(peft_config, base_sync_done, use_shm)
        else:
            self._reload_weights(use_shm)

    def _reload_weights(self, use_shm: bool) -> None:
        """Take all weights, then let vLLM reload them.

        vLLM's CPU build packs linear weights after loading, so that they cannot be overwritten one by one; its own
        ``reload_weights`` unpacks first. Tensors are cloned because they lie in a buffer the sender uses again.
        """
        from verl.workers.rollout.vllm_rollout.bucketed_weight_transfer import BucketedWeightReceiver

        weights: dict[str, torch.Tensor] = {}

        def keep(bucket: list[tuple[str, torch.Tensor]], is_last: bool) -> None:
            weights.update((name, tensor.clone()) for name, tensor in bucket)
            bucket.clear()  # a view left over would keep the shared memory open

        receiver = BucketedWeightReceiver(
            zmq_handle=self._get_zmq_handle(), device=torch.device("cpu"), use_shm=use_shm
        )
        receiver.receive_weights(on_bucket_received=keep)
        self.model_runner.reload_weights(weights_iterator=iter(weights.items()))


class OmniHttpServer(vLLMHttpServer):
    """verl's server with our model config and worker extension."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        align_vllm_interleaving()
        super().__init__(*args, **kwargs)

    def _init_model_config(self, model_config: Any) -> Any:
        """verl would use the processor to merge neighbouring placeholders; our ids are compact already."""
        config = omega_conf_to_dataclass(model_config)
        config.processor = None
        return config

    def _get_worker_extension_cls(self) -> str:
        return f"{OmniWorkerExtension.__module__}.{OmniWorkerExtension.__qualname__}"

    async def run_server(self, args: Any) -> None:
        """verl's, and from then on this process lives as long as its engine's.

        verl goes on waiting for a dead engine where it sends it weights. A dead actor is told to the whole run
        (``avatar_verl/adapter/liveness.py``).
        """
        await super().run_server(args)
        self._watch = asyncio.create_task(self._end_with_engine())

    async def _end_with_engine(self) -> None:
        while not self.engine.errored:
            await asyncio.sleep(_ENGINE_INTERVAL_S)
        print("[AVATAR] vLLM's engine process died; its server ends", flush=True)
        os._exit(1)


class OmniReplica(vLLMReplica):
    """One rollout replica; registered under verl's own name ``vllm``, so every test of that name still holds."""

    #: Replicas that :func:`launch_early` is launching or has launched, by rank.
    _early: ClassVar[dict[int, Future[OmniReplica]]] = {}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not self.is_reward_model:  # a judge is any model that vLLM knows, and gets no weights
            self.server_class = ray.remote(OmniHttpServer)

    async def launch_servers(self) -> None:
        """Launch the servers, or take over those that were launched before the workers were there."""
        if self.is_reward_model:
            await super().launch_servers()
            return
        launched = self._early.pop(self.replica_rank, None)
        if launched is None:
            await super().launch_servers()
        else:
            early = await asyncio.wrap_future(launched)
            self.servers, self._server_address = early.servers, early._server_address
        handle: Any = NamedActor(f"{self._get_server_name_prefix()}server_{self.replica_rank}_0")
        self._server_handle = handle


class _Here:
    """Stands for a worker on this node: says where it is, which is all that verl's launch asks of workers."""

    def __init__(self) -> None:
        self._node_id = ray.get_runtime_context().get_node_id()

    @property
    def __ray_call__(self) -> _Here:
        return self

    async def remote(self, _: Any) -> tuple[str, str]:
        return self._node_id, ""


def launch_early(config: Any) -> None:
    """Launch all rollout servers of a CPU machine now, while training workers start.

    verl launches them when the workers are ready, because both share GPUs, or because training takes its nodes first.
    On a CPU there is nothing to share or to take, and the two starts, some 15 and 25 s long, go on side by side.

    Args:
        config: the run's whole configuration, resolved.
    """
    nodes = config.actor_rollout_ref
    nnodes, slots = separated_rollout(config)
    mode = RolloutMode.STANDALONE if nnodes else RolloutMode.HYBRID
    ranks = nnodes * slots or config.trainer.n_gpus_per_node * config.trainer.nnodes
    for rank in range(ranks // nodes.rollout.tensor_model_parallel_size):
        replica = OmniReplica(rank, nodes.rollout, nodes.model, gpus_per_node=nodes.rollout.n_gpus_per_node)
        replica.rollout_mode = mode
        here: Any = _Here()
        replica.workers = [here] * replica.world_size
        launched: Future[OmniReplica] = Future()
        threading.Thread(target=_launch, args=(replica, launched), daemon=True).start()
        OmniReplica._early[rank] = launched


def _launch(replica: OmniReplica, launched: Future[OmniReplica]) -> None:
    """Body of the thread that waits for one replica's servers."""
    try:
        asyncio.run(vLLMReplica.launch_servers(replica))
        launched.set_result(replica)
    except BaseException as error:
        launched.set_exception(error)
