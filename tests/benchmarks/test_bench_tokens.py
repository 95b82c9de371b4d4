"""How long a table of 10,000 states with 20 commands each takes to be spelled, and to get a plan."""

import numpy as np
import pytest

from credit_envs.dials.plan import plan
from credit_envs.dials.spell import spell
from credit_envs.table import from_outcomes

STATES, COMMANDS = 10_000, 20


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(0)
    names = [f"{verb} the {thing}" + " now" * (thing > "4") for verb in "abcdef" for thing in "0123456789"]
    size = STATES * COMMANDS
    outcomes = {
        "state": np.repeat(np.arange(STATES), COMMANDS),
        "action": np.argsort(rng.random((STATES, len(names))), axis=1)[:, :COMMANDS].ravel(),
        "successor": rng.integers(0, STATES, size),
        "probability": np.ones(size),
        "reward": rng.random(size),
        "terminal": rng.random(size) < 0.01,
    }
    start = {0: 1.0}
    more = {"action_names": tuple(names), "allow_unreachable": True}
    return from_outcomes("commands", STATES, len(names), outcomes, start=start, horizon=50, **more)


@pytest.mark.parametrize("pad", [False, True])
def test_spell(benchmark, table, pad):
    """Target: less than 1 s."""
    benchmark.extra_info["states"] = benchmark(lambda: spell(table, spell_pad=pad)).n_states


def test_plan(benchmark, table):
    benchmark.extra_info["states"] = benchmark(lambda: plan(table, 2)).n_states
