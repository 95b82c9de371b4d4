"""PPO's generalised advantage estimation (GAE), with an exact, a learned or a corrupted critic.

    δ_t = r_t + γ V̂_{t+1} − V̂_t          V̂ = 0 after the last step
    Â_t = δ_t + γλ Â_{t+1}                 value targets Â_t + V̂_t

Masked steps (observation tokens) are skipped: the next value and the next advantage are those of the next step that was
taken, so inserting them changes nothing. λ = 1 gives G_t − V̂_t, whose expectation is Q − V̂ (off by V − V̂ as a credit,
unbiased as a gradient); λ = 0 gives the one-step error of an actor–critic, unbiased only for V̂ = V. Whitening over the
batch, which released code always does, is a flag here and off by default, because estimators are compared before it.
Sources: Schulman et al. 2016, arXiv 1506.02438, Eq. 16; verl ``core_algos.compute_gae_advantage_return``.
"""

from __future__ import annotations

import torch
from torch import Tensor

from credit_envs.credit.critics import corrupted, learned
from credit_envs.errors import check_range
from credit_envs.piece import Fresh, Noise
from credit_envs.sampling.packing import Packing, following
from credit_envs.sampling.statistics import returns_to_go, whitened
from credit_envs.sampling.trajectories import Trajectories


def gae(
    reward: Tensor, value: Tensor, mask: Tensor, gamma: float = 1.0, lam: float = 0.95, whiten: bool = False
) -> Tensor:
    """Returns generalised advantages, float64 ``[N, T]``, 0 where masked.

    Args:
        reward: float64 ``[N, T]``; what stands at masked steps is ignored.
        value: float64 ``[N, T]``, V̂ of each step; likewise.
        mask: bool ``[N, T]``, with gaps or without.
        gamma: discount in [0, 1].
        lam: λ in [0, 1].
        whiten: to mean 0 and variance 1 over the steps of the batch.
    """
    check_range("gamma", gamma, 0, 1)
    check_range("lam", lam, 0, 1)
    packing = Packing(mask)
    reward, value = packing.pack(reward), packing.pack(value)
    error = reward + gamma * following(value) - value
    out = packing.unpack(returns_to_go(error, packing.mask, gamma * lam))
    if whiten:
        out[mask] = whitened(out[mask])
    return out


def value_targets(reward: Tensor, value: Tensor, mask: Tensor, gamma: float = 1.0, lam: float = 0.95) -> Tensor:
    """Returns what the critic is fitted to, Â + V̂ before whitening, float64 ``[N, T]``; arguments as :func:`gae`."""
    return torch.where(mask, gae(reward, value, mask, gamma, lam) + value, 0.0)


def ppo_exact(
    batch: Trajectories, *, value: Tensor, gamma: float = 1.0, lam: float = 0.95, whiten: bool = False
) -> Tensor:
    """Returns GAE with the exact values as critic, float64 ``[N, T]``; E[Â | s, a] = A for every λ if γ is the table's."""
    return gae(batch.reward, value, batch.mask, gamma, lam, whiten)


def ppo_learned(
    batch: Trajectories,
    *,
    fresh: Fresh,
    gamma: float = 1.0,
    lam: float = 0.95,
    whiten: bool = False,
    fit: str = "mc",
    time: bool = False,
) -> Tensor:
    """Returns GAE with a critic learned on fresh groups, float64 ``[N, T]``.

    Args:
        batch: rollouts.
        fresh: training data of the critic, as many groups as the batch has.
        gamma: discount in [0, 1].
        lam: λ in [0, 1].
        whiten: see :func:`gae`.
        fit: ``mc`` (mean returns) or ``td`` (LSTD), see :mod:`credit_envs.credit.critics`.
        time: whether the critic sees the step.
    """
    check_range("gamma", gamma, 0, 1)
    return gae(batch.reward, learned(batch, fresh, gamma, fit, time), batch.mask, gamma, lam, whiten)


def ppo_corrupted(
    batch: Trajectories,
    *,
    value: Tensor,
    noise: Noise,
    gamma: float = 1.0,
    lam: float = 0.95,
    whiten: bool = False,
    size: float = 1.0,
) -> Tensor:
    """Returns GAE with the exact values plus an error as critic, float64 ``[N, T]``.

    Args:
        batch: rollouts.
        value: exact values.
        noise: luck of the error.
        gamma: discount in [0, 1].
        lam: λ in [0, 1].
        whiten: see :func:`gae`.
        size: see :func:`credit_envs.credit.critics.corrupted`.
    """
    return gae(batch.reward, corrupted(batch, value, noise, size), batch.mask, gamma, lam, whiten)
