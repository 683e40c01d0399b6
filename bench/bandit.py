"""What replay, reference scores and the mixing ratio do to learning, in a world small enough for many seeds.

    python bench/bandit.py --world again         # 256 prompts, visited again and again
    python bench/bandit.py --world once          # every prompt visited once, as in an epoch of training
    python bench/bandit.py --world drift         # a learning rate too high: what makes replay go wrong late, and why

All that is ours is the real thing: buffer, tiers, quotas, reference scores, advantages. What is missing is a language
model, so that 24,000 completions take seconds and accuracy is exact: the mean chance of the right answer. A token per
completion means that shaping has nothing to weigh. `bench/learning.py` asks the same of the real loop, with few seeds.

Every arm may generate as many completions, for 16 prompts a step, and makes two optimiser steps a step and epoch: an
arm that generates 2 per prompt makes four times the steps of one that generates 8. So the arms to compare with replay
are GRPO of the same number generated, and over several epochs, which trains on as many rows.
"""

from __future__ import annotations

import argparse
import statistics
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from bandit_world import VISITS, World
from curves import at, by_arm, fresh_to, join, plot, spread
from record import machine, report, results_folder

from avatar_verl.adapter.estimator import ReplayContext, row_advantages
from avatar_verl.adapter.replay_cycle import ReplayCycle
from avatar_verl.adapter.replay_metrics import signal_metrics
from avatar_verl.config import AvatarConfig
from avatar_verl.replay.entry import Entry

POINTS = 40  # of a curve


@dataclass(frozen=True)
class Arm:
    """What differs. The last three are interventions that no configuration has; they tell causes apart."""

    on: int
    off: int = 0
    epochs: int = 1
    alpha: float = 0.6
    replay: dict[str, Any] = field(default_factory=dict)
    window: int = 20
    prior: float = 0.0
    bound: float = 3.0  # verl's clip_ratio_c
    true_reference: bool = False  # the policy's present chance of success in place of Rbar
    divide: bool = True  # by the std of the replayed rewards
    centre: bool = False  # subtract the mean advantage of the drawn rows

    def config(self) -> AvatarConfig:
        replay = {"on_policy_batches": self.on, "off_policy_batches": self.off, **self.replay}
        vcrs = {"alpha": self.alpha, "window": self.window, "prior": self.prior}
        return AvatarConfig.model_validate({"replay": replay, "vcrs": vcrs, "shaping": {"strength": 0.0}})


FLAT_PRIORITY = {"priority_reward_weight": 0.0, "priority_kl_weight": 0.0}
PROMPT = {"scope": "prompt"}
#: Arms of the worlds `again` and `once`.
ARMS = {
    "GRPO of 8": Arm(8),
    "GRPO of 4": Arm(4),
    "GRPO of 4, two epochs": Arm(4, epochs=2),
    "GRPO of 2": Arm(2),
    "GRPO of 2, four epochs": Arm(2, epochs=4),
    "6+2": Arm(6, 2),
    "paper, 4+4": Arm(4, 4),
    "2+6": Arm(2, 6),
    "2+6, alpha 1": Arm(2, 6, alpha=1.0),
    "best: 2+6, alpha 1, prior 2": Arm(2, 6, alpha=1.0, prior=2.0),
    "4+4, alpha 1, prior 2": Arm(4, 4, alpha=1.0, prior=2.0),
    "released, 4+4": Arm(4, 4, alpha=1.0, replay={"min_size": 10}),
}
#: Arms that need prompts to come back.
SAME_PROMPT = {
    "scope prompt, 4+4": Arm(4, 4, alpha=1.0, replay=PROMPT),
    "scope prompt, 2+6": Arm(2, 6, alpha=1.0, replay=PROMPT),
}
#: Knobs of replay that are turned in the world `once`.
KNOBS = {
    "2+6, at most 20 steps old": Arm(2, 6, replay={"max_age": 20}),
    "2+6, no priority": Arm(2, 6, replay=FLAT_PRIORITY),
    "2+6, true reference": Arm(2, 6, true_reference=True),
}
#: Arms of the world `drift`: 2+6 under a loss that does not bound negative advantages, and with one cause less each.
DRIFT = {
    "GRPO of 2": Arm(2),
    "2+6": Arm(2, 6),
    "best: 2+6, alpha 1, prior 2": Arm(2, 6, alpha=1.0, prior=2.0),
    "2+6, unbounded": Arm(2, 6, bound=1e9),
    "unbounded, true reference": Arm(2, 6, bound=1e9, true_reference=True),
    "unbounded, not divided by std": Arm(2, 6, bound=1e9, divide=False),
    "unbounded, mean advantage 0": Arm(2, 6, bound=1e9, centre=True),
    "unbounded, no priority": Arm(2, 6, bound=1e9, replay=FLAT_PRIORITY),
    "unbounded, window 4": Arm(2, 6, bound=1e9, window=4),
    "unbounded, at most 20 steps old": Arm(2, 6, bound=1e9, replay={"max_age": 20}),
}


