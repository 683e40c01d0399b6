"""The results page, from bench/results/*.json: every figure with its settings, its machine and its command.

python docs/results.py         # print it as Markdown
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "bench" / "results"
HEAD = """# Results

Each table is one file of `bench/results/`, written by the command under it. What has no table here has not been
measured. "Load" is the number of runnable processes on the machine just before: above the number of cores, times are
those of a machine that does other things too, and only ratios of things measured in turn should be compared.
"""


def page(folder: Path = RESULTS) -> str:
    """All result files as one Markdown page, in the order of their names."""
    parts = [HEAD]
    for path in sorted(folder.glob("*.json")):
        result = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(result, dict) and result.get("rows"):  # files of raw curves have no table
            parts.append(_section(path.stem, result))
        if plot(path.stem, folder):
            parts.append(f"![{path.stem}, as a plot](results/{path.stem}.png)\n")
    return "\n".join(parts)


def plot(stem: str, folder: Path = RESULTS) -> Path | None:
    """The plot beside a result file, if its script draws one."""
    path = folder / f"{stem}.png"
    return path if path.exists() else None


def _section(stem: str, result: dict[str, Any]) -> str:
    machine = result.get("machine", {})
    where = [str(machine[key]) for key in ("gpu", "processor") if machine.get(key)]
    where += [f"{machine['cores']} cores"] if "cores" in machine else []
    where += [f"load {machine['load_before']}"] if "load_before" in machine else []
    settings = "; ".join(f"{name}: {_text(value)}" for name, value in result.get("settings", {}).items())
    columns = [name for name, value in result["rows"][0].items() if not isinstance(value, dict | list)]
    lines = [" | ".join(columns), " | ".join("---" if _is_text(result, c) else "---:" for c in columns)]
    lines += [" | ".join(_text(row.get(column)) for column in columns) for row in result["rows"]]
    return "\n".join(
        [
            f"## {stem.replace('_', ' ')}\n",
            *(f"| {line} |" for line in lines),
            f"\n{str(result.get('when', '')).split('T')[0]}, {', '.join(where)}. {settings}.  ",
            f"`python {_script(stem)}`\n",
        ]
    )


def _script(stem: str) -> str:
    """The script whose name the result's name begins with."""
    scripts = [*(ROOT / "bench").glob("*.py"), ROOT / "tests" / "cluster" / "kill_matrix.py"]
    found = [path for path in scripts if stem.startswith(path.stem)]
    best = max(found, key=lambda path: len(path.stem), default=None)
    return str(best.relative_to(ROOT)) if best else f"bench/ (result {stem})"


def _is_text(result: dict[str, Any], column: str) -> bool:
    return isinstance(result["rows"][0][column], str)


def _text(value: Any) -> str:
    """A value as a cell: four digits are enough, and a target that was never reached is a dash."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return "-"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    if isinstance(value, list):
        return ", ".join(map(_text, value))
    return str(value).replace("|", "\\|")


if __name__ == "__main__":
    print(page())
