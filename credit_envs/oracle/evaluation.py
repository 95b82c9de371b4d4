"""Exact finite-horizon policy evaluation in float64: V, Q, A, occupancy and the sweep that other quantities are built on.

Backward: V_t = r_t^π + γ P_π V_{t+1} with γ V_H = the cut-off reward (paid with the last step); forward: d_{t+1} = P_πᵀ d_t.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from scipy import sparse

from credit_envs.arrays import AnyArray, Floats, narrow, ragged_ranges
from credit_envs.errors import CreditEnvsError
from credit_envs.oracle.policy import EdgePolicy, Policy, PolicyLike, as_policy, effective
from credit_envs.table.mdp import TabularMDP


@dataclass(frozen=True, eq=False)
class Values:
    """Values of one policy (or of optimal play) at every step.

    Attributes:
        table: the table.
        V: float64 ``[H + 1, S]``; ``V[t, s]`` is the expected discounted return from step t on.
    """

    table: TabularMDP
    V: Floats

    @cached_property
    def context_values(self) -> Floats:
        """V_0 of each context, float64 ``[C]``."""
        return np.asarray(self.V[0, self.table.start_state])

    @cached_property
    def J(self) -> float:
        """Expected return over the start distribution."""
        return float(self.table.start_probability @ self.context_values)

    def q_edges(self, t: int) -> Floats:
        """Returns Q_t of every edge, float64 ``[E]``."""
        table = self.table
        onward: Floats = table.discount * (table.outcome_matrix @ self.V[t + 1])
        return table.reward_at(t, table.edge_reward) + onward

    def q_at(self, t: AnyArray, edge: AnyArray) -> Floats:
        """Returns Q at visited (step, edge) pairs; an edge of −1 gives NaN.

        Args:
            t: int ``[n]``.
            edge: int ``[n]``.
        """
        table = self.table
        t, edge = np.broadcast_arrays(np.asarray(t, dtype=np.int64), np.asarray(edge, dtype=np.int64))
        shape, t, edge = t.shape, t.ravel(), edge.ravel()
        safe = np.maximum(edge, 0)
        count = table.outcome_start[safe + 1] - table.outcome_start[safe]
        outcome = ragged_ranges(table.outcome_start[safe], count)
        when = np.repeat(t, count)
        value = np.where(table.terminal[outcome], 0, self.V[when + 1, table.successor[outcome]])
        gain = table.reward_at(when, table.reward[outcome]) + table.discount * value
        total = np.bincount(np.repeat(np.arange(t.size), count), table.probability[outcome] * gain, minlength=t.size)
        return np.where(edge < 0, np.nan, total).reshape(shape)

    def q(self, t: int, state: int) -> Floats:
        """Returns Q_t(state, ·), float64 ``[A]``, NaN where inadmissible."""
        first, last = self.table.edge_start[state : state + 2]
        out = np.full(self.table.n_actions, np.nan)
        out[self.table.edge_action[first:last]] = self.q_at(np.full(last - first, t), np.arange(first, last))
        return out

    def advantage_at(self, t: AnyArray, state: AnyArray, edge: AnyArray) -> Floats:
        """Returns A_t(s, a) = Q_t(s, a) − V_t(s) at visited steps; int arrays of one shape."""
        return self.q_at(t, edge) - self.V[t, state]


class Chain(NamedTuple):
    """The Markov chain that a policy makes of a table: alive transitions ``[S, S]`` and expected unscaled reward ``[S]``."""

    transition: Any
    reward: Floats


def chain(table: TabularMDP, policy: EdgePolicy) -> Chain:
    """Folds a policy into a table."""
    weight = policy.edge[table.outcome_edge] * table.probability
    keep = ~table.terminal & (weight > 0)
    bounds = narrow(np.concatenate(([0], np.cumsum(keep)))[table.outcome_start[table.edge_start]])
    shape = (table.n_states, table.n_states)
    transition = sparse.csr_array((weight[keep], table.successor[keep], bounds), shape=shape)
    transition.sum_duplicates()
    reward: Floats = np.bincount(table.edge_state, policy.edge * table.edge_reward, table.n_states).astype(np.float64)
    if policy.stay.any():
        transition = sparse.csr_array(transition + sparse.diags_array(policy.stay))
        reward = reward + policy.stay * table.inadmissible_reward
    return Chain(transition, reward)


def evaluate(table: TabularMDP, policy: PolicyLike, episode_code: int | None = None) -> Values:
    """Evaluates a policy exactly.

    Args:
        table: the table.
        policy: see :data:`~credit_envs.oracle.policy.PolicyLike`.
        episode_code: the per-episode emission code, where the policy's actions depend on it.

    Raises:
        CreditEnvsError: for a malformed policy, or if the values differ between episode codes and none was named.
    """
    checked = as_policy(table, policy)
    edges = effective(table, checked, episode_code)
    return Values(table, backward(table, chain(table, edges), playing(table)))


def playing(table: TabularMDP) -> Floats:
    """Returns 1.0 for states with admissible actions, 0.0 for those where nothing can be done, ``[S]``."""
    return (table.n_admissible > 0).astype(np.float64)


def cutoff_values(table: TabularMDP) -> Floats:
    """Returns V_H, float64 ``[S]``: the cut-off reward over γ, because it is paid with the last step."""
    return np.zeros(table.n_states) if table.cutoff_reward is None else table.cutoff_reward / table.discount


MOST_CELLS = 1 << 29
"""Numbers per array over (step, state) that the oracle will hold: 4 GiB."""


def over_time(table: TabularMDP) -> Floats:
    """Returns zeros ``[H + 1, S]``.

    Raises:
        CreditEnvsError: if that would take more than 4 GiB.
    """
    if (table.horizon + 1) * table.n_states > MOST_CELLS:
        raise CreditEnvsError(
            f"{table.name}: {table.n_states} states × {table.horizon} steps, expected at most {MOST_CELLS} in all; "
            f"shorten the horizon or take a smaller instance"
        )
    return np.zeros((table.horizon + 1, table.n_states))


def backward(table: TabularMDP, folded: Chain, alive: Floats) -> Floats:
    """Runs the backward recursion; returns V, float64 ``[H + 1, S]``."""
    horizon, values = table.horizon, over_time(table)
    values[horizon] = cutoff_values(table)
    steady = table.reward_scale is None and table.reward_shift is None
    for t in range(horizon - 1, -1, -1):
        gain = table.reward_at(t, folded.reward)
        values[t] = gain * alive if table.reward_shift is not None else gain
        values[t] += table.discount * (folded.transition @ values[t + 1])
        if steady and t and np.array_equal(values[t], values[t + 1]):
            values[:t] = values[t]
            break
    return values


def expected_return(table: TabularMDP, policy: PolicyLike) -> float:
    """Returns J exactly, averaged over the emission's per-episode codes where the policy sees them."""
    checked = as_policy(table, policy)
    if checked.kind != "obs":
        return evaluate(table, checked).J
    codes, weights = table.emission.episode_codes()
    each = [evaluate(table, checked, int(code)).J for code in codes]
    return float(np.dot(weights, each))


