"""Options of multiple choice: their letters taken off, found inside a question, matched with an answer."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from typing import Any

from avatar_verl.schema import RowError

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_MARKS = [f"{letter}." for letter in LETTERS]  # the usual form
_MARKED = re.compile(r"\s*\(?([A-Z])\s*(?:\)\.?|[.:、])\s*(.*)", re.DOTALL)
_IN_TEXT = re.compile(r"^[ \t]*(?:\(([A-Z])\)\.?|([A-Z])[.):])[ \t]*(\S.*?)[ \t]*$", re.MULTILINE)
_HEADING = re.compile(r"\n?[ \t]*(?:options|choices)[ \t]*:?[ \t]*\n?$", re.IGNORECASE)


def option_texts(options: Sequence[Any]) -> tuple[str, ...]:
    """Texts without letters: ``A. red``, ``A.red``, ``(A) red`` and ``A: red`` all become ``red``.

    Letters come off only when every option has its own, in order, so that "A. Lincoln" alone stays a name.
    Numbers become text.

    Raises:
        RowError: ``bad_options`` (fewer than two, more than 26, null, empty, not text or a number).
    """
    if not 2 <= len(options) <= len(LETTERS):
        raise RowError("bad_options", f"{len(options)} options")
    texts = [option if type(option) is str else _as_text(option) for option in options]
    if [text[:2] for text in texts] == _MARKS[: len(texts)]:
        texts = [text[2:].strip() for text in texts]
    else:
        first = _MARKED.fullmatch(texts[0])
        marked = [_MARKED.fullmatch(text) for text in texts] if first and first.group(1) == "A" else []
        if marked and [mark and mark.group(1) for mark in marked] == [*LETTERS[: len(texts)]]:
            texts = [mark.group(2).strip() for mark in marked if mark]
        else:
            texts = [text.strip() for text in texts]
    if not all(texts):
        raise RowError("bad_options", f"empty option in {options!r}")
    return tuple(texts)


def _as_text(option: Any) -> str:
    if isinstance(option, int | float) and not isinstance(option, bool):
        return str(option)
    raise RowError("bad_options", f"option {option!r} is {type(option).__name__}")


def split_question(text: str) -> tuple[str, tuple[str, ...]]:
    """A question and the options written below it, one a line; no options when there are none in order.

    >>> split_question("Which?\\nOptions:\\n(A) red\\n(B) blue")
    ('Which?', ('red', 'blue'))
    """
    marks = list(_IN_TEXT.finditer(text))
    letters = [mark.group(1) or mark.group(2) for mark in marks]
    if len(marks) < 2 or letters != list(LETTERS[: len(letters)]):
        return text.strip(), ()
    question = _HEADING.sub("", text[: marks[0].start()].rstrip("\n"))
    return question.strip(), tuple(mark.group(3) for mark in marks)


def letter_of_text(answer: str, options: Sequence[str]) -> str:
    """The letter of the only option with this text, case and outer punctuation aside.

    Raises:
        RowError: ``answer_not_in_options``, or ``ambiguous_options`` when two options read the same.
    """
    wanted = fold(answer)
    hits = [place for place, option in enumerate(options) if fold(option) == wanted]
    if not hits:
        raise RowError("answer_not_in_options", f"{answer!r} is none of {list(options)}")
    if len(hits) > 1:
        raise RowError("ambiguous_options", f"{answer!r} is {len(hits)} of {list(options)}")
    return LETTERS[hits[0]]


@functools.lru_cache(1 << 12)  # a question is compared more than once, and options come again and again
def fold(text: str) -> str:
    """Lower case, single spaces, no punctuation around; for comparing, never for showing."""
    return " ".join(text.casefold().split()).strip(" .,;:!?\"'()[]")
