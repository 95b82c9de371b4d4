"""LOOP: the leave-one-out advantage over whole rollouts; what is nearly zero is dropped.

    Â_i = K/(K−1) · (R_i − mean(R)) = R_i − mean_{j≠i}(R_j),      0 where |Â_i| < 0.01

A constant for the whole rollout, without discount, λ or critic; LOOP's importance ratios, per token, turn or trajectory,
are losses. ``rw_norm`` divides by the group's deviation (the paper's RwNorm, which did worse): K/(K−1) times GRPO's credit.
Dropped rollouts get zero here and still count in the mean of a loss; the released code takes them out of the batch.
[R] What is dropped is judged before RwNorm. Source: Chen et al. 2025, arXiv 2502.01600, §3; released code apple/ml-loop.

As told elsewhere: the realised discounted return as its own baseline, with GAE on top. Then every δ_t is zero and all
advantages vanish, so this cannot be what is meant; it is kept to show that.
"""

from __future__ import annotations

import torch
from torch import Tensor

from credit_envs.credit.gae import gae
from credit_envs.credit.grpo import grpo
from credit_envs.credit.grpo import rloo as leave_one_out
from credit_envs.errors import check_range
from credit_envs.sampling.statistics import group_count
from credit_envs.sampling.trajectories import Trajectories

_ROUNDING = 1e-12


def loop(batch: Trajectories, rw_norm: bool = False, threshold: float = 0.01) -> Tensor:
    """Returns LOOP's credit, float64 ``[N, T]``; zero for groups of one.

    Args:
        batch: rollouts in groups of K.
        rw_norm: divide by the group's deviation.
        threshold: smallest leave-one-out advantage that is kept, in units of the return.
    """
    check_range("threshold", threshold, 0, 1e12)
    plain = leave_one_out(batch)
    out = plain
    if rw_norm:
        n = group_count(batch.group, batch.n_groups)[batch.group]
        out = (n / (n - 1).clamp(min=1))[:, None] * grpo(batch)
    return torch.where(plain.abs() < threshold, 0.0, out)


def loop_as_told(batch: Trajectories, gamma: float = 0.95, lam: float = 0.95) -> Tensor:
    """Returns the as-told variant, float64 ``[N, T]``: GAE over V̂_t = Σ_k γ^k r_{t+k}, which is zero everywhere."""
    to_go = gae(batch.reward, torch.zeros_like(batch.reward), batch.mask, gamma, 1.0)
    out = gae(batch.reward, to_go, batch.mask, gamma, lam)
    return torch.where(out.abs() <= _ROUNDING * to_go.abs().max(), 0.0, out)
