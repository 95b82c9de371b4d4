"""Rollouts without gaps: recurrences along them that skip masked steps, wherever those stand."""

from __future__ import annotations

import torch
from torch import Tensor

from credit_envs.sampling.statistics import returns_to_go


class Packing:
    """Moves the taken steps of each rollout together, so that the next column is the next step.

    Args:
        mask: bool ``[N, T]``, steps that were taken; masked columns may lie before, between and after them.

    Attributes:
        mask: bool ``[N, T]``, the same steps moved to the left.
    """

    def __init__(self, mask: Tensor) -> None:
        self._given = mask
        self.mask = torch.arange(mask.shape[1], device=mask.device) < mask.sum(dim=1, keepdim=True)
        self._same = bool(torch.equal(mask, self.mask))

    def pack(self, values: Tensor) -> Tensor:
        """Returns values ``[N, T]`` in the packed order, 0 (False) after the last step."""
        return self._moved(values, self._given, self.mask)

    def unpack(self, values: Tensor) -> Tensor:
        """Returns packed values ``[N, T]`` where their steps were, 0 (False) where masked."""
        return self._moved(values, self.mask, self._given)

    def _moved(self, values: Tensor, at: Tensor, to: Tensor) -> Tensor:
        out = torch.zeros_like(values)
        if self._same:
            return torch.where(to, values, out)
        out[to] = values[at]
        return out


def earned(packing: Packing, reward: Tensor, gamma: float) -> Tensor:
    """Returns the discounted return from each step on, packed, float64 ``[N, T]``; γ acts per step that was taken.

    Args:
        packing: of the rollouts' mask.
        reward: float64 ``[N, T]``, as it stands in the batch; what stands at masked steps is ignored.
        gamma: discount.
    """
    return returns_to_go(packing.pack(reward), packing.mask, gamma)


def following(packed: Tensor) -> Tensor:
    """Returns what stands one column later, 0 (or False) in the last one."""
    out = torch.zeros_like(packed)
    out[..., :-1] = packed[..., 1:]
    return out
