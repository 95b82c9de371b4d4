"""PPO's clipped surrogate with one ratio per step: asymmetric and dual clip, four aggregations, a k3 term if asked for.

    ℓ_t = max(−Â_t ρ_t, −Â_t clip(ρ_t, 1 − ε_low, 1 + ε_high)),   where Â_t < 0 at most −c Â_t
    L   = aggregate(ℓ) + β · aggregate(k3(log π_ref − log π))

GRPO averages steps within a rollout first (``seq-mean-token-mean``), DAPO averages all steps of a batch (``token-mean``,
ε = 0.2 / 0.28, c = 10), Dr. GRPO divides by a constant length. The dual clip acts on negative credit alone: a step that has
become far likelier although it was bad would otherwise dominate the batch, and from ratio c on it pulls no more.

The reference of the k3 term is the behaviour policy unless log-probabilities are given. At π = π_ref the term has no
gradient, so it changes nothing on the first update of a batch. Sources: Schulman et al. 2017, arXiv 1707.06347; Ye et al.
2020, arXiv 1912.09729 (dual clip); Shao et al. 2024, arXiv 2402.03300, Eq. 3–4; Yu et al. 2025 (DAPO), arXiv 2503.14476;
Liu et al. 2025 (Dr. GRPO), arXiv 2503.20783; defaults of verl.
"""

from __future__ import annotations

import torch
from torch import Tensor

from credit_envs.errors import check_range
from credit_envs.losses.surrogate import aggregate, clipped, log_ratio
from credit_envs.sampling.divergence import k3
from credit_envs.sampling.trajectories import Trajectories


def ppo(
    log_prob: Tensor,
    batch: Trajectories,
    credit: Tensor,
    low: float = 0.2,
    high: float = 0.2,
    dual: float | None = 3.0,
    mode: str = "token-mean",
    length: int | None = None,
    beta: float = 0.0,
    reference: Tensor | None = None,
) -> Tensor:
    """Returns the loss, a float64 scalar.

    Args:
        log_prob: float64 ``[N, T]``, log-probabilities of the actions under the policy to be updated.
        batch: the rollouts.
        credit: float64 ``[N, T]``.
        low: ε_low, in [0, 1].
        high: ε_high, at least 0.
        dual: c, above 1; None for none.
        mode: see :func:`~credit_envs.losses.surrogate.aggregate`.
        length: likewise.
        beta: weight of the k3 term, at least 0.
        reference: float64 ``[N, T]``, log-probabilities under the reference policy (default: the behaviour policy).

    Raises:
        CreditEnvsError: if an option is out of range.
    """
    check_range("beta", beta, 0, float("inf"))
    step = clipped(log_ratio(log_prob, batch).exp(), credit, low, high, dual)
    loss = aggregate(step, batch.mask, mode, length)
    if beta == 0:
        return loss
    return loss + beta * kl_term(log_prob, batch, reference, mode, length)


def kl_term(
    log_prob: Tensor,
    batch: Trajectories,
    reference: Tensor | None = None,
    mode: str = "token-mean",
    length: int | None = None,
) -> Tensor:
    """Returns the aggregated k3 estimate of KL(π ‖ π_ref) on the batch's actions, a float64 scalar.

    Its expectation is the KL only where the actions come from π itself. Arguments as in :func:`ppo`.
    """
    other = batch.log_prob if reference is None else reference
    return aggregate(k3(torch.where(batch.mask, other - log_prob, 0.0)), batch.mask, mode, length)
