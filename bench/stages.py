"""The three stages in a row on the toy world: what each teaches, by question family.

    python bench/stages.py --seeds 2

Each seed goes from the cold start that ``run_stage1.sh`` made through the stages as their scripts run them, each from
the model of the one before. Held-out answers are sampled, four a question. A stage that has finished below
``outputs/stages_bench`` is not run again. Writes bench/results/stages.json, stages_runs.json and stages.png.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

from record import machine, report, results_folder
from runs import ROOT, start_from, watch

from avatar_verl.summary import held_out, read_metrics

RUNS = ROOT / "outputs" / "stages_bench"
STAGES: dict[str, list[str]] = {"stage1": [], "stage2": [], "stage3": ["+data.where.family=[source]"]}
SAMPLED = "actor_rollout_ref.rollout.val_kwargs.n=4"
MODEL = "actor_rollout_ref.model.path"
FAMILY = "avatar/val/accuracy/family/"
#: Beside accuracy by family.
OTHERS = {"reward": "avatar/val/reward", "judge": "avatar/val/judge", "tokens": "avatar/val/num_tokens"}


def run_stage(stage: str, seed: int, steps: int) -> list[dict[str, Any]]:
    """Validations of a stage, which is run unless it has been; metrics as the run wrote them."""
    outputs = RUNS / f"{steps}_steps" / f"seed{seed}"
    newest = outputs / stage / "latest"
    if not (newest / "finished.json").exists():
        overrides = [word for word in start_from(outputs) if not word.startswith(MODEL) or stage == "stage1"]
        if stage != "stage1":
            before = outputs / f"stage{int(stage[-1]) - 1}" / "latest"
            overrides.append(f"{MODEL}={before.resolve() / 'model'}")
        own = [f"avatar.seed={seed}", f"data.seed={seed}", SAMPLED, f"trainer.total_training_steps={steps}"]
        watch(outputs, [*overrides, *own, f"trainer.save_freq={steps}", *STAGES[stage]], stage=stage)
    return held_out(read_metrics(newest.resolve()))


def point(record: dict[str, Any]) -> dict[str, float]:
    """One validation: accuracy of all and by family, and what else is worth a look."""
    found = {"step": record["step"], "accuracy": record["avatar/val/accuracy"]}
    found |= {name: record[key] for name, key in OTHERS.items() if key in record}
    return found | {key.removeprefix(FAMILY): value for key, value in sorted(record.items()) if key.startswith(FAMILY)}


def rows(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row a stage and figure: its mean over seeds before and after, and the least and largest change."""
    found = []
    for stage in dict.fromkeys(run["stage"] for run in runs):
        own = [run["curve"] for run in runs if run["stage"] == stage]
        for name in own[0][0]:
            if name == "step":
                continue
            before, after = ([curve[place][name] for curve in own] for place in (0, -1))
            change = [b - a for a, b in zip(before, after, strict=True)]
            found.append(
                {
                    "stage": stage,
                    "figure": name,
                    "before": statistics.mean(before),
                    "after": statistics.mean(after),
                    "least change": min(change),
                    "largest change": max(change),
                }
            )
    return found


def plot(runs: list[dict[str, Any]], file: Path) -> None:
    """Accuracy over the three stages, of all questions and of the family that stage 3 asks; one line a seed."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4))
    stages, steps = list(STAGES), max(run["curve"][-1]["step"] for run in runs)
    for seed in sorted({run["seed"] for run in runs}):
        own = sorted((run for run in runs if run["seed"] == seed), key=lambda run: stages.index(run["stage"]))
        for colour, name in enumerate(("accuracy", "source")):
            points = [(stages.index(run["stage"]) * steps + p["step"], p[name]) for run in own for p in run["curve"]]
            label = {"accuracy": "all families"}.get(name, name) if seed == own[0]["seed"] == runs[0]["seed"] else None
            axes.plot(*zip(*points, strict=True), f"C{colour}.-", alpha=0.8, label=label)
    for number in range(1, len(stages)):
        axes.axvline(number * steps, color="0.7", linewidth=0.8)
    axes.set(xlabel="step of stages 1, 2 and 3 in a row", ylabel="held-out accuracy", ylim=(0, 1))
    axes.legend()
    figure.tight_layout()
    figure.savefig(file, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--steps", type=int, default=40)
    options = parser.parse_args()
    where, runs = machine(), []
    for seed in range(1, options.seeds + 1):
        for stage in STAGES:
            curve = [point(record) for record in run_stage(stage, seed, options.steps)]
            runs.append({"stage": stage, "seed": seed, "curve": curve})
            print(f"seed {seed} {stage}: accuracy {[round(p['accuracy'], 3) for p in curve]}", flush=True)
    seeds = ", ".join(map(str, range(1, options.seeds + 1)))
    report("stages", {"steps": options.steps, "seeds": seeds, "answers a question": 4}, where, rows(runs))
    (results_folder() / "stages_runs.json").write_text(json.dumps(runs, indent=1) + "\n")
    plot(runs, results_folder() / "stages.png")


if __name__ == "__main__":
    main()
