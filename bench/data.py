"""How fast data are built and validated, and in how much memory.

    python bench/data.py build      # rows per second on two processes; memory at 0.5 and at 5 million rows
    python bench/data.py validate   # clips per second: probing, against decoding with qwen-omni-utils

``build`` writes look-alike annotations of three sources (a JSON list in Video-R1's form, one in AVQA's, JSON lines in
ms-swift's) and runs the real command with a validation split and a benchmark to keep clear of. Time is that of the
whole command, from starting Python to the last rename. Memory is the high-water mark of each process, read from /proc;
pages of scratch files that are mapped count too. Processor time stands beside the wall clock: on a machine that does
other things too, rows per processor second times two is what two free cores would give. ``--rows`` and ``--workers``
change the size.

``validate`` probes copies of a ten-second clip, as ``data_prep validate`` does it, and decodes them with
process_mm_info; both in one process, taking turns.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from decode import peer
from record import machine, report

from avatar_verl.media import FrameBudget
from data_prep.validation.probing import ProbeSettings, probe_one

FOLDER = Path(tempfile.gettempdir()) / "avatar-bench-data"
PAGE = os.sysconf("SC_CLK_TCK")


def video_r1(number: int) -> dict[str, Any]:
    """An element in the form of Video-R1."""
    return {
        "problem_id": number,
        "problem": f"Which of these happens right after door {number} of the long corridor has been opened?",
        "data_type": "video",
        "problem_type": "multiple choice",
        "options": ["A. A bell rings", "B. A person in a coat walks in", "C. The lights go out", "D. Nothing happens"],
        "solution": f"<answer>{'ABCD'[number % 4]}</answer>",
        "path": f"./some-data-set/videos/part_{number % 97:02d}/clip_{number // 3:09d}.mp4",
        "data_source": "some-data-set/long_form",
    }


def avqa(number: int) -> dict[str, Any]:
    """An element in the form of AVQA."""
    return {
        "id": number,
        "video_name": f"v{number // 2:010d}_000030",
        "video_id": number // 2,
        "question_text": f"What makes the noise that starts {number} moments in?",
        "multi_choice": ["a drill", "a small tractor", "a hair dryer", "a fan in the wall"],
        "answer": number % 4,
        "question_relation": "Both",
        "question_type": "Which",
    }


def ms_swift(number: int) -> dict[str, Any]:
    """An element in ms-swift's style."""
    return {
        "id": number,
        "messages": [{"role": "user", "content": f"<video>Locate all sound sources of scene {number} in the video."}],
        "videos": [f"clips/{number % 1000:03d}/scene_{number}.mp4"],
        "solution": "<answer>Left: a cyclist | Center: a girl with a flute</answer>",
        "problem_type": "region",
        "audio_cues": "bicycle wheels on gravel; a flute melody",
    }


SOURCES: dict[str, tuple[Callable[[int], dict[str, Any]], str]] = {
    "video_r1_260k": (video_r1, "json"),
    "avqa": (avqa, "json"),
    "ms_swift": (ms_swift, "jsonl"),
}


