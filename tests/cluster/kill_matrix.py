"""The kill matrix: a run whose processes are killed at random moments ends with the numbers of an undisturbed one.

    python tests/cluster/kill_matrix.py --kills 20 --seed 0

One undisturbed run of stage 1 on a toy world, preset ``paper`` with replay from the second step, saved after every
step. Then the same command in other folders: one target is killed (SIGKILL) at a drawn moment, the same command is
given again, and so on until the chain has had its kills and ends. Targets and moments come from the seed. Each kill is
a line in ``FOLDER/kills.jsonl`` at once; the same command with the same ``--folder`` goes on behind the last one.

Exit code 1: a run did not end, or a final number differs.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import psutil

HERE = Path(__file__).resolve()
sys.path[:0] = [str(HERE.parents[1] / "e2e"), str(HERE.parents[2] / "bench")]

from record import machine, report  # noqa: E402
from support import family  # noqa: E402
from support.runs import Job, read_lines  # noqa: E402
from support.sameness import Sameness, compare  # noqa: E402
from support.victims import PHASES, START_UP, WHOLE_JOB, Moment, Watch, find, saved_step  # noqa: E402
from support.world import toy_world  # noqa: E402

STAGE = "stage1"
STEPS = 12
CHAIN = 10  # kills of one chain, at most
END_S = 300.0  # a start that neither ends nor gets on for so long after a kill is a finding
GONE_S = 60.0  # for its last process to be gone then
START_S = 1500.0  # from a command to its turn, or to its end; idle it takes one minute
STARTS = 4  # of one command: where a machine is too busy, Ray gives up starting

#: Of 20 kills each of the issue's targets gets three or more. A row of this table is one round.
ROUNDS = (
    ("reward worker", "queue storage", "FSDP worker", "rollout server", "Ray GCS", WHOLE_JOB, "driver"),
    ("rollout engine", "reward worker", "queue controller", "raylet", "FSDP worker", WHOLE_JOB, "command"),
    ("queue storage", "rollout server", "Ray GCS", "FSDP worker", "reward worker", "driver"),
)


@dataclass(frozen=True)
class Kill:
    """What is drawn for one kill."""

    target: str
    phase: str
    whole_steps: int  # that this start saves before its turn comes
    delay: float  # share of a second (start-up: of ten) into the phase


@dataclass
class Row:
    """What came of it; a row of the table."""

    chain: str
    target: str
    phase: str
    step: int  # under way; 0: none yet
    second: float  # since the command
    ended_by: str
    seconds_to_end: float
    processes_left: int
    resumed_from: int
    steps_lost: int
    failed_starts: int = 0  # before it, by themselves


def draw(kills: int, seed: int) -> list[Kill]:
    """The first ``kills`` of the rounds, again from the top after the last. Each four kills hit all four phases."""
    rng = random.Random(seed)
    targets = [target for rounds in ROUNDS for target in rounds]
    pool: list[str] = []
    drawn: list[Kill] = []
    for i in range(kills):
        target = targets[i % len(targets)]
        pool = pool or rng.sample([*PHASES, START_UP], 4)
        had = {kill.phase for kill in drawn if kill.target == target}
        phase = next((phase for phase in pool if phase not in had), pool[0])
        pool.remove(phase)
        drawn.append(Kill(target, phase, rng.choice((0, 1, 1, 2)), rng.random()))
    return drawn


def arguments(world: Path) -> list[str]:
    """Of the command. Untrained, the model's completions differ enough for a reward with a spread."""
    return [
        "preset=paper",
        f"actor_rollout_ref.model.path={world}/model",
        f"run.train_files={world}/train.parquet",
        f"run.val_files={world}/val.parquet",
        f"trainer.total_training_steps={STEPS}",
        "trainer.save_freq=1",
        "trainer.test_freq=-1",
        "trainer.val_before_train=false",
        "data.train_batch_size=4",
        "data.max_response_length=16",
        "actor_rollout_ref.actor.optim.lr=1e-3",
        "actor_rollout_ref.actor.optim.lr_warmup_steps=0",
        "avatar.replay.min_size=16",
        f"avatar.reward.custom={HERE.parents[1] / 'e2e' / 'support' / 'reward.py'}",
        "avatar.reward.weights={accuracy: 0.5, format: 0.5, custom: 1.0}",
    ]


class FailedStartError(Exception):
    """A start that ended before anybody killed anything."""


class Chain:
    """One command, given again after each death of its run."""

    def __init__(self, name: str, given: list[str], folder: Path) -> None:
        self.name = name
        self.outputs = folder / name
        self._given = given

    @property
    def run(self) -> Path:
        return (self.outputs / STAGE / "latest").resolve()

    def disturb(self, kill: Kill, left: int) -> Row:
        """:meth:`_disturb`, once more where the run ended by itself before its turn came."""
        for failed in range(STARTS):
            try:
                return replace(self._disturb(kill, left), failed_starts=failed)
            except FailedStartError as error:
                print(f"{self.name}: {error}", flush=True)
        raise SystemExit(f"{self.name}: {STARTS} starts ended by themselves")

    def _disturb(self, kill: Kill, left: int) -> Row:
        """Start, kill at the drawn moment, and tell what came of it.

        Args:
            kill: what and when.
            left: kills of this chain that come after it: a step is kept for each of them.
        """
        watch, start = Watch(self.outputs, STAGE), time.monotonic()
        job = Job(self._given, self.outputs, STAGE)
        first = saved_step(self.run / "checkpoints") + 1
        step = min(first + kill.whole_steps, max(first, STEPS - left - 1))
        try:
            moment, victims = _wait_for_turn(job, watch, kill, step)
            began = time.monotonic()
            _kill(find(job.mark, kill.target) if kill.target == WHOLE_JOB else victims)
            ended_by, seconds = self._follow(job, moment, first, began)
            left_over = family.wait_until_gone(job.mark, GONE_S)
        finally:
            job.end()
        saved = saved_step(self.run / "checkpoints")
        lost = max(0, moment.step - saved)
        hit = (self.name, kill.target, moment.phase, moment.step, round(began - start, 1))
        return Row(*hit, ended_by, seconds, len(left_over), saved, lost)

    def _follow(self, job: Job, moment: Moment, first: int, began: float) -> tuple[str, float]:
        """How the start ended, and after how many seconds."""
        while job.process.poll() is None:
            seconds = round(time.monotonic() - began, 1)
            goes_on = saved_step(self.run / "checkpoints") > max(moment.step, first) + 1
            if goes_on or seconds > END_S:
                job.end()
                return "goes on" if goes_on else "HANGS", seconds
            time.sleep(0.05)
        return _reason(self.run, job), round(time.monotonic() - began, 1)

    def finish(self) -> str:
        """Give the command until it ends well; returns what went wrong the last time."""
        for _ in range(STARTS):
            result = Job(self._given, self.outputs, STAGE).wait(START_S)
            if result.code == 0:
                return ""
            print(f"{self.name}: exit code {result.code}\n{result.output}", flush=True)
        return f"exit code {result.code}\n{result.output}\n{result.log_tail}"


