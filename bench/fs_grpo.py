"""FS-GRPO on the toy world: do answers get shorter while accuracy holds?

    python bench/fs_grpo.py
    python bench/fs_grpo.py --arms fs_grpo accuracy --seeds 3

Makes the world and the cold start in three formats where they are missing, then trains from that cold start. The arm
``accuracy`` differs in the reward alone, and shows what happens to length without FS-GRPO. Held-out answers are
sampled, four a question, since the choice of a format is random at first. Writes bench/results/fs_grpo.json,
fs_grpo_runs.json and fs_grpo.png.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from record import machine, report, results_folder
from runs import ROOT, watch

from data_prep.toy.world import build_toy_world

FORMATS = ("direct", "perception", "full")
WORLD = ROOT / "data" / "toy_adaptive"
SAMPLED = [f"actor_rollout_ref.rollout.val_kwargs.{word}" for word in ("do_sample=true", "temperature=1.0", "n=4")]
WEIGHTS = "avatar.reward.weights."
ARMS: dict[str, list[str]] = {
    "fs_grpo": [],
    "accuracy": [WEIGHTS + word for word in ("fs_grpo=0", "diversity=0", "accuracy=1")],
}


def cold_start(outputs: Path = ROOT / "outputs", steps: int = 0) -> Path:
    """The model that every arm starts from; ``steps`` of 0 are its epochs."""
    if not (WORLD / "manifest.json").exists():
        build_toy_world(WORLD, style="adaptive")
    newest = outputs / "fs_grpo_cold_start" / "latest"
    if not (newest / "finished.json").exists():
        overrides = [f"run.train_files={WORLD / 'cold_start.parquet'}", f"model.path={WORLD / 'model'}"]
        overrides += [f"trainer.total_training_steps={steps}"] if steps else []
        watch(outputs, [*overrides, f"run.outputs={outputs}"], stage="fs_grpo_cold_start")
    return newest.resolve() / "model"


def run_arm(arm: str, seed: int, model: Path, steps: int) -> dict[str, Any]:
    """One training run: its validations, and the share of each format in them."""
    with tempfile.TemporaryDirectory() as folder:
        overrides = [
            f"run.outputs={folder}",
            f"actor_rollout_ref.model.path={model}",
            f"run.train_files={WORLD / 'train.parquet'}",
            f"run.val_files={WORLD / 'val.parquet'}",
            f"avatar.seed={seed}",
            f"data.seed={seed}",
            f"trainer.total_training_steps={steps}",
            f"trainer.test_freq={max(1, steps // 4)}",
            "trainer.save_freq=-1",
            *SAMPLED,
            *ARMS[arm],
        ]
        run = watch(Path(folder), overrides, stage="fs_grpo")
    validations = [record for record in run.metrics if "avatar/val/accuracy" in record]
    return {"arm": arm, "seed": seed, "seconds": run.seconds, "curve": [point(record) for record in validations]}


def point(record: dict[str, Any]) -> dict[str, float]:
    """What one validation says of length, accuracy and formats; a format that nobody used has no accuracy."""
    found = {
        "step": record["step"],
        "accuracy": record["avatar/val/accuracy"],
        "tokens": record["avatar/val/num_tokens"],
        "unknown": record["avatar/val/fs_grpo/unknown/share"],
    }
    for name in FORMATS:
        found[name] = record[f"avatar/val/fs_grpo/{name}/share"]
        for what, key in (("accuracy", "accuracy"), ("tokens", "num_tokens")):
            if (value := record.get(f"avatar/val/fs_grpo/{name}/{key}")) is not None:
                found[f"{name} {what}"] = value
    return found


def row(run: dict[str, Any]) -> dict[str, Any]:
    before, after = run["curve"][0], run["curve"][-1]
    names = ("tokens", "accuracy", "direct", "perception", "full", "unknown")
    found: dict[str, Any] = {"arm": run["arm"], "seed": run["seed"]}
    names += tuple(f"{name} {what}" for name in FORMATS for what in ("accuracy", "tokens"))
    for name in names:  # None where nobody used the format
        found |= {f"{name} before": before.get(name), f"{name} after": after.get(name)}
    return {**found, "seconds": run["seconds"]}


def plot(runs: list[dict[str, Any]], file: Path) -> None:
    """Tokens, accuracy and the shares of the formats over training steps; one line a run."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 3, figsize=(11, 3.4))
    for colour, arm in enumerate(dict.fromkeys(run["arm"] for run in runs)):
        for number, run in enumerate(r for r in runs if r["arm"] == arm):
            steps = [point["step"] for point in run["curve"]]
            for axis, name in zip(axes, ("tokens", "accuracy"), strict=False):
                values = [point[name] for point in run["curve"]]
                axis.plot(steps, values, f"C{colour}.-", label=None if number else arm)
    for number, run in enumerate(r for r in runs if r["arm"] == "fs_grpo"):
        for colour, name in enumerate(("direct", "perception", "full", "unknown")):
            line = [point[name] for point in run["curve"]]
            axes[2].plot([p["step"] for p in run["curve"]], line, f"C{colour}.-", label=None if number else name)
    for axis, title in zip(axes, ("tokens an answer", "accuracy", "share of answers, fs_grpo"), strict=True):
        axis.set(xlabel="step", title=title, ylim=(0, 1.1 * axis.get_ylim()[1]))
        axis.legend()
    figure.suptitle("held-out clips of the toy world, sampled answers")
    figure.tight_layout()
    figure.savefig(file, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arms", nargs="+", default=["fs_grpo"], choices=list(ARMS))
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--cold-start-steps", type=int, default=0, help="0: its epochs, and kept in outputs/")
    options = parser.parse_args()
    where = machine()
    runs = []
    with tempfile.TemporaryDirectory() as scratch:  # a shortened cold start is not kept
        model = cold_start(Path(scratch) if options.cold_start_steps else ROOT / "outputs", options.cold_start_steps)
        for seed in range(1, options.seeds + 1):
            for arm in options.arms:
                runs.append(run_arm(arm, seed, model, options.steps))
                print(json.dumps(runs[-1]), flush=True)
    report("fs_grpo", {"steps": options.steps, "held-out answers": "sampled"}, where, [row(run) for run in runs])
    (results_folder() / "fs_grpo_runs.json").write_text(json.dumps(runs, indent=1) + "\n")
    plot(runs, results_folder() / "fs_grpo.png")


if __name__ == "__main__":
    main()
