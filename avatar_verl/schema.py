"""The parquet row contract, in one place: builder, trainer and tests read it from here.

A row is one prompt. Media are named by path, relative to the media root of the run; nothing is embedded.

| column | type | meaning |
|---|---|---|
| data_source | str | where the row comes from, e.g. ``toy/beeps`` |
| prompt | list of {role, content} | chat messages; ``<image>``, ``<video>``, ``<audio>`` mark media |
| images, videos, audios | list of {image}, {video}, {audio} | one path per placeholder, in order |
| ability | str | free label, used to group metrics |
| reward_model | {style, ground_truth} | ``style`` is ``rule``; ``ground_truth`` is always text |
| response | str | demonstration for supervised training; empty in rows for reinforcement learning |
| extra_info | struct, see ``EXTRA_INFO`` | everything else |

A literal ``<video>`` inside a question is written ``\\<video>`` (:func:`escape_placeholders`), so that the number of
unescaped placeholders always equals the number of media.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

SCHEMA_VERSION = 1

#: The one vocabulary of problem types. An unknown one is refused when data is built and when a run starts.
PROBLEM_TYPES: dict[str, str] = {
    "multiple_choice": "one letter; ground truth 'B'; options are texts without their letters",
    "multi_label": "a set of letters; ground truth 'A,C'",
    "yes_no": "ground truth 'yes' or 'no'",
    "number": "a number, exact within 1e-3 relative; ground truth '3.5'",
    "regression": "a number, scored densely by its relative error",
    "count": "a whole number; ground truth '3'",
    "ocr": "text read from the picture, scored by 1 - word error rate",
    "free_text": "a sentence, scored by ROUGE",
    "temporal_span": "'start,end' in seconds, scored by intersection over union",
    "region": "'Left: dog | Center: girl', position names and what is there",
    "boxes": "JSON list of {name, box: [x1, y1, x2, y2]}, scored by intersection over union",
    "code": "source text, compared without comments and white space",
}

#: Placeholder in a message -> (column, key of the path inside the column's struct).
PLACEHOLDERS: dict[str, tuple[str, str]] = {
    "<image>": ("images", "image"),
    "<video>": ("videos", "video"),
    "<audio>": ("audios", "audio"),
}

#: Fields of ``extra_info`` and their Arrow types, in file order.
EXTRA_INFO: dict[str, str] = {
    "index": "int64",  # row number in its file, unique there
    "prompt_id": "string",  # stable id from source and the source's own id; key of VCRS, hints and tiers
    "split": "string",  # train, val or cold_start
    "stage": "int32",  # 0 to 3
    "problem_type": "string",  # a key of PROBLEM_TYPES
    "question": "string",  # the question alone, unescaped, without placeholders and options
    "options": "list<string>",  # option texts without letters; empty when there are none
    "hint": "string",  # precomputed strategy; empty when there is none
    "audio_cues": "string",  # what is heard, as text, for the judge; empty when there is none
    "use_audio_in_video": "bool",  # the videos' own sound is interleaved with their frames
    "duration": "double",  # seconds of the longest clip; 0 without media
    "source": "string",  # data set name
    "family": "string",  # question family, groups metrics
    "difficulty": "string",  # easy, medium, hard or empty
}

#: Columns and Arrow types, in file order; ``extra_info`` is a struct of EXTRA_INFO.
COLUMNS: dict[str, str] = {
    "data_source": "string",
    "prompt": "list<struct<role: string, content: string>>",
    "images": "list<struct<image: string>>",
    "videos": "list<struct<video: string>>",
    "audios": "list<struct<audio: string>>",
    "ability": "string",
    "reward_model": "struct<style: string, ground_truth: string>",
    "response": "string",
    "extra_info": "struct",
}

#: Columns that ``data_prep hints`` and ``data_prep cues`` add beside their texts: "<model>, prompt <version>".
OPTIONAL_COLUMNS: dict[str, str] = {"hint_origin": "string", "cues_origin": "string"}

_PLACEHOLDER = re.compile(r"(?<!\\)(<image>|<video>|<audio>)")
_LITERAL = re.compile(r"(?<!\\)<(image|video|audio)>")
_ESCAPED = re.compile(r"\\<(image|video|audio)>")


class RowError(ValueError):
    """A row that breaks the contract. ``reason`` is a short code for counters, ``detail`` says what was found."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


