"""What the documentation says is so: its site builds without a broken link, its examples run, its names exist."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
import torch

from avatar_verl.config import AvatarConfig, RewardConfig
from avatar_verl.evaluation.item import Item
from avatar_verl.evaluation.load import Unusable, load, locate
from avatar_verl.maths import shaping
from avatar_verl.rewards.compose import RewardComposer
from avatar_verl.types import Sample
from data_prep.pipeline.builder import build
from data_prep.pipeline.recipe import parse_recipe
from data_prep.sources import SOURCES, Source
from data_prep.table import read_rows

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = "report-sample.html"  # the report of a real run; tests/unit/report opens it in a browser
PAGES = {path.name: path.read_text(encoding="utf-8") for path in sorted((ROOT / "docs").glob("*.md"))}


# ---- the site


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as for publication: every warning is an error, links and anchors among them."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


class _Links(HTMLParser):
    """What a page loads, what it links to, and where it can be linked to."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.links: list[str] = []
        self.anchors: set[str] = {""}
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.anchors.update(filter(None, (values.get("id"), values.get("name"))))
        if tag in ("script", "img", "source", "iframe") and values.get("src"):
            self.loads.append(str(values["src"]))
        elif tag == "link" and values.get("rel") != "canonical":
            self.loads.append(str(values["href"]))
        elif tag == "a" and values.get("href"):
            self.links.append(str(values["href"]))


def test_every_link_of_the_built_site_leads_somewhere(site: Path) -> None:
    pages = {page: _Links(page) for page in site.rglob("*.html") if page.name != "404.html"}
    assert len(pages) >= 8
    inside = 0
    for page, found in pages.items():
        for link in [*found.links, *found.loads]:
            parts = urlsplit(link)
            if parts.scheme in ("http", "https"):
                continue
            target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            target = target / "index.html" if target.is_dir() else target
            assert target.is_file(), f"{page.name}: {link}"
            if target in pages and target.name != SAMPLE:  # that page reads its own address
                assert unquote(parts.fragment) in pages[target].anchors | {"__top"}, f"{page.name}: {link}"
            inside += 1
    assert inside > 100


def test_the_site_loads_nothing_from_the_network(site: Path) -> None:
    for page in site.rglob("*.html"):
        assert not [link for link in _Links(page).loads if urlsplit(link).netloc], page.name
    assert "fonts.googleapis" not in "".join(page.read_text() for page in site.rglob("*.html"))


def test_results_are_those_of_the_bench(site: Path) -> None:
    text = (site / "results.html").read_text(encoding="utf-8")
    for file in (ROOT / "bench" / "results").glob("*.json"):
        if '"rows"' in file.read_text(encoding="utf-8"):
            assert f"{file.stem.replace('_', ' ')}<a" in text, file.name
    for plot in (ROOT / "bench" / "results").glob("*.png"):
        assert f'src="results/{plot.name}"' in text
        assert (site / "results" / plot.name).read_bytes() == plot.read_bytes()
    commands = set(re.findall(r"<code>python (bench/[\w.]+)</code>", text))
    assert commands
    assert all((ROOT / command).is_file() for command in commands)


# ---- names


def test_every_key_that_a_page_names_is_a_key() -> None:
    named = {key for text in PAGES.values() for key in re.findall(r"(?<!/)\bavatar\.([a-z_]+(?:\.[a-z_]+)*)\b", text)}
    assert len(named) > 40
    for key in named:
        node: Any = AvatarConfig()
        for step in key.split("."):
            if isinstance(node, dict):  # e.g. reward.weights.NAME
                break
            assert hasattr(node, step), f"avatar.{key}"
            node = getattr(node, step)


def test_every_module_and_file_that_a_page_names_is_there() -> None:
    for name, text in PAGES.items():
        for module in re.findall(r"python -m ((?:avatar_verl|data_prep)[\w.]*)", text):
            path = ROOT / module.rstrip(".").replace(".", "/")
            assert path.with_suffix(".py").is_file() or (path / "__main__.py").is_file(), f"{name}: {module}"
        for file in re.findall(r"`((?:avatar_verl|data_prep|recipe|bench|tests|requirements)/[\w./-]+\.\w+)`", text):
            assert (ROOT / file).is_file(), f"{name}: {file}"


def test_every_metric_that_a_page_names_is_logged() -> None:
    source = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "avatar_verl").rglob("*.py"))
    keys = re.findall(r"\"(avatar/[^\"\n]*)", source)
    logged = [re.escape(re.sub(r"\{[^}]*(\}|$)", "*", key)).replace(r"\*", "[a-z_]+") for key in keys]
    named = {key for text in PAGES.values() for key in re.findall(r"`(avatar/[a-z_/]+)`", text)}
    assert len(named) > 5
    for key in named:
        assert any(re.fullmatch(pattern, key) for pattern in logged), key


