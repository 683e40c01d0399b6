"""Annotation files as blocks of elements, read in order, with their checksums."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

import orjson
import pyarrow.parquet as pq

from avatar_verl.manifest import file_sha256
from data_prep.pipeline.json_list import BrokenList, list_pieces
from data_prep.sources import Source

BLOCK = 8 << 20  # bytes of JSON in a block, about
PIECE = 128 << 10  # bytes of JSON that are rows at a time: what fits the processor's cache is twice as fast
TABLE_ROWS = 2_000  # most rows of a Parquet, CSV or Hugging Face table in a block
MEDIA_ROWS = 64  # the same for a Hugging Face table that holds media
MAX_WHOLE = 1 << 30  # bytes of a file that must be read as a whole


class SourceError(ValueError):
    """An annotation file that cannot be read on; the user has to act. ``reason`` is a short code."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason, detail)  # plain args: the error crosses process borders unharmed
        self.reason = reason
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}"


@dataclass(frozen=True, slots=True)
class Block:
    """Some elements of one annotation."""

    file: int  # number of the annotation in the build
    number: int  # of the block in the build; blocks are numbered in the order of the recipe
    first: int  # number of the first element in its file, from 0
    kind: Literal["list", "lines", "elements"]
    payload: list[Any]  # pieces of a JSON list without brackets, pieces of JSON lines, or elements
    size: int  # bytes read for it


Payload = tuple[Literal["list", "lines", "elements"], list[Any], int, int]  # kind, payload, elements, bytes


class Annotation:
    """One annotation: a local file or a Hugging Face data set. ``checksum`` stands once all payloads are read."""

    def __init__(self, place: Path | str, source: Source) -> None:
        self.place = place
        self.source = source
        self.checksum = ""

    @property
    def size(self) -> int:
        """Bytes of the file; 0 for a Hugging Face data set."""
        return self.place.stat().st_size if isinstance(self.place, Path) else 0

    def payloads(self) -> Iterator[Payload]:
        """All of it, in order.

        Raises:
            SourceError: ``broken_json`` (a list that ends early or goes wrong), ``broken_table``, ``bad_encoding``,
                ``too_large`` (a file that must be read as a whole), ``not_loadable`` (Hugging Face).
        """
        if isinstance(self.place, str):
            yield from self._hugging_face(self.place)
            return
        if self.place.suffix == ".parquet":
            yield from self._parquet(self.place)
            return
        if self.source.layout == "lines":
            yield from self._whole(self.place, lambda text: text.decode("utf-8-sig").splitlines())
        elif self.source.collect is not None:
            yield from self._whole(self.place, lambda text: [orjson.loads(text)])
        elif self.source.layout == "table":
            yield from self._whole(self.place, _csv_rows)
        else:
            yield from self._json(self.place)

    def _json(self, path: Path) -> Iterator[Payload]:
        with path.open("rb") as raw:
            start = raw.read(4096).removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
            raw.seek(0)
            file = _Hashing(raw)
            if start == b"[":
                try:
                    yield from _blocks("list", list_pieces(file, PIECE))
                except BrokenList as error:
                    raise SourceError("broken_json", f"{path.name}: {error}") from None
            else:
                yield from _blocks("lines", _line_pieces(file))
            while file.read(BLOCK):  # what a reader leaves unread belongs to the checksum too
                pass
        self.checksum = file.sha256.hexdigest()

    def _parquet(self, path: Path) -> Iterator[Payload]:
        self.checksum = file_sha256(path)
        try:
            table = pq.ParquetFile(path)
            total = max(1, table.metadata.num_rows)
            groups = (table.metadata.row_group(number) for number in range(table.metadata.num_row_groups))
            row_bytes = sum(group.total_byte_size for group in groups) // total
            for batch in table.iter_batches(max(1, min(TABLE_ROWS, 4 * BLOCK // max(1, row_bytes)))):
                yield "elements", batch.to_pylist(), batch.num_rows, self.size * batch.num_rows // total
        except (OSError, ValueError) as error:  # what pyarrow raises for a broken file
            raise SourceError("broken_table", f"{path.name}: {error}") from None

    def _whole(self, path: Path, parse: Callable[[bytes], list[Any]]) -> Iterator[Payload]:
        """A file whose elements depend on each other, or that is no sequence: one block, or one per rows of a table."""
        if self.size > MAX_WHOLE:
            raise SourceError("too_large", f"{path.name}: {self.size} bytes, the reader takes {MAX_WHOLE}")
        text = path.read_bytes()
        self.checksum = hashlib.sha256(text).hexdigest()
        try:
            elements = parse(text)
        except UnicodeDecodeError as error:
            raise SourceError("bad_encoding", f"{path.name}: {error}") from None
        except (orjson.JSONDecodeError, csv.Error) as error:
            raise SourceError(
                "broken_json" if path.suffix == ".json" else "broken_table", f"{path.name}: {error}"
            ) from None
        rows = TABLE_ROWS if self.source.layout == "table" else max(1, len(elements))
        for start in range(0, len(elements), rows):
            part = elements[start : start + rows]
            yield "elements", part, len(part), len(text) * len(part) // len(elements)

    def _hugging_face(self, place: str) -> Iterator[Payload]:
        """``hf:name``, ``hf:name:config``, with ``@split``; media stay encoded."""
        import datasets

        name, _, split = place.partition("@")
        name, _, config = name.partition(":")
        try:
            found = datasets.load_dataset(name, config or None, split=split or "train", streaming=True)
            rows_at_once = TABLE_ROWS
            for column, feature in (found.features or {}).items():
                if isinstance(feature, datasets.Image | datasets.Audio):
                    found = found.cast_column(column, type(feature)(decode=False))
                    rows_at_once = MEDIA_ROWS
            for batch in found.iter(rows_at_once):
                columns = list(batch)
                rows = [dict(zip(columns, values, strict=True)) for values in zip(*batch.values(), strict=True)]
                yield "elements", rows, len(rows), 0
        except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
            raise SourceError("not_loadable", f"hf:{place}: {error}") from None
        self.checksum = str(found.info.dataset_name or name)


def _csv_rows(text: bytes) -> list[Any]:
    return list(csv.DictReader(io.StringIO(text.decode("utf-8-sig"))))


def _blocks(kind: Literal["list", "lines"], pieces: Iterable[tuple[bytes, int]]) -> Iterator[Payload]:
    """Pieces, gathered until they make a block."""
    gathered: list[bytes] = []
    size = elements = 0
    for piece, count in pieces:
        gathered.append(piece)
        size, elements = size + len(piece), elements + count
        if size >= BLOCK:
            yield kind, gathered, elements, size
            gathered, size, elements = [], 0, 0
    if gathered:
        yield kind, gathered, elements, size


def _line_pieces(file: _Hashing) -> Iterator[tuple[bytes, int]]:
    """Pieces of whole lines, without the last line's end, and how many lines they are."""
    rest = b""
    while more := file.read(PIECE):
        cut = more.rfind(b"\n")
        if cut < 0:
            rest += more
            continue
        piece = rest + more[:cut]
        yield piece, piece.count(b"\n") + 1
        rest = more[cut + 1 :]
    if rest:
        yield rest, 1


class _Hashing:
    """A file that takes the checksum of what is read from it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.sha256 = hashlib.sha256()

    def read(self, size: int = -1, /) -> bytes:
        data = self._file.read(size)
        self.sha256.update(data)
        return data
