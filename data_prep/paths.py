"""Media paths of annotations: relative to the media root, without ``..``, checked as text.

The file system is not asked here; ``data_prep validate`` follows links and judges the real path.
"""

from __future__ import annotations

import posixpath
import re

from avatar_verl.schema import RowError

_UNTIDY = re.compile(r"(^|/)\.?(/|$)")  # empty and "." parts
_YOUTUBE_CUT = re.compile(r"([A-Za-z0-9_-]{11})_[0-9]+(_[0-9]+)?")


def clean_path(path: str, prefix: str = "") -> str:
    """A path as rows hold it: ``./a//b.mp4`` below ``clips`` is ``clips/a/b.mp4``.

    Raises:
        RowError: ``absolute_path``, ``path_outside_root`` (has a ``..``), ``bad_path`` (empty, a URL, a zero byte).
    """
    path = path.removeprefix("./")  # as Video-R1 writes all of its paths
    if ".." in path and ".." in path.split("/"):
        raise RowError("path_outside_root", path)
    if path.startswith(("/", "~")) or path[1:3] in (":\\", ":/"):
        raise RowError("absolute_path", f"{path}; name the folder it lies in as the source's prefix")
    if not path or "\0" in path or "://" in path[:10] or path.endswith(("/", "/.")) or path == ".":
        raise RowError("bad_path", repr(path))
    if ("//" in path or "/." in path or path[0] == ".") and _UNTIDY.search(path):
        path = posixpath.normpath(path)
    return f"{prefix}/{path}" if prefix else path


def clip_ids(name: str) -> tuple[str, ...]:
    """Ids under which a benchmark may list the same clip: the stem, and the YouTube id inside ``<id>_30_40``.

    >>> clip_ids("videos/-HG3Omg_89c_000030.mp4")
    ('-HG3Omg_89c_000030', '-HG3Omg_89c')
    """
    stem = name[name.rfind("/") + 1 :]
    dot = stem.rfind(".")
    if dot > 0 and len(stem) - dot <= 5:
        stem = stem[:dot]
    cut = _YOUTUBE_CUT.fullmatch(stem)
    return (stem, cut.group(1)) if cut else (stem,)
