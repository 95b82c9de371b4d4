"""Environment steps that agents are compared at: enough for GRPO to make about 50 to 300 updates of 128 rollouts."""

from __future__ import annotations

from collections.abc import Mapping

from credit_envs.errors import CreditEnvsError
from credit_envs.registry import canonical, entry

DEFAULT = 300_000

BUDGETS: Mapping[str, int] = {
    "credit/Pivots-v0": 300_000,
    "credit/KeyRooms-v0": 400_000,
    "credit/KeyToDoor-v0": 1_000_000,
    "credit/Gallery-v0": 300_000,
    "credit/Team-v0": 2_000_000,
    "credit/Shop-v0": 300_000,
    "credit/Household-v0": 500_000,
    "credit/Lookup-v0": 200_000,
    "credit/Apps-v0": 300_000,
    "credit/Sums-v0": 300_000,
    "credit/Charts-v0": 300_000,
    "credit/Chat-v0": 50_000,
    "credit/FrozenLake-v0": 300_000,
    "credit/Taxi-v0": 2_000_000,
}
"""Environment steps per seed."""


def budget_of(environment: str) -> int:
    """Returns the budget of an environment; knobs don't change it, and what isn't listed has :data:`DEFAULT`."""
    try:
        return BUDGETS.get(entry(canonical(environment)).id, DEFAULT)
    except CreditEnvsError:
        return DEFAULT