# ---- the examples of extending.md


def example(heading: str, number: int = 0) -> str:
    section = re.search(rf"^## {heading}$.*?(?=^## |\Z)", PAGES["extending.md"], re.MULTILINE | re.DOTALL)
    assert section is not None, heading
    return re.findall(r"```python\n(.*?)```", section.group(), re.DOTALL)[number]


def test_the_reward(tmp_path: Path) -> None:
    """300 tokens lie in the middle between 100 and 500: 0.5."""
    (tmp_path / "brevity.py").write_text(example("A reward"))
    config = RewardConfig(weights={"accuracy": 0.5, "custom": 0.5}, custom=str(tmp_path / "brevity.py"))
    composer = RewardComposer(config)
    base = {"completion": "<think>x</think><answer>B</answer>", "ground_truth": "B", "options": ("a", "b")}

    found = composer.score_many(
        [
            Sample(**base, problem_type="multiple_choice", num_tokens=80),
            Sample(**base, problem_type="multiple_choice", num_tokens=300),
            Sample(**base, problem_type="multiple_choice", num_tokens=900),
            Sample(**base, problem_type="multiple_choice", num_tokens=80, truncated=True),
        ]
    )

    assert [one.parts["custom"].value for one in found] == [1.0, 0.5, 0.0, 0.0]
    assert [one.parts["custom"].reason for one in found] == ["short", "long", "long", "truncated"]
    assert [one.total for one in found] == [1.0, 0.75, 0.5, 0.5]


def test_the_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reader: dict[str, Any] = {}
    exec(example("A source of data", 0), reader)
    entries: dict[str, Source] = eval(
        f"{{{example('A source of data', 1)}}}", {"Source": Source, "street_sounds": SimpleNamespace(**reader)}
    )
    monkeypatch.setitem(SOURCES, "street_sounds", entries["street_sounds"])
    (tmp_path / "street_sounds.jsonl").write_text(
        '{"id": 1, "clip": "c1", "question": "What rings?", "choices": ["a tram", "a bike"], "answer": "a bike"}\n'
        '{"id": 2, "clip": "c2", "question": "What honks?", "choices": ["a car", "a bus"], "answer": "a plane"}\n'
        '{"id": 3, "clip": "c3", "disputed": true}\n'
    )
    source = {"source": "street_sounds", "annotation": str(tmp_path / "street_sounds.jsonl"), "prefix": "street"}

    plan = parse_recipe({"sources": [source], "max_fault_share": 0.9})
    manifest = build(plan, tmp_path / "built", "", 1, lambda *_: None)

    assert manifest["sources"]["street_sounds"]["dropped"] == {"answer_not_in_options": 1, "disputed": 1}
    (row,) = read_rows(tmp_path / "built" / "stage2-train-00000-of-00001.parquet")
    assert row["videos"] == [{"video": "street/clips/c1.mp4"}]
    assert row["reward_model"]["ground_truth"] == "B"
    assert row["extra_info"]["prompt_id"] == "street_sounds/1"
    assert row["extra_info"]["use_audio_in_video"]


def test_the_benchmark(tmp_path: Path) -> None:
    module: dict[str, Any] = {}
    exec(example("A benchmark"), module)
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "k1.mp4").touch()
    good = {"id": 1, "clip": "k1", "question": "What boils?", "choices": ["A. milk", "B. tea"], "answer": "tea"}
    (tmp_path / "test.json").write_text(json.dumps([good, {**good, "id": 2, "answer": "soup"}]))

    item, unusable = load(locate(module["BENCHMARK"], tmp_path))

    assert isinstance(item, Item)
    assert (item.answer, item.options, item.media[0].path) == ("B", ("milk", "tea"), "videos/k1.mp4")
    assert isinstance(unusable, Unusable)
    assert unusable.reason == "bad_answer"


def test_the_shape(monkeypatch: pytest.MonkeyPatch) -> None:
    """Five tokens lie at x = -1, -1/2, 0, 1/2, 1; ((1 + x) / 2)^2 = 0, 1/16, 1/4, 9/16, 1; strength 0.4."""
    for name, bump in eval(f"{{{example('A shape of temporal shaping')}}}").items():
        monkeypatch.setitem(shaping.SHAPES, name, bump)
    weights = shaping.position_weights(torch.ones(1, 5), 0.4, "late")  # type: ignore[arg-type]
    assert torch.allclose(weights, torch.tensor([[1.0, 1.025, 1.1, 1.225, 1.4]]))
