"""SAPO: a sigmoid gate on every ratio in the place of the clip.

    L = −(1/N) Σ_i (1/|y_i|) Σ_t g(ρ_t) Â_t,    g(ρ) = (4/τ) σ(τ (ρ − 1)),    τ = τ_pos where Â_t > 0, else τ_neg

g has slope 1 at ρ = 1, so the on-policy gradient is the policy gradient, and its slope fades on both sides instead of
breaking off. Its value at 1 is 2/τ, not 1; only gradients mean something. Source: Gao et al. 2025, arXiv 2511.20347,
Eq. 5–6, 10–12; τ = 1.0 and 1.05 as there.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from credit_envs.errors import check_range
from credit_envs.losses.surrogate import aggregate, log_ratio
from credit_envs.sampling.trajectories import Trajectories


def sapo(
    log_prob: Tensor, batch: Trajectories, credit: Tensor, positive: float = 1.0, negative: float = 1.05
) -> Tensor:
    """Returns the loss, a float64 scalar.

    Args:
        log_prob: float64 ``[N, T]``, log-probabilities of the actions under the policy to be updated.
        batch: the rollouts.
        credit: float64 ``[N, T]``.
        positive: τ where credit is positive, above 0.
        negative: τ elsewhere, above 0.

    Raises:
        CreditEnvsError: if a τ is out of range.
    """
    gate = log_sigmoid_gate(log_ratio(log_prob, batch), credit, positive, negative).exp()
    return aggregate(-gate * credit, batch.mask, "seq-mean-token-mean")


def log_sigmoid_gate(log_rho: Tensor, credit: Tensor, positive: float, negative: float) -> Tensor:
    """Returns log g(ρ) at log ρ ``[N, T]``; the sign of the credit (broadcast) selects τ."""
    check_range("positive", positive, 0, float("inf"), open_low=True)
    check_range("negative", negative, 0, float("inf"), open_low=True)
    tau = torch.full_like(credit, negative).masked_fill(credit > 0, positive)
    return logsigmoid(tau * (log_rho.exp() - 1)) + (4 / tau).log()
