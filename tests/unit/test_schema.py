from __future__ import annotations

import copy
import functools
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avatar_verl.schema import (
    COLUMNS,
    EXTRA_INFO,
    PLACEHOLDERS,
    RowError,
    count_placeholders,
    escape_placeholders,
    split_placeholders,
    unescape_placeholders,
    validate_row,
)

PIECES = st.lists(
    st.sampled_from(["<video>", "<audio>", "<image>", "\\", "\\<video>", "a", "<", ">", "vi"]), max_size=8
)


@settings(deadline=None)
@given(PIECES.map("".join))
def test_counting_agrees_with_splitting(content: str) -> None:
    pieces = split_placeholders(content)

    # A text piece can read like a placeholder once it is unescaped, so those are counted off.
    literal = {tag: content.count("\\" + tag) for tag in PLACEHOLDERS}
    counts = count_placeholders([content])
    joined = "".join(pieces)
    assert {tag: joined.count(tag) - literal[tag] for tag in PLACEHOLDERS} == counts


@settings(deadline=None)
@given(st.lists(st.sampled_from(["<video>", "<image>", "a", "<", ">", " "]), max_size=8).map("".join))
def test_escaped_text_holds_no_placeholder_and_comes_back(text: str) -> None:
    escaped = escape_placeholders(text)

    assert set(count_placeholders([escaped]).values()) == {0}
    assert unescape_placeholders(escaped) == text
    assert "".join(split_placeholders(escaped)) == text


@pytest.mark.parametrize(
    ("content", "videos"), [("<video><video>", 2), ("\\<video><video>", 1), ("<vid<video>eo>", 1), ("<Video>", 0)]
)
def test_placeholders_are_counted_unless_escaped(content: str, videos: int) -> None:
    assert count_placeholders([content]) == {"<image>": 0, "<video>": videos, "<audio>": 0}


# ---- rows


def broken(row: dict[str, Any], *path: str, value: Any) -> dict[str, Any]:
    """A copy with one value changed, or taken out where the value is ``DROP``."""
    row = copy.deepcopy(row)
    *folders, last = path
    inside = functools.reduce(dict.__getitem__, folders, row)
    if value is DROP:
        del inside[last]
    else:
        inside[last] = value
    return row


DROP = object()
EMPTY_PROMPT = [{"role": "user", "content": ""}]


@pytest.mark.parametrize(
    ("path", "value", "reason"),
    [
        (("reward_model",), DROP, "missing_column"),
        (("prompt",), [], "empty_prompt"),
        (("prompt",), None, "empty_prompt"),
        (("prompt",), EMPTY_PROMPT, "empty_prompt"),
        (("videos",), [], "placeholder_mismatch"),
        (("videos",), [{"video": "a.mp4"}, {"video": "b.mp4"}], "placeholder_mismatch"),
        (("audios",), [{"audio": "a.wav"}], "placeholder_mismatch"),
        (("extra_info", "prompt_id"), "", "missing_prompt_id"),
        (("extra_info", "problem_type"), "multiple choice", "unknown_problem_type"),
        (("reward_model", "ground_truth"), "", "missing_answer"),
        (("reward_model",), None, "missing_answer"),
        (("extra_info", "problem_type"), "multiple_choice", "bad_options"),
        (("extra_info", "problem_type"), "multi_label", "bad_options"),
    ],
)
def test_each_breach_has_its_reason(
    path: tuple[str, ...], value: Any, reason: str, modal_rows: dict[str, dict[str, Any]]
) -> None:
    row = modal_rows["video"]
    validate_row(row)
    with pytest.raises(RowError) as caught:
        validate_row(broken(row, *path, value=value))
    assert caught.value.reason == reason
    assert str(caught.value).startswith(f"{reason}: ")


def test_two_options_are_enough(modal_rows: dict[str, dict[str, Any]]) -> None:
    row = broken(modal_rows["text"], "extra_info", "problem_type", value="multiple_choice")
    validate_row(broken(row, "extra_info", "options", value=["one", "two"]))
    with pytest.raises(RowError, match="bad_options"):
        validate_row(broken(row, "extra_info", "options", value=["one"]))


def test_an_escaped_tag_needs_no_medium(modal_rows: dict[str, dict[str, Any]]) -> None:
    validate_row(broken(modal_rows["text"], "prompt", value=[{"role": "user", "content": "Is \\<video> a tag?"}]))
    with pytest.raises(RowError, match=r"write a literal tag in a question as \\<video>"):
        validate_row(broken(modal_rows["text"], "prompt", value=[{"role": "user", "content": "Is <video> a tag?"}]))


def test_what_a_file_holds_is_what_the_schema_says(toy_world: Path) -> None:
    """Parquet gives numpy-free lists and nested dicts back; each toy row is valid as it is read."""
    table = pq.read_table(toy_world / "train.parquet")
    assert table.column_names == list(COLUMNS)
    rows = table.to_pylist()
    assert [list(row["extra_info"]) for row in rows] == [list(EXTRA_INFO)] * len(rows)
    for row in rows:
        validate_row(row)
