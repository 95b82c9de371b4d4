"""Groups: independent rollouts of one context, as GRPO draws them."""

from __future__ import annotations

from credit_envs.sampling.sampler import Sampler
from credit_envs.sampling.trajectories import Sample


def groups(sampler: Sampler, groups: int, group_size: int) -> Sample:
    """Draws groups of independent rollouts.

    Args:
        sampler: metered.
        groups: number of groups.
        group_size: rollouts per group.
    """
    return sampler.groups(groups, group_size)
