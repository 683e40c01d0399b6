"""How a run goes, on the terminal: one live view where there is a terminal, a line a step where there is none."""

from __future__ import annotations

import signal
import time
from collections import deque
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

#: Steps that the small curves cover, and warnings that stay in view.
CURVE_STEPS, WARNINGS = 40, 5
#: A terminal of fewer lines may not hold all of the view.
SHORT = 18

_TAIL_BYTES = 4096  # of the log, for its last line

_BLOCKS = "▁▂▃▄▅▆▇█"

#: What a line about a step names, and under which key it is found.
_SHOWN = {
    "reward": "avatar/train/reward",
    "accuracy": "avatar/train/accuracy",
    "held-out accuracy": "avatar/val/accuracy",
    "tokens": "avatar/train/num_tokens",
    "loss": "train/loss",
    "parity": "avatar/parity/correlation",
}

Record = dict[str, Any]


class Pace:
    """Seconds a step takes, as a moving average that forgets slow first steps."""

    def __init__(self) -> None:
        self.seconds: float | None = None
        self._last: tuple[float, float] | None = None

    def saw(self, step: float, now: float) -> None:
        """A step ended at ``now`` (seconds of a clock that never goes back)."""
        if self._last is not None and step > self._last[1]:
            latest = (now - self._last[0]) / (step - self._last[1])
            self.seconds = latest if self.seconds is None else 0.7 * self.seconds + 0.3 * latest
        self._last = (now, step)


def describe(record: Record, total: int, seconds_per_step: float | None) -> str:
    """One line about one step.

    >>> describe({"step": 3, "avatar/train/reward": 0.5}, 40, 2.0)
    'step 3/40  reward 0.500  2.0 s/step  ETA 1:14'
    """
    # Without a total the run is a number of epochs; only the driver knows how many steps that is.
    parts = [f"step {int(record['step'])}/{total}" if total else f"step {int(record['step'])}"]
    parts += [f"{name} {record[key]:.3f}" for name, key in _SHOWN.items() if key in record]
    bad = record.get("avatar/media/bad_rows/total", 0)
    if bad:
        parts.append(f"bad rows {bad:.0f}")
    if seconds_per_step is not None and total:
        parts += [f"{seconds_per_step:.1f} s/step", f"ETA {_clock(seconds_per_step * (total - record['step']))}"]
    return "  ".join(parts)


def _clock(seconds: float) -> str:
    whole = int(seconds)
    hours, minutes = whole // 3600, whole // 60 % 60
    return f"{hours}:{minutes:02d}:{whole % 60:02d}" if hours else f"{minutes}:{whole % 60:02d}"


def warnings_of(record: Record) -> list[str]:
    """What of a step a user should look at; empty for a step that went well."""
    found = []
    if record.get("avatar/guard/trips"):
        found.append(f"a guard fired {record['avatar/guard/trips']:.0f} times")
    if record.get("avatar/parity/correlation", 1.0) < 0.999:
        found.append(f"rollout and trainer disagree: correlation {record['avatar/parity/correlation']:.5f}")
    if record.get("avatar/media/bad_rows/total"):
        found.append(f"{record['avatar/media/bad_rows/total']:.0f} bad rows, see bad_rows.jsonl")
    if record.get("avatar/train/truncated", 0.0) > 0.2:
        found.append(f"{record['avatar/train/truncated']:.0%} of the completions hit the length limit")
    groups = record.get("avatar/groups/fresh", 0.0)
    if groups and record.get("avatar/groups/zero_std", 0.0) == groups:
        found.append("no group has a signal: all its rewards are equal")
    return found


class View(Protocol):
    """What the supervisor tells how a run goes."""

    def __enter__(self) -> View: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def show(self, record: Record) -> None:
        """A step ended."""


def make_view(total: int, every: int, log: Path, console: Console | None = None) -> View:
    """The view that fits standard output.

    Args:
        total: steps of the whole run.
        every: steps between two plain lines; a live view shows each.
        log: where the driver's own output goes.
    """
    console = console or Console()
    if console.is_terminal and not console.is_dumb_terminal:
        return LiveView(total, log, console)
    return PlainLines(total, every)


class PlainLines:
    """A line for each ``every`` steps and for the last one."""

    def __init__(self, total: int, every: int) -> None:
        self._total, self._every, self._pace = total, every, Pace()

    def __enter__(self) -> PlainLines:
        return self

    def __exit__(self, *_: object) -> None: ...

    def show(self, record: Record) -> None:
        """Print it, if its turn has come."""
        self._pace.saw(record["step"], time.monotonic())
        if record["step"] % self._every == 0 or record["step"] == self._total:
            print(describe(record, self._total, self._pace.seconds), flush=True)


