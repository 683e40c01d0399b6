"""``python -m avatar_verl.rewards score``: score completions offline exactly as a run would."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from avatar_verl.config import JUDGE_POOL, AvatarConfig, ConfigError, RewardConfig
from avatar_verl.rewards.compose import RewardComposer
from avatar_verl.rewards.metrics import reward_metrics
from avatar_verl.rewards.records import read_samples, to_record
from avatar_verl.types import RewardBreakdown, Sample

app = typer.Typer(add_completion=False, no_args_is_help=True)
#: Said when a configuration asks for ACRE and no completion can have it.
NO_SECOND_ANSWER = (
    "answer_consistency: no completion has a second answer, so it is in no total. Only a run generates one; its "
    "samples.jsonl holds it (extra.shuffled_answer, extra.shuffled_options) and can be scored."
)
_CHUNK = 64  # completions between two updates of the progress bar


@app.callback()
def main() -> None:
    """Rewards: score completions offline."""


@app.command()
def score(
    file: Annotated[Path, typer.Option(help="JSON lines with completion, ground_truth, problem_type and more")],
    config: Annotated[Path | None, typer.Option(help="YAML of a run, or of its avatar or reward node")] = None,
    out: Annotated[Path | None, typer.Option(help="write the scored lines here instead of to standard output")] = None,
) -> None:
    """Score each completion; lines with one `group` are one group. A table of all parts goes to standard error."""
    console = Console(stderr=True)
    try:
        reward_config = load_reward_config(config)
        with file.open(encoding="utf-8") as lines:
            samples = list(read_samples(lines))
        composer = RewardComposer(reward_config)
    except (ConfigError, OSError, ValueError) as error:
        console.print(f"[red]{type(error).__name__}[/red]: {error}", highlight=False)
        raise typer.Exit(2) from None
    breakdowns = score_all(composer, samples, console)
    composer.close()
    write_records([to_record(s, b) for s, b in zip(samples, breakdowns, strict=True)], out)
    if samples:
        console.print(summary(samples, breakdowns, reward_config))
        second = [b.parts["answer_consistency"] for b in breakdowns if "answer_consistency" in b.parts]
        if second and all(part.reason == "no_second_answer" for part in second):
            console.print(NO_SECOND_ANSWER, highlight=False)


def load_reward_config(path: Path | None) -> RewardConfig:
    """The reward node of a run's YAML, of its ``avatar:`` node, or a bare reward node; the defaults without a file.

    Raises:
        ConfigError: when the file holds no mapping or a wrong value, or a judge that only a run can ask.
    """
    if path is None:
        return RewardConfig()
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: {error}") from None
    if not isinstance(tree, dict):
        raise ConfigError(f"{path}: expected a mapping")
    node: Any = tree
    if "avatar" in tree:  # verl's own `reward` node may stand beside it
        node = (tree["avatar"] or {}).get("reward") or {}
    elif "reward" in tree:
        node = tree["reward"] or {}
    config = AvatarConfig.from_mapping({"reward": node}).reward
    if "judge" in config.weights and config.judge.endpoint == JUDGE_POOL:
        raise ConfigError("judge.endpoint: a pool lives as long as its run; give the address of a server, or none")
    return config


def score_all(composer: RewardComposer, samples: Sequence[Sample], console: Console) -> list[RewardBreakdown]:
    """Per-sample rewards in chunks, then group rewards group by group; in the order of ``samples``."""
    scored: list[RewardBreakdown] = []
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task("scoring", total=len(samples))
        for start in range(0, len(samples), _CHUNK):
            scored += composer.score_many(samples[start : start + _CHUNK])
            progress.update(bar, completed=len(scored))
    groups: dict[str, list[int]] = defaultdict(list)
    for i, sample in enumerate(samples):
        groups[sample.group or f"alone-{i}"].append(i)
    for members in groups.values():
        final = composer.score_group([samples[i] for i in members], [scored[i] for i in members])
        for i, breakdown in zip(members, final, strict=True):
            scored[i] = breakdown
    return scored


def write_records(records: Sequence[dict[str, Any]], out: Path | None) -> None:
    """JSON lines to ``out`` (written beside it and renamed) or to standard output."""
    text = "".join(json.dumps(record) + "\n" for record in records)
    if out is None:
        sys.stdout.write(text)
        return
    temporary = out.with_name(f".{out.name}.{os.getpid()}")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, out)


def summary(samples: Sequence[Sample], breakdowns: Sequence[RewardBreakdown], config: RewardConfig) -> Table:
    """One row per part: weight, mean, spread, flat groups, and its most frequent reasons."""
    metrics = reward_metrics(samples, breakdowns)
    table = Table(title=f"{len(samples)} completions")
    for heading in ("part", "weight", "mean", "std", "flat groups", "present", "reasons"):
        table.add_column(heading, justify="left" if heading in ("part", "reasons") else "right")
    for name in (*config.weights, "total"):
        parts = [b.parts[name] for b in breakdowns if name in b.parts]
        reasons = Counter(part.reason for part in parts).most_common(4)
        cells = (_cell(metrics, name, key) for key in ("mean", "std", "zero_std_groups", "present"))
        weight = f"{config.weights[name]:g}" if name in config.weights else ""
        table.add_row(name, weight, *cells, ", ".join(f"{reason} {count}" for reason, count in reasons))
    return table


def _cell(metrics: dict[str, float], part: str, key: str) -> str:
    value = metrics.get(f"avatar/reward/{part}/{key}")
    if value is None:
        return ""
    return f"{value:.0%}" if key in ("zero_std_groups", "present") else f"{value:.3f}"


if __name__ == "__main__":
    app()
