"""The end of a run in one screen."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rich.console import Console

from avatar_verl.summary import held_out, print_summary, read_metrics


def shown(run: Path, *records: dict[str, Any]) -> str:
    (run / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    console = Console(width=120, record=True, file=(run / "screen").open("w"))
    print_summary(run, console)
    return console.export_text()


def cells(text: str, name: str) -> list[str]:
    (line,) = [line for line in text.splitlines() if line.strip("│ ").startswith(name)]
    return [cell.strip() for cell in line.strip("│").split("│")][1:]


def test_before_and_after_of_the_held_out_clips(tmp_path: Path) -> None:
    before = {"avatar/val/reward": 0.25, "avatar/val/accuracy": 0.5, "avatar/val/accuracy/family/beeps": 0.125}
    after = {"avatar/val/reward": 0.75, "avatar/val/accuracy": 0.625, "avatar/val/accuracy/family/beeps": 1.0}
    text = shown(tmp_path, {"step": 0, **before}, {"step": 1, "train/loss": 1.0}, {"step": 40, **after})
    assert "held-out clips, step 0 and step 40" in text
    assert cells(text, "reward") == ["0.250", "0.750"]
    assert cells(text, "accuracy") == ["0.500", "0.625"]
    assert cells(text, "family/beeps") == ["0.125", "1.000"]
    assert f"run folder: {tmp_path}" in text.replace("\n", "")
    assert "bad rows" not in text


def test_a_cold_start_shows_its_loss(tmp_path: Path) -> None:
    """verl's own logger nests the numbers under ``data``."""
    text = shown(tmp_path, {"step": 1, "data": {"train/loss": 5.5}}, {"step": 300, "data": {"train/loss": 0.25}})
    assert "loss 5.500 -> 0.250 in 300 steps" in text


def test_bad_rows_are_pointed_to(tmp_path: Path) -> None:
    (tmp_path / "bad_rows.jsonl").write_text('{"prompt_id": "a"}\n')
    text = shown(tmp_path, {"step": 1, "train/loss": 1.0})
    assert "bad rows, with reasons:" in text


def test_the_report_is_named_last(tmp_path: Path) -> None:
    assert "report, for" not in shown(tmp_path, {"step": 1, "actor/loss": 1.0})
    (tmp_path / "report.html").write_text("")
    text = shown(tmp_path, {"step": 1, "actor/loss": 1.0}).replace("\n", "")
    assert text.endswith(f"report, for a browser: {tmp_path / 'report.html'}")


def test_a_run_without_a_validation_is_no_error(tmp_path: Path) -> None:
    text = shown(tmp_path, {"step": 1, "actor/loss": 1.0})
    assert "run folder" in text


def test_validations_are_told_from_steps(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text('{"step": 0, "avatar/val/reward": 1}\n{"step": 1, "data": {"x": 2}}\n')
    records = read_metrics(tmp_path)
    assert records[1] == {"step": 1, "x": 2}
    assert [record["step"] for record in held_out(records)] == [0]


def test_a_rule_based_judge_is_named(tmp_path: Path) -> None:
    ruled = {"step": 1, "avatar/reward/judge/reason/rule_based": 32.0}
    assert "the judge was rule-based" in shown(tmp_path, {"step": 0}, ruled)
    assert "rule-based" not in shown(tmp_path, {"step": 0}, {"step": 1, "avatar/reward/judge/reason/judged": 32.0})
