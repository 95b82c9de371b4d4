"""GC-RL's reward of critiques: 0.7 for a right judgement, whatever it is founded on.

    R(c) = 0.7 · 1[c calls a right solution right, or a wrong one wrong]
    balanced: 0.35 / E[R] for judging right ones, 0.35 / (1 − E[R]) for wrong ones, E[R] = share of right solutions judged

The task itself pays a wrong solution's critique only if it stops at the right column; the paper's reward asks for the verdict
alone, so a right verdict for a wrong reason scores. ``place`` asks for the column too. E[R] runs over the critiques of the
batch; on a balanced cache both weights are 0.7 again [R: the paper doesn't say over what]. Rollouts that solve are left
alone. Paid with the last step. Source: arXiv 2602.22765, §3 (no code).
"""

from __future__ import annotations

import torch
from torch import Tensor

from credit_envs.errors import CreditEnvsError, check_range
from credit_envs.piece import Labels
from credit_envs.rewards.turns import offered
from credit_envs.sampling.spans import spans
from credit_envs.sampling.trajectories import Trajectories

REQUIRES = ("task", "given", "error")
"""Labels that a table must have."""


def critique_reward(
    batch: Trajectories, *, labels: Labels, weight: float = 0.7, balanced: bool = False, place: bool = False
) -> Trajectories:
    """Pays critiques; other rollouts keep their rewards.

    Args:
        batch: rollouts.
        labels: what the environment verifies.
        weight: what a right judgement earns.
        balanced: weigh right and wrong solutions equally, however many there are.
        place: whether the column of the error must be right too.

    Raises:
        CreditEnvsError: for a weight below 0, or a table whose commands are split into sub-steps.
    """
    check_range("weight", weight, 0, 1e9)
    critique = labels("task")[:, 0] == 1
    sound = labels("given")[:, 0] < 0
    judged = labels("right")[:, -1] == 1 if place else rejected(batch, labels) != sound
    earned = torch.full_like(batch.returns, weight)
    if balanced:
        share = sound[critique].to(earned.dtype).mean()
        earned = weight / 2 / torch.where(sound, share, 1 - share)
    paid = torch.where(judged, earned, torch.zeros_like(earned))
    reward = spans(batch, "segment", 1).at_end(paid[:, None])
    return batch.replace(reward=torch.where(critique[:, None], reward, batch.reward))


def rejected(batch: Trajectories, labels: Labels) -> Tensor:
    """Returns which rollouts ended by saying ``wrong``, bool ``[N]``; means something for critiques only.

    Raises:
        CreditEnvsError: for a table whose commands are split into sub-steps.
    """
    for name in ("token", "field"):
        if offered(labels, name) is not None:
            raise CreditEnvsError(
                f"critique: expected a table without the label {name}, whose steps are whole judgements"
            )
    last = spans(batch, "segment", 1).end
    as_told = batch.action.gather(1, last) == labels("reference_action").gather(1, last)
    at_error = labels("segment").gather(1, last) == labels("error").gather(1, last)
    return (as_told == at_error)[:, 0]
