"""Dials on the dynamics themselves: ``slip`` (stochasticity) and ``horizon`` (the cut-off)."""

from __future__ import annotations

import numpy as np

from credit_envs.arrays import AnyArray, ragged_ranges
from credit_envs.dials.memory import FIXED_HORIZON
from credit_envs.errors import CreditEnvsError, check_range
from credit_envs.oracle.evaluation import playing
from credit_envs.table.mdp import TabularMDP


def slip(table: TabularMDP, probability: float) -> TabularMDP:
    """Executes a uniformly random admissible action instead of the chosen one, with some probability.

    The random action may be the chosen one. J of the uniform policy stays the same; each edge's outcome distribution
    moves by at most ``probability * (1 - 1 / n)`` in total variation, n being the state's number of actions.

    Args:
        table: the table.
        probability: p in [0, 1]; 0 leaves the table as it is.

    Raises:
        CreditEnvsError: if ``probability`` is out of range.
    """
    check_range("slip", probability, 0, 1)
    if probability == 0:
        return table
    # First what a random action does in each state, merged; then that mixture beside every edge's own outcomes.
    share = 1 / table.n_admissible[table.edge_state[table.outcome_edge]]
    states = table.edge_state[table.outcome_edge]
    source, weight = _merge(table, states, np.arange(table.n_outcomes), share * table.probability)
    bounds = np.searchsorted(states[source], np.arange(table.n_states + 1))
    n_mixed = np.diff(bounds)[table.edge_state]
    mixed = ragged_ranges(bounds[table.edge_state], n_mixed)
    owner = np.concatenate((table.outcome_edge, np.repeat(np.arange(table.n_edges), n_mixed)))
    every = np.concatenate((np.arange(table.n_outcomes), source[mixed]))
    total = np.concatenate(((1 - probability) * table.probability, probability * weight[mixed]))
    rank = np.argsort(owner, kind="stable")
    owner, every, total = owner[rank], every[rank], total[rank]
    picked, weight, owner = _merge_owned(table, owner, every, total)
    sums = np.bincount(owner, weight, minlength=table.n_edges)
    return table.replace(
        outcome_start=np.searchsorted(owner, np.arange(table.n_edges + 1)),
        successor=table.successor[picked],
        probability=weight / sums[owner],
        reward=table.reward[picked],
        terminal=table.terminal[picked],
    )


def _merge(table: TabularMDP, owner: AnyArray, outcome: AnyArray, weight: AnyArray) -> tuple[AnyArray, AnyArray]:
    picked, total, _ = _merge_owned(table, owner, outcome, weight)
    return picked, total


def _merge_owned(
    table: TabularMDP, owner: AnyArray, outcome: AnyArray, weight: AnyArray
) -> tuple[AnyArray, AnyArray, AnyArray]:
    """Adds up outcomes of one owner with equal successor, reward and end: (an outcome of each kind, weight, owner)."""
    columns = (table.reward[outcome], table.terminal[outcome], table.successor[outcome], owner)
    order = np.lexsort(columns)
    new = np.ones(order.size, dtype=bool)
    new[1:] = np.any([column[order][1:] != column[order][:-1] for column in columns], axis=0)
    first = np.flatnonzero(new)
    return outcome[order[first]], np.add.reduceat(weight[order], first), owner[order[first]]


def horizon(table: TabularMDP, steps: int) -> TabularMDP:
    """Cuts episodes off after some steps, sooner or later than before.

    Args:
        table: the table; its reward factors are cut too.
        steps: H ≥ 1.

    Raises:
        CreditEnvsError: if ``steps`` is out of range, which includes more steps than the reward factors, or the states
            that ``delay`` or ``density`` built, are defined for.
    """
    check_range("horizon", steps, 1, np.iinfo(np.int32).max, integer=True)
    steps = int(steps)
    if steps > table.horizon:
        if table.reward_scale is not None or table.reward_shift is not None:
            raise CreditEnvsError(
                f"horizon={steps}: expected an integer in [1, {table.horizon}]; "
                f"{table.name} pays by the clock up to there"
            )
        if FIXED_HORIZON in table.knobs:
            raise CreditEnvsError(
                f"horizon={steps}: expected an integer in [1, {table.horizon}]; "
                f"delayed reward was worked out up to there, so give horizon together with delay or density"
            )
    if steps == table.horizon:
        return table
    scale, shift = table.reward_scale, table.reward_shift
    return table.replace(
        horizon=steps,
        reward_scale=None if scale is None else scale[:steps],
        reward_shift=None if shift is None else shift[:steps],
    )


def longest_play(table: TabularMDP) -> int:
    """Returns the number of steps of the longest possible episode."""
    matrix = table.outcome_matrix
    alive = np.zeros(table.n_states)
    alive[table.start_state[table.start_probability > 0]] = 1
    for t in range(1, table.horizon):
        following = (matrix.T @ alive[table.edge_state] > 0) * playing(table)
        if not following.any():
            return t
        if np.array_equal(following, alive):
            break
        alive = following
    return table.horizon
