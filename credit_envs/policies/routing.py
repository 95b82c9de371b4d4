"""What keeps a router of experts in shape: diversity, balance, few switches; and its temperature.

    L_div    = λ_d · mean over pairs k < l of  max(0, m − mean_t KL(π_k‖π_l)) · mean_t p_{t,k} p_{t,l}
    L_bal    = λ_b · mean_k (mean_t p_{t,k} − 1/K)²
    L_switch = λ_s · mean over rollouts of  1/(T−1) Σ_t (1 − Σ_k p_{t,k} p_{t+1,k})

L_switch is the soft surrogate of the share of steps at which argmax_k p changes. It is 0 for a router that always gives one
expert probability 1; a constant but undecided router still pays 1 − Σ p², so it also makes routing confident. L_div lets
experts that are active together differ by at least m nats. L_div and L_bal are those of the released code (m = 0.3,
λ_d = 0.1, λ_b = 0.01), except that L_div averages over all pairs instead of the violating ones, which would jump whenever
a pair leaves; L_switch is in the paper and not in the released code. All are means over the taken steps. Source: Yang et al.
2026 (PA-MoE), arXiv 2602.17038; released code YsTvT/PA-MoE, ``src/moe``.
"""

from __future__ import annotations

import torch
from torch import Tensor

from credit_envs.errors import check_range


def diversity(log_prob: Tensor, routed: Tensor, mask: Tensor, weight: float = 0.1, margin: float = 0.3) -> Tensor:
    """Returns L_div, a scalar; 0 with one expert.

    Args:
        log_prob: ``[N, T, K, A]``, every expert's log-probabilities; −inf where an action isn't admissible.
        routed: ``[N, T, K]``, probabilities p of the experts.
        mask: bool ``[N, T]``, steps that were taken.
        weight: λ_d, at least 0.
        margin: m in nats, at least 0.

    Raises:
        CreditEnvsError: if an option is out of range.
    """
    check_range("weight", weight, 0, float("inf"))
    check_range("margin", margin, 0, float("inf"))
    experts = routed.shape[-1]
    if experts < 2:
        return routed.sum() * 0
    some = log_prob.exp()
    finite = torch.where(some > 0, log_prob, 0.0)
    # KL(π_k‖π_l) = Σ_a π_k log π_k − Σ_a π_k log π_l, for all pairs at once.
    apart = (some * finite).sum(-1)[..., :, None] - some @ finite.transpose(-1, -2)
    divergence = _step_mean(apart, mask)
    together = _step_mean(routed[..., :, None] * routed[..., None, :], mask)
    pairs = torch.ones(experts, experts, dtype=torch.bool, device=mask.device).triu(1)
    return weight * ((margin - divergence).clamp(min=0) * together)[pairs].mean()


def balance(routed: Tensor, mask: Tensor, weight: float = 0.01) -> Tensor:
    """Returns L_bal, a scalar; 0 where all experts are used alike on average.

    Args:
        routed: ``[N, T, K]``, probabilities of the experts.
        mask: bool ``[N, T]``, steps that were taken.
        weight: λ_b, at least 0.

    Raises:
        CreditEnvsError: if the weight is out of range.
    """
    check_range("weight", weight, 0, float("inf"))
    return weight * ((_step_mean(routed, mask) - 1 / routed.shape[-1]) ** 2).mean()


def switching(routed: Tensor, mask: Tensor, weight: float = 0.05) -> Tensor:
    """Returns L_switch, a scalar; rollouts of one step count as 0.

    Args:
        routed: ``[N, T, K]``, probabilities of the experts.
        mask: bool ``[N, T]``, steps that were taken.
        weight: λ_s, at least 0.

    Raises:
        CreditEnvsError: if the weight is out of range.
    """
    check_range("weight", weight, 0, float("inf"))
    both = mask[:, 1:] & mask[:, :-1]
    change = 1 - (routed[:, 1:] * routed[:, :-1]).sum(-1)
    row = torch.where(both, change, 0.0).sum(1) / both.sum(1).clamp(min=1)
    return weight * row.sum() / mask.any(dim=1).sum().clamp(min=1)


def switches(routed: Tensor, mask: Tensor) -> Tensor:
    """Counts how often the chosen expert (argmax) changes along each rollout, int64 ``[N]``."""
    expert = routed.argmax(-1)
    return ((expert[:, 1:] != expert[:, :-1]) & mask[:, 1:] & mask[:, :-1]).sum(1)


def temperature(update: int, start: float = 2.0, end: float = 0.5, updates: int = 3000) -> float:
    """Returns the router's temperature τ, falling linearly from start to end over so many updates (the shape is ours).

    Args:
        update: number of the update, from 0.
        start: τ at the first one, above 0.
        end: τ from the last one on, above 0.
        updates: how many it takes, at least 1.

    Raises:
        CreditEnvsError: if an argument is out of range.
    """
    check_range("update", update, 0, float("inf"))
    check_range("start", start, 0, float("inf"), open_low=True)
    check_range("end", end, 0, float("inf"), open_low=True)
    check_range("updates", updates, 1, 1 << 40, integer=True)
    return start + (end - start) * min(1.0, update / updates)


def _step_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Averages ``[N, T, ...]`` over the taken steps."""
    wide = mask.view(*mask.shape, *[1] * (values.ndim - 2))
    return torch.where(wide, values, 0.0).sum((0, 1)) / mask.sum().clamp(min=1)
