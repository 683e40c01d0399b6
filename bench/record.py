"""What every bench script shares: timing side by side, a table on the screen, JSON in bench/results/."""

from __future__ import annotations

import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

RESULTS = Path(__file__).parent / "results"
#: Environment variable that sends results elsewhere, as bench/run_all.py does.
FOLDER_VARIABLE = "AVATAR_BENCH_RESULTS"
#: Environment variable that marks results as measured at a small size, as bench/run_all.py --quick does.
QUICK_VARIABLE = "AVATAR_BENCH_QUICK"


def results_folder() -> Path:
    """Where this run's results go."""
    return Path(os.environ.get(FOLDER_VARIABLE) or RESULTS)


def time_side_by_side(calls: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, dict[str, float]]:
    """Time each call once per round, in turn, so that a busy moment of the machine hits all of them.

    Returns:
        Name -> milliseconds after one warm-up round: median and best wall clock, and median processor time of all
        threads together, which other processes hardly disturb.
    """
    wall: dict[str, list[float]] = {name: [] for name in calls}
    processor: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds + 1):
        for name, call in calls.items():
            start, start_processor = time.perf_counter(), time.process_time()
            call()
            processor[name].append((time.process_time() - start_processor) * 1e3)
            wall[name].append((time.perf_counter() - start) * 1e3)
    return {
        name: {
            "median_ms": statistics.median(wall[name][1:]),
            "best_ms": min(wall[name][1:]),
            "processor_ms": statistics.median(processor[name][1:]),
        }
        for name in calls
    }


def machine() -> dict[str, Any]:
    """Where the figures come from: model of the processor, cores of this process, load before the run."""
    model = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        platform.processor(),
    )
    return {
        "processor": model,
        "cores": len(os.sched_getaffinity(0)),
        "load_before": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
    }


def report(name: str, settings: Mapping[str, Any], where: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> None:
    """Print ``rows`` as a table and write everything to ``bench/results/<name>.json``. Rows share their keys."""
    table = Table(title=f"{name}: {json.dumps(dict(settings))}", title_justify="left")
    for column in rows[0]:
        table.add_column(column, justify="left" if isinstance(rows[0][column], str) else "right")
    for row in rows:
        table.add_row(*(f"{value:.2f}" if isinstance(value, float) else str(value) for value in row.values()))
    Console(width=140).print(table)
    folder = results_folder()
    folder.mkdir(parents=True, exist_ok=True)
    when = datetime.now(timezone.utc).isoformat(timespec="seconds")
    marked = {"quick": True} if os.environ.get(QUICK_VARIABLE) else {}
    result = {"name": name, **marked, "when": when, "machine": where, "settings": settings, "rows": rows}
    text = json.dumps(result, indent=2)
    target = folder / f"{name}.json"
    draft = target.with_suffix(".part")
    draft.write_text(text + "\n", encoding="utf-8")
    draft.replace(target)
