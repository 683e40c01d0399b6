"""One block of an annotation becomes one run: rows sorted by the seeded hash of their ids, on disk."""

from __future__ import annotations

import gc
import hashlib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa

from avatar_verl.schema import RowError
from data_prep.items import Drop, Item, SourceSettings
from data_prep.options import fold
from data_prep.pipeline.annotation import Block, SourceError
from data_prep.pipeline.contamination import BenchmarkIndex
from data_prep.pipeline.duplicates import HASHED, write_hashes
from data_prep.pipeline.tally import Tally
from data_prep.rows import Leaves, RowSettings, leaves_of, table_of
from data_prep.sources import SOURCES
from data_prep.sources.source import read_items

KEY, ORDINAL = "_key", "_ordinal"  # columns of a run besides the schema's: place in the shuffle, place in the input
_ROW_BITS = 40  # of an ordinal; block number above them
_ALL = float(1 << 64)

Group = tuple[int, str]  # stage and split: rows that end up in the same files


@dataclass(frozen=True, slots=True)
class FilePlan:
    """What a worker must know of one annotation file."""

    source: str  # key of SOURCES
    reader: SourceSettings
    rows: RowSettings
    split: str  # empty: by the share of val
    weight: float
    sound: bool | None


@dataclass(frozen=True, slots=True)
class Plan:
    """What every worker is told once."""

    folder: Path  # for the runs
    seed: int
    val: float
    files: tuple[FilePlan, ...]
    benchmarks: BenchmarkIndex


@dataclass(slots=True)
class BlockResult:
    """What became of a block."""

    file: int
    number: int
    size: int
    tally: Tally = field(default_factory=Tally)
    groups: dict[Group, int] = field(default_factory=dict)  # rows of each group


def convert(block: Block, plan: Plan) -> BlockResult:
    """Write the runs of a block, one for each group, and the hashes of its rows.

    Raises:
        SourceError: the block is no JSON.
        OSError: the folder cannot be written.
    """
    # The collector would walk all rows of the block again and again; none of them is part of a cycle.
    was_on = gc.isenabled()
    gc.disable()
    try:
        return _Conversion(block, plan).run()
    finally:
        if was_on:
            gc.enable()


@dataclass(slots=True)
class _Rows:
    """The rows of a group in one block."""

    rows: list[Leaves] = field(default_factory=list)  # not yet a table
    tables: list[pa.Table] = field(default_factory=list)
    places: list[int] = field(default_factory=list)  # among all rows of the block


