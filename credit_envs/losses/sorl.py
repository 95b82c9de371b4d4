"""SORL (SO-PPO, SO-GRPO): one ratio per turn, and smaller updates where clipping has cut much off.

    w_k = exp( mean_{t ∈ turn k} log ρ_t ),   L = −(1/N) Σ_i (1/|y_i|) Σ_t min(w Ā_k, clip(w, 1 ± ε) Ā_k)
    C   = ∇ (1/N) Σ_i (1/|y_i|) Σ_{t clipped} w Ā_k            the part of the gradient that clipping removes
    g   = ∇L / max(1, ‖C‖₂)

The ratio is a geometric mean, at most the arithmetic one. Ā_k is the turn's mean credit (SO-PPO averages its token GAE so;
SO-GRPO has one number per rollout). A step is clipped where its clipped branch is the smaller one, that is where it passes
no gradient. ‖C‖ is over all ``parameters`` together and is a constant for the gradient; one more backward pass. Only the
gradient of the result means something: its value is the loss divided by max(1, ‖C‖).

Reconstruction: notes agree on ‖C‖ and differ on its use; one divides (here), one subtracts α C. Source: Li et al. 2025,
arXiv 2511.20718.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from credit_envs.errors import check_range
from credit_envs.losses.gspo import mean_ratio
from credit_envs.losses.surrogate import aggregate, clipped, masked, unit_sizes, unit_sums, units
from credit_envs.sampling.trajectories import Trajectories


def sorl(
    log_prob: Tensor,
    batch: Trajectories,
    credit: Tensor,
    epsilon: float = 0.2,
    *,
    parameters: Iterable[Tensor],
) -> Tensor:
    """Returns the loss, a float64 scalar, its gradient normalised.

    Args:
        log_prob: float64 ``[N, T]``, log-probabilities of the actions under the policy to be updated.
        batch: the rollouts; ``turn`` says what shares a ratio.
        credit: float64 ``[N, T]``.
        epsilon: ε, in [0, 1].
        parameters: the tensors that ``log_prob`` depends on.

    Raises:
        CreditEnvsError: if ε is out of range.
    """
    check_range("epsilon", epsilon, 0, 1)
    turn = units(batch, "turn")
    mean = unit_sums(masked(credit, batch), turn) / unit_sizes(batch, turn)
    ratio = mean_ratio(log_prob, batch, "turn")
    loss = aggregate(clipped(ratio, mean, epsilon, epsilon), batch.mask, "seq-mean-token-mean")
    return loss / clipping_bias(ratio, batch, mean, epsilon, parameters).clamp(min=1)


def clipping_bias(
    ratio: Tensor, batch: Trajectories, credit: Tensor, epsilon: float, parameters: Iterable[Tensor]
) -> Tensor:
    """Returns ‖C‖₂, a float64 scalar without gradient; 0 where nothing is clipped.

    Args:
        ratio: ``[N, T]``, attached to the parameters.
        batch: the rollouts.
        credit: float64 ``[N, T]``.
        epsilon: ε.
        parameters: the tensors that ``ratio`` depends on.
    """
    removed = ((credit > 0) & (ratio > 1 + epsilon)) | ((credit < 0) & (ratio < 1 - epsilon))
    surrogate = aggregate(torch.where(removed, ratio * credit, 0.0), batch.mask, "seq-mean-token-mean")
    wanted = [p for p in parameters if p.requires_grad]
    if not wanted or not surrogate.requires_grad:
        return torch.zeros_like(surrogate)
    parts = torch.autograd.grad(surrogate, wanted, retain_graph=True, allow_unused=True)
    squares = [(part.to(torch.float64) ** 2).sum() for part in parts if part is not None]
    return torch.stack(squares).sum().sqrt() if squares else torch.zeros_like(surrogate)
