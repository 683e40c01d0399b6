"""Figures that README and docs quote, and whether the result files hold them.

    python bench/quoted.py        # exit 1 and the rows, if a quoted figure is in no result file

A row of a table quotes figures when one of its cells names a script of this folder, as in ``python bench/decode.py``.
The numbers of the cell before it must be in ``bench/results/<script>*.json``, in any unit. A row that says "not
measured" or "not shown" quotes none.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "bench" / "results"

#: From the unit of a result to the quoted one: as it is, per cent, ms and s, bytes and MB or GB, s and min or h.
SCALES = (1.0, 100.0, 1e-3, 1e3, 1e-6, 1e6, 1e-9, 1 / 60, 1 / 3600)

_COMMAND = re.compile(r"`(python bench/(\w+)\.py[^`]*)`")
_NUMBER = re.compile(r"(?<![\w.])\d[\d,]*(?:\.\d+)?")
_NOTHING = re.compile(r"not (measured|shown)", re.IGNORECASE)


@dataclass(frozen=True)
class Quoted:
    """One row of a table."""

    file: str
    command: str
    script: str  # without its ending
    figures: str  # text of the cell; empty when it says that there are none


def quoted_rows(text: str, file: str) -> list[Quoted]:
    """The rows of a Markdown text that quote figures of a script."""
    found = []
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        for place, cell in enumerate(cells):
            match = _COMMAND.search(cell)
            if line.lstrip().startswith("|") and match and place:
                figures = "" if _NOTHING.search(cells[place - 1]) else cells[place - 1]
                found.append(Quoted(file, match[1], match[2], figures))
    return found


def documents() -> Iterator[Path]:
    """Files that may quote."""
    yield ROOT / "README.md"
    yield from sorted((ROOT / "docs").rglob("*.md"))


def all_rows() -> list[Quoted]:
    """The rows of all documents."""
    return [row for path in documents() for row in quoted_rows(path.read_text(), str(path.relative_to(ROOT)))]


def numbers_of(text: str) -> list[str]:
    """Numbers as they are written: ``2.1``, ``1,490``."""
    return _NUMBER.findall(text)


def is_among(written: str, values: Iterable[float]) -> bool:
    """Whether one of the values, in some unit, rounds to a written number.

    Rounded is the last digit that is not a trailing zero of a whole number: "890" stands for 885 to 895.
    """
    number = Decimal(written.replace(",", ""))
    exact = number.as_tuple()
    digits = "".join(map(str, exact.digits))
    zeros = len(digits) - len(digits.rstrip("0")) if exact.exponent == 0 and number else 0
    half = 0.5 * 10.0 ** (int(exact.exponent) + zeros) * (1 + 1e-9)
    return any(abs(value * scale - float(number)) <= half for value in values for scale in SCALES)


def values_of(content: Any) -> Iterator[float]:
    """All numbers of a result file, those inside texts too."""
    if isinstance(content, dict):
        content = list(content.values())
    if isinstance(content, list):
        for item in content:
            yield from values_of(item)
    elif isinstance(content, str):
        yield from (float(number.replace(",", "")) for number in numbers_of(content))
    elif isinstance(content, int | float) and not isinstance(content, bool):
        yield float(content)


def is_quick(result: Any) -> bool:
    """Whether a result was measured at a small size (``run_all.py --quick``), so that it may not be quoted."""
    return isinstance(result, dict) and bool(result.get("quick"))


def missing(row: Quoted, results: Path = RESULTS) -> list[str]:
    """Numbers of a row that no result file of its script holds; one of ``run_all.py --quick`` does not count."""
    if not row.figures:
        return []
    files = sorted(results.glob(f"{row.script}*.json"))
    results_of = [json.loads(file.read_text()) for file in files]
    values = [value for result in results_of if not is_quick(result) for value in values_of(result)]
    return [number for number in numbers_of(row.figures) if not is_among(number, values)]


def main() -> int:
    rows = all_rows()
    wrong = [(row, lost) for row in rows if (lost := missing(row))]
    for row, lost in wrong:
        print(f"{row.file}: {', '.join(lost)} of '{row.figures}' is in no bench/results/{row.script}*.json")
    print(f"{len(rows) - len(wrong)} of {len(rows)} rows agree with their result files")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
