"""Which charts there are, in which order, and what each shows. Page, CSV and plots all read this list."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from avatar_verl.report.step_time import NAMES
from avatar_verl.types import TIERS

Kind = Literal["line", "stack"]


@dataclass(frozen=True)
class Line:
    """One curve. A ``*`` in the key stands for any part of a name, and for that part in the label."""

    key: str
    label: str
    spread: str = ""  # key of the half width of its band


@dataclass(frozen=True)
class Chart:
    """Curves that are read together."""

    section: str
    title: str
    note: str
    lines: tuple[Line, ...]
    kind: Kind = "line"
    log: bool = False  # logarithmic axis


CHARTS: tuple[Chart, ...] = (
    Chart(
        "Learning",
        "Reward",
        "Bands: 95 % interval of the mean over the step's completions.",
        (
            Line("avatar/val/reward", "held-out", "report/val/reward_error"),
            Line("avatar/train/reward", "training", "report/train/reward_error"),
        ),
    ),
    Chart(
        "Learning",
        "Accuracy",
        "Bands: 95 % interval of the mean over the step's completions.",
        (
            Line("avatar/val/accuracy", "held-out", "report/val/accuracy_error"),
            Line("avatar/train/accuracy", "training", "report/train/accuracy_error"),
        ),
    ),
    Chart("Learning", "Reward parts", "Mean of each part, before its weight.", (Line("avatar/reward/*/mean", "*"),)),
    Chart("Learning", "Held-out accuracy by family", "", (Line("avatar/val/accuracy/family/*", "*"),)),
    Chart("Learning", "Held-out accuracy by modality", "", (Line("avatar/val/accuracy/modality/*", "*"),)),
    Chart("Learning", "Held-out accuracy by difficulty", "", (Line("avatar/val/accuracy/difficulty/*", "*"),)),
    Chart(
        "Learning", "Loss of supervised training", "", (Line("train/loss", "training"), Line("val/loss", "held-out"))
    ),
    Chart(
        "Advantage",
        "Groups without a signal",
        "A fresh group whose rewards are all equal has no gradient. Rescued: in that step replay drew earlier "
        "completions of the same prompt that have one.",
        (
            Line("avatar/groups/fresh", "fresh groups"),
            Line("avatar/groups/zero_std", "all rewards equal"),
            Line("avatar/groups/rescued", "of these rescued by replay"),
        ),
    ),
    Chart(
        "Advantage",
        "Rows with a gradient",
        "Share of rows whose advantage is not 0: what replay adds to a step.",
        (Line("avatar/advantage/fresh/nonzero", "fresh"), Line("avatar/advantage/replay/nonzero", "replayed")),
    ),
    Chart(
        "Advantage",
        "Advantage of fresh rows, quantiles",
        "",
        tuple(Line(f"avatar/advantage/fresh/p{q:02d}", f"{q} %") for q in (5, 25, 50, 75, 95)),
    ),
    Chart(
        "Advantage",
        "Advantage of replayed rows, quantiles",
        "",
        tuple(Line(f"avatar/advantage/replay/p{q:02d}", f"{q} %") for q in (5, 25, 50, 75, 95)),
    ),
    Chart("Replay", "Buffer by tier", "Entries.", tuple(Line(f"avatar/replay/tier/{t}", t) for t in TIERS), "stack"),
    Chart(
        "Replay",
        "Drawn by tier",
        "Entries a step.",
        tuple(Line(f"avatar/replay/drawn/{t}", t) for t in TIERS),
        "stack",
    ),
    Chart(
        "Replay",
        "Where tiers part",
        "Reference scores: a prompt up to the lower line is hard, up to the upper one medium, above it easy.",
        (Line("avatar/vcrs/threshold/hard", "hard up to"), Line("avatar/vcrs/threshold/medium", "medium up to")),
    ),
    Chart(
        "Replay",
        "Age of replayed rows",
        "Steps since they were generated.",
        (Line("avatar/replay/age/mean", "mean"), Line("avatar/replay/age/max", "oldest")),
    ),
    Chart(
        "Replay",
        "Importance ratio",
        "Present policy to the one that generated, per token. Fresh rows are at 1 where rollout and trainer agree.",
        (
            Line("avatar/fresh/ratio/mean", "fresh, mean"),
            Line("avatar/replay/ratio/mean", "replayed, mean"),
            Line("avatar/fresh/ratio/max", "fresh, largest"),
            Line("avatar/replay/ratio/max", "replayed, largest"),
        ),
        log=True,
    ),
    Chart(
        "Replay",
        "Effective sample size",
        "Share of the rows that importance weights leave: 1 on-policy, towards 0 when few rows carry everything.",
        (
            Line("avatar/fresh/effective_sample_size", "fresh"),
            Line("avatar/replay/effective_sample_size", "replayed"),
        ),
    ),
    Chart(
        "Replay",
        "Tokens outside the clip range",
        "Share of tokens.",
        (Line("avatar/fresh/outside_clip", "fresh"), Line("avatar/replay/outside_clip", "replayed")),
    ),
    Chart("Replay", "Left the buffer", "Entries since the start, by reason.", (Line("avatar/replay/left/*", "*"),)),
    Chart(
        "Hints", "Hinted visits", "Prompts of the step that were given a hint.", (Line("report/hint/visits", "visits"),)
    ),
    Chart(
        "Hints",
        "Lift of hints",
        "Accuracy with the hint less accuracy without it, over prompts seen both ways.",
        (Line("avatar/hint/lift", "lift"),),
    ),
    Chart("Policy", "Entropy", "Nats per token.", (Line("actor/entropy", "entropy"),)),
    Chart(
        "Policy",
        "KL",
        "To the reference model (k3), and of the update (PPO).",
        (Line("actor/kl_loss", "to the reference"), Line("actor/ppo_kl", "of the update")),
    ),
    Chart(
        "Policy",
        "Clipped tokens of the update",
        "",
        (Line("actor/pg_clipfrac", "above"), Line("actor/pg_clipfrac_lower", "below")),
    ),
    Chart(
        "Policy",
        "Gradient norm",
        "",
        (Line("actor/grad_norm", "actor"), Line("train/grad_norm", "supervised")),
        log=True,
    ),
    Chart("Policy", "Learning rate", "", (Line("actor/lr", "actor"), Line("train/lr", "supervised"))),
    Chart(
        "Policy",
        "Guards",
        "Times that a guard fired.",
        (Line("avatar/guard/trips", "trips"),),
    ),
    Chart(
        "Length",
        "Completion length",
        "Tokens.",
        (
            Line("response_length/mean", "mean"),
            Line("response_length/max", "longest"),
            Line("avatar/val/num_tokens", "held-out, mean"),
        ),
    ),
    Chart(
        "Length",
        "Truncated completions",
        "Share that hit the length limit.",
        (Line("avatar/train/truncated", "training"), Line("avatar/val/truncated", "held-out")),
    ),
    Chart(
        "Length",
        "Prompt length",
        "Tokens, media included.",
        (Line("prompt_length/mean", "mean"), Line("prompt_length/max", "longest")),
    ),
    Chart(
        "Parity",
        "Rollout against trainer: distance of log-probs",
        "1 - correlation. Above 1e-4 the importance ratio starts to mean something else.",
        (Line("report/parity/distance", "1 - correlation"),),
        log=True,
    ),
    Chart(
        "Parity",
        "Rollout against trainer: difference of log-probs",
        "Nats per token.",
        (Line("avatar/parity/mean_abs_diff", "mean"), Line("avatar/parity/max_abs_diff", "largest")),
        log=True,
    ),
    Chart(
        "Speed",
        "Where step time goes",
        "Seconds of a step; validation comes on top of it.",
        tuple(Line(f"report/time/{name}", name) for name in NAMES),
        "stack",
    ),
    Chart("Speed", "Throughput", "Tokens a second, prompts included.", (Line("perf/throughput", "tokens / s"),)),
    Chart(
        "Speed",
        "Memory",
        "GB, of the update workers.",
        (
            Line("actor/perf/max_memory_allocated_gb", "GPU, allocated"),
            Line("actor/perf/max_memory_reserved_gb", "GPU, reserved"),
            Line("actor/perf/cpu_memory_used_gb", "machine, used"),
        ),
    ),
    Chart(
        "Data", "Bad rows", "Rows that could not be used so far, by reason.", (Line("report/bad_rows/*", "*"),), "stack"
    ),
    Chart(
        "Data",
        "Sound",
        "Completions of clips that should have sound and have none, or whose sound was cut.",
        (Line("avatar/train/silent_clips", "silent clips"), Line("avatar/train/truncated_audios", "cut sounds")),
    ),
)

#: Titles of charts that supervised training alone has.
SUPERVISED = {"Loss of supervised training"}


def shown(keys: Iterable[str], charts: tuple[Chart, ...] = CHARTS) -> list[Chart]:
    """The charts that have something to show, with every ``*`` filled in.

    Args:
        keys: of all series there are.
    """
    known = set(keys)
    found = []
    for chart in charts:
        lines = [line for pattern in chart.lines for line in _expand(pattern, known)]
        if lines:
            found.append(replace(chart, lines=tuple(lines)))
    return found


def _expand(line: Line, known: set[str]) -> list[Line]:
    if "*" not in line.key:
        return [line] if line.key in known else []
    pattern = re.compile(re.escape(line.key).replace(r"\*", "([^/]+)"))
    matches = sorted((key, match[1]) for key in known if (match := pattern.fullmatch(key)))
    return [replace(line, key=key, label=line.label.replace("*", name)) for key, name in matches]
