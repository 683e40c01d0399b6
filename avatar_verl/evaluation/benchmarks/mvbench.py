"""MVBench: twenty tasks of 200 questions, a JSON list each; some ask about a part of a clip, one ships frames.

Prompt: ``infer_mvbench`` and its call in github.com/OpenGVLab/Ask-Anything, video_chat2/mvbench.ipynb (4631cd6), which
gives the instruction twice, as system prompt and at the head of the question. It also begins the answer itself, with
"Best option:("; here the model begins, since that is no turn of a chat.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from avatar_verl.evaluation.annotation import bare_options, find, letter, need, numbered
from avatar_verl.evaluation.item import AnnotationError, Benchmark, Item, Medium, Prompt

_INSTRUCTION = (
    "Carefully watch the video and pay attention to the cause and sequence of events, the detail and movement of "
    "objects, and the action and pose of persons. Based on your observations, select the best option that accurately "
    "addresses the question.\n"
)
#: Task -> (folders of whole clips, their usual place first; folder of clips already cut, if there is one).
_FOLDERS: dict[str, tuple[tuple[str, ...], str]] = {
    "action_sequence": (("star/Charades_v1_480",), "star/Charades_segment"),
    "action_prediction": (("star/Charades_v1_480",), "star/Charades_segment"),
    "object_interaction": (("star/Charades_v1_480",), "star/Charades_segment"),
    "action_localization": (("sta/sta_video",), "sta/sta_video_segment"),
    "episodic_reasoning": (("tvqa/frames_fps3_hq",), "tvqa/video_fps3_hq_segment"),
    "action_antonym": (("ssv2_video", "ssv2_video_mp4"), ""),
    "fine_grained_action": (("Moments_in_Time_Raw/videos",), ""),
    "unexpected_action": (("FunQA_test/test",), ""),
    "object_existence": (("clevrer/video_validation",), ""),
    "moving_direction": (("clevrer/video_validation",), ""),
    "moving_count": (("clevrer/video_validation",), ""),
    "moving_attribute": (("clevrer/video_validation",), ""),
    "counterfactual_inference": (("clevrer/video_validation",), ""),
    "object_shuffle": (("perception/videos",), ""),
    "action_count": (("perception/videos",), ""),
    "state_change": (("perception/videos",), ""),
    "character_order": (("perception/videos",), ""),
    "scene_transition": (("scene_qa/video",), ""),
    "fine_grained_pose": (("nturgbd", "nturgbd_convert"), ""),
    "egocentric_navigation": (("vlnqa",), ""),
}


def _records(folder: Path) -> Iterator[dict[str, Any]]:
    files = sorted(folder.glob("*.json"))
    unknown = [file.stem for file in files if file.stem not in _FOLDERS]
    if unknown or not files:
        raise ValueError(f"{folder}: {f'unknown tasks {unknown}' if unknown else 'no task files (*.json)'}")
    for file in files:
        yield from ({**row, "_task": file.stem} for row in numbered(file))


def _read(record: dict[str, Any], root: Path) -> Item:
    task, video = record["_task"], str(need(record, "video"))
    folders, cut = _FOLDERS[task]
    options = bare_options(need(record, "candidates"))
    path = find(root, *(f"{base}{folder}/{video}" for folder in folders for base in ("video/", "", "video/data0613/")))
    span = None
    if record.get("start") is not None and record.get("end") is not None:
        span = (float(record["start"]), float(record["end"]))
        if not 0 <= span[0] < span[1]:
            raise AnnotationError("bad_span", f"from {span[0]} to {span[1]} s")
    ready = [name for name in (f"video/{cut}/{video}", f"{cut}/{video}") if (root / name).is_file()] if cut else []
    if span and ready:
        path, span = ready[0], None
    return Item(
        uid=f"{task}/{record['_number']}",
        question=need(record, "question"),
        answer=letter(need(record, "answer"), options),
        problem_type="multiple_choice",
        media=(Medium("video", path, span),),
        options=options,
        categories={"task": task},
    )


BENCHMARK = Benchmark(
    name="mvbench",
    title="MVBench",
    source="OpenGVLab/MVBench, json/*.json with video/",
    annotations=("json",),
    records=_records,
    read=_read,
    official={
        "": Prompt(
            system=_INSTRUCTION,
            body=_INSTRUCTION + "Question: {question}\nOptions:\n{options}\n",
            closing="Only give the best option.",
            option="({letter}) {text}",
        )
    },
    authors={
        "": Prompt(
            "Question: {question}\nOptions:\n{options}\n",
            "Your answer should be a single capital letter representing your choice.",
            option="({letter}) {text}",
            max_tokens=4096,
        )
    },
    size=4000,
    note="parts of clips are cut by start and end; frame folders become clips of 3 frames a second",
)