class Setting(NamedTuple):
    """A world: its arms, prompts and learning rate."""

    arms: dict[str, Arm]
    prompts: int
    learning_rate: float


WORLDS = {
    "again": Setting(ARMS | SAME_PROMPT, 256, 3e-3),
    "once": Setting(ARMS | KNOBS, 16_384, 3e-3),
    "drift": Setting(DRIFT, 256, 1e-2),
}


def advantages_of(arm: Arm, rows: list[Entry], labels: Any, context: ReplayContext, world: World) -> torch.Tensor:
    """The estimator's, after the arm's interventions."""
    rewards = torch.tensor([row.reward for row in rows], dtype=torch.float64)
    replayed = context.replayed
    if arm.true_reference and bool(replayed.any()):
        context.reference.copy_(world.success([int(row.prompt_id) for row in rows]).float() * replayed)
    found = row_advantages(rewards, labels, context)
    if not arm.divide:
        found[replayed] = arm.alpha * (rewards - context.reference.double())[replayed]
    if arm.centre and bool(replayed.any()):
        found[replayed] -= found[replayed].mean()
    return found


def observe(rows: list[Entry], advantages: torch.Tensor, context: ReplayContext, world: World) -> dict[str, float]:
    """Figures of a step: groups and rows with a gradient, and what its replayed rows push at."""
    rewards = torch.tensor([row.reward for row in rows], dtype=torch.float64)
    replayed, ids = context.replayed, np.array([row.prompt_id for row in rows])
    signal = signal_metrics(advantages, rewards, replayed, ids)
    found = {name: signal[f"avatar/groups/{name}"] for name in ("fresh", "zero_std", "rescued")}
    found["signal"] = float((advantages.abs() > 1e-6).sum()) / found["fresh"]
    if bool(replayed.any()):
        old = [row for row, flag in zip(rows, replayed.tolist(), strict=True) if flag]
        with torch.no_grad():
            ratio = world.ratios(old)
        own, success = advantages[replayed], world.success([int(row.prompt_id) for row in old])
        found |= {
            "advantage": float(own.mean()),
            "lag": float((success - context.reference[replayed]).mean()),
            "std": float(rewards[replayed].std()),
            "negative push": float((ratio * own.abs())[own < 0].clamp(max=1e6).sum()) / len(old),
            "ratio": float(ratio.max()),
        }
    return found


def run(name: str, world_name: str, seed: int, budget: int) -> dict[str, Any]:
    """One arm of one seed: its curve (fresh completions, optimiser steps, accuracy trained, accuracy held out)."""
    torch.set_num_threads(1)
    setting = WORLDS[world_name]
    arm = setting.arms[name]
    config, world = arm.config(), World(seed, setting.prompts, setting.learning_rate, arm.bound)
    cycle, batches = ReplayCycle(config, seed), world.batches()
    steps = budget // (VISITS * arm.on)
    curve, seen = [(0, 0, *world.accuracy())], []
    for step in range(1, steps + 1):
        groups = world.generate(next(batches), arm.on, step)
        rows, labels, _, context = join(cycle, step, groups)
        advantages = advantages_of(arm, rows, labels, context, world)
        if step % 5 == 0:
            seen.append(observe(rows, advantages, context, world))
        for _ in range(arm.epochs):
            world.update(rows, advantages.float())
        success = {group[0].group: [entry.reward for entry in group] for group in groups}
        cycle.harvest(rows[: arm.on * VISITS], dict.fromkeys(success, False), success)
        if step * POINTS // steps > (step - 1) * POINTS // steps:
            curve.append((step * VISITS * arm.on, 2 * step * arm.epochs, *world.accuracy()))
    return {"arm": name, "seed": seed, "curve": curve, "seen": seen}


