"""Supervised training by verl's SFT trainer on our rows: the cold start of a policy.

Run as ``python -m avatar_verl.adapter.sft RUN_FOLDER``, which starts the ranks itself: by torchrun on one node, or with
``run.launcher=ray`` as actors on all nodes of a Ray cluster. At the end the trained thinker is merged into a complete
Omni folder, ``RUN_FOLDER/model``, which reinforcement learning starts from.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import torch
from omegaconf import DictConfig, OmegaConf

from avatar_verl.adapter.model_config import write_thinker_config
from avatar_verl.adapter.node import avatar_config, plain
from avatar_verl.adapter.run_log import MIN_BAD_ROWS, BadDataError
from avatar_verl.adapter.trackers import keep_in
from avatar_verl.export import merge_thinker
from avatar_verl.media import Decoder, FrameBudget, MediaError
from avatar_verl.omni.messages import build_messages
from avatar_verl.omni.positions import extend_positions
from avatar_verl.omni.prompt import PromptBuilder
from avatar_verl.run_folder import append_jsonl, whole_lines, write_json, write_text
from avatar_verl.schema import RowError, validate_row

#: What torchrun would say to the only process.
_ALONE = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}


class DemonstrationDataset(torch.utils.data.Dataset):  # type: ignore[type-arg]
    """Rows with a ``response``: the prompt as in a rollout, the demonstration as its completion.

    The loss covers the completion and its end token only. A row that cannot be used is listed in ``bad_rows.jsonl``
    beside the checkpoints and takes part without a loss, so that nothing is trained on in its place; more of them than
    ``avatar.media.max_bad_share`` of all rows stop the run.
    """

    def __init__(
        self, parquet_files: Any, tokenizer: Any, config: DictConfig, processor: Any, max_samples: int = -1
    ) -> None:
        files = [parquet_files] if isinstance(parquet_files, str) else list(parquet_files)
        avatar = avatar_config(config)
        self._rows: list[tuple[dict[str, Any], str, tuple[str, int]]] = []  # row, media root, file and number there
        for file in files:
            root = avatar.media.root or str(Path(file).resolve().parent)
            self._rows.extend((row, root, (file, n)) for n, row in enumerate(pq.read_table(file).to_pylist()))
        if max_samples > 0:
            self._rows = self._rows[:max_samples]
        self._tokenizer = tokenizer
        self._bad_rows = Path(config.bad_rows_file)
        self._max_bad_share = avatar.media.max_bad_share
        self._max_length = int(config.max_length)
        from transformers import Qwen2_5OmniThinkerConfig

        self._builder = PromptBuilder(
            processor,
            Qwen2_5OmniThinkerConfig(**plain(config.thinker_config)),
            FrameBudget.from_config(avatar.media),
            Decoder(),
        )

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, item: int) -> dict[str, Any]:
        row, root, place = self._rows[item]
        try:
            return self._sample(row, root)
        except (MediaError, RowError) as error:
            self._list(place, row, error)
            return self._empty()

    def _list(self, place: tuple[str, int], row: dict[str, Any], error: MediaError | RowError) -> None:
        """List a bad row once. The list is what knows of the others: they came by in other processes and epochs."""
        listed = {(record["file"], record["row"]) for _, record in whole_lines(self._bad_rows)}
        if place in listed:
            return
        prompt_id = (row.get("extra_info") or {}).get("prompt_id")
        record = {"kind": "bad_row", "step": 0, "file": place[0], "row": place[1], "prompt_id": prompt_id}
        append_jsonl(self._bad_rows, [{**record, "reason": error.reason, "detail": str(error)}])
        bad, total = len(listed) + 1, len(self._rows)
        if bad >= MIN_BAD_ROWS and bad > self._max_bad_share * total:
            raise BadDataError.of(bad, total, self._max_bad_share, self._bad_rows)

    def _sample(self, row: dict[str, Any], root: str) -> dict[str, Any]:
        validate_row(row)
        if not row["response"]:
            raise RowError("no_demonstration", "response is empty")
        prompt = self._builder.build(build_messages(row), root, bool(row["extra_info"]["use_audio_in_video"]))
        completion = self._tokenizer(row["response"], add_special_tokens=False)["input_ids"]
        completion.append(self._tokenizer.eos_token_id)
        length = len(prompt.input_ids) + len(completion)
        if length > self._max_length:
            raise RowError("too_long", f"{length} tokens, data.max_length is {self._max_length}")
        mask = torch.zeros(length, dtype=torch.long)
        mask[len(prompt.input_ids) :] = 1
        return {
            "input_ids": torch.cat([prompt.input_ids, torch.tensor(completion)]),
            "position_ids": extend_positions(prompt.position_ids, len(completion)),
            "loss_mask": mask,
            "multi_modal_inputs": prompt.features,
        }

    def _empty(self) -> dict[str, Any]:
        ids = torch.full((2,), int(self._tokenizer.eos_token_id))
        return {
            "input_ids": ids,
            "position_ids": torch.arange(2).expand(4, 2).clone(),
            "loss_mask": torch.zeros(2, dtype=torch.long),
            "multi_modal_inputs": {},
        }


def set_metrics_aside(run: Path, step: int) -> None:
    """Keep the metrics up to the checkpoint of ``step`` in a file of their own: verl's logger starts its file anew."""
    earlier, latest = run / "metrics_before_resume.jsonl", run / "metrics.jsonl"
    lines = [line for file in (earlier, latest) for line, record in whole_lines(file) if record["step"] <= step]
    write_text(earlier, "".join(lines))


