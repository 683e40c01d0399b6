"""Ground truth in one canonical form for each problem type, so that it can always be graded.

What is accepted here is read by the graders of ``avatar_verl.rewards``; a test holds the two together.
"""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from avatar_verl.schema import PROBLEM_TYPES, RowError
from data_prep.options import LETTERS, fold, letter_of_text

#: Words of public data sets for our problem types.
ALIASES: dict[str, str] = {
    **{name: name for name in PROBLEM_TYPES},
    "multiple choice": "multiple_choice",
    "multiple-choice": "multiple_choice",
    "mcq": "multiple_choice",
    "emer_ov_mc": "multi_label",
    "judge": "yes_no",
    "numerical": "number",
    "counting": "count",
    "text_recognition": "ocr",
    "free-form": "free_text",
    "free_form": "free_text",
    "descriptive": "free_text",
    "open-ended": "free_text",
}
#: Number words, for answers that are counts.
NUMBER_WORDS = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"),
    *("eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty"),
)
MAX_BOXES = 64
MAX_REGIONS = 32
_WORD = re.compile(r"[^\W_]+")
_BETWEEN_REGIONS = re.compile(r"[|;\n]")
_SAME_PLACE = {"centre": "center", "middle": "center", "centered": "center", "lefthand": "left", "righthand": "right"}
_SMALL = frozenset({"the", "on", "in", "at"})
_NOTHING = ("none", "nothing", "empty", "no one", "n/a")
_ANSWER = re.compile(r"<answer>(.*?)</answer>", re.DOTALL)
_LETTER = re.compile(r"\(?([A-Z])(?:\)|\.|:)?(?:\s+(.*))?", re.DOTALL)
_LENGTHS, _TIMES = "mm|cm|m|km|meters?|metres?|ft|feet", "ms|s|sec|seconds?|min|minutes?|h|hours?"
_UNIT = f"%|percent|{_LENGTHS}|{_TIMES}|g|kg|hz|khz|m/s|km/h|°|degrees"
_NUMBER = re.compile(
    rf"\$?([-+]?)((?:\d{{1,3}}(?:,\d{{3}})+|\d+)(?:\.\d+)?|\.\d+)(e[-+]?\d{{1,2}})?\s*({_UNIT})?\.?", re.IGNORECASE
)
_FRACTION = re.compile(r"-?\d{1,9}/[1-9]\d{0,8}")


def problem_type_of(word: str, mapped: Mapping[str, str] | None = None) -> str:
    """Our problem type for a data set's word, case aside.

    Raises:
        RowError: ``unknown_problem_type``, or ``left_out`` where the user's map says "drop".
    """
    name = (mapped or {}).get(word) or ALIASES.get(word) or ALIASES.get(word.strip().lower())
    if name == "drop":
        raise RowError("left_out", f"problem type {word!r}")
    if name is None or name not in PROBLEM_TYPES:
        raise RowError("unknown_problem_type", f"{word!r}; map it to one of {', '.join(PROBLEM_TYPES)}, or to drop")
    return name


def untagged(text: str) -> str:
    """What stands in the last ``<answer>`` block, or the text itself where there is none."""
    if text.startswith("<answer>") and text.endswith("</answer>") and text.count("<answer>") == 1:
        return text[8:-9].strip()
    blocks = _ANSWER.findall(text)
    return (blocks[-1] if blocks else text).strip()


def canonical_answer(problem_type: str, text: str, options: Sequence[str] = ()) -> str:
    """The ground truth as rows hold it.

    Args:
        problem_type: a key of ``PROBLEM_TYPES``.
        text: the answer, with or without ``<answer>`` tags.
        options: option texts of multiple choice.

    Raises:
        RowError: ``missing_answer``, ``answer_not_in_options``, ``ambiguous_options``, ``bad_answer``.
    """
    bare = untagged(text)
    if not bare:
        raise RowError("missing_answer", repr(text))
    return _CANONICAL[problem_type](bare, options)


def infer_problem_type(answer: str, options: Sequence[str]) -> str:
    """A problem type for sources that name none: by the options and the look of the answer."""
    bare = untagged(answer)
    if options:
        return "multiple_choice"
    if re.fullmatch(r"yes|no", bare, re.IGNORECASE):
        return "yes_no"
    if re.fullmatch(r"\d{1,9}", bare):
        return "count"
    return "number" if _NUMBER.fullmatch(bare) else "free_text"


def _letter(text: str, options: Sequence[str]) -> str:
    if len(text) == 1 and LETTERS.find(text) in range(len(options)):
        return text
    match = _LETTER.fullmatch(text)
    if match is None or (match.group(2) is not None and text[0] != "(" and text[1] not in ".):"):
        return letter_of_text(text, options)  # "A dog"
    letter, words = match.groups()
    if LETTERS.index(letter) >= len(options):
        raise RowError("answer_not_in_options", f"letter {letter} of {len(options)} options")
    if words and fold(words) != fold(options[LETTERS.index(letter)]):
        raise RowError("answer_not_in_options", f"{text!r} is not option {letter} of {list(options)}")
    return letter


def _labels(text: str, options: Sequence[str]) -> str:
    pieces = [piece.strip() for piece in re.split(r"[,;/]", text) if piece.strip()]
    letters = sorted({_letter(piece, options) for piece in pieces})
    if not letters:
        raise RowError("bad_answer", f"no label in {text!r}")
    return ",".join(letters)


