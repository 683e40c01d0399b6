"""``recipe/launch/ray_submit.sh`` on a real cluster: a head and two worker nodes, FSDP over them, two replicas."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from support.cluster import RayCluster
from support.runs import read_lines

from avatar_verl.launch import RUN_ID

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(2400)]

SUBMIT = Path(__file__).parents[2] / "recipe" / "launch" / "ray_submit.sh"
TWO_NODES = ["trainer.nnodes=2", "trainer.n_gpus_per_node=1"]


@dataclass(frozen=True)
class Submitted:
    """What was seen of one run that was submitted, stopped and submitted again."""

    refused: subprocess.CompletedProcess[str]  # without the token
    folder: Path  # of the run
    followed: tuple[int, str]  # exit code and text of --logs, called while the first job ran
    workers: list[str]  # where the first job's processes look for code first
    left: list[str]  # processes that outlived its stop
    steps_before: int  # whole checkpoints when it was stopped
    status: str  # of the first job, behind the stop
    again: subprocess.CompletedProcess[str]


class Submitter:
    """Calls the script as a user does."""

    def __init__(self, cluster: RayCluster, world: Path, outputs: Path, arguments: list[str]) -> None:
        self._cluster, self._arguments = cluster, arguments
        self._variables = {
            "RAY_ADDRESS": cluster.address,
            "OUTPUTS": str(outputs),
            "MODEL_PATH": str(world / "model"),
            "TRAIN_FILES": str(world / "train.parquet"),
            "VAL_FILES": str(world / "val.parquet"),
            "PROFILE": "cpu",
        }

    def _command(self, words: tuple[str, ...]) -> list[str]:
        return [str(SUBMIT), *words, *([] if words[0] in ("--stop", "--status", "--logs") else self._arguments)]

    def __call__(self, *words: str, token: bool = True, timeout: float = 900) -> subprocess.CompletedProcess[str]:
        variables = {**self._cluster.environment(token), **self._variables}
        return subprocess.run(self._command(words), env=variables, capture_output=True, text=True, timeout=timeout)

    def beside(self, *words: str) -> subprocess.Popen[str]:
        """Start a call whose end is not waited for."""
        variables = {**self._cluster.environment(), **self._variables}
        return subprocess.Popen(
            self._command(words), env=variables, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )


def _of_run() -> list[psutil.Process]:
    """Processes that carry a run's id, which Ray has given to workers on every node."""
    found = []
    for process in psutil.process_iter():
        try:
            if RUN_ID in process.environ() and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


def _code_of(processes: list[psutil.Process]) -> list[str]:
    """Where each of those that still live looks for code first."""
    found = []
    for process in processes:
        try:
            found.append(process.environ().get("PYTHONPATH", "").split(":")[0])
        except psutil.Error:
            continue
    return found


@pytest.fixture(scope="module")
def cluster() -> Iterator[RayCluster]:
    with RayCluster(workers=2) as started:
        yield started


@pytest.fixture(scope="module")
def examined(cluster: RayCluster, world: Path, short_run: list[str]) -> list[dict[str, str]]:
    """What the doctor finds on every node of the idle cluster, against what the run needs."""
    given = [
        f"actor_rollout_ref.model.path={world}/model",
        f"run.train_files={world}/train.parquet",
        f"run.val_files={world}/val.parquet",
        f"run.outputs={world}/runs",
    ]
    command = [sys.executable, "-m", "avatar_verl.doctor", "stage1", *given, *short_run, *TWO_NODES]
    variables = {**cluster.environment(), "RAY_ADDRESS": cluster.gcs, "PYTHONPATH": str(SUBMIT.parents[2])}
    done = subprocess.run([*command, "--cluster", "--json"], env=variables, capture_output=True, text=True, timeout=600)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    found: list[dict[str, str]] = json.loads(done.stdout[done.stdout.index("[\n") :])
    return found


