"""Imports point one way. The table is the one of the architecture; a new room is added here, on its floor."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

FLOOR_0 = {"types", "schema", "config", "run_folder", "manifest", "chat"}
FLOOR_1 = {"maths"}
FLOOR_2 = {"replay", "rewards", "media"}
OMNI = {"omni"}  # the model's inputs; over media, under the adapter
BESIDE = {"export", "summary", "preflight", "launch", "progress", "watchdog", "report"}
ENGINES = {"inference"}  # generation outside training; may load vLLM, and shares our repairs of it with the adapter
ASKING = {"evaluation", "infer", "compare"}  # commands that generate
FLOOR_3 = {"adapter"}
FLOOR_4 = {"main", "doctor", "memory", "parity"}

#: Room of avatar_verl -> rooms it may import beside itself.
MAY_IMPORT: dict[str, set[str]] = {
    **dict.fromkeys(FLOOR_0, FLOOR_0),
    **dict.fromkeys(FLOOR_1, FLOOR_0),
    **dict.fromkeys(FLOOR_2, FLOOR_0 | FLOOR_1),
    **dict.fromkeys(OMNI, FLOOR_0 | {"media"}),
    **dict.fromkeys(BESIDE, FLOOR_0 | FLOOR_1 | FLOOR_2 | OMNI | BESIDE),
    **dict.fromkeys(ENGINES, FLOOR_0 | FLOOR_2 | OMNI),
    **dict.fromkeys(ASKING, FLOOR_0 | FLOOR_1 | FLOOR_2 | OMNI | BESIDE | ENGINES | ASKING),
    **dict.fromkeys(FLOOR_3, FLOOR_0 | FLOOR_1 | FLOOR_2 | OMNI | BESIDE),
    **dict.fromkeys(FLOOR_4, FLOOR_0 | FLOOR_1 | FLOOR_2 | OMNI | BESIDE | FLOOR_3 | FLOOR_4),
}
DATA_PREP_MAY_IMPORT = FLOOR_0 | {"media"}

#: What an engine takes from the adapter.
SHARED_REPAIRS = "avatar_verl.adapter.compat"

MACHINERY = {"verl", "ray", "vllm", "hydra", "omegaconf", "transfer_queue", "tensordict", "peft"}
MODELS = {"torch", "transformers", "tokenizers", "safetensors"}


def forbidden_packages(room: str) -> set[str]:
    """Installed packages that a room must do without."""
    if room in FLOOR_3 | FLOOR_4:
        return set()
    if room in FLOOR_0 | FLOOR_2:
        return MACHINERY | MODELS
    if room in ENGINES:
        return MACHINERY - {"vllm"}
    if room in FLOOR_1:
        return MACHINERY | MODELS - {"torch"}
    return MACHINERY


def modules(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def imports(source: str) -> Iterator[str]:
    """Dotted names of all imports, also those inside functions; ``from a import b`` gives ``a.b``."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def room_of(path: Path) -> str:
    return path.relative_to(ROOT / "avatar_verl").with_suffix("").parts[0]


def broken_rules(room: str, source: str) -> list[str]:
    """What a module of a room imports and must not."""
    wrong = []
    for name in imports(source):
        if room in ENGINES and name.startswith(SHARED_REPAIRS):
            continue
        package, _, rest = name.partition(".")
        ours = package == "avatar_verl" and rest.partition(".")[0] not in MAY_IMPORT[room] | {room, "__version__"}
        if ours or package == "data_prep" or package in forbidden_packages(room):
            wrong.append(name)
    return wrong


@pytest.mark.parametrize("path", modules("avatar_verl"), ids=lambda path: str(path.relative_to(ROOT)))
def test_room_imports_only_what_lies_below(path: Path) -> None:
    room = room_of(path)
    if room == "__init__":
        assert list(imports(path.read_text())) == []
        return
    assert room in MAY_IMPORT, f"{room} is a new room: put it on its floor in this file"
    assert broken_rules(room, path.read_text()) == []


@pytest.mark.parametrize("path", modules("data_prep"), ids=lambda path: str(path.relative_to(ROOT)))
def test_data_prep_knows_the_schema_and_media_only(path: Path) -> None:
    names = [name.split(".") for name in imports(path.read_text())]
    assert [name for name in names if name[0] in MACHINERY] == []
    ours = {name[1] for name in names if name[0] == "avatar_verl" and len(name) > 1}
    assert ours <= DATA_PREP_MAY_IMPORT


