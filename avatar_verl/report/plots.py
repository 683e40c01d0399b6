"""Charts of the page as PNG and SVG for papers, by matplotlib."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from avatar_verl.report.advantages import advantage_histogram, shaping_curve
from avatar_verl.report.charts import Chart, shown
from avatar_verl.report.run_data import RunData
from avatar_verl.report.series import Series, build_series

#: Okabe and Ito's colours, which people with any colour vision tell apart.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#999999")
STYLES = ("-", "--", ":", "-.")


def write_plots(runs: list[RunData], folder: Path) -> list[Path]:
    """Write one PNG and one SVG a chart into ``folder`` and return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    series = [build_series(run) for run in runs]
    written = []
    for chart in shown({key for one in series for key in one.values}):
        figure, panel = _figure(chart.title)
        draw_chart(panel, chart, [run.name for run in runs], series)
        written += _save(figure, folder, chart.title)
    for run in runs:
        of = f" of {run.name}" if len(runs) > 1 else ""
        for name, replayed in (("fresh", False), ("replayed", True)):
            histogram = advantage_histogram(run.lines("trained.jsonl"), replayed)
            if histogram:
                figure, panel = _figure(f"Advantages of {name} rows over time")
                draw_histogram(panel, histogram)
                written += _save(figure, folder, f"Advantages of {name} rows over time{of}")
        if run.avatar:
            figure, panel = _figure("Temporal shaping: weight of a token")
            _draw_shaping(panel, shaping_curve(run.avatar.get("shaping") or {}, run.lines("trained.jsonl")))
            written += _save(figure, folder, f"Temporal shaping{of}")
    return written


def _figure(title: str) -> tuple[Any, Any]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.2, 3.2), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    panel = figure.subplots()
    panel.set_title(title, loc="left", fontsize=10)
    panel.set_xlabel("step")
    panel.spines[["top", "right"]].set_visible(False)
    return figure, panel


def _save(figure: Any, folder: Path, title: str) -> list[Path]:
    stem = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")
    figure.savefig(folder / f"{stem}.png", metadata={"Software": None})
    figure.savefig(folder / f"{stem}.svg", metadata={"Date": None})
    return [folder / f"{stem}.png", folder / f"{stem}.svg"]


def draw_chart(panel: Any, chart: Chart, names: list[str], series: list[Series]) -> None:
    """Several runs differ in colour and their curves in style; the curves of a single run differ in colour.

    A stack of several runs would hide all but one: their layers are drawn as curves.
    """
    if chart.kind == "stack" and len(series) == 1:
        _draw_stack(panel, chart, series[0])
    else:
        for number, (name, one) in enumerate(zip(names, series, strict=True)):
            for place, line in enumerate(line for line in chart.lines if one.has(line.key)):
                colour = COLOURS[(number if len(series) > 1 else place) % len(COLOURS)]
                label = f"{name}: {line.label}" if len(series) > 1 else line.label
                style = STYLES[place % len(STYLES)] if len(series) > 1 else "-"
                _draw_line(panel, one, (line.key, line.spread), colour=colour, label=label, style=style)
    if chart.log:
        panel.set_yscale("log")
    panel.legend(fontsize=7, frameon=False)


def _draw_line(panel: Any, one: Series, keys: tuple[str, str], *, colour: str, label: str, style: str) -> None:
    """``keys``: of the curve, and of the half width of its band."""
    key, spread = keys
    points = [(x, y, i) for i, (x, y) in enumerate(zip(one.steps, one.values[key], strict=True)) if y is not None]
    x, y = [p[0] for p in points], [p[1] for p in points]
    panel.plot(x, y, style, color=colour, label=label, marker="." if len(x) < 30 else None, linewidth=1.2)
    if one.has(spread):
        widths = [one.values[spread][i] or 0.0 for _, _, i in points]
        low = [value - width for value, width in zip(y, widths, strict=True)]
        high = [value + width for value, width in zip(y, widths, strict=True)]
        panel.fill_between(x, low, high, color=colour, alpha=0.15, linewidth=0)


def _draw_stack(panel: Any, chart: Chart, one: Series) -> None:
    """Layers over the steps that any of them has; a layer is 0 where it has no value."""
    layers = [one.values[line.key] for line in chart.lines]
    at = [i for i in range(len(one.steps)) if any(layer[i] is not None for layer in layers)]
    heights = [[layer[i] or 0.0 for i in at] for layer in layers]
    labels = [line.label for line in chart.lines]
    panel.stackplot([one.steps[i] for i in at], heights, labels=labels, colors=COLOURS, alpha=0.8, linewidth=0)


def draw_histogram(panel: Any, histogram: dict[str, Any]) -> None:
    """Advantage against step, darker where more of the step's rows are; see :func:`advantage_histogram`."""
    steps = histogram["steps"]
    width = steps[-1] - steps[-2] if len(steps) > 1 else 1
    shares = [list(row) for row in zip(*histogram["shares"], strict=True)]  # [BINS][C]
    mesh = panel.pcolormesh([*steps, steps[-1] + width], histogram["edges"], shares, cmap="Blues", rasterized=True)
    panel.figure.colorbar(mesh, ax=panel, label="share of rows")
    panel.set_ylabel("advantage")


def _draw_shaping(panel: Any, curve: dict[str, Any]) -> None:
    panel.plot(curve["places"], curve["configured"], color=COLOURS[0], label="configured", linewidth=1.2)
    known = [(place, value) for place, value in zip(curve["places"], curve["measured"], strict=True) if value]
    if known:
        panel.plot(*zip(*known, strict=True), ".--", color=COLOURS[1], label="measured", linewidth=1.2)
    panel.set_xlabel("place of the token in its completion")
    panel.legend(fontsize=7, frameon=False)
