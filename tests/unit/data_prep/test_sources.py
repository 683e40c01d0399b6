"""Each source's quirks, on look-alike rows."""

from __future__ import annotations

import io
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from avatar_verl.schema import PROBLEM_TYPES, validate_row
from data_prep.answers import canonical_answer
from data_prep.items import Item
from data_prep.prompts import user_text
from data_prep.rows import RowSettings, leaves_of, make_row, table_of
from data_prep.sources import SOURCES

Samples = dict[str, Any]


def test_every_item_of_every_source_makes_a_valid_row(read: Any, samples: Samples) -> None:
    for name, raw in samples.items():
        items, _ = read(name, [raw])
        assert items, name
        for item in items:
            row = make_row(item, RowSettings(source=name, stage=SOURCES[name].stage, system="Think."), "train")
            validate_row(row)
            info = row["extra_info"]
            assert info["prompt_id"] == f"{name}/{item.id}"
            assert canonical_answer(info["problem_type"], item.answer, item.options) == item.answer
            assert item.problem_type in PROBLEM_TYPES


def test_no_source_has_two_items_of_one_id(read: Any, samples: Samples) -> None:
    for name, raw in samples.items():
        ids = [item.id for item in read(name, [raw])[0]]
        assert len(set(ids)) == len(ids), name


# Video-R1


def test_video_r1(one: Any, samples: Samples) -> None:
    item = one("video_r1_260k", samples["video_r1_260k"], prefix="Video-R1-data")

    assert item.id == "7"
    assert item.problem_type == "multiple_choice"
    assert item.answer == "B"
    assert item.options == ("A bakery", "A school", "A bank")
    assert item.media == (("video", "Video-R1-data/NeXT-QA/0001/street walk.mp4"),)
    assert item.family == "NeXT-QA"
    assert not item.sound
    assert item.response == ""


@pytest.mark.parametrize(
    ("word", "solution", "problem_type", "answer"),
    [
        ("numerical", "<answer>3.50</answer>", "number", "3.50"),
        ("regression", "<answer>17</answer>", "regression", "17"),
        ("OCR", "<answer>EXIT 12</answer>", "ocr", "EXIT 12"),
        ("free-form", "<answer>A man waves.</answer>", "free_text", "A man waves."),
    ],
)
def test_video_r1_types_without_options(
    one: Any, samples: Samples, word: str, solution: str, problem_type: str, answer: str
) -> None:
    raw = {**samples["video_r1_260k"], "problem_type": word, "solution": solution, "options": [], "data_type": "image"}

    item = one("video_r1_260k", raw)

    assert (item.problem_type, item.answer, item.options) == (problem_type, answer, ())
    assert item.media[0][0] == "image"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"problem_type": "Segmentation"}, "unknown_problem_type"),
        ({"solution": "<answer>D</answer>"}, "answer_not_in_options"),
        ({"solution": "<answer></answer>"}, "missing_answer"),
        ({"solution": None}, "null_value"),
        ({"problem": 5}, "wrong_type"),
        ({"problem": "  "}, "empty_value"),
        ({"options": []}, "empty_value"),
        ({"options": "A. x"}, "wrong_type"),
        ({"path": "../up.mp4"}, "path_outside_root"),
        ({"path": "/abs/x.mp4"}, "absolute_path"),
        ({"data_type": "pointcloud"}, "unknown_data_type"),
        ({"problem_id": True}, "wrong_type"),
    ],
)
def test_video_r1_drops_have_a_reason(reason: Any, samples: Samples, change: Samples, expected: str) -> None:
    assert reason("video_r1_260k", {**samples["video_r1_260k"], **change}) == expected


def test_a_missing_column_is_named(read: Any, samples: Samples) -> None:
    raw = samples["video_r1_260k"]
    del raw["solution"]

    _, (drop,) = read("video_r1_260k", [raw])

    assert (drop.reason, drop.detail) == ("missing_column", "solution")


