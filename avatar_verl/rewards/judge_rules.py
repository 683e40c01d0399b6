"""A judge without a model: the stand-in where no endpoint is configured. It counts words; it does not understand.

It lets stage 3 run on any machine and rewards the right direction on the toy world: reasoning that names the described
sounds, supports the answer, ends in it, and does not repeat itself. Reports mark its values with ``rule_based``.
"""

from __future__ import annotations

import re

from avatar_verl.rewards.choices import read_letter
from avatar_verl.rewards.grader import fold
from avatar_verl.rewards.parse import ParsedCompletion
from avatar_verl.types import Sample

_WORD = re.compile(r"[^\W_]+")
_SENTENCE_END = re.compile(r"[.!?]\s|\n")
_MAX_CHARS = 8_000  # of reasoning, cues and answer each; what lies beyond is not looked at
_COMMON = frozenset(
    {"a", "an", "the", "and", "or", "of", "in", "on", "at", "to", "is", "are", "it", "with", "then", "there", "this"}
)


def _words(text: str) -> list[str]:
    return _WORD.findall(fold(text[:_MAX_CHARS]))


def _content_words(text: str) -> set[str]:
    return set(_words(text)) - _COMMON


def rule_based_score(sample: Sample, parsed: ParsedCompletion) -> float:
    """In [0, 1]: novelty x mean(cue use, support, conclusion).

    * cue use: share of the content words of the audio cues that the reasoning names; left out without cues;
    * support: share of the content words of the given answer that the reasoning names, right or wrong;
    * conclusion: share of the answer's pairs of neighbouring words (of its word, if it is one) that the last sentence
      of the reasoning has too. Words alone would let "so Left: red." lead to the answer "Right: red";
    * novelty: distinct runs of three words over all of them, so that repetition and word lists padded out earn less.
    """
    thought = _words(parsed.think)
    if not thought:
        return 0.0
    named = set(thought)
    answer = _answer_text(sample, parsed)
    wanted = [_content_words(sample.audio_cues), _content_words(answer)]
    shares = [len(words & named) / len(words) for words in wanted if words]
    if answered := _words(answer):
        length = min(2, len(answered))
        pairs = set(_runs(answered, length))
        shares.append(len(pairs & set(_runs(_words(_last_sentence(parsed.think)), length))) / len(pairs))
    if not shares:
        return 0.0
    runs = _runs(thought, 3)
    return len(set(runs)) / len(runs) * sum(shares) / len(shares)


def _runs(words: list[str], length: int) -> list[tuple[str, ...]]:
    """Runs of so many neighbouring words; all words as one run where there are fewer."""
    return [tuple(words[i : i + length]) for i in range(max(1, len(words) - length + 1))]


def _last_sentence(text: str) -> str:
    sentences = [part for part in _SENTENCE_END.split(text[-_MAX_CHARS:]) if _WORD.search(part)]
    return sentences[-1] if sentences else ""


def _answer_text(sample: Sample, parsed: ParsedCompletion) -> str:
    """The answer in words: the text of the option where a letter is given."""
    answer = (parsed.answer or "")[:_MAX_CHARS]
    letter = read_letter(answer, sample.options)
    if isinstance(letter, str) and ord(letter) - ord("A") < len(sample.options):
        return sample.options[ord(letter) - ord("A")]
    return answer
