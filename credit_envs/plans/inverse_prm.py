"""InversePRM as a rollout plan: preference pairs by a model that tells the expert's steps from the policy's.

    1. rollouts of the policy, and as many demonstrations        all charged in environment steps
    2. f fitted on both, without any outcome                     :mod:`credit_envs.rewards.inverse_prm`
    3. two actions drawn at each stored state of the policy, the one of higher f preferred

As in :mod:`credit_envs.plans.agent_prm`, with f in the place of Q_φ. The expert plays from the same starts.
Source: Choudhury 2025, arXiv 2502.10325.
"""

from __future__ import annotations

import torch

from credit_envs.plans.demonstrations import with_demonstrations
from credit_envs.plans.preferences import preferences
from credit_envs.sampling.pairs import redrawn
from credit_envs.sampling.sampler import Sampler
from credit_envs.sampling.trajectories import Sample


def inverse_prm_pairs(
    sampler: Sampler,
    groups: int,
    group_size: int,
    gamma: float = 0.95,
    identity: str = "row",
    skill: float = 0.9,
    ridge: float = 0.1,
    states: int = 8,
) -> Sample:
    """Draws rollouts and demonstrations, fits f and returns preference pairs, rows 2p preferred and 2p + 1 rejected.

    Args:
        sampler: metered.
        groups: number of groups.
        group_size: rollouts per group, and demonstrations per group.
        gamma: discount of f.
        identity: which steps share a key.
        skill: the expert's normalised return, see :func:`~credit_envs.oracle.skill.skilled_policy`.
        ridge: see :func:`~credit_envs.rewards.inverse_prm.fit_inverse`.
        states: states per rollout at which actions are compared, at most.

    Raises:
        CreditEnvsError: for an option out of range.
    """
    from credit_envs.rewards.inverse_prm import fit_inverse, transitions

    sample = sampler.groups(groups, group_size)
    shown = with_demonstrations(sampler, groups, group_size, group_size, skill)
    rollout, step = torch.nonzero(shown.trajectories.mask, as_tuple=True)
    asked = torch.zeros_like(shown.trajectories.policy_action)
    asked[rollout, step] = redrawn(sampler, shown, rollout, step, 1)[:, 0]
    expert, own = transitions(shown.trajectories, identity, asked), transitions(sample.trajectories, identity)
    model = fit_inverse(expert, own, sample.trajectories.policy_table.shape[1], gamma, ridge)
    return preferences(sampler, sample, model, identity, states)
