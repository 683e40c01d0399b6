"""What the site is built with beyond its Markdown files: the results page, and a menu of the pages that are there."""

from __future__ import annotations

from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from results import RESULTS, page  # beside this file; mkdocs puts the folder on the path

GENERATED = "results.md"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the results page with its plots; take guides of parts that come on their own out of the menu."""
    if files.get_file_from_path(GENERATED) is None:
        files.append(File.generated(config, GENERATED, content=page()))
        for plot in sorted(RESULTS.glob("*.png")):
            files.append(File.generated(config, f"results/{plot.name}", content=plot.read_bytes()))
    config.nav = _present(config.nav, files)
    return files


def _present(entries: Any, files: Files) -> list[Any]:
    kept = []
    for entry in entries:
        ((title, target),) = entry.items()
        if isinstance(target, list):
            kept.append({title: _present(target, files)})
        elif files.get_file_from_path(target) is not None:
            kept.append(entry)
    return kept
