"""Reference scores (VCRS): per prompt, the moving average of its last on-policy rewards.

Rbar(q) is the baseline of replayed completions, decides tiers, and tells which prompts are stuck. Only on-policy
rewards enter, one per completion, so a window of 20 holds 2.5 visits of 8 completions.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from avatar_verl.maths.tiers import Thresholds, tier_thresholds


class ReferenceScores:
    """Windows of rewards by prompt id.

    Args:
        window: rewards kept per prompt, >= 1; paper 20.
        unseen: Rbar of a prompt without rewards; 0 as in the released code.
    """

    def __init__(self, window: int = 20, unseen: float = 0.0) -> None:
        if window < 1:
            raise ValueError(f"window must be >= 1, got {window}")
        self.window = window
        self.unseen = unseen
        self._rewards: dict[str, deque[float]] = {}
        self._row: dict[str, int] = {}  # prompt -> its place in _means
        self._means = np.zeros(64, np.float64)  # kept up to date, so that quantiles over all prompts are one array call

    def __len__(self) -> int:
        return len(self._rewards)

    def update(self, prompt_id: str, rewards: Iterable[float]) -> None:
        """Push the rewards of one visit's fresh completions.

        Raises:
            ValueError: for a reward that is not finite; nothing is pushed then.
        """
        values = [float(reward) for reward in rewards]
        if not all(map(math.isfinite, values)):
            raise ValueError(f"rewards of {prompt_id} are not finite: {values}")
        if not values:
            return
        if prompt_id not in self._rewards:
            self._rewards[prompt_id] = deque(maxlen=self.window)
            self._row[prompt_id] = len(self._row)
            if len(self._row) > len(self._means):
                self._means = np.concatenate([self._means, np.zeros_like(self._means)])
        window = self._rewards[prompt_id]
        window.extend(values)
        # Rounded, so that prompts with equal rewards tie whatever their number: three times 0.4 has the mean
        # 0.4000000000000001, and a threshold must not part it from 0.4.
        self._means[self._row[prompt_id]] = round(math.fsum(window) / len(window), 12)

    def mean(self, prompt_id: str) -> float:
        """Rbar(q); ``unseen`` for a prompt without rewards."""
        return float(self._means[self._row[prompt_id]]) if prompt_id in self._row else self.unseen

    def means(self, prompt_ids: Iterable[str]) -> npt.NDArray[np.float64]:
        """Rbar of each prompt, [N] float64."""
        return np.fromiter(map(self.mean, prompt_ids), np.float64)

    def shrunk(self, prompt_ids: Sequence[str], towards: float, weight: float) -> npt.NDArray[np.float64]:
        """Rbar of each prompt as if its window held ``weight`` more rewards of ``towards``, [N] float64.

        Beyond the paper. A prompt visited once whose completions were all right has Rbar = 1, so each of them replayed
        has the advantage 0: the group without a signal stays without one. Shrunk, its completions have a small one.

        Args:
            towards: mean reward that stands for all prompts.
            weight: in rewards, >= 0; 0 gives :meth:`means`, bit for bit.
        """
        means = self.means(prompt_ids)
        if weight == 0:
            return means
        counts = np.fromiter(map(self.count, prompt_ids), np.float64)
        return np.asarray((counts * means + weight * towards) / (counts + weight))

    def count(self, prompt_id: str) -> int:
        """Rewards in the prompt's window, 0 to ``window``."""
        return len(self._rewards.get(prompt_id, ()))

    def thresholds(self, hard_quantile: float, medium_quantile: float) -> Thresholds:
        """Tier thresholds over all prompts seen; see :func:`avatar_verl.maths.tiers.tier_thresholds`."""
        return tier_thresholds(self._means[: len(self._row)], hard_quantile, medium_quantile)

    def get_state(self) -> dict[str, Any]:
        """``{"rewards": {prompt_id: [oldest, .., newest]}}``, prompts in the order first seen."""
        return {"rewards": {prompt_id: list(window) for prompt_id, window in self._rewards.items()}}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Replace everything by a saved state. A shorter window than the saved one keeps the newest rewards."""
        restored = ReferenceScores(self.window, self.unseen)
        for prompt_id, rewards in state["rewards"].items():
            restored.update(prompt_id, rewards)
        self._rewards, self._row, self._means = restored._rewards, restored._row, restored._means
