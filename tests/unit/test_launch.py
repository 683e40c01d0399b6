"""The supervisor: what it shows of a run, and that nothing is left of a run that ends, however it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from avatar_verl.launch import ASKED, HUNG, RUN_ID, MetricLines, environment, supervise
from avatar_verl.main import run
from avatar_verl.run_folder import ask_to_stop, asked_to_stop

#: A driver like ours in what matters: it has children, and some of them do not listen. ``sys.argv[1]`` is the run.
DRIVER = """
import os, signal, subprocess, sys, time
from pathlib import Path
run, manner = Path(sys.argv[1]), os.environ["MANNER"]
deaf = "import signal, time; signal.signal(15, signal.SIG_IGN); signal.signal(2, signal.SIG_IGN)"
child = [sys.executable, "-c", deaf + "; time.sleep(600)"]
subprocess.Popen(child)
subprocess.Popen(child, start_new_session=True)
# An orphan: its parent ends at once, as a daemon's does.
subprocess.run([sys.executable, "-c", f"import subprocess, sys; subprocess.Popen({child!r}, start_new_session=True)"])
(run / "metrics.jsonl").write_text('{"step": 1, "avatar/train/reward": 0.25}\\n')
if manner == "deaf":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if manner == "finish":
    time.sleep(0.5)
    sys.exit(0)
if manner == "crash":
    time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGKILL)
while manner == "save" and not (run / "stop").exists():
    time.sleep(0.05)
if manner == "save":
    sys.exit(75)
def waits_for_ever():
    time.sleep(600)
waits_for_ever()
"""

SUPERVISOR = """
import sys
from pathlib import Path
import avatar_verl.launch as launch
launch.GRACE_S = float(sys.argv[2])
hang_minutes = float(sys.argv[3])
sys.exit(launch.supervise(Path(sys.argv[1]), "fake_driver", "cpu", total_steps=4, hang_minutes=hang_minutes))
"""


class Supervised:
    """A supervisor in a process of its own, and everything that it started."""

    def __init__(self, folder: Path, manner: str, grace_s: float, hang_minutes: float) -> None:
        self.token = f"{folder}-{manner}"
        (folder / "fake_driver.py").write_text(DRIVER)
        self.run = folder / "run"
        self.run.mkdir()
        path = os.pathsep.join([str(folder), *(p for p in sys.path if p)])
        variables = {**os.environ, "MANNER": manner, "TEST_TOKEN": self.token, "PYTHONPATH": path}
        self.process = subprocess.Popen(
            [sys.executable, "-c", SUPERVISOR, str(self.run), str(grace_s), str(hang_minutes)],
            env=variables,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def family(self) -> list[psutil.Process]:
        """Living processes that inherited the test's own mark, the supervisor left out."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get("TEST_TOKEN") == self.token and process.pid != self.process.pid:
                    found.append(process)
            except psutil.Error:
                continue
        return [p for p in found if p.status() != psutil.STATUS_ZOMBIE]

    def wait_for_children(self) -> None:
        """The driver and its three children are up once the line of metrics is there."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if (self.run / "metrics.jsonl").exists() and len(self.family()) == 4:
                return
            time.sleep(0.05)
        pytest.fail(f"the driver did not start: {self.family()}; {(self.run / 'log.txt').read_text()}")


@pytest.fixture
def supervised(tmp_path: Path) -> Any:
    started: list[Supervised] = []

    def start(manner: str, grace_s: float = 0.5, hang_minutes: float = 0.0) -> Supervised:
        started.append(Supervised(tmp_path, manner, grace_s, hang_minutes))
        return started[-1]

    yield start
    for one in started:
        one.process.kill()
        one.process.wait()
        for process in one.family():
            process.kill()


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
@pytest.mark.parametrize("manner", ["obedient", "deaf"])
def test_no_process_is_left_behind_after_an_interrupt(manner: str, sent: signal.Signals, supervised: Any) -> None:
    one = supervised(manner)
    one.wait_for_children()
    one.process.send_signal(sent)
    output, _ = one.process.communicate(timeout=60)
    assert one.process.returncode == 130
    assert "stopping fake_driver" in output
    assert one.family() == []


def test_a_second_interrupt_does_not_wait(supervised: Any) -> None:
    one = supervised("deaf", grace_s=300)
    one.wait_for_children()
    one.process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    one.process.send_signal(signal.SIGINT)
    one.process.communicate(timeout=60)
    assert one.process.returncode == 130
    assert one.family() == []


@pytest.mark.parametrize(("manner", "code"), [("finish", 0), ("crash", -signal.SIGKILL)])
def test_no_process_is_left_behind_by_a_driver_that_ends(manner: str, code: int, supervised: Any) -> None:
    """Whatever a killed driver started is no child of anybody any more; it is found by the run's id."""
    one = supervised(manner)
    output, _ = one.process.communicate(timeout=60)
    assert one.process.returncode == code % 256
    assert "step 1/4  reward 0.250" in output
    assert one.family() == []


def test_a_run_that_stands_still_is_reported_with_its_stacks_and_ended(supervised: Any) -> None:
    one = supervised("obedient", hang_minutes=0.1)
    output, _ = one.process.communicate(timeout=120)
    assert one.process.returncode == HUNG
    assert "step 1/4" in output  # a line of metrics is no hang; six seconds without another one are
    assert "no step ended for 0.1 minutes (run.hang_minutes)" in output
    report = (one.run / "stacks.txt").read_text()
    assert str(one.run / "stacks.txt") in output
    assert report.count("\n== pid ") == 4  # the driver and its three children
    assert "fake_driver" in report
    assert "waits_for_ever (fake_driver.py:" in report
    assert one.family() == []