@pytest.mark.parametrize(
    ("room", "source"),
    [
        ("maths", "import verl.trainer"),
        ("maths", "from avatar_verl.replay import StratifiedReplay"),
        ("replay", "from avatar_verl.rewards.parse import parse"),
        ("media", "def f():\n    import torch"),
        ("schema", "from avatar_verl import maths"),
        ("omni", "from avatar_verl.adapter import rows"),
        ("export", "import hydra"),
        ("adapter", "from avatar_verl.main import run"),
        ("rewards", "from data_prep import toy"),
        ("inference", "from avatar_verl.adapter.rollout import OmniReplica"),
        ("inference", "import ray"),
        ("evaluation", "import vllm"),
        ("adapter", "from avatar_verl.evaluation import run"),
    ],
)
def test_the_rules_see_a_breach(room: str, source: str) -> None:
    assert len(broken_rules(room, source)) == 1


def loaded_after(code: str) -> set[str]:
    """Top-level packages in memory after some code ran in a fresh interpreter."""
    script = f"{code}\nimport sys\nprint(*sorted({{name.split('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_importing_the_package_loads_nothing_heavy() -> None:
    assert loaded_after("import avatar_verl") & (MACHINERY | MODELS | {"numpy", "pyarrow"}) == set()


def test_rewards_replay_and_media_run_without_torch() -> None:
    """They serve on machines that judge, inspect and prepare data, where torch is not installed."""
    heavy = loaded_after("import avatar_verl.rewards, avatar_verl.media, avatar_verl.replay, avatar_verl.preflight")
    assert heavy & (MACHINERY | {"torch", "transformers"}) == set()


# ---- patches of other people's packages


def patched_names(source: str) -> list[str]:
    """Attributes and items of imported foreign modules and classes that a module assigns to or deletes."""
    tree = ast.parse(source)
    foreign = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            foreign |= {(a.asname or a.name).split(".")[0] for a in node.names if not _ours(a.name)}
        elif isinstance(node, ast.ImportFrom) and not _ours(node.module or ""):
            foreign |= {a.asname or a.name for a in node.names}
    foreign -= {"os", "sys"}  # os.environ and the like are a process's own
    found = []
    for node in ast.walk(tree):
        targets: list[ast.expr] = []
        if isinstance(node, ast.Assign):
            targets = node.targets
        elif isinstance(node, (ast.AugAssign, ast.AnnAssign)):
            targets = [node.target]
        elif isinstance(node, ast.Delete):
            targets = node.targets
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("setattr", "delattr"):
            targets = [ast.Attribute(node.args[0], "", ast.Store())]
        found += [ast.unparse(t) for t in targets if not isinstance(t, ast.Name) and _root(t) in foreign]
    return found


def _ours(module: str) -> bool:
    return module.split(".")[0] in ("avatar_verl", "data_prep")


def _root(node: ast.expr) -> str:
    while isinstance(node, (ast.Attribute, ast.Subscript)):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def test_nothing_is_patched_outside_compat() -> None:
    patched = {
        str(path.relative_to(ROOT)): names
        for package in ("avatar_verl", "data_prep")
        for path in modules(package)
        if (names := patched_names(path.read_text())) and path.name != "compat.py"
    }
    assert patched == {}


@pytest.mark.parametrize(
    "source",
    [
        "from verl.workers import x\nx.Y.method = f",
        "import verl.workers as w\nsetattr(w.Engine, 'step', f)",
        "def g():\n    from vllm import LLM\n    LLM.generate = f",
        "from verl.base import REGISTRY\nREGISTRY['a']['b'] = f",
        "import torch\ndel torch.cuda.synchronize",
    ],
)
def test_a_patch_is_seen(source: str) -> None:
    assert len(patched_names(source)) == 1


def test_every_patch_says_why_and_until_when() -> None:
    tree = ast.parse((ROOT / "avatar_verl/adapter/compat.py").read_text())
    patches = [n for n in tree.body if isinstance(n, (ast.ClassDef, ast.FunctionDef)) and n.name != "install"]
    helpers = {"_VllmCpuDistribution"}  # part of _VllmCpuFinder
    assert len(patches) >= 4
    for patch in patches:
        if patch.name not in helpers:
            text = ast.get_docstring(patch) or ""
            assert "Reason:" in text, patch.name
            assert "Retires:" in text, patch.name
