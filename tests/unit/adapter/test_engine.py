"""The engine: what it masks, freezes, merges and sends to the rollout. Real FSDP2 on one rank."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file

from avatar_verl.adapter.engine import MASKED_LOGIT
from avatar_verl.export import merge_thinker
from avatar_verl.omni.tokens import MediaTokens

MIXED = ["audio_in_video", "text", "video_and_audio", "image"]
both_forms = pytest.mark.parametrize("packed", [False, True], ids=["padded", "packed"])


@pytest.fixture(scope="module")
def make(engines: ModuleType, toy_world: Path, thinker_config_dir: Path) -> Any:
    """``make(packed=..., freeze=..., lora_rank=...)``: an engine on the toy model."""

    def build(packed: bool = False, forward_only: bool = False, **options: Any) -> Any:
        config = engines.make_model_config(toy_world / "model", thinker_config_dir, packed=packed, **options)
        return engines.make_engine(config, forward_only=forward_only)

    return build


@pytest.fixture(scope="module")
def engine(make: Any) -> Any:
    """Tests with it must not train."""
    return make()


@pytest.fixture(scope="module")
def released(toy_world: Path) -> dict[str, torch.Tensor]:
    """The weights as they stand in the model's folder."""
    return load_file(toy_world / "model" / "model.safetensors")


def reference_table(thinker: Any, sample: dict[str, Any]) -> torch.Tensor:
    """[L, V] log-probs of transformers' thinker, normalised over what may be sampled."""
    features = {k: v for k, v in sample["multi_modal_inputs"].items() if k != "video_second_per_grid"}
    ids = sample["input_ids"].unsqueeze(0)
    with torch.no_grad():
        logits = thinker(
            input_ids=ids,
            position_ids=sample["position_ids"].unsqueeze(1),
            attention_mask=torch.ones_like(ids),
            **features,
        ).logits[0]
    never = torch.tensor(MediaTokens.from_config(thinker.config).never_sampled)
    return logits.double().index_fill(-1, never, float("-inf")).log_softmax(-1)


@both_forms
def test_log_probs_of_a_mixed_batch_are_those_of_each_row_alone(
    packed: bool, engine: Any, engines: ModuleType, samples: dict[str, Any], thinker: Any
) -> None:
    rows = [samples[name] for name in MIXED]
    found = engines.log_probs(engine, engines.make_batch(rows, packed=packed))
    for sample, log_probs in zip(rows, found, strict=True):
        table = reference_table(thinker, sample)
        expected = table[:-1].gather(1, sample["input_ids"][1:, None])[:, 0]
        finite = expected.isfinite()  # tokens of media in the prompt are never sampled
        assert finite[sample["loss_mask"][1:].bool()].all()
        assert (log_probs[:-1].double() - expected)[finite].abs().max() < 1e-5


@both_forms
def test_what_is_never_sampled_has_no_probability(
    packed: bool, engine: Any, engines: ModuleType, samples: dict[str, Any], thinker: Any
) -> None:
    sample = dict(samples["text"])
    never = MediaTokens.from_config(thinker.config).never_sampled
    sample["input_ids"] = torch.cat([sample["input_ids"][:-1], torch.tensor([never[0]])])
    (log_probs,) = engines.log_probs(engine, engines.make_batch([sample], packed=packed))
    assert log_probs[-2].exp() == 0.0
    assert log_probs[-2] < MASKED_LOGIT / 2
    assert log_probs[-3] > -50


@both_forms
def test_entropy_is_finite_and_over_what_may_be_sampled(
    packed: bool, engine: Any, engines: ModuleType, samples: dict[str, Any], thinker: Any
) -> None:
    sample = samples["audio_in_video"]
    batch = engines.make_batch([sample], packed=packed, calculate_entropy=True)
    with engine.eval_mode():
        (entropy,) = engine.infer_batch(batch)["model_output"]["entropy"].unbind()
    table = reference_table(thinker, sample)
    expected = -(table.exp() * table.masked_fill(table == float("-inf"), 0.0)).sum(-1)
    assert (entropy.double() - expected).abs().max() < 1e-4


def test_everything_is_float32_on_a_cpu(engine: Any) -> None:
    assert {parameter.dtype for parameter in engine.module.parameters()} == {torch.float32}
    assert engine._autocast_dtype == torch.float32


def test_weights_go_out_under_the_names_of_the_checkpoint(
    engine: Any, engines: ModuleType, released: dict[str, torch.Tensor]
) -> None:
    sent = engines.weights(engine)
    assert sent.keys() == released.keys()
    assert all(torch.equal(sent[name], released[name]) for name in released)


def test_the_reference_model_runs_without_a_gpu(
    make: Any, engine: Any, engines: ModuleType, samples: dict[str, Any]
) -> None:
    """verl would put its weights into pinned memory, which a CPU build of torch cannot."""
    reference = make(forward_only=True)
    assert reference.engine_config.forward_only
    batch = engines.make_batch([samples["audio"], samples["text"]])
    for one, other in zip(engines.log_probs(reference, batch), engines.log_probs(engine, batch), strict=True):
        assert torch.equal(one, other)


def largest_change(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor], part: str) -> float:
    names = [name for name in before if name.startswith(f"thinker.{part}.")]
    assert names
    return max((after[name] - before[name]).abs().max().item() for name in names)


