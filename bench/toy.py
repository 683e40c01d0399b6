"""Sample efficiency on the toy world itself: its Qwen2.5-Omni, clips and rewards, in one process, so for many seeds.

    python bench/toy.py                              # the presets against GRPO of 8 and of 4, five seeds
    python bench/toy.py --table ablation             # what each part of the method does
    python bench/toy.py --table hints --prompts 64   # 64 prompts again and again: hints, scope prompt
    python bench/toy.py --seeds 6 7 8 --add          # only what toy_*_runs.json have not yet

Needs the cold start that ``run_stage1.sh`` makes. An arm is a list of Hydra overrides of stage 1, many of them
bench/learning.py's; :mod:`toy_world` says what is the real loop's own. Every arm makes four optimiser steps a step,
once replay has begun on 64 rows in all. GRPO of 4 therefore goes over its 32 rows twice; a smaller group saves
completions by itself, and only this comparison credits replay. A run of 40 steps takes three minutes of one core.
Writes bench/results/toy_<table>.json, toy_<table>_runs.json and toy_<table>.png.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import torch
from curves import Run, at, by_arm, fresh_to, join, plot, spread
from learning import ARMS, GENERATED, LAST_STEPS, MINI_BATCH
from record import machine, report, results_folder
from runs import start_from
from toy_world import World

from avatar_verl.adapter.replay_cycle import ReplayCycle
from avatar_verl.adapter.replay_metrics import off_policy_metrics, signal_metrics
from avatar_verl.main import load

FOUR_STEPS = f"{MINI_BATCH}=2"  # of the 8 prompts
REPLAYED = "avatar.replay.off_policy_batches"
#: Replayed rows stand behind fresh ones, and mini-batches are cut in order.
SHUFFLED = "actor_rollout_ref.actor.shuffle=true"
HINTED = ["preset=paper", FOUR_STEPS, "avatar.hint.always=true"]

#: Table -> arm -> overrides.
TABLES: dict[str, dict[str, list[str]]] = {
    "presets": {
        "paper": ["preset=paper", FOUR_STEPS],
        "best": ["preset=best", FOUR_STEPS],
        "GRPO of 8": ARMS["grpo8"],
        "GRPO of 4": ARMS["grpo4"],
        "GRPO of 2": ARMS["grpo2"],
        "released": ["preset=released", FOUR_STEPS],
        "4+4, alpha 1, prior 2": ["preset=paper", FOUR_STEPS, "avatar.vcrs.alpha=1.0", "avatar.vcrs.prior=2.0"],
    },
    "ablation": {
        "GRPO of 8": ARMS["grpo8"],
        "GRPO of 4": ARMS["grpo4"],
        "GRPO of 4, TAS": [*ARMS["grpo4"], "avatar.shaping.strength=0.3", "algorithm.adv_estimator=avatar"],
        "4+4, no TAS": ["preset=paper", FOUR_STEPS, "avatar.shaping.strength=0"],
        "4+4, TAS": ["preset=paper", FOUR_STEPS],
        "6+2": ["preset=paper", FOUR_STEPS, f"{GENERATED}=6", f"{REPLAYED}=2"],
        "2+6": ["preset=paper", FOUR_STEPS, f"{GENERATED}=2", f"{REPLAYED}=6"],
        "GRPO of 2": ARMS["grpo2"],
        "4+4, rows shuffled": ["preset=paper", FOUR_STEPS, SHUFFLED],
        "TAS uniform": ["preset=paper", FOUR_STEPS, "avatar.shaping.shape=uniform"],
        "TAS incline": ["preset=paper", FOUR_STEPS, "avatar.shaping.shape=incline"],
        "TAS decay": ["preset=paper", FOUR_STEPS, "avatar.shaping.shape=decay"],
        "TAS inverse parabola": ["preset=paper", FOUR_STEPS, "avatar.shaping.shape=inverse_parabola"],
    },
    "hints": {
        "no hints": ["preset=paper", FOUR_STEPS, "avatar.hint.enable=false"],
        "hint after 3": ["preset=paper", FOUR_STEPS],
        "always, keep": HINTED,
        "always, strip": [*HINTED, "avatar.hint.mode=strip"],
        "scope prompt": ["preset=paper", FOUR_STEPS, "avatar.replay.scope=prompt", "avatar.vcrs.alpha=1.0"],
        "GRPO of 4": ARMS["grpo4"],
        "GRPO of 4, hint after 3": [*ARMS["grpo4"], "avatar.hint.enable=true", "avatar.hint.zero_patience=3"],
    },
    # As the presets ship, with the mini-batches of profile cpu: what the real loop's runs are to be compared with.
    "loop": {name: ARMS[name] for name in ("paper", "best", "grpo8", "grpo4")},
}
SAMPLES = 2  # completions of each held-out prompt
OBSERVED = 5  # steps between two looks at importance ratios, which cost a pass of their own


def made_before(table: str, settings: dict[str, Any]) -> list[Run]:
    """Runs of any table with these settings whose arm has the overrides of one of ``table``, under its name there."""
    names, found = {tuple(overrides): arm for arm, overrides in TABLES[table].items()}, {}
    for other in (table, *TABLES):  # its own count first
        kept = results_folder() / f"toy_{other}_runs.json"
        for run in json.loads(kept.read_text()) if kept.exists() else []:
            arm = names.get(tuple(TABLES[other].get(run["arm"], ())))
            if arm and settings.items() <= run.items():
                found.setdefault((arm, run["seed"]), {**run, "arm": arm})
    return list(found.values())


def run(arm: str, overrides: list[str], seed: int, steps: int, every: int, prompts: int) -> Run:
    """One arm of one seed.

    Returns:
        ``curve``: (fresh completions, optimiser steps, held-out accuracy, seconds of this process for training so far);
        ``seen``: figures of each step.
    """
    torch.set_num_threads(1)
    words = [*start_from(Path("unused")), *overrides, f"avatar.seed={seed}", f"data.seed={seed}"]
    config = load("stage1", words + ([f"data.train_max_samples={prompts}"] if prompts else []), "unused")
    world = World(config, seed)
    avatar, cycle, batches = world.avatar, ReplayCycle(world.avatar, seed), world.batches()
    num, size = avatar.replay.on_policy_batches, int(config.data.train_batch_size)
    curve, seen, seconds, updates = [(0, 0, world.accuracy(SAMPLES), 0.0)], [], 0.0, 0
    for step in range(1, steps + 1):
        began = time.process_time()
        visits = world.visits(next(batches), step, cycle.hints, cycle.scores)
        groups = world.generate(visits, num, step)
        rows, labels, replayed, context = join(cycle, step, groups)
        batch = world.batch(rows, labels, replayed)
        advantages = world.advantages(batch, context)
        seconds += time.process_time() - began
        found = observe(world, batch, advantages, context, look=step % OBSERVED == 0)
        began = time.process_time()
        found |= world.update(batch, advantages)
        updates += int(found["updates"])
        fresh = rows[: num * len(groups)]
        success = {group[0].group: [entry.reward_parts["accuracy"] for entry in group] for group in groups}
        cycle.harvest(fresh, {visit.label: visit.hinted for visit in visits}, success)
        seconds += time.process_time() - began
        found["accuracy"] = statistics.mean(value for values in success.values() for value in values)
        found["hinted"] = sum(visit.hinted for visit in visits)
        seen.append({name: round(value, 5) for name, value in found.items()})
        if step % every == 0 or step == steps:
            curve.append((step * num * size, updates, world.accuracy(SAMPLES), round(seconds, 1)))
    lift = cycle.hints.lift()
    return {
        "arm": arm,
        "seed": seed,
        "curve": curve,
        "seen": seen,
        "hint_lift": lift.lift if lift.num_prompts else None,
    }


def observe(world: World, batch: Any, advantages: torch.Tensor, context: Any, look: bool) -> dict[str, float]:
    """Groups and rows with a gradient before the update; importance ratios of replayed rows if ``look``."""
    rewards = torch.tensor([row.reward for row in batch.rows], dtype=torch.float64)
    replayed, labels = context.replayed, torch.arange(len(batch.rows))
    signal = signal_metrics(advantages[:, 0], rewards, replayed, prompt_ids(batch))
    found = {name: signal[f"avatar/groups/{name}"] for name in ("fresh", "zero_std", "rescued")}
    found["signal"] = float((advantages[:, 0].abs() > 1e-6).sum()) / found["fresh"]
    if bool(replayed.any()):
        own = advantages[replayed, 0]
        found |= {"replayed": float(replayed.sum()), "advantage": float(own.mean())}
        if look:
            current = world.log_probs(batch, labels)
            ratios = off_policy_metrics(
                current, batch.old, batch.mask.long(), replayed, ~replayed, float(world.actor.clip_ratio)
            )
            names = ("ratio/max", "outside_clip", "effective_sample_size")
            found |= {name: ratios[f"avatar/replay/{name}"] for name in names}
    return found


def prompt_ids(batch: Any) -> Any:
    """Of each row, object [B]."""
    import numpy as np

    return np.array([row.prompt_id for row in batch.rows], dtype=object)


def mean_of(runs: list[Run], name: str, last: int = 0) -> float | None:
    """Mean of a figure over the runs' steps, or over the last so many; None where no step has it."""
    values = [found[name] for run in runs for found in run["seen"][-last:] if name in found]
    return round(statistics.mean(values), 4) if values else None


