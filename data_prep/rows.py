"""An item becomes a row of the schema."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain
from typing import Any, NamedTuple

import pyarrow as pa

from avatar_verl.schema import PLACEHOLDERS, RowError, check_row, count_placeholders
from data_prep.items import Item
from data_prep.prompts import user_text
from data_prep.table import arrow_schema

#: Kinds of media of a row -> its label, which groups metrics.
_ABILITIES = {
    (False, False): "text",
    (True, False): "visual",
    (False, True): "audio",
    (True, True): "audio_visual",
}


@dataclass(frozen=True, slots=True)
class RowSettings:
    """What all rows of one source share."""

    source: str
    stage: int
    system: str  # empty: no system message


class Leaves(NamedTuple):
    """What a row holds, without its nesting, in the order of the schema: a table of many is made from plain columns."""

    data_source: str
    roles: list[str]  # of the messages
    contents: list[str]
    images: list[str]  # paths
    videos: list[str]
    audios: list[str]
    ability: str
    style: str
    ground_truth: str
    response: str
    row_number: int  # `index`, filled later
    prompt_id: str
    split: str
    stage: int
    problem_type: str
    question: str
    options: Sequence[str]
    hint: str
    audio_cues: str
    use_audio_in_video: bool
    duration: float
    source: str
    family: str
    difficulty: str


def leaves_of(item: Item, settings: RowSettings, split: str) -> Leaves:
    """What the row of an item holds; ``index`` and ``duration`` are filled later.

    Raises:
        RowError: as :func:`avatar_verl.schema.check_row`; ``placeholder_mismatch`` for messages of the source's own
            whose placeholders do not fit the media.
    """
    media: dict[str, list[str]] = {"image": [], "video": [], "audio": []}
    for kind, path in item.media:
        media[kind].append(path)
    images, videos, audios = media.values()
    roles, contents = _messages(item, settings.system)
    prompt_id = f"{settings.source}/{item.id}"
    check_row(
        contents, (len(images), len(videos), len(audios)), prompt_id, item.problem_type, item.answer, item.options
    )
    return Leaves(
        settings.source,
        roles,
        contents,
        images,
        videos,
        audios,
        _ABILITIES[bool(images or videos), bool(audios or item.sound)],
        "rule",
        item.answer,
        item.response,
        0,
        prompt_id,
        split,
        settings.stage,
        item.problem_type,
        item.question,
        item.options,
        item.hint,
        item.audio_cues,
        item.sound and bool(videos),
        0.0,
        settings.source,
        item.family,
        item.difficulty,
    )


def make_row(item: Item, settings: RowSettings, split: str) -> dict[str, Any]:
    """The row of an item as a file holds it; raises as :func:`leaves_of`."""
    row: dict[str, Any] = table_of([leaves_of(item, settings, split)]).to_pylist()[0]
    return row


def table_of(rows: Sequence[Leaves]) -> pa.Table:
    """The table of at least one row, in less than half the time that Arrow takes for nested rows.

    Raises:
        pa.ArrowInvalid, pa.ArrowTypeError, UnicodeEncodeError: a value that its column cannot hold.
    """
    schema = arrow_schema()
    plain: Iterator[Any] = zip(*rows, strict=True)  # in the order of Leaves, which is the schema's
    return pa.Table.from_arrays([_column(field.type, plain) for field in schema], schema=schema)


def _column(kind: pa.DataType, plain: Iterator[Any]) -> pa.Array:
    """The next column of a type, made of as many plain ones as it has leaves."""
    if pa.types.is_struct(kind):
        return pa.StructArray.from_arrays([_column(field.type, plain) for field in kind], fields=list(kind))
    values = next(plain)
    if not pa.types.is_list(kind):
        return pa.array(values, kind)
    offsets = pa.array([0, *accumulate(map(len, values))], pa.int32())
    inner = kind.value_type
    if not pa.types.is_struct(inner):
        return pa.ListArray.from_arrays(offsets, pa.array(list(chain.from_iterable(values)), inner), type=kind)
    parts = [values, *(next(plain) for _ in range(inner.num_fields - 1))]
    flat = [pa.array(list(chain.from_iterable(part)), field.type) for part, field in zip(parts, inner, strict=True)]
    return pa.ListArray.from_arrays(offsets, pa.StructArray.from_arrays(flat, fields=list(inner)), type=kind)


def _messages(item: Item, system: str) -> tuple[list[str], list[str]]:
    """Roles and contents."""
    if item.messages:
        roles, contents = _own_messages(item)
    else:
        tags = "".join([f"<{kind}>" for kind, _ in item.media])
        roles, contents = ["user"], [tags + user_text(item.question, item.options, item.problem_type)]
    if system and roles[0] != "system":
        return ["system", *roles], [system, *contents]
    return roles, contents


def _own_messages(item: Item) -> tuple[list[str], list[str]]:
    """The source's own wording. Without any placeholder the media come first in the first user turn."""
    roles, contents = [role for role, _ in item.messages], [content for _, content in item.messages]
    counts = count_placeholders(contents)
    wanted = {tag: sum(kind == name for kind, _ in item.media) for tag, (_, name) in PLACEHOLDERS.items()}
    if counts == wanted:
        return roles, contents
    if any(counts.values()):
        raise RowError("placeholder_mismatch", f"placeholders {counts}, media {wanted}")
    if "user" not in roles:
        raise RowError("empty_prompt", "no user message")
    first = roles.index("user")
    contents[first] = "".join(f"<{kind}>" for kind, _ in item.media) + contents[first]
    return roles, contents