def test_elements_that_are_no_mapping_are_dropped(read: Any) -> None:
    items, drops = read("video_r1_260k", ["text", None, 3, ["x"]])

    assert items == []
    assert [drop.reason for drop in drops] == ["wrong_type"] * 4


def test_video_r1_cot_makes_a_demonstration(one: Any, samples: Samples) -> None:
    item = one("video_r1_cot_165k", samples["video_r1_cot_165k"])

    assert item.response == "<think>A blackboard is seen.</think>\n<answer>B</answer>"
    assert item.answer == "B"


@pytest.mark.parametrize("process", ["no tags", "<think>open", "<think>a</think><think>b</think>", "x<think>a</think>"])
def test_video_r1_cot_without_one_think_block_is_dropped(reason: Any, samples: Samples, process: str) -> None:
    assert reason("video_r1_cot_165k", {**samples["video_r1_cot_165k"], "process": process}) == "bad_demonstration"


def test_a_literal_placeholder_in_a_question_does_not_stand_for_media(one: Any, samples: Samples) -> None:
    raw = {**samples["video_r1_260k"], "problem": "What does <image> mean in <video> 2?"}
    item = one("video_r1_260k", raw)

    row = make_row(item, RowSettings("v", 1, ""), "train")

    validate_row(row)
    assert row["prompt"][0]["content"].startswith(r"<video>What does \<image> mean in \<video> 2?")
    assert row["extra_info"]["question"] == raw["problem"]


# AVQA


def test_avqa_turns_an_index_into_a_letter(one: Any, samples: Samples) -> None:
    item = one("avqa", samples["avqa"], prefix="AVQA")

    assert item.answer == "C"
    assert item.media == (("video", "AVQA/videos/-Ab3dEf_9hI_000040.mp4"),)
    assert item.sound
    assert item.clip == "-Ab3dEf_9hI_000040"
    assert item.family == "Both/Which"


def test_avqa_null_and_numeric_choices_keep_the_right_one(one: Any, samples: Samples) -> None:
    raw = {**samples["avqa"], "multi_choice": [None, 3, "a fan", 5.5], "answer": 2}

    item = one("avqa", raw)

    assert item.options == ("3", "a fan", "5.5")
    assert item.answer == "B"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"answer": 4}, "answer_not_in_options"),
        ({"answer": "2"}, "wrong_type"),
        ({"answer": None}, "wrong_type"),
        ({"multi_choice": ["a", None, None, "b"], "answer": 1}, "answer_not_in_options"),
        ({"multi_choice": ["a", None], "answer": 0}, "bad_options"),
        ({"multi_choice": ["A fan", "x", "a fan."], "answer": 0}, "ambiguous_options"),
    ],
)
def test_avqa_drops(reason: Any, samples: Samples, change: Samples, expected: str) -> None:
    assert reason("avqa", {**samples["avqa"], **change}) == expected


def test_a_clip_layout_that_names_an_absent_field_is_a_named_drop(reason: Any, samples: Samples) -> None:
    assert reason("avqa", samples["avqa"], media="{folder}/{video_name}.mp4") == "missing_column"
    assert reason("avqa", {**samples["avqa"], "video_name": "../../x"}) == "path_outside_root"


def test_avqa_r1_has_a_picture_and_a_sound(one: Any, samples: Samples) -> None:
    item = one("avqa_r1_6k", samples["avqa_r1_6k"])

    assert item.media == (("image", "images/sample_3.jpg"), ("audio", "audios/sample_3.wav"))
    row = make_row(item, RowSettings("avqa_r1_6k", 2, ""), "train")
    assert row["prompt"][0]["content"].startswith("<image><audio>What is being played?\nA. drums\nB. a harp\n")
    assert row["ability"] == "audio_visual"


# OmniInstruct: media inside the row


def _png() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(buffer, "PNG")
    return buffer.getvalue()


