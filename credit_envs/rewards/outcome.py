"""An outcome reward model (ORM): rollouts are paid what a model expects of how they ended, not what they earned.

    R̂(key, action) = mean return of the fresh rollouts whose last step shares (key, action)
    reward 0 on the way, R̂ at the last step

The key of the last step is its whole history by default, or the look it ended at. What was never seen is predicted by the
mean there is. Where the key fixes the outcome and was seen, R̂ is the return itself, and the recipe is what it would be
without a model. Source: Cobbe et al. 2021, arXiv 2110.14168 (verifiers); a table instead of a language model.
"""

from __future__ import annotations

import torch
from torch import Tensor

from credit_envs.piece import Fresh
from credit_envs.sampling.tabular import ActionTable, fit_means, keys
from credit_envs.sampling.trajectories import Trajectories


def fit_outcome(batch: Trajectories, identity: str = "history") -> ActionTable:
    """Fits R̂ on the last steps of rollouts; see the module's first lines."""
    key, action, _ = last_steps(batch, identity)
    return fit_means(key, action, batch.returns, batch.policy_table.shape[1])


def outcome_model(batch: Trajectories, *, fresh: Fresh, identity: str = "history") -> Trajectories:
    """Returns the batch with the predicted outcome as its only reward, paid at the last step.

    Args:
        batch: rollouts.
        fresh: see :class:`~credit_envs.piece.Fresh`; as many groups as the batch has are asked for.
        identity: which last steps share a key, see :mod:`credit_envs.sampling.tabular`.
    """
    model = fit_outcome(fresh(batch.n_groups), identity)
    key, action, place = last_steps(batch, identity)
    paid = torch.zeros_like(batch.reward).scatter_(1, place, model.at(key, action)[:, None])
    return batch.replace(reward=paid)


def last_steps(batch: Trajectories, identity: str) -> tuple[Tensor, Tensor, Tensor]:
    """Returns key and action of each rollout's last step, int64 ``[N]``, and its column, int64 ``[N, 1]``."""
    steps = torch.arange(batch.mask.shape[1], device=batch.mask.device)
    place = torch.where(batch.mask, steps, 0).amax(dim=1, keepdim=True)
    key = keys(batch, identity).gather(1, place)[:, 0]
    return key, batch.policy_action.gather(1, place)[:, 0], place
