"""A run that a cluster cannot hold is named with what to do, instead of waiting for ever."""

from __future__ import annotations

import pytest

from avatar_verl.adapter.placement import Needs, PlacementError, missing, wait_until_placeable

NEEDS = Needs(nodes=2, gpus_per_node=8)  # 24 CPU slots a node
FULL = {"GPU": 8.0, "CPU": 24.0}


@pytest.mark.parametrize(
    ("nodes", "words"),
    [
        ([FULL, FULL], None),
        ([{"CPU": 4.0}, FULL, {"GPU": 9.0, "CPU": 96.0}], None),  # a head without GPUs does no harm
        ([FULL], ["2 nodes with 8 GPU and 24 CPU slots", "8 GPU / 24 CPU", "start more nodes"]),
        ([FULL, {"GPU": 7.0, "CPU": 96.0}], ["7 GPU / 96 CPU", "start more nodes"]),
        # 16 GPUs in all, but not 8 on each of two nodes
        ([{"GPU": 4.0, "CPU": 96.0}] * 4, ["start more nodes"]),
        ([FULL, {"GPU": 8.0, "CPU": 23.0}], ["--num-cpus=24"]),
        ([], ["have: none"]),
    ],
)
def test_what_is_missing_is_said_with_what_to_do(nodes: list[dict[str, float]], words: list[str] | None) -> None:
    problem = missing(NEEDS, nodes)
    assert bool(problem) == (words is not None)
    for word in words or []:
        assert word in problem


@pytest.mark.parametrize(
    ("nodes", "words"),
    [
        ([{"GPU": 9.0, "CPU": 27.0}, FULL], None),  # the pool beside one part of the run
        ([FULL, FULL, {"GPU": 1.0, "CPU": 3.0}], None),  # on a node of its own
        ([{"GPU": 1.0, "CPU": 3.0}, {"GPU": 16.0, "CPU": 48.0}], None),
        ([FULL, FULL], ["for the judge's pool 1 with 1 GPU", "lower", "or reward.reward_model.n_gpus_per_node"]),
        ([{"GPU": 9.0, "CPU": 26.0}, FULL], ["--num-cpus=27"]),
    ],
)
def test_a_pool_for_the_judge_needs_gpus_of_its_own(nodes: list[dict[str, float]], words: list[str] | None) -> None:
    problem = missing(Needs(2, 8, pool_nodes=1, pool_gpus_per_node=1), nodes)
    assert bool(problem) == (words is not None)
    for word in words or []:
        assert word in problem


def test_needs_are_those_of_the_config() -> None:
    trainer = {"nnodes": 2, "n_gpus_per_node": 8}
    assert Needs.of({"trainer": trainer}) == NEEDS
    pool = {"enable": True, "enable_resource_pool": True, "nnodes": 1, "n_gpus_per_node": 2}
    assert Needs.of({"trainer": trainer, "reward": {"reward_model": pool}}) == Needs(2, 8, 1, 2)
    assert Needs.of({"trainer": trainer, "reward": {"reward_model": {**pool, "enable": False}}}) == NEEDS


SEPARATED = {
    "trainer": {"nnodes": 1, "n_gpus_per_node": 8, "v1": {"trainer_mode": "avatar_separated"}},
    "actor_rollout_ref": {"rollout": {"nnodes": 1, "n_gpus_per_node": 8, "tensor_model_parallel_size": 2}},
}
APART = Needs(nodes=1, gpus_per_node=8, rollout_parts=4, rollout_gpus_per_part=2)  # 24 CPU slots, and 4 a part


def test_a_separated_rollout_is_counted_replica_by_replica() -> None:
    assert Needs.of(SEPARATED) == APART
    wide = {"rollout": {"nnodes": 4, "n_gpus_per_node": 8, "tensor_model_parallel_size": 16}}
    assert Needs.of({**SEPARATED, "actor_rollout_ref": wide}) == Needs(1, 8, 0, 0, 4, 8)
    one = {**SEPARATED["trainer"], "v1": {"trainer_mode": "avatar"}}
    assert Needs.of({**SEPARATED, "trainer": one}) == Needs(1, 8)


@pytest.mark.parametrize(
    ("nodes", "words"),
    [
        ([FULL, FULL], None),
        ([{"GPU": 16.0, "CPU": 40.0}], None),  # one large node holds both: 24 slots and 4 x 4
        ([FULL, {"GPU": 4.0, "CPU": 8.0}, {"GPU": 4.0, "CPU": 8.0}], None),
        ([{"GPU": 12.0, "CPU": 99.0}, {"GPU": 4.0, "CPU": 8.0}], None),  # what training leaves of its node counts
        ([FULL], ["for the separated rollout 4 parts with 2 GPU and 4 CPU slots each", "start more nodes"]),
        # 16 GPUs in all, but a replica of two does not fit into what three odd nodes have left
        ([FULL, {"GPU": 3.0, "CPU": 99.0}, {"GPU": 3.0, "CPU": 99.0}, {"GPU": 2.0, "CPU": 99.0}], ["start more nodes"]),
        ([FULL, {"GPU": 8.0, "CPU": 15.0}], ["--num-cpus=24"]),
    ],
)
def test_what_a_separated_run_misses_is_said(nodes: list[dict[str, float]], words: list[str] | None) -> None:
    problem = missing(APART, nodes)
    assert bool(problem) == (words is not None)
    for word in words or []:
        assert word in problem


def test_nodes_on_their_way_are_waited_for(capsys: pytest.CaptureFixture[str]) -> None:
    seen = iter([[FULL], [FULL], [FULL, FULL]])
    wait_until_placeable(NEEDS, lambda: next(seen), timeout_s=30, every_s=0.01)
    assert capsys.readouterr().out.count("waiting for nodes: the run needs 2 nodes") == 2


def test_waiting_ends_with_the_problem() -> None:
    with pytest.raises(PlacementError, match="start more nodes"):
        wait_until_placeable(NEEDS, lambda: [FULL], timeout_s=0.05, every_s=0.01)
