"""The three stages in a row, as a user runs them: by their scripts, in a clone, each from the model of the one before.

The clone holds copies of our code and of the scripts, this environment instead of a set-up, and a small toy world.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import uuid
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml
from support import family
from support.faulty_judge import faulty_judge
from support.runs import Record, RunResult

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(3600)]

ROOT = Path(__file__).resolve().parents[2]
STAGES = ("stage1", "stage2", "stage3")
STEPS = 2
GROUP = 4  # completions of a prompt, preset paper
WORLD = ["--train", "224", "--val", "24", "--cold-start", "512"]
SHORT = [
    f"trainer.total_training_steps={STEPS}",
    "trainer.test_freq=10",  # before the first step and after the last
    "trainer.save_freq=10",
    "data.train_batch_size=8",
    "avatar.replay.min_size=32",  # the second step replays
]
BUDGET_S = 15
#: Enough to learn the tags, and answers on which the completions of a group do not all agree.
COLD_START = ["trainer.total_training_steps=48", "trainer.save_freq=48", "optim.lr_warmup_steps=5"]

_POOL = "reward.reward_model.rollout"
#: A judge in verl's pool without a GPU: what profile cpu says of the run's own rollout.
POOL_ON_CPU = [
    "ray_kwargs.ray_init.num_gpus=2",  # slots: the run's and the pool's
    f"{_POOL}.dtype=float32",
    f"{_POOL}.enforce_eager=true",
    f"+{_POOL}.enable_sleep_mode=false",
    f"{_POOL}.load_format=auto",
    f"{_POOL}.max_model_len=2048",
    f"{_POOL}.max_num_seqs=16",
    f"{_POOL}.max_num_batched_tokens=4096",
    f"{_POOL}.enable_chunked_prefill=false",
    f"{_POOL}.enable_prefix_caching=false",
    f"+{_POOL}.engine_kwargs.vllm.distributed_executor_backend=vllm.v1.executor.uniproc_executor.UniProcExecutor",
    f"+{_POOL}.engine_kwargs.vllm.mm_processor_cache_gb=0",
]


@dataclass
class Clone:
    """A bare clone of the project, and the scripts that were run in it."""

    folder: Path
    done: dict[str, RunResult] = field(default_factory=dict)

    def run(self, script: str, name: str, *overrides: str) -> None:
        """Run a script to its end; its runs lie below ``outputs``, those under another name below a folder of it."""
        stage = script.removeprefix("run_").removesuffix(".sh").replace("stage0", "cold_start")
        outputs = Path("outputs") if name == stage else Path("outputs") / name
        mark = uuid.uuid4().hex
        ours = ("MODEL_PATH", "TRAIN_FILES", "VAL_FILES", "PROFILE", "DRY_RUN")
        clean = {name: value for name, value in os.environ.items() if name not in ours}
        output = self.folder / f"{name}.txt"
        try:
            with output.open("wb") as terminal:
                code = subprocess.run(
                    [str(self.folder / script), f"run.outputs={outputs}", *overrides],
                    env={**clean, family.MARK: mark, "COLUMNS": "160"},
                    stdin=subprocess.DEVNULL,
                    stdout=terminal,
                    stderr=subprocess.STDOUT,
                    timeout=900,
                ).returncode
        finally:
            family.kill(mark)
        text, folder = output.read_text(errors="replace"), (self.folder / outputs / stage / "latest").resolve()
        assert code == 0, text
        self.done[name] = RunResult(folder, code, text, 0.0, mark, "")


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    folder = tmp_path_factory.mktemp("clone")
    for name in ("avatar_verl", "data_prep", "recipe"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for script in ROOT.glob("run_stage*.sh"):
        shutil.copy(script, folder)
    (folder / "recipe" / "launch" / "setup.sh").write_text("exit 0\n")  # the environment is there
    (folder / ".venv").symlink_to(sys.prefix)
    command = [sys.executable, "-m", "data_prep", "toy", "--out", str(folder / "data" / "toy"), *WORLD]
    subprocess.run(command, check=True, cwd=folder, stdout=subprocess.DEVNULL)
    made = Clone(folder)
    made.run("run_stage0.sh", "cold_start", *COLD_START)
    for stage in STAGES:
        made.run(f"run_{stage}.sh", stage, *SHORT)
    return made


def groups(run: RunResult) -> list[list[Record]]:
    """The completions of each visit of a prompt."""
    found: dict[str, list[Record]] = defaultdict(list)
    for step, samples in run.samples().items():
        for sample in samples:
            found[f"{step} {sample['group']}"].append(sample)
    return list(found.values())


def test_each_stage_starts_from_the_model_of_the_one_before(clone: Clone) -> None:
    for before, stage in zip(("cold_start", *STAGES), STAGES, strict=False):
        config = yaml.safe_load((clone.done[stage].folder / "config.yaml").read_text())
        started_from = Path(config["actor_rollout_ref"]["model"]["path"])
        assert started_from == clone.done[before].folder / "model", stage
        weights = [folder / "model.safetensors" for folder in (started_from, clone.done[stage].folder / "model")]
        assert weights[0].read_bytes() != weights[1].read_bytes(), f"{stage} learned nothing"


@pytest.mark.parametrize("stage", STAGES)
def test_the_summary_shows_held_out_accuracy_by_family(clone: Clone, stage: str) -> None:
    run = clone.done[stage]
    asked = {sample["family"] for sample in run.samples("val")[STEPS]}
    assert len(asked) > 5
    shown = run.output[run.output.index("held-out clips, step 0") :]
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in shown.splitlines() if line.startswith("│")]
    table = {name: (before, after) for name, before, after in rows}
    for name, key in (("accuracy", "accuracy"), *((f"family/{one}", f"accuracy/family/{one}") for one in asked)):
        measured = [run.metrics[step][f"avatar/val/{key}"] for step in (0, STEPS)]
        assert table[name] == tuple(f"{value:.3f}" for value in measured)


@pytest.mark.parametrize(
    ("stage", "weights"),
    [
        ("stage1", {"accuracy": 0.5, "format": 0.5}),
        ("stage2", {"accuracy": 0.4, "format": 0.2, "self_consistency": 0.4}),
        ("stage3", {"accuracy": 0.0, "format": 0.5, "judge": 1.0}),
    ],
)
def test_rewards_are_those_of_the_stage(clone: Clone, stage: str, weights: dict[str, float]) -> None:
    samples = [sample for group in groups(clone.done[stage]) for sample in group]
    assert len(samples) == STEPS * 8 * GROUP
    for sample in samples:
        assert sample["parts"].keys() == weights.keys()
        total = sum(weight * sample["parts"][name] for name, weight in weights.items())
        assert sample["reward"] == pytest.approx(total)
    assert len({sample["reward"] for sample in samples}) > 1


def test_stage_two_votes_in_whole_groups(clone: Clone) -> None:
    minorities = 0
    for group in groups(clone.done["stage2"]):
        assert len(group) == GROUP
        votes = Counter(sample["answer"] for sample in group if sample["answer"] is not None)
        most = max(votes.values(), default=0)
        winners = {sample["answer"] for sample in group if sample["parts"]["self_consistency"] == 1.0}
        if most < sum(sample["answer"] is None for sample in group) or not votes:
            assert not winners
            continue
        (winner,) = winners
        assert votes[winner] == most, "the majority of the whole group, not of a part of it"
        for sample in group:
            assert sample["parts"]["self_consistency"] == float(sample["answer"] == winner)
            minorities += sample["reasons"]["self_consistency"] == "minority"
    assert minorities, "no group was of two minds: this has shown nothing"


def test_stage_three_asks_where_sounds_come_from_and_says_who_judges(clone: Clone) -> None:
    run = clone.done["stage3"]
    samples = [sample for group in groups(run) for sample in group]
    assert {sample["problem_type"] for sample in samples} == {"region"}
    assert {sample["family"] for sample in samples} == {"source"}
    reasons = Counter(sample["reasons"]["judge"] for sample in samples)
    assert reasons["rule_based"] > len(samples) / 2
    assert reasons.keys() <= {"rule_based", "no_reasoning"}
    assert run.metrics[1]["avatar/reward/judge/reason/rule_based"] > 0
    assert "the judge was rule-based" in " ".join(run.output.split())
    assert "rule-based" not in clone.done["stage1"].output


@pytest.fixture(scope="module")
def badly_judged(clone: Clone) -> tuple[RunResult, int]:
    """Stage 3 again behind a judge that fails in every way and dies in the second step; and how often it was asked."""
    with faulty_judge(dies_at=40) as server:
        judge = [
            f"endpoint={server.url}",
            "frames=0",
            "timeout_s=2",
            f"budget_s={BUDGET_S}",
            "retries=1",
            "backoff_s=0.05",
        ]
        words = [f"avatar.reward.judge.{word}" for word in judge]
        clone.run(
            "run_stage3.sh", "badly_judged", *SHORT, *words, "trainer.test_freq=-1", "trainer.val_before_train=false"
        )
        return clone.done["badly_judged"], server.asked


def test_judge_faults_do_not_stop_a_run_nor_become_zeros(badly_judged: tuple[RunResult, int]) -> None:
    run, asked = badly_judged
    assert asked > 40
    reasons = Counter(sample["reasons"]["judge"] for group in groups(run) for sample in group)
    assert reasons["judged"] > 0
    assert {"judge_prose", "judge_wrong_schema", "judge_timeout"} <= reasons.keys()
    for group in groups(run):
        judged = [sample["parts"]["judge"] for sample in group if sample["parts"]["judge"] is not None]
        for sample in group:
            own = sample["parts"]["judge"]
            assert (own is None) == sample["reasons"]["judge"].startswith("judge_")
            if judged:  # without a judgement of its own a completion has the group's mean
                value = own if own is not None else sum(judged) / len(judged)
                assert sample["reward"] == pytest.approx(0.5 * sample["parts"]["format"] + value)
            else:  # a group that nobody judged: format alone, on the scale of both
                assert sample["reward"] == pytest.approx(1.5 * sample["parts"]["format"])


def test_a_dead_judge_costs_a_step_no_more_than_its_budget(badly_judged: tuple[RunResult, int]) -> None:
    run, _ = badly_judged
    for step in range(1, STEPS + 1):
        assert run.metrics[step]["timing_s/gen"] < BUDGET_S + 45  # and the generation itself
    assert run.metrics[STEPS]["avatar/judge/requests"] > 0
    assert run.metrics[STEPS]["avatar/reward/judge/present"] < 1.0


@pytest.fixture(scope="module")
def judged_by_pool(clone: Clone) -> RunResult:
    """Stage 3 again, judged by a toy model with random weights: the JSON schema alone makes its replies readable."""
    model = shutil.copytree(clone.folder / "data" / "toy" / "model", clone.folder / "judge")
    # verl asks a pool's model for it where a plain language model has it.
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps({**config, "max_position_embeddings": 32768}))
    judge = ["frames=2", "frame_side=112", "timeout_s=110", "max_reply_tokens=64"]
    words = ["+judge=pool", f"reward.reward_model.model_path={model}", *POOL_ON_CPU]
    words += [f"avatar.reward.judge.{word}" for word in judge]
    clone.run("run_stage3.sh", "pooled", *SHORT, *words, "trainer.test_freq=-1", "trainer.val_before_train=false")
    return clone.done["pooled"]


def test_a_judge_in_verls_pool_scores_a_run(judged_by_pool: RunResult) -> None:
    assert re.search(r"\[AVATAR\] judge: \S+/judge, verl's reward-model pool at \S+:\d+", judged_by_pool.log())
    samples = [sample for group in groups(judged_by_pool) for sample in group]
    assert {sample["reasons"]["judge"] for sample in samples} <= {"judged", "no_reasoning"}
    scores = [sample["parts"]["judge"] for sample in samples if sample["reasons"]["judge"] == "judged"]
    assert len(scores) > len(samples) / 2
    assert all(0.0 <= score <= 1.0 for score in scores)
    for sample in samples:
        assert sample["reward"] == pytest.approx(0.5 * sample["parts"]["format"] + sample["parts"]["judge"])
    assert 0 < judged_by_pool.metrics[STEPS]["avatar/judge/requests"] <= len(scores)
    assert judged_by_pool.metrics[STEPS]["avatar/judge/images"] > 0
