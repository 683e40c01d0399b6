"""Repeat every figure that README and docs quote, and every other bench, into a dated folder with a page.

    python bench/run_all.py --list                # what would run
    python bench/run_all.py                       # all of them: hours, because learning takes real runs
    python bench/run_all.py --only decode advantage
    python bench/run_all.py --publish             # and make them the quoted results: bench/results/*.json

Quoted commands are read from the tables themselves, the others from this folder, so that none can be forgotten.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from page import write_result_page
from quoted import ROOT, all_rows
from record import FOLDER_VARIABLE, RESULTS
from rich.console import Console

#: Scripts of this folder that are no bench.
MEASURE_NOTHING = {"run_all", "quoted"}
#: What a script returns when it found nothing to measure on, as bench/gpu.py does without a GPU.
NOTHING_MEASURED = 3


@dataclass(frozen=True)
class Outcome:
    """One command."""

    command: str
    state: str  # measured, missing or failed
    seconds: float
    detail: str  # why it is missing or failed


def commands(only: list[str]) -> list[str]:
    """Each quoted command once, in the order of the documents, then the scripts that nothing quotes."""
    found = dict.fromkeys(row.command for row in all_rows())
    quoted = {Path(shlex.split(command)[1]).stem for command in found}
    for script in sorted((ROOT / "bench").glob("*.py")):
        if script.stem not in quoted | MEASURE_NOTHING and '__name__ == "__main__"' in script.read_text():
            found[f"python bench/{script.name}"] = None
    return [command for command in found if not only or Path(shlex.split(command)[1]).stem in only]


def run(command: str, folder: Path) -> Outcome:
    """Run a command with its results going into ``folder``; its output is kept beside them."""
    words = shlex.split(command)
    log = folder / f"{Path(words[1]).stem}.log"
    began = time.monotonic()
    with log.open("ab") as file:
        done = subprocess.run(
            [sys.executable, *words[1:]],
            cwd=ROOT,
            env={**os.environ, FOLDER_VARIABLE: str(folder)},
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    seconds = time.monotonic() - began
    if done.returncode == 0:
        return Outcome(command, "measured", seconds, "")
    last = (log.read_text(errors="replace").strip().splitlines() or [""])[-1]
    return Outcome(command, "missing" if done.returncode == NOTHING_MEASURED else "failed", seconds, last)


def publish(folder: Path) -> None:
    """Make the results of a folder the quoted ones."""
    for file in [*folder.glob("*.json"), *folder.glob("*.png")]:
        if file.name != "outcomes.json":
            shutil.copyfile(file, RESULTS / file.name)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=[], metavar="SCRIPT", help="names of scripts, without .py")
    parser.add_argument("--list", action="store_true", help="print the commands and stop")
    parser.add_argument("--out", type=Path, help="default: bench/results/<date>")
    parser.add_argument("--publish", action="store_true", help="copy the results to bench/results")
    options = parser.parse_args()
    chosen = commands(options.only)
    if not chosen:
        parser.error(f"no bench has one of the names {', '.join(options.only)}")
    if options.list:
        print("\n".join(chosen))
        return 0
    folder: Path = (options.out or RESULTS / time.strftime("%Y-%m-%d")).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    console, outcomes = Console(), []
    for number, command in enumerate(chosen, start=1):
        with console.status(f"{number} of {len(chosen)}: {command}"):
            outcomes.append(run(command, folder))
        last = outcomes[-1]
        console.print(f"{last.state:9} {last.seconds:7.1f} s  {command}  {last.detail}", markup=False)
    (folder / "outcomes.json").write_text(json.dumps([vars(outcome) for outcome in outcomes], indent=2) + "\n")
    console.print(f"page: {write_result_page(folder)}", markup=False)
    if options.publish:
        publish(folder)
    return int(any(outcome.state == "failed" for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main())
