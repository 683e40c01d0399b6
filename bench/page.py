"""A page of a folder of results: what was run, a table and a plot for each result file."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

from quoted import is_quick

from data_prep.html_page import page, paragraph, picture, table

_COLOUR = "#0072b2"
MOST_PANELS = 4
QUICK = "Measured at small sizes, to see that every bench still runs. No figure of this page may be quoted."


def write_result_page(folder: Path) -> Path:
    """Write ``index.html`` into a folder of ``bench/run_all.py`` and return its path."""
    outcomes = json.loads((folder / "outcomes.json").read_text())
    rows = [[o["command"], o["state"], round(o["seconds"], 1), o["detail"]] for o in outcomes]
    results = [json.loads(file.read_text()) for file in sorted(folder.glob("*.json"))]
    quick = any(is_quick(result) for result in results)
    sections = [paragraph(QUICK)] if quick else []
    sections.append(table("Commands", ["command", "state", "seconds", "said"], rows))
    for result in results:
        if isinstance(result, dict) and result.get("rows"):
            sections += _sections(result)
    for file in sorted(folder.glob("*.png")):
        sections.append(picture(file.stem, file.read_bytes()))
    target = folder / "index.html"
    title = f"avatar-verl: {'quick results, not to be quoted,' if quick else 'results'} of {folder.name}"
    target.write_text(page(title, sections), encoding="utf-8")
    return target


def _sections(result: dict[str, Any]) -> list[str]:
    columns = list(result["rows"][0])
    cells = [["" if row.get(column) is None else row[column] for column in columns] for row in result["rows"]]
    about = {**result.get("machine", {}), **result.get("settings", {})}
    found = [
        table(f"{result['name']} (quick)" if is_quick(result) else result["name"], columns, cells),
        paragraph(f"{result['when']}; " + ", ".join(f"{key} {value}" for key, value in about.items())),
    ]
    plot = bars(result["rows"])
    return [*found, picture(f"{result['name']}, as bars", plot)] if plot else found


def bars(rows: list[dict[str, Any]]) -> bytes:
    """A panel a column of numbers, a bar a row; empty where no column has numbers only."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    numeric = [c for c in rows[0] if all(isinstance(row.get(c), int | float) for row in rows)][:MOST_PANELS]
    if not numeric:
        return b""
    texts = [column for column in rows[0] if isinstance(rows[0][column], str)]
    names = [" ".join(str(row[column]) for column in texts) or str(i) for i, row in enumerate(rows)]
    figure = Figure(figsize=(3.2 * len(numeric) + 2.5, 0.35 * len(rows) + 1.0), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    for panel, column in zip(figure.subplots(1, len(numeric), sharey=True, squeeze=False)[0], numeric, strict=True):
        panel.barh(names[::-1], [row[column] for row in rows][::-1], color=_COLOUR)
        panel.set_title(column, loc="left", fontsize=9)
        panel.spines[["top", "right"]].set_visible(False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()
