"""Reading the thinker: the checkpoint's own weights, and no made-up ones."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from avatar_verl.omni.thinker import load_thinker


def test_weights_are_those_of_the_file(toy_world: Path) -> None:
    thinker = load_thinker(toy_world / "model", "float32", "cpu")
    stored = load_file(toy_world / "model" / "model.safetensors")
    mine = thinker.state_dict()
    assert not thinker.training
    assert len(mine) > 20
    for name, value in mine.items():
        assert torch.equal(value, stored[f"thinker.{name}"]), name


def test_a_checkpoint_that_lacks_weights_is_refused(toy_world: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(toy_world / "model", tmp_path / "model")
    stored = load_file(folder / "model.safetensors")
    gone = next(name for name in stored if name.endswith("q_proj.weight") and ".model.layers." in name)
    del stored[gone]
    save_file(stored, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match="lacks weights of the thinker"):
        load_thinker(folder, "float32", "cpu")
