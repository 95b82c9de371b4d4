"""REINFORCE: the plain policy gradient, without importance ratios, clipping or length normalisation.

    L = −(1/N) Σ_i Σ_t Â_{i,t} log π(a_t|o_t)

The gradient that credit is scored by when no loss is named. Source: Williams 1992.
"""

from __future__ import annotations

import torch
from torch import Tensor

from credit_envs.sampling.trajectories import Trajectories


def reinforce(log_prob: Tensor, batch: Trajectories, credit: Tensor) -> Tensor:
    """Returns the loss, a float64 scalar.

    Args:
        log_prob: float64 ``[N, T]``, log-probabilities of the actions under the policy to be updated.
        batch: the rollouts.
        credit: float64 ``[N, T]``.
    """
    return -(torch.where(batch.mask, log_prob, 0.0) * torch.where(batch.mask, credit, 0.0)).sum() / batch.n_rollouts