def _wait_for_turn(job: Job, watch: Watch, kill: Kill, step: int) -> tuple[Moment, list[psutil.Process]]:
    """Wait for the kill's moment; returns what it is when it comes, for a phase may be over sooner, and the victims."""
    deadline, victims = time.monotonic() + START_S, []
    while True:
        victims = victims or find(job.mark, kill.target)
        now = watch.moment(job)
        due = now.phase == kill.phase and now.step in (0, step)
        missed = now.step > (0 if kill.phase == START_UP else step)
        if victims and (due or missed):
            break
        if job.process.poll() is not None or time.monotonic() > deadline:
            raise FailedStartError(f"no {kill.target} to kill in step {step}\n{job.output}")
        # Looking at every process of a busy machine costs; what is to be hit in a step is short.
        time.sleep(0.02 if victims and now.step else 0.5)
    time.sleep(kill.delay * {START_UP: 10.0, "save": 0.1}.get(kill.phase, 1.0))
    return watch.moment(job), victims


def _kill(processes: list[psutil.Process]) -> None:
    for process in processes:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue


def _reason(run: Path, job: Job) -> str:
    error, code = run / "error.json", job.process.returncode
    if code < 0:
        return f"signal {-code}"
    kind = json.loads(error.read_text())["type"] if error.exists() else "no error.json"
    return f"{kind}, exit code {code}"


def undisturbed(given: list[str], folder: Path) -> Path:
    """The run that nobody disturbs.

    Raises:
        SystemExit: it ended in the middle, or did not begin.
    """
    chain = Chain("undisturbed", given, folder)
    if not (chain.run / "finished.json").exists():
        if saved_step(chain.run / "checkpoints"):
            raise SystemExit(f"{chain.outputs} holds half a run: remove it")
        if problem := chain.finish():
            raise SystemExit(problem)
    return chain.run


def matrix(kills: list[Kill], folder: Path) -> tuple[list[Row], list[Sameness], list[str]]:
    """Run all of it, or what is left of it.

    Returns:
        A row for each kill, the comparison of each chain with the undisturbed run, and what went wrong.
    """
    world = folder / "toy"
    given = arguments(world if (world / "manifest.json").exists() else toy_world(world, 48))
    reference, file = undisturbed(given, folder), folder / "kills.jsonl"
    rows = [Row(**line) for line in read_lines(file)]
    same, problems = [], []
    for number, start in enumerate(range(0, len(kills), CHAIN)):
        chain, its = Chain(f"chain{number}", given, folder), kills[start : start + CHAIN]
        for place, kill in enumerate(its):
            if start + place < len(rows):
                continue
            row = chain.disturb(kill, len(its) - place - 1)
            rows.append(row)
            print(f"{start + place + 1}/{len(kills)}: {row}", flush=True)
            with file.open("a") as out:
                out.write(json.dumps(asdict(row)) + "\n")
        if not (chain.run / "finished.json").exists() and (problem := chain.finish()):
            problems.append(f"{chain.name}: {problem}")
            continue
        same.append(compare(chain.run, reference, STEPS))
        print(f"{chain.name}: {same[-1]}", flush=True)
        problems += [f"{chain.name}: {note}" for note in same[-1].notes]
    problems += [f"{row.target} in {row.phase}: hangs" for row in rows if row.ended_by == "HANGS"]
    problems += [f"{row.target} in {row.phase}: processes are left" for row in rows if row.processes_left]
    return rows, same, problems


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="where the runs go, and from where they go on; else a new one")
    options = parser.parse_args()
    where = machine()
    folder = (options.folder or Path(tempfile.mkdtemp(prefix="kill_matrix-"))).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    print(f"runs in {folder}", flush=True)
    rows, same, problems = matrix(draw(options.kills, options.seed), folder)
    settings = {
        "kills": options.kills,
        "seed": options.seed,
        "chains": len(same),
        "steps of a run": STEPS,
        "numbers of metrics compared": sum(one.compared for one in same),
        "largest relative difference of one": max((one.metrics for one in same), default=None),
        "largest difference of a weight": max((one.weights for one in same), default=None),
        "largest difference of a log-prob in the buffer": max((one.log_probs for one in same), default=None),
        "problems": problems,
    }
    report("kill_matrix", settings, where, [{"kill": i, **asdict(row)} for i, row in enumerate(rows, start=1)])
    print("\n".join(problems) or "every run ended with the numbers of the undisturbed one")
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main())
