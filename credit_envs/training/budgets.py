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
    "credit/Pivots-v0?credit=each&fillers=5&length=40": 1_000_000,
    "credit/KeyRooms-v0?horizon_factor=4.0&map=tree&stages=4": 2_000_000,
    "credit/KeyRooms-v0?horizon_factor=2.0&stage_reward=0.05&stages=16": 3_000_000,
    "credit/KeyRooms-v0?horizon_factor=4.0&map=tree&stage_reward=0.05&stages=8": 4_000_000,
    "credit/KeyRooms-v0?horizon_factor=2.0&map=hub&stage_reward=0.05&stages=12": 4_000_000,
    "credit/KeyToDoor-v0?orchard=150": 2_000_000,
    "credit/Gallery-v0?junctions=40&step_cost=0.0": 3_000_000,
    "credit/Team-v0?agents=2&keys=2": 3_000_000,
    "credit/Household-v0?stages=60&task=place": 3_000_000,
    "credit/FrozenLake-v0?unit=8": 2_000_000,
    "credit/Taxi-v0?unit=4": 4_000_000,
    "credit/Household-v0?stages=12&task=mixed": 2_000_000,
}
"""Environment steps per seed."""


def budget_of(environment: str) -> int:
    """Returns the budget of an environment: its own, else that of its id without knobs, else :data:`DEFAULT`."""
    try:
        full = canonical(environment)
        return BUDGETS.get(full, BUDGETS.get(entry(full).id, DEFAULT))
    except CreditEnvsError:
        return DEFAULT
