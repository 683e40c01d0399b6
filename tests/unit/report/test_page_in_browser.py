"""The page in a real headless Chromium: fast, playable, filterable, comparable, harmless and accessible.

Needs playwright, axe-playwright-python and a Chromium (Debian's package ``chromium``, or ``CHROMIUM=/path``).
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import statistics
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from avatar_verl.report.__main__ import main
from avatar_verl.report.page import render_page

pytestmark = pytest.mark.browser

MakeRun = Callable[..., Path]
SAMPLE = Path(__file__).resolve().parents[3] / "docs" / "report-sample.json"
PROGRAM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="no playwright: pip install .[browser]")
    if PROGRAM is None:
        pytest.skip("no Chromium here: install the package chromium, or name one by CHROMIUM=/path")
    with playwright.sync_playwright() as started:
        # Root may not use Chromium's sandbox; the page is our own and reaches no address.
        chromium = started.chromium.launch(executable_path=PROGRAM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def open_page(browser: Any) -> Iterator[Callable[..., Any]]:
    """``open_page(file, part)``: the ready page. A message of the console or an error of a script fails the test."""
    contexts: list[Any] = []
    complaints: list[str] = []

    def open_(file: Path, part: str = "", **settings: Any) -> Any:
        contexts.append(browser.new_context(viewport={"width": 1280, "height": 900}, **settings))
        page = contexts[-1].new_page()
        page.on("console", lambda message: complaints.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(f"{file.as_uri()}{part}")
        page.wait_for_selector("html[data-ready]")
        return page

    yield open_
    for context in contexts:
        context.close()
    assert complaints == []


def playwright_error() -> type[Exception]:
    from playwright.sync_api import Error

    return Error


def written(folder: Path, *arguments: str) -> Path:
    assert main([str(folder), *arguments]) == 0
    return folder / "report.html"


def violations(page: Any) -> list[str]:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    found = axe.run(page).response["violations"]
    return [f"{rule['id']}: {node['html'][:150]}" for rule in found for node in rule["nodes"]]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real clip of the toy world, with sound; its MPEG-4 video is one that browsers do not show."""
    import numpy as np

    from data_prep.toy.render import render_frames, render_sound, write_mp4
    from data_prep.toy.scene import sample_scene

    rng = np.random.default_rng(3)
    scene = sample_scene(rng, "sync", held_out=False)
    path = tmp_path_factory.mktemp("media") / "a clip#1.mp4"
    write_mp4(path, render_frames(scene, rng), render_sound(scene, rng))
    return path


def test_500_steps_and_5000_completions_are_there_within_two_seconds(
    make_run: MakeRun, tmp_path: Path, open_page: Callable[..., Any]
) -> None:
    """Processor time of the page's own work, which other jobs of the machine hardly change."""
    page = open_page(written(make_run(tmp_path / "run", steps=500, group=5), "--completions", "9000"))
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})
    page.reload()
    page.wait_for_selector("html[data-ready]")
    page.evaluate("location.hash = '#completions'")
    page.wait_for_selector("#group .card")
    spent = {m["name"]: m["value"] for m in session.send("Performance.getMetrics")["metrics"]}
    assert spent["TaskDuration"] < 2.0
    assert "6,0" in page.locator(".list [role=status]").inner_text()  # 500 x 10, 16 held-out, 996 replayed


def test_charts_are_drawn_and_tell_their_values(
    make_run: MakeRun, tmp_path: Path, open_page: Callable[..., Any]
) -> None:
    page = open_page(written(make_run(tmp_path / "run")), "#charts")
    figure = page.locator("figure", has=page.get_by_role("heading", name="Accuracy", exact=True))
    drawing = figure.get_by_role("img")
    assert "held-out: 0.125 at first, 0.875 at last" in drawing.get_attribute("aria-label")
    assert figure.locator("path.band").count() == 1
    drawing.focus()
    page.keyboard.press("ArrowRight")
    assert "held-out: 0.875" in figure.get_by_role("status").inner_text()
    page.keyboard.press("PageUp")
    assert "held-out: 0.125" in figure.get_by_role("status").inner_text()
    figure.locator("summary").click()
    figure.locator("tbody tr").first.wait_for()  # a toggle is told of later than the click
    assert figure.locator("tbody tr").count() == 2
    absent = page.locator("#part-charts > p.note").last.inner_text()
    assert "Lift of hints" in absent
    assert "Accuracy" not in absent
    assert "supervised" not in absent
    stack = page.locator("figure", has=page.get_by_role("heading", name="Buffer by tier"))
    stack.scroll_into_view_if_needed()
    stack.locator("path.area").nth(1).wait_for(state="attached")
    assert stack.locator("path.area").count() == 2


