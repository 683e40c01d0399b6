"""What the benches of the stages and of FS-GRPO read off a run's validations."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

import pytest

BENCH = Path(__file__).resolve().parents[3] / "bench"


@pytest.fixture(params=["stages", "fs_grpo"])
def bench(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCH))
    found = importlib.import_module(request.param)
    monkeypatch.delitem(sys.modules, request.param)
    return found


@pytest.mark.parametrize("bench", ["stages"], indirect=True)
def test_a_row_a_stage_and_family_with_the_spread_over_seeds(bench: ModuleType) -> None:
    def record(step: int, accuracy: float, source: float) -> dict[str, float]:
        return {"step": step, "avatar/val/accuracy": accuracy, "avatar/val/accuracy/family/source": source}

    runs = [
        {
            "stage": "stage3",
            "seed": 1,
            "curve": [bench.point(record(0, 0.5, 0.25)), bench.point(record(40, 0.5, 0.75))],
        },
        {
            "stage": "stage3",
            "seed": 2,
            "curve": [bench.point(record(0, 0.5, 0.25)), bench.point(record(40, 0.25, 0.5))],
        },
    ]
    accuracy, source = bench.rows(runs)
    changes = {"least change": 0.25, "largest change": 0.5}
    assert source == {"stage": "stage3", "figure": "source", "before": 0.25, "after": 0.625, **changes}
    assert (accuracy["after"], accuracy["least change"], accuracy["largest change"]) == (0.375, -0.25, 0.0)


@pytest.mark.parametrize("bench", ["fs_grpo"], indirect=True)
def test_formats_have_share_accuracy_and_length_where_they_are_used(bench: ModuleType) -> None:
    own = "avatar/val/fs_grpo"
    record = {
        "step": 10,
        "avatar/val/accuracy": 0.5,
        "avatar/val/num_tokens": 20.0,
        f"{own}/unknown/share": 0.1,
        f"{own}/direct/share": 0.9,
        f"{own}/direct/accuracy": 0.4,
        f"{own}/direct/num_tokens": 5.0,
        f"{own}/perception/share": 0.0,
        f"{own}/full/share": 0.0,
    }
    found = bench.point(record)
    assert (found["direct"], found["direct accuracy"], found["direct tokens"]) == (0.9, 0.4, 5.0)
    assert found["full"] == 0.0
    assert "full accuracy" not in found
