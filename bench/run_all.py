"""Repeat every figure that README and docs quote, and every other bench, into a dated folder with a page.

    python bench/run_all.py --list                # what would run
    python bench/run_all.py                       # all of them: hours, because learning takes real runs
    python bench/run_all.py --only decode advantage
    python bench/run_all.py --publish             # and make them the quoted results: bench/results/*.json
    python bench/run_all.py --quick               # does each bench still run? Small sizes; nothing of it may be quoted

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
from quoted import ROOT, all_rows, is_quick
from record import FOLDER_VARIABLE, QUICK_VARIABLE, RESULTS
from rich.console import Console

#: Scripts of this folder that are no bench.
MEASURE_NOTHING = {"run_all", "quoted"}
#: What makes a bench small, by the beginning of its command (the longest counts). All together take minutes.
QUICK = {
    "decode": "--rounds 1",
    "replay_buffer": "--capacity 1000 --rounds 5 --saves 1",
    "advantage": "--rows 256 --tokens 256 --rounds 3",
    "start": "--rounds 1",
    "learning": "--seeds 1 --steps 4 --every 4",
    "learning --arms": "--arms best grpo8 --seeds 1 --steps 4 --every 4",
    "data validate": "--clips 4 --rounds 1",
    "data build": "--rows 20000",
    "bandit": "--seeds 1 --budget 640 --processes 2",
    "toy": "--arms paper --seeds 1 --steps 5 --every 5",
    "toy --table ablation": "--arms '4+4, TAS' --seeds 1 --steps 5 --every 5",
    "toy --table hints": "--arms 'no hints' --seeds 1 --steps 5 --every 5",
    "fs_grpo": "--arms fs_grpo --steps 4 --cold-start-steps 20",
    "report_page": "--rounds 1",
    "stages": "--seeds 1 --steps 2",
    "gpu": "--rounds 1 --size 3b --rows 4",
}
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


def quick(command: str) -> str:
    """The command at a small size.

    >>> quick("python bench/start.py")
    'python bench/start.py --rounds 1'
    """
    words = shlex.split(command)
    short = " ".join([Path(words[1]).stem, *words[2:]])
    small = max((name for name in QUICK if f"{short} ".startswith(f"{name} ")), key=len, default=None)
    return command if small is None else f"{command} {QUICK[small]}"


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
    """Make the results of a folder the quoted ones.

    Raises:
        ValueError: a result is one of ``--quick``, here or from an earlier call.
    """
    for file in folder.glob("*.json"):
        if is_quick(json.loads(file.read_text())):
            raise ValueError(f"{file} was measured at a small size (--quick): it may not be quoted")
    for file in [*folder.glob("*.json"), *folder.glob("*.png")]:
        if file.name != "outcomes.json":
            shutil.copyfile(file, RESULTS / file.name)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=[], metavar="SCRIPT", help="names of scripts, without .py")
    parser.add_argument("--list", action="store_true", help="print the commands and stop")
    parser.add_argument("--out", type=Path, help="default: bench/results/<date>")
    parser.add_argument("--publish", action="store_true", help="copy the results to bench/results")
    parser.add_argument("--quick", action="store_true", help="each bench at a small size; results may not be quoted")
    options = parser.parse_args()
    if options.quick and options.publish:
        parser.error("results of --quick may not be quoted, so there is nothing to publish")
    chosen = commands(options.only)
    if not chosen:
        parser.error(f"no bench has one of the names {', '.join(options.only)}")
    if options.quick:
        chosen = [quick(command) for command in chosen]
        os.environ[QUICK_VARIABLE] = "1"
    if options.list:
        print("\n".join(chosen))
        return 0
    name = time.strftime("%Y-%m-%d") + ("-quick" if options.quick else "")
    folder: Path = (options.out or RESULTS / name).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    console, outcomes = Console(), []
    for number, command in enumerate(chosen, start=1):
        with console.status(f"{number} of {len(chosen)}: {command}"):
            outcomes.append(run(command, folder))
        last = outcomes[-1]
        console.print(f"{last.state:9} {last.seconds:7.1f} s  {command}  {last.detail}", markup=False)
    (folder / "outcomes.json").write_text(json.dumps([vars(outcome) for outcome in outcomes], indent=2) + "\n")
    console.print(f"{sum(outcome.seconds for outcome in outcomes):,.0f} s in all")
    console.print(f"page: {write_result_page(folder)}", markup=False)
    if options.publish:
        try:
            publish(folder)
        except ValueError as error:
            console.print(str(error), markup=False, soft_wrap=True)
            return 2
    return int(any(outcome.state == "failed" for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main())
