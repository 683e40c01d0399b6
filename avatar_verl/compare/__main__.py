"""``python -m avatar_verl.compare A B --out DIR``: where two models differ on the same samples, with the clips.

A and B are evaluation folders or runs; with ``--benchmark NAME=FOLDER`` they are models, which are evaluated first.
"""

from __future__ import annotations

import subprocess
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from avatar_verl.compare.page import Pair, write_page
from avatar_verl.compare.sides import Side, read_side
from avatar_verl.evaluation.statistics import Paired, compare_paired
from avatar_verl.inference.options import DeviceOption, DtypeOption, LengthOption

app = typer.Typer(add_completion=False)


def pair_up(first: Side, second: Side) -> list[Pair]:
    """Samples that both have; those where the scores differ most come first, then those whose answers differ.

    Raises:
        ValueError: they share none.
    """
    shared = [Pair(name, said, second.said[name]) for name, said in first.said.items() if name in second.said]
    if not shared:
        raise ValueError(f"{first.label} and {second.label} share no sample")
    return sorted(shared, key=lambda pair: (-abs(pair.gain), pair.first.answer == pair.second.answer, pair.name))


def summary_of(pairs: Sequence[Pair], first: Side, second: Side, test: Paired) -> str:
    """The numbers of a comparison, a line each."""
    means = [sum(scores) / len(pairs) for scores in zip(*((p.first.score, p.second.score) for p in pairs), strict=True)]
    others = sum(pair.first.answer != pair.second.answer for pair in pairs)
    return "\n".join(
        [
            f"{first.label}: {100 * means[0]:.1f} %, {second.label}: {100 * means[1]:.1f} % of {len(pairs)} samples",
            f"change {100 * test.difference:+.1f} [{100 * test.low:+.1f}, {100 * test.high:+.1f}], "
            f"p {test.p_value:.3f} ({test.test})",
            f"{second.label} better on {test.only_second}, worse on {test.only_first}; other answers on {others}",
        ]
    )


def evaluated(model: Path, label: str, options: Sequence[str], out: Path) -> Path:
    """Evaluate a model, or go on with it, in a process of its own: vLLM holds one model a process.

    Raises:
        ValueError: it failed; it has said why.
    """
    command = [sys.executable, "-m", "avatar_verl.evaluation", "run", "--model", str(model), "--label", label]
    if subprocess.run([*command, "--out", str(out), *options]).returncode:
        raise ValueError(f"the evaluation of {model} failed")
    return out


def _name(path: Path) -> str:
    """The last two folders: of a run, its stage and time."""
    return "/".join(path.resolve().parts[-2:])


def print_pairs(pairs: Sequence[Pair], first: Side, second: Side, console: Console) -> None:
    """A line a sample, where the answers differ."""
    table = Table(title="where they differ")
    for heading in ("sample", "truth", first.label, second.label):
        table.add_column(heading, overflow="fold")
    for pair in pairs:
        if pair.first.answer != pair.second.answer or pair.gain:
            cells = [f"{said.answer or 'no answer'} ({said.score:.2f})" for said in (pair.first, pair.second)]
            table.add_row(*(Text(cell) for cell in (pair.name, pair.first.truth, *cells)))
    console.print(table)


@app.command()
def main(
    a: Annotated[Path, typer.Argument(help="Evaluation folder, run, or (with --benchmark) model.")],
    b: Annotated[Path, typer.Argument(help="The same, for the other side.")],
    out: Annotated[Path, typer.Option(help="Folder for the page and its clips.")],
    benchmark: Annotated[
        list[str] | None, typer.Option(help="NAME=FOLDER: A and B are models to evaluate on it.")
    ] = None,
    show: Annotated[int, typer.Option(min=1, help="Samples on the page and in the terminal.")] = 100,
    engine: Annotated[str, typer.Option(help="vllm or transformers.")] = "vllm",
    device: DeviceOption = "auto",
    dtype: DtypeOption = "auto",
    max_tokens: Annotated[int, typer.Option(min=1, help="Of a completion.")] = 2048,
    max_model_len: LengthOption = 32768,
) -> None:
    """Put two models side by side."""
    console = Console() if sys.stdout.isatty() else Console(width=160)
    try:
        if benchmark:
            options = [word for text in benchmark for word in ("--benchmark", text)]
            options += ["--engine", engine, "--device", device, "--dtype", dtype, "--max-model-len", str(max_model_len)]
            options += ["--max-tokens", str(max_tokens)]
            a, b = (evaluated(path, f"{n}: {_name(path)}", options, out / n) for n, path in (("A", a), ("B", b)))
        first, second = read_side(a), read_side(b)
        pairs = pair_up(first, second)
    except ValueError as error:
        print(error, file=sys.stderr)
        raise typer.Exit(2) from None
    test = compare_paired([pair.first.score for pair in pairs], [pair.second.score for pair in pairs])
    summary = summary_of(pairs, first, second, test)
    print_pairs(pairs[:show], first, second, console)
    console.print(summary, markup=False, highlight=False)
    console.print(f"with the clips: {write_page(pairs[:show], first, second, summary, out)}", markup=False)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    app()
