"""Options of every command that opens a model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

ModelOption = Annotated[Path, typer.Option(help="A complete Qwen2.5-Omni folder, or a finished run.")]
DeviceOption = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
DtypeOption = Annotated[str, typer.Option(help="auto, bfloat16, float16 or float32.")]
LengthOption = Annotated[int, typer.Option(help="Tokens of prompt and completion together.")]
ConfigOption = Annotated[Path | None, typer.Option(help="A run's config.yaml, for its media budget.")]
