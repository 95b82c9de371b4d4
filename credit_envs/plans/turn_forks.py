"""Forks at every turn, as MT-GRPO needs them beyond two turns: G actions in each turn's state.

    K turns, group size G: G rollouts from the start; then, for l = 2 … K−1, each rollout that takes an l-th turn is
    forked G − 1 times where that turn starts. G^{K−1} rollouts per group if all last K turns.

Two turns need no fork and are plain groups. Rollouts that end earlier are not forked, so groups differ in size. Rows of
one tree share nodes; statistics that should count a shared turn once have to look at them, as ``mt_grpo`` does. Rows are
not a fair sample of rollouts where episodes differ in length.
Source: the cost that Zeng et al. 2025, arXiv 2505.11821 (v2) give for MT-GRPO; the plan is spelled out here.
"""

from __future__ import annotations

import torch

from credit_envs.errors import check_range
from credit_envs.sampling.sampler import Sampler
from credit_envs.sampling.spans import spans
from credit_envs.sampling.trajectories import Sample, stack

MOST_ROLLOUTS = 1 << 20
"""Most rollouts per group."""


def turn_forks(sampler: Sampler, groups: int, group_size: int, turns: int = 3, level: str = "segment") -> Sample:
    """Draws groups and forks them at each of their first turns.

    Args:
        sampler: metered; forks are charged as it says.
        groups: number of groups.
        group_size: G.
        turns: K ≥ 2.
        level: what a turn is: ``step``, ``turn`` or ``segment``.

    Returns:
        The rollouts, those of a group adjacent; the tree of a rollout is the one it branched off.

    Raises:
        CreditEnvsError: for arguments out of range, or where states cannot be restored.
    """
    check_range("turns", turns, 2, 64, integer=True)
    check_range("group_size", group_size, 1, MOST_ROLLOUTS ** (1 / (turns - 1)) + 1e-9, integer=True)
    sample = sampler.groups(groups, group_size)
    for turn in range(1, turns - 1):
        parts = spans(sample.trajectories, level)
        if parts.present.shape[1] <= turn or group_size == 1:
            break
        rollout = torch.nonzero(parts.present[:, turn]).squeeze(1).repeat_interleave(group_size - 1)
        sample = stack([sample, sampler.branches(sample, rollout, parts.start[rollout, turn])])
    return sample.rows(torch.argsort(sample.trajectories.group, stable=True))
