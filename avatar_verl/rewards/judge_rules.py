"""A judge without a model: the stand-in where no endpoint is configured. It compares words; it does not understand.

It lets stage 3 run on any machine and rewards the right direction on the toy world: reasoning that names the described
sounds, leads to its conclusion, and an answer that says what was concluded. Like the paper's judge it never sees the
ground truth: a wrong answer that follows from its reasoning earns as much as a right one. Reports mark its values with
``rule_based``.
"""

from __future__ import annotations

import re

from avatar_verl.config import AccuracyReward
from avatar_verl.rewards.choices import read_letter
from avatar_verl.rewards.grader import Unreadable, fold
from avatar_verl.rewards.parse import ParsedCompletion
from avatar_verl.rewards.places import compare_regions, read_regions
from avatar_verl.rewards.verifiable import normalised_answer
from avatar_verl.types import Sample

_WORD = re.compile(r"[^\W_]+")
_SENTENCE_END = re.compile(r"[.!?]\s|\n")
_SO = re.compile(r"\b(?:so|therefore|thus|hence)\b", re.IGNORECASE)
_PLACE = re.compile(r"(?<![^\W_])([^\W_]+) ?: ?")  # "Left: "
_CLAIM_END = re.compile(r"[|;.]")
_ASKS_FOR_ALL = re.compile(r"\b(?:each|every|all)\b")
_MAX_CHARS = 8_000  # of reasoning, cues and answer each; what lies beyond is not looked at
_MAY_REPEAT = 0.2  # of the runs of three words
_COMMON = frozenset(
    {"a", "an", "the", "and", "or", "of", "in", "on", "at", "to", "is", "are", "it", "with", "then", "there", "this"}
)


def rule_based_score(sample: Sample, parsed: ParsedCompletion) -> float:
    """In [0, 1]: novelty x mean(cue use, consistency, agreement).

    * cue use: share of the content words of the audio cues that the reasoning names; left out without cues;
    * consistency: how much of the conclusion, right or wrong, stands in the reasoning before it;
    * agreement: how much of the answer is what the reasoning concludes;
    * novelty: distinct runs of three words over all of them, so that repetition and word lists padded out earn less. A
      fifth may repeat, as a conclusion repeats what it is drawn from.

    The conclusion is what follows the last "so" (or the like), else the last sentence. Where things are ("Left: red |
    Right: blue"), consistency and agreement go place by place, see :func:`_follows`; elsewhere the words of the answer
    stand for the conclusion. An answer that is none of its problem type, "unknown" for a place, agrees with nothing.
    """
    think = parsed.think[:_MAX_CHARS]
    thought = _words(think)
    if not thought:
        return 0.0
    shares = []
    if cues := _content_words(sample.audio_cues[:_MAX_CHARS]):
        shares.append(len(cues & set(thought)) / len(cues))
    before, conclusion = _split(think)
    answer = _answer_text(sample, parsed)
    if sample.problem_type == "region" and (concluded := _places(conclusion)):
        agreement, _ = compare_regions(_places(answer), concluded, AccuracyReward())
        shares += [_follows(conclusion, before, bool(_ASKS_FOR_ALL.search(fold(sample.question)))), agreement]
    else:
        shares += [_named(answer, before), _in_order(answer, conclusion)]
    runs = _runs(thought, 3)
    novelty = min(1.0, len(set(runs)) / len(runs) / (1 - _MAY_REPEAT))
    return novelty * sum(shares) / len(shares)


def _words(text: str) -> list[str]:
    return _WORD.findall(fold(text))


def _content_words(text: str) -> set[str]:
    return set(_words(text)) - _COMMON


def _runs(words: list[str], length: int) -> list[tuple[str, ...]]:
    """Runs of so many neighbouring words; all words as one run where there are fewer."""
    return [tuple(words[i : i + length]) for i in range(max(1, len(words) - length + 1))]


def _split(think: str) -> tuple[str, str]:
    """The reasoning before its conclusion, and the conclusion."""
    marks = [match.end() for match in _SO.finditer(think) if _WORD.search(think, match.end())]
    marks = marks or [match.end() for match in _SENTENCE_END.finditer(think) if _WORD.search(think, match.end())]
    at = marks[-1] if marks else 0
    return think[:at], think[at:]


def _answer_text(sample: Sample, parsed: ParsedCompletion) -> str:
    """The answer in words, the text of the option where a letter is given; "" for none of its problem type."""
    if normalised_answer(sample, parsed, _MAX_CHARS) is None:
        return ""
    answer = parsed.answer or ""
    letter = read_letter(answer, sample.options)
    if isinstance(letter, str) and ord(letter) - ord("A") < len(sample.options):
        return sample.options[ord(letter) - ord("A")]
    return answer


def _named(answer: str, before: str) -> float:
    """Share of the answer's content words that the reasoning names."""
    wanted = _content_words(answer)
    return len(wanted & set(_words(before))) / len(wanted) if wanted else 0.0


def _in_order(answer: str, conclusion: str) -> float:
    """Share of the answer's pairs of neighbouring words, of its word if it is one, that the conclusion has too.

    Words alone would let "so Left: red." lead to the answer "Right: red".
    """
    answered = _words(answer)
    if not answered:
        return 0.0
    length = min(2, len(answered))
    pairs = set(_runs(answered, length))
    return len(pairs & set(_runs(_words(conclusion), length))) / len(pairs)


def _places(text: str) -> dict[str, str]:
    """What a text says of each place it names with a colon: "Left: red bar Right: none." -> {"left": "red bar"}."""
    folded = fold(text)
    marks, said = list(_PLACE.finditer(folded)), dict[str, str]()
    ends = [*(mark.start() for mark in marks[1:]), len(folded)]
    for mark, end in zip(marks, ends, strict=False):  # without marks there is one end too many
        said[mark[1]] = f"{said.get(mark[1], '')} {_CLAIM_END.split(folded[mark.end() : end])[0]}"
    read = read_regions("|".join(f"{place}: {what}" for place, what in said.items()), ())
    return {} if isinstance(read, Unreadable) else read


def _follows(conclusion: str, before: str, all_asked_for: bool) -> float:
    """Share of the places concluded about of which all that is concluded has been said before.

    That is what stands behind the place, and what stands before the first place, which led there: "so late Left: red."
    wants "late" and "red" said of left. ``all_asked_for``: places that something has been said of count too.
    """
    said, concluded = _places(before), _places(conclusion)
    first = _PLACE.search(fold(conclusion))
    led = _content_words(fold(conclusion)[: first.start()]) if first else set()
    held = [led | set(_words(thing)) <= set(_words(said.get(place, ""))) for place, thing in concluded.items()]
    return sum(held) / len(concluded.keys() | (said.keys() if all_asked_for else set()))
