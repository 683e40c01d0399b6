"""From a batch in TransferQueue to the lines of ``trained.jsonl``. TransferQueue needs Ray, so its answer is given."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tensordict import TensorDict

from avatar_verl.adapter import trainer as module
from avatar_verl.adapter.run_log import RunLog
from avatar_verl.adapter.trained_log import TrainedRows
from avatar_verl.config import AvatarConfig
from avatar_verl.maths.shaping import shape_advantages
from avatar_verl.run_folder import whole_lines


def nested(rows: list[torch.Tensor]) -> torch.Tensor:
    return torch.nested.as_nested_tensor(rows, layout=torch.jagged)


def test_a_batch_becomes_metrics_and_lines(processor: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two fresh rows of one prompt, one row of padding; advantages 1 and -1 before shaping."""
    tokenizer = processor.tokenizer
    ids = [torch.tensor(tokenizer.encode(text)) for text in ("two low beeps", "one", "one")]
    lengths = torch.tensor([len(row) for row in ids])
    mask = (torch.arange(int(lengths.max())) < lengths[:, None]).long()
    shaped = shape_advantages(torch.tensor([1.0, -1.0, 0.0]), mask, 0.3)
    scores = [torch.zeros(len(row)).index_fill_(0, torch.tensor([len(row) - 1]), 1.0 - i) for i, row in enumerate(ids)]
    stored = {
        "responses": nested(ids),
        "advantages": nested([row[: len(own)] for row, own in zip(shaped, ids, strict=True)]),
        "rm_scores": nested(scores),
    }
    monkeypatch.setattr(module.tq, "kv_batch_get", lambda *_, **__: TensorDict(stored, 3))
    batch = SimpleNamespace(keys=["step1visit0_0_0", "step1visit0_1_0", "pad_2_0"], partition_id="train", fields=1)
    tags: list[dict[str, Any]] = [{"prompt_id": "a"}, {"prompt_id": "a"}, {"is_padding": True}]

    trainer = module.AvatarTrainer.__new__(module.AvatarTrainer)
    trainer.trained, trainer.tokenizer = TrainedRows(AvatarConfig(), shaped=True), tokenizer
    trainer.trained.start(1)
    trainer.trained.log_probs(batch.keys, [False] * 3, -mask.float(), -mask.float(), mask)
    metrics = trainer._signal(batch, tags, torch.zeros(3))
    assert metrics["avatar/groups/fresh"] == 1.0
    assert metrics["avatar/groups/zero_std"] == 0.0

    RunLog(tmp_path, 0.1).trained(trainer.trained.records({"a": ("easy", 0.5)}))
    lines = [record for _, record in whole_lines(tmp_path / "trained.jsonl")]
    assert [(line["group"], line["reward"], line["advantage"]) for line in lines] == [
        ("step1visit0", 1.0, 1.0),
        ("step1visit0", 0.0, -1.0),
    ]
    assert {(line["tier"], line["score"]) for line in lines} == {("easy", 0.5)}
    assert "".join(lines[0]["tokens"]) == "two low beeps"
    assert lines[0]["advantages"][0] == 1.3
    assert set(lines[0]["log_probs"]) == {-1.0}
