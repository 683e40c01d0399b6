"""The folder of a run: found again when it was cut off, written whole or not at all."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from avatar_verl import run_folder
from avatar_verl.run_folder import (
    RunIsHeldError,
    append_jsonl,
    held,
    keep_lines,
    mark_complete,
    new_run,
    newest_checkpoint,
    prune_checkpoints,
    saved_replay,
    torn,
    unfinished_run,
    whole_lines,
    write_json,
    write_text,
)


def test_latest_points_to_the_newest_run(tmp_path: Path) -> None:
    first, second = new_run(tmp_path, "stage1"), new_run(tmp_path, "stage1")
    assert first != second  # even within one second
    assert (tmp_path / "stage1" / "latest").resolve() == second
    assert sorted(path.name for path in (tmp_path / "stage1").iterdir()) == sorted([first.name, second.name, "latest"])


def test_latest_moves_with_the_folder(tmp_path: Path) -> None:
    new_run(tmp_path / "a", "stage1")
    (tmp_path / "a").rename(tmp_path / "b")
    assert (tmp_path / "b" / "stage1" / "latest").is_dir()


def test_an_unfinished_run_is_found_until_it_finishes(tmp_path: Path) -> None:
    assert unfinished_run(tmp_path, "stage1") is None
    run = new_run(tmp_path, "stage1")
    assert unfinished_run(tmp_path, "stage1") is None  # nothing was started: no configuration yet
    (run / "config.yaml").write_text("a: 1\n")
    assert unfinished_run(tmp_path, "stage1") == run
    assert unfinished_run(tmp_path, "stage2") is None
    write_json(run / "finished.json", {"steps": 1})
    assert unfinished_run(tmp_path, "stage1") is None


def test_only_the_newest_run_counts(tmp_path: Path) -> None:
    old = new_run(tmp_path, "stage1")
    (old / "config.yaml").write_text("a: 1\n")
    new = new_run(tmp_path, "stage1")
    (new / "config.yaml").write_text("a: 1\n")
    write_json(new / "finished.json", {})
    assert unfinished_run(tmp_path, "stage1") is None


def test_the_newest_complete_checkpoint_wins_by_number(tmp_path: Path) -> None:
    assert newest_checkpoint(tmp_path) is None
    for step in (2, 10, 9):
        (tmp_path / f"global_step_{step}").mkdir()
        mark_complete(tmp_path / f"global_step_{step}", {"global_step": step})
    (tmp_path / "global_step_11").mkdir()  # torn: everything but the mark
    (tmp_path / "global_step_x").mkdir()
    mark_complete(tmp_path / "global_step_x", {})
    assert newest_checkpoint(tmp_path) == tmp_path / "global_step_10"


def checkpoint(folder: Path, step: int) -> Path:
    """A whole one of two files, 100 and 7 bytes."""
    path = folder / f"global_step_{step}"
    (path / "actor").mkdir(parents=True)
    (path / "actor" / "model.pt").write_bytes(bytes(100))
    (path / "data.pt").write_bytes(bytes(7))
    mark_complete(path, {"global_step": step})
    return path


def lose_a_file(path: Path) -> None:
    (path / "actor" / "model.pt").unlink()


def cut_a_file(path: Path) -> None:
    (path / "actor" / "model.pt").write_bytes(bytes(99))


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (lambda path: (path / "complete.json").unlink(), "global_step_3 has no complete.json: the run ended while"),
        (lambda path: (path / "complete.json").write_text('{"fil'), "global_step_3/complete.json cannot be read"),
        (lambda path: (path / "complete.json").write_text("[]"), "global_step_3/complete.json cannot be read"),
        (lose_a_file, "global_step_3 lacks actor/model.pt"),
        (cut_a_file, "global_step_3/actor/model.pt has 99 bytes of 100"),
    ],
    ids=["no mark", "torn mark", "strange mark", "lost file", "cut file"],
)
def test_a_torn_checkpoint_is_refused_with_the_reason(harm: Any, reason: str, tmp_path: Path) -> None:
    older, newer = checkpoint(tmp_path, 2), checkpoint(tmp_path, 3)
    assert newest_checkpoint(tmp_path) == newer
    assert torn(newer) == ""
    harm(newer)
    refused: list[str] = []
    assert newest_checkpoint(tmp_path, refused.append) == older
    assert len(refused) == 1
    assert refused[0].startswith(reason)


def test_a_longer_file_is_no_tear(tmp_path: Path) -> None:
    path = checkpoint(tmp_path, 1)
    (path / "data.pt").write_bytes(bytes(8))
    assert torn(path) == ""


def test_pruning_keeps_the_newest_whole_ones(tmp_path: Path) -> None:
    """9 is torn and does not count; 20 is newer than all whole ones and may be under way; the rest is old."""
    for step in (1, 7, 8, 10):
        checkpoint(tmp_path, step)
    lose_a_file(checkpoint(tmp_path, 9))
    (tmp_path / "global_step_20").mkdir()
    prune_checkpoints(tmp_path, keep=2)
    assert {path.name for path in tmp_path.iterdir()} == {"global_step_8", "global_step_10", "global_step_20"}


def test_the_last_whole_one_is_never_pruned(tmp_path: Path) -> None:
    checkpoint(tmp_path, 4)
    for step in (5, 6):
        cut_a_file(checkpoint(tmp_path, step))
    prune_checkpoints(tmp_path, keep=1)
    assert newest_checkpoint(tmp_path) == tmp_path / "global_step_4"
    lose_a_file(tmp_path / "global_step_4")
    prune_checkpoints(tmp_path, keep=1)  # nothing is whole: nothing is removed
    assert (tmp_path / "global_step_4").exists()


def test_a_file_is_replaced_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "state.json"
    write_json(path, {"b": 1, "a": [1, 2]})
    assert json.loads(path.read_text()) == {"a": [1, 2], "b": 1}

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(run_folder.os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        write_json(path, {"new": True})
    assert json.loads(path.read_text()) == {"a": [1, 2], "b": 1}


# ---- one process at a time

HOLD = """
import sys, time
from pathlib import Path
from avatar_verl.run_folder import held
with held(Path(sys.argv[1])):
    print("mine", flush=True)
    time.sleep(60)
