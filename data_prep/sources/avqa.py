"""AVQA: questions about VGGSound clips; and AVQA-R1-6K, the same kind as pictures with sound in Video-R1's form.

Quirks of AVQA: the answer is the place of a choice; some choices are null or numbers, and are then taken out or
written as text; clips are named ``<YouTube id>_<start>``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from avatar_verl.schema import RowError
from data_prep.answers import canonical_answer, problem_type_of
from data_prep.items import Drop, Item, SourceSettings, id_of, list_of, text_of
from data_prep.options import letter_of_text, option_texts


def read(raw: Mapping[str, Any], settings: SourceSettings) -> Iterator[Item | Drop]:
    """One question of AVQA."""
    choices, index = list_of(raw, "multi_choice"), raw.get("answer")
    if type(index) is not int:
        raise RowError("wrong_type", f"answer {index!r} is no index")
    if not 0 <= index < len(choices) or not _usable(choices[index]):
        raise RowError("answer_not_in_options", f"index {index} of {choices}")
    right = str(choices[index])
    options = option_texts([choice for choice in choices if _usable(choice)])
    name = text_of(raw, "video_name")
    yield Item(
        id=id_of(raw, "id"),
        question=text_of(raw, "question_text"),
        problem_type="multiple_choice",
        answer=letter_of_text(right, options),
        media=(("video", settings.clip_path(raw)),),
        options=options,
        sound=True,
        clip=name,
        family=f"{raw.get('question_relation') or ''}/{raw.get('question_type') or ''}".strip("/"),
    )


def _usable(choice: Any) -> bool:
    return bool(choice.strip()) if type(choice) is str else type(choice) in (int, float)


def read_r1(raw: Mapping[str, Any], settings: SourceSettings) -> Iterator[Item | Drop]:
    """One question of AVQA-R1-6K; ``path`` is ``{"image": ..., "audio": ...}``."""
    paths = raw.get("path")
    if not isinstance(paths, Mapping):
        raise RowError("wrong_type", f"path is {type(paths).__name__}, not a mapping")
    problem_type = problem_type_of(text_of(raw, "problem_type"), settings.problem_types)
    options = option_texts(list_of(raw, "options"))
    media = tuple((kind, settings.path(text_of(paths, kind))) for kind in ("image", "audio"))
    yield Item(
        id=id_of(raw, "problem_id"),
        question=text_of(raw, "problem"),
        problem_type=problem_type,
        answer=canonical_answer(problem_type, text_of(raw, "solution"), options),
        media=media,
        options=options,
        family=str(raw.get("data_source") or ""),
    )
