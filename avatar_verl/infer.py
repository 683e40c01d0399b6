"""``python -m avatar_verl.infer --model DIR --video clip.mp4 --question "..."``: ask a model about clips.

Prints reasoning and answer as they are written, and says whether the clip's sound was used. With ``--input FILE.jsonl``
(objects with ``video``, ``image`` or ``audio``, ``question`` and optional ``options`` and ``id``) it answers many and
writes JSON lines.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, get_args

import typer

from avatar_verl.config import ConfigError, MediaConfig
from avatar_verl.evaluation.prompts import THINK_CLOSING, THINK_SYSTEM
from avatar_verl.inference import (
    Completion,
    Engine,
    EngineName,
    Request,
    find_model,
    media_of,
    open_builder,
    open_engine,
    placement,
    prepared,
)
from avatar_verl.inference.options import ConfigOption, DeviceOption, DtypeOption, LengthOption, ModelOption
from avatar_verl.media import MediaError
from avatar_verl.omni.prompt import PromptBuilder, PromptInputs
from avatar_verl.rewards.parse import parse_completion
from avatar_verl.schema import RowError

app = typer.Typer(add_completion=False)
KINDS = ("video", "image", "audio")


@dataclass(frozen=True, slots=True)
class Question:
    """One thing to ask, with at most one medium of each kind."""

    key: str
    text: str
    media: tuple[tuple[str, str], ...]  # (kind, path), in the order of KINDS
    root: str  # media paths are relative to it and stay below it
    use_sound: bool = True

    @classmethod
    def from_record(cls, record: Mapping[str, Any], number: int, root: str, use_sound: bool = True) -> Question:
        """From an object of a JSONL file.

        Raises:
            ValueError: it has no question.
        """
        if not isinstance(record.get("question"), str) or not record["question"].strip():
            raise ValueError(f"object {number}: it has no question")
        media = tuple((kind, str(record[kind])) for kind in KINDS if record.get(kind))
        options = record.get("options") or []
        lines = [f"{chr(ord('A') + at)}. {option}" for at, option in enumerate(options)]
        closing = [THINK_CLOSING["multiple_choice"]] if options else []
        text = "\n".join([record["question"], *lines, *closing])
        return cls(str(record.get("id", number)), text, media, root, use_sound)

    def messages(self, system: str) -> list[dict[str, Any]]:
        """Chat messages with structured content; media come before the text."""
        parts: list[dict[str, str]] = [{"type": kind, kind: path} for kind, path in self.media]
        user = {"role": "user", "content": [*parts, {"type": "text", "text": self.text}]}
        return [{"role": "system", "content": [{"type": "text", "text": system}]}, user] if system else [user]


def sound_words(prompt: PromptInputs) -> str:
    """Whether sound went in, in words."""
    media = prompt.media
    if not media.audios:
        return "no sound: the clip has no sound track" if media.silent_clips else "no sound"
    which = "the clip's own sound, in step with its frames" if media.use_audio_in_video else "separate sound"
    return which + (", cut at the budget's length" if media.truncated_audios else "")


def answers(
    questions: Iterable[Question], engine: Engine, builder: PromptBuilder, system: str, sampling: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    """One record a question, as they finish: what was said, or why it could not be asked."""
    prompts: dict[str, PromptInputs] = {}
    failed: list[dict[str, Any]] = []

    def make(question: Question) -> Request | dict[str, Any]:
        try:
            prompt = ask(question, builder, system)
        except (MediaError, RowError) as error:
            return {"id": question.key, "status": "failed", "reason": error.reason, "detail": str(error)}
        request = Request(question.key, prompt, **sampling)
        refused = engine.refuses(request)
        detail = f"{len(prompt.input_ids)} tokens"
        return {"id": question.key, "status": "failed", "reason": refused, "detail": detail} if refused else request

    def requests() -> Iterator[Request]:
        for made in prepared(make, questions):
            if isinstance(made, Request):
                prompts[made.key] = made.prompt
                yield made
            else:
                failed.append(made)

    for completion in engine.generate(requests()):
        yield from drain(failed)
        yield record_of(completion, prompts.pop(completion.key))
    yield from drain(failed)


def drain(records: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Empty a list from its front."""
    while records:
        yield records.pop(0)


def ask(question: Question, builder: PromptBuilder, system: str) -> PromptInputs:
    """Decode and encode one question.

    Raises:
        MediaError, RowError: it cannot be asked.
    """
    return builder.build(question.messages(system), question.root, question.use_sound and _one_video(question))


def _one_video(question: Question) -> bool:
    """The clip's own sound is used unless sound is given beside it."""
    return [kind for kind, _ in question.media if kind != "image"] == ["video"]