class _Conversion:
    """The rows of one block as they come in."""

    def __init__(self, block: Block, plan: Plan) -> None:
        self._block = block
        self._plan = plan
        self._file = plan.files[block.file]
        self._at = block.first  # number of the element that is being read, in its file
        self._splits: defaultdict[str, _Rows] = defaultdict(_Rows)  # all rows of a file are of one stage
        self._benchmarks = plan.benchmarks if plan.benchmarks else None
        self._ids: list[bytes] = []  # 8 bytes of hash for each row, in order
        self._contents: list[bytes] = []
        self.result = BlockResult(block.file, block.number, block.size)

    def run(self) -> BlockResult:
        tally = self.result.tally
        for found in read_items(SOURCES[self._file.source], self._elements(), self._file.reader):
            if isinstance(found, Drop):
                tally.drop(found.reason, self._where(found.id, found.detail))
                continue
            try:
                self._keep(found)
            except RowError as error:
                tally.drop(error.reason, self._where(found.id, error.detail))
        self._write()
        return self.result

    def _where(self, own_id: str, detail: str) -> str:
        return f"{own_id or f'element {self._at}'}: {detail}"

    def _elements(self) -> Iterator[Any]:
        """The elements of the block, counted; a JSON line that is none is dropped here."""
        block, tally = self._block, self.result.tally
        collect = SOURCES[self._file.source].collect
        if block.kind == "elements" and collect is not None:
            collected = list(_collected(block, collect, self._file.reader))
            tally.elements += len(collected)
            yield from collected
            return
        for place, element in enumerate(self._parsed()):
            self._at = block.first + place
            if element is _MALFORMED:
                tally.elements += 1
                tally.drop("malformed_json", f"line {self._at + 1}")
            elif element is not _BLANK:
                tally.elements += 1
                yield element

    def _parsed(self) -> Iterator[Any]:
        block = self._block
        if block.kind == "elements":
            yield from block.payload
            return
        for piece in block.payload:
            if block.kind == "list":
                try:
                    yield from orjson.loads(b"[" + piece + b"]")
                except orjson.JSONDecodeError as error:
                    raise SourceError("broken_json", f"after element {self._at}: {error}") from None
            else:
                yield from map(_parse_line, piece.split(b"\n"))
            self._pack()

    def _keep(self, item: Item) -> None:
        plan, file = self._plan, self._file
        prompt_id = f"{file.rows.source}/{item.id}"
        stage = file.rows.stage
        identity = hashlib.blake2b(f"{plan.seed}/{stage}/{prompt_id}".encode(), digest_size=16).digest()
        if file.weight < 1.0 and int.from_bytes(identity[8:], "little") >= file.weight * _ALL:
            self.result.tally.drop("weight", "")
            return
        if self._benchmarks is not None:
            names = [item.clip] if item.clip else [path for _, path in item.media]
            if hit := self._benchmarks.find(names, item.question, item.options):
                raise RowError(*hit)
        if file.sound is not None:
            item = item._replace(sound=file.sound and not any(kind == "audio" for kind, _ in item.media))
        clip = item.clip or "\x1f".join([path for _, path in item.media])
        split = file.split or ("cold_start" if item.response else self._split(clip))
        row = leaves_of(item, file.rows, split)
        content = "\x1f".join((str(stage), clip, fold(item.question), *item.options, item.problem_type, item.response))
        group = self._splits[split]
        group.rows.append(row)
        group.places.append(len(self._ids))
        self._ids.append(identity[:8])
        self._contents.append(hashlib.blake2b(content.encode("utf-8", "surrogatepass"), digest_size=8).digest())

    def _split(self, clip: str) -> str:
        """By clip, so that no clip is in both."""
        if not self._plan.val:
            return "train"
        text = f"{self._plan.seed}/{clip}"
        number = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        return "val" if int.from_bytes(number, "little") < self._plan.val * _ALL else "train"

    def _pack(self) -> None:
        """Make tables of the rows so far, which takes far less memory."""
        for group in filter(lambda group: group.rows, self._splits.values()):
            try:
                group.tables.append(table_of(group.rows))
            except (pa.ArrowInvalid, pa.ArrowTypeError, UnicodeEncodeError) as error:
                raise SourceError("not_storable", f"before element {self._at}: {error}") from None
            group.rows = []

    def _write(self) -> None:
        self._pack()
        folder, number = self._plan.folder, self._block.number
        ids = _numbers(self._ids)
        ordinals = (np.int64(number) << _ROW_BITS) + np.arange(len(ids), dtype=np.int64)
        for split, found in self._splits.items():
            group, places = (self._file.rows.stage, split), np.array(found.places)
            _write_run(run_path(folder, group, number), pa.concat_tables(found.tables), ids[places], ordinals[places])
            self.result.groups[group] = len(places)
        self.result.tally.rows = len(ids)
        for name, values in zip(HASHED, (ids, _numbers(self._contents)), strict=True):
            write_hashes(folder, name, number, values, ordinals)


def _numbers(digests: list[bytes]) -> npt.NDArray[np.uint64]:
    return np.frombuffer(b"".join(digests), dtype="<u8").astype(np.uint64)


def run_path(folder: Path, group: Group, number: int) -> Path:
    """Where the run of a block lies."""
    return folder / f"stage{group[0]}-{group[1]}" / f"{number:08d}.arrow"


def block_of(ordinals: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Numbers of the blocks that rows come from."""
    return ordinals >> _ROW_BITS


def _write_run(path: Path, table: pa.Table, keys: npt.NDArray[np.uint64], ordinals: npt.NDArray[np.int64]) -> None:
    order = np.lexsort((ordinals, keys))
    table = table.append_column(KEY, pa.array(keys)).append_column(ORDINAL, pa.array(ordinals))
    table = table.combine_chunks().take(pa.array(order)).combine_chunks()
    path.parent.mkdir(exist_ok=True)
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)


_MALFORMED, _BLANK = object(), object()


def _parse_line(line: bytes) -> Any:
    if not line.strip():
        return _BLANK
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError:
        return _MALFORMED


def _collected(block: Block, collect: Any, settings: SourceSettings) -> Iterator[Any]:
    try:
        yield from collect(block.payload, settings)
    except RowError as error:  # the file as a whole is not what the source expects
        raise SourceError(error.reason, error.detail) from None
