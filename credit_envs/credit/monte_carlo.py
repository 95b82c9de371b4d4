"""Monte-Carlo step values: fresh continuations from inside every trajectory.

    VinePPO   Â_t = r_t + γ V̂(s_{t+1}) − V̂(s_t),   V̂(s) = mean of K fresh continuations,  V̂(terminal) = 0

E[Â_t | s_t, a_t] = A^π for any K. Source: Kazemnejad et al. 2024, arXiv 2410.01679, §4 (K = 9, γ = 1). Its released code
fills missing values backwards and never estimates the last state's successor, which is terminal: same numbers here.

As told elsewhere under the name AgentPRM, kept to be measured: V̂(s_t) − mean_t V̂, the K-rollout value minus its mean over
the trajectory. It credits a step with how good its state is, not with what the step changed.
"""

from __future__ import annotations

import torch
from torch import Tensor

from credit_envs.piece import Continuations
from credit_envs.sampling.trajectories import Trajectories


def step_values(batch: Trajectories, continuations: Continuations, k: int, gamma: float) -> Tensor:
    """Estimates the value of every visited state by k continuations, float64 ``[N, T]`` (0 where masked)."""
    rollout, step = torch.nonzero(batch.mask, as_tuple=True)
    out = torch.zeros_like(batch.reward)
    out[rollout, step] = continuations(rollout, step, k, gamma).mean(dim=1)
    return out


def vineppo(batch: Trajectories, *, continuations: Continuations, k: int = 9, gamma: float = 1.0) -> Tensor:
    """Returns VinePPO's credit, float64 ``[N, T]``.

    Args:
        batch: rollouts.
        continuations: see :class:`~credit_envs.piece.Continuations`.
        k: continuations per state.
        gamma: discount.
    """
    value = step_values(batch, continuations, k, gamma)
    following = torch.zeros_like(value)
    following[:, :-1] = value[:, 1:]
    return torch.where(batch.mask, batch.reward + gamma * following - value, 0.0)


def value_minus_trajectory_mean(
    batch: Trajectories, *, continuations: Continuations, k: int = 9, gamma: float = 1.0
) -> Tensor:
    """Returns the as-told variant V̂(s_t) − mean_t V̂(s_t), float64 ``[N, T]``; not an advantage (algorithm errata)."""
    value = step_values(batch, continuations, k, gamma)
    mean = value.sum(dim=1) / batch.lengths.clamp(min=1)
    return torch.where(batch.mask, value - mean[:, None], 0.0)


def return_minus_value(batch: Trajectories, *, continuations: Continuations, k: int = 9, gamma: float = 1.0) -> Tensor:
    """Returns G_t − V̂(s_t), float64 ``[N, T]``: the rollout's own return against K continuations of its state.

    Unbiased like VinePPO, with the whole rest of the rollout as noise instead of one more set of continuations.
    """
    from credit_envs.sampling.statistics import returns_to_go

    value = step_values(batch, continuations, k, gamma)
    return torch.where(batch.mask, returns_to_go(batch.reward, batch.mask, gamma) - value, 0.0)
