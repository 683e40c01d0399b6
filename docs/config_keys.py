"""Writes docs/configuration.md: every key of the `avatar:` node, from the typed configuration.

python docs/config_keys.py            # rewrite the page
python docs/config_keys.py --check    # exit 1 if it would change
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from avatar_verl.config import AvatarConfig

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / "docs" / "configuration.md"
HEAD = """# Configuration

A run is configured by Hydra: `recipe/config/avatar.yaml`, then a preset, then a profile, then what the stage's own
file says, then `KEY=VALUE` on the command line. So stages 2 and 3 keep their reward weights under any preset; the
released ones are `+weights=released_stage2` and `+weights=released_stage3`. `DRY_RUN=1 ./run_stage1.sh` prints the
result and checks it. An unknown key, an impossible value or a contradiction stops the run before Ray starts, with one
line for each.

## Sizes

`data.train_batch_size` counts the prompts of a step, `actor_rollout_ref.actor.ppo_mini_batch_size` those of one
optimiser step. Each prompt is `on_policy_batches` fresh and up to `off_policy_batches` replayed rows. Profile `gpu`
with preset `paper`: 64 x 4 = 256 completions are generated, up to 512 rows trained, in 2 optimiser steps. The batch
must be a multiple of the mini-batch, and mini-batch times `on_policy_batches` a multiple of the GPUs. Another number
of GPUs: `trainer.n_gpus_per_node=4`. Smaller GPUs: ask `python -m avatar_verl.memory profile=gpu
trainer.n_gpus_per_node=4 --gpu-gib 48` first. Out of memory in the update: lower
`actor_rollout_ref.actor.ppo_max_token_len_per_gpu`, not below `data.max_prompt_length` + `data.max_response_length`,
then `avatar.media.max_frames`. In vLLM: lower `actor_rollout_ref.rollout.gpu_memory_utilization`.

## Keys

This page holds what is ours, the `avatar:` node, as `avatar_verl/config.py` declares it. All other keys (`data`,
`actor_rollout_ref`, `trainer`, ...) are verl's; the ones we set stand in `recipe/config/avatar.yaml` with the reason
beside them.

<!-- made by: python docs/config_keys.py -->
"""
SIGNS = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}


def page() -> str:
    """The page as Markdown."""
    return "\n".join([HEAD, *_sections(AvatarConfig, "avatar"), _presets()])


def _sections(model: type[BaseModel], path: str) -> Iterator[str]:
    """One table for a node's own keys, then its nodes."""
    nodes, rows = [], []
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            nodes.append((f"{path}.{name}", field.annotation))
        else:
            rows.append(f"| `{path}.{name}` | {_type(field)} | {_default(field)} | {_cell(field.description or '')} |")
    text = [f"## {path}\n", f"{(model.__doc__ or '').strip()}\n"]
    if rows:
        text += ["| key | values | default before preset and profile | meaning |", "|---|---|---|---|", *rows, ""]
    yield "\n".join(text)
    for where, node in nodes:
        yield from _sections(node, where)


def _type(field: FieldInfo) -> str:
    bounds = [
        f"{sign} {getattr(limit, name):g}"
        for limit in field.metadata
        for name, sign in SIGNS.items()
        if getattr(limit, name, None) is not None
    ]
    return _cell(", ".join([_name(field.annotation), *bounds]))


def _name(kind: Any) -> str:
    if kind is type(None):
        return "null"
    if get_origin(kind) is Literal:
        return ", ".join(f"`{value}`" for value in get_args(kind))
    if get_origin(kind) is dict:
        key, value = get_args(kind)
        return f"mapping of {_name(key)} to {_name(value)}"
    if get_origin(kind) in (list, tuple):
        return f"list of {_name(get_args(kind)[0])}"
    if get_args(kind):
        return " or ".join(map(_name, get_args(kind)))
    return {"str": "text", "int": "whole number", "float": "number", "bool": "true, false"}[kind.__name__]


def _default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True)
    if value is PydanticUndefined:
        return "needed"
    return f"`{_cell(json.dumps(value))}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _presets() -> str:
    parts = ["## Presets\n", "`preset=NAME` chooses one; `paper` is the default.\n"]
    for file in sorted((ROOT / "recipe" / "config" / "preset").glob("*.yaml")):
        parts.append(f"### {file.stem}\n\n```yaml\n{file.read_text(encoding='utf-8').strip()}\n```\n")
    return "\n".join(parts)


def main() -> int:
    if "--check" in sys.argv[1:]:
        return int(not TARGET.is_file() or TARGET.read_text(encoding="utf-8") != page())
    TARGET.write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
