"""``python -m avatar_verl.rewards score``: reads, scores, writes and explains."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from avatar_verl.config import ConfigError, RewardConfig
from avatar_verl.rewards.__main__ import app, load_reward_config
from avatar_verl.rewards.compose import RewardComposer
from avatar_verl.rewards.records import read_samples, to_record
from avatar_verl.types import Sample

ROWS: list[dict[str, Any]] = [
    {"completion": "<think>a</think><answer>B</answer>", "group": "g"},
    {"completion": "<think>a</think><answer>A</answer>", "group": "g"},
    {"completion": "<think>a</think><answer>A</answer>", "group": "g"},
    {"completion": "nothing", "group": "h", "session": 3, "reward": 0.1},
]
STAGE2 = (
    "avatar:\n  reward:\n    weights: {format: 0.2, accuracy: 0.4, self_consistency: 0.4}\nreward: {num_workers: 1}\n"
)


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    full = [{"ground_truth": "B", "problem_type": "multiple_choice", "options": ["one", "two"], **row} for row in rows]
    path.write_text("".join(json.dumps(row) + "\n" for row in full), encoding="utf-8")
    return path


def test_scores_as_a_run_would(tmp_path: Path) -> None:
    config, out = tmp_path / "run.yaml", tmp_path / "scored.jsonl"
    config.write_text(STAGE2)
    source = write(tmp_path / "in.jsonl", ROWS)
    result = CliRunner().invoke(app, ["score", "--file", str(source), "--config", str(config), "--out", str(out)])
    assert result.exit_code == 0, result.output
    scored = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["reward"] for row in scored] == pytest.approx([0.6, 0.6, 0.6, -0.2])
    assert [row["answer"] for row in scored] == ["B", "A", "A", None]
    assert scored[3]["reasons"] == {
        "format": "no_think_tag",
        "accuracy": "no_answer_tag",
        "self_consistency": "no_majority",
    }
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.jsonl", "run.yaml", "scored.jsonl"]
    # What was written can be scored again, with the same result.
    again = CliRunner().invoke(app, ["score", "--file", str(out), "--config", str(config)])
    lines = [line for line in again.stdout.splitlines() if line.startswith("{")]
    assert [json.loads(line) for line in lines] == scored


def test_as_a_program_lines_go_out_and_the_table_goes_to_standard_error(tmp_path: Path) -> None:
    source = write(tmp_path / "in.jsonl", ROWS[:1])
    done = subprocess.run(
        [sys.executable, "-m", "avatar_verl.rewards", "score", "--file", str(source)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["reward"] == 1.0
    assert "accuracy" in done.stderr
    assert "right 1" in done.stderr


def test_a_judge_that_lives_with_its_run_is_refused(tmp_path: Path) -> None:
    config = tmp_path / "run.yaml"
    config.write_text("reward: {weights: {judge: 1.0}, judge: {endpoint: pool}}")
    source = write(tmp_path / "in.jsonl", ROWS[:1])
    result = CliRunner().invoke(app, ["score", "--file", str(source), "--config", str(config)])
    assert result.exit_code == 2
    assert "give the address of a server" in " ".join(result.stderr.split())


def test_answer_consistency_needs_what_a_run_has_logged(tmp_path: Path) -> None:
    config = tmp_path / "run.yaml"
    config.write_text("reward: {weights: {format: 1.0, answer_consistency: 1.0}}")
    second = {"shuffled_answer": "A", "shuffled_options": ["two", "one"]}
    for name, extra, said in (("without", {}, True), ("with", second, False)):
        source = write(tmp_path / f"{name}.jsonl", [{**ROWS[0], "extra": extra}])
        result = CliRunner().invoke(app, ["score", "--file", str(source), "--config", str(config)])
        assert result.exit_code == 0, result.output
        assert ("only a run generates one" in " ".join(result.stderr.lower().split())) is said
        assert json.loads(result.stdout)["reward"] == 2.0  # format 1 of weight 1 on the scale of 2; or 1 + 1 agreeing


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 2"),
        ("[1]", "not a JSON object"),
        ('{"completion": "a", "ground_truth": "b"}', "missing problem_type"),
        ('{"completion": 1, "ground_truth": "b", "problem_type": "count"}', "completion must be text"),
        ('{"completion": "a", "ground_truth": "b", "problem_type": "mcq"}', "unknown problem_type"),
        ('{"completion": "a", "ground_truth": "b", "problem_type": "count", "options": "AB"}', "list of texts"),
        ('{"completion": "a", "ground_truth": "b", "problem_type": "count", "num_tokens": "9"}', "must be a number"),
        ('{"completion": "a", "ground_truth": "b", "problem_type": "count", "extra": [1]}', "extra must be an object"),
        ("[" * 100_000, "line 2"),
    ],
)
def test_bad_line_is_named(line: str, message: str, tmp_path: Path) -> None:
    good = '{"completion": "a", "ground_truth": "1", "problem_type": "count"}'
    with pytest.raises(ValueError, match=message):
        list(read_samples([good, line]))
    source = tmp_path / "in.jsonl"
    source.write_text(f"{good}\n{line}\n")
    result = CliRunner().invoke(app, ["score", "--file", str(source)])
    assert result.exit_code == 2
    assert "line 2" in result.output


def test_config_may_be_a_run_an_avatar_node_or_a_reward_node(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    for text in (STAGE2, "reward: {weights: {judge: 1}}", "weights: {judge: 1}"):
        path.write_text(text)
        assert load_reward_config(path).weights in (
            {"format": 0.2, "accuracy": 0.4, "self_consistency": 0.4},
            {"judge": 1},
        )
    path.write_text("avatar: {media: {fps: 1}}\nreward: {num_workers: 1}")
    assert load_reward_config(path) == RewardConfig()
    assert load_reward_config(None) == RewardConfig()
    for text in ("[1]", "weights: {judge: -1}", "wieghts: {}", "a: ["):
        path.write_text(text)
        with pytest.raises(ConfigError):
            load_reward_config(path)


def test_record_keeps_what_json_can_keep() -> None:
    sample = Sample("<answer>3</answer>", "3", "count", extra={"note": "x", "thing": object()})
    record = to_record(sample, RewardComposer(RewardConfig()).score(sample))
    assert record["extra"] == {"note": "x"}
    (again,) = read_samples([json.dumps(record)])
    assert again == Sample("<answer>3</answer>", "3", "count", extra={"note": "x"})
