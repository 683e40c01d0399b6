"""Each adapter on look-alike rows of the official format, with its quirks."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from support.official import WRITERS, _video_mme_row

from avatar_verl.evaluation.benchmarks import BENCHMARKS
from avatar_verl.evaluation.item import Item, Medium
from avatar_verl.evaluation.load import Unusable, load, locate
from avatar_verl.evaluation.paper import PAPER
from avatar_verl.evaluation.prompts import AUTHORS, THINK_SYSTEM, row_of

Read = Callable[[str], list[Item | Unusable]]


def touch(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")


@pytest.fixture
def read(tmp_path: Path) -> Read:
    def run(name: str) -> list[Item | Unusable]:
        WRITERS[name](tmp_path, touch)
        return load(locate(BENCHMARKS[name], tmp_path))

    return run


def usable(entries: list[Item | Unusable]) -> list[Item]:
    return [entry for entry in entries if isinstance(entry, Item)]


def paths(item: Item) -> list[str]:
    return [medium.path for medium in item.media]


def test_every_benchmark_of_the_paper_is_there() -> None:
    assert set(WRITERS) == set(BENCHMARKS) - {"rows"}
    assert all(name in BENCHMARKS for row in PAPER.values() for name in row)
    assert len(PAPER["Qwen2.5-Omni-7B + AVATAR"]) == 15


@pytest.mark.parametrize("name", sorted(WRITERS))
@pytest.mark.parametrize("preset", ["official", "authors"])
@pytest.mark.parametrize("style", ["think", "direct"])
def test_every_usable_question_becomes_a_valid_row_with_its_media(
    name: str, preset: str, style: str, read: Read, tmp_path: Path
) -> None:
    items = usable(read(name))
    assert items
    for item in items:
        row = row_of(item, BENCHMARKS[name], preset, style, THINK_SYSTEM)  # type: ignore[arg-type]
        text = row["prompt"][-1]["content"]
        assert "{question}" not in text
        assert "{options}" not in text
        missing = [path for path in paths(item) if not (tmp_path / path).exists()]
        assert missing == []


def test_omnibench_answers_by_text_and_refuses_twins(read: Read) -> None:
    good, twins = read("omnibench")
    assert isinstance(good, Item)
    assert (good.answer, good.use_audio_in_video) == ("B", False)
    assert [medium.kind for medium in good.media] == ["image", "audio"]
    assert isinstance(twins, Unusable)
    assert twins.reason == "bad_answer"


def test_daily_omni_has_no_ids_and_null_categories(read: Read) -> None:
    first, second = usable(read("daily_omni"))
    assert (first.uid, second.uid) == ("aBc/0", "aBc/1")
    assert first.options[1] == "the high one"
    assert first.categories["parent category"] == "unknown"
    assert second.categories["duration"] == "60s"


def test_av_counting_keeps_a_count_of_zero(read: Read) -> None:
    assert [item.answer for item in usable(read("av_counting"))] == ["3", "0"]


def test_av_odyssey_puts_media_where_the_text_names_them(read: Read) -> None:
    good, lost = read("av_odyssey")
    assert isinstance(good, Item)
    assert paths(good) == ["s/1.wav", "i/1.png", "i/2.png"]
    content = row_of(good, BENCHMARKS["av_odyssey"], "official", "direct", "")["prompt"][-1]["content"]
    assert content.startswith("Which picture fits <audio>? {not a field}\nA. <image>\nB. <image>\nC. both\n")
    assert "D. none, as in \\<video>" in content  # a tag in the benchmark's own text stands for no medium
    assert isinstance(lost, Unusable)
    assert lost.reason == "bad_media"


def test_worldsense_has_several_tasks_a_video(read: Read) -> None:
    first, second = usable(read("worldsense"))
    assert (first.uid, second.uid) == ("xYz/task0", "xYz/task1")
    assert (first.answer, second.answer) == ("C", "A")
    assert second.categories["task type"] == "Audio Counting"


def test_intentbench_has_three_types_and_tagged_solutions(read: Read) -> None:
    entries = read("intentbench")
    choice, several, lie = usable(entries)
    assert (choice.problem_type, choice.answer, choice.options) == (
        "multiple_choice",
        "B",
        ("help", "to leave", "food"),
    )
    assert (several.problem_type, several.answer) == ("multi_label", "A,D")
    assert (lie.problem_type, lie.answer, lie.options) == ("yes_no", "yes", ())
    assert paths(choice) == ["clips/v.mp4"]
    assert isinstance(entries[3], Unusable)
    assert entries[3].reason == "unknown_problem_type"


def test_mvbench_keeps_parts_of_clips_and_folders_of_frames(read: Read, tmp_path: Path) -> None:
    entries = read("mvbench")
    items = {item.uid: item for item in usable(entries)}
    assert items["action_antonym/0"].media == (Medium("video", "video/ssv2_video/v.mp4"),)
    assert items["action_sequence/0"].media[0].span == (0.5, 2.5)
    assert items["episodic_reasoning/0"].media == (Medium("video", "video/tvqa/frames_fps3_hq/show_01", (0.0, 3.0)),)
    assert [entry.reason for entry in entries if isinstance(entry, Unusable)] == ["bad_span"]
    touch(tmp_path / "video/star/Charades_segment/v.mp4")  # clips that are cut already are taken whole
    again = {item.uid: item for item in usable(load(locate(BENCHMARKS["mvbench"], tmp_path)))}
    assert again["action_sequence/0"].media == (Medium("video", "video/star/Charades_segment/v.mp4"),)


def test_video_mme_reads_parquet_and_the_authors_columns(read: Read, tmp_path: Path) -> None:
    first, second = usable(read("video_mme"))
    assert (first.uid, first.answer, second.answer) == ("001-1", "B", "D")
    assert paths(first) == ["data/abC-_1.MP4"]
    assert first.options[0] == "A box."
    columns = {key: [value] for key, value in _video_mme_row().items()}
    (tmp_path / "columns.json").write_text(json.dumps(columns))
    (same,) = usable(load(locate(BENCHMARKS["video_mme"], tmp_path / "columns.json")))
    assert same == first


def test_lvbench_splits_options_from_the_question(read: Read) -> None:
    entries = read("lvbench")
    (item,) = usable(entries)
    assert (item.question, item.options, item.answer) == (
        "Which shape is first?",
        ("a box", "a disc", "a bar", "a wedge"),
        "B",
    )
    assert item.categories["question type"] == "entity recognition + reasoning"
    assert isinstance(entries[1], Unusable)
    assert entries[1].reason == "bad_options"


def test_video_holmes_has_six_options(read: Read) -> None:
    (item,) = usable(read("video_holmes"))
    assert (len(item.options), item.answer, item.uid) == (6, "F", "vId/0")


def test_mmvu_keeps_the_open_ended_questions(read: Read) -> None:
    choice, ended = usable(read("mmvu"))
    assert (choice.answer, paths(choice)) == ("E", ["videos/Art/0.mp4"])
    assert (ended.problem_type, ended.options, ended.answer) == ("free_text", (), "A fresco")


def test_tomato_has_up_to_seven_options_and_an_index(read: Read) -> None:
    count, rotation = usable(read("tomato"))
    assert (count.answer, count.uid) == ("A", "count/0")
    assert (rotation.answer, len(rotation.options)) == ("G", 7)
    assert paths(rotation) == ["videos/object/0001-06.mp4"]


def test_video_mmmu_has_three_tracks_and_keeps_an_option_that_looks_lettered(read: Read) -> None:
    perception, comprehension, adaptation, ended = usable(read("video_mmmu"))
    assert perception.uid == "Perception/validation_Art_Theory_3"
    assert perception.categories["subject"] == "Art_Theory"
    assert (perception.answer, perception.options[-1]) == ("J", "A. Einstein")
    assert comprehension.answer == "B"
    assert "at the end of the video" in adaptation.question
    assert (ended.problem_type, ended.answer) == ("free_text", "1,250")


def test_vsi_bench_has_numbers_and_choices(read: Read) -> None:
    entries = read("vsi_bench")
    number, choice = usable(entries)
    assert (number.problem_type, number.answer, number.options) == ("number", "4", ())
    assert (choice.answer, choice.categories["task"]) == ("B", "object_rel_direction")
    assert isinstance(entries[2], Unusable)


def test_video_tt_scores_the_multiple_choice_questions(read: Read) -> None:
    (item,) = usable(read("video_tt"))
    assert (item.question, item.options[2], item.answer) == ("How many?", "three", "C")


def test_direct_is_the_published_prompt_and_think_leaves_its_ban_on_reasoning_out(read: Read) -> None:
    item = usable(read("worldsense"))[0]
    benchmark = BENCHMARKS["worldsense"]
    direct = row_of(item, benchmark, "official", "direct", THINK_SYSTEM)["prompt"]
    assert [message["role"] for message in direct] == ["system", "user"]
    assert direct[0]["content"].startswith("Carefully watch this video")
    assert direct[1]["content"] == (
        "<video>These are the frames of a video and the corresponding audio. Select the best answer to the following "
        "multiple-choice question based on the video.\nQuestion: What is heard?\nA. a drum\nB. a horn\nC. a beep\n"
        "D. rain\nRespond with only the letter (A, B, C, or D) of the correct option.\nAnswer: "
    )
    think = row_of(item, benchmark, "official", "think", THINK_SYSTEM)["prompt"]
    assert think[0]["content"] == THINK_SYSTEM
    assert "only the letter" not in think[1]["content"]
    assert think[1]["content"].endswith("Answer with the letter of the right option.")
    authors = row_of(item, benchmark, "authors", "direct", "")["prompt"]
    assert len(authors) == 1
    assert authors[0]["content"].endswith(AUTHORS.closing)


def _direct(name: str, item: Item) -> list[str]:
    return [message["content"] for message in row_of(item, BENCHMARKS[name], "official", "direct", "")["prompt"]]


def test_official_prompts_are_those_of_the_makers_scripts(read: Read) -> None:
    """Written down from the scripts that the modules name, for our look-alike questions."""
    image = next(item for item in usable(read("omnibench")))
    assert _direct("omnibench", image) == [
        "<image><audio>Please answer the following question based on the given image and audio:\n"
        f"{image.question}.\nPlease choose only one answer from the following options:\n"
        f"A. {image.options[0]}\nB. {image.options[1]}\nC. {image.options[2]}\nD. {image.options[3]}."
    ]
    choice, several, lie = usable(read("intentbench"))
    lettered = "".join(f"{letter}. {text}\n" for letter, text in zip("ABCDEF", several.options, strict=False))
    assert _direct("intentbench", several) == [
        f"<video>Here is a video, with the audio from the video.\n{several.question} Options:\n{lettered} Please "
        "provide only the single or multiple option letter (e.g., A for single option or A,E for multi option, etc.) "
        "within the <answer> </answer> tags."
    ]
    assert "provide only the single option letter (e.g., A, B, C, D, etc.)" in _direct("intentbench", choice)[0]
    assert _direct("intentbench", lie)[0].endswith(" Please answer Yes or No within the <answer> </answer> tags.")
    clip = usable(read("mvbench"))[0]
    system, user = _direct("mvbench", clip)
    assert system.startswith(
        "Carefully watch the video and pay attention to the cause and sequence of events, the detail"
    )
    assert user.startswith(f"<video>{system}Question: {clip.question}\nOptions:\n(A) {clip.options[0]}\n(B) ")
    assert user.endswith("\nOnly give the best option.")


def test_the_authors_daily_omni_prints_a_python_list(read: Read) -> None:
    item = usable(read("daily_omni"))[0]
    text = row_of(item, BENCHMARKS["daily_omni"], "authors", "direct", "")["prompt"][-1]["content"]
    assert "Choices: ['A. the low one', 'B. the high one', 'C. neither', 'D. both at once']\n" in text


def test_thinking_rows_ask_in_the_words_of_training_rows() -> None:
    from avatar_verl.evaluation.prompts import THINK_CLOSING
    from data_prep.prompts import INSTRUCTIONS, SYSTEMS

    assert SYSTEMS["think"] == THINK_SYSTEM
    assert THINK_CLOSING.items() <= INSTRUCTIONS.items()


def test_our_own_rows_are_asked_as_they_are(toy_world: Path) -> None:
    import pyarrow.parquet as pq

    entries = load(locate(BENCHMARKS["rows"], toy_world))
    rows = pq.read_table(toy_world / "val.parquet").to_pylist()
    assert len(entries) == len(rows)
    for entry, row in zip(entries, rows, strict=True):
        assert isinstance(entry, Item)
        made = row_of(entry, BENCHMARKS["rows"], "official", "think", THINK_SYSTEM)
        assert made["prompt"] == row["prompt"]
        for column in ("images", "videos", "audios"):
            assert made[column] == row[column]
        assert entry.answer == row["reward_model"]["ground_truth"]


def test_a_folder_without_annotation_says_what_is_expected(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"qa\.json.*liarliar/Daily-Omni"):
        locate(BENCHMARKS["daily_omni"], tmp_path)


def test_ids_that_repeat_are_refused(tmp_path: Path) -> None:
    WRITERS["av_counting"](tmp_path, touch)
    rows = json.loads((tmp_path / "cg-av-counting.json").read_text())
    (tmp_path / "cg-av-counting.json").write_text(json.dumps([rows[0], rows[0]]))
    with pytest.raises(ValueError, match="not unique"):
        load(locate(BENCHMARKS["av_counting"], tmp_path))