def test_omni_instruct_writes_its_media_and_matches_the_answer_text(one: Any, tmp_path: Path) -> None:
    raw = {
        "question": "Which instrument?",
        "options": ["drum", "flute", "harp", "lute"],
        "answer": "Harp",
        "image": {"bytes": _png(), "path": None},
        "audio": {"array": [0.0, 0.5, -1.0, 2.0], "sampling_rate": 16000},
        "source": "MusicAVQA",
    }

    item = one("omni_instruct", raw, media_root=tmp_path, prefix="omni")

    assert item.answer == "C"
    assert item.family == "MusicAVQA"
    (_, image), (_, audio) = item.media
    assert (tmp_path / image).read_bytes() == _png()
    with wave.open(str(tmp_path / audio)) as file:
        assert (file.getframerate(), file.getnchannels()) == (16000, 1)
        samples = np.frombuffer(file.readframes(4), "<i2").tolist()
    assert samples == [0, 16384, -32767, 32767]  # round(.5 * 32767) = 16384; the last one is clipped
    again = one("omni_instruct", raw, media_root=tmp_path, prefix="omni")
    assert again.id == item.id
    assert again.media == item.media


def test_omni_instruct_of_the_older_table_has_free_text(one: Any, tmp_path: Path) -> None:
    raw = {
        "question": "What happens?",
        "answer": "a man plays drums",
        "id": 4,
        "video_id": "video77",
        "image": {"bytes": _png()},
        "audio": {"bytes": b"RIFF....WAVEfmt ", "path": "x.wav"},
        "category": "music",
    }

    item = one("omni_instruct", raw, media_root=tmp_path)

    assert (item.problem_type, item.answer, item.id, item.clip) == ("free_text", "a man plays drums", "4", "video77")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"answer": "tuba"}, "answer_not_in_options"),
        ({"image": None}, "bad_media"),
        ({"image": {"bytes": b"what is this?"}}, "bad_media"),
        ({"audio": {"array": [], "sampling_rate": 8000}}, "bad_media"),
        ({"options": ["a", "b", "c", None]}, "bad_options"),
    ],
)
def test_omni_instruct_drops(reason: Any, tmp_path: Path, change: Samples, expected: str) -> None:
    raw = {
        "question": "Which?",
        "options": ["drum", "flute"],
        "answer": "drum",
        "image": {"bytes": _png()},
        "audio": {"array": [0.0], "sampling_rate": 8000},
    }

    assert reason("omni_instruct", {**raw, **change}, media_root=tmp_path) == expected


def test_media_bytes_without_a_place_to_write_them_are_a_named_drop(reason: Any) -> None:
    raw = {"question": "Which?", "options": ["a", "b"], "answer": "a", "image": {"bytes": _png()}, "audio": "x.wav"}

    assert reason("omni_instruct", raw) == "no_media_root"


# MUSIC-AVQA


def test_music_avqa_fills_its_template(one: Any, samples: Samples) -> None:
    item = one("music_avqa", samples["music_avqa"])

    assert item.question == "Is the left cello louder?"
    assert (item.problem_type, item.answer) == ("yes_no", "yes")
    assert item.family == "Audio-Visual/Location"
    assert item.media == (("video", "videos/00000412.mp4"),)


@pytest.mark.parametrize(
    ("answer", "problem_type", "expected"),
    [("two", "count", "2"), ("ten", "count", "10"), ("violin", "free_text", "violin"), ("no", "yes_no", "no")],
)
def test_music_avqa_answers(one: Any, samples: Samples, answer: str, problem_type: str, expected: str) -> None:
    item = one("music_avqa", {**samples["music_avqa"], "anser": answer})

    assert (item.problem_type, item.answer) == (problem_type, expected)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"question_deleted": 1}, "deleted_by_source"),
        ({"templ_values": '["left"]'}, "template_mismatch"),
        ({"templ_values": "[left"}, "wrong_type"),
        ({"type": "[1]"}, "wrong_type"),
        ({"anser": ""}, "empty_value"),
    ],
)
def test_music_avqa_drops(reason: Any, samples: Samples, change: Samples, expected: str) -> None:
    assert reason("music_avqa", {**samples["music_avqa"], **change}) == expected


