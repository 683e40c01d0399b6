"""``python -m avatar_verl.evaluation run|table|list``: see ``docs/evaluation-guide.md``."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from avatar_verl.config import ConfigError
from avatar_verl.evaluation.benchmarks import BENCHMARKS
from avatar_verl.evaluation.prompts import THINK_SYSTEM, Preset, Style
from avatar_verl.evaluation.run import Asking, Share
from avatar_verl.evaluation.session import Job, Opening, answer, answer_in_parallel, begin, budget, one_of, open_job
from avatar_verl.evaluation.table import Grid, write_tables
from avatar_verl.inference import EngineName, find_model, placement
from avatar_verl.inference.options import ConfigOption, DeviceOption, DtypeOption, LengthOption, ModelOption
from avatar_verl.run_folder import RunIsHeldError, held

app = typer.Typer(add_completion=False, no_args_is_help=True, help=__doc__)


@app.command("list")
def list_benchmarks() -> None:
    """Benchmarks, and what their folders must hold."""
    table = Table()
    for heading in ("name", "benchmark", "questions", "official files", "note"):
        table.add_column(heading, overflow="fold")
    for one in BENCHMARKS.values():
        table.add_row(one.name, one.title, str(one.size or "-"), one.source, one.note)
    _console().print(table)


@app.command("table")
def print_table(
    folders: Annotated[list[Path], typer.Argument(help="Evaluation folders, one a model; the first is the baseline.")],
    out: Annotated[
        Path | None, typer.Option(help="Where to write table.md, .csv, .html; default: last folder.")
    ] = None,
) -> None:
    """Put results of one or several models beside the paper's rows."""
    try:
        _print(write_tables(folders, out or folders[-1]))
    except ValueError as error:
        raise _refused(error) from None
    _console().print(f"written: {(out or folders[-1]) / 'table.md'}, .csv, .html")


@app.command()
def run(
    model: ModelOption,
    benchmark: Annotated[list[str], typer.Option(help="NAME=FOLDER, as often as needed; see the command list.")],
    out: Annotated[Path, typer.Option(help="Evaluation folder of this model; a second start resumes.")],
    label: Annotated[str, typer.Option(help="Name of the model in tables; default: the folder's name.")] = "",
    preset: Annotated[str, typer.Option(help="official or authors: prompts, token limits and metrics.")] = "official",
    style: Annotated[
        str, typer.Option(help="think: reason, then answer, as trained; direct: the bare answer.")
    ] = "think",
    system: Annotated[str, typer.Option(help="System prompt of style think.")] = THINK_SYSTEM,
    max_tokens: Annotated[int, typer.Option(min=1, help="Of a completion in style think.")] = 2048,
    engine: Annotated[str, typer.Option(help="vllm or transformers.")] = "vllm",
    device: DeviceOption = "auto",
    dtype: DtypeOption = "auto",
    max_model_len: LengthOption = 32768,
    config: ConfigOption = None,
    max_frames: Annotated[int, typer.Option(help="Frames of a clip; 0: as the model was trained.")] = 0,
    limit: Annotated[int, typer.Option(help="Only so many questions of each benchmark; 0: all.")] = 0,
    data_parallel: Annotated[int, typer.Option(min=1, help="Processes, one a GPU.")] = 1,
    worker: Annotated[int, typer.Option(hidden=True)] = -1,
) -> None:
    """Evaluate a model. May be killed at any moment; the same command goes on where it stopped."""
    try:
        folder = find_model(model)
        asking = Asking(one_of(preset, Preset), one_of(style, Style), system, max_tokens)
        media = budget(folder, config, max_frames)
        device, dtype = placement(device, dtype)
        opening = Opening(folder, one_of(engine, EngineName), device, dtype, max_model_len, media)
        jobs = [open_job(text, out, limit) for text in benchmark]
        if worker >= 0:
            answer(jobs, opening, asking, Share(worker, data_parallel))
            return
        out.mkdir(parents=True, exist_ok=True)
        with held(out):
            begin(jobs, label, opening, asking, limit)
            _run_all(jobs, opening, asking, out, data_parallel)
    except RunIsHeldError:
        raise _refused(ValueError(f"another evaluation writes into {out} now")) from None
    except (ValueError, ConfigError) as error:
        raise _refused(error) from None


def _run_all(jobs: list[Job], opening: Opening, asking: Asking, out: Path, data_parallel: int) -> None:
    """Answer everything, here or by workers, and print the table of what there is.

    Raises:
        ValueError: a worker failed.
    """
    codes = [0]
    if data_parallel > 1:
        codes = answer_in_parallel(jobs, sys.argv[1:], out, data_parallel, opening.device)
    else:
        answer(jobs, opening, asking)
    _print(write_tables([out], out))
    if any(codes):
        raise ValueError(f"workers ended with {codes}; see {out}/worker-*.log, then start again to resume")


def _console() -> Console:
    return Console() if sys.stdout.isatty() else Console(width=160)


def _print(tables: list[Grid]) -> None:
    for grid in tables:
        if " by " not in grid.title:  # breakdowns are in the files
            shown = Table(title=grid.title)
            for heading in grid.headings:
                shown.add_column(heading, overflow="fold")
            for row in grid.rows:
                shown.add_row(*(Text(cell) for cell in row))
            _console().print(shown)


def _refused(error: Exception) -> typer.Exit:
    print(error, file=sys.stderr)
    return typer.Exit(2)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    app()
