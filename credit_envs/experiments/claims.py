"""The claims by theme, as data. Adding one: an entry in one of the ``claims_*.py``.

What is measured on cells is about gradients and credit of a given policy (halfway to optimal play; in the full sweep also at 0
and 90 %), so what a paper reports after training may differ: a method can learn better than its gradient at one policy
suggests, and the reverse. What is measured by trials is about training.
"""

from __future__ import annotations

from collections.abc import Mapping

from credit_envs.errors import unknown
from credit_envs.experiments import (
    claims_agents,
    claims_combined,
    claims_designs,
    claims_groups,
    claims_looks,
    claims_rewards,
    claims_values,
)
from credit_envs.experiments.ledger import Claim

THEMES: Mapping[str, tuple[Claim, ...]] = {
    "Group baselines": claims_groups.CLAIMS,
    "Values, trees, reward models": claims_values.CLAIMS,
    "Looking": claims_looks.CLAIMS,
    "Rewards and losses": claims_rewards.CLAIMS,
    "Combinations and advice": claims_combined.CLAIMS,
    "Agents in training": claims_agents.CLAIMS,
    "Models, windows, curricula": claims_designs.CLAIMS,
}
"""Every claim that is measured here, by theme."""

CLAIMS: tuple[Claim, ...] = tuple(one for theme in THEMES.values() for one in theme)
"""All of them."""


def claim(name: str) -> Claim:
    """Returns a claim by name.

    Raises:
        CreditEnvsError: if there is none; the message names the nearest ones.
    """
    found = {one.name: one for one in CLAIMS}
    if name not in found:
        raise unknown("claim", name, found)
    return found[name]
