"""Writes the tables of the cluster guide: memory by the calculator, kills by the last run of the kill matrix.

python docs/tables.py            # rewrite docs/cluster-guide.md
python docs/tables.py --check    # exit 1 if it would change
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from avatar_verl.memory.__main__ import composed, evaluate  # noqa: E402
from avatar_verl.memory.estimate import GIB, Lines  # noqa: E402

GUIDE = ROOT / "docs" / "cluster-guide.md"
KILLS = ROOT / "bench" / "results" / "kill_matrix.json"
GPU_GIB, HOST_GIB = 80.0, 1000.0
PROFILES = (
    ("gpu", "1 x 8"),
    ("gpu_2x8", "2 x 8"),
    ("gpu_4x8", "4 x 8"),
    ("gpu_1x8_separated", "4 + 4"),
    ("gpu_2x8_separated", "1 + 1 x 8"),
    ("gpu_4x8_separated", "2 + 2 x 8"),
)
COLUMNS = ("weights", "optimiser", "gradients", "gathered weights", "activations", "vision activations", "logits")


def _cells(lines: Lines) -> list[str]:
    return [f"{lines[name] / GIB:.1f}" for name in COLUMNS]


def memory_table() -> str:
    """GiB on one GPU and one node for each model, kind of training and profile."""
    head = ["model", "GPUs", "trained", *COLUMNS, "update, in all", "rollout, in all", "KV tokens", "host", "fits"]
    rows = [head, ["---"] * len(head)]
    for model, size in (("3b", ["+size=3b"]), ("7b", [])):
        configs = {profile: composed([f"profile={profile}", *size]) for profile, _ in PROFILES}
        for name in ("LoRA", "all"):
            for profile, gpus in PROFILES:
                config = configs[profile]
                if name == "all":
                    config["actor_rollout_ref"]["model"]["lora_rank"] = 0
                result = evaluate(config, model, GPU_GIB)
                fits = not result.problems(GPU_GIB * GIB, HOST_GIB * GIB)
                sums = [f"{sum(lines.values()) / GIB:.1f}" for lines in (result.update, result.rollout)]
                hosts = [lines for lines in (result.host, result.rollout_host) if lines]
                host = " / ".join(f"{sum(lines.values()) / GIB:.0f}" for lines in hosts)
                tail = [*sums, f"{result.kv_tokens:,}", host, "yes" if fits else "**no**"]
                rows.append([model.upper(), gpus, name, *_cells(result.update), *tail])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def kill_table(file: Path = KILLS) -> str:
    """What became of each kill, and how far the runs' ends were from the undisturbed one's."""
    if not file.exists():
        return "Not measured yet."
    result = json.loads(file.read_text())
    head = ["killed", "in", "of step", "ended by", "after, s", "processes left", "resumed from step", "steps lost"]
    names = ["target", "phase", "step", "ended_by", "seconds_to_end", "processes_left", "resumed_from", "steps_lost"]
    rows = [head, ["---"] * len(head), *([str(row[name] or 0) for name in names] for row in result["rows"])]
    table = "\n".join("| " + " | ".join(row) + " |" for row in rows)
    found = "; ".join(f"{name}: {_plain(value)}" for name, value in result["settings"].items())
    return f"{table}\n\n{found}."


def _plain(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return f"{value:,}" if isinstance(value, int) else f"{value:.2g}" if isinstance(value, float) else str(value)


TABLES: dict[str, Callable[[], str]] = {"memory": memory_table, "kills": kill_table}


def rendered(text: str) -> str:
    """The guide with its tables made anew."""
    for name, make in TABLES.items():
        begin, end = f"<!-- {name}: begin (python docs/tables.py) -->", f"<!-- {name}: end -->"
        before, _, rest = text.partition(begin)
        _, _, after = rest.partition(end)
        text = f"{before}{begin}\n{make()}\n{end}{after}"
    return text


def main() -> int:
    text = GUIDE.read_text()
    wanted = rendered(text)
    if "--check" in sys.argv[1:]:
        return int(wanted != text)
    GUIDE.write_text(wanted)
    return 0


if __name__ == "__main__":
    sys.exit(main())