# AVE and LLP: lines of text


def test_ave_asks_what_and_when(read: Any) -> None:
    lines = [
        "Category&VideoID&Quality&StartTime&EndTime",
        "Church bell&aaaaaaaaaa1&good&0&10",
        "Bark&aaaaaaaaaa2&good&3&7",
        "Violin, fiddle&aaaaaaaaaa3&good&2&10",
        "Truck&aaaaaaaaaa4&bad&1&2",
        "Truck&aaaaaaaaaa5&good&x&2",
        "Truck&aaaaaaaaaa6&good",
        "Truck&aaaaaaaaaa7&good&5&5",
    ]

    items, drops = read("ave", lines, prefix="AVE_Dataset")

    spans = {item.clip: item.answer for item in items if item.problem_type == "temporal_span"}
    assert spans == {"aaaaaaaaaa2": "3,7", "aaaaaaaaaa3": "2,10"}
    assert sorted(drop.reason for drop in drops) == sorted(
        ["span_is_whole_clip", "bad_quality", "bad_span", "wrong_columns", "bad_span"]
    )
    what = next(item for item in items if item.id == "aaaaaaaaaa2_3_7_Bark/what")
    assert what.options["ABCD".index(what.answer)] == "Bark"
    assert set(what.options) == {"Bark", "Church bell", "Truck", "Violin, fiddle"}
    assert what.media == (("video", "AVE_Dataset/AVE/aaaaaaaaaa2.mp4"),)
    assert read("ave", lines, prefix="AVE_Dataset") == (items, drops)


def test_ave_options_do_not_favour_a_letter(read: Any) -> None:
    names = [f"sound {number}" for number in range(28)]
    lines = [f"{names[n % 28]}&video{n:06d}&good&0&5" for n in range(2000)]

    items, _ = read("ave", lines)

    letters = [item.answer for item in items if item.problem_type == "multiple_choice"]
    shares = [letters.count(letter) / len(letters) for letter in "ABCD"]
    assert all(0.21 < share < 0.29 for share in shares)  # 4 standard errors of 0.0097 around 0.25


def test_llp_labels_of_a_clip(read: Any) -> None:
    lines = [
        "filename\tevent_labels",
        "aaaaaaaaa_1_20_30\tSpeech,Dog",
        "bbbbbbbbb_2_0_10\tBaby_cry_infant_cry",
        "ccccccccc_3_0_10\t",
        "broken",
    ]

    items, drops = read("llp", lines, annotation=Path("AVVP_train.csv"))

    assert [item.answer for item in items] == ["B,C", "A"]
    assert items[0].options == ("Baby cry infant cry", "Dog", "Speech")
    assert items[0].media == (("video", "video/aaaaaaaaa_1_20_30.mp4"),)
    assert [drop.reason for drop in drops] == ["missing_answer", "wrong_columns"]


def test_llp_spans_of_events(read: Any) -> None:
    lines = [
        "filename\tonset\toffset\tevent_labels",
        "aaaaaaaaa_1_20_30\t0\t4\tDog",
        "aaaaaaaaa_1_20_30\t5\t6\tSpeech",
        "aaaaaaaaa_1_20_30\t7\t8\tSpeech",
        "bbbbbbbbb_2_0_10\t0\t10\tDog",
        "bbbbbbbbb_2_0_10\t1\tx\tCar",
        "bbbbbbbbb_2_0_10\t6\t2\tCat",
    ]

    items, drops = read("llp", lines, annotation=Path("AVVP_eval_audio.csv"))

    assert [(item.question, item.answer) for item in items] == [
        ("From which second to which second can the event 'Dog' be heard in the video?", "0,4")
    ]
    assert [drop.reason for drop in drops] == ["several_spans", "span_is_whole_clip", "bad_span", "bad_span"]
    seen, _ = read("llp", lines[:2], annotation=Path("AVVP_eval_visual.csv"))
    assert "be seen" in seen[0].question
    assert seen[0].id != items[0].id


