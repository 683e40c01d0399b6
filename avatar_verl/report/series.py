"""Every number of a run as a series over its steps: what ``metrics.jsonl`` has, and what follows from other files."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from avatar_verl.report.run_data import RunData
from avatar_verl.report.step_time import step_time

#: 95 % of a normal distribution lie within so many standard errors.
_TWO_SIDED_95 = 1.96


@dataclass(frozen=True)
class Series:
    """Values over steps; None where a step has none."""

    steps: list[int]
    hours: list[float | None]  # since the first record
    fresh: list[int]  # completions generated for training until here
    values: dict[str, list[float | None]]

    def has(self, key: str) -> bool:
        """Whether the run has any value of it."""
        return key in self.values


def build_series(run: RunData) -> Series:
    """All series of a run. Keys under ``report/`` are derived here:

    * ``report/{val,train}/{accuracy,reward}_error``: half the 95 % interval of the mean, from the spread of the
      step's completions. Completions of one prompt are alike, so in training it is somewhat wider in truth;
    * ``report/time/<part>``: seconds of a step, see :mod:`avatar_verl.report.step_time`;
    * ``report/parity/distance``: 1 - correlation, for a logarithmic axis;
    * ``report/hint/visits``: prompts of the step that were given a hint;
    * ``report/bad_rows/<reason>``: bad rows until here.
    """
    sampled = _Completions(run.lines("samples.jsonl"))
    steps = [int(record["step"]) for record in run.metrics]
    places = {step: place for place, step in enumerate(steps)}
    values: dict[str, list[float | None]] = defaultdict(lambda: [None] * len(steps))
    for place, record in enumerate(run.metrics):
        for key, value in record.items():
            if key not in ("step", "time") and math.isfinite(value):
                values[key][place] = float(value)
        for part, seconds in step_time(record).items():
            values[f"report/time/{part}"][place] = seconds
    for key, by_step in sampled.derived().items():
        for step, value in by_step.items():
            if step in places:
                values[key][places[step]] = value
    for key, counts in _bad_rows(run.bad_rows, steps).items():
        values[key] = counts
    if "avatar/parity/correlation" in values:
        found = values["avatar/parity/correlation"]
        values["report/parity/distance"] = [None if v is None else max(1.0 - v, 1e-16) for v in found]
    start = next((record["time"] for record in run.metrics if "time" in record), None)
    hours = [
        None if start is None or "time" not in record else (record["time"] - start) / 3600 for record in run.metrics
    ]
    return Series(steps, hours, sampled.cumulative(steps), dict(values))


class _Spread:
    """Count, mean and spread of values that come one by one (Welford 1962)."""

    def __init__(self) -> None:
        self.count, self._mean, self._squares = 0, 0.0, 0.0

    def add(self, value: float) -> None:
        self.count += 1
        distance = value - self._mean
        self._mean += distance / self.count
        self._squares += distance * (value - self._mean)

    def half_interval(self) -> float:
        """Half the 95 % interval of the mean; of two values or more."""
        return _TWO_SIDED_95 * math.sqrt(self._squares / (self.count - 1) / self.count)


class _Completions:
    """What follows from ``samples.jsonl``, in one pass that holds counts only."""

    def __init__(self, lines: Iterable[dict[str, Any]]) -> None:
        self._generated: Counter[int] = Counter()
        self._hinted: dict[int, set[str]] = defaultdict(set)
        self._spreads: dict[str, dict[int, _Spread]] = defaultdict(lambda: defaultdict(_Spread))
        for line in lines:
            step, split = int(line["step"]), "val" if line.get("split") == "val" else "train"
            self._spreads[f"report/{split}/reward_error"][step].add(float(line["reward"]))
            self._spreads[f"report/{split}/accuracy_error"][step].add(float(line["parts"].get("accuracy") or 0.0))
            self._generated[step] += split == "train"
            if split == "train" and line.get("hint"):
                self._hinted[step].add(line["group"])

    def derived(self) -> dict[str, dict[int, float]]:
        found: dict[str, dict[int, float]] = {}
        for key, spreads in self._spreads.items():
            errors = {step: spread.half_interval() for step, spread in spreads.items() if spread.count > 1}
            if errors:
                found[key] = errors
        if self._hinted:
            steps = [step for step, number in self._generated.items() if number]
            found["report/hint/visits"] = {step: float(len(self._hinted[step])) for step in steps}
        return found

    def cumulative(self, steps: list[int]) -> list[int]:
        total, found = 0, []
        for step in steps:
            total += self._generated[step]
            found.append(total)
        return found


def _bad_rows(rows: list[dict[str, Any]], steps: list[int]) -> dict[str, list[float | None]]:
    """Reason -> bad rows until each step."""
    by_reason: dict[str, Counter[int]] = defaultdict(Counter)
    for row in rows:
        by_reason[row["reason"]][int(row["step"])] += 1
    return {
        f"report/bad_rows/{reason}": [float(sum(n for at, n in counts.items() if at <= step)) for step in steps]
        for reason, counts in by_reason.items()
    }
