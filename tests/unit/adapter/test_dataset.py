"""Rows of parquet files as verl's data set hands them out; rows that break the schema are listed instead."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from avatar_verl.adapter.dataset import AvatarDataset
from avatar_verl.omni.messages import build_messages
from data_prep.table import write_rows


def open_rows(files: list[Path], cache: Path, **options: Any) -> AvatarDataset:
    config = {"cache_dir": str(cache), "filter_overlong_prompts": False, "truncation": "error", **options}
    return AvatarDataset([str(file) for file in files], None, OmegaConf.create(config))


@pytest.fixture
def file_of(tmp_path: Path) -> Any:
    def write(name: str, rows: list[dict[str, Any]]) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        write_rows(rows, folder / "rows.parquet")
        return folder / "rows.parquet"

    return write


def numbered(row: dict[str, Any], number: int) -> dict[str, Any]:
    row = copy.deepcopy(row)
    row["extra_info"].update(index=number, prompt_id=f"test/{number}")
    return row


def test_messages_hold_media_in_order_of_appearance(modal_rows: dict[str, Any]) -> None:
    system, user = build_messages(modal_rows["audio_and_video"])
    assert system == {"role": "system", "content": [{"type": "text", "text": "Look and listen. Think, then answer."}]}
    assert user["content"] == [
        {"type": "audio", "audio": "sound.wav"},
        {"type": "video", "video": "mute.mp4"},
        {"type": "text", "text": "How many beeps are there?"},
    ]


def test_an_escaped_placeholder_is_text(modal_rows: dict[str, Any]) -> None:
    row = copy.deepcopy(modal_rows["video"])
    row["prompt"][1]["content"] = "<video>Is \\<video> a tag?"
    parts = build_messages(row)[1]["content"]
    assert parts == [{"type": "video", "video": "mute.mp4"}, {"type": "text", "text": "Is <video> a tag?"}]


def test_an_item_is_what_the_agent_loop_reads(modal_rows: dict[str, Any], file_of: Any, tmp_path: Path) -> None:
    file = file_of("a", [numbered(modal_rows["audio_in_video"], 0), numbered(modal_rows["text"], 1)])
    data = open_rows([file], tmp_path)
    assert len(data) == 2
    item = data[0]
    assert item["prompt_id"] == "test/0"
    assert item["use_audio_in_video"] is True
    assert item["raw_prompt"][1]["content"][0] == {"type": "video", "video": "clip.mp4"}
    assert item["media_root"] == str(file.parent)
    assert item["reward_model"]["ground_truth"] == "2"
    # Media columns would be decoded by verl, and the demonstration must not reach the policy.
    assert not {"images", "videos", "audios", "prompt", "response"} & item.keys()
    assert data[1]["use_audio_in_video"] is False


def test_a_visit_may_change_its_item(modal_rows: dict[str, Any], file_of: Any, tmp_path: Path) -> None:
    data = open_rows([file_of("a", [modal_rows["text"]])], tmp_path)
    data[0]["raw_prompt"][1]["content"].append({"type": "text", "text": "a hint"})
    assert len(data[0]["raw_prompt"][1]["content"]) == 1


def test_each_file_has_its_own_media_root(modal_rows: dict[str, Any], file_of: Any, tmp_path: Path) -> None:
    files = [file_of("a", [modal_rows["video"]]), file_of("b", [numbered(modal_rows["video"], 5)])]
    data = open_rows(files, tmp_path)
    assert [data[i]["media_root"] for i in range(2)] == [str(file.parent) for file in files]
    given = open_rows(files, tmp_path, media_root="/data/clips")
    assert {given[i]["media_root"] for i in range(2)} == {"/data/clips"}


def test_rows_that_break_the_schema_are_listed_and_never_handed_out(
    modal_rows: dict[str, Any], file_of: Any, tmp_path: Path
) -> None:
    rows = [numbered(modal_rows["video"], number) for number in range(5)]
    rows[1]["prompt"][1]["content"] = "Which <video> is meant by <video>?"
    rows[3]["reward_model"]["ground_truth"] = ""
    rows[4]["extra_info"]["problem_type"] = "riddle"
    file = file_of("a", rows)
    data = open_rows([file], tmp_path)
    assert [data[i]["prompt_id"] for i in range(len(data))] == ["test/0", "test/2"]
    assert [(r["row"], r["prompt_id"], r["reason"]) for r in data.bad_rows] == [
        (1, "test/1", "placeholder_mismatch"),
        (3, "test/3", "missing_answer"),
        (4, "test/4", "unknown_problem_type"),
    ]
    assert data.bad_rows[0]["file"] == str(file)
    assert "2 <video> in the messages, 1 paths" in data.bad_rows[0]["detail"]


def test_roots_stay_with_their_rows_when_some_are_left_out(
    modal_rows: dict[str, Any], file_of: Any, tmp_path: Path
) -> None:
    broken = numbered(modal_rows["video"], 0)
    broken["reward_model"]["ground_truth"] = ""
    files = [file_of("a", [broken, numbered(modal_rows["video"], 1)]), file_of("b", [numbered(modal_rows["video"], 2)])]
    data = open_rows(files, tmp_path)
    found = [(data[i]["prompt_id"], data[i]["media_root"]) for i in range(len(data))]
    assert found == [("test/1", str(files[0].parent)), ("test/2", str(files[1].parent))]


def test_the_first_rows_alone(modal_rows: dict[str, Any], file_of: Any, tmp_path: Path) -> None:
    file = file_of("a", [numbered(modal_rows["text"], number) for number in range(4)])
    config = OmegaConf.create({"cache_dir": str(tmp_path), "filter_overlong_prompts": False})
    assert len(AvatarDataset([str(file)], None, config, max_samples=3)) == 3


def test_a_part_is_trained_on_and_everything_is_held_out(
    modal_rows: dict[str, Any], file_of: Any, tmp_path: Path
) -> None:
    rows = [numbered(modal_rows["text"], number) for number in range(4)]
    for row, (kind, family) in zip(
        rows, [("count", "a"), ("region", "a"), ("region", "b"), ("yes_no", "b")], strict=True
    ):
        row["extra_info"].update(problem_type=kind, family=family)
    train, val = file_of("train", rows), file_of("val", rows)

    def ids(file: Path, **options: Any) -> list[str]:
        files = {"train_files": [str(train)], "val_files": str(val)}
        return [row["prompt_id"] for row in open_rows([file], tmp_path, **{**files, **options})]

    where = {"problem_type": ["region", "yes_no"], "family": ["b"]}
    assert ids(train, where=where) == ["test/2", "test/3"]
    assert ids(val, where=where) == [f"test/{number}" for number in range(4)]
    assert ids(train, where={}) == [f"test/{number}" for number in range(4)]
    assert ids(train, where=where, val_files=[str(train)]) == ["test/2", "test/3"], "one file for both: chosen"
