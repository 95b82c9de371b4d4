"""REINFORCE++: reward-to-go without a group, whitened over the whole batch; and its variant with the group's mean.

    REINFORCE++            Â_{i,t} = whiten_batch(G_{i,t}),   r_t ← r_t − β (log π − log π_ref)(a_t)
    … with baseline        Â_i     = whiten_batch(R_i − mean_group R), for every step of rollout i

The first compares steps of different contexts with one another: its baseline is the batch's mean, so what differs between
contexts stays in the credit (and in the gradient's variance, not in its mean, up to the shared scale). Statistics run over
steps, as in the released code, which weighs long rollouts more. The KL term needs the reference policy's log-probabilities;
without them it is absent, and on the first update, where π = π_ref, it is zero. Departure: the return passes through
masked steps (observation tokens); verl's code starts it anew there, which cuts multi-turn rollouts into turns.

Reconstruction: written from descriptions of the paper and from readings of verl's ``compute_reinforce_plus_plus_*``.
Source: Hu et al. 2025, arXiv 2501.03262.
"""

from __future__ import annotations

import torch
from torch import Tensor

from credit_envs.errors import check_range
from credit_envs.sampling.packing import Packing, earned
from credit_envs.sampling.statistics import centred, whitened
from credit_envs.sampling.trajectories import Trajectories


def reinforce_pp(
    batch: Trajectories, gamma: float = 1.0, beta: float = 0.0, reference: Tensor | None = None, whiten: bool = True
) -> Tensor:
    """Returns REINFORCE++'s credit, float64 ``[N, T]``.

    Args:
        batch: rollouts; groups are ignored.
        gamma: discount of the reward-to-go, in [0, 1].
        beta: weight of the KL term in the reward, at least 0.
        reference: float64 ``[N, T]``, the reference policy's log-probabilities of the actions (None: no KL term).
        whiten: to mean 0 and variance 1 over the steps of the batch.
    """
    check_range("gamma", gamma, 0, 1)
    packing = Packing(batch.mask)
    out = packing.unpack(earned(packing, _paid(batch, beta, reference), gamma))
    if whiten:
        out[batch.mask] = whitened(out[batch.mask])
    return out


def reinforce_pp_baseline(
    batch: Trajectories, beta: float = 0.0, reference: Tensor | None = None, whiten: bool = True
) -> Tensor:
    """Returns the credit of REINFORCE++ with the group's mean as baseline, float64 ``[N, T]``; see :func:`reinforce_pp`."""
    returns = batch.returns + (_paid(batch, beta, reference) - batch.reward).sum(dim=1)
    score = centred(returns, batch.group, batch.n_groups)
    out = score[:, None] * batch.mask
    if whiten:
        out[batch.mask] = whitened(out[batch.mask])
    return out


def _paid(batch: Trajectories, beta: float, reference: Tensor | None) -> Tensor:
    check_range("beta", beta, 0, 1e12)
    if reference is None or beta == 0:
        return batch.reward
    return batch.reward - beta * torch.where(batch.mask, batch.log_prob - reference, 0.0)
