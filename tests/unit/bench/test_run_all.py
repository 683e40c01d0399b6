"""All quoted commands into one folder with a page, and the bench of a GPU at a size that any machine can do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

BENCH = Path(__file__).resolve().parents[3] / "bench"


def run(*words: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    variables = {**os.environ, "AVATAR_BENCH_RESULTS": str(folder)} if folder else dict(os.environ)
    command = [sys.executable, str(BENCH / words[0]), *words[1:]]
    return subprocess.run(command, env=variables, capture_output=True, text=True)


def test_the_gpu_bench_runs_at_toy_size_on_a_processor(tmp_path: Path) -> None:
    sizes = ["--rows", "4", "--group", "2", "--prompt", "8", "--response", "6", "--rank", "4", "--rounds", "1"]
    done = run("gpu.py", "--device", "cpu", "--size", "toy", *sizes, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "gpu_on_cpu.json").read_text())
    rows = {(row["trained"], row["avatar"]): row for row in result["rows"]}
    assert set(rows) == {(kind, avatar) for kind in ("full", "LoRA 4") for avatar in ("with", "without")}
    for row in rows.values():
        assert row["step_s"] > 0
        # 4 rows of 14 tokens in the median step.
        assert row["tokens_per_s"] == pytest.approx(56 / row["step_s"])
    # Adapters of rank 4 on q, k, v, o, gate, up and down of 2 layers; widths 64, 32 for k and v, 128 for the MLP:
    # 2 * 4 * ((64 + 64) + 2 * (64 + 32) + (64 + 64) + 2 * (64 + 128) + (128 + 64)) = 8192.
    assert rows["LoRA 4", "with"]["trained_M"] == pytest.approx(0.008192)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_the_page_says_that_its_figures_are_missing(tmp_path: Path) -> None:
    (tmp_path / "earlier.json").write_text(
        json.dumps({"name": "earlier", "when": "now", "rows": [{"what": "<b>", "ms": 2.0}]})
    )
    done = run("run_all.py", "--only", "gpu", "--out", str(tmp_path))
    assert done.returncode == 0, done.stderr
    (outcome,) = json.loads((tmp_path / "outcomes.json").read_text())
    assert outcome["command"] == "python bench/gpu.py"
    assert outcome["state"] == "missing"
    page = (tmp_path / "index.html").read_text()
    assert "there is no GPU here, so nothing was measured" in page
    assert "&lt;b&gt;" in page
    assert page.count("data:image/png") == 1  # of the earlier result


def test_every_bench_is_listed_once_with_the_words_that_are_quoted() -> None:
    listed = run("run_all.py", "--list").stdout.splitlines()
    scripts = {command.split()[1].removeprefix("bench/") for command in listed}
    benches = {path.name for path in BENCH.glob("*.py") if "from record import" in path.read_text()}
    assert scripts == benches - {"run_all.py"}
    assert {"python bench/data.py validate", "python bench/data.py build"} <= set(listed)
    assert len(listed) == len(set(listed))


def test_quick_shortens_every_bench_and_none_twice_alike() -> None:
    whole, quick = (run("run_all.py", "--list", *words).stdout.splitlines() for words in ([], ["--quick"]))
    assert len(quick) == len(set(quick)) == len(whole)
    for long, short in zip(whole, quick, strict=True):
        assert short.startswith(f"{long} "), long


def test_a_quick_result_says_so_and_can_be_neither_published_nor_quoted(tmp_path: Path) -> None:
    done = run("run_all.py", "--quick", "--only", "advantage", "--out", str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads((tmp_path / "advantage_2_threads.json").read_text())
    assert result["quick"] is True
    assert result["settings"]["rows"] == 256
    page = (tmp_path / "index.html").read_text()
    assert "quick results, not to be quoted" in page
    assert "advantage_2_threads (quick)" in page
    assert run("run_all.py", "--quick", "--publish").returncode == 2
    # Nor by a later call without --quick into the same folder.
    refused = run("run_all.py", "--only", "gpu", "--publish", "--out", str(tmp_path))
    assert refused.returncode == 2
    assert "advantage_2_threads.json was measured at a small size" in refused.stdout
    quoted = "import sys, pathlib; sys.path.insert(0, sys.argv[1]); import quoted; folder = pathlib.Path(sys.argv[2])\n"
    quoted += "print(quoted.missing(quoted.Quoted('', '', 'advantage', '256 rows'), folder))"
    command = [sys.executable, "-c", quoted, str(BENCH), str(tmp_path)]
    assert subprocess.run(command, capture_output=True, text=True).stdout.strip() == "['256']"


def test_a_name_that_nothing_has_is_refused(tmp_path: Path) -> None:
    done = run("run_all.py", "--only", "nothing", "--out", str(tmp_path))
    assert done.returncode == 2
    assert "no bench has one of the names nothing" in done.stderr
