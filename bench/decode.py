"""Frames and waveform of a 60 s 720p clip: ours cold, ours from the cache, and qwen-omni-utils' process_mm_info.

    python bench/decode.py

The clip is made by PyAV and kept in the temporary folder. All three give the same 32 frames and 60 s of sound. The
variants take turns, three rounds after a warm-up of the imports, so that what else the machine does hits all alike.
"Cold": nothing decoded is kept; the file itself is in memory for all. Times are wall-clock; processor time stands
beside them, because it depends less on what else runs. process_mm_info reads video with torchcodec where that can be
loaded, else with decord (its own order), and sound with an ffmpeg program (here the one of imageio-ffmpeg).
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from record import machine, report

from avatar_verl.media import Decoder, FrameBudget, MediaCache

SECONDS, FPS, WIDTH, HEIGHT, RATE = 60, 30, 1280, 720, 44_100
BUDGET = FrameBudget()


def make_clip(path: Path) -> None:
    """Moving shapes over a gradient, H.264 with a key frame every two seconds, stereo AAC."""
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH]
    background = np.stack([columns * 255 // WIDTH, rows * 255 // HEIGHT, (rows + columns) % 256], axis=-1)
    background = background.astype(np.uint8)
    with av.open(str(path), "w") as output:
        options = {"preset": "veryfast", "crf": "23", "g": str(2 * FPS)}
        video = output.add_stream("libx264", rate=FPS, options=options)
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        audio = output.add_stream("aac", rate=RATE, layout="stereo")
        for number in range(SECONDS * FPS):
            image = np.roll(background, 3 * number, axis=1)
            left, top = (7 * number) % (WIDTH - 200), (5 * number) % (HEIGHT - 200)
            image[top : top + 200, left : left + 200] = (number % 256, 255 - number % 256, 128)
            output.mux(video.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        output.mux(video.encode(None))
        times = np.arange(SECONDS * RATE) / RATE
        sound = (np.sin(2 * np.pi * (200 + 5 * times) * times) * [[0.5], [0.25]]).astype(np.float32)
        for start in range(0, sound.shape[1], 1024):
            block = np.ascontiguousarray(sound[:, start : start + 1024])
            frame = av.AudioFrame.from_ndarray(block, format="fltp", layout="stereo")
            frame.sample_rate, frame.pts, frame.time_base = RATE, start, Fraction(1, RATE)
            output.mux(audio.encode(frame))
        output.mux(audio.encode(None))


def peer() -> tuple[str, Callable[[Path], Any]]:
    """(its video reader, a call of process_mm_info); ImportError or RuntimeError where it cannot run."""
    import imageio_ffmpeg

    programs = Path(tempfile.mkdtemp(prefix="bench-ffmpeg-"))
    (programs / "ffmpeg").symlink_to(imageio_ffmpeg.get_ffmpeg_exe())
    os.environ["PATH"] = f"{programs}{os.pathsep}{os.environ['PATH']}"  # it starts an ffmpeg program for sound
    from qwen_omni_utils import process_mm_info
    from qwen_omni_utils.v2_5 import vision_process

    try:
        import torchcodec.decoders  # noqa: F401  (its first choice; needs FFmpeg libraries)
    except (ImportError, OSError, RuntimeError):
        import decord  # noqa: F401  (its second choice)

        vision_process.get_video_reader_backend = lambda: "decord"

    def call(path: Path) -> tuple[np.ndarray, np.ndarray]:
        limits = {key: getattr(BUDGET, key) for key in ("fps", "min_frames", "max_frames", "min_pixels", "max_pixels")}
        message = {"role": "user", "content": [{"type": "video", "video": str(path), **limits}]}
        sounds, _, videos = process_mm_info([message], use_audio_in_video=True)
        return videos[0].permute(0, 2, 3, 1).numpy(), sounds[0]

    return vision_process.get_video_reader_backend(), call


def load(decoder: Decoder, path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Frames and waveform; every byte is touched, or a mapped file would cost nothing."""
    frames, waveform = decoder.video(path, BUDGET).frames, decoder.audio(path, BUDGET).waveform
    frames.max(), waveform.max()
    return frames, waveform


def measure(call: Callable[[Path], Any], path: Path) -> tuple[float, float]:
    """(wall-clock seconds, processor seconds of this process and of programs it ran)."""
    wall, before = time.perf_counter(), os.times()
    call(path)
    after = os.times()
    return time.perf_counter() - wall, sum(after[:4]) - sum(before[:4])


def row(name: str, rounds: list[tuple[float, float]], peer_rounds: list[tuple[float, float]]) -> dict[str, Any]:
    """Times of one variant; "times faster" compares it with the peer in the same round."""
    faster = [theirs[0] / ours[0] for theirs, ours in zip(peer_rounds, rounds, strict=True)]
    return {
        "variant": name,
        "mean_ms": 1e3 * statistics.mean(wall for wall, _ in rounds),
        "min_ms": 1e3 * min(wall for wall, _ in rounds),
        "max_ms": 1e3 * max(wall for wall, _ in rounds),
        "processor_ms": 1e3 * statistics.mean(busy for _, busy in rounds),
        "times_faster": statistics.mean(faster),
        "least": min(faster),
        "most": max(faster),
    }


def main() -> None:
    warnings.simplefilter("ignore")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    num_rounds = parser.parse_args().rounds
    where = machine()
    folder = Path(tempfile.gettempdir()) / "avatar-bench-decode"
    clip = folder / f"{SECONDS}s_{HEIGHT}p.mp4"
    if not clip.exists():
        print("making the clip ...")
        folder.mkdir(parents=True, exist_ok=True)
        make_clip(clip.with_suffix(".part.mp4"))
        clip.with_suffix(".part.mp4").rename(clip)
    reader, process_mm_info = peer()
    shutil.rmtree(folder / "cache", ignore_errors=True)
    cold, cached = Decoder(), MediaCache(folder / "cache", 10**9)
    variants: dict[str, Callable[[Path], Any]] = {
        f"process_mm_info ({reader})": process_mm_info,
        "ours, cold": lambda path: load(cold, path),
        "ours, cached": lambda path: load(cached, path),
    }
    theirs, ours = process_mm_info(clip), load(cached, clip)  # warms up the imports and fills the cache
    same = theirs[0].shape == ours[0].shape and len(theirs[1]) == len(ours[1])
    assert same, "the variants do not do the same work"
    rounds: dict[str, list[tuple[float, float]]] = {name: [] for name in variants}
    for _ in range(num_rounds):
        for name, call in variants.items():
            rounds[name].append(measure(call, clip))
    settings = {
        "clip": f"{SECONDS} s {WIDTH}x{HEIGHT} at {FPS} fps, H.264, key frame every 2 s, stereo AAC",
        "result": f"{len(ours[0])} frames of {ours[0].shape[2]}x{ours[0].shape[1]}, {SECONDS} s of sound",
        "rounds": num_rounds,
        "mean_pixel_difference": round(float(np.abs(theirs[0] - ours[0]).mean()), 3),
        "max_sample_difference": float(f"{np.abs(theirs[1] - ours[1]).max():.1e}"),
    }
    peer_rounds = next(iter(rounds.values()))
    report("decode", settings, where, [row(name, times, peer_rounds) for name, times in rounds.items()])


if __name__ == "__main__":
    main()