def test_layers_with_gaps_still_stack(make_run: MakeRun, tmp_path: Path, open_page: Callable[..., Any]) -> None:
    """A timer that only some steps have leaves the layers above it where they belong at all others."""
    folder = make_run(tmp_path / "run", steps=4)
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    lines[2]["timing_s/save_checkpoint"] = 1.0
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    page = open_page(written(folder), "#charts")
    figure = page.locator("figure", has=page.get_by_role("heading", name="Where step time goes"))
    figure.scroll_into_view_if_needed()
    figure.locator("path.area").nth(2).wait_for(state="attached")
    # Layers 2 s of generation, 1 s of checkpoint in step 2, the rest of 3 s: all tops but the first one are at 3 s.
    tops = [path.get_attribute("d").split("L")[:4] for path in figure.locator("path.area").all()]
    heights = [[float(point.split(" ")[1].rstrip("Z")) for point in top] for top in tops]
    assert [len(set(row)) for row in heights] == [1, 2, 1]
    assert heights[1][1] == heights[2][1]
    assert heights[1][0] == heights[0][0] > heights[2][0]


def test_narrow_axes_have_ticks(make_run: MakeRun, tmp_path: Path, open_page: Callable[..., Any]) -> None:
    page = open_page(written(make_run(tmp_path / "run")))
    assert page.evaluate("ticks(0.113, 0.197, 5)") == [0.12, 0.14, 0.16, 0.18]
    assert page.evaluate("ticks(0, 8.4, 5)") == [0, 2, 4, 6, 8]
    assert page.evaluate("ticks(5, 5, 5)") == [5]
    assert page.evaluate("logTicks(0.15, 1.1)") == [0.2, 0.5, 1]
    assert page.evaluate("logTicks(2e-7, 3e-2).map(tickText)") == ["1e-6", "1e-5", "1e-4", "0.001", "0.01"]
    assert page.evaluate("logTicks(1.05, 1.35)") == [1.1, 1.2, 1.3]


def test_a_clip_plays_beside_its_completions(
    make_run: MakeRun, tmp_path: Path, clip: Path, open_page: Callable[..., Any]
) -> None:
    folder = make_run(tmp_path / "run", media=(str(clip),))
    for arguments in ((), ("--embed-media-mb", "5")):
        page = open_page(written(folder, *arguments), "#completions?split=train")
        video = page.locator("#group video")
        assert video.get_attribute("src").startswith("data:" if arguments else "report_media/")
        video.evaluate("clip => { clip.muted = true; return clip.play(); }")
        for _ in range(100):  # the page's policy allows no expression to be waited for inside it
            if video.evaluate("clip => clip.currentTime") > 0.2:
                break
            page.wait_for_timeout(100)
        assert video.evaluate("clip => clip.currentTime") > 0.2
        assert video.evaluate("clip => clip.videoWidth") > 0


def test_filters_leave_the_groups_that_were_asked_for(
    make_run: MakeRun, tmp_path: Path, open_page: Callable[..., Any]
) -> None:
    page = open_page(written(make_run(tmp_path / "run")), "#completions")
    status = page.locator(".list [role=status]")
    # 6 steps of 2 visits, 16 held-out ones, 4 replay batches.
    assert status.inner_text().startswith("32 groups, 72 completions")
    page.get_by_label("split", exact=True).select_option("train")
    assert status.inner_text().startswith("12 groups")
    page.get_by_label("groups", exact=True).select_option("flat")
    assert status.inner_text().startswith("6 groups")
    page.get_by_label("from step").fill("5")
    assert status.inner_text().startswith("2 groups")
    assert "kind=flat" in page.url
    page.get_by_role("button", name="Clear").click()
    page.get_by_label("groups", exact=True).select_option("hinted")
    assert status.inner_text().startswith("6 groups")
    page.get_by_label("groups", exact=True).select_option("replayed")
    assert status.inner_text().startswith("4 groups, 8 completions")
    page.get_by_label("groups", exact=True).select_option("far")
    assert status.inner_text().startswith("10 groups")  # tokens are logged from step 2 on
    page.get_by_role("button", name="Clear").click()
    page.get_by_label("tier", exact=True).select_option("medium")
    assert status.inner_text().startswith("4 groups")
    page.get_by_role("button", name="Clear").click()
    page.get_by_label("reward reason").select_option("accuracy: right")
    page.get_by_label("split", exact=True).select_option("train")
    assert status.inner_text().startswith("6 groups")
    page.get_by_label("find in prompt, clip or text").fill("prompt 4")
    assert status.inner_text().startswith("1 group,")


