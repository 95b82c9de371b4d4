"""KLong's credit: a window's score against the mean over all windows of the group, without division.

    Â_i = Q_i − mean of Q over the n·K windows of a prompt

Q is the judge's score of a window: here the return of the rollout that it is cut from, or with ``score="window"`` what was
paid inside it. Where every rollout is one window this is Dr.GRPO. Long rollouts have more windows, so they weigh more in
the mean. It is a method for contexts that are too short; listed as credit assignment it is misfiled, and kept to be
measured. Reconstruction. Source: Liu et al. 2026, arXiv 2602.17547, from summaries.
"""

from __future__ import annotations

import torch
from torch import Tensor

from credit_envs.errors import CreditEnvsError
from credit_envs.sampling.statistics import centred
from credit_envs.sampling.trajectories import Trajectories


def klong(batch: Trajectories, score: str = "rollout") -> Tensor:
    """Returns KLong's credit, float64 ``[N, T]``.

    Args:
        batch: windows as rows, see :mod:`credit_envs.plans.klong`.
        score: ``rollout`` or ``window``.

    Raises:
        CreditEnvsError: for another score.
    """
    if score not in ("rollout", "window"):
        raise CreditEnvsError(f"score={score!r}: expected 'rollout' or 'window'")
    paid = batch.returns if score == "rollout" else torch.where(batch.mask, batch.reward, 0.0).sum(dim=1)
    return centred(paid, batch.group, batch.n_groups)[:, None] * batch.mask
