"""Turns and segments as units: numbers per step become numbers per span ``[N, K]``, and back."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from credit_envs.errors import CreditEnvsError, check_range
from credit_envs.sampling.trajectories import Trajectories

LEVELS = ("step", "turn", "segment")
"""What a span may be."""


@dataclass(frozen=True, eq=False)
class Spans:
    """The spans of a batch, numbered along each rollout; K is one more than the largest number.

    Attributes:
        number: int64 ``[N, T]``, span of each step (0 where masked).
        mask: bool ``[N, T]``, steps that were taken.
        present: bool ``[N, K]``, spans that a rollout has.
        start: int64 ``[N, K]``, a span's first step; 0 where it is not present.
        end: int64 ``[N, K]``, its last step; likewise.
    """

    number: Tensor
    mask: Tensor
    present: Tensor
    start: Tensor
    end: Tensor

    @property
    def final(self) -> Tensor:
        """The last span of each rollout, bool ``[N, K]``."""
        place = torch.arange(self.present.shape[1], device=self.present.device)
        return self.present & (place == torch.where(self.present, place, -1).amax(dim=1, keepdim=True))

    def total(self, values: Tensor) -> Tensor:
        """Sums float64 ``[N, T]`` over spans; returns ``[N, K]``."""
        out = values.new_zeros(self.present.shape)
        return out.scatter_add_(1, self.number, torch.where(self.mask, values, 0.0))

    def spread(self, values: Tensor) -> Tensor:
        """Gives every step its span's value: ``[N, K]`` → ``[N, T]``, 0 (False) where masked."""
        return torch.where(self.mask, values.gather(1, self.number), torch.zeros_like(values[:1, :1]))

    def at_end(self, values: Tensor) -> Tensor:
        """Puts float64 ``[N, K]`` on the last steps of spans, 0 elsewhere; returns ``[N, T]``."""
        out = values.new_zeros(self.mask.shape)
        return out.scatter_add_(1, self.end, torch.where(self.present, values, 0.0))


def spans(batch: Trajectories, level: str = "turn", at_most: int | None = None) -> Spans:
    """Finds the spans of a batch.

    Args:
        batch: rollouts.
        level: ``step``, ``turn`` or ``segment``.
        at_most: largest number of spans per rollout; later ones join the last (default: no limit).

    Raises:
        CreditEnvsError: for an unknown level or a limit below 1.
    """
    if level not in LEVELS:
        raise CreditEnvsError(f"level={level!r}: expected one of {', '.join(LEVELS)}")
    mask = batch.mask
    step = torch.arange(mask.shape[1], device=mask.device).expand(mask.shape)
    number = {"step": step, "turn": batch.turn, "segment": batch.segment}[level]
    if at_most is not None:
        check_range("at_most", at_most, 1, 1 << 30, integer=True)
        number = number.clamp(max=at_most - 1)
    number = torch.where(mask, number, 0)
    shape = len(mask), int(number.max()) + 1
    width = mask.shape[1]
    start = torch.full(shape, width, dtype=torch.int64, device=mask.device)
    start = start.scatter_reduce(1, number, torch.where(mask, step, width), "amin")
    end = torch.full(shape, -1, dtype=torch.int64, device=mask.device)
    end = end.scatter_reduce(1, number, torch.where(mask, step, -1), "amax")
    present = end >= 0
    return Spans(number, mask, present, torch.where(present, start, 0), end.clamp(min=0))
