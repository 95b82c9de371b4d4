"""iStar: the group advantage of the outcome plus the group advantage of step rewards.

    Â_{i,t} = A^E_i + α A^S_{i,t}
    A^E_i     = norm of R_i among the rollouts of the group
    A^S_{i,t} = norm of r_{i,t} among all steps of the group,   r = ``step_reward``

with norm the z-score (``z``, deviation with ddof = 1) or leave-one-out, n/(n − 1) (x − mean) (``rloo``, the released default).
The step rewards are whatever a reward model has put beside the reward; where none has, iStar's own implicit ones are
trained here (:mod:`credit_envs.rewards.implicit`). α = 0, or rewards that are all equal, leave GRPO or RLOO.

Released-code quirk as a flag: ``first_rows`` takes mean and deviation of step rewards over the first step of each rollout
only, n then counts rollouts. Source: Liu et al. 2025, arXiv 2509.19199; released code Tongyi-ConvAI/Qwen-Character.
"""

from __future__ import annotations

import torch
from torch import Tensor

from credit_envs.credit.grpo import grpo, rloo
from credit_envs.errors import CreditEnvsError, check_range
from credit_envs.rewards.implicit import implicit
from credit_envs.sampling.statistics import centred, group_count, group_sum
from credit_envs.sampling.trajectories import Trajectories

NORMS = ("z", "rloo")
"""How outcomes and step rewards are made comparable within a group."""


def istar(
    batch: Trajectories, alpha: float = 1.0, norm: str = "z", first_rows: bool = False, epsilon: float = 1e-6
) -> Tensor:
    """Returns iStar's credit, float64 ``[N, T]``.

    Args:
        batch: rollouts in groups, with or without step rewards.
        alpha: weight of the step advantage, at least 0.
        norm: ``z`` or ``rloo``.
        first_rows: released-code quirk: statistics of step rewards over the first step of each rollout.
        epsilon: added to deviations.

    Raises:
        CreditEnvsError: for an option out of range.
    """
    check_range("alpha", alpha, 0, float("inf"))
    if norm not in NORMS:
        raise CreditEnvsError(f"norm={norm!r}: expected one of {', '.join(NORMS)}")
    episode = grpo(batch, epsilon=epsilon) if norm == "z" else rloo(batch)
    if alpha == 0:
        return episode
    reward = (batch if batch.step_reward is not None else implicit(batch)).step_reward
    assert reward is not None
    mask = batch.mask
    owner = batch.group[:, None].expand_as(mask)
    over = mask & (mask.cumsum(dim=1) == 1) if first_rows else mask
    out = torch.zeros_like(reward)
    out[mask] = _normed(reward[mask], owner[mask], reward[over], owner[over], batch.n_groups, norm, epsilon)
    return episode + alpha * out


def _normed(x: Tensor, ids: Tensor, base: Tensor, base_ids: Tensor, n: int, norm: str, epsilon: float) -> Tensor:
    """Centres and scales x ``[M]`` by the statistics of base ``[B]`` in the same group."""
    count = group_count(base_ids, n)
    if base.shape == x.shape:
        out = centred(x, ids, n, norm_by_std=norm == "z", epsilon=epsilon)
    else:
        mean = group_sum(base, base_ids, n) / count.clamp(min=1)
        out = x - mean[ids]
        if norm == "z":
            variance = group_sum((base - mean[base_ids]) ** 2, base_ids, n) / (count - 1).clamp(min=1)
            out = out / (variance.sqrt() + epsilon)[ids]
    return out if norm == "z" else out * (count / (count - 1).clamp(min=1))[ids]
