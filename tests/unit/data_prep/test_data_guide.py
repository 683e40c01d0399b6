"""The two examples of docs/data-guide.md as they stand there: recipes, shell commands, and what the trainer says."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.lookalikes import SAMPLES

from avatar_verl.adapter.node import plain
from avatar_verl.main import load
from avatar_verl.preflight import check_run
from data_prep.table import read_rows

ROOT = Path(__file__).resolve().parents[3]
GUIDE = (ROOT / "docs" / "data-guide.md").read_text(encoding="utf-8")
VIDEO_R1_CLIPS, DOORS, AVQA_CLIPS = 600, 4, 80  # one clip of a hundred goes to val
#: Stands where the project's own interpreter stands: writes down how it was called.
SHIM = '#!/usr/bin/env bash\nprintf "%s\\n" "$@" >"$CALLS/$(date +%s%N)"\n'


def blocks(heading: str, language: str) -> list[str]:
    """Fenced blocks of one language in the section under ``heading``."""
    section = re.search(rf"^## {heading}.*?(?=^## |\Z)", GUIDE, re.MULTILINE | re.DOTALL)
    assert section is not None, heading
    return re.findall(rf"```{language}\n(.*?)```", section.group(), re.DOTALL)


class Site:
    """A machine with the guide's layout, below a folder of its own."""

    def __init__(self, folder: Path, model: Path, endpoint: str) -> None:
        self.folder, self._model, self._endpoint = folder, model, endpoint
        self.calls = folder / "calls"
        self.calls.mkdir()
        for name in (
            "run_stage0.sh",
            "run_stage1.sh",
            "run_stage2.sh",
            "recipe/launch/run.sh",
            "recipe/launch/venv.sh",
        ):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
        for name, text in (("recipe/launch/setup.sh", "exit 0\n"), (".venv-gpu/bin/python", SHIM)):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)
            (folder / name).chmod(0o755)
        for stage in ("cold_start", "stage1"):  # models that earlier runs have left
            (folder / "outputs" / stage / "latest").mkdir(parents=True)
            (folder / "outputs" / stage / "latest" / "model").symlink_to(model)

    def here(self, text: str) -> str:
        """The guide's text with its absolute paths below this folder."""
        text = re.sub(r"(?<![\w./])/data/", f"{self.folder}/data/", text)
        text = re.sub(r"/models/Qwen2.5-Omni-3B", str(self._model), text)
        return re.sub(r"http://localhost:\d+/v1", self._endpoint, text)

    def path(self, text: str) -> Path:
        path = Path(self.here(text))
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def shell(self, text: str) -> None:
        variables = {**os.environ, "CALLS": str(self.calls), "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
        variables["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{variables['PATH']}"
        script = f"set -euo pipefail\n{self.here(text)}"
        done = subprocess.run(["bash", "-c", script], cwd=self.folder, env=variables, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr

    def trainings(self) -> list[list[str]]:
        """Arguments of the trainings that were started, each checked as a run checks them before Ray starts."""
        found = []
        for file in sorted(self.calls.iterdir()):
            module, name, *words = file.read_text().splitlines()
            assert (module, name) == ("-m", "avatar_verl.main")
            check_run(plain(load(words[0], words[1:], "<run folder>")))
            found.append(words)
        return found


@pytest.fixture
def site(tmp_path: Path, toy_world: Path, server: Any) -> Site:
    server.reply = lambda body: (200, {"choices": [{"message": {"content": "Listen twice."}}]}, {})
    return Site(tmp_path, toy_world / "model", server.url)


def write_media(site: Site, media: Path, names: list[str]) -> None:
    for name in names:
        target = site.path(f"/data/media/{name}")
        os.link(shutil.copy(media / "long.mp4", target.parent / ".first"), target)


def test_video_r1(site: Site, media: Path) -> None:
    places = [f"{['CLEVRER', 'NeXT-QA'][n % 2]}/walk-{n:04d}.mp4" for n in range(VIDEO_R1_CLIPS)]
    write_media(site, media, [f"Video-R1-data/{place}" for place in places])
    sample = SAMPLES["video_r1_260k"]
    elements = [
        {**sample, "problem_id": f"{n}-{door}", "path": f"./{place}", "problem": f"Which sign hangs above door {door}?"}
        for n, place in enumerate(places)
        for door in range(DOORS)
    ]
    site.path("/data/annotations/Video-R1-260k.json").write_text(json.dumps(elements))
    taught = [{**element, "process": "<think>A blackboard is seen.</think>"} for element in elements]
    site.path("/data/annotations/Video-R1-COT-165k.json").write_text(json.dumps(taught))
    held_out = [{"video": place, "question": "Which?", "candidates": ["this", "that"]} for place in places[:100]]
    site.path("/data/benchmarks/mvbench.json").write_text(json.dumps(held_out))
    (recipe,) = blocks("Example 1", "yaml")
    (site.folder / "mix.yaml").write_text(site.here(recipe))

    prepare, train = blocks("Example 1", "bash")
    site.shell(prepare)
    site.shell(train)

    cold_start, stage1 = site.trainings()
    assert (cold_start[0], stage1[0]) == ("cold_start", "stage1")
    assert f"avatar.media.root={site.folder}/data/media" in stage1
    files = {path.name.split("-0")[0]: path for path in (site.folder / "data/ready").glob("*.parquet")}
    assert files.keys() == {"stage0-cold_start", "stage1-train", "stage1-val"}
    kept = read_rows(files["stage1-train"])
    assert 400 < len(kept) < 600  # a quarter of the 4 x 500 that the benchmark leaves
    clips = {video["video"] for row in kept for video in row["videos"]}
    assert clips <= {f"Video-R1-data/{place}" for place in places[100:]}
    assert (site.folder / "data/ready/validation/report.html").is_file()
    assert (site.folder / "data/stats.html").is_file()


def test_avqa(site: Site, media: Path) -> None:
    names = [f"-{n:04d}Omg_89c_000030" for n in range(AVQA_CLIPS)]
    write_media(site, media, [f"AVQA/videos/{name}.mp4" for name in names])
    elements = [{**SAMPLES["avqa"], "id": n, "video_name": name, "video_id": n} for n, name in enumerate(names)]
    site.path("/data/annotations/train_qa.json").write_text(json.dumps(elements[:-8]))
    site.path("/data/annotations/val_qa.json").write_text(json.dumps(elements[-8:]))
    (recipe,) = blocks("Example 2", "yaml")
    (site.folder / "avqa.yaml").write_text(site.here(recipe))

    for text in blocks("Example 2", "bash"):
        site.shell(text)

    (stage2,) = site.trainings()
    assert stage2[0] == "stage2"
    rows = read_rows(site.folder / "data/avqa-hinted/stage2-train-00000-of-00001.parquet")
    assert len(rows) == AVQA_CLIPS - 8
    assert {row["extra_info"]["audio_cues"] for row in rows} == {"Listen twice."}
    assert {row["extra_info"]["hint"] for row in rows} == {"Listen twice."}
    assert any((site.folder / "data/cache").rglob("*.*"))