def escape_placeholders(text: str) -> str:
    """Mark every literal placeholder in ``text`` as text, so that it does not stand for media."""
    return _LITERAL.sub(r"\\<\1>", text)


def unescape_placeholders(text: str) -> str:
    """Undo :func:`escape_placeholders`."""
    return _ESCAPED.sub(r"<\1>", text) if "\\<" in text else text


def split_placeholders(content: str) -> list[str]:
    """Cut a message into text pieces and placeholders, in order; text pieces come back unescaped, empty ones dropped.

    >>> split_placeholders("<video>How many?")
    ['<video>', 'How many?']
    """
    pieces = _PLACEHOLDER.split(content)
    return [p if p in PLACEHOLDERS else unescape_placeholders(p) for p in pieces if p]


def strip_placeholders(content: str) -> str:
    """A message as plain text: placeholders taken out, literal ones unescaped."""
    return unescape_placeholders(_PLACEHOLDER.sub("", content))


def count_placeholders(contents: Sequence[str]) -> dict[str, int]:
    """Number of unescaped placeholders in the contents of all messages, by placeholder."""
    text = "\n".join(contents)
    return {tag: found - text.count("\\" + tag) if (found := text.count(tag)) else 0 for tag in PLACEHOLDERS}


def validate_row(row: Mapping[str, Any]) -> None:
    """Check one row against the contract.

    Raises:
        RowError: ``missing_column``; as :func:`check_row`.
    """
    if not row.keys() >= COLUMNS.keys():
        raise RowError("missing_column", ", ".join(name for name in COLUMNS if name not in row))
    messages, info = row["prompt"], row["extra_info"]
    check_row(
        [] if messages is None else [message["content"] for message in messages],
        [0 if row[column] is None else len(row[column]) for column, _ in PLACEHOLDERS.values()],
        info.get("prompt_id"),
        info.get("problem_type"),
        (row["reward_model"] or {}).get("ground_truth"),
        info.get("options"),
    )


def check_row(
    contents: Sequence[str],
    media: Sequence[int],
    prompt_id: str | None,
    problem_type: str | None,
    ground_truth: str | None,
    options: Sequence[str] | None,
) -> None:
    """Check what a row holds, before or after it is nested.

    Args:
        contents: of its messages.
        media: number of paths for each of ``PLACEHOLDERS``, in their order.
        prompt_id, problem_type, ground_truth, options: as in the row.

    Raises:
        RowError: with reason ``empty_prompt``, ``placeholder_mismatch``, ``unknown_problem_type``,
            ``missing_prompt_id``, ``missing_answer`` or ``bad_options``.
    """
    if not any(contents):
        raise RowError("empty_prompt", "the row has no message text")
    for (placeholder, counted), found in zip(count_placeholders(contents).items(), media, strict=True):
        if counted != found:
            raise RowError(
                "placeholder_mismatch",
                f"{counted} {placeholder} in the messages, {found} paths in '{PLACEHOLDERS[placeholder][0]}'; "
                f"write a literal tag in a question as \\{placeholder}",
            )
    if not prompt_id:
        raise RowError("missing_prompt_id", "extra_info.prompt_id is empty")
    if problem_type not in PROBLEM_TYPES:
        raise RowError("unknown_problem_type", f"{problem_type!r}; known: {', '.join(PROBLEM_TYPES)}")
    if not ground_truth:
        raise RowError("missing_answer", "reward_model.ground_truth is empty")
    if problem_type in ("multiple_choice", "multi_label") and (options is None or len(options) < 2):
        raise RowError("bad_options", f"{problem_type} needs at least two options")
