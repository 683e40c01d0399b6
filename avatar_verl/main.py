"""Entry point of every run: ``python -m avatar_verl.main STAGE [KEY=VALUE ...]``.

Composes the configuration, checks it, makes or finds the run's folder, and starts the driver. ``DRY_RUN=1`` prints the
resolved configuration and the command, and stops before anything starts.
"""

from __future__ import annotations

import errno
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from avatar_verl.config import AvatarConfig, ConfigError
from avatar_verl.launch import ASKED, INTERRUPTED, environment, supervise
from avatar_verl.preflight import check_run
from avatar_verl.run_folder import (
    RunIsHeldError,
    held,
    new_run,
    newest_checkpoint,
    unfinished_run,
    write_json,
    write_text,
)
from avatar_verl.summary import print_summary

CONFIG_DIR = Path(os.environ.get("AVATAR_CONFIG_DIR", Path(__file__).resolve().parents[1] / "recipe" / "config"))
_PLACEHOLDER = "<run folder>"
_REPORT_LIMIT_S = 300.0  # a run's end must not wait for ever for its report


def load(stage: str, overrides: list[str], folder: str) -> DictConfig:
    """Compose a stage's configuration with everything but the run's folder resolved.

    Keys of ``avatar`` that the files leave at their defaults are set without Hydra's ``+``; unknown ones are refused
    by our own check.

    Raises:
        ConfigError: an unknown key, a missing value, an interpolation that leads nowhere.
    """
    node = AvatarConfig().model_dump(mode="json")
    ConfigStore.instance().store(group="avatar_defaults", name="typed", node=node, package="avatar")
    try:
        config = _compose(stage, overrides, folder)
        needed = _not_given(config)
        if needed:
            raise ConfigError(f"no value for {', '.join(needed)}: set it on the command line, KEY=VALUE")
        OmegaConf.set_struct(config, False)
        return config
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(str(error)) from None


def _compose(stage: str, overrides: list[str], folder: str, with_choices: bool = False) -> DictConfig:
    """``with_choices``: the node ``hydra``, which names the chosen preset and profile, is kept."""
    given = [f"++{text}" if text.startswith("avatar.") else text for text in overrides]
    with initialize_config_dir(str(CONFIG_DIR), version_base=None):
        all_overrides = [_verl_searchpath(), f"run.folder='{folder}'", *given]
        return compose(stage, overrides=all_overrides, return_hydra_config=with_choices)


def config_changes(stage: str, overrides: list[str], config: DictConfig) -> dict[str, Any]:
    """What a command changed of its preset and profile, for the report.

    Returns:
        ``preset``, ``profile`` and ``changes``: key -> [value without the command's own words, value of the run].
    """
    choices = [text for text in overrides if (CONFIG_DIR / text.lstrip("+").partition("=")[0]).is_dir()]
    base = _compose(stage, choices, config.run.folder, with_choices=True)
    chosen = base.hydra.runtime.choices
    before, after = _flat(base), _flat(config)
    keys = sorted(key for key in before.keys() | after.keys() if before.get(key) != after.get(key))
    changes = {key: [before.get(key), after.get(key)] for key in keys}
    return {"preset": chosen.get("preset", "none"), "profile": chosen.get("profile", "none"), "changes": changes}


def _flat(config: DictConfig) -> dict[str, Any]:
    """Key -> value, interpolations as they stand; Hydra's own node is left out."""
    found: dict[str, Any] = {}

    def walk(prefix: str, node: Any) -> None:
        for key, value in node.items():
            if isinstance(value, dict) and value:
                walk(f"{prefix}{key}.", value)
            else:
                found[f"{prefix}{key}"] = value

    plain = OmegaConf.to_container(config, resolve=False)
    assert isinstance(plain, dict)
    walk("", {key: value for key, value in plain.items() if key != "hydra"})
    return found


def _verl_searchpath() -> str:
    """Where verl's own configuration lies. As a folder: ``pkg://`` would import verl and torch for seconds."""
    spec = importlib.util.find_spec("verl")
    if spec is None or not spec.submodule_search_locations:
        raise ConfigError("verl is not installed here: run recipe/launch/setup.sh")
    return f"hydra.searchpath=['file://{spec.submodule_search_locations[0]}/trainer/config']"


def _not_given(config: DictConfig) -> list[str]:
    """Keys that only the user can know. A model path is empty until it is given: ``???`` would let verl's through."""
    model = "actor_rollout_ref.model" if "actor_rollout_ref" in config else "model"
    needed = []
    for node, key in (("run", "train_files"), ("run", "val_files"), (model, "path")):
        if OmegaConf.is_missing(OmegaConf.select(config, node), key) or OmegaConf.select(config, node)[key] == "":
            needed.append(f"{node}.{key}")
    return needed


