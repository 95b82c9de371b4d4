"""KLong: long rollouts split into overlapping windows, and a time limit that grows over the stages of training.

    window k of a rollout of T steps covers the steps  k(L−O) ≤ t < k(L−O) + L,   k = 0 … ⌈max(0, T−L)/(L−O)⌉

Each window is a row whose mask covers its steps; those in an overlap are trained once per window. The pinned prefix (the
task, and what was read first) and the history that a window drops matter to a model with a context limit; policies here
are tables that see an observation, so windows change which steps are counted how often and against what, nothing else. A
row keeps the whole rollout's rewards: its return is the judge's score. Stage m of the curriculum cuts rollouts off after
T_m steps; a table that pays at its horizon then pays there, as a judge scores what is done when time is up. Credit with a
lower limit is that of the shorter task.

Reconstruction: there is no official code. Windows stop once one has reached the end; ``for t in range(0, T, L − O)``, as
it is often given, adds windows that lie inside the one before, also where T ≤ L, which should leave a rollout whole.
Source: Liu et al. 2026, arXiv 2602.17547, from summaries.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from credit_envs.errors import check_range
from credit_envs.sampling.sampler import Sampler
from credit_envs.sampling.trajectories import Sample, Truth


def klong(
    sampler: Sampler,
    groups: int,
    group_size: int,
    window: int | None = None,
    overlap: int | None = None,
    limit: float = 1.0,
    only_new: bool = False,
) -> Sample:
    """Draws groups, cut off at a time limit, and splits them into windows.

    Args:
        sampler: metered; steps beyond the limit are never taken.
        groups: number of groups.
        group_size: rollouts per group.
        window: L, steps (tokens, where a step is one) per window (default: half the table's horizon, rounded up).
        overlap: O < L, steps that neighbours share (default: half the window, rounded down).
        limit: T_m as a share of the table's horizon, in (0, 1].
        only_new: mask the steps that an earlier window covers already, so that windows partition a rollout for any O.

    Returns:
        One row per window, those of a rollout adjacent.

    Raises:
        CreditEnvsError: for arguments out of range.
    """
    horizon = sampler.table.horizon
    check_range("limit", limit, 0, 1, open_low=True)
    window = (horizon + 1) // 2 if window is None else window
    check_range("window", window, 1, 1 << 40, integer=True)
    overlap = window // 2 if overlap is None else overlap
    check_range("overlap", overlap, 0, window - 1, integer=True)
    sample = sampler.groups(groups, group_size, limit=max(1, math.ceil(limit * horizon - 1e-9)))
    return split(sample, window, overlap, only_new)


def split(sample: Sample, window: int, overlap: int, only_new: bool = False) -> Sample:
    """Splits rollouts that begin at step 0 into windows; arguments as for :func:`klong`."""
    batch, truth = sample.trajectories, sample.truth
    rollout, start = windows(batch.lengths, window, overlap)
    step = torch.arange(batch.mask.shape[1], device=start.device)
    begin = start + overlap * (start > 0) if only_new else start
    inside = (step >= begin[:, None]) & (step < start[:, None] + window)
    rows = sample.rows(rollout)
    kept, whole = rows.trajectories, rows.truth
    after = (start + window).clamp(max=batch.mask.shape[1] - 1)
    goes_on = start + window < batch.lengths[rollout]
    final = torch.where(goes_on, truth.state[rollout, after], whole.final)
    return Sample(
        kept.replace(mask=kept.mask & inside), Truth(whole.state, whole.edge, whole.code, whole.rollout, final)
    )


def windows(length: Tensor, window: int, overlap: int) -> tuple[Tensor, Tensor]:
    """Places windows over rollouts of given lengths int64 ``[N]``.

    Returns:
        ``(rollout, start)``: the rollout and first step of each window, int64 ``[windows]``.
    """
    stride = window - overlap
    count = 1 + (length - window + stride - 1).div(stride, rounding_mode="floor").clamp(min=0)
    rollout = torch.repeat_interleave(torch.arange(len(length), device=length.device), count)
    first = (count.cumsum(0) - count)[rollout]
    return rollout, (torch.arange(len(rollout), device=length.device) - first) * stride