def mean_run(runs: list[Run]) -> Run:
    """A run whose curve is the mean over seeds: held-out accuracy of one run rises and falls by luck of sampling."""
    points = zip(*(run["curve"] for run in runs), strict=True)
    return {**runs[0], "curve": [[statistics.mean(column) for column in zip(*own, strict=True)] for own in points]}


def summarise(runs: list[Run], reference: str) -> list[dict[str, Any]]:
    """A row an arm; the target is the mean held-out accuracy that the arm ``reference`` ends at."""
    arms = by_arm(runs)
    goal = mean_run(arms.get(reference, runs))["curve"][-1][2]
    clock, completions = (min(run["curve"][-1][column] for run in runs) for column in (3, 0))
    rows = []
    for name, own in arms.items():
        flat, groups = (sum(found[key] for run in own for found in run["seen"]) for key in ("zero_std", "fresh"))
        rescued = sum(found["rescued"] for run in own for found in run["seen"])
        to_goal = fresh_to(mean_run(own), goal, 2)
        fresh_accuracy = [mean_of([run], "accuracy", LAST_STEPS) or 0.0 for run in own]
        rows.append(
            {
                "arm": name,
                "seeds": len(own),
                "fresh": own[0]["curve"][-1][0],
                "optimiser steps": own[0]["curve"][-1][1],
                "before": round(statistics.median(run["curve"][0][2] for run in own), 3),
                **spread([run["curve"][-1][2] for run in own], "end", 3),
                **spread(fresh_accuracy, f"fresh, last {LAST_STEPS} steps", 3),
                **spread([fresh_to(run, goal, 2) for run in own], f"fresh to {reference}'s end", -1),
                f"fresh to {reference}'s end, mean curve": round(to_goal, -1) if to_goal < float("inf") else None,
                **spread([at(run, completions, 0, 2) for run in own], "at equal completions", 3),
                **spread([at(run, clock, 3, 2) for run in own], "at equal seconds", 3),
                "seconds": round(statistics.median(run["curve"][-1][3] for run in own)),
                "flat groups": round(flat / groups, 3),
                "of them rescued": round(rescued / max(1.0, flat), 3),
                "rows with signal": mean_of(own, "signal"),
                "KL at the end": mean_of(own, "kl", LAST_STEPS),
                "clipped": mean_of(own, "clipped"),
                "outside clip": mean_of(own, "outside_clip"),
                "effective sample size": mean_of(own, "effective_sample_size"),
                "mean advantage": mean_of(own, "advantage"),
                "hinted visits": mean_of(own, "hinted"),
            }
        )
    return rows


