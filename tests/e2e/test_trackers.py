"""A run that is killed and resumed, as its trackers store it and as its page shows it while it goes on."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import re
import shutil
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from support import family
from support.runs import Job, RunResult, read_lines

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]

STEPS = 5  # of full_arguments; they validate before the first step, after step 4 and at the end
MEDIA_EVERY = 2
TRACKERS = ["tensorboard", "wandb", *(["mlflow"] if importlib.util.find_spec("mlflow") else [])]
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
NO_BROWSER = CHROMIUM is None or importlib.util.find_spec("playwright") is None
#: What a reader looks at while the page loads itself again and again.
PLACE = "#completions?split=train&order=oldest"


class Reader:
    """A page in Chromium, looked at while its run goes on."""

    def __init__(self, browser: Any) -> None:
        self._page = browser.new_page(viewport={"width": 1000, "height": 500})
        self._page.on("pageerror", lambda error: self.errors.append(str(error)))
        self._page.on("console", lambda message: self.errors.append(message.text))
        self.errors: list[str] = []
        self.steps: list[int] = []  # last step that the page knew of, whenever that changed
        self.places: set[tuple[str, int]] = set()  # filters and scroll position that reloads left it with

    def open(self, file: Path) -> None:
        self._page.goto(f"{file.as_uri()}{PLACE}")
        self._page.wait_for_selector("html[data-ready]")

    def look(self) -> None:
        """See how far the run is. From its first completions on the reader has scrolled down."""
        with contextlib.suppress(Exception):  # the page was just loading itself again
            step = self._page.evaluate("data.runs[0].steps.at(-1) ?? -1")
            if self.steps[-1:] != [step]:
                self.steps.append(step)
                if step > 1:
                    found = self._page.evaluate("[location.hash.replace(/&group=.*/, ''), Math.round(window.scrollY)]")
                    self.places.add(tuple(found))
                self._page.evaluate("window.scrollTo({ top: 120, behavior: 'instant' })")

    def reloads(self) -> bool:
        """Whether the page still means to load itself again."""
        return bool(self._page.evaluate("data.refresh"))


@dataclass
class Tracked:
    """Two starts of one run, watched."""

    result: RunResult
    resumed_from: int
    watch_code: int
    watch_output: str
    watch_seconds: float  # from the run's end to that of --watch
    reader: Reader | None
    reloads_at_the_end: bool = False
    left: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if NO_BROWSER:
        yield None
        return
    from playwright.sync_api import sync_playwright

    with sync_playwright() as started:
        # Root may not use Chromium's sandbox; the page is our own and reaches no address.
        chromium = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def tracked(full_arguments: list[str], browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Tracked:
    folder = tmp_path_factory.mktemp("tracked")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WANDB_MODE", "offline")
        patch.chdir(folder)  # whatever lands in the working directory is found
        for name in ("TENSORBOARD_DIR", "WANDB_DIR", "WANDB_RUN_ID", "MLFLOW_TRACKING_URI", "MLFLOW_RUN_ID"):
            patch.delenv(name, raising=False)
        return follow(full_arguments, browser, folder / "outputs")


def follow(arguments: list[str], browser: Any, outputs: Path, kill_behind: int = 3) -> Tracked:
    """Start, kill behind a step, start again; all the while ``--watch`` writes the page and a reader looks at it."""
    names = ",".join(["console", *TRACKERS])
    arguments = [*arguments, f"trainer.logger=[{names}]", f"avatar.log.media_every={MEDIA_EVERY}"]
    reader = Reader(browser) if browser else None
    first = Job(arguments, outputs, "stage1")
    first.wait_for(lambda run: (run / "config_changes.json").exists())
    page = first.folder / "report.html"
    watch = subprocess.Popen(
        [sys.executable, "-m", "avatar_verl.report", str(first.folder), "--watch", "--every", "1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )

    def look() -> bool:
        if reader:
            reader.look()
        return True

    try:
        first.wait_for(lambda _: page.exists())
        if reader:
            reader.open(page)
        first.wait_for(lambda run: look() and any(r["step"] == kill_behind for r in read_lines(run / "metrics.jsonl")))
        first.kill()
        left = family.wait_until_gone(first.mark, 30)
        whole = [int(file.parent.name.split("_")[-1]) for file in first.folder.glob("checkpoints/*/complete.json")]
        second = Job(arguments, outputs, "stage1")
        while second.process.poll() is None:
            look()
            time.sleep(0.1)
        result, ended = second.wait(), time.monotonic()
        code = watch.wait(60)
        seconds = time.monotonic() - ended
        for _ in range(20):
            look()
            time.sleep(0.2)
        output = watch.stdout.read() if watch.stdout else ""
        return Tracked(result, max(whole), code, output, seconds, reader, bool(reader and reader.reloads()), left)
    finally:
        watch.kill()


def logged(result: RunResult) -> dict[tuple[str, int], float]:
    """(name, step) -> value, of everything in ``metrics.jsonl``."""
    found = {}
    for step, record in result.metrics.items():
        found |= {(name, step): value for name, value in record.items() if name not in ("step", "time")}
    return found


def test_the_run_was_killed_and_went_on(tracked: Tracked) -> None:
    assert tracked.result.code == 0, tracked.result.output + tracked.result.log_tail
    assert tracked.left == []
    assert tracked.resumed_from in (2, 3)
    assert list(tracked.result.metrics) == list(range(STEPS + 1))


def test_tensorboard_has_what_the_runs_folder_has(tracked: Tracked) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    sizes = dict.fromkeys(("scalars", "images", "tensors", "audio"), 0)
    stored = EventAccumulator(str(tracked.result.folder / "tensorboard"), size_guidance=sizes).Reload()
    tags = stored.Tags()
    found = {(name, event.step): event.value for name in tags["scalars"] for event in stored.Scalars(name)}
    assert found == pytest.approx(logged(tracked.result), rel=1e-6)  # it stores 32 bits
    counts = [len(stored.Scalars(name)) for name in ("actor/loss", "avatar/train/reward")]
    assert counts == [STEPS, STEPS], "each step once"
    assert [event.step for event in stored.Tensors("avatar/samples/completions/text_summary")] == [2, 4]
    assert {tag.rsplit("_", 1)[0] for tag in tags["images"] + tags["audio"]} >= {"avatar/samples/frames"}


def wandb_history(folder: Path) -> dict[tuple[str, int], Any]:
    """(name, step) -> value, of all files of a W&B run in the order they were written; a step's first value stays."""
    from wandb.proto.wandb_internal_pb2 import Record

    found: dict[tuple[str, int], Any] = {}
    for file in sorted(folder.glob("offline-run-*/run-*.wandb")):
        for data in leveldb_records(file.read_bytes()):
            history = Record.FromString(data).history
            for item in history.item:
                name = item.key or "/".join(item.nested_key)
                found.setdefault((name, history.step.num), json.loads(item.value_json))
    return found