def test_a_reader_finds_why_a_completion_got_its_advantage(
    make_run: MakeRun, tmp_path: Path, open_page: Callable[..., Any]
) -> None:
    page = open_page(written(make_run(tmp_path / "run")), "#completions?split=train&kind=mixed&order=oldest&first=2")
    detail = page.locator("#group")
    assert "Mean reward 0.625, standard deviation 0.25 over 4 completions" in detail.inner_text()
    assert "B, two" in detail.inner_text()  # the letter's own option
    assert "0.25 after this visit, the mean of its last 20 fresh rewards" in detail.inner_text()
    assert "hard; at step 2 a reference score up to 0.5 is hard, up to 0.75 medium" in detail.inner_text()
    card = detail.locator(".card").first
    assert "its tokens: +1.509 to +1.950, by their place" in card.inner_text()
    assert detail.locator(".swatches").inner_text().split("\n") == ["made more likely", "made less likely"]
    assert "reward: 0.5 \u00d7 accuracy 1 + 0.5 \u00d7 format 1 = 1" in card.inner_text()
    assert "advantage: (1 \u2212 0.625) / 0.25 = +1.500" in card.inner_text()
    assert "accuracy 1: right" in card.inner_text()
    # The first token weighs 1.3, the middle one 1; a far token is underlined and named.
    tokens = card.locator(".tokens span")
    assert card.locator(".tokens .think").inner_text().startswith("<think>I hear beep 0 of prompt 4.</think>")
    strength = [float(tokens.nth(i).evaluate("s => s.style.getPropertyValue('--a')")) for i in (0, 3, 7)]
    assert strength[0] == max(strength) > strength[1]
    assert card.locator(".far").count() == 1
    assert card.locator("mark").first.inner_text() == '"hear "'
    card.locator("summary").click()
    assert "+1.950" in tokens.first.get_attribute("title")
    card.locator("tbody tr").first.wait_for()
    assert card.locator("tbody tr").count() == 8
    page.get_by_label("colour by").select_option("gap")
    assert detail.locator(".swatches").inner_text() == "log-probs differ"
    page.get_by_label("colour by").select_option("none")
    assert detail.locator(".swatches").inner_text() == ""
    assert card.locator(".text .think").inner_text() == "<think>I hear beep 0 of prompt 4.</think>"
    assert card.locator(".text .answer").inner_text() == "<answer>B</answer>"
    assert "History of this prompt" in detail.inner_text()
    detail.locator("table button").last.click()
    assert "group=" in page.url
    page.evaluate("location.hash = '#completions?kind=hinted'")
    detail.get_by_text("given: visit after visit earned nothing").wait_for()
    page.evaluate("viewer.runs[0].method.weights.accuracy = 0; openGroup(viewer.groups[0].number)")
    assert "accuracy 0: wrong_letter, not counted" in detail.inner_text()
    page.goto(page.url.split("#")[0] + "#completions?split=replay")
    page.reload()
    detail.get_by_role("heading", name="Replayed at step 6").wait_for()
    assert "0.6 \u00d7 (1 \u2212 reference score 0.6) / 0.3536 = +0.679" in detail.inner_text()
    assert "deviation of these 2 rewards, 0.3536; temporal shaping" in detail.inner_text()
    # The group of step 1 that it was generated in, with its clip, is one click away.
    detail.get_by_role("button", name="generated at step 1").first.click()
    assert "1, training" in detail.inner_text()