"""


def test_a_run_belongs_to_one_process(tmp_path: Path) -> None:
    other = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout is not None
        assert other.stdout.readline() == "mine\n"
        with pytest.raises(RunIsHeldError), held(tmp_path):
            pass
    finally:
        other.kill()
        other.wait()
    with held(tmp_path):  # kill -9 gave it back
        pass


def test_a_run_is_given_back(tmp_path: Path) -> None:
    for _ in range(2):
        with held(tmp_path):
            pass


# ---- lines of JSON


def test_lines_are_appended(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    append_jsonl(path, [])
    assert not path.exists()
    append_jsonl(path, [{"step": 1}, {"step": 2, "text": "line\nbreak"}])
    append_jsonl(path, [{"step": 3}])
    assert [record["step"] for _, record in whole_lines(path)] == [1, 2, 3]
    assert [record.get("text") for _, record in whole_lines(path)][1] == "line\nbreak"


def test_a_torn_line_is_no_record(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"step": 1}\n{"step": 2, "x')
    assert [record for _, record in whole_lines(path)] == [{"step": 1}]
    assert list(whole_lines(tmp_path / "none.jsonl")) == []


def test_lines_that_are_not_wanted_go(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"step": 1}\n{"step": 2}\n{"step": 3}\n{"st')
    keep_lines(path, lambda record: record["step"] != 2)
    assert path.read_text() == '{"step": 1}\n{"step": 3}\n'
    keep_lines(tmp_path / "none.jsonl", lambda _: True)
    assert not (tmp_path / "none.jsonl").exists()


def test_a_replay_state_is_found_by_its_own_folder_or_by_its_run(tmp_path: Path) -> None:
    run = tmp_path / "stage1" / "latest"
    for step in (5, 10, 15):
        state = run / "checkpoints" / f"global_step_{step}" / "avatar"
        state.mkdir(parents=True)
        (state / "manifest.json").write_text("{}")
        if step < 15:  # the newest was cut off
            mark_complete(state.parent, {"global_step": step})
    assert saved_replay(run) == run / "checkpoints" / "global_step_10" / "avatar"
    torn = run / "checkpoints" / "global_step_15" / "avatar"
    assert saved_replay(torn) == torn  # named by itself
    assert saved_replay(tmp_path) is None
    assert saved_replay(tmp_path / "nothing") is None


def test_a_write_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()  # a file cannot take a folder's name: the rename fails as a write does on a full disk
    with pytest.raises(OSError, match="target"):
        write_text(tmp_path / "target", "text")
    assert [path.name for path in tmp_path.iterdir()] == ["target"]
