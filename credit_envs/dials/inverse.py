"""The inverse of the dials: from a measured value that is wanted to the setting that reaches it."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import brentq

from credit_envs.arrays import AnyArray
from credit_envs.dials.catalogue import DIALS, GOALS, Dial, build, check
from credit_envs.dials.observation import MAX_CODES, skins
from credit_envs.errors import CreditEnvsError, UnreachableRequestError, check_range, unknown
from credit_envs.oracle.policy import PolicyLike, uniform
from credit_envs.oracle.visits import crossings, meeting_rate, revisit_rate
from credit_envs.table.mdp import TabularMDP

_GRID = 9
_CLOSE = 1e-9
_MOST_SKINS = 1 << 16


class Solution(NamedTuple):
    """What :func:`solve` found.

    Attributes:
        setting: keywords for :func:`credit_envs.dials.apply`.
        measured: what the oracle measures there.
    """

    setting: dict[str, Any]
    measured: float


def solve(table: TabularMDP, name: str, target: float, policy: PolicyLike | None = None, **others: Any) -> Solution:
    """Finds the setting of a dial that makes its quantity equal to a target, on the final table.

    Dials that move in jumps (whole steps, whole pairs) give the setting that comes nearest. Where several settings
    reach the target, the lowest is given.

    Args:
        table: the table.
        name: a dial (``slip``), or the quantity that it turns (``luck_share``).
        target: wanted value of the quantity.
        policy: policy that is measured on the final table (default: uniform).
        **others: further dials and options that are applied too.

    Raises:
        UnreachableRequestError: if no setting reaches the target; the message names the reachable range.
        CreditEnvsError: for unknown names and values out of range.
    """
    dial = DIALS.get(name) or GOALS.get(name)
    if dial is None:
        raise unknown("dial", name, {*DIALS, *GOALS})
    check_range(dial.quantity, target, -np.inf, np.inf)
    if dial.name in others:
        raise CreditEnvsError(f"{dial.name}={others[dial.name]!r}: expected no setting of the dial that is solved for")
    known = {*DIALS, *(option for other in DIALS.values() for option in other.options), *dial.goal_options}
    check({**others, dial.name: dial.low}, known)
    if dial.exogenous:
        table = build(table, others, exogenous=False)
        others = {key: value for key, value in others.items() if not _touches_dynamics(key)}
    if dial.quantity == "revisit_rate":
        return _dress(table, target, policy, others)

    @cache
    def measure(value: float) -> float:
        settings = {**others, dial.name: int(value) if dial.integer else value}
        dialled = build(table, settings, exogenous=True if dial.exogenous else None)
        return float(dial.measure(dialled, uniform(dialled) if policy is None else policy))

    if dial.steps is None:
        value = _solve_smooth(dial, measure, target)
    else:
        value = _solve_stepwise(dial, measure, target, dial.steps(table))
    return Solution({dial.name: int(value) if dial.integer else value}, measure(value))


def _touches_dynamics(keyword: str) -> bool:
    return any(not dial.exogenous and keyword in (dial.name, *dial.options) for dial in DIALS.values())


def _solve_smooth(dial: Dial, measure: Callable[[float], float], target: float) -> float:
    """Brackets the target on a grid, then closes in (Brent's method)."""
    grid = np.linspace(dial.low, dial.high, _GRID).tolist()
    values = np.array([measure(x) for x in grid])
    _check_reachable(dial, values, target)
    near = np.flatnonzero(np.abs(values - target) <= _CLOSE)
    over = values - target
    crossing = np.flatnonzero(over[:-1] * over[1:] < 0)
    if near.size and not (crossing.size and crossing[0] < near[0]):
        return float(grid[near[0]])
    i = int(crossing[0])
    return float(brentq(lambda x: measure(x) - target, grid[i], grid[i + 1], xtol=1e-13))


def _solve_stepwise(dial: Dial, measure: Callable[[float], float], target: float, settings: AnyArray) -> float:
    """Bisects over settings on which the quantity is monotone; the nearer of the last two wins."""
    ends = np.array([measure(float(settings[0])), measure(float(settings[-1]))])
    _check_reachable(dial, ends, target)
    sign = 1 if ends[1] >= ends[0] else -1
    low, high = 0, len(settings) - 1
    while high - low > 1:
        middle = (low + high) // 2
        if sign * (measure(float(settings[middle])) - target) <= 0:
            low = middle
        else:
            high = middle
    return float(min(settings[[low, high]], key=lambda x: (abs(measure(float(x)) - target), x)))


def _check_reachable(dial: Dial, values: AnyArray, target: float) -> None:
    finite = values[np.isfinite(values)]
    if not finite.size:
        raise UnreachableRequestError(f"{dial.quantity}={target:g}: undefined on this table whatever {dial.name} is")
    if not finite.min() - _CLOSE <= target <= finite.max() + _CLOSE:
        change = np.diff(finite)
        turns = "" if np.all(change >= -_CLOSE) or np.all(change <= _CLOSE) else f" (not monotone in {dial.name})"
        raise UnreachableRequestError(
            f"{dial.quantity}={target:g}: expected a number in [{finite.min():.6g}, {finite.max():.6g}], "
            f"which {dial.name} reaches on this table{turns}"
        )


def _dress(table: TabularMDP, target: float, policy: PolicyLike | None, others: dict[str, Any]) -> Solution:
    """Finds how often episodes must wear skins for a revisit rate, and how many skins that takes."""
    group_size = others.pop("group_size", 8)
    check_range("group_size", group_size, 1, 1_000_000, integer=True)
    most = min(_MOST_SKINS, MAX_CODES // table.emission.n_codes - 1)
    m: int | None = others.pop("skins", None)
    if m is not None:
        check_range("skins", m, 1, most, integer=True)
    table = build(table, {key: value for key, value in others.items() if key not in ("cue", "guess")}, exogenous=True)
    chosen = uniform(table) if policy is None else policy
    found = crossings(table, chosen)

    @cache
    def rate(share: float, m: int) -> float:
        if found is None:
            return revisit_rate(skins(table, share, m), chosen, group_size).value
        contexts, episode, step = found
        worn = np.concatenate(([1 - share], np.full(m, share / m)))
        return meeting_rate(contexts, group_size, np.outer(episode, worn).ravel(), step)

    def lowest(m: int) -> float:
        return rate(m / (m + 1), m)

    if m is None:
        m = 64
        while target < lowest(m) and 2 * m <= most:
            m *= 2
    bare = rate(0.0, m)
    if not lowest(m) - _CLOSE <= target <= bare + _CLOSE:
        raise UnreachableRequestError(
            f"revisit_rate={target:g}: expected a number in [{lowest(m):.4g}, {bare:.6g}] on this table with groups of "
            f"{group_size}; skins only lower it, so a higher one takes narrower dynamics"
        )
    share = m / (m + 1)
    if target >= bare:
        share = 0.0
    elif target > lowest(m):
        share = float(brentq(lambda q: rate(q, m) - target, 0.0, share, xtol=1e-13))
    return Solution({"skin_rate": share, "skins": m}, rate(share, m))
