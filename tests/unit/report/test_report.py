"""Series, findings, chosen completions and files of the report, on run folders whose numbers are known."""

from __future__ import annotations

import csv
import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from avatar_verl.report.__main__ import main
from avatar_verl.report.advantages import NUM_BINS, advantage_histogram, shaping_curve
from avatar_verl.report.charts import CHARTS, Chart, Line, shown
from avatar_verl.report.config_changes import between_runs, config_changes
from avatar_verl.report.findings import findings
from avatar_verl.report.media_links import MediaLinks
from avatar_verl.report.page import render_page
from avatar_verl.report.plots import draw_chart, draw_histogram
from avatar_verl.report.run_data import read_run
from avatar_verl.report.selection import choose_groups
from avatar_verl.report.series import Series, build_series
from avatar_verl.report.step_time import NAMES, step_time

MakeRun = Callable[..., Path]


def block(page: Path, name: str) -> Any:
    """A block of JSON of a written page."""
    found = re.search(rf'id="{name}">(.*?)</script>', page.read_text(), re.DOTALL)
    assert found, name
    return json.loads(found[1])


# ---- series


def test_series_follow_the_steps_and_what_the_completions_add(make_run: MakeRun, tmp_path: Path) -> None:
    series = build_series(read_run(make_run(tmp_path / "run")))
    assert series.steps == [0, 1, 2, 3, 4, 5, 6]
    assert series.fresh == [0, 8, 16, 24, 32, 40, 48]  # 2 visits of 4 completions a step
    assert series.hours[2] == pytest.approx(0.02)  # 36 s a step
    # One of 8 right: mean 1/8, sample variance (7/8)/7 * ... = 8/7 * 1/8 * 7/8 = 1/8, half interval 1.96 sqrt(1/64).
    assert series.values["report/val/accuracy_error"][0] == pytest.approx(1.96 / 8)
    assert series.values["report/val/accuracy_error"][1:-1] == [None] * 5
    # Rewards 1, .5 x 7: squares .875 x .125 x .5^2 x 8 = .21875 in sum, over 7 and 8: 1.96 sqrt(.00390625) = 1.96 / 16.
    assert series.values["report/train/reward_error"][1] == pytest.approx(1.96 / 16)
    assert series.values["report/hint/visits"] == [None, 1, 1, 1, 1, 1, 1]
    assert series.values["report/bad_rows/unreadable"] == [0, 1, 1, 1, 1, 2, 2]
    assert series.values["report/parity/distance"][1] == pytest.approx(1e-5)