def leveldb_records(data: bytes) -> Iterator[bytes]:
    """Records of a W&B file: a head of 7 bytes, then LevelDB's log format. A record that a kill tore is left out."""
    at, record = 7, b""
    while at + 7 <= len(data):
        if (room := 32768 - at % 32768) < 7:  # no head fits into the rest of the block
            at += room
            continue
        length, kind = struct.unpack("<HB", data[at + 4 : at + 7])  # behind a checksum of 4 bytes
        at += 7 + length
        if kind not in (1, 2, 3, 4) or at > len(data):
            return
        record += data[at - length : at]
        if kind in (1, 4):  # whole, or its last part
            yield record
            record = b""


def test_wandb_has_it_under_one_id(tracked: Tracked) -> None:
    folder = tracked.result.folder / "wandb"
    own = json.loads((tracked.result.folder / "trackers.json").read_text())["wandb"]
    assert [file.stem for file in folder.glob("offline-run-*/run-*.wandb")] == [f"run-{own}"] * 2
    found = wandb_history(folder)
    expected = logged(tracked.result)
    lost = {step for name, step in expected if (name, step) not in found}
    # What the process held back when it was killed is gone, its last steps at most.
    assert lost <= {tracked.resumed_from}
    same = {key: value for key, value in expected.items() if key in found and "timing" not in key[0]}
    steps_once = {step for _, step in expected} - {tracked.resumed_from + 1}
    for (name, step), value in same.items():
        if step in steps_once and not name.startswith(("perf/", "global_seqlen")):
            assert found[name, step] == pytest.approx(value, rel=1e-6), (name, step)
    assert ("avatar/samples/completions/path", 4) in found
    stored = [file for file in folder.rglob("media/**/*") if file.is_file()]
    assert any(file.name.endswith(".table.json") for file in stored)
    assert any(file.suffix in (".mp4", ".wav", ".png") for file in stored)


@pytest.mark.skipif("mlflow" not in TRACKERS, reason="mlflow is no dependency of ours")
def test_mlflow_has_it_in_one_run(tracked: Tracked) -> None:
    import mlflow

    outputs = tracked.result.folder.parents[1]
    client = mlflow.MlflowClient(f"sqlite:///{outputs / 'mlflow.db'}")
    (experiment,) = [one for one in client.search_experiments() if one.name == "avatar"]
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FINISHED"
    for name in ("actor/loss", "avatar/train/reward", "avatar/val/accuracy"):
        latest = {one.step: one.value for one in client.get_metric_history(run.info.run_id, name)}
        assert latest == pytest.approx({s: v for (key, s), v in logged(tracked.result).items() if key == name})
    files = [file.relative_to(outputs / "mlflow_files").parts[-2:] for file in (outputs / "mlflow_files").rglob("*.*")]
    assert {("samples", "step_2.txt"), ("samples", "step_4.txt")} <= set(files)


def test_nothing_lands_outside_the_outputs(tracked: Tracked) -> None:
    outputs = tracked.result.folder.parents[1]
    assert [path.name for path in outputs.parent.iterdir()] == ["outputs"]


def test_the_page_is_written_until_the_run_ends(tracked: Tracked) -> None:
    assert tracked.watch_code == 0, tracked.watch_output
    assert tracked.watch_seconds < 30
    assert re.search(r"report\.html\n", tracked.watch_output)


@pytest.mark.browser
@pytest.mark.skipif(NO_BROWSER, reason="no playwright or no Chromium")
def test_an_open_page_follows_the_run_and_keeps_its_place(tracked: Tracked) -> None:
    reader = tracked.reader
    assert reader is not None
    assert reader.errors == []
    assert reader.steps[-1] == STEPS
    assert len(set(reader.steps)) >= 4, reader.steps
    assert not tracked.reloads_at_the_end, "the page of a finished run stands still"
    assert reader.places == {(PLACE, 120)}, reader.places
