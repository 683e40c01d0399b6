"""A name of ours that verl does not know stops the run with its own error."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from omegaconf import OmegaConf
from verl.workers.engine.base import EngineRegistry
from verl.workers.rollout.replica import RolloutReplicaRegistry

from avatar_verl.adapter.driver import assert_registered, finishing_trackers
from avatar_verl.adapter.engine import OmniEngine


@pytest.fixture
def config() -> Any:
    return OmegaConf.create(
        {
            "trainer": {"device": "cpu", "v1": {"trainer_mode": "avatar"}},
            "actor_rollout_ref": {
                "actor": {"strategy": "fsdp2"},
                "rollout": {"name": "vllm", "checkpoint_engine": {"backend": "naive"}},
            },
        }
    )


def test_all_is_registered(config: Any) -> None:
    assert_registered(config)
    assert EngineRegistry.get_engine_cls("language_model", "fsdp2") is OmniEngine


def test_the_wrong_platform_is_named(config: Any) -> None:
    config.trainer.device = "cuda"
    with pytest.raises(RuntimeError, match=r"verl's platform is 'cpu' but trainer\.device is 'cuda'"):
        assert_registered(config)


def test_an_unknown_trainer_is_named(config: Any) -> None:
    config.trainer.v1.trainer_mode = "avatarr"
    with pytest.raises((ValueError, KeyError, AssertionError), match="avatarr"):
        assert_registered(config)


def test_a_separated_rollout_is_registered_with_its_way_for_weights(config: Any) -> None:
    config.trainer.v1.trainer_mode = "avatar_separated"
    config.actor_rollout_ref.rollout.checkpoint_engine.backend = "gloo"
    assert_registered(config)


def test_a_way_for_weights_that_is_not_installed_is_named_with_what_it_lacks(config: Any) -> None:
    config.actor_rollout_ref.rollout.checkpoint_engine.backend = "nccl"
    with pytest.raises(ValueError, match=r"nccl not registered.*gloo.*nccl_checkpoint_engine: No module named 'cupy'"):
        assert_registered(config)


def test_a_foreign_engine_is_named(config: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    class Other(OmniEngine):
        pass

    monkeypatch.setitem(EngineRegistry._engines["language_model"]["fsdp2"], "cpu", Other)
    with pytest.raises(RuntimeError, match="verl would train with Other; our engine is not registered for 'cpu'"):
        assert_registered(config)


def test_a_foreign_replica_is_named(config: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(RolloutReplicaRegistry._registry, "vllm", lambda: object)
    with pytest.raises(RuntimeError, match="verl would roll out with its own vLLM replica"):
        assert_registered(config)


class Trackers:
    """Stands for verl's ``Tracking``: remembers how it was ended, and cannot reach its service."""

    ended: int | None = None

    def finish(self, exit_code: int) -> None:
        self.ended = exit_code
        raise ConnectionError("no service")


def test_trackers_end_with_the_training_and_cannot_fail_it(caplog: pytest.LogCaptureFixture) -> None:
    trainer = SimpleNamespace(logger=Trackers())
    with finishing_trackers(trainer):
        assert trainer.logger.ended is None
    assert trainer.logger.ended == 0
    assert "a tracker did not end well" in caplog.text


def test_trackers_are_told_of_a_failed_training_whose_error_stays() -> None:
    trainer = SimpleNamespace(logger=Trackers())
    with pytest.raises(ValueError, match="lost"), finishing_trackers(trainer):
        raise ValueError("lost")
    assert trainer.logger.ended == 1


def test_a_training_that_never_began_has_no_trackers() -> None:
    with finishing_trackers(SimpleNamespace()):
        pass