@pytest.mark.parametrize(
    ("freeze", "still"),
    [([], []), (["vision", "audio"], ["visual", "audio_tower"]), (["text"], ["model"])],
    ids=["nothing", "towers", "text"],
)
def test_frozen_parts_do_not_learn(
    freeze: list[str],
    still: list[str],
    make: Any,
    engines: ModuleType,
    samples: dict[str, Any],
    released: dict[str, torch.Tensor],
) -> None:
    engine = make(freeze=freeze)
    metrics = engines.train_step(engine, engines.make_batch([samples[name] for name in MIXED]))
    assert metrics["grad_norm"] > 0
    after = engines.weights(engine)
    for part in ("visual", "audio_tower", "model"):
        change = largest_change(released, after, part)
        assert (change == 0.0) if part in still else (change > 1e-4)


def test_an_unknown_part_is_refused(make: Any) -> None:
    with pytest.raises(
        ValueError, match=r"model\.freeze: unknown \['talker'\]; known parts: \['audio', 'text', 'vision'\]"
    ):
        make(freeze=["talker"])
    with pytest.raises(ValueError, match=r"adapters of model\.lora_adapter_path would train all the same"):
        make(freeze=["vision"], lora_rank=4, lora_adapter_path="adapters")


# ---- LoRA


def adapters(engine: Any) -> dict[str, torch.Tensor]:
    """(name of the adapted weight) -> what its adapter adds, computed here: alpha / rank * B A."""
    state = {name: value.full_tensor() for name, value in engine.module.state_dict().items()}
    config = engine.module.peft_config["default"]
    deltas = {}
    for name, down in state.items():
        if ".lora_A." in name:
            up = state[name.replace(".lora_A.", ".lora_B.")]
            weight = name.removeprefix("base_model.model.").replace(".lora_A.default.weight", ".weight")
            deltas[f"thinker.{weight}"] = config.lora_alpha / config.r * (up.flatten(1) @ down.flatten(1))
    return deltas


GPU_TARGETS = yaml.safe_load((Path(__file__).parents[3] / "recipe/config/profile/gpu.yaml").read_text())[
    "actor_rollout_ref"
]["model"]["target_modules"]


@pytest.mark.parametrize(
    ("targets", "freeze", "parts"),
    [
        (r"model\..*\.(q_proj|v_proj)", [], {"model"}),
        (r"visual\..*\.(q|k|v|proj|mlp\.0)", [], {"visual"}),
        (r"audio_tower\.proj|visual\.merger\.mlp\.0", [], {"audio_tower", "visual"}),
        (GPU_TARGETS, [], {"model", "visual", "audio_tower"}),
        (GPU_TARGETS, ["vision"], {"model", "audio_tower"}),
    ],
    ids=["language", "vision", "beside the layers", "gpu profile", "gpu profile without vision"],
)
def test_lora_trains_the_chosen_parts_and_sends_merged_weights(
    targets: str,
    freeze: list[str],
    parts: set[str],
    make: Any,
    engines: ModuleType,
    samples: dict[str, Any],
    released: dict[str, torch.Tensor],
) -> None:
    engine = make(lora_rank=4, lora_alpha=8, target_modules=targets, lora={"merge": True}, freeze=freeze)
    batch = engines.make_batch([samples[name] for name in MIXED])
    with engine.disable_adapter():  # as the reference does
        engines.log_probs(engine, batch)
    for _ in range(2):  # B starts at zero, so that A learns from the second step on
        engines.train_step(engine, engines.make_batch([samples[name] for name in MIXED]))
    trained = engines.log_probs(engine, batch)
    deltas = adapters(engine)
    sent = engines.weights(engine)
    assert sent.keys() == released.keys()
    changed = set()
    for name, base in released.items():
        expected = base + deltas[name].view_as(base) if name in deltas else base
        assert sent[name].dtype == torch.float32
        assert (sent[name] - expected).abs().max() < 1e-6
        if not torch.equal(sent[name], base):
            changed.add(name.split(".")[1])
    assert changed == parts
    # The adapters are back in place behind the merge: the trainer's own log-probs are what they were.
    for one, other in zip(engines.log_probs(engine, batch), trained, strict=True):
        assert (one - other).abs().max() < 1e-6


@pytest.mark.parametrize("lora_rank", [0, 4], ids=["full", "lora"])
def test_a_checkpoint_becomes_a_complete_model_folder(
    lora_rank: int, make: Any, engines: ModuleType, samples: dict[str, Any], toy_world: Path, tmp_path: Path
) -> None:
    """Save, merge, load with transformers: the log-probs are the trained engine's."""
    engine = make(lora_rank=lora_rank, lora_alpha=8, target_modules=GPU_TARGETS, lora={"merge": True})
    batch = engines.make_batch([samples[name] for name in MIXED])
    for _ in range(2):
        engines.train_step(engine, engines.make_batch([samples[name] for name in MIXED]))
    trained = engines.log_probs(engine, batch)
    engine.save_checkpoint(str(tmp_path / "checkpoint"))
    merge_thinker(toy_world / "model", tmp_path / "checkpoint" / "huggingface", tmp_path / "model")
    loaded = engines.make_engine(engines.make_model_config(tmp_path / "model", tmp_path / "thinker_config"))
    for one, other in zip(engines.log_probs(loaded, batch), trained, strict=True):
        assert (one - other).abs().max() < 1e-5
