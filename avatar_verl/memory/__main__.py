"""``python -m avatar_verl.memory [KEY=VALUE ...] --model 7b --gpu-gib 80 --host-gib 1000``: does it fit?

Without ``profile=`` it is the GPU profile of one node. Exit code 1: it does not fit.
"""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer
from omegaconf import OmegaConf
from rich.console import Console
from rich.table import Table

from avatar_verl.main import load
from avatar_verl.memory.estimate import GIB, Estimate, Lines, estimate
from avatar_verl.memory.plan import Plan
from avatar_verl.memory.shapes import measure

app = typer.Typer(add_completion=False)


def composed(overrides: list[str], stage: str = "stage1") -> dict[str, Any]:
    """A stage's configuration; nothing is read from the files it would name.

    Raises:
        ConfigError: it cannot be composed.
    """
    unread = ["actor_rollout_ref.model.path=unread", "run.train_files=[unread]", "run.val_files=[unread]"]
    profile = [] if any(text.startswith("profile=") for text in overrides) else ["profile=gpu"]
    config = OmegaConf.to_container(load(stage, [*unread, *profile, *overrides], "unread"), resolve=True)
    assert isinstance(config, dict)
    return {str(key): value for key, value in config.items()}


def evaluate(config: dict[str, Any], model: str, gpu_gib: float) -> Estimate:
    """The estimate of a composed configuration for one model."""
    asked = config["actor_rollout_ref"]["model"]
    shape = measure(model, int(asked.get("lora_rank", 0) or 0), str(asked.get("target_modules") or ""))
    return estimate(shape, Plan.of(config), gpu_gib * GIB)


def _show(title: str, lines: Lines, limit_gib: float, console: Console) -> None:
    table = Table(title=title, title_justify="left", box=None)
    table.add_column("GiB", justify="right")
    table.add_column("of")
    for name, size in lines.items():
        if size:
            table.add_row(f"{size / GIB:.2f}", name)
    table.add_row(f"[bold]{sum(lines.values()) / GIB:.2f}[/bold]", f"[bold]in all, of {limit_gib:g}[/bold]")
    console.print(table)


@app.command()
def main(
    overrides: Annotated[list[str] | None, typer.Argument(help="KEY=VALUE, as for a run")] = None,
    model: Annotated[str, typer.Option(help="3b, 7b, or a folder with config.json")] = "7b",
    gpu_gib: Annotated[float, typer.Option(help="memory of one GPU")] = 80.0,
    host_gib: Annotated[float, typer.Option(help="memory of one node")] = 1000.0,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object")] = False,
) -> None:
    """Does a configuration fit? An estimate by the arithmetic of the package, with 5 % of the GPU left free."""
    try:
        result = evaluate(composed(overrides or []), model, gpu_gib)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    problems = result.problems(gpu_gib * GIB, host_gib * GIB)
    if as_json:
        lines = {name: getattr(result, name) for name in ("update", "rollout", "host", "rollout_host")}
        print(json.dumps({**lines, "kv_tokens": result.kv_tokens, "problems": problems}, indent=2))
        raise typer.Exit(int(bool(problems)))
    console = Console(highlight=False)
    apart = "weights" not in result.rollout
    _show("one GPU of the training" if apart else "one GPU, update", result.update, gpu_gib, console)
    _show("one GPU of the rollout" if apart else "one GPU, rollout", result.rollout, gpu_gib, console)
    _show("one training node's host" if result.rollout_host else "one node's host", result.host, host_gib, console)
    if result.rollout_host:
        _show("one rollout node's host", result.rollout_host, host_gib, console)
    console.print(f"keys and values: {result.kv_tokens} tokens, {result.sequences:.1f} sequences of the longest kind")
    console.print("it does not fit:\n" + "\n".join(problems) if problems else "it fits")
    raise typer.Exit(int(bool(problems)))


if __name__ == "__main__":
    app()
