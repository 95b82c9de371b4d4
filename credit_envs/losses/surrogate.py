"""What policy losses share: masked log-ratios, units with one ratio, the clipped surrogate, aggregation.

    log ρ_t = clamp(log π(a_t|o_t) − log b(a_t|o_t), ±20)          b = the policy that acted; 0 where masked
    ℓ_t     = max(−Â_t ρ, −Â_t clip(ρ, 1 − ε_low, 1 + ε_high))     and at most −Â_t c where Â_t < 0 (dual clip)

Masked places may hold anything, infinities included: they are cut off before the exponential, so that neither a loss nor a
gradient can turn into NaN there. Source: verl, ``trainer/ppo/core_algos.py``; Schulman et al. 2017, arXiv 1707.06347; dual
clip: Ye et al. 2020, arXiv 1912.09729.
"""

from __future__ import annotations

import torch
from torch import Tensor

from credit_envs.errors import CreditEnvsError, check_range
from credit_envs.sampling.statistics import group_sum
from credit_envs.sampling.trajectories import Trajectories, numbered

AGGREGATES = ("token-mean", "seq-mean-token-sum", "seq-mean-token-mean", "seq-mean-token-sum-norm")
"""How step losses become one number."""

LEVELS = ("step", "turn", "trajectory")
"""What may share one importance ratio."""

_BOUND = 20.0


def log_ratio(log_prob: Tensor, batch: Trajectories) -> Tensor:
    """Returns log π − log b clamped to ±20, ``[N, T]``, 0 where masked; a clamped step passes no gradient."""
    return bounded(torch.where(batch.mask, log_prob - batch.log_prob, 0.0))


def bounded(logarithm: Tensor) -> Tensor:
    """Clamps logarithms to ±20, so that no ratio overflows."""
    return logarithm.clamp(-_BOUND, _BOUND)


def clipped(ratio: Tensor, credit: Tensor, low: float, high: float, dual: float | None = None) -> Tensor:
    """Returns the clipped surrogate loss of each step, ``[N, T]``.

    Args:
        ratio: importance ratios ``[N, T]``.
        credit: float64 ``[N, T]``.
        low: the ratio is clipped below 1 − low, in [0, 1].
        high: and above 1 + high, at least 0.
        dual: c; where credit is negative the loss is at most −c times the credit. None leaves it open.

    Raises:
        CreditEnvsError: if a bound is out of range.
    """
    check_range("low", low, 0, 1)
    check_range("high", high, 0, float("inf"))
    loss = torch.maximum(-credit * ratio, -credit * ratio.clamp(1 - low, 1 + high))
    if dual is None:
        return loss
    check_range("dual", dual, 1, float("inf"), open_low=True)
    return torch.where(credit < 0, torch.minimum(loss, -credit * dual), loss)


def aggregate(loss: Tensor, weight: Tensor, mode: str = "token-mean", length: int | None = None) -> Tensor:
    """Turns step losses into a scalar; rows without weight don't count, and without any step the result is 0.

    Args:
        loss: ``[N, T]``; anything where the weight is 0.
        weight: the mask, or float64 ``[N, T]`` non-negative (1/size where a unit of several steps counts once).
        mode: ``token-mean``: over all steps of the batch; ``seq-mean-token-sum``: mean over rollouts of their sums;
            ``seq-mean-token-mean``: of their means (classic GRPO); ``seq-mean-token-sum-norm``: of their sums divided by
            a constant length (Dr. GRPO).
        length: that constant (default: the batch's columns T).

    Raises:
        CreditEnvsError: for an unknown mode or a length below 1.
    """
    if mode not in AGGREGATES:
        raise CreditEnvsError(f"mode={mode!r}: expected one of {', '.join(AGGREGATES)}")
    weight = weight.to(torch.float64)
    used = weight > 0
    loss = torch.where(used, loss, 0.0) * weight
    if mode == "token-mean":
        return loss.sum() / _positive(weight.sum())
    row = loss.sum(dim=1)
    if mode == "seq-mean-token-mean":
        row = row / _positive(weight.sum(dim=1))
    if mode == "seq-mean-token-sum-norm":
        length = weight.shape[1] if length is None else length
        check_range("length", length, 1, 1 << 40, integer=True)
        row = row / length
    return row.sum() / _positive(used.any(dim=1).sum())


def _positive(total: Tensor) -> Tensor:
    return torch.where(total > 0, total, 1)


def units(batch: Trajectories, level: str) -> Tensor:
    """Numbers the units that share one ratio: int64 ``[N, T]`` in [0, N·T), unique across rows.

    Args:
        batch: the rollouts.
        level: one of :data:`LEVELS`.

    Raises:
        CreditEnvsError: for an unknown level.
    """
    if level not in LEVELS:
        raise CreditEnvsError(f"level={level!r}: expected one of {', '.join(LEVELS)}")
    rows, steps = batch.mask.shape
    first = torch.arange(rows, device=batch.mask.device)[:, None] * steps
    if level == "trajectory":
        return first.expand(rows, steps)
    if level == "step":
        return first + torch.arange(steps, device=batch.mask.device)
    return first + numbered(batch.turn, batch.mask, starts=False)


def unit_sums(values: Tensor, unit: Tensor) -> Tensor:
    """Sums values ``[N, T]`` over each unit and gives every place its unit's sum, ``[N, T]``; masked values must be 0."""
    flat = unit.reshape(-1)
    return group_sum(values.reshape(-1), flat, flat.numel())[flat].view(values.shape)


def unit_sizes(batch: Trajectories, unit: Tensor) -> Tensor:
    """Counts the steps of each step's unit, float64 ``[N, T]``, at least 1."""
    return unit_sums(batch.mask.to(torch.float64), unit).clamp(min=1)


def masked(values: Tensor, batch: Trajectories) -> Tensor:
    """Puts 0 where masked: places that share a ratio with taken steps would pass on whatever stands there."""
    return torch.where(batch.mask, values, 0.0)
