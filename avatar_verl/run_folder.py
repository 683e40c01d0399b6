"""The folder of one run: where it lies, what is in it, and how a run that was cut off is found again.

``outputs/<stage>/<time>/`` holds ``config.yaml``, ``metrics.jsonl``, ``samples.jsonl``, ``trained.jsonl``,
``bad_rows.jsonl``, ``log.txt``, ``report.html`` and ``checkpoints/global_step_N/{actor, ...}``;
``outputs/<stage>/latest`` points to the newest. A checkpoint counts once ``complete.json`` stands in its folder, which
is written last; a run is finished once ``finished.json`` stands.
"""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

logger = logging.getLogger(__name__)

_MARK = "complete.json"


def write_text(path: Path, text: str) -> None:
    """Write by a temporary name and a rename, so that a reader sees all of it or none."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(text)
        os.replace(temporary, path)
    except OSError:  # a full disk keeps no halves
        temporary.unlink(missing_ok=True)
        raise


def write_json(path: Path, value: Any) -> None:
    """Write as :func:`write_text` does."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True))


def new_run(root: Path, stage: str) -> Path:
    """Make ``root/<stage>/<time>`` and point ``latest`` to it."""
    base = root / stage
    base.mkdir(parents=True, exist_ok=True)
    stamp = time.strftime("%Y%m%d-%H%M%S")
    for suffix in ("", *(f"-{n}" for n in range(1, 100))):
        run = base / f"{stamp}{suffix}"
        try:
            run.mkdir()
        except FileExistsError:
            continue
        _point_latest(base, run)
        return run
    raise RuntimeError(f"no free run name under {base}")


def _point_latest(base: Path, run: Path) -> None:
    temporary = base / f".latest.{os.getpid()}"
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(run.name)
    os.replace(temporary, base / "latest")


def unfinished_run(root: Path, stage: str) -> Path | None:
    """The newest run of the stage, if it has a configuration and did not finish."""
    latest = root / stage / "latest"
    if not (latest / "config.yaml").is_file() or (latest / "finished.json").exists():
        return None
    return latest.resolve()


class RunIsHeldError(RuntimeError):
    """Another process trains this run now."""


@contextmanager
def held(run: Path) -> Iterator[None]:
    """Keep other processes from training the same run; the lock ends with the process, even by kill -9.

    Raises:
        RunIsHeldError: another process has it.
    """
    with (run / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunIsHeldError(f"{run} is being trained by another process; wait for its end or stop it") from None
        except OSError as error:
            if error.errno not in (errno.ENOSYS, errno.EOPNOTSUPP):  # some parallel file systems know no locks
                raise
            logger.warning("%s cannot be locked (%s): take care to train it once at a time", run, error.strerror)
        yield


class StopAskedError(Exception):
    """The run was asked to stop, and its last step is saved and logged."""


def ask_to_stop(run: Path) -> None:
    """Ask whoever trains the run to save a checkpoint behind the step under way, and end."""
    (run / "stop").touch()


def withdraw_stop(run: Path) -> None:
    """Forget an earlier :func:`ask_to_stop`."""
    (run / "stop").unlink(missing_ok=True)


def asked_to_stop(run: Path) -> bool:
    """Whether :func:`ask_to_stop` was called and nobody took it back."""
    return (run / "stop").exists()


def mark_complete(checkpoint: Path, details: Mapping[str, Any]) -> None:
    """Declare a checkpoint whole, and list its files. Call it after everything else in the folder is written."""
    files = {str(path.relative_to(checkpoint)): path.stat().st_size for path in checkpoint.rglob("*") if path.is_file()}
    write_json(checkpoint / _MARK, {**details, "files": files})


def torn(checkpoint: Path) -> str:
    """Why a checkpoint cannot be resumed from; empty: it is whole.

    A file may be longer than listed: a network file system can tell an old size to whoever lists it.
    """
    try:
        files = json.loads((checkpoint / _MARK).read_text()).get("files", {})
    except FileNotFoundError:
        return f"{checkpoint.name} has no {_MARK}: the run ended while it was being written"
    except (json.JSONDecodeError, AttributeError):
        return f"{checkpoint.name}/{_MARK} cannot be read"
    for name, size in files.items():
        path = checkpoint / name
        if not path.is_file():
            return f"{checkpoint.name} lacks {name}"
        if path.stat().st_size < size:
            return f"{checkpoint.name}/{name} has {path.stat().st_size} bytes of {size}"
    return ""


def _newest_first(checkpoints: Path) -> list[tuple[int, Path]]:
    numbered = [(folder.name.removeprefix("global_step_"), folder) for folder in checkpoints.glob("global_step_*")]
    return sorted(((int(number), folder) for number, folder in numbered if number.isdigit()), reverse=True)


def newest_checkpoint(checkpoints: Path, refuse: Callable[[str], object] = lambda _: None) -> Path | None:
    """The whole checkpoint with the highest step.

    Args:
        checkpoints: folder of them.
        refuse: told why each newer one is passed over.
    """
    for _, folder in _newest_first(checkpoints):
        reason = torn(folder)
        if not reason:
            return folder
        refuse(reason)
    return None


def prune_checkpoints(checkpoints: Path, keep: int) -> None:
    """Remove all but the newest ``keep`` (1 or more) whole checkpoints, and torn ones older than the newest whole one.

    A torn one that is newer than all whole ones stays: it may be the one that is being written.
    """
    newest = newest_checkpoint(checkpoints)
    if newest is None:
        return
    last, kept = int(newest.name.removeprefix("global_step_")), 0
    for step, folder in _newest_first(checkpoints):
        if step <= last and kept < keep and not torn(folder):
            kept += 1
        elif step <= last:
            shutil.rmtree(folder)


def saved_replay(path: Path) -> Path | None:
    """Folder of the replay state that ``path`` names: itself, or that of a run's newest whole checkpoint; or None."""
    newest = newest_checkpoint(path / "checkpoints")
    candidates = [path] if newest is None else [path, newest / "avatar"]
    return next((folder for folder in candidates if (folder / "manifest.json").is_file()), None)


def append_jsonl(path: Path, records: list[dict[str, Any]]) -> None:
    """Append records, one line each, in a single write."""
    if records:
        with path.open("a") as file:
            file.write("".join(json.dumps(record, default=float) + "\n" for record in records))


def whole_lines(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Lines of a file of JSON lines with their records, without a torn last one; none where there is no file."""
    if not path.exists():
        return
    with path.open() as file:
        for line in file:
            try:
                yield line, json.loads(line)
            except json.JSONDecodeError:
                continue


def keep_lines(path: Path, wanted: Callable[[dict[str, Any]], bool]) -> None:
    """Rewrite a file of JSON lines without the records that are not wanted, and without a torn last line."""
    if not path.exists():
        return
    temporary = path.with_suffix(".tmp")
    with temporary.open("w") as file:
        file.writelines(line for line, record in whole_lines(path) if wanted(record))
    os.replace(temporary, path)