def test_sigusr1_asks_the_driver_to_save_and_end(supervised: Any) -> None:
    one = supervised("save")
    one.wait_for_children()
    one.process.send_signal(signal.SIGUSR1)
    output, _ = one.process.communicate(timeout=60)
    assert one.process.returncode == ASKED
    assert "asked to stop: the step under way is finished and saved first" in output
    assert one.family() == []


def test_an_earlier_wish_to_stop_does_not_stop_the_next_start(supervised: Any, tmp_path: Path) -> None:
    one = supervised("save")
    one.wait_for_children()
    assert not asked_to_stop(one.run)
    ask_to_stop(one.run)
    one.process.communicate(timeout=60)
    assert supervise(one.run, "no_such_driver", "cpu", 1) == 1
    assert not asked_to_stop(one.run)


#: Saves a checkpoint at each of its first two starts, and always fails.
FAILING_DRIVER = """
import sys
from pathlib import Path
checkpoints = Path(sys.argv[1]) / "checkpoints"
starts = checkpoints.parent / "starts"
count = len(starts.read_text()) if starts.exists() else 0
starts.write_text("x" * (count + 1))
if count < 2:
    folder = checkpoints / f"global_step_{count + 1}"
    folder.mkdir(parents=True)
    (folder / "complete.json").write_text("{}")
sys.exit(9)
"""


@pytest.mark.parametrize(("restarts", "starts"), [(0, 1), (1, 2), (5, 3)])
def test_a_failed_run_starts_again_while_it_gets_on(
    restarts: int, starts: int, toy_world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Five are allowed, but the third start brings no new checkpoint, so there is no fourth."""
    (tmp_path / "failing_driver.py").write_text(FAILING_DRIVER)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *(p for p in sys.path if p)]))
    arguments = [
        f"run.outputs={tmp_path / 'outputs'}",
        "run.driver=failing_driver",
        f"run.restarts={restarts}",
        f"model.path={toy_world / 'model'}",
        f"run.train_files={toy_world / 'cold_start.parquet'}",
    ]
    assert run("cold_start", arguments) == 9
    assert len((tmp_path / "outputs" / "cold_start" / "latest" / "starts").read_text()) == starts


def test_the_command_says_how_to_resume(toy_world: Path, tmp_path: Path) -> None:
    """Ctrl-C in the real command, with a driver of our own."""
    (tmp_path / "fake_driver.py").write_text(DRIVER)
    outputs = tmp_path / "outputs"
    arguments = [
        "cold_start",
        f"run.outputs={outputs}",
        "run.driver=fake_driver",
        f"model.path={toy_world / 'model'}",
        f"run.train_files={toy_world / 'cold_start.parquet'}",
    ]
    path = os.pathsep.join([str(tmp_path), *(p for p in sys.path if p)])
    process = subprocess.Popen(
        [sys.executable, "-m", "avatar_verl.main", *arguments],
        env={**os.environ, "MANNER": "obedient", "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + 120
        while not list(outputs.glob("cold_start/*/metrics.jsonl")) and time.monotonic() < deadline:
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    assert "cold_start stopped (exit code 130); the log is" in output
    assert "Run the same command again to resume from the last checkpoint." in output


# ---- metrics


def test_lines_are_read_once_and_a_torn_one_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    lines = MetricLines(path)
    assert list(lines.new()) == []
    with path.open("w") as file:
        file.write('{"step": 1, "x": 1}\n{"step": 2, "na')
        file.flush()
        assert [record["step"] for record in lines.new()] == [1]
        assert list(lines.new()) == []
        file.write('me": "\u00e9"}\n{"step": 3}\n{"st')
        file.flush()
        assert [record["step"] for record in lines.new()] == [2, 3]
        file.write('ep": 4}\n')
        file.flush()
        assert [record["step"] for record in lines.new()] == [4]


def test_what_was_there_before_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n')
    lines = MetricLines(path)
    with path.open("a") as file:
        file.write('{"step": 2}\n')
    assert [record["step"] for record in lines.new()] == [2]


def test_a_file_that_is_started_anew_is_read_from_its_start(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1, "padding": "xxxxxxxxxxxxxxxxxxxxxxxxxxxx"}\n')
    lines = MetricLines(path)
    path.write_text('{"step": 1}\n')
    assert [record["step"] for record in lines.new()] == [1]


def test_a_file_that_was_replaced_goes_on_behind_its_present_end(tmp_path: Path) -> None:
    """On resume the file is cut back under a new inode: what it keeps was shown before."""
    path, cut = tmp_path / "metrics.jsonl", tmp_path / "cut"
    path.write_text('{"step": 1}\n{"step": 2}\n')
    lines = MetricLines(path)
    cut.write_text('{"step": 1}\n')
    os.replace(cut, path)
    assert list(lines.new()) == []
    with path.open("a") as file:
        file.write('{"step": 2, "again": 1}\n')
    assert list(lines.new()) == [{"step": 2, "again": 1}]


def test_verls_own_form_is_flattened(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    lines = MetricLines(path)
    path.write_text(json.dumps({"step": 5, "data": {"train/loss": 0.5}}) + "\n")
    assert list(lines.new()) == [{"step": 5, "train/loss": 0.5}]


# ---- environment


def test_the_environment_of_a_cpu_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VERL_PLATFORM", raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    cpu, gpu = environment("cpu"), environment("cuda")
    assert cpu["VERL_PLATFORM"] == "cpu"
    assert cpu["VERL_USE_EXTERNAL_MODULES"] == "avatar_verl.adapter.platform"
    assert cpu["OMP_NUM_THREADS"] == "3"  # the user's word counts
    assert "VERL_PLATFORM" not in gpu
    assert RUN_ID not in gpu