# AVSBench, UnAV-100


def test_avsbench_masks_become_places_and_boxes(read: Any, mask_folder: Path) -> None:
    table = mask_folder / "metadata.csv"
    row = {"uid": "clip_a", "vid": "x", "split": "train", "label": "v2"}

    items, drops = read("avsbench", [row, {**row, "split": "test"}, {**row, "uid": "gone"}], annotation=table)

    assert [(item.problem_type, item.answer) for item in items] == [
        ("region", "Left: dog | Center: girl"),
        ("boxes", '[{"name": "dog", "box": [5, 10, 25, 20]}, {"name": "girl", "box": [40, 0, 50, 30]}]'),
    ]
    assert items[0].media == (("image", "v2/clip_a/frames/0.jpg"), ("audio", "v2/clip_a/audio.wav"))
    assert "90x30" in items[1].question
    assert [drop.reason for drop in drops] == ["nothing_sounds", "other_split", "no_masks"]


def test_avsbench_refuses_unknown_classes_and_strange_ids(read: Any, mask_folder: Path) -> None:
    (mask_folder / "label2idx.json").write_text('{"dog": 3}')
    row = {"uid": "clip_a", "split": "train", "label": "v2"}

    _, drops = read("avsbench", [row, {**row, "label": ".."}], annotation=mask_folder / "metadata.csv")

    assert [drop.reason for drop in drops] == ["unknown_class", "nothing_sounds", "path_outside_root"]


def test_avsbench_opens_no_mask_behind_a_link_that_leads_elsewhere(
    read: Any, mask_folder: Path, tmp_path_factory: Any
) -> None:
    masks = mask_folder / "v2/clip_a/labels_semantic"
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "0.png"
    (masks / "0.png").rename(elsewhere)
    (masks / "0.png").symlink_to(elsewhere)
    row = {"uid": "clip_a", "split": "train", "label": "v2"}

    items, drops = read("avsbench", [row], annotation=mask_folder / "metadata.csv")

    assert items == []
    assert [drop.reason for drop in drops] == ["outside_media_root", "nothing_sounds"]


def test_avsbench_two_things_in_one_third_share_a_place(read: Any, mask_folder: Path) -> None:
    mask = np.zeros((30, 90), np.uint8)
    mask[:, 60:70], mask[:, 75:80] = 5, 3
    Image.fromarray(mask).save(mask_folder / "v2/clip_a/labels_semantic/1.png")
    row = {"uid": "clip_a", "split": "train", "label": "v2"}

    items, _ = read("avsbench", [row], annotation=mask_folder / "metadata.csv", options={"tasks": ["region"]})

    assert [item.answer for item in items] == ["Left: dog | Center: girl", "Right: girl and dog"]


def test_unav_asks_when_and_how_often(read: Any, samples: Samples) -> None:
    items, drops = read("unav_100", [samples["unav_100"]], prefix="unav")

    assert [(item.id, item.problem_type, item.answer) for item in items] == [
        ("aBcDeFgHiJ0/dog barking/span", "temporal_span", "2,5.5"),
        ("aBcDeFgHiJ0/man speaking/count", "count", "2"),
    ]
    assert items[0].media == (("video", "unav/raw_videos/aBcDeFgHiJ0.mp4"),)
    assert [drop.reason for drop in drops] == ["span_is_whole_clip", "other_split"]
    (test,), _ = read("unav_100", [samples["unav_100"]], options={"split": "test"})
    assert test.answer == "0,3"


# IntentTrain, Daily-Omni, CLEVRER


