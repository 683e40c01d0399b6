"""A self-contained HTML page of tables and bars: no script, no network, every text escaped."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from html import escape

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 68rem; padding: 0 1rem; color: #1c1c1c; }
h1 { font-size: 1.5rem } h2 { font-size: 1.15rem; margin-top: 2rem }
table { border-collapse: collapse; width: 100% } th, td { text-align: left; padding: .25rem .75rem .25rem 0 }
th { border-bottom: 1px solid #999; font-weight: 600 } td { border-bottom: 1px solid #eee; vertical-align: top }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums }
.bar { background: #4a7ab5; height: .8rem; min-width: 1px } .bad { color: #a40000 } .good { color: #2c6e2c }
img { max-width: 100% } .wide { overflow-x: auto } .wide td:first-child { min-width: 9rem }
@media (prefers-color-scheme: dark) { body { background: #181818; color: #e4e4e4 } td { border-color: #333 }
  .bad { color: #ff8a80 } .good { color: #8fce8f } img { background: #fff } }
"""


def page(title: str, sections: Sequence[str]) -> str:
    """The whole page."""
    body = "\n".join(sections)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{_STYLE}</style></head>\n<body><h1>{escape(title)}</h1>\n{body}\n</body></html>\n"
    )


def paragraph(text: str, tone: str = "") -> str:
    """``tone`` is "good", "bad" or empty."""
    return f'<p class="{escape(tone)}">{escape(text)}</p>'


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A heading and a table; columns of numbers stand on the right."""
    numeric = [bool(rows) and all(isinstance(row[at], int | float) for row in rows) for at in range(len(columns))]
    lines = [_line("th", columns, numeric), *(_line("td", [_text(value) for value in row], numeric) for row in rows)]
    return (
        f'<h2>{escape(title)}</h2>\n<div class="wide" role="region" aria-label="{escape(title)}" tabindex="0">'
        f"<table>{''.join(lines)}</table></div>"
    )


def bars(title: str, counts: Mapping[str, int]) -> str:
    """A heading and one bar for each count, the longest as wide as the page allows."""
    most = max(counts.values(), default=1) or 1
    rows = "".join(
        f'<tr><td>{escape(str(name))}</td><td class="number">{count:,}</td>'
        f'<td style="width:60%"><div class="bar" style="width:{100 * count / most:.1f}%"></div></td></tr>\n'
        for name, count in counts.items()
    )
    return f"<h2>{escape(title)}</h2>\n<table>{rows}</table>"


def picture(title: str, png: bytes) -> str:
    """A heading and a picture inside the page."""
    data = base64.b64encode(png).decode("ascii")
    return f'<h2>{escape(title)}</h2>\n<img alt="{escape(title)}" src="data:image/png;base64,{data}">'


def _line(tag: str, texts: Sequence[str], right: Sequence[bool]) -> str:
    kinds = [' class="number"' if numeric else "" for numeric in right]
    cells = (f"<{tag}{kind}>{escape(text)}</{tag}>" for kind, text in zip(kinds, texts, strict=True))
    return f"<tr>{''.join(cells)}</tr>\n"


def _text(value: object) -> str:
    if isinstance(value, float):
        return f"{value:,.{3 if abs(value) < 10 else 2}f}"
    return f"{value:,}" if isinstance(value, int) else str(value)
