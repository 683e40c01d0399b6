"""What a run's configuration changed of its preset, and how the configurations of several runs differ."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from avatar_verl.config import AvatarConfig
from avatar_verl.report.run_data import RunData


def config_changes(run: RunData) -> dict[str, Any]:
    """Against what, and ``[key, there, here]`` of every key that differs.

    A run writes ``config_changes.json`` when it starts. Without it, the ``avatar`` node is compared with its defaults,
    which are the paper's.
    """
    if run.changes:
        against = f"preset {run.changes['preset']}, profile {run.changes['profile']}"
        rows = [[key, _text(there), _text(here)] for key, (there, here) in sorted(run.changes["changes"].items())]
        return {"against": against, "rows": rows}
    if not run.avatar:
        return {"against": "", "rows": []}
    defaults = dict(_flat(AvatarConfig().model_dump(mode="json")))
    own = dict(_flat(run.avatar))
    keys = sorted(key for key in own.keys() | defaults.keys() if own.get(key) != defaults.get(key))
    rows = [[f"avatar.{key}", _text(defaults.get(key)), _text(own.get(key))] for key in keys]
    return {"against": "the defaults of the avatar node", "rows": rows}


def between_runs(runs: list[RunData]) -> list[list[str]]:
    """``[key, value in each run]`` of every key of the resolved configurations that is not the same in all runs."""
    flat = [dict(_flat(run.config)) for run in runs]
    keys = sorted({key for one in flat for key in one})
    rows = [[key, *(_text(one.get(key)) for one in flat)] for key in keys]
    return [row for row in rows if len(set(row[1:])) > 1]


def _flat(node: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in node.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _text(value: Any) -> str:
    return "not set" if value in (None, "", "???") else str(value)
