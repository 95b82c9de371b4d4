"""Demonstrations in groups: some rollouts of each group are played by a policy of stated skill.

A group's own rollouts and the demonstrator's start alike and share the group's statistics, so where the policy always
fails a demonstration still gives the group something to learn from. Demonstrations are off-policy: `batch.log_prob` holds
the demonstrator's log-probabilities, which a loss with an importance ratio corrects by; plain REINFORCE does not, and its
gradient is pulled towards what the demonstrator does, more the better it fares. Their steps are charged like any others,
the demonstrator's decisions are not the policy's and are not.

Source: Yan et al. 2025, LUFFY, arXiv 2504.14945 (one of eight rollouts is off-policy), whose policy shaping is left out.
"""

from __future__ import annotations

import torch

from credit_envs.errors import CreditEnvsError, check_range
from credit_envs.oracle.skill import skilled_policy
from credit_envs.sampling.device import DevicePolicy
from credit_envs.sampling.sampler import Sampler
from credit_envs.sampling.trajectories import Sample, stack


def with_demonstrations(
    sampler: Sampler, groups: int, group_size: int, demonstrations: int = 1, skill: float = 0.9
) -> Sample:
    """Draws groups in which the last rollouts are demonstrations.

    Args:
        sampler: metered.
        groups: number of groups.
        group_size: rollouts per group, demonstrations included.
        demonstrations: demonstrations per group, at most ``group_size``.
        skill: the demonstrator's normalised return, see :func:`~credit_envs.oracle.skill.skilled_policy`.

    Raises:
        CreditEnvsError: for arguments out of range.
    """
    check_range("demonstrations", demonstrations, 0, group_size, integer=True)
    own = group_size - demonstrations
    parts = [sampler.groups(groups, own)] if own else []
    if demonstrations:
        context = parts[0].trajectories.context[::own] if parts else None
        parts.append(_shown(sampler, groups, demonstrations, skill, context))
    sample = stack(parts)
    order = torch.argsort(sample.trajectories.group, stable=True)
    sample = sample.rows(order)
    return Sample(sample.trajectories.replace(tree=torch.arange(len(order), device=order.device)), sample.truth)


def _shown(sampler: Sampler, groups: int, size: int, skill: float, context: torch.Tensor | None) -> Sample:
    """Draws the demonstrator's rollouts, with rows and actions as the policy's own table has them."""
    learner, calls = sampler.policy, sampler.meter.policy_calls
    if not isinstance(learner, DevicePolicy):
        raise CreditEnvsError("with_demonstrations: expected a policy without memory, whose table tells its rows")
    # The sampler itself plays the demonstrator's part, so that its counters, and with them all luck, go on.
    sampler.policy = DevicePolicy(sampler.dynamics, skilled_policy(sampler.table, skill))
    try:
        sample = sampler.groups(groups, size, context)
    finally:
        sampler.policy = learner
    sampler.meter.policy_calls = calls
    batch, truth = sample.trajectories, sample.truth
    row = torch.where(batch.mask, learner.rows(truth.state, truth.code), 0)
    action = batch.action if learner.kind == "obs" else batch.policy_action
    shown = batch.replace(policy_row=row, policy_action=action, policy_table=learner.probability)
    return Sample(shown, truth)
