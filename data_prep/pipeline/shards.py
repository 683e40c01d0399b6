"""One output file: its range of the shuffle, taken from all runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from avatar_verl.manifest import file_sha256
from data_prep.pipeline.convert import KEY, ORDINAL, Group, run_path
from data_prep.pipeline.duplicates import hash_range
from data_prep.table import arrow_schema

ROW_GROUP = 10_000  # rows that a reader must decompress to get at one
COUNTED = ("source", "problem_type", "family")


@dataclass(frozen=True, slots=True)
class Shard:
    """What to write."""

    runs: Path  # folder of the runs
    numbers: tuple[int, ...]  # blocks that have rows of the group
    group: Group
    part: int  # of ``parts`` equal ranges of the shuffle
    parts: int
    left_out: Path  # .npy of ordinals, ascending, of rows that are duplicates
    target: Path


@dataclass(slots=True)
class ShardResult:
    """What was written."""

    name: str
    rows: int
    sha256: str
    counts: dict[str, dict[str, int]] = field(default_factory=dict)  # field of extra_info -> value -> rows


def write_shard(shard: Shard) -> ShardResult | None:
    """Write the file; ``None`` when its range is empty.

    Raises:
        OSError: e.g. no space left.
    """
    left_out = np.load(shard.left_out, mmap_mode="r")
    table = pa.concat_tables(
        [_piece(run_path(shard.runs, shard.group, number), shard, left_out) for number in shard.numbers]
    )
    if not table.num_rows:
        return None
    order = np.lexsort((table[ORDINAL].to_numpy(), table[KEY].to_numpy()))
    table = _with_index(table.drop_columns([KEY, ORDINAL]).take(pa.array(order)).combine_chunks())
    pq.write_table(table, shard.target, compression="zstd", row_group_size=ROW_GROUP)
    info = table["extra_info"].combine_chunks()
    counts = {name: value_counts(info.field(name)) for name in COUNTED}
    return ShardResult(shard.target.name, table.num_rows, file_sha256(shard.target), counts)


def value_counts(values: pa.Array) -> dict[str, int]:
    """Value -> how often, in the order of the values."""
    pairs = pc.value_counts(values).to_pylist()
    return {pair["values"]: pair["counts"] for pair in sorted(pairs, key=lambda pair: str(pair["values"]))}


def _piece(path: Path, shard: Shard, left_out: npt.NDArray[np.int64]) -> pa.Table:
    """The rows of a run that belong to the range, without duplicates, copied: the run's pages are given back."""
    with pa.memory_map(str(path)) as file:
        run = pa.ipc.open_file(file).read_all()
    keys = run[KEY].to_numpy()
    low, high = hash_range(shard.part, shard.parts)
    start = int(np.searchsorted(keys, np.uint64(low)))
    end = len(keys) if high is None else int(np.searchsorted(keys, np.uint64(high)))
    ordinals = run[ORDINAL].to_numpy()[start:end]
    kept = np.arange(start, end)
    if len(left_out):
        at = np.minimum(np.searchsorted(left_out, ordinals), len(left_out) - 1)
        kept = kept[left_out[at] != ordinals]
    return run.take(pa.array(kept))


def _with_index(table: pa.Table) -> pa.Table:
    """The table with ``extra_info.index`` as the place of each row in its file."""
    schema = arrow_schema()
    info = table["extra_info"].combine_chunks()
    fields: Sequence[Any] = list(schema.field("extra_info").type)
    columns = [
        pa.array(np.arange(table.num_rows, dtype=np.int64)) if field.name == "index" else info.field(field.name)
        for field in fields
    ]
    at = schema.get_field_index("extra_info")
    return table.set_column(at, schema.field(at), pa.StructArray.from_arrays(columns, fields=fields)).cast(schema)
