"""``python -m avatar_verl.parity --model DIR --data FILE.parquet``: see the package's docstring."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from avatar_verl.config import MediaConfig
from avatar_verl.launch import environment
from avatar_verl.media import Decoder, FrameBudget, MediaError
from avatar_verl.omni.prompt import PromptBuilder, PromptInputs
from avatar_verl.schema import RowError, validate_row

app = typer.Typer(add_completion=False)


def read_budget(config: Path | None) -> MediaConfig:
    """``avatar.media`` of a run's ``config.yaml``, or the defaults."""
    if config is None:
        return MediaConfig()
    from omegaconf import OmegaConf

    from avatar_verl.adapter.node import avatar_config

    return avatar_config(OmegaConf.load(config)).media


def choose_prompts(
    builder: PromptBuilder, data: Path, root: str, per_modality: int, console: Console
) -> Iterator[tuple[str, str, PromptInputs]]:
    """(prompt id, modality, prompt): the first rows of each modality; rows that cannot be used are named."""
    import pyarrow.parquet as pq

    from avatar_verl.omni.messages import build_messages

    found: dict[str, int] = {}
    for row in pq.read_table(data).to_pylist():
        info = row["extra_info"]
        try:
            validate_row(row)
            prompt = builder.build(build_messages(row), root, bool(info["use_audio_in_video"]))
        except (MediaError, RowError) as error:
            console.print(f"left out {info['prompt_id']}: {error}")
            continue
        media = prompt.media
        count = max(len(media.images), len(media.videos), len(media.audios))
        modality = media.modality + (f" x{count}" if count > 1 else "") + (" (silent)" if media.silent_clips else "")
        found[modality] = found.get(modality, 0) + 1
        if found[modality] <= per_modality:
            yield info["prompt_id"], modality, prompt


def print_table(comparisons: list[Any], limits: Any, console: Console) -> None:
    """One line a prompt."""
    table = Table(title=f"rollout and trainer: correlation >= {limits.correlation}, mean <= {limits.mean_abs_diff:g}")
    for heading in ("modality", "prompt", "tokens", "ids", "features", "positions", "correlation", "mean", "max", ""):
        table.add_column(heading, justify="right" if heading in ("tokens", "correlation", "mean", "max") else "left")
    for one in comparisons:
        metrics = one.metrics
        marks = ["same" if same else "DIFFER" for same in (one.same_ids, one.same_facts, one.same_positions)]
        numbers = ["-"] * 3
        if metrics:
            numbers = [f"{metrics['correlation']:.7f}", *(f"{metrics[f'{k}_abs_diff']:.1e}" for k in ("mean", "max"))]
        verdict = "[green]pass[/]" if one.passes(limits) else "[red]FAIL[/]"
        table.add_row(one.modality, one.prompt_id, str(len(one.trainer.ids)), *marks, *numbers, verdict)
    console.print(table)


def print_difference(one: Any, limits: Any, tokenizer: Any, console: Console) -> None:
    """The first token where the two sides part, with what each side made it from."""
    index = one.first_difference(limits)
    console.print(f"\n[bold]{one.prompt_id}[/] ({one.modality}):")
    for name in sorted({*one.trainer.facts, *one.rollout.facts}):
        console.print(f"  {name}: trainer {one.trainer.facts.get(name)}, rollout {one.rollout.facts.get(name)}")
    if index is None:
        console.print("  no single token differs by more than the limit")
        return
    console.print(f"  first difference at token {index} of {len(one.trainer.ids)}:")
    for side, view in (("trainer", one.trainer), ("rollout", one.rollout)):
        around = range(max(0, index - 2), min(len(view.ids), index + 3))
        texts = " ".join(f"{i}:{tokenizer.convert_ids_to_tokens(view.ids[i])!r}({view.ids[i]})" for i in around)
        position = view.positions[:, index].tolist() if index < view.positions.shape[1] else "completion"
        log_prob = f"{float(view.log_probs[index - 1]):.6f}" if 0 < index <= len(view.log_probs) else "-"
        console.print(f"  {side}: position {position}, log-prob {log_prob}, tokens {texts}", markup=False)


@app.command()
def main(
    model: Annotated[Path, typer.Option(help="A complete Qwen2.5-Omni folder.")],
    data: Annotated[Path, typer.Option(help="Parquet file of our schema.")],
    rows: Annotated[int, typer.Option(min=1, help="Rows of each modality.")] = 1,
    config: Annotated[Path | None, typer.Option(help="A run's config.yaml, for its media budget and root.")] = None,
    media_root: Annotated[str, typer.Option(help="Folder of the clips; default: the run's, or that of the data.")] = "",
    num_tokens: Annotated[int, typer.Option(min=1, help="Tokens to complete each prompt by.")] = 8,
    max_model_len: Annotated[int, typer.Option(help="Longest prompt and completion.")] = 4096,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    dtype: Annotated[
        str, typer.Option(help="float32 shows errors of inputs; bfloat16 needs wider limits.")
    ] = "float32",
    correlation: Annotated[float, typer.Option(help="Least correlation of log-probs.")] = 0.9999,
    mean_abs_diff: Annotated[float, typer.Option(help="Largest mean difference of log-probs, nats.")] = 1e-4,
    align: Annotated[bool, typer.Option(help="Give vLLM the released model's positions, as a run does.")] = True,
) -> None:
    """Compare rollout and trainer on the first rows of each modality; exit code 1 where they differ."""
    os.environ.update(environment(device))
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"  # positions are watched in this process
    from transformers import Qwen2_5OmniProcessor

    from avatar_verl.parity.compare import Comparison, Limits
    from avatar_verl.parity.sides import RolloutSide, TrainerSide

    console = Console() if sys.stdout.isatty() else Console(width=160)
    limits, media = Limits(correlation, mean_abs_diff), read_budget(config)
    processor = Qwen2_5OmniProcessor.from_pretrained(model)
    trainer = TrainerSide(model, dtype, device)
    builder = PromptBuilder(processor, trainer.config, FrameBudget.from_config(media), Decoder())
    root = media_root or media.root or str(data.resolve().parent)
    prompts = list(choose_prompts(builder, data, root, rows, console))
    rollout = RolloutSide(model, dtype, max_model_len, align, device)
    comparisons = []
    for prompt_id, modality, prompt in prompts:
        theirs = rollout.run(prompt, num_tokens)
        ours = trainer.run(prompt, theirs.ids[-(len(theirs.log_probs) + 1 - len(prompt.input_ids)) :])
        comparisons.append(Comparison(prompt_id, modality, theirs, ours))
    print_table(comparisons, limits, console)
    failed = [one for one in comparisons if not one.passes(limits)]
    for one in failed:
        print_difference(one, limits, processor.tokenizer, console)
    if failed or not comparisons:
        raise typer.Exit(1)


if __name__ == "__main__":
    app()
