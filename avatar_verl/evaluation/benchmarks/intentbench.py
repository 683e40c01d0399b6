"""IntentBench: single choice, several emotions at once, and lie or truth (problem type ``judge``).

Prompt and metric: github.com/HumanMLLM/HumanOmniV2, src/open-r1-multimodal/eval/eval_humanomniv2.py (d9123e6). Two
deviations: its system prompt, which teaches the <context> and <think> tags of HumanOmniV2 itself, is left out, and its
first sentence, written there for clips with sound, stands before every question. Its F1 splits labels at commas alone;
ours reads "A, E" as "A,E".
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from avatar_verl.evaluation.annotation import bare_options, find, in_tags, letter, need, numbered
from avatar_verl.evaluation.item import AnnotationError, Benchmark, Item, Medium, Prompt

_TYPES = {"multiple choice": "multiple_choice", "emer_ov_mc": "multi_label", "judge": "yes_no"}


_WITH_SOUND = "Here is a video, with the audio from the video.\n"
_CHOICES = _WITH_SOUND + "{question} Options:\n{options}\n"


def _truth(record: dict[str, Any], problem_type: str, options: tuple[str, ...]) -> str:
    text = in_tags(str(record.get("solution") or need(record, "answer")))
    if problem_type == "multiple_choice":
        return letter(text, options)
    if problem_type == "multi_label":
        return ",".join(letter(part.strip(), options) for part in text.split(",") if part.strip())
    if text.lower() not in ("yes", "no"):
        raise AnnotationError("bad_answer", f"{text!r} is neither yes nor no")
    return text.lower()


def _read(record: dict[str, Any], root: Path) -> Item:
    kind = need(record, "problem_type")
    if kind not in _TYPES:
        raise AnnotationError("unknown_problem_type", str(kind))
    problem_type = _TYPES[kind]
    options = bare_options(need(record, "options")) if problem_type != "yes_no" else ()
    video = str(record.get("video") or need(record, "path")).removeprefix("./")
    name = record.get("qid", record.get("Question id", record["_number"]))
    return Item(
        uid=f"{name}/{record['_number']}",
        question=need(record, "problem"),
        answer=_truth(record, problem_type, options),
        problem_type=problem_type,
        media=(Medium("video", find(root, video, f"videos/{video}")),),
        options=options,
        categories={"problem type": kind},
    )


BENCHMARK = Benchmark(
    name="intentbench",
    title="IntentBench",
    source="PhilipC/IntentBench, qa.json with its clips",
    annotations=("qa.json",),
    records=numbered,
    read=_read,
    official={
        "": Prompt(
            _CHOICES,
            " Please provide only the single option letter (e.g., A, B, C, D, etc.) within the <answer> </answer> "
            "tags.",
        ),
        "multi_label": Prompt(
            _CHOICES,
            " Please provide only the single or multiple option letter (e.g., A for single option or A,E for multi "
            "option, etc.) within the <answer> </answer> tags.",
        ),
        "yes_no": Prompt(_WITH_SOUND + "{question}\n", " Please answer Yes or No within the <answer> </answer> tags."),
    },
    authors={
        "": Prompt(
            "Your task is to accurately answer the multiple-choice question based on the given video. Read the "
            "question and the options carefully, then select the single most accurate answer.\n\n{question}\n"
            "{options}\n",
            "\nYour answer must be a single capital letter representing your choice (e.g., A, B, C, D).",
            max_tokens=20,
        ),
        "multi_label": Prompt(
            "Based on the video, identify ALL the emotions or concepts that apply from the list below. More than one "
            "option can be correct.\n\n{question}\n{options}\n",
            "\nYour answer must be a comma-separated list of all applicable letters (e.g., A, C, F).",
            max_tokens=20,
        ),
        "yes_no": Prompt("{question}\n", 'Answer "Yes" if the person is lying, "No" otherwise.', max_tokens=20),
    },
    metrics={"multi_label": "f1"},
    note="several labels score F1, the official metric; the authors count equal sets only (preset authors), and their "
    "prompt for lies is known by its sense alone",
)
