"""Does it learn, and from how many fresh completions? Real runs of stage 1 on the toy world, side by side.

    python bench/learning.py                                   # preset paper, three seeds
    python bench/learning.py --arms paper grpo8 grpo4 --seeds 5
    python bench/learning.py --arms grpo4 --seeds 2 --add      # only what learning_runs.json has not yet

Every arm starts from the same cold start. Once replay has begun, all arms train on 64 rows a step: GRPO of 4 goes over
its 32 rows twice, because a smaller group saves completions on its own and only this comparison credits replay. The
number of optimiser steps is the preset's: verl counts a mini-batch in prompts, so a step of `paper` makes two of 32
rows, of `best` one of 64, of the GRPO arms four of 16. `bench/toy.py` compares at equal optimiser steps. A prompt is
visited once, so scope `prompt` and hints that wait for repeated failures have nothing to work on here; `--prompts 64`
visits 64 prompts again and again.
Writes bench/results/learning.json, learning_runs.json and learning.png.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from pathlib import Path
from typing import Any

from record import machine, report, results_folder
from runs import start_from, watch

from avatar_verl.summary import read_metrics

MINI_BATCH = "actor_rollout_ref.actor.ppo_mini_batch_size"  # in prompts: times completions generated for each
EPOCHS = "actor_rollout_ref.actor.ppo_epochs"
GENERATED = "avatar.replay.on_policy_batches"
SHAPED = ["preset=grpo", f"{MINI_BATCH}=2", "avatar.shaping.strength=0.3", "algorithm.adv_estimator=avatar"]
#: Arm -> overrides.
ARMS: dict[str, list[str]] = {
    "paper": ["preset=paper"],
    "best": ["preset=best"],
    "released": ["preset=released"],
    "grpo8": ["preset=grpo", f"{MINI_BATCH}=2"],
    "grpo4": ["preset=grpo", f"{GENERATED}=4", f"{EPOCHS}=2"],
    "grpo2": ["preset=grpo", f"{GENERATED}=2", f"{EPOCHS}=4", f"{MINI_BATCH}=8"],
    "tas": SHAPED,
    **{
        f"tas {shape}": [*SHAPED, f"avatar.shaping.shape={shape}"] for shape in ("incline", "decay", "inverse_parabola")
    },
    "replay": ["preset=paper", "avatar.shaping.strength=0", "avatar.hint.enable=false"],
    "replay_prompt": ["preset=paper", "avatar.replay.scope=prompt", "avatar.vcrs.alpha=1.0"],
    "no_hint": ["preset=paper", "avatar.hint.enable=false"],
    "hint": ["preset=paper", "avatar.hint.always=true"],
    "hint strip": ["preset=paper", "avatar.hint.always=true", "avatar.hint.mode=strip"],
}
#: Steps at the end whose fresh completions count as "fresh accuracy": their prompts were never seen before.
LAST_STEPS = 10


def curve(metrics: list[dict[str, Any]], group: int, prompts: int) -> list[dict[str, float]]:
    """Held-out accuracy over fresh completions."""
    return [
        {
            "step": record["step"],
            "fresh": record["step"] * group * prompts,
            "accuracy": record["avatar/val/accuracy"],
            "reward": record["avatar/val/reward"],
        }
        for record in metrics
        if "avatar/val/accuracy" in record
    ]


def run_arm(arm: str, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        outputs = Path(folder)
        overrides = [f"avatar.seed={seed}", f"data.seed={seed}", f"trainer.total_training_steps={options.steps}"]
        overrides += [f"trainer.test_freq={options.every}", "trainer.save_freq=-1"]
        if options.prompts:
            overrides += [f"data.train_max_samples={options.prompts}", "trainer.total_epochs=10000"]
        run = watch(outputs, [*start_from(outputs), *ARMS[arm], *overrides])
        return measure(arm, run.folder, run.seconds)


def measure(arm: str, folder: Path, seconds: float | None = None) -> dict[str, Any]:
    """What a finished run shows."""
    from omegaconf import OmegaConf

    config, metrics = OmegaConf.load(folder / "config.yaml"), read_metrics(folder)
    group, prompts = config.avatar.replay.on_policy_batches, config.data.train_batch_size
    steps = [record for record in metrics if "avatar/groups/fresh" in record]
    own = sum(sum(v for k, v in record.items() if k.startswith("timing_s/avatar_")) for record in steps)
    return {
        "arm": arm,
        "seed": config.avatar.seed,
        "curve": curve(metrics, group, prompts),
        "fresh_accuracy": statistics.mean(record["avatar/train/accuracy"] for record in steps[-LAST_STEPS:]),
        "seconds": seconds or sum(record["timing_s/step"] for record in steps),
        "zero_std_share": statistics.mean(r["avatar/groups/zero_std"] / r["avatar/groups/fresh"] for r in steps),
        "rescued": sum(r.get("avatar/groups/rescued", 0.0) for r in steps),
        "lowest_parity_correlation": min(r["avatar/parity/correlation"] for r in steps),
        "kl": statistics.mean(record["actor/kl_loss"] for record in steps[-LAST_STEPS:]),
        "rows_with_signal": statistics.mean(_rows_with_signal(record, config.avatar.replay) for record in steps),
        "step_s": statistics.median(record["timing_s/step"] for record in steps),
        "avatar_share_of_step": own / sum(record["timing_s/step"] for record in steps),
    }


def _rows_with_signal(record: dict[str, Any], replay: Any) -> float:
    """Rows of a step whose advantage is not zero, for each fresh group."""
    fresh = record["avatar/advantage/fresh/nonzero"] * replay.on_policy_batches
    return float(fresh + record.get("avatar/advantage/replay/nonzero", 0.0) * replay.off_policy_batches)


def summarise(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row an arm; ``before`` is the cold start, the same for all but for sampling."""
    rows = []
    for arm in dict.fromkeys(run["arm"] for run in runs):
        own = [run for run in runs if run["arm"] == arm]
        before = [run["curve"][0]["accuracy"] for run in own]
        after = [run["curve"][-1]["accuracy"] for run in own]
        rows.append(
            {
                "arm": arm,
                "seeds": ", ".join(str(run["seed"]) for run in own),
                "before": statistics.mean(before),
                "after": statistics.mean(after),
                "lowest after": min(after),
                "highest after": max(after),
                "fresh accuracy, last 10 steps": mean_of(own, "fresh_accuracy"),
                "fresh completions": int(own[0]["curve"][-1]["fresh"]),
                "gain, lowest": min(b - a for a, b in zip(before, after, strict=True)),
                "avatar share of step": statistics.mean(run["avatar_share_of_step"] for run in own),
                "lowest parity": min(run["lowest_parity_correlation"] for run in own),
                "zero-std groups": statistics.mean(run["zero_std_share"] for run in own),
                "rows with signal per prompt": mean_of(own, "rows_with_signal"),
                "KL at the end": mean_of(own, "kl"),
                "seconds": statistics.mean(run["seconds"] for run in own),
            }
        )
    return rows


