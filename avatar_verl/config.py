"""The `avatar:` node of a run's configuration: typed, validated once, each feature with a neutral value.

An unknown key, a contradiction or an impossible value raises :class:`ConfigError` with a message that says what to
change, before Ray starts. ``AvatarConfig().neutral()`` switches every AVATAR feature off; what is left is verl's GRPO.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator


class ConfigError(ValueError):
    """A configuration the user has to change. The message lists every problem and its key."""


class _Node(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ShapingConfig(_Node):
    """Temporal advantage shaping. Neutral: ``strength: 0``."""

    strength: float = Field(0.3, ge=0.0, description="lambda of the paper; 0 switches shaping off")
    shape: Literal["parabola", "uniform", "incline", "decay", "inverse_parabola"] = Field(
        "parabola", description="weight over the position in the completion; the others are ablations"
    )
    mean_one: bool = Field(False, description="divide by the mean weight, so that shaping keeps the learning rate")


class VcrsConfig(_Node):
    """Moving per-prompt reference score for replayed completions."""

    window: int = Field(20, ge=1, description="on-policy rewards per prompt in the moving average")
    alpha: float = Field(0.6, ge=0.0, description="scale of replayed advantages; paper 0.6, released code 1.0")
    prior: float = Field(
        0.0,
        ge=0.0,
        description="the recent mean reward of all prompts counts as so many rewards of each prompt when replayed "
        "completions are compared; paper 0",
    )


class ReplayConfig(_Node):
    """Stratified experience replay. Neutral: ``off_policy_batches: 0``."""

    on_policy_batches: int = Field(4, ge=1, description="fresh completions per prompt in a rollout cycle")
    off_policy_batches: int = Field(4, ge=0, description="replayed completions per prompt; 0 switches replay off")
    capacity: int = Field(10_000, ge=1, description="entries in the buffer, all tiers together")
    min_size: int = Field(128, ge=0, description="entries before the first replay")
    shares: dict[Literal["easy", "medium", "hard"], float] = Field(
        default={"easy": 0.25, "medium": 0.35, "hard": 0.40}, description="fixed capacity and quota of each tier"
    )
    hard_quantile: float = Field(0.40, gt=0.0, lt=1.0, description="prompts up to this quantile of Rbar are hard")
    medium_quantile: float = Field(0.75, gt=0.0, lt=1.0, description="prompts up to this quantile are medium")
    scope: Literal["any", "prompt"] = Field(
        "any", description="any: the paper's, replay from any prompt; prompt: past completions of the same prompt"
    )
    priority_reward_weight: float = Field(1.0, description="weight of the advantage in a replay priority")
    priority_kl_weight: float = Field(0.1, description="weight of the KL estimate in a replay priority")
    priority_temperature: float = Field(1.0, gt=0.0, description="temperature of the softmax over priorities")
    max_age: int = Field(0, ge=0, description="steps after which an entry is stale and not replayed; 0: never")
    ratio_cap: float = Field(0.0, ge=0.0, description="truncate importance ratios at this value; 0: PPO clip only")
    start_from: str = Field(
        "", description="run folder of an earlier stage, or a saved replay state, to begin with; empty: an empty buffer"
    )

    @model_validator(mode="after")
    def _check(self) -> ReplayConfig:
        if abs(sum(self.shares.values()) - 1.0) > 1e-6 or set(self.shares) != {"easy", "medium", "hard"}:
            raise ValueError(f"shares must name easy, medium and hard and sum to 1, got {self.shares}")
        if self.hard_quantile >= self.medium_quantile:
            raise ValueError("hard_quantile must be below medium_quantile")
        return self


class HintConfig(_Node):
    """Hints for prompts the policy is stuck on. Neutral: ``enable: false``."""

    enable: bool = Field(False, description="give hints at all")
    always: bool = Field(False, description="hint on every visit of a prompt that has one")
    zero_patience: int = Field(3, ge=0, description="consecutive visits without any reward before a hint; 0: off")
    reward_threshold: float | None = Field(None, description="hint when Rbar is at or below it and KL is low")
    kl_threshold: float | None = Field(None, description="KL at or below it counts as low")
    mode: Literal["keep", "strip"] = Field(
        "keep", description="keep: train on the hinted prompt that generated; strip: train on the plain prompt"
    )
    anneal_steps: int = Field(0, ge=0, description="steps over which hinting fades out; 0: never")

    @model_validator(mode="after")
    def _check(self) -> HintConfig:
        if (self.reward_threshold is None) != (self.kl_threshold is None):
            raise ValueError("set reward_threshold and kl_threshold together, or neither")
        return self


class MediaCacheConfig(_Node):
    """Decode-once cache of frames and sound. Neutral: ``mode: off``."""

    mode: Literal["off", "read_only", "read_write"] = Field("off", description="read_only uses a cache made before")
    folder: str = Field("", description="may be on a shared file system")
    max_gb: float = Field(100.0, gt=0.0, description="least recently used entries are deleted beyond it")

    @model_validator(mode="after")
    def _check(self) -> MediaCacheConfig:
        if self.mode != "off" and not self.folder:
            raise ValueError("a cache needs a folder")
        return self


class MediaConfig(_Node):
    """Frame and sound budget. One budget for rollout, trainer, rewards and evaluation."""

    root: str = Field("", description="folder that all media paths must stay under; empty: the data file's folder")
    fps: float = Field(2.0, gt=0.0, description="frames per second sampled from a video")
    min_frames: int = Field(4, ge=2, description="fewest frames of a video")
    max_frames: int = Field(32, ge=2, description="most frames of a video; a longer clip is sampled more sparsely")
    min_pixels: int = Field(4 * 28 * 28, ge=28 * 28, description="fewest pixels of a frame")
    max_pixels: int = Field(64 * 28 * 28, ge=28 * 28, description="most pixels of a frame")
    max_audio_seconds: float = Field(300.0, gt=0.0, description="sound beyond it is cut, and counted")
    max_bad_share: float = Field(0.1, ge=0.0, le=1.0, description="more bad rows than this share stop the run")
    cache: MediaCacheConfig = MediaCacheConfig()

    @model_validator(mode="after")
    def _check(self) -> MediaConfig:
        if self.min_frames > self.max_frames or self.min_pixels > self.max_pixels:
            raise ValueError("min_frames and min_pixels must not exceed max_frames and max_pixels")
        return self


class DataConfig(_Node):
    """What is asked of the files that a run reads."""

    require_validated: bool = Field(
        True, description="refuse a parquet file that `data_prep validate` has not passed, or that was changed since"
    )


class FormatReward(_Node):
    """Strict ``<think>...</think><answer>...</answer>``."""

    scale: Literal["plus_minus_one", "one_zero"] = Field(
        "plus_minus_one", description="plus_minus_one: +1 or -1, the paper's; one_zero: 1 or 0, the released code's"
    )


class AccuracyReward(_Node):
    """Answer against ground truth, by problem type, in [0, 1]."""

    number: Literal["exact", "dense"] = Field(
        "exact", description="exact: right within 1e-3 relative; dense: 1 - relative error, the paper's rMAE"
    )
    multi_label: Literal["exact", "f1"] = Field("exact", description="exact: the same set; f1: F1 of the two sets")
    max_answer_chars: int = Field(4096, ge=1, description="a longer answer scores 0; bounds the time of a reward")


class AnswerConsistencyReward(_Node):
    """ACRE: does the answer stay the same when the options are shuffled? Needs a second answer per completion."""

    disagree_right: float = Field(0.5, ge=0.0, le=1.0, description="right answer that changes under shuffled options")
    agree_wrong: float = Field(0.0, ge=0.0, le=1.0, description="wrong answer that stays the same")


#: ``trainer.v1.trainer_mode`` of a run whose rollout has GPUs of its own.
SEPARATED = "avatar_separated"
#: Judge endpoint of a run whose judge verl itself serves; the address is known only once it runs.
JUDGE_POOL = "pool"


class JudgeReward(_Node):
    """A vision language model grades the reasoning. Without an endpoint a rule-based judge stands in, and says so."""

    endpoint: str = Field(
        "",
        description="base URL of an OpenAI-compatible server, e.g. http://localhost:8000/v1; pool: verl's own "
        "reward-model pool (+judge=pool)",
    )
    model: str = Field("OpenGVLab/InternVL3-2B", description="model name the server knows")
    api_key_env: str = Field("", description="environment variable that holds the API key; empty: no key")
    rubric: Literal["criterion", "released"] = Field(
        "criterion", description="criterion: the paper's, think block only; released: the four scores of its code"
    )
    frames: int = Field(8, ge=0, description="frames of the clip shown to the judge; 0: text only")
    frame_side: int = Field(448, ge=28, description="longest side of a frame, pixels")
    max_think_chars: int = Field(8000, ge=100, description="longer reasoning is shown by its first and last half")
    max_reply_tokens: int = Field(512, ge=16, description="most tokens of a reply")
    concurrency: int = Field(16, ge=1, description="requests in flight from one process")
    timeout_s: float = Field(30.0, gt=0.0, description="one request, from sending to the last byte")
    retries: int = Field(2, ge=0, description="further tries after a time-out, a broken connection, 429 or 5xx")
    backoff_s: float = Field(0.5, ge=0.0, description="wait before the first retry; doubles, with jitter")
    budget_s: float = Field(120.0, gt=0.0, description="one batch of completions, all requests together")
    breaker_failures: int = Field(8, ge=1, description="failed requests in a row after which the judge counts as dead")
    breaker_cooldown_s: float = Field(60.0, gt=0.0, description="wait before a dead judge is tried again")
    on_failure: Literal["absent"] | float = Field(
        "absent", description="absent: the completion has no judge part; a number in [0, 1]: that value"
    )
    cache_dir: str = Field("", description="folder of past replies, by content hash; empty: no cache")

    @model_validator(mode="after")
    def _check(self) -> JudgeReward:
        if self.endpoint not in ("", JUDGE_POOL) and not self.endpoint.startswith(("http://", "https://")):
            raise ValueError(f"endpoint must start with http:// or https://, or be {JUDGE_POOL}; got {self.endpoint!r}")
        if self.endpoint and self.timeout_s >= self.budget_s:
            raise ValueError("timeout_s must be below budget_s: a dead judge is noticed by time-outs within the budget")
        if self.on_failure != "absent" and not 0.0 <= self.on_failure <= 1.0:
            raise ValueError("on_failure must be 'absent' or a number in [0, 1]")
        return self


class FsGrpoReward(_Node):
    """FS-GRPO of AVR: prefer the shortest response format that is still right. Defaults of its released reward."""

    right_at: float = Field(0.5, ge=0.0, le=1.0, description="accuracy from which an answer counts as right")
    right: float = Field(1.0, description="base reward of a right answer")
    wrong: float = Field(0.0, description="base reward of a wrong answer")
    unknown: float = Field(-1.0, description="reward of a completion in none of the formats")
    bonus: dict[Literal["direct", "perception", "full"], float] = Field(
        default={"direct": 0.5, "perception": 0.3, "full": 0.0}, description="added when right, by format"
    )
    penalty: dict[Literal["direct", "perception", "full"], float] = Field(
        default={"direct": -0.5, "perception": -0.2, "full": 0.0}, description="added when wrong, by format"
    )
    free_tokens: int = Field(300, ge=1, description="longer completions are scaled by free_tokens / tokens")
    min_scale: float = Field(0.3, ge=0.0, le=1.0, description="smallest length scale")
    diversity: float = Field(0.5, ge=0.0, description="diversity bonus at the start; a cosine takes it to 0")

    @model_validator(mode="after")
    def _check(self) -> FsGrpoReward:
        for name, table in (("bonus", self.bonus), ("penalty", self.penalty)):
            if set(table) != {"direct", "perception", "full"}:
                raise ValueError(f"{name} must name direct, perception and full, got {sorted(table)}")
        return self


class RewardConfig(_Node):
    """Named rewards and their weights; see ``avatar_verl.rewards.compose`` for the names."""

    weights: dict[str, float] = Field(
        default={"accuracy": 0.5, "format": 0.5},
        description="reward name -> weight; paper stage 1 is 0.5 and 0.5; weight 0: logged, not counted",
    )
    format: FormatReward = FormatReward()
    accuracy: AccuracyReward = AccuracyReward()
    answer_consistency: AnswerConsistencyReward = AnswerConsistencyReward()
    judge: JudgeReward = JudgeReward()
    fs_grpo: FsGrpoReward = FsGrpoReward()
    custom: str = Field("", description="path of a Python file with a function `reward(sample) -> RewardPart | float`")

    @model_validator(mode="after")
    def _check(self) -> RewardConfig:
        bad = [name for name, weight in self.weights.items() if not (math.isfinite(weight) and weight >= 0.0)]
        if bad:
            raise ValueError(f"weights must be finite and not negative: {', '.join(sorted(bad))}")
        if sum(self.weights.values()) <= 0.0:
            raise ValueError("at least one weight must be positive")
        if ("custom" in self.weights) != bool(self.custom):
            raise ValueError("reward.custom names the file and weights.custom its weight: set both or neither")
        return self


class GuardConfig(_Node):
    """What to do when training goes wrong. Never silent: each event is a warning and a counter."""

    min_effective_sample_size: float = Field(0.0, ge=0.0, le=1.0, description="share; below it replay is skipped")
    max_entropy_rise: float = Field(0.0, ge=0.0, description="factor over the running entropy; 0: off")
    on_nonfinite: Literal["halt", "skip"] = Field("halt", description="NaN or infinite loss or gradient")
    on_trip: Literal["warn", "skip_replay", "halt"] = Field("skip_replay", description="action of the other guards")


class LogConfig(_Node):
    """What a run writes down for the report beside its metrics. Neutral: ``token_rows: 0``, ``media_every: 0``."""

    token_rows: int = Field(
        32, ge=0, description="rows a step whose tokens are logged with their advantages and log-probs; 0: none"
    )
    token_every: int = Field(1, ge=1, description="steps between two that log tokens")
    media_every: int = Field(
        0, ge=0, description="steps between two that give a clip with its completions to trainer.logger; 0: never"
    )


class AvatarConfig(_Node):
    """All of it."""

    shaping: ShapingConfig = ShapingConfig()
    replay: ReplayConfig = ReplayConfig()
    vcrs: VcrsConfig = VcrsConfig()
    hint: HintConfig = HintConfig()
    reward: RewardConfig = RewardConfig()
    media: MediaConfig = MediaConfig()
    data: DataConfig = DataConfig()
    guard: GuardConfig = GuardConfig()
    log: LogConfig = LogConfig()
    seed: int | None = Field(
        None,
        description="with a number, each completion's sampling depends on it, the step, the prompt and the place in "
        "the group alone, so runs repeat; null lets the rollout engine draw freely, which is faster on GPUs",
    )

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> AvatarConfig:
        """Build from plain containers.

        Raises:
            ConfigError: with one line per problem: the key, what is wrong, what was given.
        """
        try:
            return cls.model_validate(dict(mapping))
        except ValidationError as error:
            lines = []
            for problem in error.errors(include_url=False):
                key = ".".join(("avatar", *map(str, problem["loc"])))
                what = (
                    "unknown key; remove it or fix its spelling"
                    if problem["type"] == "extra_forbidden"
                    else problem["msg"]
                )
                lines.append(f"{key}: {what} (given: {problem['input']!r})")
            raise ConfigError("\n".join(lines)) from None

    def neutral(self) -> AvatarConfig:
        """The same run with every AVATAR feature off: verl's own GRPO."""
        return self.model_copy(
            update={
                "shaping": self.shaping.model_copy(update={"strength": 0.0}),
                "replay": self.replay.model_copy(update={"off_policy_batches": 0}),
                "hint": self.hint.model_copy(update={"enable": False}),
            }
        )


def separated_rollout(config: Mapping[str, Any]) -> tuple[int, int]:
    """(nodes, GPUs of each) that a run's rollout has for itself; (0, 0) where it shares those of the training.

    Args:
        config: a run's whole configuration, as containers or Hydra's.
    """
    if (config["trainer"].get("v1") or {}).get("trainer_mode") != SEPARATED:
        return 0, 0
    rollout = config["actor_rollout_ref"]["rollout"]
    return int(rollout["nnodes"]), int(rollout["n_gpus_per_node"])
