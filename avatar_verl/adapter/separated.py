"""Rollout on GPUs of its own, in step with training: generate, update, send the weights, and again.

Everything a step does is :class:`AvatarTrainer`'s. Only two things are others: which replicas there are, and how
weights get to them. Replay, hints, resume and the numbers are therefore those of the colocated run. One side waits
while the other works; what that buys is in ``docs/cluster-guide.md``, with what letting them overlap would need.

verl's own ``separate_async`` trainer is made for the overlap; its pieces are used here, itself it is not.
"""

from __future__ import annotations

from verl.checkpoint_engine import CheckpointEngineManager
from verl.trainer.ppo.v1 import register_trainer
from verl.utils.config import omega_conf_to_dataclass
from verl.workers.rollout.llm_server import LLMServerManager

from avatar_verl.adapter.trainer import AvatarTrainer
from avatar_verl.config import SEPARATED


@register_trainer(SEPARATED)
class SeparatedTrainer(AvatarTrainer):
    """The trainer named by ``trainer.v1.trainer_mode=avatar_separated``."""

    #: verl's switch: training ranks hold no rollout, and no servers are started beside them.
    _enable_hybrid_replicas = False

    def _setup(self) -> None:
        """Training ranks first, as they need whole nodes; then replicas on what is left, and the way to them.

        A standalone replica ignores :meth:`sleep`, so that verl's synchronous hooks can stay as they are.
        """
        super()._setup()
        self.llm_server_manager = LLMServerManager.create(config=self.config)
        self.checkpoint_manager = CheckpointEngineManager(
            config=omega_conf_to_dataclass(self.config.actor_rollout_ref.rollout.checkpoint_engine),
            actor_wg=self.actor_rollout_wg,
            replicas=self.llm_server_manager.get_replicas(),
        )

    def _get_n_gpus_for_throughput(self) -> int:
        rollout = self.config.actor_rollout_ref.rollout
        return super()._get_n_gpus_for_throughput() + rollout.nnodes * rollout.n_gpus_per_node
