"""Trees whose values are known: every look is visited at one step only, and the reward comes at the end."""

from __future__ import annotations

import numpy as np

from credit_envs.table import TabularMDP, from_outcomes


def make_tree(seed: int, arity: int = 3, depth: int = 3, certain: bool = False, discount: float = 1.0) -> TabularMDP:
    """A full tree; each last action pays 1 with a chance of its own (``certain``: pays a fixed number in [0, 1])."""
    rng = np.random.default_rng(seed)
    inner = [arity**level for level in range(depth)]
    first = np.cumsum([0, *inner])
    rows = []
    for level in range(depth):
        for i in range(inner[level]):
            for action in range(arity):
                here = int(first[level]) + i
                if level + 1 < depth:
                    rows.append((here, action, int(first[level + 1]) + i * arity + action, 1.0, 0.0, False))
                elif certain:
                    rows.append((here, action, here, 1.0, float(rng.random()), True))
                else:
                    chance = float(rng.uniform(0.05, 0.95))
                    rows += [(here, action, here, chance, 1.0, True), (here, action, here, 1 - chance, 0.0, True)]
    columns = ("state", "action", "successor", "probability", "reward", "terminal")
    outcomes = {name: np.array(column) for name, column in zip(columns, zip(*rows, strict=True), strict=True)}
    return from_outcomes(
        f"tree {seed}", int(first[-1]), arity, outcomes, start={0: 1.0}, horizon=depth, discount=discount
    )