def by_figure(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A row a figure and a column an arm: there are more figures than a screen is wide."""
    names = [name for name in rows[0] if name != "arm"]
    return [{"figure": name, **{row["arm"]: row[name] for row in rows}} for name in names]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", default="presets", choices=list(TABLES))
    parser.add_argument("--arms", nargs="+", help="names of some arms")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--every", type=int, default=10, help="steps between two looks at held-out accuracy")
    parser.add_argument("--prompts", type=int, default=0, help="train on so many prompts again and again; 0: on all")
    parser.add_argument("--reference", default="GRPO of 8", help="the arm whose end is the target")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument(
        "--add", action="store_true", help="keep the runs there are, take what other tables have, make the rest"
    )
    options = parser.parse_args()
    where, table = machine(), TABLES[options.table]
    names = options.arms or list(table)
    if unknown := set(names) - set(table):
        parser.error(f"no arm of table {options.table}: {', '.join(sorted(unknown))}")
    kept = results_folder() / f"toy_{options.table}_runs.json"
    settings = {"steps": options.steps, "prompts": options.prompts or "all", "samples": SAMPLES}
    there = json.loads(kept.read_text()) if options.add and kept.exists() else []
    if not all(settings.items() <= run.items() for run in there):
        parser.error(f"{kept.name} holds runs of other settings; without --add they are replaced")
    runs = made_before(options.table, settings) if options.add else []
    done = {(run["arm"], run["seed"]) for run in runs}
    wanted = [(arm, seed) for seed in options.seeds for arm in names if (arm, seed) not in done]
    with ProcessPoolExecutor(options.processes) as pool:
        jobs = [
            pool.submit(run, arm, table[arm], seed, options.steps, options.every, options.prompts)
            for arm, seed in wanted
        ]
        for job in as_completed(jobs):
            runs.append({**job.result(), **settings})
            print(f"{runs[-1]['arm']} seed {runs[-1]['seed']}: {runs[-1]['curve']}", flush=True)
            kept.write_text(json.dumps(runs))
    runs.sort(key=lambda found: (list(table).index(found["arm"]), found["seed"]))
    kept.write_text(json.dumps(runs))
    report(f"toy_{options.table}", settings, where, by_figure(summarise(runs, options.reference)))
    plot(runs, 2, "held-out accuracy", kept.with_name(f"toy_{options.table}.png"))


if __name__ == "__main__":
    main()
