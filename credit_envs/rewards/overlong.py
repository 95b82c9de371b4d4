"""DAPO's soft penalty for rollouts that come close to the longest length.

    r_last += penalty · min(−(len − (L_max − L_buf)) / L_buf, 0)

Nothing up to L_max − L_buf steps, then down in a line to −penalty at L_max. Dynamic sampling looks at the rewards before
the penalty, the advantage at those after it. Source: Yu et al. 2025, arXiv 2503.14476, §3.4 (L_max = 20,480 tokens, a
fifth of it buffer); verl ``recipe/dapo``.
"""

from __future__ import annotations

import torch

from credit_envs.errors import check_range
from credit_envs.sampling.trajectories import Trajectories


def overlong(
    batch: Trajectories, longest: int | None = None, buffer: float | None = None, penalty: float = 1.0
) -> Trajectories:
    """Returns the batch with the penalty in the reward of each rollout's last step.

    Args:
        batch: rollouts.
        longest: L_max, in steps (default: the width of the batch, that is its longest rollout).
        buffer: L_buf, in steps (default: a fifth of L_max).
        penalty: what the longest rollout loses.

    Raises:
        CreditEnvsError: for arguments out of range.
    """
    longest = batch.mask.shape[1] if longest is None else longest
    check_range("longest", longest, 1, 1 << 40, integer=True)
    buffer = longest / 5 if buffer is None else buffer
    check_range("buffer", buffer, 0, longest, open_low=True)
    check_range("penalty", penalty, 0, 1e12)
    over = (batch.lengths - (longest - buffer)) / buffer
    last = batch.mask.clone()
    last[:, :-1] &= ~batch.mask[:, 1:]
    return batch.replace(reward=batch.reward - torch.where(last, penalty * over.clamp(min=0)[:, None], 0.0))
