"""What the README says of files and commands is true."""

from __future__ import annotations

import importlib.metadata
import os
import re
import subprocess
import sys
from pathlib import Path

from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()


def test_the_tree_is_the_tree() -> None:
    done = subprocess.run([sys.executable, str(ROOT / "docs" / "tree.py"), "--check"])
    assert done.returncode == 0, "run python docs/tree.py"


def test_every_script_that_is_named_can_be_run() -> None:
    scripts = set(re.findall(r"\./(run_\w+\.sh)", README))
    assert {"run_stage1.sh", "run_tests.sh"} <= scripts
    for name in scripts:
        assert (ROOT / name).stat().st_mode & 0o100, name


def test_every_python_command_exists() -> None:
    modules = set(re.findall(r"python -m ([\w.]+)", README))
    assert modules
    for module in modules:
        path = ROOT / module.replace(".", "/")
        assert path.with_suffix(".py").exists() or (path / "__main__.py").exists(), module


def test_ci_runs_what_the_readme_names() -> None:
    assert "./run_tests.sh" in (ROOT / ".ci" / "run").read_text()


def test_nothing_is_left_to_fill_in() -> None:
    assert "PLACEHOLDER" not in README


def test_the_page_of_keys_is_that_of_the_configuration() -> None:
    command = [sys.executable, "docs/config_keys.py"]
    done = subprocess.run([*command, "--check"], cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert done.returncode == 0, "docs/configuration.md is out of date: run python docs/config_keys.py"


def test_python_3_11_is_enough_in_every_patch_release() -> None:
    """Debian 12 has 3.11.2; a locked package that wants a later one stops the set-up there."""
    assert "Python 3.11 and git are enough" in README
    names = re.findall(r"^([\w.-]+)==", (ROOT / "requirements" / "cpu.lock").read_text(), re.MULTILINE)
    wanted = {name: importlib.metadata.metadata(name).get("Requires-Python") or "" for name in names}
    assert len(wanted) > 150
    assert [name for name, python in wanted.items() if not SpecifierSet(python).contains("3.11.0")] == []
