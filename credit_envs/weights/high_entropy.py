"""High-entropy steps: credit where the policy was undecided, the usual contrast to looking at the image.

    W_t = 1 where H(π(·|o_t)) is among the top 20 % of the batch's steps, else 0

A step counts if its entropy reaches the batch's threshold, so equal entropies stay together (under a uniform policy all
steps with equally many actions do). ``scope="rollout"`` ranks within each rollout, as VPPO's control does. Times
``vppo_mask`` it is the intersection of both. Source: Wang et al. 2025, arXiv 2506.01939.
"""

from __future__ import annotations

import torch
from torch import Tensor

from credit_envs.sampling.divergence import entropy
from credit_envs.sampling.trajectories import Trajectories
from credit_envs.weights.selection import top


def high_entropy(batch: Trajectories, share: float = 0.2, scope: str = "batch") -> Tensor:
    """Returns the mask, float64 ``[N, T]``.

    Args:
        batch: the rollouts.
        share: share of steps to keep, in [0, 1]; ties with the last of them are kept too.
        scope: ``batch`` or ``rollout``.

    Raises:
        CreditEnvsError: if the share is out of range or the scope unknown.
    """
    undecided = entropy(batch.policy_table)[batch.policy_row]
    return top(undecided, batch.mask, share, scope, ties=True).to(torch.float64)
