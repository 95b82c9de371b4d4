"""HiPER without a plan aloud: segments are given, and every step is a turn all of whose tokens are the action's.

    hiper_segments    Â_t = A^low_t of :mod:`credit_envs.credit.hae`: GAE inside each segment, with V at the segment's end

A^high has no token to go to. With one segment it is GAE over the whole rollout (λ = 1: return minus value); with a segment per
step the one-step error. ``shift`` and ``every`` put boundaries in wrong places, for experiments.

As told elsewhere under HiPER's name: a weighted sum of a trajectory, a segment and a step part with given boundaries and
without a critic. [R] Each part is a group advantage: of the return; of the return from a segment's start, among the group's
segments of that number; of the return from a step, among the group's steps of that number. Source: Peng et al. 2026, arXiv
2602.16165, which has neither.
"""

from __future__ import annotations

import torch
from torch import Tensor

from credit_envs.credit.critics import fitted, predicted
from credit_envs.credit.hae import Layout, boundaries_at, hierarchical
from credit_envs.errors import check_range
from credit_envs.piece import Fresh
from credit_envs.sampling.packing import Packing, earned
from credit_envs.sampling.statistics import centred, compact
from credit_envs.sampling.trajectories import Trajectories


def hiper_segments(
    batch: Trajectories,
    *,
    fresh: Fresh,
    gamma: float = 1.0,
    lam: float = 1.0,
    shift: int = 0,
    every: int = 0,
) -> Tensor:
    """Returns A^low inside the batch's segments with a critic learned on fresh groups, float64 ``[N, T]``.

    Args:
        batch: rollouts; ``segment`` numbers their segments.
        fresh: training data of the critic, as many groups as the batch has.
        gamma: discount in [0, 1].
        lam: λ between steps of a segment, in [0, 1].
        shift: steps by which boundaries come later.
        every: a boundary every k steps.
    """
    check_range("gamma", gamma, 0, 1)
    data = fresh(batch.n_groups)
    value = predicted(fitted(data, data.anchor, gamma), batch.anchor)
    return segments_on(batch, value, gamma, lam, shift, every)


def segments_on(
    batch: Trajectories, value: Tensor, gamma: float = 1.0, lam: float = 1.0, shift: int = 0, every: int = 0
) -> Tensor:
    """Returns A^low inside the batch's segments for given values ``[N, T]``; see :func:`hiper_segments`."""
    packing = Packing(batch.mask)
    mask, segment = packing.mask, packing.pack(batch.segment)
    layout = Layout(mask, torch.where(mask, mask.cumsum(dim=1), 0), mask, mask, mask)
    marked = torch.zeros_like(mask)
    marked[:, 1:] = segment[:, 1:] != segment[:, :-1]
    starts = boundaries_at(marked, layout, shift, every)
    reward, heads = packing.pack(batch.reward), packing.pack(value)
    return packing.unpack(hierarchical(reward, layout, starts, heads, heads, gamma, lam).low)


def hiper_as_told(
    batch: Trajectories,
    gamma: float = 1.0,
    weights: tuple[float, float, float] = (1 / 3, 1 / 3, 1 / 3),
    norm_by_std: bool = False,
) -> Tensor:
    """Returns the as-told sum w₁ A_trajectory + w₂ A_segment + w₃ A_step, float64 ``[N, T]``.

    Args:
        batch: rollouts in groups; ``segment`` numbers their segments.
        gamma: discount of the returns from segments and steps, in [0, 1].
        weights: w₁, w₂, w₃.
        norm_by_std: divide each by its deviation.
    """
    check_range("gamma", gamma, 0, 1)
    packing = Packing(batch.mask)
    taken, segment = packing.mask, packing.pack(batch.segment)
    to_go = earned(packing, batch.reward, gamma)
    group = batch.group[:, None].expand_as(taken)
    column = torch.arange(taken.shape[1], device=taken.device).expand_as(taken)
    first = taken.clone()
    first[:, 1:] &= segment[:, 1:] != segment[:, :-1]
    out = torch.zeros_like(to_go)

    def add(weight: float, values: Tensor, at: Tensor, number: Tensor) -> Tensor:
        ids, n = compact((group * (int(number.max()) + 1) + number)[at])
        found = torch.zeros_like(values)
        found[at] = weight * centred(values[at], ids, n, norm_by_std=norm_by_std)
        return found

    start = taken & (column == 0)
    out += add(weights[0], batch.returns[:, None].expand_as(to_go), start, column)[:, :1]
    opened = add(weights[1], to_go, first, segment)
    place = torch.where(first, column, 0).cummax(dim=1).values
    out += opened.gather(1, place)
    out += add(weights[2], to_go, taken, column)
    return packing.unpack(out)
