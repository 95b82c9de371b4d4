"""Whether an episode was won: it ended by an outcome that earns as much as any that ends one.

Reaching the horizon wins nothing, nor does a partial payment (a purchase that fits in part). What earlier steps earned and is
paid at the end by a dial (``delay``, ``density``) doesn't count.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from credit_envs.arrays import AnyArray, Bools, ragged_ranges
from credit_envs.faces.truth import Truth
from credit_envs.table.mdp import TabularMDP


@lru_cache(maxsize=64)
def winning(table: TabularMDP) -> Bools:
    """Returns the winning outcomes, bool ``[O]``."""
    ends = table.terminal & (table.probability > 0)
    state = table.edge_state[table.outcome_edge]
    earned = Truth(table, oracle_info=False, anchor_info=False).earned(state, table.successor, ends, table.reward)
    best = earned[ends].max(initial=-np.inf)
    return np.asarray(ends & (earned >= best - 1e-9))


def won(table: TabularMDP, t: AnyArray, edge: AnyArray, after: AnyArray, paid: AnyArray) -> Bools:
    """Returns whether steps won their episodes, bool ``[n]``.

    Args:
        table: the table.
        t: int ``[n]``, when they were taken.
        edge: int ``[n]``, executed edges, −1 where inadmissible.
        after: int ``[n]``, states to which they led.
        paid: float ``[n]``, their rewards.
    """
    first = table.outcome_start[np.maximum(edge, 0)]
    count = np.where(np.asarray(edge) < 0, 0, table.outcome_start[np.maximum(edge, 0) + 1] - first)
    outcome, owner = ragged_ranges(first, count), np.repeat(np.arange(len(count)), count)
    drawn = winning(table)[outcome] & (table.successor[outcome] == np.asarray(after)[owner])
    drawn &= np.isclose(table.reward_at(np.asarray(t)[owner], table.reward[outcome]), np.asarray(paid)[owner])
    return np.bincount(owner, drawn, minlength=len(count)) > 0