def test_intent_train_with_several_right_letters(one: Any, samples: Samples) -> None:
    item = one("intent_train", samples["intent_train"])

    assert (item.problem_type, item.answer) == ("multi_label", "B,D")
    assert item.options == ("calm", "angry", "sad", "worried")
    assert item.media == (("video", "emer/clip 1.mp4"),)
    assert item.sound
    assert item.response == ""


def test_intent_train_judge_and_demonstration(one: Any, samples: Samples) -> None:
    raw = {**samples["intent_train"], "problem_type": "judge", "options": [], "solution": "<answer>Yes</answer>"}
    raw["video"] = raw.pop("path")
    assert one("intent_train", raw).answer == "yes"

    item = one("intent_train", samples["intent_train"], options={"demonstrations": True})
    assert item.response == "<think>loud voice</think>\n<answer>B,D</answer>"


def test_intent_train_without_thoughts_is_no_demonstration(reason: Any, samples: Samples) -> None:
    raw = {**samples["intent_train"], "solution": "<answer>A</answer>"}

    assert reason("intent_train", raw, options={"demonstrations": True}) == "bad_demonstration"


def test_daily_omni(one: Any, samples: Samples) -> None:
    item = one("daily_omni", samples["daily_omni"])

    assert (item.answer, item.options[0], item.family) == ("A", "a click", "AV Event Alignment")
    assert item.media == (("video", "Videos/k3bZ_y0PQw1/k3bZ_y0PQw1_video.mp4"),)


def test_clevrer_reads_all_questions_of_a_video(read: Any, samples: Samples) -> None:
    items, drops = read("clevrer", [samples["clevrer"]], prefix="CLEVRER")

    assert [(item.problem_type, item.answer) for item in items] == [
        ("count", "2"),
        ("yes_no", "no"),
        ("free_text", "gray"),
        ("multiple_choice", "B"),
        ("multi_label", "A,C"),
    ]
    assert items[0].media == (("video", "CLEVRER/video_train/video_01000-02000/video_01042.mp4"),)
    assert not items[0].sound
    assert [(drop.reason, drop.id) for drop in drops] == [("missing_column", "1042/5")]


def test_clevrer_choices_without_a_right_one_are_dropped(read: Any, samples: Samples) -> None:
    raw = samples["clevrer"]
    raw["questions"] = raw["questions"][3:5]
    for choice in raw["questions"][0]["choices"]:
        choice["answer"] = "wrong"
    raw["questions"][1]["choices"][0]["answer"] = "perhaps"

    _, drops = read("clevrer", [raw])

    assert [drop.reason for drop in drops] == ["missing_answer", "bad_answer"]


# AVR and the generic readers


def test_avr_demonstrations_must_be_in_one_of_three_formats(one: Any, reason: Any, samples: Samples) -> None:
    item = one("avr_sft", samples["avr_sft"])
    assert item.response == "<perception>A red car.</perception>\n<answer>red</answer>"
    assert (item.problem_type, item.answer) == ("free_text", "red")

    for text in (
        "red",
        "<think>x</think><answer>red</answer>",
        "<reasoning>x</reasoning><answer>red</answer>",
        "<answer>red",
    ):
        samples["avr_sft"]["messages"][1]["content"] = text
        assert reason("avr_sft", samples["avr_sft"]) == "bad_demonstration", text


def test_avr_rl_rows_find_their_type(one: Any, samples: Samples) -> None:
    raw = samples["avr_rl"]
    item = one("avr_rl", raw)
    assert (item.id, item.problem_type, item.answer) == ("31", "multiple_choice", "B")
    assert item.options == ("the cube", "the cone")
    assert item.messages == (("user", "<image>Which is larger?\nA. the cube\nB. the cone"),)

    raw["prompt"][0]["content"] = "<image>How tall?"
    for truth, problem_type, answer in ((["3.5", "4"], "number", "3.5"), (12, "count", "12"), ("No", "yes_no", "no")):
        raw["reward_model"]["ground_truth"] = truth
        assert (one("avr_rl", raw).problem_type, one("avr_rl", raw).answer) == (problem_type, answer)


