"""What the terminal shows of a run: a live view on a terminal, lines elsewhere."""

from __future__ import annotations

import fcntl
import io
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from avatar_verl.progress import LiveView, Pace, PlainLines, curve, describe, make_view, warnings_of

STEP: dict[str, Any] = {
    "step": 3,
    "avatar/train/reward": 0.5,
    "avatar/train/accuracy": 0.25,
    "avatar/replay/size": 48,
    "avatar/replay/tier/easy": 12,
    "avatar/replay/tier/medium": 16,
    "avatar/replay/tier/hard": 20,
    "perf/throughput": 1014.7,
    "avatar/media/bad_rows/total": 2,
}


def test_a_step_in_one_line() -> None:
    """37 steps left at 2 s each: 74 s."""
    record = {"step": 3, "avatar/train/reward": 0.5, "avatar/val/accuracy": 0.25, "avatar/media/bad_rows/total": 0.0}
    assert describe(record, 40, 2.0) == "step 3/40  reward 0.500  held-out accuracy 0.250  2.0 s/step  ETA 1:14"
    assert describe({"step": 4, "avatar/media/bad_rows/total": 2.0}, 40, None) == "step 4/40  bad rows 2"
    assert describe({"step": 4, "train/loss": 1.5}, 0, 2.0) == "step 4  loss 1.500"  # trained by epochs
    assert describe({"step": 0}, 1830, 4.0).endswith("ETA 2:02:00")


def test_the_pace_forgets_a_slow_first_step() -> None:
    pace = Pace()
    pace.saw(1, 100.0)
    assert pace.seconds is None
    pace.saw(2, 110.0)
    assert pace.seconds == 10.0
    pace.saw(4, 114.0)  # 2 s a step: 0.7 * 10 + 0.3 * 2
    assert pace.seconds == pytest.approx(7.6)


def test_a_curve_spans_its_values() -> None:
    assert curve([0.0, 0.5, 1.0]) == "▁▅█"
    assert curve([2.0, 2.0]) == "▁▁"


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ({"avatar/guard/trips": 1.0}, "guard fired"),
        ({"avatar/parity/correlation": 0.9}, "disagree"),
        ({"avatar/media/bad_rows/total": 1.0}, "bad rows"),
        ({"avatar/train/truncated": 0.5}, "50% of the completions"),
        ({"avatar/groups/fresh": 4.0, "avatar/groups/zero_std": 4.0}, "no group has a signal"),
    ],
)
def test_what_needs_a_look_is_said(record: dict[str, float], said: str) -> None:
    assert said in warnings_of(record)[0]


def test_a_good_step_has_no_warnings() -> None:
    good = {"avatar/parity/correlation": 1.0, "avatar/groups/fresh": 4.0, "avatar/groups/zero_std": 3.0}
    assert warnings_of(good) == []


def screen(view: LiveView) -> str:
    console = Console(file=io.StringIO(), width=100)
    console.print(view._render())
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_the_live_view_shows_step_tiers_throughput_and_warnings() -> None:
    view = LiveView(40, Path("run/log.txt"), Console(file=io.StringIO()))
    assert "starting" in screen(view)
    view.show({**STEP, "step": 2, "avatar/train/reward": 0.0, "avatar/val/accuracy": 0.125})
    view.show(STEP)
    text = screen(view)
    assert "step 3/40" in text
    assert "ETA" in text
    assert re.search(r"^reward +0\.500 +▁█", text, re.MULTILINE)
    assert re.search(r"held-out accuracy +0\.125", text)  # kept from the step that had it
    assert re.search(r"buffer +48 +easy 12 +medium 16 +hard 20", text)
    assert "1,015" in text
    assert "! step 3: 2 bad rows" in text
    for step in range(4, 30):
        view.show({**STEP, "step": step})
    assert len(screen(view).splitlines()) < 16  # old warnings leave


@pytest.mark.parametrize(("height", "last"), [(40, "! step 3: 2 bad rows"), (10, "throughput")])
def test_a_short_terminal_has_the_warnings_on_top(height: int, last: str) -> None:
    view = LiveView(40, Path("run/log.txt"), Console(file=io.StringIO(), width=100, height=height))
    view.show(STEP)
    assert screen(view).splitlines()[-1].startswith(last)


def test_before_the_first_step_the_end_of_the_log_is_shown(tmp_path: Path) -> None:
    view = LiveView(40, tmp_path / "log.txt", Console(file=io.StringIO()))
    assert "starting" in screen(view)  # no log yet
    (tmp_path / "log.txt").write_bytes(b"old\n" * 5000 + b"loading 10 %\rloading [bold]90 %" + b"." * 300 + b"\xff\n\n")
    head, last = screen(view).splitlines()
    assert "starting" in head
    assert last.startswith("loading [bold]90 %...")
    assert len(last) <= 100


def test_without_a_terminal_every_nth_step_and_the_last_are_lines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with make_view(5, 2, tmp_path / "log.txt", Console(file=io.StringIO())) as view:
        assert isinstance(view, PlainLines)
        for step in range(1, 6):
            view.show({"step": step})
    assert [line.split()[1] for line in capsys.readouterr().out.splitlines()] == ["2/5", "4/5", "5/5"]


SCRIPT = """
from pathlib import Path
from avatar_verl.progress import make_view
with make_view(4, 1, Path("log.txt")) as view:
    for step in range(1, 5):
        view.show({"step": step, "avatar/train/reward": step / 4})
    print("a word in between")
"""


RESIZED = """
import fcntl, os, signal, struct, sys, termios, time
from pathlib import Path
from avatar_verl.progress import make_view
with make_view(4, 1, Path("log.txt")) as view:
    view.show({"step": 1, "avatar/train/reward": 0.25})
    time.sleep(0.6)
    fcntl.ioctl(sys.stdout.fileno(), termios.TIOCSWINSZ, struct.pack("HHHH", 20, 60, 0, 0))
    os.kill(os.getpid(), signal.SIGWINCH)
    view.show({"step": 2, "avatar/train/reward": 0.75})
    time.sleep(0.6)
"""


def test_a_terminal_that_changes_its_size_is_drawn_anew() -> None:
    text = terminal_output(RESIZED)
    before, cleared, after = text.rpartition("\x1b[2J")
    assert cleared
    assert "step 1/4" in before
    assert "step 2/4" in after
    assert "step 1/4" not in after


def terminal_output(script: str) -> str:
    """What a script writes onto a terminal."""
    outer, inner = pty.openpty()
    variables = {**os.environ, "TERM": "xterm-256color"}
    variables.pop("COLUMNS", None)
    fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
    process = subprocess.Popen([sys.executable, "-c", script], stdout=inner, env=variables)
    os.close(inner)
    seen = b""
    try:
        while chunk := os.read(outer, 4096):
            seen += chunk
    except OSError:  # the terminal's other end is gone
        pass
    assert process.wait() == 0
    return seen.decode()


def test_a_real_terminal_gets_the_live_view() -> None:
    text = terminal_output(SCRIPT)
    assert "a word in between" in text
    assert "\x1b[" in text  # it moves on the screen
    assert "▁▃▆█" in text