def mean_of(runs: list[dict[str, Any]], name: str) -> float | None:
    """None where a run was measured before there was such a figure."""
    return statistics.mean(run[name] for run in runs) if all(name in run for run in runs) else None


def plot(runs: list[dict[str, Any]], file: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 4))
    for colour, arm in enumerate(dict.fromkeys(run["arm"] for run in runs)):
        for number, run in enumerate(r for r in runs if r["arm"] == arm):
            points = run["curve"]
            axes.plot(
                [p["fresh"] for p in points],
                [p["accuracy"] for p in points],
                color=f"C{colour}",
                alpha=0.8,
                marker=".",
                label=arm if number == 0 else None,
            )
    axes.set(xlabel="fresh completions", ylabel="held-out accuracy", title="stage 1 on the toy world, one line a seed")
    axes.legend()
    figure.tight_layout()
    figure.savefig(file, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arms", nargs="+", default=["paper"], choices=list(ARMS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--every", type=int, default=20, help="steps between two validations")
    parser.add_argument("--prompts", type=int, default=0, help="train on so many prompts again and again; 0: all once")
    parser.add_argument("--finished", nargs="*", type=Path, default=[], help="finished runs of the first arm to count")
    parser.add_argument("--add", action="store_true", help="keep the runs of learning_runs.json, make only the others")
    options = parser.parse_args()
    where, name = machine(), f"learning_{options.prompts}_prompts" if options.prompts else "learning"
    kept = results_folder() / f"{name}_runs.json"
    runs = json.loads(kept.read_text()) if options.add and kept.exists() else []
    runs += [measure(options.arms[0], folder) for folder in options.finished]
    if other := {run["curve"][-1]["step"] for run in runs} - {options.steps}:
        parser.error(f"the runs to add to have {other} steps, not {options.steps}")
    done = {(run["arm"], run["seed"]) for run in runs}
    for seed in range(1, options.seeds + 1):
        for arm in options.arms:
            if (arm, seed) in done:
                continue
            runs.append(run_arm(arm, seed, options))
            accuracies = [round(point["accuracy"], 3) for point in runs[-1]["curve"]]
            print(f"{arm} seed {seed}: {accuracies} in {runs[-1]['seconds']:.0f} s", flush=True)
    report(name, {"steps": options.steps, "prompts": options.prompts or "each once"}, where, summarise(runs))
    kept.write_text(json.dumps(runs, indent=1))
    plot(runs, kept.with_name(f"{name}.png"))


if __name__ == "__main__":
    main()