def test_a_step_that_was_written_twice_and_a_torn_line_are_read_once(make_run: MakeRun, tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", steps=2)
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"step": 2, "avatar/train/reward": 0.75, "loss": NaN}\n{"step": 3, "avat')
    series = build_series(read_run(folder))
    assert series.steps == [0, 1, 2]
    assert series.values["avatar/train/reward"][2] == 0.75
    assert "loss" not in series.values


def test_charts_show_what_is_there_and_name_what_a_star_stands_for() -> None:
    keys = {"avatar/replay/tier/easy", "avatar/replay/tier/hard", "report/time/update", "avatar/val/reward"}
    charts = {chart.title: chart for chart in shown(keys)}
    assert [line.label for line in charts["Buffer by tier"].lines] == ["easy", "hard"]
    assert [line.label for line in charts["Where step time goes"].lines] == ["update"]
    assert [line.label for line in charts["Reward"].lines] == ["held-out"]
    assert "Entropy" not in charts
    assert len({chart.title for chart in CHARTS}) == len(CHARTS)


def test_step_time_adds_up_to_the_step_and_validation_comes_on_top() -> None:
    timers = {"gen": 2.0, "old_log_prob": 0.5, "ref": 0.25, "adv": 0.125, "avatar_join": 0.125, "update_actor": 1.0}
    record = {f"timing_s/{name}": seconds for name, seconds in (timers | {"step": 4.5, "testing": 9.0}).items()}
    parts = step_time(record)
    assert parts == {
        "generation": 2.0,
        "log-probs": 0.75,
        "advantages and replay": 0.25,
        "update": 1.0,
        "validation": 9.0,
        "other": 0.5,  # 4.5 - 2 - .75 - .25 - 1
    }
    assert list(parts) == [name for name in NAMES if name in parts]
    assert step_time({"train/loss": 1.0}) == {}


# ---- advantages


def test_the_histogram_holds_the_share_of_rows_by_advantage() -> None:
    rows = [{"step": 1, "advantage": a} for a in (-0.5, -0.5, 1.5, 99.0)]
    rows += [{"step": 2, "advantage": 0.0}, {"step": 2, "advantage": 0.0, "replayed": True}]
    found = advantage_histogram(rows, replayed=False)
    assert found is not None
    assert found["steps"] == [1, 2]
    # -0.5 is (3 - 0.5) / 6 of the way: bin floor(31 * 2.5 / 6) = 12; what lies beyond is in the last bin.
    assert found["shares"][0][12] == 0.5
    assert found["shares"][0][NUM_BINS - 1] == 0.25
    assert found["shares"][1][NUM_BINS // 2] == 1.0
    assert advantage_histogram([], replayed=True) is None


def test_the_measured_weights_are_the_configured_ones(make_run: MakeRun, tmp_path: Path) -> None:
    run = read_run(make_run(tmp_path / "run"))
    curve = shaping_curve(run.avatar["shaping"], run.lines("trained.jsonl"))
    assert curve["configured"][0] == curve["configured"][-1] == 1.3
    assert curve["configured"][10] == 1.0
    assert curve["measured"][0] == pytest.approx(1.3, abs=0.01)
    measured = [(m, c) for m, c in zip(curve["measured"], curve["configured"], strict=True) if m is not None]
    assert len(measured) > 5
    assert all(m == pytest.approx(c, abs=0.03) for m, c in measured)


# ---- what is said of a run


def test_a_good_run_says_so_and_half_the_groups_without_signal_are_a_warning(make_run: MakeRun, tmp_path: Path) -> None:
    run = read_run(make_run(tmp_path / "run"))
    said = findings(run, build_series(run))
    assert [finding["level"] for finding in said] == ["warning", "note", "good"]
    assert "50% of the latest groups" in said[0]["text"]
    assert said[1]["text"].startswith("3 rows could not be used")
    assert "from 0.125 to 0.875" in said[2]["text"]


@pytest.mark.parametrize(
    ("numbers", "word"),
    [
        ({"avatar/parity/correlation": 0.98}, "disagree"),
        ({"avatar/train/truncated": 0.5}, "length limit"),
        ({"avatar/replay/effective_sample_size": 0.1}, "effective sample size"),
        ({"avatar/guard/trips": 2.0}, "Guards fired 2 times"),
    ],
)
def test_what_looks_wrong_is_said(make_run: MakeRun, tmp_path: Path, numbers: dict[str, float], word: str) -> None:
    folder = make_run(tmp_path / "run", steps=3)
    with (folder / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({"step": 4, **numbers}) + "\n")
    run = read_run(folder)
    assert [f for f in findings(run, build_series(run)) if f["level"] == "warning" and word in f["text"]]


def test_a_failed_run_shows_its_error(make_run: MakeRun, tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", state="running")
    assert read_run(folder).state == "running"
    (folder / "error.json").write_text(json.dumps({"type": "BadDataError", "message": "9 of 10 rows are bad\nmore"}))
    run = read_run(folder)
    assert "BadDataError: 9 of 10 rows are bad" in findings(run, build_series(run))[0]["text"]


def test_changes_come_from_the_run_or_from_the_defaults(make_run: MakeRun, tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", steps=1)
    assert config_changes(read_run(folder))["rows"] == [["avatar.replay.capacity", "10000", "500"]]
    saved = {
        "preset": "paper",
        "profile": "cpu",
        "changes": {"trainer.save_freq": [10, -1], "data.where": ["???", "x"]},
    }
    (folder / "config_changes.json").write_text(json.dumps(saved))
    found = config_changes(read_run(folder))
    assert found["against"] == "preset paper, profile cpu"
    assert found["rows"] == [["data.where", "not set", "x"], ["trainer.save_freq", "10", "-1"]]


def test_the_keys_that_differ_between_runs_are_named(make_run: MakeRun, tmp_path: Path) -> None:
    one, two = make_run(tmp_path / "one", steps=2), make_run(tmp_path / "two", steps=3)
    config = (two / "config.yaml").read_text()
    (two / "config.yaml").write_text(config.replace("adv_estimator: avatar", "adv_estimator: grpo"))
    runs = [read_run(one), read_run(two)]
    assert between_runs(runs) == [
        ["algorithm.adv_estimator", "avatar", "grpo"],
        ["trainer.total_training_steps", "2", "3"],
    ]
    assert between_runs([runs[0], runs[0]]) == []


# ---- completions


def test_whole_groups_are_chosen_over_all_steps_those_with_tokens_first(make_run: MakeRun, tmp_path: Path) -> None:
    run = read_run(make_run(tmp_path / "run", steps=10, visits=4))
    chosen = choose_groups(run.lines("samples.jsonl"), run.lines("trained.jsonl"), most=100, most_tokens=40)
    assert chosen.num_all == 10 * 16 + 16 + 8 * 2  # fresh, held-out, replayed from step 3 on
    assert 90 <= chosen.num_shown <= 110  # each step keeps at least one group
    assert {step for step, split, _ in chosen.groups if split == "train"} == set(range(1, 11))
    # A group has 4 completions of 8 tokens: 40 tokens are one group, and it is the newest.
    assert [step for step, _, _ in chosen.traced] == [10]
    everything = choose_groups(run.lines("samples.jsonl"), run.lines("trained.jsonl"), 10_000, 10**6)
    assert everything.num_shown == everything.num_all


def test_the_page_holds_the_completions_as_they_were(make_run: MakeRun, tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run")
    assert main([str(folder)]) == 0
    found = block(folder / "report.html", "completions-0")
    rows, texts = found["rows"], found["texts"]
    at = [i for i, number in enumerate(rows["group"]) if found["groups"][number] == first_group(found)]
    assert [rows["reward"][i] for i in at] == [1.0, 0.5, 0.5, 0.5]
    assert [rows["advantage"][i] for i in at] == [1.5, -0.5, -0.5, -0.5]
    assert texts[rows["text"][at[0]]] == "<think>I hear beep 0 of prompt 4.</think><answer>B</answer>"
    codes = rows["reasons"]["accuracy"]
    assert [codes["names"][codes["at"][i]] for i in at] == ["right", *["wrong_letter"] * 3]
    assert "".join(rows["trace"][at[0]][0]).endswith("<|im_end|>")
    old = [i for i, value in enumerate(rows["replayed"]) if value]
    assert rows["replayed"][old[0]] == {
        "reference": 0.6,
        "age": 2,
        "from_group": "step1visit0",
        "tier": "medium",
        "hint_used": False,
    }


def first_group(found: dict[str, Any]) -> Any:
    return next(g for g in found["groups"] if g["step"] == 2 and g["split"] == "train")


def test_media_are_linked_by_a_relative_address_or_put_into_the_page(tmp_path: Path) -> None:
    clip = tmp_path / "media" / "a clip#1.mp4"
    clip.parent.mkdir()
    clip.write_bytes(b"0123")
    other = clip.with_name("b.wav")
    other.write_bytes(b"01234567")
    page = tmp_path / "pages" / "report.html"
    assert MediaLinks(page)(str(clip)) == {
        "kind": "video",
        "name": "a clip#1.mp4",
        "url": "../media/a%20clip%231.mp4",
    }
    links = MediaLinks(page, embed_bytes=8)
    assert links(str(clip))["url"] == "data:video/mp4;base64,MDEyMw=="
    assert links(str(other))["url"] == "../media/b.wav"  # 8 bytes, 4 are left
    assert links(str(tmp_path / "gone.mp4"))["url"] == ""
    portable = MediaLinks(page, embed_bytes=4, portable=True)
    assert portable(str(clip))["url"].startswith("data:")
    assert portable(str(other)) == {"kind": "audio", "name": "b.wav", "url": ""}
    assert links(str(tmp_path / "pages")) == {"kind": "", "name": "pages", "url": ""}


def test_a_clip_that_no_browser_shows_gets_a_copy(tmp_path: Path, toy_world: Path, modal_rows: Any) -> None:
    """The toy world's clips are MPEG-4 part 2. The copy keeps pictures, length and sound, and is made once."""
    clip = toy_world / "modal" / "clip.mp4"
    links = MediaLinks(tmp_path / "report.html")
    url = links(str(clip))["url"]
    assert url.startswith("report_media/")
    with av.open(str(tmp_path / url)) as made, av.open(str(clip)) as given:
        assert made.streams.video[0].codec_context.name == "h264"
        assert made.streams.audio[0].codec_context.name == "aac"
        assert [s.codec_context.name for s in given.streams] == ["mpeg4", "aac"]
        pairs = list(zip(made.decode(video=0), given.decode(video=0), strict=True))
        worst = max(np.abs(a.to_ndarray(format="gray8") * 1.0 - b.to_ndarray(format="gray8")).mean() for a, b in pairs)
        assert worst < 4.0  # of 255
    before = (tmp_path / url).stat().st_mtime_ns
    assert MediaLinks(tmp_path / "report.html")(str(clip))["url"] == url
    assert (tmp_path / url).stat().st_mtime_ns == before
    shown = tmp_path / "shown.mp4"
    shown.write_bytes((tmp_path / url).read_bytes())
    assert links(str(shown))["url"] == "shown.mp4"  # H.264 already


# ---- files


def test_no_text_of_a_model_can_leave_its_block(harmful: str) -> None:
    page = render_page(harmful, {"text": harmful}, [{"text": harmful}])
    assert page.count("<script>window") == 0
    assert page.count("<img") == 0
    found = re.findall(r'<script type="application/json" id="([\w-]+)">(.*?)</script>', page, re.DOTALL)
    assert [(name, json.loads(text)["text"]) for name, text in found] == [("data", harmful), ("completions-0", harmful)]


def test_the_page_asks_nobody_for_anything(make_run: MakeRun, tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", steps=1)
    main([str(folder)])
    page = (folder / "report.html").read_text()
    assert "default-src &#x27;none&#x27;" in page
    addresses = set(re.findall(r"https?://[\w./-]+", page))
    assert addresses == {"http://www.w3.org/2000/svg"}  # the name of SVG, which nobody opens


def test_csv_has_every_series_of_every_run(make_run: MakeRun, tmp_path: Path) -> None:
    one, two = make_run(tmp_path / "one"), make_run(tmp_path / "two", steps=3)
    out = tmp_path / "compare.html"
    assert main([f"base={one}", f"new run={two}", "--out", str(out), "--csv", str(tmp_path / "csv")]) == 0
    assert [run["name"] for run in block(out, "data")["runs"]] == ["base", "new run"]
    with (tmp_path / "csv" / "base.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["step"] for row in rows] == list("0123456")
    assert float(rows[3]["actor/entropy"]) == pytest.approx(1 / 3)
    assert rows[0]["actor/entropy"] == ""
    assert len((tmp_path / "csv" / "new run.csv").read_text().splitlines()) == 5


def test_plots_are_written_for_papers(make_run: MakeRun, tmp_path: Path) -> None:
    one, two = make_run(tmp_path / "one"), make_run(tmp_path / "two", steps=3)
    plots = tmp_path / "plots"
    assert main([str(one), str(two), "--out", str(tmp_path / "r.html"), "--plots", str(plots)]) == 0
    svg = (plots / "accuracy.svg").read_text()
    assert svg.count("<path") > 10
    assert (plots / "accuracy.png").read_bytes()[:4] == b"\x89PNG"
    stems = {path.stem for path in plots.glob("*.svg")}
    assert stems == {path.stem for path in plots.glob("*.png")}
    assert {stem for stem in stems if "over-time" in stem or "shaping" in stem} == {
        f"{what}-of-{tmp_path.name.replace('_', '-')}-{run}"
        for run in ("one", "two")
        for what in ("advantages-of-fresh-rows-over-time", "advantages-of-replayed-rows-over-time", "temporal-shaping")
    }


def test_layers_of_a_plot_add_up_where_some_have_gaps() -> None:
    from matplotlib.figure import Figure

    chart = Chart("Speed", "Time", "", (Line("a", "a"), Line("b", "b")), "stack")
    one = Series([0, 1, 2], [None] * 3, [0, 0, 0], {"a": [None, 2.0, 3.0], "b": [None, None, 1.0]})
    panel = Figure().subplots()
    draw_chart(panel, chart, ["run"], [one])
    outlines = [layer.get_paths()[0].vertices.tolist() for layer in panel.collections]
    tops = [{x: max(y for at, y in outline if at == x) for x, _ in outline} for outline in outlines]
    # 2 + nothing, 3 + 1; step 0 has no layer at all.
    assert tops == [{1.0: 2.0, 2.0: 3.0}, {1.0: 2.0, 2.0: 4.0}]


def test_a_histogram_is_plotted_by_step_and_advantage() -> None:
    from matplotlib.figure import Figure

    rows = [{"step": step, "advantage": a} for step in (1, 2) for a in (0.0, step * 0.5)]
    histogram = advantage_histogram(rows, replayed=False)
    assert histogram is not None
    panel = Figure().subplots()
    draw_histogram(panel, histogram)
    shares = panel.collections[0].get_array()
    assert shares.shape == (NUM_BINS, 2)
    assert shares[NUM_BINS // 2].tolist() == [0.5, 0.5]
    assert shares[18].tolist() == [0.5, 0.0]  # 0.5 is 31 * 3.5 / 6 = 18.08 bins up
    assert shares[20].tolist() == [0.0, 0.5]  # 1.0 is 31 * 4 / 6 = 20.7


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path)]) == 2
    assert "is not a run folder" in capsys.readouterr().err


def test_watching_writes_again_until_the_run_ends(
    make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_run(tmp_path / "run", steps=2, state="running")
    looks: list[float] = []

    def meanwhile(seconds: float) -> None:
        looks.append(seconds)
        data = block(folder / "report.html", "data")
        assert data["refresh"] == 7
        if len(looks) == 2:
            with (folder / "metrics.jsonl").open("a") as file:
                file.write('{"step": 3, "actor/entropy": 0.5}\n')
        if len(looks) == 3:
            assert data["runs"][0]["steps"] == [0, 1, 2, 3]
            (folder / "finished.json").write_text("{}")

    monkeypatch.setattr("avatar_verl.report.__main__.time.sleep", meanwhile)
    assert main([str(folder), "--watch", "--every", "7"]) == 0
    assert looks == [7, 7, 7]
    assert len(capsys.readouterr().out.splitlines()) == 3  # at first, grown, finished; not for a look without news
    assert block(folder / "report.html", "data")["refresh"] == 0


def test_numbers_of_a_page_are_brief(make_run: MakeRun, tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run")
    main([str(folder)])
    run = block(folder / "report.html", "data")["runs"][0]
    assert run["series"]["actor/entropy"][3] == 0.3333
    assert run["series"]["avatar/val/accuracy"] == {"at": [0, 6], "v": [0.125, 0.875]}
    assert math.isclose(run["series"]["filler/0"][1], math.sin(1), rel_tol=1e-3)
