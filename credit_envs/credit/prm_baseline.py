"""A process reward model in place of VinePPO's continuations, and its own advantage.

    prm_baseline    Â_t = r_t + γ V̂(s_{t+1}) − V̂(s_t),  V̂(s) = Σ_a π(a|s) Q_φ(s, a),  V̂(terminal) = 0
    prm_advantage   Â_t = Q_φ(s_t, a_t) − V̂(s_t)

Q_φ is a table fitted on fresh rollouts by AgentPRM's overlap of keys. Its targets are discounted returns to go: where γ = 1
and reward comes at the end, AgentPRM's own. (With rewards on the way the whole outcome would count them twice beside r_t.)
With the exact Q both are exact in expectation; at γ = 1 the first sums to R − V̂(s_0) over a rollout, whatever the model.
A state that was never seen has the mean of all targets as its value, so between such states only r_t is left.

``prm_baseline`` is the combination "AgentPRM's model as VinePPO's baseline" [R]: VinePPO's K · T rollouts per trajectory become
one set of fresh ones. ``prm_advantage`` is ours: the gradient of E_{s∼D} E_{a∼π} Q_φ(s, a), which AgentPRM climbs by DPO with a
KL term; it has no return in it, so a wrong model isn't corrected by the outcome. Sources: Choudhury 2025, arXiv 2502.10325;
Kazemnejad et al. 2024, arXiv 2410.01679.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

from credit_envs.errors import check_range
from credit_envs.piece import Fresh
from credit_envs.sampling.statistics import returns_to_go
from credit_envs.sampling.tabular import ActionTable, expected, fit_means, keys
from credit_envs.sampling.trajectories import Trajectories


def fit_returns(batch: Trajectories, gamma: float = 1.0, identity: str = "history") -> ActionTable:
    """Fits Q_φ by the mean return to go of each (key, action).

    Args:
        batch: rollouts to learn from.
        gamma: discount, in [0, 1].
        identity: which steps share a key, see :mod:`credit_envs.sampling.tabular`.

    Raises:
        CreditEnvsError: for an option out of range.
    """
    check_range("gamma", gamma, 0, 1)
    mask, key = batch.mask, keys(batch, identity)
    to_go = returns_to_go(batch.reward, mask, gamma)
    return fit_means(key[mask], batch.policy_action[mask], to_go[mask], batch.policy_table.shape[1])


def prm_baseline(batch: Trajectories, *, fresh: Fresh, gamma: float = 1.0, identity: str = "history") -> Tensor:
    """Returns VinePPO's credit with values of a process reward model, float64 ``[N, T]``.

    Args:
        batch: rollouts.
        fresh: see :class:`~credit_envs.piece.Fresh`; as many groups as the batch has are asked for.
        gamma: discount.
        identity: which steps share a key.
    """
    key = keys(batch, identity)
    value = expected(fit_returns(fresh(batch.n_groups), gamma, identity), batch, key)
    return torch.where(batch.mask, batch.reward + gamma * pad(value[:, 1:], (0, 1)) - value, 0.0)


def prm_advantage(batch: Trajectories, *, fresh: Fresh, gamma: float = 1.0, identity: str = "history") -> Tensor:
    """Returns the model's own advantage Q_φ(s, a) − Σ_b π(b|s) Q_φ(s, b), float64 ``[N, T]``; see :func:`prm_baseline`."""
    key = keys(batch, identity)
    model = fit_returns(fresh(batch.n_groups), gamma, identity)
    taken = model.at(key, batch.policy_action)
    return torch.where(batch.mask, taken - expected(model, batch, key), 0.0)
