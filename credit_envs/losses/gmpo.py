"""GMPO: the geometric mean of step ratios, each clipped in its logarithm towards the pessimistic side.

    L = −(1/N) Σ_i Ā_i exp( (1/|y_i|) Σ_t min over {log ρ_t, clamp(log ρ_t, −ε_l, ε_h)} in the direction of sign Â_t )

A step with positive credit is held below ε_h, one with negative credit above −ε_l; a step without credit counts as ratio 1.
Ā_i is the rollout's mean credit, which is the credit itself where a rollout has one number; step credit is averaged away.
The wide default e^{±0.4} is the paper's. Source: Zhao et al. 2025, arXiv 2507.20673; verl ``geo_mean``.
"""

from __future__ import annotations

import torch
from torch import Tensor

from credit_envs.errors import check_range
from credit_envs.losses.surrogate import aggregate, log_ratio, masked, unit_sizes, unit_sums, units
from credit_envs.sampling.trajectories import Trajectories


def gmpo(log_prob: Tensor, batch: Trajectories, credit: Tensor, low: float = 0.4, high: float = 0.4) -> Tensor:
    """Returns the loss, a float64 scalar.

    Args:
        log_prob: float64 ``[N, T]``, log-probabilities of the actions under the policy to be updated.
        batch: the rollouts.
        credit: float64 ``[N, T]``.
        low: ε_l, bound on −log ρ, at least 0.
        high: ε_h, bound on log ρ, at least 0.

    Raises:
        CreditEnvsError: if a bound is out of range.
    """
    check_range("low", low, 0, float("inf"))
    check_range("high", high, 0, float("inf"))
    credit = masked(credit, batch)
    raw, sign = log_ratio(log_prob, batch), credit.sign()
    held = sign * torch.minimum(sign * raw, sign * raw.clamp(-low, high))
    unit = units(batch, "trajectory")
    mean = unit_sums(held, unit) / unit_sizes(batch, unit)
    return aggregate(-mean.exp() * credit, batch.mask, "seq-mean-token-mean")
