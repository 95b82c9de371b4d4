"""VPPO: update the steps whose action depends on the image, and trust rollouts that looked at it a little more.

    S_t  = min(k3(log π(a_t|text) − log π(a_t|text, image)), 10)            visual dependence of a step
    mask = 1 on the ⌈k n_i⌉ steps of rollout i with the largest S, else 0   (token gradient filtering, k = 0.4)
    n_i  = (S̄_i − min_j S̄_j)/(max_j S̄_j − min_j S̄_j),   S̄_i = mean_t S_t
    α_i  = β + n_i (1 − β)/(mean_j n_j + 10⁻⁸),   β = 0.9                   (trajectory advantage shaping)

The mask multiplies credit, so a loss that averages over steps still counts all of them, as the paper's does. α has mean
1 over the batch; it is 1 where all S̄ are equal or there is one rollout. The paper defines S as the exact KL
divergence; its code, and the default here, estimate it from the action that was taken. ``dependence`` takes exact
numbers instead, those of :func:`exact_dependence`, which has other divergences too (the paper's appendix G:
Jensen–Shannon a little worse). The image is masked by blackening half of its patches (appendix F); a network's own pass
without it has that, all black and Gaussian noise, :meth:`credit_envs.policies.network.Network.blind_log_prob`. k = 0.4
is what the launch scripts set (the configuration's 0.2 is unused). min, max and mean run over the whole batch, where
the code takes a device's mini-batch and micro-batch. S depends on observation and action alone, so rollouts of a tree
agree on their shared steps; the mask doesn't, since each row ranks its own steps.

``vppo_as_told`` is the form that circulates: credit times raw S̄_i, the top 20 %, normalised by the masked steps only.

Source: Huang et al. 2025, arXiv 2510.09285; released code ``verl/workers/actor/dp_actor.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from credit_envs.errors import CreditEnvsError, check_range, unknown
from credit_envs.sampling.divergence import k3, kl
from credit_envs.sampling.trajectories import Trajectories
from credit_envs.weights.selection import row_mean, top

_CEILING = 10.0
_FLAT = 1e-6


def _jensen_shannon(p: Tensor, q: Tensor) -> Tensor:
    middle = (p + q) / 2
    return (kl(p, middle) + kl(q, middle)) / 2


MEASURES: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "kl": kl,
    "reverse_kl": lambda p, q: kl(q, p),
    "jensen_shannon": _jensen_shannon,
    "total_variation": lambda p, q: (p - q).abs().sum(dim=-1) / 2,
}
"""How far p, with the image, lies from q, without: float64 ``[..., A]`` twice to ``[...]``; the first three in nats."""


def sampled_dependence(batch: Trajectories, blind_log_prob: Tensor) -> Tensor:
    """Returns S from the actions that were taken, float64 ``[N, T]`` in [0, 10], 0 where masked."""
    d = torch.where(batch.mask, blind_log_prob - batch.log_prob, 0.0)
    return k3(d).clamp(0, _CEILING)


def exact_dependence(batch: Trajectories, blind: Tensor, measure: str = "kl") -> Tensor:
    """Returns S as a divergence of all of π(·|text, image) from π(·|text), float64 ``[N, T]``, 0 where masked.

    Args:
        batch: the rollouts.
        blind: float64 ``[N, T, A]``, probabilities with the image masked, in the columns of ``batch.policy_table``.
        measure: one of :data:`MEASURES`: ``kl``, KL(π(·|text, image) ‖ π(·|text)), is the paper's.

    Raises:
        CreditEnvsError: if the shape doesn't fit, or the measure is unknown.
    """
    if measure not in MEASURES:
        raise unknown("measure", measure, MEASURES)
    wanted = (*batch.mask.shape, batch.policy_table.shape[1])
    if tuple(blind.shape) != wanted:
        raise CreditEnvsError(f"blind: expected shape {wanted}, got {tuple(blind.shape)}")
    return torch.where(batch.mask, MEASURES[measure](batch.policy_table[batch.policy_row], blind), 0.0)


def vppo_mask(
    batch: Trajectories,
    share: float = 0.4,
    dependence: Tensor | None = None,
    ties: bool = False,
    *,
    blind_log_prob: Tensor,
) -> Tensor:
    """Returns 1 on the steps of each rollout that depend most on the image, 0 elsewhere, float64 ``[N, T]``.

    Args:
        batch: the rollouts.
        share: k, in [0, 1].
        dependence: float64 ``[N, T]``, S (default: the sampled estimate).
        ties: keep every step that depends as much as the last one kept; otherwise earlier ones go first.
        blind_log_prob: float64 ``[N, T]``, log-probabilities of the actions with the image masked.

    Raises:
        CreditEnvsError: if the share is out of range.
    """
    return top(_dependence(batch, dependence, blind_log_prob), batch.mask, share, ties=ties).to(torch.float64)


def vppo_shaping(
    batch: Trajectories, low: float = 0.9, dependence: Tensor | None = None, *, blind_log_prob: Tensor
) -> Tensor:
    """Returns α, one factor per rollout with mean 1, float64 ``[N, T]``.

    Args:
        batch: the rollouts.
        low: β, the smallest factor, in [0, 1]; 1 leaves all alone.
        dependence: float64 ``[N, T]``, S (default: the sampled estimate).
        blind_log_prob: float64 ``[N, T]``, log-probabilities of the actions with the image masked.

    Raises:
        CreditEnvsError: if β is out of range.
    """
    check_range("low", low, 0, 1)
    mean = row_mean(_dependence(batch, dependence, blind_log_prob), batch.mask)
    there = batch.mask.any(dim=1)
    least = torch.where(there, mean, torch.inf).amin()
    spread = torch.where(there, mean, -torch.inf).amax() - least
    n = torch.where(there, (mean - least) / spread.clamp(min=_FLAT), 0.0)
    factor = low + n * (1 - low) / (n.sum() / there.sum().clamp(min=1) + 1e-8)
    return torch.where(there & (spread > _FLAT), factor, 1.0)[:, None].expand(batch.mask.shape)


def vppo(
    batch: Trajectories,
    share: float = 0.4,
    low: float = 0.9,
    dependence: Tensor | None = None,
    ties: bool = False,
    *,
    blind_log_prob: Tensor,
) -> Tensor:
    """Returns mask times α, float64 ``[N, T]``; arguments as in :func:`vppo_mask` and :func:`vppo_shaping`."""
    kept = vppo_mask(batch, share, dependence, ties, blind_log_prob=blind_log_prob)
    return kept * vppo_shaping(batch, low, dependence, blind_log_prob=blind_log_prob)


def vppo_as_told(
    batch: Trajectories,
    share: float = 0.2,
    raw: bool = True,
    masked_mean: bool = True,
    dependence: Tensor | None = None,
    *,
    blind_log_prob: Tensor,
) -> Tensor:
    """Returns the mask as it is often described, float64 ``[N, T]``.

    Args:
        batch: the rollouts.
        share: k, in [0, 1].
        raw: times S̄_i itself instead of α_i.
        masked_mean: times (all steps)/(masked-in steps), which turns a mean over all steps into one over the mask.
        dependence: float64 ``[N, T]``, S (default: the sampled estimate).
        blind_log_prob: float64 ``[N, T]``, log-probabilities of the actions with the image masked.

    Raises:
        CreditEnvsError: if the share is out of range.
    """
    score = _dependence(batch, dependence, blind_log_prob)
    kept = top(score, batch.mask, share).to(torch.float64)
    weight = kept * row_mean(score, batch.mask)[:, None] if raw else kept
    return weight * (batch.mask.sum() / kept.sum().clamp(min=1)) if masked_mean else weight


def _dependence(batch: Trajectories, given: Tensor | None, blind_log_prob: Tensor) -> Tensor:
    return sampled_dependence(batch, blind_log_prob) if given is None else given
