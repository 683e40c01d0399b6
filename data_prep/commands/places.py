"""The parquet files a command is told to work on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

FilesArgument = Annotated[list[Path], typer.Argument(help="Parquet files, or folders of them.")]


def folder_of(files: list[Path]) -> Path:
    """The first place, or the folder that the first file lies in: where a command looks and writes unless told."""
    return files[0] if files[0].is_dir() else files[0].parent
