"""The table in the cluster guide is what the calculator says now."""

from __future__ import annotations

import importlib.util
from pathlib import Path

TABLES = Path(__file__).parents[3] / "docs" / "tables.py"


def test_the_guides_table_is_up_to_date() -> None:
    spec = importlib.util.spec_from_file_location("tables", TABLES)
    assert spec is not None
    assert spec.loader is not None
    tables = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tables)
    text = tables.GUIDE.read_text()
    assert tables.rendered(text) == text, "run: python docs/tables.py"
    assert text.count("| 7B |") == 12
