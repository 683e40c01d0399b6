"""``validate``: the doctor."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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

if TYPE_CHECKING:
    from data_prep.validation.doctor import DoctorSettings
    from data_prep.validation.tokens import TextCounter

ModelOption = Annotated[
    Path | None, typer.Option(help="Model folder whose tokenizer.json counts text; without it text is estimated.")
]


def validate(
    files: FilesArgument,
    media_root: Annotated[str, typer.Option(help="Folder of all media; default: each file's own folder.")] = "",
    out: Annotated[Path | None, typer.Option(help="Folder for clean rows and quarantine; default: check only.")] = None,
    max_prompt_length: Annotated[int, typer.Option(min=0, help="Most tokens of a prompt; 0: any.")] = 0,
    max_bad: Annotated[float, typer.Option(min=0, max=1, help="With --out: most bad rows, as a share.")] = 0.1,
    decode: Annotated[bool, typer.Option(help="Decode each clip as a run would, not only its headers. Slow.")] = False,
    model: ModelOption = None,
    config: ConfigOption = None,
    max_frames: MaxFramesOption = None,
    fps: FpsOption = None,
    max_pixels: MaxPixelsOption = None,
    timeout: Annotated[float, typer.Option(help="Seconds after which a clip counts as hanging.")] = 60.0,
    journal: Annotated[Path | None, typer.Option(help="File that keeps probes; default: beside the folder.")] = None,
    workers: WorkersOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Probe every clip and check every row; mark the files that passed.

    Example: python -m data_prep validate data/built --media-root /data/media --out data/ready --max-prompt-length 4096

    Exit code 1: rows are bad (without --out: any; with it: more than --max-bad), so nothing was marked.
    """
    from data_prep.validation.doctor import DoctorSettings
    from data_prep.workers import usable_cores

    with stopping():
        settings = DoctorSettings(
            media_root=media_root,
            budget=frame_budget(config, max_frames=max_frames, fps=fps, max_pixels=max_pixels),
            count=text_counter(model),
            max_prompt_tokens=max_prompt_length,
            max_bad_share=max_bad,
            decode=decode,
            workers=workers or usable_cores(),
            seconds=timeout,
            journal=journal,
        )
        _run(files, out, settings, as_json)


def _run(files: list[Path], out: Path | None, settings: DoctorSettings, as_json: bool) -> None:
    from data_prep.validation.doctor import validate as run

    with progress_bar() as bar:
        report = run(files, out, settings, bar)
    if as_json:
        print_json(report)
    else:
        _show(report, out or folder_of(files))
    if not report["passed"]:
        raise typer.Exit(ACT)


def text_counter(model: Path | None) -> TextCounter:
    """Exact with a model folder, else an estimate.

    Raises:
        ValueError: the folder has no usable tokenizer.json.
    """
    from data_prep.validation.tokens import EstimatedTokens, TokenizerTokens

    return TokenizerTokens(model) if model else EstimatedTokens()


def _show(report: dict[str, Any], folder: Path) -> None:
    from data_prep.validation.doctor import REPORT, iter_reasons
    from data_prep.validation.findings import ADVICE

    print_table("media files", ["state", "files"], list(report["media"].items()))
    if report["reasons"]:
        rows = [[reason, n, ADVICE.get(reason, ""), example] for reason, n, example in iter_reasons(report)]
        print_table("quarantined rows", ["reason", "rows", "what to do", "example"], rows)
    if report["warnings"]:
        print_table("warnings; these rows stay", ["warning", "rows"], list(report["warnings"].items()))
    sizes = {"clip, s": report["duration_seconds"], "prompt, tokens": report["prompt_tokens"]}
    if any(sizes.values()):
        columns = ["", *next(found for found in sizes.values() if found)]
        print_table("clean rows", columns, [[name, *found.values()] for name, found in sizes.items() if found])
    state = "passed and marked as validated" if report["passed"] else "NOT marked as validated"
    say(f"{report['clean']} of {report['rows']} rows are clean: {state}; report: {folder / REPORT / 'report.html'}")
