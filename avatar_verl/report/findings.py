"""What a reader should know of a run before looking at any chart: how it stands, and what looks wrong."""

from __future__ import annotations

from collections.abc import Callable
from statistics import fmean
from typing import Any

from avatar_verl.report.run_data import RunData
from avatar_verl.report.series import Series

#: Steps at the end of a run that "now" means.
RECENT = 10

#: Facts that say where a run began and where it ended.
_FROM_TO = {
    "held-out accuracy": "avatar/val/accuracy",
    "held-out reward": "avatar/val/reward",
    "loss": "train/loss",
    "held-out loss": "val/loss",
}

Finding = dict[str, str]  # level: good, note or warning; text


def findings(run: RunData, series: Series) -> list[Finding]:
    """Sentences about a run, the gravest first."""
    found = [finding for check in _CHECKS for finding in [check(run, series)] if finding is not None]
    order = {"warning": 0, "note": 1, "good": 2}
    return sorted(found, key=lambda finding: order[finding["level"]])


def facts(run: RunData, series: Series) -> list[list[str]]:
    """Name and value of what stands at the top of the page."""
    last = series.steps[-1] if series.steps else 0
    rows = [
        ["state", run.state],
        ["steps", f"{last} of {run.total_steps}" if run.total_steps else str(last)],
        ["preset", str(run.changes.get("preset", "not recorded"))],
    ]
    hours = [hour for hour in series.hours if hour is not None]
    if hours:
        rows.append(["time", f"{hours[-1]:.2f} h" if hours[-1] >= 1 else f"{60 * hours[-1]:.1f} min"])
    for name, key in _FROM_TO.items():
        values = _values(series, key)
        if values:
            rows.append([name, f"{values[0]:.3f} to {values[-1]:.3f}"])
    if series.fresh and series.fresh[-1]:
        rows.append(["completions generated", f"{series.fresh[-1]:,}"])
    return rows


def _values(series: Series, key: str) -> list[float]:
    return [value for value in series.values.get(key, ()) if value is not None]


def _recent(series: Series, key: str) -> float | None:
    values = _values(series, key)[-RECENT:]
    return fmean(values) if values else None


def _warning(text: str) -> Finding:
    return {"level": "warning", "text": text}


def _failed(run: RunData, series: Series) -> Finding | None:
    if run.state != "failed":
        return None
    lines = run.message.strip().splitlines()
    return _warning(f"The run failed: {lines[0]} The log is log.txt; the same command resumes it.")


def _held_out(run: RunData, series: Series) -> Finding | None:
    """More or less than the two intervals explain?"""
    errors, values = _values(series, "report/val/accuracy_error"), _values(series, "avatar/val/accuracy")
    if len(values) < 2 or len(errors) < 2:
        return None
    change, noise = values[-1] - values[0], (errors[0] ** 2 + errors[-1] ** 2) ** 0.5
    said = f"Held-out accuracy went from {values[0]:.3f} to {values[-1]:.3f}"
    if change > noise:
        return {"level": "good", "text": f"{said}, more than the noise of its clips (±{noise:.3f})."}
    if change < -noise:
        return _warning(f"{said}: it fell by more than the noise of its clips (±{noise:.3f}).")
    return {"level": "note", "text": f"{said}; a change within the noise of its clips (±{noise:.3f}) shows nothing."}


def _parity(run: RunData, series: Series) -> Finding | None:
    values = _values(series, "avatar/parity/correlation")
    if not values or min(values) >= 0.999:
        return None
    return _warning(
        f"Rollout and trainer disagree: the lowest correlation of log-probs is {min(values):.5f}. Importance ratios "
        "of fresh rows are wrong then; look at chart Parity and at tokens that differ in the viewer."
    )


def _no_signal(run: RunData, series: Series) -> Finding | None:
    flat, groups = _recent(series, "avatar/groups/zero_std"), _recent(series, "avatar/groups/fresh")
    if not groups or flat is None or flat / groups < 0.5:
        return None
    return _warning(
        f"{flat / groups:.0%} of the latest groups have equal rewards and no gradient: prompts are too easy or too "
        "hard, the group is too small, or a reward part is constant."
    )


def _truncated(run: RunData, series: Series) -> Finding | None:
    share = _recent(series, "avatar/train/truncated")
    if share is None or share < 0.2:
        return None
    return _warning(f"{share:.0%} of the latest completions hit the length limit and lose their answers.")


def _few_effective(run: RunData, series: Series) -> Finding | None:
    share = _recent(series, "avatar/replay/effective_sample_size")
    if share is None or share >= 0.5:
        return None
    return _warning(
        f"The effective sample size of replayed rows is {share:.0%}: replayed completions are far from the present "
        "policy. A lower avatar.replay.max_age or a ratio cap helps."
    )


def _entropy(run: RunData, series: Series) -> Finding | None:
    values = _values(series, "actor/entropy")
    if len(values) < 2 * RECENT:
        return None
    first, now = fmean(values[:RECENT]), fmean(values[-RECENT:])
    if now < 0.2 * first:
        return _warning(f"Entropy fell from {first:.3f} to {now:.3f}: completions of a group become the same.")
    if now > 2 * first:
        return _warning(f"Entropy rose from {first:.3f} to {now:.3f}: the policy falls apart, or hints are stripped.")
    return None


def _bad_rows(run: RunData, series: Series) -> Finding | None:
    if not run.bad_rows:
        return None
    number = len(run.bad_rows)
    return {"level": "note", "text": f"{number} row{'s' * (number > 1)} could not be used; the reasons are below."}


def _guards(run: RunData, series: Series) -> Finding | None:
    trips = sum(_values(series, "avatar/guard/trips"))
    return _warning(f"Guards fired {trips:.0f} times; each is a line in log.txt.") if trips else None


_CHECKS: tuple[Callable[[RunData, Series], Finding | None], ...] = (
    _failed,
    _parity,
    _no_signal,
    _truncated,
    _few_effective,
    _entropy,
    _guards,
    _held_out,
    _bad_rows,
)


def bad_row_table(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One entry a reason, the most frequent first: count, and up to five rows with what was said of them."""
    by_reason: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        by_reason.setdefault(row["reason"], []).append(row)
    return [
        {
            "reason": reason,
            "count": len(own),
            "examples": [[str(r.get("prompt_id", r.get("file", ""))), str(r.get("detail", ""))] for r in own[:5]],
        }
        for reason, own in sorted(by_reason.items(), key=lambda item: -len(item[1]))
    ]