def test_avr_rl_letter_without_options_is_dropped(reason: Any, samples: Samples) -> None:
    samples["avr_rl"]["prompt"][0]["content"] = "<image>Which?"

    assert reason("avr_rl", samples["avr_rl"]) == "options_not_found"


def test_ms_swift_keeps_its_messages_and_its_cues(one: Any, samples: Samples) -> None:
    item = one("ms_swift", samples["ms_swift"])

    assert (item.problem_type, item.answer) == ("region", "Left: cyclist | Center: girl playing flute")
    assert item.hint == "First name each sound.\nThen find its place."
    assert item.audio_cues == "wheels on gravel; a flute"
    assert item.sound
    row = make_row(item, RowSettings("ms_swift", 3, "Think."), "train")
    assert [message["content"] for message in row["prompt"]] == [
        "Think.",
        "<video>Locate all sound sources in the video.",
    ]
    assert row["extra_info"]["use_audio_in_video"]


def test_ms_swift_media_without_a_tag_come_first(one: Any, samples: Samples) -> None:
    raw = {**samples["ms_swift"], "audios": "sound.wav"}
    raw["messages"][0]["content"] = "Locate all sound sources."

    item = one("ms_swift", raw)
    row = make_row(item, RowSettings("ms_swift", 3, ""), "train")

    assert row["prompt"][0]["content"] == "<video><audio>Locate all sound sources."
    assert not item.sound  # a separate sound and the clip's own cannot be combined
    validate_row(row)


def test_ms_swift_tags_that_do_not_fit_the_media_are_refused(one: Any, samples: Samples) -> None:
    samples["ms_swift"]["messages"][0]["content"] = "<video><video>Compare."
    item = one("ms_swift", samples["ms_swift"])

    with pytest.raises(ValueError, match="placeholder_mismatch"):
        make_row(item, RowSettings("ms_swift", 3, ""), "train")


def test_a_column_map_reads_other_tables(one: Any) -> None:
    raw = {
        "uid": "row-9",
        "query": "<video>Which animal?\nA. cat\nB. dog",
        "reply": {"text": "<answer>B</answer>"},
        "kind": "mcq",
        "clip": "/data/sets/a.mp4",
        "tips": None,
    }
    columns = {
        "id": "uid",
        "question": "query",
        "solution": "reply.text",
        "problem_type": "kind",
        "videos": "clip",
        "hint": "tips",
    }
    raw["query"] = raw["query"].removeprefix("<video>")

    item = one("ms_swift", raw, columns=columns, strip="/data/")

    assert (item.id, item.answer, item.options) == ("row-9", "B", ("cat", "dog"))
    assert item.question == "Which animal?"
    assert item.media == (("video", "sets/a.mp4"),)
    assert item.hint == ""


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"problem_type": None}, "missing_column"),
        ({"problem_type": "tracking"}, "unknown_problem_type"),
        ({"problem_type": "mcq"}, "options_not_found"),
        ({"solution": None}, "missing_answer"),
        ({"solution": ["a"]}, "wrong_type"),
        ({"videos": [5]}, "bad_media"),
        ({"videos": ["/etc/passwd"]}, "absolute_path"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "unknown_role"),
        ({"messages": [{"role": "user", "content": " "}]}, "empty_prompt"),
        ({"messages": "hello"}, "wrong_type"),
        ({"hint": 3}, "wrong_type"),
    ],
)
def test_ms_swift_drops(reason: Any, samples: Samples, change: Samples, expected: str) -> None:
    assert reason("ms_swift", {**samples["ms_swift"], **change}) == expected