def write_annotations(folder: Path, rows: int) -> dict[str, Path]:
    """One file for each source, a third of the rows each."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {}
    for name, (element, suffix) in SOURCES.items():
        path = folder / f"{name}.{suffix}"
        files[name] = path
        if path.exists():
            continue
        draft = path.with_suffix(".part")
        with draft.open("w", encoding="utf-8") as file:
            opening, between, closing = ("[", ", ", "]") if suffix == "json" else ("", "\n", "\n")
            file.write(opening)
            for number in range(rows // len(SOURCES)):
                file.write((between if number else "") + json.dumps(element(number)))
            file.write(closing)
        draft.rename(path)
    return files


def watch(process: subprocess.Popen[str]) -> tuple[dict[int, int], dict[int, float]]:
    """(process -> high-water mark of its memory in bytes, process -> processor seconds) of a session until it ends."""
    memory: dict[int, int] = {}
    seconds: dict[int, float] = {}
    while process.poll() is None:
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    fields = (entry / "stat").read_text().rpartition(")")[2].split()
                    if int(fields[3]) != process.pid:  # another session
                        continue
                    status = (entry / "status").read_text()
                except (OSError, IndexError):
                    continue
                peak = next((line for line in status.splitlines() if line.startswith("VmHWM")), "VmHWM: 0 kB")
                memory[int(entry.name)] = max(memory.get(int(entry.name), 0), int(peak.split()[1]) * 1024)
                seconds[int(entry.name)] = (int(fields[11]) + int(fields[12])) / PAGE
        time.sleep(0.05)
    return memory, seconds


def bench_build(rows: int, workers: int) -> dict[str, Any]:
    """One row of the table."""
    folder = FOLDER / f"{rows}"
    files = write_annotations(folder, rows)
    benchmark = folder / "benchmark.json"
    benchmark.write_text(json.dumps([{"video": f"v{n:010d}.mp4", "question": f"What is {n}?"} for n in range(3000)]))
    out = folder / "built"
    shutil.rmtree(out, ignore_errors=True)
    sources = [word for name, path in files.items() for word in ("--source", f"{name}={path}")]
    command = [sys.executable, "-m", "data_prep", "build", *sources, "--out", str(out), "--val", "0.02", "--json"]
    command += ["--benchmark", str(benchmark), "--workers", str(workers)]
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    memory, seconds = watch(process)
    wall = time.perf_counter() - start
    assert process.stdout is not None
    manifest = json.loads(process.stdout.read())
    assert process.returncode == 0
    built = sum(entry["rows"] for entry in manifest["files"].values())
    read = sum(tally["elements"] for tally in manifest["sources"].values())
    busy = sum(seconds.values())
    return {
        "rows": read,
        "built": built,
        "files": len(manifest["files"]),
        "input_MB": sum(path.stat().st_size for path in files.values()) / 1e6,
        "seconds": wall,
        "rows_per_s": read / wall,
        "processor_s": busy,
        "us_per_row": 1e6 * busy / read,
        "rows_per_s_two_free_cores": 2 * read / busy,
        "peak_MB_largest_process": max(memory.values()) / 1e6,
        "peak_MB_all": sum(memory.values()) / 1e6,
    }


def make_clip(path: Path) -> None:
    """Ten seconds of 640 x 360 at 30 frames per second, H.264 and stereo AAC."""
    import decode

    decode.SECONDS, decode.WIDTH, decode.HEIGHT = 10, 640, 360
    decode.make_clip(path)


def bench_validate(clips: int, rounds: int) -> list[dict[str, Any]]:
    """Two rows of the table."""
    folder = FOLDER / "clips"
    folder.mkdir(parents=True, exist_ok=True)
    first = folder / "clip_000.mp4"
    if not first.exists():
        make_clip(first.with_name("part.mp4"))
        first.with_name("part.mp4").rename(first)
    paths = [first, *(folder / f"clip_{number:03d}.mp4" for number in range(1, clips))]
    for path in paths[1:]:
        if not path.exists():
            shutil.copy(first, path)
    reader, process_mm_info = peer()
    settings = ProbeSettings(str(folder), FrameBudget())
    probe_one(first.name, settings), process_mm_info(first)  # warms up the imports
    variants: dict[str, Callable[[Path], Any]] = {
        f"process_mm_info ({reader})": process_mm_info,
        "probe": lambda path: probe_one(path.name, settings),
    }
    times: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(rounds):
        for name, call in variants.items():
            start = time.perf_counter()
            for path in paths:
                call(path)
            times[name].append((time.perf_counter() - start) / len(paths))
    theirs = next(iter(times.values()))
    table = []
    for name, spent in times.items():
        faster = [a / b for a, b in zip(theirs, spent, strict=True)]
        table.append(
            {
                "variant": name,
                "ms_per_clip": 1e3 * sum(spent) / rounds,
                "clips_per_s": rounds / sum(spent),
                "times_faster": sum(faster) / rounds,
                "least": min(faster),
            }
        )
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("build", "validate"))
    parser.add_argument("--rows", type=int, nargs="+", default=[500_000, 5_000_000])
    parser.add_argument("--clips", type=int, default=40, help="of validate")
    parser.add_argument("--rounds", type=int, default=3, help="of validate")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--note", default="", help="what a reader of the result has to know, e.g. of the machine")
    arguments = parser.parse_args()
    where = machine()
    if arguments.what == "validate":
        settings = {"clip": "10 s 640x360 at 30 fps, H.264, stereo AAC", "clips": arguments.clips}
        settings["rounds"] = arguments.rounds
        report("data_validate", settings, where, bench_validate(arguments.clips, arguments.rounds))
        return
    rows = [bench_build(count, arguments.workers) for count in arguments.rows]
    settings = {"workers": arguments.workers, "sources": list(SOURCES), "load_after": round(os.getloadavg()[0], 2)}
    settings |= {"note": arguments.note} if arguments.note else {}
    report("data_build", settings, where, rows)


if __name__ == "__main__":
    main()
