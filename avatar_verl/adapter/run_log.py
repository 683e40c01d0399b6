"""What a run leaves behind for people, as lines of JSON in its folder: metrics, samples, trained rows, bad rows."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Iterable
from numbers import Real
from pathlib import Path
from typing import Any

from avatar_verl.config import RewardConfig
from avatar_verl.rewards.metrics import fs_grpo_metrics, judge_metrics, reward_metrics
from avatar_verl.rewards.records import to_record
from avatar_verl.run_folder import append_jsonl, keep_lines, whole_lines

#: Split -> prefix of its metrics, prefix of its counters of bad rows.
_METRICS = {
    "train": ("avatar/train", "avatar/media/bad_rows"),
    "val": ("avatar/val", "avatar/val/bad_rows"),
}

#: Fewer bad rows than this never stop a run, whatever their share.
MIN_BAD_ROWS = 3


class BadDataError(RuntimeError):
    """More rows are bad than ``avatar.media.max_bad_share`` allows."""

    @classmethod
    def of(cls, bad: int, total: int, limit: float, file: Path) -> BadDataError:
        """The error with its message; built here, so that it stays one text across processes."""
        return cls(
            f"{bad} of {total} rows are bad, more than avatar.media.max_bad_share = {limit}; "
            f"their ids and reasons are in {file}. Repair or remove them (python -m data_prep validate), "
            "or raise the limit."
        )


class RunLog:
    """Files of one run folder, and the counters over its bad rows."""

    #: A share of fewer rows than this, or than there are, says nothing yet.
    MIN_SEEN_ROWS = 100

    def __init__(self, folder: Path, max_bad_share: float, rewards: RewardConfig | None = None) -> None:
        self.folder = folder
        self.max_bad_share = max_bad_share
        self._rewards = rewards or RewardConfig()
        self._judge_costs: dict[str, dict[str, float]] = {}  # worker -> its counters so far
        self._bad: set[str] = set()
        self._seen: set[str] = set()
        self._rows = 0  # of all data sets
        self._carried: dict[str, float] = {}
        # Of bad rows since samples() was last called, by split.
        self._reasons: dict[str, Counter[str]] = {split: Counter() for split in _METRICS}

    def resume_at(self, step: int) -> bool:
        """Forget what was written after the checkpoint of ``step``; -1: everything.

        Returns:
            Whether the metrics of ``step`` are there. A run that was killed between the checkpoint and the end of the
            validation behind it has none; what that validation wrote is forgotten too.
        """
        for name in ("metrics.jsonl", "samples.jsonl", "trained.jsonl", "bad_rows.jsonl"):
            keep_lines(self.folder / name, lambda record: record["step"] <= step)
        for name, prompts in (("samples.jsonl", self._seen), ("bad_rows.jsonl", self._bad)):
            prompts.update(r["prompt_id"] for _, r in whole_lines(self.folder / name) if "file" not in r)
        self._seen |= self._bad
        if any(record["step"] == step for _, record in whole_lines(self.folder / "metrics.jsonl")):
            return True
        for name in ("samples.jsonl", "bad_rows.jsonl"):
            keep_lines(self.folder / name, lambda record: (record["step"], record["split"]) != (step, "val"))
        return False

    def carry(self, data: dict[str, float]) -> None:
        """Numbers that belong into the next line of metrics: its step was cut off behind its checkpoint."""
        self._carried = data

    def metrics(self, step: int, data: dict[str, Any]) -> dict[str, Any]:
        """Append one line: the step, the time of day in seconds, and every number.

        Returns:
            ``data`` with what was carried: all that belongs to the step.
        """
        data, self._carried = {**self._carried, **data}, {}
        append_jsonl(self.folder / "metrics.jsonl", [{"step": step, "time": time.time(), **numbers(data)}])
        return data

    def drawn(self, prompt_ids: Iterable[str]) -> None:
        """Prompts that are generated from now on: a bad one is known long before the good ones beside it."""
        self._seen.update(prompt_ids)

    def bad_rows(self, step: int, reports: list[dict[str, Any]]) -> None:
        """File the bad rows among the agent loops' reports.

        Raises:
            RuntimeError: an agent loop failed for a reason that is not the data's.
            BadDataError: the share of bad prompts passed the limit.
        """
        for report in reports:
            if report["kind"] == "error":
                raise RuntimeError(f"the rollout of a prompt failed:\n{report['detail']}")
        bad = [{**r, "step": step} for r in reports if r["kind"] == "bad_row"]
        append_jsonl(self.folder / "bad_rows.jsonl", bad)
        for report in bad:
            self._reasons[report["split"]][report["reason"]] += 1
        self._seen.update(r["prompt_id"] for r in reports)
        self._bad.update(r["prompt_id"] for r in bad)
        self._check_share()

    def samples(self, step: int, reports: list[dict[str, Any]], split: str) -> dict[str, float]:
        """File completions, and sum up these and the bad rows since the last call as metrics."""
        chosen = [r for r in reports if r["kind"] == "sample"]
        records = [{**to_record(r["sample"], r["breakdown"]), **r["details"], "step": step} for r in chosen]
        append_jsonl(self.folder / "samples.jsonl", records)
        prefix, reasons = _METRICS[split], self._reasons[split]
        metrics = {f"{prefix[1]}/{reason}": float(n) for reason, n in reasons.items()}
        metrics[f"{prefix[1]}/total"] = float(reasons.total())
        reasons.clear()
        metrics.update(sample_metrics(records, prefix[0]))
        scored, breakdowns = [r["sample"] for r in chosen], [r["breakdown"] for r in chosen]
        by_format = fs_grpo_metrics(scored, breakdowns, self._rewards)
        if split == "val":
            by_format = {key.replace("avatar/", "avatar/val/", 1): value for key, value in by_format.items()}
        else:
            metrics.update(reward_metrics(scored, breakdowns))
            metrics.update(judge_metrics(self._judge_costs.values()))
        return {**metrics, **by_format}

    def judge_costs(self, reports: Iterable[dict[str, Any]]) -> None:
        """Note what the judge has cost each worker so far; :meth:`samples` gives the sums."""
        self._judge_costs.update((report["worker"], report["cost"]) for report in reports)

    def trained(self, records: list[dict[str, Any]]) -> None:
        """File the rows of an update; see :mod:`avatar_verl.adapter.trained_log`."""
        append_jsonl(self.folder / "trained.jsonl", records)

    def dataset_rows(self, rows: list[dict[str, Any]], total: int, split: str, resumed: bool) -> None:
        """File rows that break the schema, once per run.

        Args:
            rows: of one data set.
            total: all rows of the data set.
            split: ``train`` or ``val``.
            resumed: the run goes on from a checkpoint, so they are filed already.

        Raises:
            BadDataError: their share passes the limit.
        """
        if not resumed:
            records = [{"kind": "bad_row", "step": 0, "split": split, **row} for row in rows]
            append_jsonl(self.folder / "bad_rows.jsonl", records)
            self._reasons[split].update(row["reason"] for row in rows)
        self._rows += total
        if total and len(rows) >= MIN_BAD_ROWS and len(rows) / total > self.max_bad_share:
            raise BadDataError.of(len(rows), total, self.max_bad_share, self.folder / "bad_rows.jsonl")

    def _check_share(self) -> None:
        bad, seen = len(self._bad), len(self._seen)
        enough = max(seen, min(self._rows, self.MIN_SEEN_ROWS))
        if bad >= MIN_BAD_ROWS and bad > self.max_bad_share * enough:
            raise BadDataError.of(bad, seen, self.max_bad_share, self.folder / "bad_rows.jsonl")


def numbers(data: dict[str, Any]) -> dict[str, float]:
    """The numbers among the values, as floats."""
    return {key: float(value) for key, value in data.items() if isinstance(value, Real)}


def sample_metrics(samples: list[dict[str, Any]], prefix: str) -> dict[str, float]:
    """Means over completions: reward, each part, length, and accuracy by family, difficulty and modality."""
    if not samples:
        return {}
    metrics = {
        f"{prefix}/reward": _mean([s["reward"] for s in samples]),
        f"{prefix}/num_tokens": _mean([s["num_tokens"] for s in samples]),
        f"{prefix}/truncated": _mean([float(s["truncated"]) for s in samples]),
        f"{prefix}/silent_clips": float(sum(s["silent_clips"] for s in samples)),
        f"{prefix}/truncated_audios": float(sum(s["truncated_audios"] for s in samples)),
    }
    for part in samples[0]["parts"]:
        values = [s["parts"][part] for s in samples if s["parts"][part] is not None]
        if values:
            metrics[f"{prefix}/{part}"] = _mean(values)
    if "accuracy" in samples[0]["parts"]:
        for field in ("family", "difficulty", "modality"):
            groups = defaultdict(list)
            for s in samples:
                groups[s[field]].append(s["parts"]["accuracy"] or 0.0)
            metrics.update({f"{prefix}/accuracy/{field}/{name}": _mean(v) for name, v in groups.items() if name})
    return metrics


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
