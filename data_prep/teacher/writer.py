"""Asks for one text per key, keeps the replies, and writes them into the rows."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.parquet as pq

from avatar_verl.chat import ChatError
from avatar_verl.manifest import is_validated, mark_validated, read_manifest, write_manifest
from avatar_verl.media import MediaError
from data_prep.files import FileError, Progress, count_rows, iter_rows, parquet_files
from data_prep.new_folder import new_folder
from data_prep.teacher.endpoint import Endpoint, EndpointSettings
from data_prep.teacher.journal import Journal, Reply

TRIES = 3  # requests for one text that is not usable
FIRST_TEMPERATURE, NEXT_TEMPERATURE = 0.2, 0.8

Messages = list[dict[str, Any]]


class UnusableText(ValueError):
    """A reply that must not be stored. ``reason`` is counted, ``say`` is what the model is told."""

    def __init__(self, reason: str, say: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.say = say


class Task(ABC):
    """What is asked for, and where it goes."""

    column: ClassVar[str]  # field of extra_info
    origin_column: ClassVar[str]  # column of OPTIONAL_COLUMNS
    version: str  # of the prompt

    @abstractmethod
    def key(self, row: dict[str, Any]) -> str | None:
        """What the text belongs to; rows of one key share one request. ``None``: this row needs none."""

    @abstractmethod
    def request(self, row: dict[str, Any]) -> Messages:
        """The messages to send; may raise ``MediaError``."""

    @abstractmethod
    def accept(self, text: str, row: dict[str, Any]) -> str:
        """The text as it is stored; raises :class:`UnusableText`."""


def annotate(
    places: Sequence[Path], out: Path, task: Task, settings: EndpointSettings, journal: Path, progress: Progress
) -> dict[str, Any]:
    """Fill a column of all rows that lack it, into files of the same names in ``out``.

    A row whose text cannot be had keeps an empty one. Files that were validated stay so: nothing that validation looks
    at is changed.

    Returns:
        Counts: rows, rows that have the text now, texts asked for, and reasons of those that could not be had.

    Raises:
        FileError, FolderInUse: as ``validate``.
        EndpointDown: the server cannot be used; what it has answered is kept in ``journal``.
        OSError: e.g. no space left.
    """
    files = parquet_files(places)
    if len({file.name for file in files}) < len(files):
        raise FileError("two files have the same name; annotate them one after the other")
    origin = f"{settings.model}, {task.version}"
    with Journal(journal, origin) as kept:
        asyncio.run(_ask_all(files, task, settings, kept, origin, progress))
        replies = kept.replies
    rows = filled = 0
    with new_folder(out) as (ready, _):
        write_manifest(ready, {"annotated": task.column, "origin": origin, "built": read_manifest(files[0].parent)})
        for file in files:
            count, full = _rewrite(file, ready / file.name, task, replies, origin)
            rows, filled = rows + count, filled + full
            if is_validated(file):
                mark_validated(ready / file.name, _details(file))
    reasons = Counter(reply.reason for reply in replies.values() if reply.reason)
    return {
        "rows": rows,
        "filled": filled,
        "texts": len(replies),
        "reasons": dict(sorted(reasons.items())),
        "origin": origin,
    }


def _details(file: Path) -> dict[str, Any]:
    mark = read_manifest(file.parent)["validated"][file.name]
    return {name: value for name, value in mark.items() if name not in ("sha256", "schema_version")}


async def _ask_all(
    files: list[Path], task: Task, settings: EndpointSettings, journal: Journal, origin: str, progress: Progress
) -> None:
    """Keep as many requests under way as allowed, over all rows in order."""
    total, done = count_rows(files), 0
    under_way: set[asyncio.Task[None]] = set()
    asked: set[str] = set()
    async with Endpoint(settings) as endpoint:
        try:
            for row in _lacking(files, task):
                done += 1
                key = task.key(row)
                if key is None or key in asked or key in journal.replies:
                    continue
                asked.add(key)
                if len(under_way) >= 2 * settings.concurrency:
                    finished, under_way = await asyncio.wait(under_way, return_when=asyncio.FIRST_COMPLETED)
                    for one in finished:
                        one.result()
                    progress("asking", done, total)
                under_way.add(asyncio.create_task(_ask_one(key, row, task, endpoint, journal, origin)))
            await asyncio.gather(*under_way)
            progress("asking", total, total)
        finally:
            for one in under_way:
                one.cancel()
            await asyncio.gather(*under_way, return_exceptions=True)


def _lacking(files: list[Path], task: Task) -> Iterator[dict[str, Any]]:
    for file in files:
        for rows in iter_rows(file):
            yield from (row for row in rows if not row["extra_info"][task.column])


async def _ask_one(
    key: str, row: dict[str, Any], task: Task, endpoint: Endpoint, journal: Journal, origin: str
) -> None:
    try:
        messages = await asyncio.to_thread(task.request, row)  # decoding would stop the other requests
        journal.add(Reply(key, origin, text=await _converse(messages, row, task, endpoint)))
    except (MediaError, ChatError, UnusableText) as error:
        journal.add(Reply(key, origin, reason=error.reason))


async def _converse(messages: Messages, row: dict[str, Any], task: Task, endpoint: Endpoint) -> str:
    """Ask, and tell the model what was wrong, a few times."""
    temperature = FIRST_TEMPERATURE
    for attempt in range(TRIES):
        text = await endpoint.ask(messages, temperature)
        try:
            return task.accept(text, row)
        except UnusableText as error:
            if attempt == TRIES - 1:
                raise
            messages = [*messages, {"role": "assistant", "content": text}, {"role": "user", "content": error.say}]
            temperature = NEXT_TEMPERATURE
    raise AssertionError("unreachable")


def _rewrite(file: Path, target: Path, task: Task, replies: dict[str, Reply], origin: str) -> tuple[int, int]:
    """(rows, rows that have the text now)."""
    schema = pq.read_schema(file)
    if task.origin_column not in schema.names:
        schema = schema.append(pa.field(task.origin_column, pa.string()))
    count = filled = 0
    with pq.ParquetWriter(target, schema, compression="zstd") as writer:
        for rows in iter_rows(file):
            for row in rows:
                row.setdefault(task.origin_column, "")
                reply = replies.get(task.key(row) or "")
                if reply and reply.text and not row["extra_info"][task.column]:
                    row["extra_info"][task.column] = reply.text
                    row[task.origin_column] = origin
                count += 1
                filled += bool(row["extra_info"][task.column])
            writer.write_table(pa.Table.from_pylist(rows, schema=schema))
    return count, filled
