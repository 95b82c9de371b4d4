"""Dials that move reward along the path: ``delay`` (each some steps later) and ``density`` (a part of it at the end).

What is owed becomes part of the true state, not of the observation, so looks find true states less precisely. The
undiscounted return of every play stays the same, so J of every policy does too; with a discount below 1, later payment
is worth less.
"""

from __future__ import annotations

import numpy as np

from credit_envs.arrays import AnyArray, Floats, Ints
from credit_envs.dials.memory import MAX_STATES, pays_before_the_end, repay, with_memory
from credit_envs.errors import CreditEnvsError, check_range
from credit_envs.table.mdp import TabularMDP

_KEYS = 1 << 62
_DIGITS = 12
"""Decimals to which owed sums are rounded, so that equal sums meet in one state."""


def delay(table: TabularMDP, steps: int, max_states: int = MAX_STATES) -> TabularMDP:
    """Pays each reward some steps later; what is owed when the episode ends is paid with its last step.

    A step with an inadmissible action is paid at once and moves no queue. Where only last steps pay, nothing changes.

    Args:
        table: the table.
        steps: delay d ≥ 0; from the horizon on everything is paid at the end.
        max_states: largest number of (state, queue) pairs to build.

    Raises:
        CreditEnvsError: if ``steps`` is out of range, the table has reward factors, or grows too large.
    """
    check_range("delay", steps, 0, np.inf, integer=True)
    steps = int(steps)
    if steps == 0 or not pays_before_the_end(table):
        return table
    if steps >= table.horizon:
        return density(table, 0.0, max_states)
    _refuse_factors(table, "delay")
    early = (table.probability > 0) & ~table.terminal
    amounts = np.concatenate(([0.0], np.setdiff1d(table.reward[early], [0.0])))
    base = amounts.size
    check_range("delay", steps, 0, int(np.log(_KEYS) / np.log(base)), integer=True)
    order = np.argsort(amounts)
    found = np.minimum(np.searchsorted(amounts, table.reward, sorter=order), base - 1)
    digit, newest = order[found], base ** (steps - 1)

    def advance(queue: Ints, outcome: Ints) -> AnyArray:
        shifted: AnyArray = queue // base + digit[outcome] * newest
        return shifted

    product = with_memory(table, 0, advance, f"delay={steps}", max_states)

    def owed(queue: AnyArray) -> Floats:
        total = np.zeros(queue.size)
        for i in range(steps):
            total += amounts[queue // base**i % base]
        return total

    ends = product.table.terminal
    due = amounts[product.held % base]
    reward = np.where(ends, product.table.reward + owed(product.held), due)
    return repay(product, reward, owed(product.memory))


def density(table: TabularMDP, share: float, max_states: int = MAX_STATES) -> TabularMDP:
    """Pays a share of each reward at once and the rest with the last step of the episode.

    A step with an inadmissible action is paid at once. Where only last steps pay, nothing changes.

    Args:
        table: the table.
        share: fraction in [0, 1] paid at once (1 leaves the table as it is).
        max_states: largest number of (state, sum so far) pairs to build.

    Raises:
        CreditEnvsError: if ``share`` is out of range, the table has reward factors, or grows too large.
    """
    check_range("density", share, 0, 1)
    if share == 1 or not pays_before_the_end(table):
        return table
    _refuse_factors(table, "density")

    def advance(key: Ints, outcome: Ints) -> AnyArray:
        return (np.round(key.view(np.float64) + table.reward[outcome], _DIGITS) + 0.0).view(np.int64)

    product = with_memory(table, 0, advance, f"density={share:g}", max_states)
    late = 1 - share
    ends = product.table.terminal
    reward = np.where(ends, product.table.reward + late * product.held.view(np.float64), share * product.table.reward)
    return repay(product, reward, late * product.memory.view(np.float64))


def _refuse_factors(table: TabularMDP, dial: str) -> None:
    if table.reward_scale is not None or table.reward_shift is not None:
        raise CreditEnvsError(
            f"{dial}: {table.name} pays by the clock (reward_scale, reward_shift); expected plain rewards"
        )
