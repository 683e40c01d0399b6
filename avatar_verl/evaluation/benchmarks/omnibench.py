"""OmniBench: one picture, one sound, four options; the answer is the option's text.

Prompt: ``create_prompt`` of github.com/multimodal-art-projection/OmniBench, inference/demo_api_call.py (4e1b76e), whose
full stops behind question and options are kept. Its parser guesses at random where it finds no letter; ours does not.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from avatar_verl.evaluation.annotation import bare_options, find, letter, need, records
from avatar_verl.evaluation.item import Benchmark, Item, Medium, Prompt
from avatar_verl.evaluation.prompts import AUTHORS


def _read(record: dict[str, Any], root: Path) -> Item:
    options = bare_options(need(record, "options"))
    image, audio = str(need(record, "image_path")), str(need(record, "audio_path"))
    return Item(
        uid=str(record["index"]),
        question=need(record, "question"),
        answer=letter(need(record, "answer"), options),
        problem_type="multiple_choice",
        media=(
            Medium("image", find(root, f"mm_data/image/{image}", f"image/{image}", image)),
            Medium("audio", find(root, f"mm_data/audio/{audio}", f"audio/{audio}", audio)),
        ),
        options=options,
        categories={
            "task type": record.get("task type") or "unknown",
            "audio type": record.get("audio type") or "unknown",
        },
        use_audio_in_video=False,
    )


BENCHMARK = Benchmark(
    name="omnibench",
    title="OmniBench",
    source="m-a-p/OmniBench, dataset/*.jsonl with mm_data/image and mm_data/audio",
    annotations=("dataset/batch-5_1142_20240817.jsonl", "batch-5_1142_20240817.jsonl", "omnibench.jsonl"),
    records=records,
    read=_read,
    official={
        "": Prompt(
            body=(
                "Please answer the following question based on the given image and audio:\n{question}.\n"
                "Please choose only one answer from the following options:\n{options}."
            ),
        )
    },
    authors={"": Prompt(AUTHORS.body.replace("video", "multimodal content"), AUTHORS.closing, max_tokens=1024)},
    size=1142,
    note="the official parser guesses where it finds no letter; here no letter is wrong",
)