def record_of(completion: Completion, prompt: PromptInputs) -> dict[str, Any]:
    """What is written of an answer."""
    parsed = parse_completion(completion.text, completion.truncated)
    return {
        "id": completion.key,
        "status": "answered" if parsed.answer is not None else "unanswered",
        "answer": parsed.answer,
        "think": parsed.think,
        "completion": completion.text,
        "tokens": len(completion.token_ids),
        "token_ids": list(completion.token_ids),
        "prompt_tokens": len(prompt.input_ids),
        "truncated": completion.truncated,
        "audio_used": bool(prompt.media.audios),
        "sound": sound_words(prompt),
        "frames": sum(len(video.frames) for video in prompt.media.videos),
    }


class Printer:
    """Writes a growing text to the terminal, new characters only."""

    def __init__(self) -> None:
        self._shown = 0

    def __call__(self, key: str, text: str) -> None:
        del key
        stable = text.removesuffix("\ufffd")  # half of a character whose other bytes are in the next token
        print(stable[self._shown :], end="", flush=True)
        self._shown = max(self._shown, len(stable))


def read_questions(file: Path, use_sound: bool) -> Iterator[Question]:
    """Questions of a JSONL file, whose folder is the root of its media.

    Raises:
        ValueError: a line is no JSON object or has no question.
    """
    with file.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines):
            if not line.strip():
                continue
            record = json.loads(line)
            if not isinstance(record, dict):
                raise ValueError(f"{file}, line {number + 1}: not a JSON object")
            yield Question.from_record(record, number, str(file.parent), use_sound)


@app.command()
def main(
    model: ModelOption,
    question: Annotated[str, typer.Option(help="What to ask.")] = "",
    video: Annotated[Path | None, typer.Option(help="A clip; its sound is used when it has some.")] = None,
    image: Annotated[Path | None, typer.Option(help="A picture.")] = None,
    audio: Annotated[Path | None, typer.Option(help="A sound of its own.")] = None,
    input_file: Annotated[Path | None, typer.Option("--input", help="Many questions, JSON lines.")] = None,
    output: Annotated[Path | None, typer.Option(help="Where answers to --input go; default: the terminal.")] = None,
    mute: Annotated[bool, typer.Option(help="Leave the clip's sound out.")] = False,
    system: Annotated[str, typer.Option(help="System prompt.")] = THINK_SYSTEM,
    max_tokens: Annotated[int, typer.Option(min=1, help="Of the completion.")] = 2048,
    temperature: Annotated[float, typer.Option(min=0.0, help="0: greedy.")] = 0.0,
    engine: Annotated[str, typer.Option(help="transformers starts faster, vllm answers many faster.")] = "transformers",
    device: DeviceOption = "auto",
    dtype: DtypeOption = "auto",
    max_model_len: LengthOption = 32768,
    config: ConfigOption = None,
) -> None:
    """Ask a model about a clip, a picture or a sound, or answer a JSONL file of questions."""
    try:
        if engine not in get_args(EngineName):
            raise ValueError(f"--engine must be one of {', '.join(get_args(EngineName))}")
        if bool(question) == bool(input_file):
            raise ValueError("give either --question (with --video, --image or --audio) or --input")
        folder = find_model(model)
        media = media_of(folder, config)
        device, dtype = placement(device, dtype)
        opened: Engine = open_engine(engine, folder, device=device, dtype=dtype, max_model_len=max_model_len)  # type: ignore[arg-type]
        sampling = {"max_tokens": max_tokens, "temperature": temperature}
        if input_file is not None:
            _many(read_questions(input_file, not mute), opened, folder, media, system, sampling, output)
        else:
            asked = _typed(question, {"video": video, "image": image, "audio": audio}, not mute)
            _one(asked, opened, open_builder(folder, media), system, sampling)
    except (ValueError, ConfigError, MediaError) as error:
        print(error, file=sys.stderr)
        raise typer.Exit(2) from None


def _typed(question: str, files: Mapping[str, Path | None], use_sound: bool) -> Question:
    """From the command line, where a path is the user's own and may lie anywhere."""
    record = {"question": question, **{kind: str(file.resolve()) for kind, file in files.items() if file}}
    return Question.from_record(record, 0, os.sep, use_sound)


def _one(question: Question, engine: Engine, builder: PromptBuilder, system: str, sampling: dict[str, Any]) -> None:
    prompt = ask(question, builder, system)
    request = Request(question.key, prompt, **sampling)
    if refused := engine.refuses(request):
        raise ValueError(f"{refused}: {len(prompt.input_ids)} tokens; raise --max-model-len or lower the budget")
    print(f"[{sound_words(prompt)}; {sum(len(v.frames) for v in prompt.media.videos)} frames]", flush=True)
    (completion,) = engine.generate([request], Printer())
    print("\n" if not completion.truncated else "\n[cut at --max-tokens]", flush=True)


def _many(
    questions: Iterator[Question],
    engine: Engine,
    folder: Path,
    media: MediaConfig,
    system: str,
    sampling: dict[str, Any],
    output: Path | None,
) -> None:
    out = output.open("w") if output else sys.stdout
    try:
        for record in answers(questions, engine, open_builder(folder, media), system, sampling):
            out.write(json.dumps(record, ensure_ascii=False) + "\n")
            out.flush()
    finally:
        if output:
            out.close()


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    app()