def join_metrics(run: Path) -> None:
    """Put what :func:`set_metrics_aside` kept in front of the metrics again."""
    earlier, latest = run / "metrics_before_resume.jsonl", run / "metrics.jsonl"
    write_text(latest, earlier.read_text() + latest.read_text())
    earlier.unlink()


def fit(config: DictConfig, run: Path) -> None:
    """Train to the end, then write the complete model."""
    from verl.trainer.sft_trainer import SFTTrainer

    import avatar_verl.adapter.register  # noqa: F401
    from avatar_verl.adapter.worker import use_all_cores

    if config.trainer.device == "cuda":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    use_all_cores()
    torch.manual_seed(config.trainer.seed)  # of new adapters; whoever started this process may have drawn already
    torch.distributed.init_process_group("gloo" if config.trainer.device == "cpu" else "cpu:gloo,cuda:nccl")
    try:
        trainer = SFTTrainer(config=config)
        # total_training_steps, where it is given, decides alone; verl would also stop after total_epochs.
        needed = -(-trainer.total_training_steps // trainer.steps_per_epoch)
        config.trainer.total_epochs = max(config.trainer.total_epochs, needed)
        first = torch.distributed.get_rank() == 0
        if first:
            set_metrics_aside(run, trainer.resume_global_step)
        trainer.fit()
        if first:
            join_metrics(run)
            step = trainer.total_training_steps
            checkpoint = run / "checkpoints" / f"global_step_{step}" / "huggingface"
            merge_thinker(Path(config.model.path), checkpoint, run / "model")
            write_json(run / "finished.json", {"steps": step})
    finally:
        torch.distributed.destroy_process_group()


def train_rank(run: Path) -> None:
    """What each rank does, whoever started it: the rest is in its environment, as torchrun sets it."""
    for name, value in _ALONE.items():
        os.environ.setdefault(name, value)
    config = OmegaConf.load(run / "config.yaml")
    assert isinstance(config, DictConfig)
    folder = write_thinker_config(config.model.path, config.model.hf_config_path)
    OmegaConf.set_struct(config, False)
    config.data.thinker_config = OmegaConf.load(folder / "config.json")
    config.data.avatar = config.avatar
    config.data.bad_rows_file = str(run / "bad_rows.jsonl")
    os.environ["VERL_FILE_LOGGER_PATH"] = str(run / "metrics.jsonl")
    if os.environ["RANK"] == "0":  # the one that logs
        keep_in(run, config.trainer.logger, config.trainer.project_name)
    try:
        fit(config, run)
    except Exception as error:
        write_json(run / "error.json", {"type": type(error).__name__, "message": str(error)})
        raise


def _start_ranks(run: Path, ranks: int) -> int:
    """Run one process a GPU by torchrun, which ends all of them when one fails; the first failure's exit code."""
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.run import main as torchrun

    try:
        torchrun(["--standalone", f"--nproc-per-node={ranks}", "-m", "avatar_verl.adapter.sft", str(run)])
    except ChildFailedError as error:
        _, failure = error.get_first_failure()
        return failure.exitcode if failure.exitcode > 0 else 128 - failure.exitcode
    return 0


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run_folder", type=Path)
    run: Path = parser.parse_args(arguments).run_folder
    config = OmegaConf.load(run / "config.yaml")
    assert isinstance(config, DictConfig)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if "RANK" in os.environ:
        train_rank(run)
        return 0
    (run / "error.json").unlink(missing_ok=True)
    if config.run.launcher == "ray":
        from avatar_verl.adapter.sft_ray import train_on_ray

        try:
            train_on_ray(config, run)
        except Exception as error:
            if not (run / "error.json").exists():  # no rank has said more
                write_json(run / "error.json", {"type": type(error).__name__, "message": str(error)})
            raise
    elif config.trainer.n_gpus_per_node > 1:
        return _start_ranks(run, int(config.trainer.n_gpus_per_node))
    else:
        train_rank(run)
    return 0


if __name__ == "__main__":
    sys.exit(main())
