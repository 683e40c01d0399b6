"""Rows of the same id or the same content, found without holding all hashes in memory.

Hashes have 64 bits. Among five million rows the chance that two different ones look equal is below one in a million.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

HASHED = ("ids", "contents")
REASONS = {"ids": "duplicate_id", "contents": "duplicate_content"}
RANGE_ROWS = 500_000  # rows compared at a time, 16 bytes each and as much again three times for sorting

_ENTRY = np.dtype([("hash", np.uint64), ("ordinal", np.int64)])
Ordinals = npt.NDArray[np.int64]


def write_hashes(folder: Path, name: str, number: int, hashes: npt.NDArray[np.uint64], ordinals: Ordinals) -> None:
    """Keep the hashes of one block, sorted."""
    entries = np.empty(len(hashes), dtype=_ENTRY)
    order = np.lexsort((ordinals, hashes))
    entries["hash"], entries["ordinal"] = hashes[order], ordinals[order]
    path = folder / name / f"{number:08d}.npy"
    path.parent.mkdir(exist_ok=True)
    np.save(path, entries)


def find_duplicates(folder: Path, name: str, numbers: Sequence[int], range_rows: int = RANGE_ROWS) -> Ordinals:
    """Ordinals, ascending, of all rows whose hash an earlier row has already."""
    files = [folder / name / f"{number:08d}.npy" for number in numbers]
    parts = max(1, -(-sum(len(np.load(file, mmap_mode="r")) for file in files) // range_rows))
    later = []
    for part in range(parts):
        entries = np.concatenate([_EMPTY, *(_in_range(file, part, parts) for file in files)])
        entries = entries[np.lexsort((entries["ordinal"], entries["hash"]))]
        again = np.flatnonzero(entries["hash"][1:] == entries["hash"][:-1]) + 1
        later.append(entries["ordinal"][again])
    return np.sort(np.concatenate(later))


_EMPTY = np.empty(0, dtype=_ENTRY)


def _in_range(file: Path, part: int, parts: int) -> npt.NDArray[Any]:
    """The entries of a run whose hashes are in one of ``parts`` equal ranges, copied: a mapping that stayed open would
    keep its pages, and with all runs open all hashes would be in memory."""
    run = np.load(file, mmap_mode="r")
    low, high = hash_range(part, parts)
    start = int(np.searchsorted(run["hash"], np.uint64(low)))
    end = len(run) if high is None else int(np.searchsorted(run["hash"], np.uint64(high)))
    return np.array(run[start:end])


def hash_range(part: int, parts: int) -> tuple[int, int | None]:
    """The first hash of a range and the first behind it; ``None`` behind the last one."""
    return (part << 64) // parts, ((part + 1) << 64) // parts if part + 1 < parts else None
