"""What the benches of learning share: the replay part of a step, curves and what is read off them, their plot.

A run is ``{"arm", "seed", "curve", ..}``; a point of its curve begins with fresh completions and optimiser steps.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from avatar_verl.adapter.estimator import ReplayContext
from avatar_verl.adapter.replay_cycle import ReplayCycle
from avatar_verl.replay.entry import Entry

Run = dict[str, Any]


def join(
    cycle: ReplayCycle, step: int, groups: Sequence[Sequence[Entry]]
) -> tuple[list[Entry], Any, list[bool], ReplayContext]:
    """Replayed completions join a step's fresh ones, as in the trainer.

    Args:
        groups: the fresh completions of each prompt.

    Returns:
        (rows, group labels, whether each is replayed, what the estimator must know), fresh rows first.
    """
    visits = [(group[0].group, group[0].prompt_id, [entry.reward for entry in group]) for group in groups]
    drawn = cycle.draw(step, len(visits), visits)
    fresh = [entry for group in groups for entry in group]
    rows = fresh + [entry for entry, _ in drawn]
    labels = np.array([entry.group for entry in fresh] + [label for _, label in drawn], dtype=object)
    replayed = [False] * len(fresh) + [True] * len(drawn)
    return rows, labels, replayed, cycle.context(replayed, [row.prompt_id for row in rows])


def by_arm(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """Arm -> its runs, in the order of their appearance."""
    return {name: [run for run in runs if run["arm"] == name] for name in dict.fromkeys(run["arm"] for run in runs)}


def fresh_to(run: Run, level: float, column: int) -> float:
    """Fresh completions at which a curve first reaches a level, by straight lines; infinite when it never does."""
    points = [(point[0], point[column]) for point in run["curve"]]
    for (x0, y0), (x1, y1) in pairwise(points):
        if y1 >= level:
            return float(x0 + (x1 - x0) * max(0.0, (level - y0) / (y1 - y0)))
    return float("inf")


def at(run: Run, place: float, across: int, column: int) -> float:
    """Value of a column of the curve where another column, which rises, has the value ``place``."""
    return float(np.interp(place, [point[across] for point in run["curve"]], [point[column] for point in run["curve"]]))


def spread(values: Sequence[float], name: str, digits: int) -> dict[str, float | None]:
    """Median, lowest and highest; None for what was never reached."""
    ordered = sorted(values)
    found = {name: statistics.median(ordered), f"{name}, lowest": ordered[0], f"{name}, highest": ordered[-1]}
    return {key: round(value, digits) if np.isfinite(value) else None for key, value in found.items()}


def plot(runs: Sequence[Run], column: int, ylabel: str, file: Path) -> None:
    """Medians over seeds, and the range of the seeds as a band."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for number, (name, own) in enumerate(by_arm(runs).items()):
        curves = np.array([run["curve"] for run in own])
        style = {"color": f"C{number % 10}", "linestyle": "--" if number >= 10 else "-"}
        across, values = curves[0, :, 0], curves[:, :, column]
        axes.plot(across, np.median(values, axis=0), label=name, **style)
        axes.fill_between(across, values.min(axis=0), values.max(axis=0), alpha=0.08, **style)
    axes.set(xlabel="fresh completions", ylabel=ylabel)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside right upper", fontsize=8, frameon=False)
    figure.savefig(file, metadata={"Software": None})
