"""Handles by name, through a real Ray."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray

from avatar_verl.adapter.named_actor import NamedActor


@pytest.fixture(scope="module", autouse=True)
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A Ray of its own, whose processes find the module with the heavy class."""
    folder = tmp_path_factory.mktemp("modules")
    (folder / "heavy_class.py").write_text("class Heavy:\n    def double(self, x): return 2 * x\n")
    sys.path.insert(0, str(folder))
    ray.init(num_cpus=2, include_dashboard=False, runtime_env={"env_vars": {"PYTHONPATH": _path(folder)}})
    yield
    ray.shutdown()
    sys.path.remove(str(folder))


def _path(folder: Path) -> str:
    root = Path(__file__).resolve().parents[3]
    return f"{folder}:{root}"


@ray.remote
class Between:
    """Holds what it is given and passes it on."""

    def __init__(self, handle: NamedActor) -> None:
        self._handle = handle

    def take(self) -> NamedActor:
        return self._handle

    def imported(self) -> bool:
        import sys as here

        return "heavy_class" in here.modules


def test_a_process_between_passes_the_handle_on_and_imports_nothing() -> None:
    from heavy_class import Heavy

    real = ray.remote(Heavy).options(name="heavy").remote()
    between = Between.remote(NamedActor("heavy"))
    taken = ray.get(between.take.remote())
    assert ray.get(taken.double.remote(21)) == 42
    assert not ray.get(between.imported.remote())
    other = Between.remote(real)  # what happens with the handle itself
    ray.get(other.take.remote())
    assert ray.get(other.imported.remote())
