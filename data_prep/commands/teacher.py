"""``hints`` and ``cues``: texts from an OpenAI-compatible endpoint."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from data_prep.commands.budget import ConfigOption, frame_budget
from data_prep.commands.places import FilesArgument, folder_of
from data_prep.commands.screen import ACT, JsonOption, print_json, print_table, progress_bar, say, stop, stopping

if TYPE_CHECKING:
    from data_prep.teacher.endpoint import EndpointSettings
    from data_prep.teacher.writer import Task

OutOption = Annotated[Path, typer.Option(help="Folder for the files with the new column.")]
RootOption = Annotated[str, typer.Option(help="Folder of all media; default: the first file's folder.")]
UrlOption = Annotated[str, typer.Option(help="Base URL of the endpoint, e.g. http://localhost:8000/v1.")]
ModelOption = Annotated[str, typer.Option(help="Model name the server knows.")]
KeyOption = Annotated[str, typer.Option(help="Environment variable that holds the API key.")]
ConcurrencyOption = Annotated[int, typer.Option(min=1, help="Requests under way at a time.")]
RateOption = Annotated[float, typer.Option(min=0, help="Requests begun in a minute; 0: no limit.")]
TimeoutOption = Annotated[float, typer.Option(min=0.1, help="Seconds for one request.")]
JournalOption = Annotated[Path | None, typer.Option(help="File that keeps replies; default: beside the folder.")]
MaxFailedOption = Annotated[float, typer.Option(min=0, max=1, help="Most texts that may fail, as a share.")]


def hints(
    files: FilesArgument,
    out: OutOption,
    endpoint: UrlOption,
    model: ModelOption = "Qwen/Qwen2.5-VL-72B-Instruct",
    media_root: RootOption = "",
    frames: Annotated[int, typer.Option(min=2, help="Frames of a clip shown to the model.")] = 8,
    with_answer: Annotated[bool, typer.Option(help="Show the model the answer too; leaks are checked for.")] = False,
    api_key_env: KeyOption = "",
    concurrency: ConcurrencyOption = 8,
    per_minute: RateOption = 0.0,
    timeout: TimeoutOption = 120.0,
    journal: JournalOption = None,
    max_failed: MaxFailedOption = 0.1,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Have a large model write a hint for each row that has none; hints that give the answer away are refused.

    Example: python -m data_prep hints data/ready --endpoint http://localhost:8000/v1 --out data/hinted

    Run it again to go on after an interruption. Exit code 1: the server is down, or too many hints failed.
    """
    from data_prep.teacher.hints import HintTask

    root = media_root or str(folder_of(files))
    with stopping():
        task = HintTask(root, frame_budget(config, max_frames=frames, min_frames=min(4, frames)), with_answer)
    settings = _endpoint(endpoint, model, api_key_env, concurrency, per_minute, timeout)
    _run(files, out, task, settings, journal, max_failed, as_json)


def cues(
    files: FilesArgument,
    out: OutOption,
    endpoint: UrlOption,
    model: ModelOption = "moonshotai/Kimi-Audio-7B-Instruct",
    media_root: RootOption = "",
    api_key_env: KeyOption = "",
    concurrency: ConcurrencyOption = 8,
    per_minute: RateOption = 0.0,
    timeout: TimeoutOption = 120.0,
    journal: JournalOption = None,
    max_failed: MaxFailedOption = 0.1,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Have an audio model write down what is heard, for the judge; rows that share a clip share its cues.

    Example: python -m data_prep cues data/ready --endpoint http://localhost:8001/v1 --out data/cued --per-minute 60

    Run it again to go on after an interruption. Exit code 1: the server is down, or too many cues failed.
    """
    from data_prep.teacher.cues import CueTask

    root = media_root or str(folder_of(files))
    with stopping():
        task = CueTask(root, frame_budget(config))
    settings = _endpoint(endpoint, model, api_key_env, concurrency, per_minute, timeout)
    _run(files, out, task, settings, journal, max_failed, as_json)


def _endpoint(
    url: str, model: str, api_key_env: str, concurrency: int, per_minute: float, timeout: float
) -> EndpointSettings:
    from data_prep.teacher.endpoint import EndpointSettings

    if not url.startswith(("http://", "https://")):
        raise typer.BadParameter(f"{url!r} must start with http:// or https://", param_hint="--endpoint")
    return EndpointSettings(
        url, model, api_key_env=api_key_env, concurrency=concurrency, per_minute=per_minute, timeout_s=timeout
    )


def _run(
    files: list[Path],
    out: Path,
    task: Task,
    settings: EndpointSettings,
    journal: Path | None,
    max_failed: float,
    as_json: bool,
) -> None:
    from data_prep.teacher.endpoint import EndpointDown
    from data_prep.teacher.writer import annotate

    kept = journal or out.with_name(f"{out.name}.{task.column}.jsonl")
    try:
        with stopping(), progress_bar() as bar:
            result = annotate(files, out, task, settings, kept, bar)
    except EndpointDown as error:
        stop(f"{error}; what was answered so far is kept in {kept}, run again to go on")
    failed = sum(result["reasons"].values())
    if as_json:
        print_json(result)
    else:
        _show(result, task.column, out)
    if failed > max_failed * max(1, result["texts"]):
        say(f"{failed} of {result['texts']} texts could not be had, more than --max-failed")
        raise typer.Exit(ACT)


def _show(result: dict[str, Any], column: str, out: Path) -> None:
    if result["reasons"]:
        print_table("texts that could not be had", ["reason", "texts"], list(result["reasons"].items()))
    say(f"{result['filled']} of {result['rows']} rows have {column} now ({result['origin']}); written to {out}")
