"""From run folders to the report's files."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from avatar_verl.report.advantages import advantage_histogram, shaping_curve
from avatar_verl.report.charts import CHARTS, SUPERVISED, Chart, shown
from avatar_verl.report.completions import read_completions
from avatar_verl.report.config_changes import between_runs, config_changes
from avatar_verl.report.findings import bad_row_table, facts, findings
from avatar_verl.report.media_links import MediaLinks
from avatar_verl.report.page import render_page
from avatar_verl.report.run_data import RunData
from avatar_verl.report.selection import choose_groups
from avatar_verl.report.series import Series, build_series
from avatar_verl.run_folder import write_text


@dataclass(frozen=True)
class PageOptions:
    """What a page holds."""

    most_completions: int = 5_000  # of each run, in the viewer
    most_tokens: int = 200_000  # of each run, shown token by token
    embed_bytes: int = 0  # media put into the page
    portable: bool = False  # no links to files outside the page
    refresh_s: int = 0  # the page loads itself again while a run goes on; 0: never


def write_page(runs: list[RunData], out: Path, options: PageOptions) -> None:
    """Write the page for one or several runs.

    Args:
        runs: the first is the one that the others are compared with.
        out: the HTML file; links to clips are relative to its folder.
        options: what it holds.
    """
    write_text(out, render_page(**page_content(runs, MediaLinks(out, options.embed_bytes, options.portable), options)))


def page_content(runs: list[RunData], links: MediaLinks, options: PageOptions) -> dict[str, Any]:
    """What :func:`~avatar_verl.report.page.render_page` makes a page of: its title, data and completions."""
    series = [build_series(run) for run in runs]
    keys = {key for one in series for key in one.values}
    charts = shown(keys)
    generates = "avatar/train/reward" in keys  # supervised training has no use for most charts
    data = {
        "made": time.strftime("%Y-%m-%d %H:%M"),
        "refresh": options.refresh_s if any(run.state == "running" for run in runs) else 0,
        "portable": options.portable,
        "charts": [_chart_json(chart) for chart in charts],
        "absent": sorted({c.title for c in CHARTS} - {c.title for c in charts} - SUPERVISED) if generates else [],
        "differences": between_runs(runs),
        "runs": [_run_json(run, one) for run, one in zip(runs, series, strict=True)],
    }
    completions = []
    for run in runs:
        selection = choose_groups(
            run.lines("samples.jsonl"), run.lines("trained.jsonl"), options.most_completions, options.most_tokens
        )
        completions.append(read_completions(run, selection, links))
    title = " and ".join(run.name for run in runs) if len(runs) < 3 else f"{len(runs)} runs"
    return {"title": f"{title} - avatar-verl report", "data": data, "completions": completions}


def _chart_json(chart: Chart) -> dict[str, Any]:
    return {**asdict(chart), "lines": [asdict(line) for line in chart.lines]}


def _run_json(run: RunData, series: Series) -> dict[str, Any]:
    algorithm = run.config.get("algorithm") or {}
    return {
        "name": run.name,
        "state": run.state,
        "facts": facts(run, series),
        "findings": findings(run, series),
        "steps": series.steps,
        "hours": [None if hour is None else round(hour, 4) for hour in series.hours],
        "fresh": series.fresh,
        "series": {key: _packed(values) for key, values in series.values.items()},
        "histograms": {
            name: advantage_histogram(run.lines("trained.jsonl"), replayed)
            for name, replayed in (("fresh", False), ("replayed", True))
        },
        "shaping": shaping_curve(run.avatar.get("shaping") or {}, run.lines("trained.jsonl")) if run.avatar else None,
        "changes": config_changes(run),
        "bad_rows": bad_row_table(run.bad_rows),
        "method": {
            "estimator": algorithm.get("adv_estimator", ""),
            "by_std": algorithm.get("norm_adv_by_std_in_grpo", True),
            "alpha": (run.avatar.get("vcrs") or {}).get("alpha", 0.6),
            "window": (run.avatar.get("vcrs") or {}).get("window", 20),
            "scope": (run.avatar.get("replay") or {}).get("scope", "any"),
            "shaping": run.avatar.get("shaping") or {},
            "weights": (run.avatar.get("reward") or {}).get("weights", {}),
        },
    }


def _packed(values: list[float | None]) -> Any:
    """Four digits; a series with many gaps (validations) as ``{"at": places, "v": values}``."""
    brief = [None if value is None else float(f"{value:.4g}") for value in values]
    filled = [at for at, value in enumerate(brief) if value is not None]
    if 2 * len(filled) > len(brief):
        return brief
    return {"at": filled, "v": [brief[at] for at in filled]}


def csv_lines(runs: list[RunData]) -> dict[str, list[list[str]]]:
    """Run name -> rows of its CSV: a heading, then one row a step with every series, empty where there is none."""
    tables = {}
    names: Counter[str] = Counter()
    for run in runs:
        series = build_series(run)
        keys = sorted(series.values)
        rows = [["step", "hours", "fresh_completions", *keys]]
        for place, step in enumerate(series.steps):
            hour = series.hours[place]
            cells = (series.values[key][place] for key in keys)
            rows.append([str(step), _cell(hour), str(series.fresh[place]), *map(_cell, cells)])
        stem = run.name.replace("/", "-")
        names[stem] += 1
        tables[stem if names[stem] == 1 else f"{stem}-{names[stem]}"] = rows
    return tables


def _cell(value: float | None) -> str:
    return "" if value is None else repr(value)
