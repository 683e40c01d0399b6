"""``cache``: decode once, before a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from data_prep.commands.budget import ConfigOption, FpsOption, MaxFramesOption, MaxPixelsOption, frame_budget
from data_prep.commands.places import FilesArgument, folder_of
from data_prep.commands.screen import (
    ACT,
    JsonOption,
    WorkersOption,
    print_json,
    print_table,
    progress_bar,
    say,
    stopping,
)

_UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def cache(
    files: FilesArgument,
    folder: Annotated[Path, typer.Option(help="Folder of the cache, as the run will name it.")],
    size: Annotated[str, typer.Option(help="Limit of the folder, e.g. 200G.")],
    media_root: Annotated[str, typer.Option(help="Folder of all media; default: the first file's folder.")] = "",
    config: ConfigOption = None,
    max_frames: MaxFramesOption = None,
    fps: FpsOption = None,
    max_pixels: MaxPixelsOption = None,
    timeout: Annotated[float, typer.Option(help="Seconds after which a decode counts as hanging.")] = 600.0,
    workers: WorkersOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Decode all media of the rows into the media cache, so that a run reads instead of decoding.

    Example: python -m data_prep cache data/ready --media-root /data/media --folder /data/cache --size 200G

    Use the run's own frame budget (--config), or the entries will not be found. Exit code 1: something failed.
    """
    from data_prep.warm_up import CacheSettings, warm_up
    from data_prep.workers import usable_cores

    root = media_root or str(folder_of(files))
    with stopping():
        budget = frame_budget(config, max_frames=max_frames, fps=fps, max_pixels=max_pixels)
        settings = CacheSettings(folder, read_size(size), root, budget)
        with progress_bar() as bar:
            result = warm_up(files, settings, workers or usable_cores(), timeout, bar)
    if as_json:
        print_json(result)
    else:
        _show(result, folder)
    if result["failed"] or result["cache"].get("write_errors") or result["cache"].get("evicted"):
        say("not all of it is in the cache: see the table (evicted: the limit is too small for this data)")
        raise typer.Exit(ACT)


def _show(result: dict[str, Any], folder: Path) -> None:
    if result["failed"]:
        rows = [[reason, count, result["examples"][reason]] for reason, count in result["failed"].items()]
        print_table("media that cannot be decoded", ["reason", "sets", "example"], rows)
    print_table("cache", ["what", "count"], list(result["cache"].items()))
    say(f"media of {result['sets']} distinct prompts were decoded into {folder}")


def read_size(text: str) -> int:
    """``200G`` in bytes."""
    number, unit = (text[:-1], text[-1:].upper()) if text[-1:].upper() in _UNITS else (text, "")
    try:
        size = int(float(number) * _UNITS.get(unit, 1))
    except ValueError:
        size = 0
    if size <= 0:
        raise typer.BadParameter(f"{text!r} is no size; write for example 200G", param_hint="--size")
    return size
