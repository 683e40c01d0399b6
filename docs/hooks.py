"""What the site is built with beyond its Markdown files: results, a sample report, and a menu of what is there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from results import RESULTS, page  # beside this file; mkdocs puts the folder on the path

from avatar_verl.report.page import render_page

GENERATED = "results.md"
#: What the page of a real run shows, some of its groups and clips.
SAMPLE = Path(__file__).parent / "report-sample.json"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the results page with its plots; take guides of parts that come on their own out of the menu."""
    if files.get_file_from_path(GENERATED) is None:
        files.append(File.generated(config, GENERATED, content=page()))
        for plot in sorted(RESULTS.glob("*.png")):
            files.append(File.generated(config, f"results/{plot.name}", content=plot.read_bytes()))
        files.append(File.generated(config, f"{SAMPLE.stem}.html", content=sample_report()))
        files.remove(files.src_uris[SAMPLE.name])
    config.nav = _present(config.nav, files)
    return files


def sample_report() -> str:
    """The report of a real run, as the code of today writes it."""
    return render_page(**json.loads(SAMPLE.read_text()))


def _present(entries: Any, files: Files) -> list[Any]:
    kept = []
    for entry in entries:
        ((title, target),) = entry.items()
        if isinstance(target, list):
            kept.append({title: _present(target, files)})
        elif files.get_file_from_path(target) is not None:
            kept.append(entry)
    return kept
