"""Parquet files of the schema, read and rewritten in batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from avatar_verl.schema import COLUMNS, PLACEHOLDERS

BATCH = 1000  # rows in memory at a time

#: Told of work on files: what is being done, how much of it is done, how much there is.
Progress = Callable[[str, int, int], None]


class FileError(ValueError):
    """A path that holds no rows of the schema; the message says why."""


def parquet_files(places: Sequence[Path]) -> list[Path]:
    """Files, and the ``*.parquet`` of folders, without those in folders below.

    Raises:
        FileError: nothing there, no parquet, or columns of the schema are missing.
    """
    files: list[Path] = []
    for place in places:
        found = sorted(place.glob("*.parquet")) if place.is_dir() else [place]
        if not found or not all(file.is_file() for file in found):
            raise FileError(f"{place} is neither a parquet file nor a folder with *.parquet")
        files += [file for file in found if file not in files]
    for file in files:
        try:
            names = pq.read_schema(file).names
        except (OSError, pa.ArrowInvalid) as error:
            raise FileError(f"{file}: {error}") from None
        missing = [column for column in COLUMNS if column not in names]
        if missing:
            raise FileError(f"{file} lacks the columns {', '.join(missing)}; build it with python -m data_prep build")
    return files


def iter_rows(file: Path, columns: Sequence[str] | None = None) -> Iterator[list[dict[str, Any]]]:
    """Rows in batches, as plain containers."""
    for batch in pq.ParquetFile(file).iter_batches(BATCH, columns=columns):
        yield batch.to_pylist()


def count_rows(files: Sequence[Path]) -> int:
    """Rows of all files, from their footers."""
    return sum(pq.ParquetFile(file).metadata.num_rows for file in files)


def media_of(files: Sequence[Path]) -> dict[str, str]:
    """Path -> kind of all media that rows name, in order of first appearance; of two kinds the first."""
    found: dict[str, str] = {}
    for file in files:
        for rows in iter_rows(file, [column for column, _ in PLACEHOLDERS.values()]):
            for row in rows:
                for column, kind in PLACEHOLDERS.values():
                    for item in row[column] or []:
                        if item and isinstance(item[kind], str):
                            found.setdefault(item[kind], kind)
    return found
