"""How long the report of a long run takes to write and to open: 500 steps, 5,000 fresh completions of some 200 words.

    python bench/report_page.py

The run is the one that the report's tests make, with longer completions. Opening needs playwright and a Chromium
(``pip install .[browser]``); without them only writing is measured.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from record import machine, report

ROOT = Path(__file__).resolve().parents[1]
STEPS, GROUP, VISITS = 500, 5, 2
TIMES_LONGER = 25


def make_run(folder: Path) -> Path:
    """A run folder as the report's tests write it, each completion and its tokens so many times longer."""
    spec = importlib.util.spec_from_file_location("report_runs", ROOT / "tests" / "unit" / "report" / "conftest.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    run: Path = module.write_run(folder, steps=STEPS, group=GROUP, visits=VISITS)
    _rewrite(run / "samples.jsonl", _longer_text)
    _rewrite(run / "trained.jsonl", _longer_tokens)
    return run


def _rewrite(file: Path, change: Callable[[dict[str, Any]], None]) -> None:
    records = [json.loads(line) for line in file.read_text().splitlines()]
    for record in records:
        change(record)
    file.write_text("".join(json.dumps(record) + "\n" for record in records))


def _longer_text(record: dict[str, Any]) -> None:
    head, tag, tail = record["completion"].partition("</think>")
    record["completion"] = head + " and I hear it again, there" * TIMES_LONGER + tag + tail


def _longer_tokens(record: dict[str, Any]) -> None:
    if "completion" in record:
        _longer_text(record)
    for name in ("tokens", "advantages", "log_probs", "gaps"):
        if name in record:
            record[name] = record[name] * TIMES_LONGER


def write(run: Path) -> tuple[float, float]:
    """Write the page in a process of its own: seconds, and its peak memory in MB."""
    began = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "avatar_verl.report", str(run)], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise RuntimeError(f"the report ended with {os.waitstatus_to_exitcode(status)}")
    return time.perf_counter() - began, usage.ru_maxrss / 1e3


def opened(page_file: Path, rounds: int) -> Iterator[tuple[float, float]]:
    """Seconds until the overview stands, and from there until the first group stands; nothing without a browser."""
    program = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None or importlib.util.find_spec("playwright") is None:
        print("no browser here: opening is not measured", file=sys.stderr)
        return
    from playwright.sync_api import sync_playwright

    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=program, args=["--no-sandbox"])
        for _ in range(rounds):
            page = browser.new_context().new_page()
            began = time.perf_counter()
            page.goto(page_file.as_uri())
            page.wait_for_selector("html[data-ready]")
            shown = time.perf_counter()
            page.evaluate("location.hash = '#completions'")
            page.wait_for_selector("#group .card")
            yield shown - began, time.perf_counter() - shown
            page.context.close()
        browser.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    where = machine()
    with tempfile.TemporaryDirectory() as folder:
        run = make_run(Path(folder) / "run")
        seconds, peaks = zip(*(write(run) for _ in range(rounds)), strict=True)
        size = (run / "report.html").stat().st_size / 1e6
        visits = list(opened(run / "report.html", rounds))
    measured = {"writing, s": seconds, "peak memory of writing, MB": peaks, "size of the page, MB": (size,)}
    if visits:
        measured |= {"opening, s": [v[0] for v in visits], "then to the completions, s": [v[1] for v in visits]}
    rows = [
        {"what": name, "median": statistics.median(values), "lowest": min(values), "highest": max(values)}
        for name, values in measured.items()
    ]
    settings = {"steps": STEPS, "fresh completions": STEPS * GROUP * VISITS, "rounds": rounds}
    report("report_page", settings, where, rows)


if __name__ == "__main__":
    main()