def test_a_step_of_a_chart_leads_to_its_completions(
    make_run: MakeRun, tmp_path: Path, open_page: Callable[..., Any]
) -> None:
    """By click and by keyboard; not where the x axis is no step."""
    page = open_page(written(make_run(tmp_path / "run")), "#charts")
    figure = page.locator("#part-charts figure", has=page.get_by_role("heading", name="Entropy"))
    figure.scroll_into_view_if_needed()
    drawing = figure.get_by_role("img")
    box = drawing.bounding_box()
    drawing.click(position={"x": box["width"] - 11, "y": 60})  # the right end of the axis
    status = page.locator(".list [role=status]")
    assert status.inner_text().startswith("11 groups")  # step 6: 2 visits, 8 held-out groups, a replay batch
    assert "first=6&last=6" in page.url
    page.go_back()
    drawing.focus()
    for key in ("ArrowLeft", "ArrowLeft", "Enter"):
        page.keyboard.press(key)
    page.wait_for_selector("#part-completions:not([hidden])")
    assert "first=4&last=4" in page.url
    assert status.inner_text().startswith("3 groups")
    page.go_back()
    page.get_by_label("x axis").select_option("hours")
    drawing.click(position={"x": box["width"] - 11, "y": 60})
    assert page.url.endswith("#charts?axis=hours")


def test_a_cold_start_shows_its_loss_and_promises_no_more(tmp_path: Path, open_page: Callable[..., Any]) -> None:
    """Its metrics have verl's own form; it generates nothing."""
    (tmp_path / "config.yaml").write_text("trainer: {total_training_steps: 2}\n")
    (tmp_path / "finished.json").write_text("{}")
    lines = [{"step": step, "data": {"train/loss": loss}} for step, loss in ((1, 6.5), (2, 0.25))]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    page = open_page(written(tmp_path))
    overview = page.locator("#part-overview")
    assert "6.500 to 0.250" in overview.inner_text()
    assert overview.get_by_role("heading", name="Loss of supervised training").is_visible()
    assert "advantage" not in overview.inner_text()
    page.evaluate("location.hash = '#charts'")
    page.wait_for_selector("#part-charts figure")
    assert "Nothing was recorded" not in page.locator("#part-charts").inner_text()
    page.evaluate("location.hash = '#completions'")
    page.get_by_text("supervised training generates nothing").wait_for()
    assert violations(page) == []


def test_two_runs_are_compared(make_run: MakeRun, tmp_path: Path, open_page: Callable[..., Any]) -> None:
    one, two = make_run(tmp_path / "one"), make_run(tmp_path / "two", steps=4)
    out = tmp_path / "compare.html"
    assert main([f"grpo={one}", f"avatar={two}", "--out", str(out)]) == 0
    page = open_page(out)
    assert page.get_by_role("heading", level=1).inner_text() == "2 runs side by side"
    table = page.get_by_role("region", name="Last values of each run").inner_text()
    assert "0.875" in table
    assert "0.875 (+0.000)" in table
    page.goto(f"{out.as_uri()}#charts")
    figure = page.locator("#part-charts figure", has=page.get_by_role("heading", name="Entropy"))
    figure.scroll_into_view_if_needed()
    figure.locator("path.curve").nth(1).wait_for(state="attached")
    assert figure.locator("path.curve").count() == 2
    page.get_by_role("checkbox", name="grpo").uncheck()
    assert figure.locator("path.curve").count() == 1
    page.goto(f"{out.as_uri()}#configuration")
    assert "total_training_steps" in page.get_by_role("region", name="Keys that differ between the runs").inner_text()
    page.goto(f"{out.as_uri()}#completions?run=1")
    assert page.locator(".list [role=status]").inner_text().startswith("26 groups")


def test_markup_and_script_in_a_completion_are_shown_as_text(
    make_run: MakeRun, tmp_path: Path, harmful: str, open_page: Callable[..., Any]
) -> None:
    folder = make_run(tmp_path / "run", steps=1, text=harmful)
    page = open_page(written(folder), "#completions?split=train&find=onerror")
    text = page.locator("#group .card .text").last
    assert text.inner_text() == harmful
    assert page.evaluate("window.harmed") is None
    assert page.locator("#group b, #group img").count() == 0
    page.goto(page.url.split("#")[0] + "#overview")
    assert "clip <b>3</b> is torn" in page.locator("#part-overview").inner_text()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390], ids=["desk", "phone"])
