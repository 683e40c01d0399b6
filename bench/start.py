"""How long until the first training step is done, how long a step takes, and how much memory it needs.

    python bench/start.py

Starts stage 1 of the toy world three times, with 16 rollouts a step and nothing replayed, the set-up being done. The
time to the first step includes the validation before it.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path

from record import machine, report
from runs import start_from, watch

STEPS = 6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    where = machine()
    first: list[float] = []
    step: list[float] = []
    peak: list[float] = []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            outputs = Path(folder)
            run = watch(
                outputs,
                [
                    *start_from(outputs),
                    "preset=grpo",
                    "data.train_batch_size=2",
                    "actor_rollout_ref.actor.ppo_mini_batch_size=2",
                    "trainer.test_freq=-1",
                    "trainer.save_freq=-1",
                    f"trainer.total_training_steps={STEPS}",
                ],
            )
        first.append(run.first_step_s)
        peak.append(run.peak_gb)
        # The first step compiles and allocates; the others are what a user waits for.
        step.extend(record["timing_s/step"] for record in run.metrics[1:])
    rows = [
        {"what": name, "median": statistics.median(values), "lowest": min(values), "highest": max(values)}
        for name, values in (("first step done, s", first), ("later steps, s", step), ("peak memory, GB", peak))
    ]
    report("start", {"rounds": rounds, "steps": STEPS, "rollouts": 16}, where, rows)


if __name__ == "__main__":
    main()
