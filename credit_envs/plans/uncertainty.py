"""StarPO-S: roll out many prompts, train on those whose returns vary most; RAGEN-2's filters.

    U(x) = Std_τ R(τ | x)          deviation (ddof = 1) over the group of one prompt

    top_k      the `value` part of all groups with the largest U (StarPO-S: 25 %)
    top_k_abs  the `value` groups with the largest U
    top_p      the largest, one by one, until their sum reaches value · ΣU − slack (RAGEN-2; `softmax` weighs by exp U)
    min_p      U ≥ value · max U

`include_zero=False` drops groups with U = 0 before anything else; with top_p at 1 that is DAPO's filter. Every filter
counts dropped groups in the meter. Kept groups are no longer a fair sample of prompts: those on which the policy is
undecided weigh more, and which group is kept depends on the others, so they are not quite independent either.
Departures: where a filter keeps nothing the group with the largest U stays, for there is no batch without rollouts (the
released code skips the update); ΣU counts all candidates, and slack is 0.01 as released.
Sources: Wang et al. 2025, RAGEN, arXiv 2504.20073, §4; code ``ragen/trainer/rollout_filter.py``.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from credit_envs.errors import CreditEnvsError, check_range
from credit_envs.plans.joining import chosen
from credit_envs.sampling.sampler import Sampler
from credit_envs.sampling.statistics import centred, group_count, group_sum
from credit_envs.sampling.trajectories import Sample, Trajectories

STRATEGIES = ("top_k", "top_k_abs", "top_p", "min_p")
_ROUNDING = 1e-9


def uncertainty(batch: Trajectories, returns: Tensor | None = None) -> Tensor:
    """Returns U of each group, float64 ``[groups]``; exactly 0 where all returns are equal, and for groups of one.

    Args:
        batch: rollouts in groups.
        returns: float64 ``[N]`` (default: the rollouts' returns).
    """
    n = batch.n_groups
    apart = centred(batch.returns if returns is None else returns, batch.group, n)
    return (group_sum(apart**2, batch.group, n) / (group_count(batch.group, n) - 1).clamp(min=1)).sqrt()


def selected(
    score: Tensor, strategy: str, value: float, include_zero: bool = True, softmax: bool = False, slack: float = 0.01
) -> Tensor:
    """Applies a filter to groups, bool ``[groups]``; may keep none.

    Args:
        score: float64 ``[groups]``, U of each group.
        strategy: one of :data:`STRATEGIES`.
        value: a share in (0, 1], for ``top_k_abs`` a number of groups.
        include_zero: whether groups with U = 0 may be kept.
        softmax: weigh by exp U instead of U (``top_p`` only).
        slack: taken off the sum that ``top_p`` wants to reach.

    Raises:
        CreditEnvsError: for an unknown strategy or a value out of range.
    """
    _check(strategy, value)
    candidate = torch.ones_like(score, dtype=torch.bool) if include_zero else score > 0
    if strategy == "min_p":
        top = torch.where(candidate, score, -torch.inf).max()
        return candidate & (score >= value * top)
    order = torch.argsort(torch.where(candidate, score, -torch.inf), descending=True, stable=True)
    if strategy == "top_p":
        if value >= 1:
            return candidate
        weight = torch.where(candidate, score, 0.0)
        if softmax:
            weight = torch.softmax(torch.where(candidate, score, -torch.inf), dim=0)
        ranked = weight[order]
        before = ranked.cumsum(0) - ranked
        wanted = value if softmax else value * weight.sum() - slack
        take = (before < wanted) & (ranked > 0)
    else:
        size = int(value) if strategy == "top_k_abs" else math.floor(value * len(score) + _ROUNDING)
        take = torch.arange(len(score), device=score.device) < max(size, 1)
    kept = torch.zeros_like(candidate)
    kept[order] = take
    return kept & candidate


def uncertainty_filter(
    sampler: Sampler,
    groups: int,
    group_size: int,
    strategy: str = "top_k",
    value: float = 0.25,
    include_zero: bool = True,
    softmax: bool = False,
    pool: int | None = None,
) -> Sample:
    """Draws groups and keeps those whose returns vary most.

    Args:
        sampler: metered; dropped groups are charged too.
        groups: number of groups to keep with ``top_k``; the others keep what their rule says of so many.
        group_size: rollouts per group.
        strategy: one of :data:`STRATEGIES`.
        value: see :func:`selected`.
        include_zero: whether groups without spread may be kept.
        softmax: see :func:`selected`.
        pool: groups to draw (default: ``groups / value`` for ``top_k``, else ``groups``).

    Raises:
        CreditEnvsError: for an unknown strategy or a value out of range.
    """
    _check(strategy, value)
    check_range("groups", groups, 1, 1 << 40, integer=True)
    if pool is None:
        pool = math.ceil(groups / value - _ROUNDING) if strategy == "top_k" else groups
    drawn = sampler.groups(pool, group_size)
    score = uncertainty(drawn.trajectories)
    kept = torch.nonzero(selected(score, strategy, value, include_zero, softmax)).squeeze(1)
    return chosen(drawn, kept if len(kept) else score.argmax()[None])


def _check(strategy: str, value: float) -> None:
    if strategy not in STRATEGIES:
        raise CreditEnvsError(f"strategy={strategy!r}: expected one of {STRATEGIES}")
    if strategy == "top_k_abs":
        check_range("value", value, 1, 1 << 40, integer=True)
    else:
        check_range("value", value, 0, 1, open_low=True)
