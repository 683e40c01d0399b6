"""The end of a run in one screen: reward and accuracy on held-out clips, before and after."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table


def read_metrics(run: Path) -> list[dict[str, Any]]:
    """All records of ``metrics.jsonl``, oldest first; verl's own form is flattened."""
    records = []
    for line in (run / "metrics.jsonl").read_text().splitlines():
        record = json.loads(line)
        records.append({"step": record["step"], **record["data"]} if "data" in record else record)
    return records


def held_out(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The records that hold a validation."""
    return [record for record in records if "avatar/val/reward" in record]


def print_summary(run: Path, console: Console | None = None) -> None:
    """Print what a run achieved and where to look further."""
    console = console or Console()
    records = read_metrics(run)
    validations = held_out(records)
    if validations:
        console.print(_table(validations[0], validations[-1]))
    elif records:
        losses = [record["train/loss"] for record in records if "train/loss" in record]
        if losses:
            console.print(f"loss {losses[0]:.3f} -> {losses[-1]:.3f} in {records[-1]['step']} steps")
    if any("avatar/reward/judge/reason/rule_based" in record for record in records):
        console.print("the judge was rule-based: it compares words. A model judges behind avatar.reward.judge.endpoint")
    bad = run / "bad_rows.jsonl"
    if bad.exists() and bad.stat().st_size:
        console.print(f"bad rows, with reasons: {bad}")
    if (run / "model").is_dir():
        console.print(f"trained model, a complete Qwen2.5-Omni folder: {run / 'model'}")
    console.print(f"run folder: {run}")
    console.print("look further: metrics.jsonl (every step), samples.jsonl (every completion), log.txt")
    if (run / "report.html").exists():
        console.print(f"report, for a browser: {run / 'report.html'}")


def _table(before: dict[str, Any], after: dict[str, Any]) -> Table:
    table = Table(title=f"held-out clips, step {before['step']:.0f} and step {after['step']:.0f}")
    for heading in ("", "before", "after"):
        table.add_column(heading, justify="left" if not heading else "right")
    names = ["reward", "accuracy", "format", "num_tokens"]
    names += sorted(key.removeprefix("avatar/val/") for key in after if key.startswith("avatar/val/accuracy/"))
    for name in names:
        key = f"avatar/val/{name}"
        if key in before and key in after:
            table.add_row(name.replace("accuracy/", "  "), f"{before[key]:.3f}", f"{after[key]:.3f}")
    return table
