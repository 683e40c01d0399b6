"""The toy world of the end-to-end tests, with bad and unusual rows mixed into its files."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from data_prep.table import read_rows
from support.rows import bad_rows, choose_rows, odd_rows, write_numbered


@dataclass(frozen=True)
class World:
    """A toy world whose files have bad rows mixed in, and what is to become of them."""

    folder: Path
    clean: Path  # 12 good rows, two of each modality
    mixed: Path  # 15 good rows, three of them with unusual clips, and 10 bad ones
    mixed_val: Path  # 6 good rows and a bad one
    reasons: dict[str, str]  # prompt id of a bad row -> reason
    odd: dict[str, str]  # prompt id of an unusual row -> modality


def toy_world(folder: Path, train: int, val: int = 6, cold_start: int = 16) -> Path:
    """A toy world of so many rows, made as its users make it."""
    counts = [f"--train={train}", f"--val={val}", f"--cold-start={cold_start}"]
    subprocess.run([sys.executable, "-m", "data_prep", "toy", "--out", str(folder), *counts], check=True)
    return folder


def build_world(folder: Path) -> World:
    """A toy world, then the clips and rows that are not as they should be."""
    toy_world(folder, 96, cold_start=64)
    for name in ("bad", "odd"):
        (folder / "media" / name).mkdir()
    shutil.copy(next((folder / "media" / "train").glob("*.mp4")), folder.parent / "elsewhere.mp4")
    good = choose_rows(folder / "train.parquet", per_modality=2)
    bad, reasons = bad_rows(good[0], folder / "media" / "bad")
    odd, modalities = odd_rows(good[0], folder / "media" / "odd")
    val = read_rows(folder / "val.parquet")
    return World(
        folder=folder,
        clean=write_numbered(good, folder / "clean.parquet"),
        mixed=write_numbered([*good, *odd, *bad], folder / "mixed.parquet"),
        mixed_val=write_numbered([*val, bad[0]], folder / "mixed_val.parquet"),
        reasons=reasons,
        odd=modalities,
    )
