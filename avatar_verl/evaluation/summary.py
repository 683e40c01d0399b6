"""From the lines of one benchmark to its numbers. The denominator is the list of questions, never that of answers."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from avatar_verl.evaluation.benchmarks import BENCHMARKS
from avatar_verl.evaluation.results import STATUSES, Results
from avatar_verl.evaluation.scoring import count_errors
from avatar_verl.evaluation.statistics import Estimate, estimate, macro_estimate


@dataclass(frozen=True, slots=True)
class Summary:
    """One benchmark of one model."""

    model: str  # label
    benchmark: str
    headline: Estimate
    scores: dict[str, float]  # uid -> score, of all questions
    by: dict[str, dict[str, Estimate]]  # breakdown -> value -> estimate
    statuses: dict[str, int]  # answered, unanswered, failed, missing (not tried yet)
    reasons: dict[str, int]  # why questions are unanswered or failed
    further: dict[str, float]  # metrics beside the headline, and what completions were like
    settings: dict[str, object]

    @property
    def complete(self) -> bool:
        """Every question was tried."""
        return self.statuses["missing"] == 0


def summarise(results: Results) -> Summary:
    """The numbers of a results folder, finished or not; questions without a line count as wrong.

    Raises:
        FileNotFoundError: the folder is not one of results.
    """
    settings, questions, records = results.settings(), results.questions(), results.records()
    scores = {uid: float(records[uid]["score"]) if uid in records else 0.0 for uid in questions}
    by: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for uid, question in questions.items():
        for name, value in question["categories"].items():
            by[name][value].append(scores[uid])
    benchmark = BENCHMARKS[settings["benchmark"]]
    grouped = by[benchmark.headline] if benchmark.headline != "mean" else {"": list(scores.values())}
    tried = [records[uid] for uid in questions if uid in records]
    statuses = Counter(record["status"] for record in tried)
    reasons = Counter(record["reason"] for record in tried if record["status"] != "answered")
    return Summary(
        model=settings["label"],
        benchmark=benchmark.name,
        headline=macro_estimate(grouped),
        scores=scores,
        by={name: {value: estimate(given) for value, given in sorted(values.items())} for name, values in by.items()},
        statuses={
            **{status: statuses[status] for status in STATUSES},
            "missing": len(questions) - len(tried),
        },
        reasons=dict(reasons.most_common()),
        further={**_counting(questions, records, settings["preset"]), **_completions(tried)},
        settings=settings,
    )


def _counting(
    questions: dict[str, dict[str, object]], records: dict[str, dict[str, object]], preset: str
) -> dict[str, float]:
    """Errors of counts, where all questions ask for one."""
    if {question.get("problem_type") for question in questions.values()} - {None} != {"count"}:
        return {}
    pairs = []
    for uid, question in questions.items():
        if "truth" in question:
            answer = records.get(uid, {}).get("answer")
            pairs.append((None if answer is None else int(str(answer)), int(str(question["truth"]))))
    return count_errors(pairs, cap=preset == "official")


def _completions(tried: Sequence[dict[str, object]]) -> dict[str, float]:
    asked = [record for record in tried if record["status"] != "failed"]
    if not asked:
        return {}
    return {
        "tokens": sum(float(str(record["tokens"])) for record in asked) / len(asked),
        "truncated %": 100 * sum(bool(record["truncated"]) for record in asked) / len(asked),
        "sound used %": 100 * sum(bool(record["audio_used"]) for record in asked) / len(asked),
    }