class LiveView:
    """Step, ETA, reward, accuracy, tiers, throughput and warnings in a few lines that stay in place."""

    def __init__(self, total: int, log: Path, console: Console) -> None:
        self._total, self._log, self._console, self._pace = total, log, console, Pace()
        self._latest: Record = {}
        self._curves: dict[str, deque[float]] = {}
        self._warnings: deque[str] = deque(maxlen=WARNINGS)
        self._began = self._moved = time.monotonic()
        self._live = Live(console=console, get_renderable=self._render, refresh_per_second=2)

    def __enter__(self) -> LiveView:
        self._live.start()
        self._before = signal.signal(signal.SIGWINCH, self._resized)
        return self

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGWINCH, self._before)
        self._live.stop()

    def _resized(self, *_: object) -> None:
        """Draw anew on an empty screen: the terminal has broken the old lines, and nobody knows where they are now."""
        self._live.stop()
        self._console.clear()
        self._live.vertical_overflow = "ellipsis"  # stop() shows all of it for good
        self._live.start()

    def show(self, record: Record) -> None:
        """Take over the numbers of a step; a number that it lacks (held-out accuracy) keeps its last value."""
        self._moved = time.monotonic()
        self._pace.saw(record["step"], self._moved)
        self._latest.update(record)
        for key in _SHOWN.values():
            if key in record:
                self._curves.setdefault(key, deque(maxlen=CURVE_STEPS)).append(record[key])
        self._warnings.extend(f"step {record['step']:.0f}: {text}" for text in warnings_of(record))

    def _render(self) -> RenderableType:
        if not self._latest:
            head = Text(f"starting, {_clock(time.monotonic() - self._began)} so far; log: {self._log}")
            return Group(head, Text(last_line(self._log), style="dim", no_wrap=True, overflow="ellipsis"))
        # A bar alone has no end of line; padded by nothing it gets one.
        bar = Padding(ProgressBar(total=self._total or None, completed=self._latest["step"]), 0)
        warnings = [Text(f"! {text}", style="yellow") for text in self._warnings]
        if self._console.height < SHORT:  # the end of what does not fit is cut off
            return Group(self._head(), bar, *warnings[-2:], self._table())
        return Group(self._head(), bar, self._table(), *warnings)

    def _head(self) -> Text:
        head = Text(f"step {self._latest['step']:.0f}" + (f"/{self._total}" if self._total else ""), style="bold")
        now = time.monotonic()
        if self._pace.seconds is not None and self._total:
            left = self._pace.seconds * (self._total - self._latest["step"]) - (now - self._moved)
            head.append(f"  {self._pace.seconds:.1f} s/step  ETA {_clock(max(0.0, left))}", style="not bold")
        return head.append(f"  last step {_clock(now - self._moved)} ago  log: {self._log}", style="not bold dim")

    def _table(self) -> Table:
        table = Table.grid(padding=(0, 2))
        for name, key in _SHOWN.items():
            if key in self._curves:
                values = self._curves[key]
                table.add_row(name, f"{values[-1]:.3f}", Text(curve(list(values)), style="cyan"))
        tiers = [f"{tier} {self._number(f'avatar/replay/tier/{tier}')}" for tier in ("easy", "medium", "hard")]
        if "avatar/replay/size" in self._latest:
            table.add_row("buffer", self._number("avatar/replay/size"), "  ".join(tiers))
        if "perf/throughput" in self._latest:
            table.add_row("throughput", f"{self._latest['perf/throughput']:,.0f}", "tokens a second, prompts included")
        return table

    def _number(self, key: str) -> str:
        return f"{self._latest.get(key, 0):,.0f}"


def last_line(log: Path) -> str:
    """The last line with something in it, of a file that another process writes; empty: there is none yet."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - _TAIL_BYTES))
            lines = file.read().decode(errors="replace").replace("\r", "\n").splitlines()
    except OSError:
        return ""
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


def curve(values: list[float]) -> str:
    """A row of blocks, the lowest value the lowest block.

    >>> curve([0.0, 0.5, 1.0])
    '▁▅█'
    """
    low, high = min(values), max(values)
    if high == low:
        return _BLOCKS[0] * len(values)
    return "".join(_BLOCKS[round((value - low) / (high - low) * (len(_BLOCKS) - 1))] for value in values)
