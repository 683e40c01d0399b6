"""How far two finished runs of one command are apart: metrics, completions, replay buffer and weights."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

from avatar_verl.replay import store
from avatar_verl.replay.entry import Entry
from support.checkpoints import largest_difference
from support.runs import Record, completions, read_lines

#: Metrics that tell of the machine, not of the training.
_OF_THE_MACHINE = ("timing", "perf/", "time", "memory")


@dataclass
class Sameness:
    """Of a run and the undisturbed one; zeros and an empty list: equal."""

    metrics: float = 0.0  # largest relative difference of a number of any step
    weights: float = 0.0  # largest difference of any weight after the last step
    log_probs: float = 0.0  # largest difference of a behaviour log-prob in the buffer, nats
    compared: int = 0  # numbers of metrics
    notes: list[str] = field(default_factory=list)  # what differs otherwise


def of_the_training(record: Record) -> dict[str, float]:
    """A step's metrics without those of the machine."""
    return {name: value for name, value in record.items() if not any(word in name for word in _OF_THE_MACHINE)}


def compare(ours: Path, theirs: Path, steps: int) -> Sameness:
    """Compare two run folders after their last step."""
    found = Sameness(weights=largest_difference(ours, theirs, steps))
    _metrics(found, ours, theirs)
    _completions(found, ours, theirs)
    _buffers(found, *(folder / "checkpoints" / f"global_step_{steps}" / "avatar" for folder in (ours, theirs)))
    return found


def _metrics(found: Sameness, ours: Path, theirs: Path) -> None:
    one, other = (read_lines(folder / "metrics.jsonl") for folder in (ours, theirs))
    if [line["step"] for line in one] != [line["step"] for line in other]:
        found.notes.append(f"steps {[line['step'] for line in one]} in metrics.jsonl")
        return
    for mine, its in zip(one, other, strict=True):
        for name in sorted(of_the_training({**mine, **its})):
            if name not in mine or name not in its:
                found.notes.append(f"step {its['step']}: {name} is in one of them only")
                continue
            found.compared += 1
            found.metrics = max(found.metrics, _apart(mine[name], its[name]))


def _apart(one: float, other: float) -> float:
    """Relative difference; numbers around zero count as equal within 1e-6."""
    if math.isnan(one) and math.isnan(other):
        return 0.0
    return abs(one - other) / max(abs(other), 1.0) if abs(one - other) > 1e-6 else 0.0


def _completions(found: Sameness, ours: Path, theirs: Path) -> None:
    one, other = (_by_step(read_lines(folder / "samples.jsonl")) for folder in (ours, theirs))
    for step in sorted(one.keys() | other.keys()):
        if completions(one.get(step, [])) != completions(other.get(step, [])):
            found.notes.append(f"step {step}: other completions")


def _by_step(lines: list[Record]) -> dict[int, list[Record]]:
    found: dict[int, list[Record]] = {}
    for line in lines:
        found.setdefault(int(line["step"]), []).append(line)
    return found


def _buffers(found: Sameness, ours: Path, theirs: Path) -> None:
    one, other = (store.read(folder).buffer["entries"] for folder in (ours, theirs))
    if [_name(entry) for entry in one] != [_name(entry) for entry in other]:
        found.notes.append("other entries in the replay buffer")
        return
    for mine, its in zip(one, other, strict=True):
        apart = abs(mine.behaviour_log_probs - its.behaviour_log_probs).max(initial=0.0)
        found.log_probs = max(found.log_probs, float(apart))


def _name(entry: Entry) -> tuple[object, ...]:
    return entry.entry_id, entry.prompt_id, entry.reuse_count, entry.token_ids.tolist()