def occupancy(
    table: TabularMDP, policy: PolicyLike, start: AnyArray | None = None, episode_code: int | None = None
) -> Floats:
    """Returns d, float64 ``[H + 1, S]``: probability that step t is taken in state s (row H: reached the cut-off there).

    Args:
        table: the table.
        policy: see :data:`~credit_envs.oracle.policy.PolicyLike`.
        start: float ``[S]``, start distribution (default: the table's).
        episode_code: the per-episode emission code.
    """
    folded = chain(table, effective(table, as_policy(table, policy), episode_code))
    return forward(table, folded, start)


def forward(table: TabularMDP, folded: Chain, start: AnyArray | None = None) -> Floats:
    """Runs the forward recursion; returns d, float64 ``[H + 1, S]``."""
    backwards = sparse.csr_array(folded.transition.T)
    d = over_time(table)
    d[0] = start_distribution(table) if start is None else start
    for t in range(table.horizon):
        d[t + 1] = backwards @ d[t]
    return d


def start_distribution(table: TabularMDP) -> Floats:
    """Returns the start distribution over states, float64 ``[S]``."""
    return np.bincount(table.start_state, table.start_probability, table.n_states).astype(np.float64)


class Step(NamedTuple):
    """One step of a sweep: time, γ^t, occupancy ``[S]``, V_t ``[S]``, Q_t ``[E]``."""

    t: int
    discount: float
    occupancy: Floats
    V: Floats
    Q: Floats


def sweep(table: TabularMDP, policy: Policy, episode_code: int | None = None) -> Iterator[Step]:
    """Yields every step's occupancy and values under a policy; ``[H, S, A]`` is never stored."""
    folded = chain(table, effective(table, policy, episode_code))
    values = Values(table, backward(table, folded, playing(table)))
    backwards = sparse.csr_array(folded.transition.T)
    d = start_distribution(table)
    for t in range(table.horizon):
        if not d.any():
            return
        yield Step(t, table.discount**t, d, values.V[t], values.q_edges(t))
        d = backwards @ d
