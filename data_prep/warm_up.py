"""Decode everything once, before a run: fills the media cache that rollout, trainer and judge read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from avatar_verl.media import FrameBudget, MediaCache, MediaError, NoAudioTrack, resolve_media
from avatar_verl.media.budget import TEMPORAL_PATCH
from avatar_verl.schema import PLACEHOLDERS
from data_prep.files import Progress, iter_rows, parquet_files
from data_prep.isolated import work_isolated

CRASH = "crashes_or_hangs"


@dataclass(frozen=True, slots=True)
class CacheSettings:
    """Which cache, and what goes into it."""

    folder: Path
    max_bytes: int
    media_root: str
    budget: FrameBudget


@dataclass(frozen=True, slots=True)
class RowMedia:
    """The media of one row; many rows have the same."""

    images: tuple[str, ...]
    videos: tuple[str, ...]
    audios: tuple[str, ...]
    sound: bool


def warm_up(
    places: Sequence[Path], settings: CacheSettings, workers: int, seconds: float, progress: Progress
) -> dict[str, Any]:
    """Decode the media of all rows into the cache.

    Args:
        places: parquet files or folders.
        settings: the cache and the budget; a run finds the entries only under the same budget.
        workers: processes; 0 works in this one.
        seconds: after which a decode counts as hanging.

    Returns:
        Counts: distinct sets of media, reasons of those that failed, and the cache's own counters.

    Raises:
        FileError: no parquet of the schema.
    """
    media = list(dict.fromkeys(_media_of_rows(parquet_files(places))))
    counts: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    examples: dict[str, str] = {}
    for done, (item, result) in enumerate(work_isolated(media, partial(_decode, settings=settings), workers, seconds)):
        reason, detail, stats = result or (CRASH, repr(item), {})
        counts.update(stats)
        if reason:
            reasons[reason] += 1
            examples.setdefault(reason, detail)
        progress("decoding", done + 1, len(media))
    return {
        "sets": len(media),
        "failed": dict(sorted(reasons.items())),
        "examples": dict(sorted(examples.items())),
        "cache": dict(sorted(counts.items())),
    }


def _media_of_rows(files: Sequence[Path]) -> Iterable[RowMedia]:
    columns = [column for column, _ in PLACEHOLDERS.values()]
    for file in files:
        for rows in iter_rows(file, [*columns, "extra_info"]):
            for row in rows:
                paths = {
                    column: tuple(item[kind] for item in row[column] or []) for column, kind in PLACEHOLDERS.values()
                }
                media = RowMedia(**paths, sound=bool(row["extra_info"]["use_audio_in_video"]))
                if media.images or media.videos or media.audios:
                    yield media


@lru_cache(maxsize=1)
def _cache(folder: Path, max_bytes: int) -> MediaCache:
    return MediaCache(folder, max_bytes)


def _decode(media: RowMedia, settings: CacheSettings) -> tuple[str, str, dict[str, int]]:
    """(reason, detail, what it cost) of one row's media, decoded as ``PromptBuilder`` does it."""
    cache = _cache(settings.folder, settings.max_bytes)
    before = cache.stats()
    reason = detail = ""
    try:
        _decode_all(media, settings, cache)
    except MediaError as error:
        reason, detail = error.reason, str(error)
    return reason, detail, {name: value - before[name] for name, value in cache.stats().items()}


def _decode_all(media: RowMedia, settings: CacheSettings, cache: MediaCache) -> None:
    def real(path: str) -> Path:
        return resolve_media(path, settings.media_root)

    for path in media.images:
        cache.image(real(path), settings.budget)
    for path in media.audios:
        cache.audio(real(path), settings.budget)
    rates = [cache.video(real(path), settings.budget).fps for path in media.videos]
    if len({round(rate, 6) for rate in rates}) > 1:  # a prompt has one time base: the slowest clip's
        sparse = replace(settings.budget, min_frames=TEMPORAL_PATCH)
        for path in media.videos:
            cache.video(real(path), sparse, fps=min(rates))
    for path in media.videos if media.sound else ():
        try:
            cache.audio(real(path), settings.budget)
        except NoAudioTrack:  # a silent clip is a video-only row
            continue