def _yes_no(text: str, options: Sequence[str]) -> str:
    del options
    word = text.strip(" .!").lower()
    if word in ("yes", "true", "y"):
        return "yes"
    if word in ("no", "false", "n"):
        return "no"
    raise RowError("bad_answer", f"{text!r} is neither yes nor no")


def _number(text: str, options: Sequence[str]) -> str:
    del options
    match = _NUMBER.fullmatch(text)
    if match:
        sign, digits, exponent, unit = match.groups()
        number = digits.replace(",", "") + (exponent or "")
        if math.isfinite(float(number)) and len(number) <= 40:
            return ("-" if sign == "-" else "") + number + (unit if unit == "%" else f" {unit}" if unit else "")
    if _FRACTION.fullmatch(text):
        return text
    raise RowError("bad_answer", f"{text!r} is no number")


def _count(text: str, options: Sequence[str]) -> str:
    del options
    word = text.lower().rstrip(".")
    if word in NUMBER_WORDS:
        return str(NUMBER_WORDS.index(word))
    if re.fullmatch(r"\d{1,9}(\.0+)?", word):
        return str(int(float(word)))
    raise RowError("bad_answer", f"{text!r} is no count")


def _span(text: str, options: Sequence[str]) -> str:
    del options
    pieces = re.fullmatch(r"\[?\s*(\d{1,6}(?:\.\d+)?)\s*(?:,|-|to)\s*(\d{1,6}(?:\.\d+)?)\s*\]?", text)
    if pieces is None:
        raise RowError("bad_answer", f"{text!r} is no span 'start,end' in seconds")
    return span(float(pieces.group(1)), float(pieces.group(2)))


def span(start: float, end: float) -> str:
    """``start,end`` in seconds to the hundredth.

    Raises:
        RowError: ``bad_span`` unless 0 <= start < end.
    """
    if not (math.isfinite(start) and math.isfinite(end) and 0.0 <= start < end):
        raise RowError("bad_span", f"{start} to {end}")
    return ",".join(f"{second:.2f}".rstrip("0").rstrip(".") for second in (start, end))


def _region(text: str, options: Sequence[str]) -> str:
    del options
    pieces = [
        piece.partition(":") for piece in _BETWEEN_REGIONS.split(unicodedata.normalize("NFKC", text)) if piece.strip()
    ]
    places = [_place(place) for place, _, _ in pieces]
    things = [thing.strip() for _, _, thing in pieces]
    if not 0 < len(pieces) <= MAX_REGIONS or not all(places) or not all(map(_is_named, things)):
        raise RowError("bad_answer", f"{text!r} is not 'place: thing | place: thing'")
    if len(set(places)) < len(places):
        raise RowError("bad_answer", f"{text!r} names a place twice")
    return " | ".join(f"{place.strip()}: {thing}" for (place, _, _), thing in zip(pieces, things, strict=True))


def _place(text: str) -> str:
    """The words of a place's name that count; empty when it has none, or too many to be a name."""
    words = _WORD.findall(text.casefold())
    return " ".join([_SAME_PLACE.get(w, w) for w in words if w not in _SMALL]) if len(words) <= 4 else ""


def _is_named(thing: str) -> bool:
    return bool(_WORD.search(thing)) and thing.casefold().strip(" .,") not in _NOTHING


def _boxes(text: str, options: Sequence[str]) -> str:
    del options
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise RowError("bad_answer", f"{text[:80]!r} is no JSON list of boxes") from None
    return boxes(found if isinstance(found, list) else [found])


def boxes(found: Sequence[Any]) -> str:
    """JSON of named boxes; AV-Reasoner's ``coordinates`` [[x1, y1], [x2, y2]] is understood.

    Raises:
        RowError: ``bad_answer`` for no boxes, too many, no name, or corners out of order.
    """
    if not 0 < len(found) <= MAX_BOXES:
        raise RowError("bad_answer", f"{len(found)} boxes")
    return json.dumps([_box(item) for item in found], ensure_ascii=False)


def _box(item: Any) -> dict[str, Any]:
    if not isinstance(item, dict) or not isinstance(item.get("name"), str) or not item["name"].strip():
        raise RowError("bad_answer", f"box without a name: {item!r}")
    corners = item.get("box")
    if corners is None and isinstance(item.get("coordinates"), list):
        corners = [number for point in item["coordinates"] if isinstance(point, list) for number in point]
    if not isinstance(corners, list) or len(corners) != 4:
        raise RowError("bad_answer", f"box without four corners: {item!r}")
    if not all(isinstance(c, int | float) and not isinstance(c, bool) and abs(c) < 1e9 for c in corners):
        raise RowError("bad_answer", f"corners of {item!r}")
    if not (corners[0] < corners[2] and corners[1] < corners[3]):
        raise RowError("bad_answer", f"corners out of order: {item!r}")
    return {"name": item["name"].strip(), "box": corners}


def _text(text: str, options: Sequence[str]) -> str:
    del options
    if not any(character.isalnum() for character in text):
        raise RowError("bad_answer", f"{text!r} has neither a letter nor a digit")
    return text


_CANONICAL: dict[str, Callable[[str, Sequence[str]], str]] = {
    "multiple_choice": _letter,
    "multi_label": _labels,
    "yes_no": _yes_no,
    "number": _number,
    "regression": _number,
    "count": _count,
    "ocr": _text,
    "free_text": _text,
    "temporal_span": _span,
    "region": _region,
    "boxes": _boxes,
    "code": _text,
}