def test_every_part_passes_axe_and_fits_its_window(
    make_run: MakeRun, tmp_path: Path, clip: Path, scheme: str, width: int, open_page: Callable[..., Any]
) -> None:
    file = written(make_run(tmp_path / "run", media=(str(clip),)))
    page = open_page(file, color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 800})
    for part in ("overview", "charts", "completions?split=train&kind=mixed", "numbers", "configuration"):
        page.evaluate(f"location.hash = '#{part}'")
        page.wait_for_timeout(150)
        assert violations(page) == [], part
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), part


def test_the_sample_of_the_docs_shows_a_real_run(tmp_path: Path, open_page: Callable[..., Any]) -> None:
    """Its sums are those of the run, its clip is inside."""
    file = tmp_path / "report-sample.html"
    file.write_text(render_page(**json.loads(SAMPLE.read_text())))
    page = open_page(file, "#completions?split=train&kind=mixed&order=oldest&find=mp4")
    video = page.locator("#group video")
    assert video.get_attribute("src").startswith("data:video/mp4")
    video.evaluate("clip => { clip.muted = true; return clip.play(); }")
    rewards = [float(text.split("reward ")[1].split("\n")[0]) for text in page.locator(".card h3").all_inner_texts()]
    mean, spread = statistics.fmean(rewards), statistics.stdev(rewards)
    for card, reward in zip(page.locator(".card").all(), rewards, strict=True):
        assert f"= {(reward - mean) / spread:+.3f}".replace("-", "\u2212") in card.inner_text()
    assert "/tmp/" not in SAMPLE.read_text()
    assert "home/" not in SAMPLE.read_text()


def test_the_keyboard_alone_gets_everywhere(make_run: MakeRun, tmp_path: Path, open_page: Callable[..., Any]) -> None:
    page = open_page(written(make_run(tmp_path / "run")))
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    for _ in range(3):
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_selector("#group .card")
    second = page.locator(".groups button").nth(1)
    second.focus()
    page.keyboard.press("Enter")
    assert second.get_attribute("aria-current") == "true"
    assert page.evaluate("document.activeElement.tagName") == "H2"


def test_a_page_of_a_running_run_keeps_up(make_run: MakeRun, tmp_path: Path, open_page: Callable[..., Any]) -> None:
    from avatar_verl.report.build import PageOptions, write_page
    from avatar_verl.report.run_data import read_run

    folder = make_run(tmp_path / "run", steps=2, state="running")
    write_page([read_run(folder)], folder / "report.html", PageOptions(refresh_s=1))
    page = open_page(folder / "report.html")
    assert "2 of 2" in page.locator("dl.facts").inner_text()
    page.evaluate("location.hash = '#completions?split=val&order=oldest'")
    page.set_viewport_size({"width": 1000, "height": 400})
    page.get_by_role("button", name="Next group").press("Enter")
    shown = page.locator("#group dd").first.inner_text()
    place = "[window.scrollY, viewer.list.scrollTop]"
    page.evaluate("window.scrollTo({ top: 90, behavior: 'instant' }); viewer.list.scrollTop = 40")
    assert page.evaluate(place) == [90, 40]
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"step": 3, "actor/entropy": 0.5}\n')
    write_page([read_run(folder)], folder / "report.html", PageOptions(refresh_s=1))
    for _ in range(100):  # the page's policy allows no expression to be waited for inside it
        with contextlib.suppress(playwright_error()):  # in the middle of a reload
            if page.evaluate("data.runs[0].steps.at(-1)") == 3:
                break
        page.wait_for_timeout(100)
    page.wait_for_selector("html[data-ready]")
    # As the reader left it: part, filters, group and both scroll positions.
    assert "split=val&order=oldest" in page.url
    assert page.locator("#group dd").first.inner_text() == shown
    assert page.evaluate(place) == [90, 40]
    # Not under the reader's hands.
    (folder / "finished.json").write_text("{}")
    write_page([read_run(folder)], folder / "report.html", PageOptions())
    for _ in range(5):
        page.keyboard.press("Shift")
        page.wait_for_timeout(400)
        assert page.evaluate("data.refresh") == 1
    page.locator("#pause").wait_for(state="detached", timeout=10_000)  # a finished run's page stands still
