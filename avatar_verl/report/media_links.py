"""How the page reaches a clip: by a relative link, or as a part of the page when it is small and that is wanted.

A clip in a codec that browsers do not show gets a copy in H.264, in the folder ``<page>_media`` beside the page.
"""

from __future__ import annotations

import base64
import os
from pathlib import Path
from urllib.parse import quote

from avatar_verl.report.clips import copy_of, needs_copy

#: Ending of a file -> (element that shows it, its MIME type). Other files are named only.
KINDS = {
    ".mp4": ("video", "video/mp4"),
    ".webm": ("video", "video/webm"),
    ".mov": ("video", "video/quicktime"),
    ".mkv": ("video", "video/x-matroska"),
    ".wav": ("audio", "audio/wav"),
    ".mp3": ("audio", "audio/mpeg"),
    ".flac": ("audio", "audio/flac"),
    ".m4a": ("audio", "audio/mp4"),
    ".ogg": ("audio", "audio/ogg"),
    ".png": ("image", "image/png"),
    ".jpg": ("image", "image/jpeg"),
    ".jpeg": ("image", "image/jpeg"),
    ".webp": ("image", "image/webp"),
    ".gif": ("image", "image/gif"),
}

MOST_COPIES = 500


class MediaLinks:
    """Links from one page.

    At most :data:`MOST_COPIES` clips are copied for it: a page is written within seconds.

    Args:
        page: the HTML file; links are relative to its folder.
        embed_bytes: all embedded files together may have so many bytes; 0 embeds none. The first ones that fit are
            taken, each once.
        portable: clips that are not embedded are named only, for a page that goes to where the files are not.
    """

    def __init__(self, page: Path, embed_bytes: int = 0, portable: bool = False) -> None:
        self._folder = page.absolute().parent
        self._copies = self._folder / f"{page.stem}_media"
        self._copies_left = MOST_COPIES
        self._left = embed_bytes
        self._portable = portable
        self._links: dict[str, dict[str, str]] = {}

    def __call__(self, path: str) -> dict[str, str]:
        """``kind`` (video, audio, image or empty), ``name`` and ``url`` (empty where there is nothing to show)."""
        if path not in self._links:
            self._links[path] = self._make(Path(path))
        return self._links[path]

    def _make(self, path: Path) -> dict[str, str]:
        kind, _ = KINDS.get(path.suffix.lower(), ("", ""))
        link = {"kind": kind, "name": path.name, "url": ""}
        if kind and path.is_file():
            path = self._shown(path) if kind == "video" else path
            mime = KINDS[path.suffix.lower()][1]
            size = path.stat().st_size
            if size <= self._left:
                self._left -= size
                link["url"] = f"data:{mime};base64,{base64.b64encode(path.read_bytes()).decode('ascii')}"
            elif not self._portable:
                link["url"] = quote(os.path.relpath(path, self._folder))
        return link

    def _shown(self, clip: Path) -> Path:
        """The clip, or its copy where browsers cannot show it."""
        if self._copies_left == 0 or not needs_copy(clip):
            return clip
        self._copies_left -= 1
        return copy_of(clip, self._copies) or clip
