"""What is in the files: counts, answers, lengths, cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from avatar_verl.media import FrameBudget
from avatar_verl.schema import PLACEHOLDERS
from data_prep import html_page
from data_prep.files import Progress, count_rows, iter_rows, media_of, parquet_files
from data_prep.validation.findings import QUANTILES, quantiles
from data_prep.validation.probing import Probe, ProbeSettings, probe_all
from data_prep.validation.tokens import TextCounter, prompt_tokens

#: Fields of extra_info whose values are counted.
COUNTED = ("source", "split", "stage", "problem_type", "family", "difficulty")
#: Problem types whose answers are few enough to compare.
BALANCED = ("multiple_choice", "multi_label", "yes_no", "count")
MAX_SHOWN = 30  # values of a field; the rest is summed up


@dataclass(frozen=True, slots=True)
class StatsSettings:
    """With a media root clips are probed, for lengths and token costs; without one the rows' own lengths count."""

    media_root: str
    budget: FrameBudget
    count: TextCounter
    workers: int
    journal: Path | None = None


@dataclass(slots=True)
class Stats:
    """Of all files."""

    rows: int = 0
    counts: dict[str, Counter[str]] = field(default_factory=dict)
    answers: dict[str, Counter[str]] = field(default_factory=dict)  # problem type -> answer -> rows
    durations: list[float] = field(default_factory=list)  # seconds; rows with a clip
    tokens: list[int] = field(default_factory=list)  # of the prompt; rows whose media can be read
    filled: Counter[str] = field(default_factory=Counter)  # rows with a hint, cues, a response

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        return {
            "rows": self.rows,
            **{name: _few(counts) for name, counts in self.counts.items()},
            "answers": {name: _few(counts, by_count=False) for name, counts in sorted(self.answers.items())},
            "filled": {name: self.filled[name] for name in ("hint", "audio_cues", "response")},
            "duration_seconds": quantiles(self.durations),
            "prompt_tokens": quantiles(self.tokens),
        }


def collect(places: Sequence[Path], settings: StatsSettings, progress: Progress) -> Stats:
    """Read all rows once.

    Raises:
        FileError: no parquet of the schema.
    """
    files = parquet_files(places)
    probes = _probe(files, settings, progress)
    stats, total = Stats(), count_rows(files)
    for file in files:
        for rows in iter_rows(file):
            for row in rows:
                _add(stats, row, probes, settings)
            progress("counting", stats.rows, total)
    return stats


def _probe(files: list[Path], settings: StatsSettings, progress: Progress) -> Mapping[str, Probe] | None:
    if not settings.media_root:
        return None
    paths, done = list(media_of(files)), 0

    def advance(more: int) -> None:
        nonlocal done
        done += more
        progress("probing clips", done, len(paths))

    beside = files[0].parent
    journal = settings.journal or beside.with_name(f"{beside.name}.probes.jsonl")
    look = ProbeSettings(settings.media_root, settings.budget)
    return probe_all(paths, look, journal, settings.workers, advance)


def _add(stats: Stats, row: dict[str, Any], probes: Mapping[str, Probe] | None, settings: StatsSettings) -> None:
    info = row["extra_info"]
    stats.rows += 1
    for name in COUNTED:
        stats.counts.setdefault(name, Counter())[str(info[name])] += 1
    stats.counts.setdefault("modality", Counter())[modality(row)] += 1
    if info["problem_type"] in BALANCED:
        stats.answers.setdefault(info["problem_type"], Counter())[row["reward_model"]["ground_truth"]] += 1
    stats.filled.update(name for name in ("hint", "audio_cues") if info[name])
    stats.filled.update(["response"] if row["response"] else [])
    if probes is None:
        if info["duration"]:
            stats.durations.append(info["duration"])
        return
    media = [(kind, probes[item[kind]].info) for column, kind in PLACEHOLDERS.values() for item in row[column] or []]
    usable = [(kind, facts) for kind, facts in media if facts is not None]
    if len(usable) < len(media):
        return
    if usable:
        stats.durations.append(max(facts.duration for _, facts in usable))
    try:
        cost = prompt_tokens(row["prompt"], usable, info["use_audio_in_video"], settings.budget, settings.count)
    except ValueError:  # a strip, or a video without frame rate; validate names it
        return
    stats.tokens.append(cost)


def modality(row: Mapping[str, Any]) -> str:
    """``audio_in_video``, ``video+audio``, ``image`` ..., or ``text``."""
    if row["extra_info"]["use_audio_in_video"] and row["videos"]:
        return "audio_in_video"
    return "+".join(kind for column, kind in PLACEHOLDERS.values() if row[column]) or "text"


def _few(counts: Counter[str], by_count: bool = True) -> dict[str, int]:
    """The largest counts; what is left out is summed up under "..."."""
    kept = dict(counts.most_common(MAX_SHOWN))
    rest = counts.total() - sum(kept.values())
    ordered = kept if by_count else dict(sorted(kept.items(), key=lambda pair: (len(pair[0]), pair[0])))
    return {**ordered, "...": rest} if rest else ordered


def as_page(report: Mapping[str, Any], png: bytes) -> str:
    """The statistics as HTML, with the picture inside."""
    spread = [
        [name, *report[key].values()]
        for name, key in (("clip, s", "duration_seconds"), ("prompt, tokens", "prompt_tokens"))
        if report[key]
    ]
    sections = [
        html_page.paragraph(f"{report['rows']:,} rows"),
        html_page.picture("Overview", png),
        html_page.table("Sizes", ["", *QUANTILES, "mean"], spread),
        *(html_page.bars(name, report[name]) for name in ("modality", *COUNTED)),
        *(html_page.bars(f"answers of {name}", counts) for name, counts in report["answers"].items()),
        html_page.bars("rows that have", report["filled"]),
    ]
    return html_page.page("Data statistics", sections)
