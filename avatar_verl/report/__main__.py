"""``python -m avatar_verl.report RUN_DIR [RUN_DIR ...]``: one offline HTML page, CSV and plots of one or several runs.

python -m avatar_verl.report outputs/stage1/latest                          # RUN_DIR/report.html
python -m avatar_verl.report grpo=outputs/a/latest avatar=outputs/b/latest --out compare.html
python -m avatar_verl.report outputs/stage1/latest --watch                  # again whenever the run goes on
python -m avatar_verl.report outputs/stage1/latest --csv tables --plots figures
"""

from __future__ import annotations

import argparse
import csv
import io
import sys
import time
from pathlib import Path

from avatar_verl.report.build import PageOptions, csv_lines, write_page
from avatar_verl.report.plots import write_plots
from avatar_verl.report.run_data import RunData, read_run
from avatar_verl.run_folder import write_text

_FILES = ("metrics.jsonl", "samples.jsonl", "trained.jsonl", "bad_rows.jsonl", "finished.json", "error.json")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m avatar_verl.report", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="+", metavar="[NAME=]RUN_DIR", help="the first is the baseline of the others")
    parser.add_argument("--out", type=Path, help="the page; default: report.html in the first run's folder")
    parser.add_argument("--watch", action="store_true", help="write again whenever a run has gone on; Ctrl-C ends it")
    parser.add_argument("--every", type=int, default=10, metavar="S", help="seconds between two looks of --watch")
    parser.add_argument("--completions", type=int, default=5_000, metavar="N", help="most completions of each run")
    parser.add_argument("--tokens", type=int, default=200_000, metavar="N", help="most tokens shown with advantages")
    parser.add_argument("--embed-media-mb", type=float, default=0.0, metavar="MB", help="clips put into the page")
    parser.add_argument("--portable", action="store_true", help="no links to clips outside the page, to send it on")
    parser.add_argument("--csv", type=Path, metavar="DIR", help="every series of each run as a CSV file there")
    parser.add_argument("--plots", type=Path, metavar="DIR", help="every chart as PNG and SVG there")
    return parser


def _named(text: str) -> tuple[str, Path]:
    """``NAME=RUN_DIR`` or ``RUN_DIR``; a folder whose own name has a ``=`` is still found."""
    name, equals, folder = text.partition("=")
    return ("", Path(text)) if not equals or Path(text).exists() else (name, Path(folder))


def _write_tables(runs: list[RunData], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in csv_lines(runs).items():
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(rows)
        write_text(folder / f"{name}.csv", text.getvalue())


def _sizes(folders: list[Path]) -> list[tuple[str, int, int]]:
    files = [folder / name for folder in folders for name in _FILES]
    return [(str(f), f.stat().st_size, f.stat().st_mtime_ns) for f in files if f.exists()]


def main(arguments: list[str] | None = None) -> int:
    """Write what was asked for; returns the exit code."""
    options = _parser().parse_args(arguments)
    named = [_named(text) for text in options.runs]
    out: Path = options.out or named[0][1] / "report.html"
    page = PageOptions(
        most_completions=options.completions,
        most_tokens=options.tokens,
        embed_bytes=int(options.embed_media_mb * 1e6),
        portable=options.portable,
        refresh_s=options.every if options.watch else 0,
    )
    seen: list[tuple[str, int, int]] | None = None
    try:
        while True:
            sizes = _sizes([folder for _, folder in named])
            if sizes != seen:
                runs = [read_run(folder, name) for name, folder in named]
                write_page(runs, out, page)
                print(out, flush=True)
                seen = sizes
            if not options.watch or all(run.state in ("finished", "failed") for run in runs):
                break
            time.sleep(options.every)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    if options.csv:
        _write_tables(runs, options.csv)
    if options.plots:
        write_plots(runs, options.plots)
    return 0


if __name__ == "__main__":
    sys.exit(main())
