"""Statistics over groups of rows, and recurrences along rollouts, without a Python loop over rows or steps."""

from __future__ import annotations

import torch
from torch import Tensor

_ROOM = 8
"""A table of ids may be so many times as long as the ids."""


def group_sum(values: Tensor, ids: Tensor, n: int) -> Tensor:
    """Sums float64 ``[M]`` values by ids int64 ``[M]`` in ``[0, n)``; returns ``[n]``."""
    return torch.zeros(n, dtype=values.dtype, device=values.device).index_add_(0, ids, values)


def group_count(ids: Tensor, n: int) -> Tensor:
    """Counts ids; returns float64 ``[n]``."""
    return torch.bincount(ids, minlength=n).to(torch.float64)


def centred(
    values: Tensor,
    ids: Tensor,
    n: int,
    *,
    norm_by_std: bool = False,
    epsilon: float = 1e-6,
    lone: str = "zero",
    ddof: int = 1,
) -> Tensor:
    """Subtracts each group's mean and, if asked, divides by its sample deviation.

    Groups whose values are all equal give exactly zero: they are found by their extremes, because rounding noise
    divided by epsilon would otherwise pass for a signal.

    Args:
        values: float64 ``[M]``.
        ids: int64 ``[M]`` in ``[0, n)``.
        n: number of groups.
        norm_by_std: divide by the group's deviation + epsilon.
        epsilon: added to the deviation.
        lone: what a group of one gets: ``zero``, or its own ``value`` (released verl code, mean 0 and deviation 1).
        ddof: what is subtracted from the count under the deviation's root: 1 (sample) or 0 (population).
    """
    count = group_count(ids, n)
    mean = group_sum(values, ids, n) / count.clamp(min=1)
    out = values - mean[ids]
    low = torch.full((n,), torch.inf, dtype=values.dtype, device=values.device)
    low = low.scatter_reduce(0, ids, values, "amin")
    high = torch.full((n,), -torch.inf, dtype=values.dtype, device=values.device)
    high = high.scatter_reduce(0, ids, values, "amax")
    flat = low == high
    if norm_by_std:
        variance = group_sum(out**2, ids, n) / (count - ddof).clamp(min=1)
        out = out / (variance.sqrt() + epsilon)[ids]
    out = torch.where(flat[ids], 0.0, out)
    return torch.where((count == 1)[ids], values, out) if lone == "value" else out


def whitened(values: Tensor, epsilon: float = 1e-8) -> Tensor:
    """Moves numbers to mean 0 and sample variance 1, float64 ``[M]``; equal numbers become exactly zero."""
    return centred(
        values, torch.zeros(len(values), dtype=torch.int64, device=values.device), 1, norm_by_std=True, epsilon=epsilon
    )


def distinct(ids: Tensor) -> tuple[Tensor, Tensor]:
    """Returns the distinct values of ids int64 ``[M]`` in order, and the place of each id among them, int64 ``[M]``.

    Where ids are small and not negative, a table of them takes the place of sorting.
    """
    if ids.numel():
        low, high = (int(x) for x in torch.aminmax(ids))
        if low >= 0 and high < _ROOM * ids.numel():
            seen = torch.zeros(high + 1, dtype=torch.bool, device=ids.device)
            seen[ids] = True
            return torch.nonzero(seen).squeeze(1), (seen.cumsum(0) - 1)[ids]
    values, inverse = torch.unique(ids, return_inverse=True)
    return values, inverse


def compact(ids: Tensor) -> tuple[Tensor, int]:
    """Renumbers ids int64 ``[M]`` without gaps; returns them and how many there are."""
    values, place = distinct(ids)
    return place, len(values)


def recurrence(decay: Tensor, drive: Tensor) -> Tensor:
    """Solves x_t = decay_t · x_{t−1} + drive_t with x_{−1} = 0 along the last axis, by doubling: log2(T) passes.

    Args:
        decay: float64 ``[N, T]``.
        drive: float64 ``[N, T]``.
    """
    x, a = drive.clone(), decay.clone()
    hop, length = 1, drive.shape[-1]
    while hop < length:
        x[..., hop:] = x[..., hop:] + a[..., hop:] * x[..., :-hop].clone()
        a[..., hop:] = a[..., hop:] * a[..., :-hop].clone()
        a[..., :hop] = 0
        hop *= 2
    return x


def returns_to_go(reward: Tensor, mask: Tensor, gamma: float) -> Tensor:
    """Returns G_t = Σ_{k ≥ t} γ^{k−t} r_k, float64 ``[N, T]``, 0 where masked."""
    reward = torch.where(mask, reward, 0.0)
    if gamma == 1:
        out = reward.flip(-1).cumsum(-1).flip(-1)
    else:
        out = recurrence(torch.full_like(reward, gamma), reward.flip(-1)).flip(-1)
    return torch.where(mask, out, 0.0)
