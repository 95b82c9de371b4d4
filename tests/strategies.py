"""Hypothesis strategies and small tables that tests of every room share."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from credit_envs.table import TabularMDP, from_outcomes, prune


def make_random_table(
    seed: int,
    n_states: int = 6,
    n_actions: int = 3,
    horizon: int = 4,
    layered: bool = False,
    n_outcomes: int = 2,
    n_starts: int = 2,
    discount: float = 1.0,
    cutoff: bool = False,
) -> TabularMDP:
    """A random table: masks, stochastic outcomes, terminal outcomes, a few distinct rewards, several starts."""
    rng = np.random.default_rng(seed)
    width = max(n_states // (horizon + 1), 1)
    layer = np.minimum(np.arange(n_states) // width, horizon)
    rows = []
    for state in range(n_states):
        count = rng.integers(1, n_actions + 1)
        onward = np.flatnonzero(layer == layer[state] + 1) if layered else np.arange(n_states)
        for action in rng.choice(n_actions, count, replace=False):
            k = int(rng.integers(1, n_outcomes + 1))
            for p in rng.dirichlet(np.ones(k)):
                ends = onward.size == 0 or rng.random() < 0.15
                successor = state if onward.size == 0 else rng.choice(onward)
                rows.append((state, action, successor, p, rng.choice([0.0, 0.0, 1.0, -0.5]), ends))
    columns = ("state", "action", "successor", "probability", "reward", "terminal")
    outcomes = {name: np.array(column) for name, column in zip(columns, zip(*rows, strict=True), strict=True)}
    first = np.flatnonzero(layer == 0) if layered else np.arange(n_states)
    starts = rng.choice(first, min(n_starts, first.size), replace=False)
    return prune(
        from_outcomes(
            f"random {seed}",
            n_states,
            n_actions,
            outcomes,
            start=dict(zip(starts.tolist(), rng.dirichlet(np.ones(starts.size)).tolist(), strict=True)),
            horizon=horizon,
            discount=discount,
            cutoff_reward=rng.choice([0.0, 2.0], n_states) if cutoff else None,
            allow_unreachable=True,
        )
    )[0]


@st.composite
def random_table(draw: st.DrawFn, max_states: int = 8, max_actions: int = 3, max_horizon: int = 4) -> TabularMDP:
    """Small random tables: layered and cyclic, stochastic, masked, with several starts and terminal outcomes."""
    return make_random_table(
        seed=draw(st.integers(0, 2**20)),
        n_states=draw(st.integers(1, max_states)),
        n_actions=draw(st.integers(1, max_actions)),
        horizon=draw(st.integers(1, max_horizon)),
        layered=draw(st.booleans()),
        n_outcomes=draw(st.integers(1, 2)),
        n_starts=draw(st.integers(1, 3)),
        cutoff=draw(st.booleans()),
    )


def random_policy(table: TabularMDP, seed: int, rows: str = "state") -> np.ndarray:
    """A random policy over admissible actions, one row per state or per look."""
    rng = np.random.default_rng(seed)
    n = table.n_states if rows == "state" else table.emission.n_base
    mask = np.zeros((n, table.n_actions), dtype=bool)
    mask[(np.arange(n) if rows == "state" else table.emission.base)[table.edge_state], table.edge_action] = True
    weight = rng.exponential(size=mask.shape) * mask
    return weight / np.maximum(weight.sum(axis=1, keepdims=True), 1e-300)


def toy_text(name: str, horizon: int, **kwargs: object) -> TabularMDP:
    """Gymnasium's ``FrozenLake``, ``CliffWalking`` or ``Taxi``, read from its ``P``."""
    from gymnasium.envs import toy_text as classes

    env: Any = getattr(classes, f"{name}Env")(**kwargs)
    rows = [(s, a, n, p, r, d) for s, acts in env.P.items() for a, outs in acts.items() for p, n, r, d in outs]
    columns = ("state", "action", "successor", "probability", "reward", "terminal")
    outcomes = {name: np.array(column) for name, column in zip(columns, zip(*rows, strict=True), strict=True)}
    start = env.initial_state_distrib
    table = from_outcomes(
        name,
        int(env.observation_space.n),
        int(env.action_space.n),
        outcomes,
        start={int(s): float(start[s]) for s in np.flatnonzero(start)},
        horizon=horizon,
        allow_unreachable=True,
    )
    return prune(table)[0]
