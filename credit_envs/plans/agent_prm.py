"""AgentPRM as a rollout plan: rollouts from the start, a model Q_φ of how they turned out, and preference pairs by it.

    1. rollouts from the start                       charged in environment steps
    2. Q_φ fitted on them                            :mod:`credit_envs.rewards.agent_prm`
    3. two actions drawn at each stored state        two policy calls per state, no environment step
       the one of higher Q_φ preferred               rows in pairs for :mod:`credit_envs.losses.dpo`

With the loss ``dpo`` on top this is the paper's third stage, online DPO for max_π E_{s∼D}[Q_φ(s, a)] − β KL(π‖π_old). An
action that was never tried at a key is valued by the key's mean; so where no history repeats all actions tie, no pair is
made and nothing is learned. Departures: at most ``states`` states per rollout are asked (the paper samples 50,000).
Source: Choudhury 2025, arXiv 2502.10325.
"""

from __future__ import annotations

from credit_envs.plans.preferences import preferences
from credit_envs.sampling.sampler import Sampler
from credit_envs.sampling.trajectories import Sample


def agent_prm_pairs(
    sampler: Sampler,
    groups: int,
    group_size: int,
    gamma: float = 0.95,
    identity: str = "history",
    states: int = 8,
    margin: float = 0.0,
) -> Sample:
    """Draws rollouts, fits Q_φ on them and returns preference pairs, rows 2p preferred and 2p + 1 rejected.

    Args:
        sampler: metered.
        groups: number of groups.
        group_size: rollouts per group (paper: 16).
        gamma: discount of the labels.
        identity: which steps share a key.
        states: states per rollout at which actions are compared, at most.
        margin: values at most this far apart make no pair.

    Raises:
        CreditEnvsError: for an option out of range.
    """
    from credit_envs.rewards.agent_prm import fit

    sample = sampler.groups(groups, group_size)
    return preferences(sampler, sample, fit(sample.trajectories, gamma, identity), identity, states, margin)
