"""``stats``: what is in the files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from data_prep.commands.budget import ConfigOption, FpsOption, MaxFramesOption, MaxPixelsOption, frame_budget
from data_prep.commands.places import FilesArgument
from data_prep.commands.screen import JsonOption, WorkersOption, print_json, print_table, progress_bar, say, stopping
from data_prep.commands.validate import ModelOption, text_counter

if TYPE_CHECKING:
    from data_prep.stats import Stats


def stats(
    files: FilesArgument,
    media_root: Annotated[str, typer.Option(help="Folder of all media: probe clips for lengths and token cost.")] = "",
    png: Annotated[Path | None, typer.Option(help="Picture to write.")] = None,
    html: Annotated[Path | None, typer.Option(help="Page to write.")] = None,
    model: ModelOption = None,
    config: ConfigOption = None,
    max_frames: MaxFramesOption = None,
    fps: FpsOption = None,
    max_pixels: MaxPixelsOption = None,
    workers: WorkersOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Count rows by source, type and modality; show answer balance, clip lengths and token cost.

    Example: python -m data_prep stats data/ready --media-root /data/media --html stats.html
    """
    from data_prep.stats import StatsSettings, collect
    from data_prep.workers import usable_cores

    with stopping():
        budget = frame_budget(config, max_frames=max_frames, fps=fps, max_pixels=max_pixels)
        settings = StatsSettings(media_root, budget, text_counter(model), workers or usable_cores())
        with progress_bar() as bar:
            found = collect(files, settings, bar)
        _draw(found, png, html)
    report = found.as_json()
    if as_json:
        print_json(report)
    else:
        _show(report)


def _draw(found: Stats, png: Path | None, html: Path | None) -> None:
    if png is None and html is None:
        return
    from data_prep.plots import overview
    from data_prep.stats import as_page

    picture = overview(found)
    if png:
        _write(png, picture)
    if html:
        _write(html, as_page(found.as_json(), picture).encode("utf-8"))


def _show(report: dict[str, Any]) -> None:
    for name in ("source", "stage", "split", "modality", "problem_type", "difficulty"):
        print_table(name, [name, "rows"], list(report[name].items()))
    for name, counts in report["answers"].items():
        print_table(f"answers of {name}", ["answer", "rows"], list(counts.items()))
    sizes = {"clip, s": report["duration_seconds"], "prompt, tokens": report["prompt_tokens"]}
    if any(sizes.values()):
        columns = ["", *next(spread for spread in sizes.values() if spread)]
        print_table("sizes", columns, [[name, *spread.values()] for name, spread in sizes.items() if spread])
    say(f"{report['rows']} rows")


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.partial")
    try:
        draft.write_bytes(data)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