def test_rows_without_an_id_get_one_that_does_not_depend_on_their_place(read: Any, samples: Samples) -> None:
    other = {**samples["ms_swift"], "question": "Where is the dog?"}

    forward, _ = read("ms_swift", [samples["ms_swift"], other])
    backward, _ = read("ms_swift", [other, samples["ms_swift"]])

    assert [item.id for item in forward] == [item.id for item in backward][::-1]
    assert forward[0].id != forward[1].id


def test_content_parts_become_placeholders(one: Any, samples: Samples) -> None:
    parts = [{"type": "video", "video": "clips/ride.mp4"}, {"type": "text", "text": "Where?"}]
    raw = {**samples["ms_swift"], "messages": [{"role": "user", "content": parts}], "question": None}

    item = one("ms_swift", raw)

    assert item.messages == (("user", "<video>Where?"),)
    assert item.question == "Where?"


def test_llama_factory_sharegpt(one: Any, samples: Samples) -> None:
    item = one("llama_factory", samples["llama_factory"])

    assert item.messages == (("system", "Think first."), ("user", "<video>How many people sing?"))
    assert item.response == "<think>Two mouths move.</think><answer>2</answer>"
    assert (item.problem_type, item.answer, item.question) == ("count", "2", "How many people sing?")


def test_llama_factory_alpaca_with_history(one: Any) -> None:
    raw = {
        "instruction": "Translate.",
        "input": "Guten Tag",
        "output": "Good day",
        "history": [["Hello", "Hi"]],
        "images": [],
    }

    item = one("llama_factory", raw)

    assert item.messages == (("user", "Hello"), ("assistant", "Hi"), ("user", "Translate.\nGuten Tag"))
    assert (item.response, item.answer, item.problem_type) == ("Good day", "Good day", "free_text")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"conversations": [{"from": "human", "value": "Hi"}]}, "no_demonstration"),
        ({"conversations": [{"from": "observation", "value": "Hi"}]}, "unknown_role"),
        ({"conversations": None}, "wrong_type"),
        ({"conversations": [{"from": "gpt", "value": "Hi"}]}, "empty_prompt"),
    ],
)
def test_llama_factory_drops(reason: Any, samples: Samples, change: Samples, expected: str) -> None:
    assert reason("llama_factory", {**samples["llama_factory"], **change}) == expected


def test_a_table_of_many_rows_holds_each_in_full() -> None:
    settings = RowSettings("set", 2, "Think.")
    two = Item("a", "Which?", "multiple_choice", "B", (("video", "1.mp4"), ("image", "2.png")), ("x", "y"), sound=True)
    own = Item("b", "How many?", "count", "3", (), messages=(("user", "How many?"),), hint="Count.", family="f")

    first, second = table_of([leaves_of(two, settings, "train"), leaves_of(own, settings, "val")]).to_pylist()

    assert first == {
        "data_source": "set",
        "prompt": [
            {"role": "system", "content": "Think."},
            {"role": "user", "content": "<video><image>" + user_text("Which?", ("x", "y"), "multiple_choice")},
        ],
        "images": [{"image": "2.png"}],
        "videos": [{"video": "1.mp4"}],
        "audios": [],
        "ability": "audio_visual",
        "reward_model": {"style": "rule", "ground_truth": "B"},
        "response": "",
        "extra_info": {
            "index": 0,
            "prompt_id": "set/a",
            "split": "train",
            "stage": 2,
            "problem_type": "multiple_choice",
            "question": "Which?",
            "options": ["x", "y"],
            "hint": "",
            "audio_cues": "",
            "use_audio_in_video": True,
            "duration": 0.0,
            "source": "set",
            "family": "",
            "difficulty": "",
        },
    }
    assert [message["content"] for message in second["prompt"]] == ["Think.", "How many?"]
    assert (second["images"], second["videos"], second["ability"]) == ([], [], "text")
    given = {key: second["extra_info"][key] for key in ("split", "hint", "family", "options")}
    assert given == {"split": "val", "hint": "Count.", "family": "f", "options": []}
