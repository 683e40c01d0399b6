"""Where the time of a step goes, in a few parts that say what they are for; the trainer's own timers are many."""

from __future__ import annotations

#: Part -> the timers ``timing_s/<name>`` that it holds. ``validation`` comes after the step, the others are within.
PARTS: dict[str, tuple[str, ...]] = {
    "generation": ("gen",),
    "rewards": ("reward",),
    "log-probs": ("old_log_prob", "ref", "values"),
    "advantages and replay": ("adv", "avatar_draw", "avatar_join", "avatar_harvest"),
    "update": ("update_actor", "update_critic", "update_weights"),
    "checkpoint": ("save_checkpoint",),
    "validation": ("testing",),
}
#: What of the step no timer of :data:`PARTS` holds: waking and sleeping engines, moving batches.
REST = "other"
#: All names, as a chart stacks them.
NAMES = (*PARTS, REST)


def step_time(record: dict[str, float]) -> dict[str, float]:
    """Seconds of each part in one record of ``metrics.jsonl``; empty for a record without ``timing_s/step``.

    >>> step_time({"timing_s/step": 5.0, "timing_s/gen": 2.0, "timing_s/ref": 1.0, "timing_s/testing": 9.0})
    {'generation': 2.0, 'log-probs': 1.0, 'validation': 9.0, 'other': 2.0}
    """
    if "timing_s/step" not in record:
        return {}
    found: dict[str, float] = {}
    for part, timers in PARTS.items():
        seconds = [record[f"timing_s/{name}"] for name in timers if f"timing_s/{name}" in record]
        if seconds:
            found[part] = sum(seconds)
    within = sum(seconds for part, seconds in found.items() if part != "validation")
    return {**found, REST: max(0.0, record["timing_s/step"] - within)}