def test_the_doctor_looks_at_every_node(examined: list[dict[str, str]]) -> None:
    text = json.dumps(examined, indent=1)
    assert len({finding["node"] for finding in examined if finding["node"]}) == 3, text
    by_name = {finding["check"]: finding["level"] for finding in examined if not finding["node"]}
    assert by_name["Ray resources"] == "ok", text
    assert by_name["Ray access"] == "ok", text
    shared = [finding["level"] for finding in examined if finding["check"] == "shared outputs"]
    assert shared == ["ok"] * 3, text
    assert not [finding for finding in examined if finding["level"] == "fail"], text


@pytest.fixture(scope="module")
def submitted(
    cluster: RayCluster, world: Path, short_run: list[str], tmp_path_factory: pytest.TempPathFactory
) -> Submitted:
    outputs = tmp_path_factory.mktemp("outputs")
    submit = Submitter(cluster, world, outputs, [*short_run, *TWO_NODES])
    refused = submit("--no-wait", "stage1", token=False, timeout=120)
    before = {process.pid for process in _of_run()}
    first = submit("--no-wait", "stage1", timeout=120)
    assert first.returncode == 0, first.stdout + first.stderr
    job = re.search(r"job (avatar-\S+);", first.stdout)
    assert job is not None, first.stdout
    logs = submit.beside("--logs", job[1])
    latest = outputs / "stage1" / "latest"
    deadline = time.monotonic() + 600
    while not (latest / "checkpoints" / "global_step_1" / "complete.json").exists():
        lost = (latest / "error.json").exists() or time.monotonic() > deadline
        assert not lost, submit("--status", job[1]).stdout + _tail(latest)
        time.sleep(0.2)
    mine = [process for process in _of_run() if process.pid not in before]
    workers = _code_of(mine)
    stopped = submit("--stop", job[1], timeout=120)
    assert stopped.returncode == 0, stopped.stderr
    followed, _ = logs.communicate(timeout=60)
    _, alive = psutil.wait_procs(mine, timeout=60)
    status = submit("--status", job[1], timeout=120)
    steps = len(list(latest.glob("checkpoints/*/complete.json")))
    again = submit("stage1")
    left = [str(process) for process in alive]
    said = status.stdout + status.stderr
    return Submitted(refused, latest.resolve(), (logs.returncode, followed), workers, left, steps, said, again)


def _tail(run: Path) -> str:
    log = run / "log.txt"
    return log.read_text(errors="replace")[-6000:] if log.exists() else "(no log)"


def test_a_stranger_without_the_token_is_refused(submitted: Submitted) -> None:
    assert submitted.refused.returncode != 0
    assert "oken" in submitted.refused.stdout + submitted.refused.stderr


def test_our_code_travels_with_the_job(submitted: Submitted) -> None:
    """Each process of the run looks first into the folder that Ray unpacked on its node."""
    assert [path for path in submitted.workers if "working_dir_files" not in path] == []
    assert len(submitted.workers) >= 8  # driver, two each of FSDP workers, servers, engines, agent loops


def test_logs_follows_a_job_to_its_end(submitted: Submitted) -> None:
    code, text = submitted.followed
    assert f"run folder {submitted.folder}" in text
    assert "step 1/3" in text
    assert code == 0, text


def test_stop_ends_the_run_and_leaves_nothing(submitted: Submitted) -> None:
    assert "was stopped" in submitted.status
    assert submitted.left == []
    assert submitted.steps_before in (1, 2)


def test_the_same_command_again_resumes_and_follows_the_log(submitted: Submitted) -> None:
    again = submitted.again
    assert again.returncode == 0, again.stdout[-3000:] + again.stderr[-3000:] + _tail(submitted.folder)
    assert f"resuming {submitted.folder}" in again.stdout
    assert "step 3/3" in again.stdout
    steps = [int(record["step"]) for record in read_lines(submitted.folder / "metrics.jsonl")]
    assert steps == [1, 2, 3]
    assert (submitted.folder / "finished.json").exists()


def test_two_ranks_trained(submitted: Submitted) -> None:
    actor = submitted.folder / "checkpoints" / "global_step_3" / "actor"
    assert {path.name for path in actor.glob("model_*.pt")} == {
        "model_world_size_2_rank_0.pt",
        "model_world_size_2_rank_1.pt",
    }
