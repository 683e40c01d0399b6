"""One replayable completion. Token ids and log-probs are arrays; media are named, never held.

Letter: L response tokens of the completion, its end token included.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from avatar_verl.types import Tier


@dataclass(frozen=True, slots=True)
class MediaRef:
    """One clip, sound or image of the prompt, as it was when the completion was generated."""

    kind: str  # image, video or audio
    path: str  # relative to the media root of the run
    content_hash: str  # an entry whose file now hashes differently is dropped, not trained on
    fps: float = 0.0  # frames per second that the model was shown; 0 for images and audio


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """A completion, how likely it was, what it earned, and all that is needed to show its prompt to the model again.

    The arrays are copied into compact read-only ones, so a slice of a batch does not keep the batch alive. numpy's
    scalars become Python's numbers.

    Raises:
        ValueError: if the log-probs do not have one value per token.
    """

    prompt_id: str  # the data set's stable id
    group: str  # one visit of the prompt; verl's uid
    policy_version: int  # trainer step whose policy generated it
    token_ids: npt.NDArray[np.int32]  # [L]
    behaviour_log_probs: npt.NDArray[np.float32]  # [L] at generation, with the hint if there was one
    reward: float  # total
    advantage: float  # of the fresh completion in its group, before shaping
    messages: str  # JSON: the chat messages it is trained on; with its hint, unless that is stripped
    ref_log_probs: npt.NDArray[np.float32] | None = None  # [L] of the frozen reference model
    reward_parts: dict[str, float] = field(default_factory=dict)
    kl: float = 0.0  # mean over tokens of behaviour - reference log-prob (k1 estimate)
    hint_used: bool = False
    media: tuple[MediaRef, ...] = ()
    row: str = "{}"  # JSON: the rest of the data set's row
    # Set by the buffer.
    entry_id: int = -1  # rises with every insertion, never reused
    tier: Tier = "hard"  # frozen at insertion
    reference_score: float = 0.0  # Rbar of the prompt at insertion
    reuse_count: int = 0  # how often it was drawn

    def __post_init__(self) -> None:
        for name, dtype in (
            ("token_ids", np.int32),
            ("behaviour_log_probs", np.float32),
            ("ref_log_probs", np.float32),
        ):
            values = getattr(self, name)
            if values is not None:
                object.__setattr__(self, name, _compact(values, dtype))
        for name, kind in (("policy_version", int), ("reward", float), ("advantage", float), ("kl", float)):
            object.__setattr__(self, name, kind(getattr(self, name)))
        for log_probs in (self.behaviour_log_probs, self.ref_log_probs):
            if log_probs is not None and log_probs.shape != self.token_ids.shape:
                raise ValueError(f"{log_probs.shape} log-probs for {self.token_ids.shape} tokens of {self.prompt_id}")

    def stamped(self, **changes: Any) -> Entry:
        """A copy with other values of plain fields; arrays are shared and nothing is checked again.

        Like ``dataclasses.replace``, at a third of its cost: a step stamps more than a hundred entries.
        """
        copy = object.__new__(Entry)
        for name in Entry.__slots__:
            object.__setattr__(copy, name, changes[name] if name in changes else getattr(self, name))
        return copy

    def defect(self) -> str | None:
        """Why this completion cannot be replayed: ``empty``, ``nonfinite``, or None when it can."""
        if len(self.token_ids) == 0:
            return "empty"
        numbers = (self.reward, self.advantage, self.kl, *self.reward_parts.values())
        arrays = [array for array in (self.behaviour_log_probs, self.ref_log_probs) if array is not None]
        finite = all(map(math.isfinite, numbers)) and all(bool(np.isfinite(array).all()) for array in arrays)
        return None if finite else "nonfinite"


def _compact(values: Any, dtype: type[np.generic]) -> npt.NDArray[Any]:
    """A read-only array that owns its memory; returned as is when it already is one."""
    if isinstance(values, np.ndarray) and values.dtype == dtype and values.base is None and not values.flags.writeable:
        return values
    array = np.array(values, dtype=dtype, ndmin=1)
    array.setflags(write=False)
    return array