def late(run: dict[str, Any], name: str) -> float:
    """Mean of a figure over the second half of a run; of the ratio the largest."""
    values = [seen[name] for seen in run["seen"][len(run["seen"]) // 2 :] if name in seen]
    return (max if name == "ratio" else statistics.mean)(values) if values else 0.0


def summarise(runs: list[dict[str, Any]], level: float, reference: str) -> list[dict[str, Any]]:
    """A row an arm. The first target is a level on the trained prompts, the second what GRPO of 8 ends at, held out."""
    arms = by_arm(runs)
    goal = statistics.median(run["curve"][-1][3] for run in arms.get(reference, runs))
    equal = min(run["curve"][-1][1] for run in runs)
    rows = []
    for name, own in arms.items():
        flat, groups = (sum(seen[key] for run in own for seen in run["seen"]) for key in ("zero_std", "fresh"))
        rows.append(
            {
                "arm": name,
                **spread([fresh_to(run, level, 2) for run in own], f"fresh to {level:.0%}", -2),
                **spread([fresh_to(run, goal, 3) for run in own], f"fresh to {reference}'s end", -2),
                **spread([run["curve"][-1][2] for run in own], "end", 3),
                **spread([run["curve"][-1][3] for run in own], "held out", 3),
                "held out at equal steps": round(statistics.median(at(run, equal, 1, 3) for run in own), 3),
                "flat groups": round(flat / groups, 3),
                "of them rescued": round(sum(s["rescued"] for run in own for s in run["seen"]) / max(1.0, flat), 3),
                "rows with signal": round(statistics.mean(s["signal"] for run in own for s in run["seen"]), 2),
            }
        )
    return rows


def explain(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A row an arm of the world `drift`: how far accuracy falls back, and what replayed rows do in the second half."""
    rows = []
    for name, own in by_arm(runs).items():
        rows.append(
            {
                "arm": name,
                **spread([run["curve"][-1][2] for run in own], "end", 3),
                **spread([deepest_fall(run) for run in own], "deepest fall", 3),
                "mean advantage": round(statistics.median(late(run, "advantage") for run in own), 3),
                "success minus reference": round(statistics.median(late(run, "lag") for run in own), 3),
                "std of rewards": round(statistics.median(late(run, "std") for run in own), 3),
                "negative push": round(statistics.median(late(run, "negative push") for run in own), 3),
                "largest ratio": round(statistics.median(late(run, "ratio") for run in own), 1),
            }
        )
    return rows


def deepest_fall(run: dict[str, Any]) -> float:
    """Largest loss of accuracy since the best point before."""
    accuracy = np.array([point[2] for point in run["curve"]])
    return float((np.maximum.accumulate(accuracy) - accuracy).max())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--world", default="again", choices=list(WORLDS))
    parser.add_argument("--arms", nargs="+", help="names of some arms")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--budget", type=int, default=24_000, help="completions an arm may generate")
    parser.add_argument("--level", type=float, default=0.8)
    parser.add_argument("--processes", type=int, default=1)
    options = parser.parse_args()
    where, setting = machine(), WORLDS[options.world]
    names = options.arms or list(setting.arms)
    if unknown := set(names) - set(setting.arms):
        parser.error(f"no arm of world {options.world}: {', '.join(sorted(unknown))}")
    with ProcessPoolExecutor(options.processes) as pool:
        jobs = [
            pool.submit(run, name, options.world, seed, options.budget)
            for name in names
            for seed in range(1, options.seeds + 1)
        ]
        runs = []
        for job in jobs:
            runs.append(job.result())
            print(f"{runs[-1]['arm']} seed {runs[-1]['seed']}: {runs[-1]['curve'][-1]}", flush=True)
    settings = {
        "seeds": options.seeds,
        "budget": options.budget,
        "prompts": setting.prompts,
        "learning rate": setting.learning_rate,
    }
    drift = options.world == "drift"
    rows = explain(runs) if drift else summarise(runs, options.level, "GRPO of 8")
    report(f"bandit_{options.world}", settings, where, rows)
    column, label = (3, "held-out accuracy") if options.world == "once" else (2, "accuracy on the trained prompts")
    plot(runs, column, label, results_folder() / f"bandit_{options.world}.png")


if __name__ == "__main__":
    main()
