"""Our parquet rows as verl's data set: messages with media references, nothing decoded."""

from __future__ import annotations

import copy
import logging
from pathlib import Path
from typing import Any

from verl.utils.dataset.rl_dataset import RLHFDataset

from avatar_verl.omni.messages import build_messages
from avatar_verl.schema import PLACEHOLDERS, RowError, validate_row

logger = logging.getLogger(__name__)


class AvatarDataset(RLHFDataset):
    """Rows of our schema for reinforcement learning.

    A row that breaks the schema is never handed out; it is listed in ``bad_rows`` with its id and reason. Media paths
    are relative to ``data.media_root``, or to the folder of their parquet file where that is empty.
    """

    bad_rows: list[dict[str, Any]]

    def _read_files_and_tokenize(self) -> None:
        import datasets

        frames, roots, self.bad_rows = [], [], []
        for file in self.data_files:
            frame = datasets.load_dataset("parquet", data_files=file)["train"]
            root = self.config.get("media_root") or str(Path(file).resolve().parent)
            good = []
            for number, row in enumerate(frame):
                try:
                    validate_row(row)
                except RowError as error:
                    prompt_id = (row.get("extra_info") or {}).get("prompt_id")
                    self.bad_rows.append(
                        {
                            "file": file,
                            "row": number,
                            "prompt_id": prompt_id,
                            "reason": error.reason,
                            "detail": error.detail,
                        }
                    )
                else:
                    good.append(number)
            if len(good) < len(frame):
                logger.warning("%s: %d of %d rows break the schema", file, len(frame) - len(good), len(frame))
                frame = frame.select(good)
            frame = self._chosen(frame)
            frames.append(frame)
            roots.extend([root] * len(frame))
        self.dataframe = datasets.concatenate_datasets(frames)
        self._roots = roots
        if 0 < self.max_samples < len(self.dataframe):
            self.dataframe = self.dataframe.select(range(self.max_samples))

    def _chosen(self, frame: Any) -> Any:
        """Training rows whose ``extra_info`` has one of the values that ``data.where`` names, field by field.

        Held-out rows all stay: they show what training on a part does to the rest.
        """
        if self._is_held_out:
            return frame
        for field, values in (self.config.get("where") or {}).items():
            allowed = set(values)
            frame = frame.filter(
                lambda info, field=field, allowed=allowed: info[field] in allowed, input_columns="extra_info"
            )
        return frame

    @property
    def _is_held_out(self) -> bool:
        """verl does not tell a data set which of the two it is."""
        train, held_out = (_as_list(self.config.get(name)) for name in ("train_files", "val_files"))
        return list(self.original_data_files) == held_out != train

    def __getitem__(self, item: int) -> dict[str, Any]:
        row = copy.deepcopy(self.dataframe[item])
        info = row["extra_info"]
        messages = build_messages(row)
        for column, _ in PLACEHOLDERS.values():
            row.pop(column)
        row.pop("prompt")
        row.pop("response", None)
        row.update(
            raw_prompt=messages,
            prompt_id=info["prompt_id"],
            use_audio_in_video=bool(info["use_audio_in_video"]),
            media_root=self._roots[item],
            index=item,
        )
        return row


def _as_list(files: Any) -> list[str]:
    if files is None:
        return []
    return [files] if isinstance(files, str) else list(files)
