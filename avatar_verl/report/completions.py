"""Chosen completions as columns of a compact JSON: texts once, numbers as arrays, groups by number.

The page's script reads this form; ``viewer.js`` names every field again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from avatar_verl.report.run_data import RunData
from avatar_verl.report.selection import GroupName, Selection, fresh_group, trained_group

#: What the records of one prompt share.
_PROMPT = ("prompt_id", "question", "options", "ground_truth", "problem_type", "family", "difficulty", "modality")

Link = Callable[[str], dict[str, str]]


class Completions:
    """Builds the columns of one run.

    Args:
        link: media path -> ``{"kind", "name", "url"}`` as the page shows it.
    """

    def __init__(self, link: Link) -> None:
        self._link = link
        self._prompts: dict[str, int] = {}
        self._groups: dict[GroupName, int] = {}
        self._rows: dict[tuple[GroupName, str, int], int] = {}
        self.prompts: list[dict[str, Any]] = []
        self.groups: list[dict[str, Any]] = []
        self.rows: list[dict[str, Any]] = []

    def _prompt(self, record: dict[str, Any]) -> int:
        prompt_id = record["prompt_id"]
        if prompt_id not in self._prompts:
            self._prompts[prompt_id] = len(self.prompts)
            self.prompts.append({"prompt_id": prompt_id})
        prompt = self.prompts[self._prompts[prompt_id]]
        if "question" in record and "question" not in prompt:
            prompt.update({name: record.get(name, "") for name in _PROMPT})
            prompt["cues"] = record.get("audio_cues", "")
            prompt["media"] = [self._link(path) for path in record.get("media", ())]
        return self._prompts[prompt_id]

    def _group(self, name: GroupName, prompt: int) -> int:
        if name not in self._groups:
            self._groups[name] = len(self.groups)
            self.groups.append({"step": name[0], "split": name[1], "prompt": -1 if name[1] == "replay" else prompt})
        return self._groups[name]

    def _row(self, name: GroupName, record: dict[str, Any]) -> dict[str, Any]:
        key = (name, str(record["group"]), int(record.get("session", -1)))
        if key not in self._rows or key[2] < 0:
            self._rows[key] = len(self.rows)
            prompt = self._prompt(record)
            self.rows.append({"group": self._group(name, prompt), "prompt": prompt})
        return self.rows[self._rows[key]]

    def fresh(self, record: dict[str, Any]) -> None:
        """Take over a record of ``samples.jsonl``."""
        name = fresh_group(record)
        row = self._row(name, record)
        row.update(
            text=record["completion"],
            reward=record["reward"],
            parts=record["parts"],
            reasons=record["reasons"],
            answer=record["answer"],
            tokens=record["num_tokens"],
            log_prob=record["mean_log_prob"],
            cut=int(record["truncated"]),
        )
        if record.get("hint"):
            self.groups[row["group"]]["hint"] = record["hint"]

    def trained(self, record: dict[str, Any], traced: bool) -> None:
        """Take over a record of ``trained.jsonl``; ``traced``: with its tokens."""
        name = trained_group(record)
        replayed = bool(record.get("replayed"))
        if replayed:
            self._prompt(record)
        elif name not in self._groups:
            return  # its completion is missing from samples.jsonl
        row = self._row(name, record)
        row["advantage"] = record["advantage"]
        if replayed:
            row.update(
                text=record["completion"],
                reward=record["reward"],
                parts=record["parts"],
                reasons={},
                replayed={name: record[name] for name in ("reference", "age", "from_group", "tier", "hint_used")},
            )
        else:
            self.groups[row["group"]] |= {"tier": record.get("tier", ""), "score": record.get("score")}
        if traced and "tokens" in record:
            row["trace"] = [record["tokens"], record["advantages"], record["log_probs"], record["gaps"]]

    def as_json(self) -> dict[str, Any]:
        """``prompts``, ``groups`` and ``rows``; rows as one list a field, texts and codes by number."""
        texts: dict[str, int] = {}
        fields = ("group", "prompt", "reward", "advantage", "tokens", "log_prob", "cut", "answer", "replayed", "trace")
        columns: dict[str, Any] = {name: [_brief(row.get(name)) for row in self.rows] for name in fields}
        columns["text"] = [texts.setdefault(row.get("text", ""), len(texts)) for row in self.rows]
        parts = list(dict.fromkeys(name for row in self.rows for name in row.get("parts", ())))
        columns["parts"] = {n: [_brief(row.get("parts", {}).get(n)) for row in self.rows] for n in parts}
        columns["reasons"] = {n: _coded(row.get("reasons", {}).get(n) for row in self.rows) for n in parts}
        return {"prompts": self.prompts, "groups": self.groups, "texts": list(texts), "rows": columns}


def _brief(value: Any) -> Any:
    return float(f"{value:.4g}") if isinstance(value, float) else value


def _coded(values: Iterable[str | None]) -> dict[str, Any]:
    """Each different value once, and their numbers; -1 stands for None."""
    codes: dict[str, int] = {}
    numbers = [-1 if value is None else codes.setdefault(value, len(codes)) for value in values]
    return {"names": list(codes), "at": numbers}


def read_completions(run: RunData, selection: Selection, link: Link) -> dict[str, Any]:
    """The chosen groups of a run in the page's form."""
    found = Completions(link)
    for record in run.lines("samples.jsonl"):
        if fresh_group(record) in selection.groups:
            found.fresh(record)
    for record in run.lines("trained.jsonl"):
        group = trained_group(record)
        if group in selection.groups:
            found.trained(record, traced=group in selection.traced)
    return {**found.as_json(), "shown": selection.num_shown, "all": selection.num_all}
