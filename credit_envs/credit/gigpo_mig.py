"""GiGPO where states are met again, information gain where they are not.

    Â = A^E + ω · (A^S at anchors with at least two members in the group, else z(g) of the step's turn)

with A^S of :mod:`credit_envs.credit.gigpo` and z(g) of :func:`credit_envs.credit.mig.gain_score`, gains by the watermark on
levels, each left with its turn: not the MIG paper's estimator. All three terms are z-scores by default, so that they have
one unit. A rule of ours for the pair [R].
"""

from __future__ import annotations

import torch
from torch import Tensor

from credit_envs.credit.gigpo import gigpo_on
from credit_envs.credit.mig import gain_score
from credit_envs.piece import Labels
from credit_envs.sampling.anchors import scoped
from credit_envs.sampling.statistics import group_count
from credit_envs.sampling.trajectories import Trajectories


def gigpo_mig(
    batch: Trajectories,
    *,
    labels: Labels,
    gamma: float = 0.95,
    omega: float = 1.0,
    level: str = "turn",
    norm_by_std: bool = True,
) -> Tensor:
    """Returns the credit of both, float64 ``[N, T]``.

    Args:
        batch: rollouts in groups.
        labels: what the environment verifies.
        gamma: discount of GiGPO's step returns, in [0, 1].
        omega: weight of the step's term.
        level: what gains in one: ``step``, ``turn`` or ``segment``.
        norm_by_std: divide GiGPO's terms by their deviations.
    """
    mask = batch.mask
    ids, n = scoped(batch, batch.anchor)
    lone = torch.zeros_like(mask)
    lone[mask] = group_count(ids, n)[ids] < 2
    met = gigpo_on(batch, batch.anchor, gamma, omega, norm_by_std)
    return met + omega * torch.where(lone, gain_score(batch, labels, level=level), 0.0)