def _find_folder(stage: str, overrides: list[str], outputs: Path) -> tuple[Path, bool]:
    """The unfinished run this command belongs to (resume), or a new folder."""
    earlier = unfinished_run(outputs, stage)
    if earlier is not None:
        saved = OmegaConf.load(earlier / "config.yaml")
        if saved == load(stage, overrides, str(earlier)):
            return earlier, True
        print(f"{earlier} is unfinished, but its configuration differs from this command; starting a new run")
    return new_run(outputs, stage), False


def _total_steps(config: DictConfig) -> int:
    return int(config.trainer.total_training_steps or 0)


def _check_only(config: DictConfig, device: str) -> int:
    """What verl itself says of the configuration; the driver asks it again before Ray starts."""
    if not config.run.driver.endswith(".driver"):
        return 0
    with tempfile.TemporaryDirectory() as folder:
        OmegaConf.save(config, Path(folder) / "config.yaml")
        command = [sys.executable, "-m", config.run.driver, folder, "--check"]
        done = subprocess.run(
            command,
            env=environment(device),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
    if done.returncode:
        print(done.stderr.decode().strip().splitlines()[-1], file=sys.stderr)
        return 2
    return 0


def run(stage: str, overrides: list[str]) -> int:
    """See the module's docstring; returns the exit code."""
    config = load(stage, overrides, _PLACEHOLDER)
    plain: dict[str, Any] = OmegaConf.to_container(config, resolve=True)  # type: ignore[assignment]
    check_run(plain)
    device = str(config.trainer.device)
    if os.environ.get("DRY_RUN", "0") not in ("", "0"):
        print(OmegaConf.to_yaml(config, resolve=True))
        print(f"# command: {sys.executable} -m {config.run.driver} {config.run.outputs}/{stage}/<time>", flush=True)
        return _check_only(config, device)
    folder, resumed = _find_folder(stage, overrides, Path(config.run.outputs).absolute())
    with held(folder):
        own = load(stage, overrides, str(folder))
        write_text(folder / "config.yaml", OmegaConf.to_yaml(own))
        write_json(folder / "config_changes.json", config_changes(stage, overrides, own))
        print(f"{stage}: {'resuming' if resumed else 'run folder'} {folder}", flush=True)
        code = _train(config, folder, device)
    _write_report(folder)
    if code == 0:
        print_summary(folder)
    elif code == ASKED:
        print(f"{stage} stopped as asked, behind a checkpoint. Run the same command again to resume.")
    else:
        error = folder / "error.json"
        if error.exists():
            print(f"{_brief(json.loads(error.read_text())['message'])}\n", file=sys.stderr)
        print(f"{stage} stopped (exit code {code}); the log is {folder}/log.txt")
        print("Run the same command again to resume from the last checkpoint.")
    return code


def _train(config: DictConfig, folder: Path, device: str) -> int:
    """Supervise the driver; after a failure start it again, up to ``run.restarts`` times and only if it gets on."""
    before, every = newest_checkpoint(folder / "checkpoints"), int(config.run.get("print_every", 1))
    for restarts_left in range(int(config.run.get("restarts", 0)), -1, -1):
        hang_minutes = float(config.run.get("hang_minutes", 0))
        code = supervise(folder, config.run.driver, device, _total_steps(config), every, hang_minutes)
        newest = newest_checkpoint(folder / "checkpoints")
        if code in (0, ASKED, INTERRUPTED) or newest == before or not restarts_left:
            break
        before = newest
        print(f"stopped with exit code {code}; starting again from {newest} (run.restarts)", flush=True)
    return code


def _write_report(folder: Path) -> None:
    """Write ``report.html``. In a process of its own: whatever happens to it, the run keeps its result."""
    command = [sys.executable, "-m", "avatar_verl.report", str(folder)]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_REPORT_LIMIT_S
        )
        problem = done.stderr.strip().splitlines()[-1:] if done.returncode else []
    except subprocess.TimeoutExpired:
        problem = [f"it took longer than {_REPORT_LIMIT_S:.0f} s"]
    if problem:
        print(f"no report was written: {problem[0]}; try {' '.join(command[1:])}", file=sys.stderr)


def _brief(message: str) -> str:
    """The ends of a long message: an error from another process carries its whole traceback."""
    lines = message.strip().splitlines()
    return (
        message if len(lines) <= 8 else "\n".join([*lines[:2], f"... ({len(lines) - 4} lines in the log)", *lines[-2:]])
    )


def main() -> None:
    warnings.simplefilter("ignore")
    if len(sys.argv) < 2 or sys.argv[1] in ("-h", "--help"):
        print(__doc__)
        sys.exit(0 if len(sys.argv) > 1 else 2)
    try:
        sys.exit(run(sys.argv[1], sys.argv[2:]))
    except ConfigError as error:
        print(f"The configuration has to change before this can run:\n{error}", file=sys.stderr)
        sys.exit(2)
    except RunIsHeldError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        print(f"{error}: make room, then run the same command again", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:  # before the driver started; supervise() has its own
        sys.exit(130)


if __name__ == "__main__":
    main()
