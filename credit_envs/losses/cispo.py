"""CISPO: the clipped ratio is a constant weight, so every step keeps a gradient, however far its ratio has moved.

    L = −aggregate( sg(clip(ρ_t, 1 − ε_l, 1 + ε_h)) Â_t log π(a_t|o_t) )

Averaged over all steps of the batch. The paper leaves the lower bound open (``low=1`` does that) and doesn't print the
upper one; 0.2 on both sides is verl's setting. Source: MiniMax 2025, arXiv 2506.13585, Eq. 4–5.
"""

from __future__ import annotations

import torch
from torch import Tensor

from credit_envs.errors import check_range
from credit_envs.losses.surrogate import aggregate, log_ratio
from credit_envs.sampling.trajectories import Trajectories


def cispo(
    log_prob: Tensor,
    batch: Trajectories,
    credit: Tensor,
    low: float = 0.2,
    high: float = 0.2,
    mode: str = "token-mean",
) -> Tensor:
    """Returns the loss, a float64 scalar.

    Args:
        log_prob: float64 ``[N, T]``, log-probabilities of the actions under the policy to be updated.
        batch: the rollouts.
        credit: float64 ``[N, T]``.
        low: ε_l, in [0, 1].
        high: ε_h, at least 0.
        mode: see :func:`~credit_envs.losses.surrogate.aggregate`.

    Raises:
        CreditEnvsError: if an option is out of range.
    """
    check_range("low", low, 0, 1)
    check_range("high", high, 0, float("inf"))
    weight = log_ratio(log_prob, batch).exp().clamp(1 - low, 1 + high).detach()
    return aggregate(-weight * credit * torch.where(batch.mask, log_prob, 0.0), batch.mask, mode)
