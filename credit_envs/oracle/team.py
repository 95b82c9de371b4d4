"""Exact credit of the agents of a team, on any table whose label ``mover`` says whose step it is.

A joint action is n steps, one per agent, each taken in a state that shows (or hides) the steps before it. Notation: V, Q
and A are the values of the joint policy π at single steps; ā(s) is the default action (label ``default``: stay).

* Counterfactual advantage: A_t(s, a), the advantage of the step. Agents who have moved in this round are held fixed,
  the later ones are averaged over π. The discounted sum over a round is, in expectation over luck, the advantage of the
  joint action (:func:`round_values` has the joint values; :func:`coma` holds the later agents' actions fixed too).
* Difference reward: D_t(s, a) = Q_t(s, a) − Q_t(s, ā(s)), and for an agent J − J with that agent always at ā.
* Shapley value of the coalition game v(C) = J when all agents outside C always take ā.

Sources: Foerster et al., "Counterfactual Multi-Agent Policy Gradients", AAAI 2018, eq. 4 (ours marginalises later agents,
as in the advantage decomposition of Kuba et al., "Trust Region Policy Optimisation in Multi-Agent Reinforcement
Learning", ICLR 2022, lemma 1); Wolpert and Tumer, "Optimal Payoff Functions for Members of Collectives", 2001; Shapley,
"A Value for n-Person Games", 1953.
"""

from __future__ import annotations

import math

import numpy as np

from credit_envs.arrays import AnyArray, Floats, Ints, ragged_ranges
from credit_envs.errors import CreditEnvsError
from credit_envs.oracle.evaluation import Values, backward, chain, playing
from credit_envs.oracle.policy import EdgePolicy, Policy, PolicyLike, as_policy, effective
from credit_envs.table.mdp import TabularMDP

MOST_AGENTS = 12


def movers(table: TabularMDP) -> Ints:
    """Returns whose step is taken in each state, int64 ``[S]``.

    Raises:
        CreditEnvsError: if the table has no such label, or it does not count agents from 0.
    """
    if "mover" not in table.labels:
        raise CreditEnvsError(f"{table.name}: expected a label 'mover' (0 … n − 1 per state), got {[*table.labels]}")
    mover = table.labels["mover"]
    if mover.min() < 0 or mover.max() >= MOST_AGENTS:
        raise CreditEnvsError(
            f"labels['mover']: expected agents 0 … {MOST_AGENTS - 1}, got {mover.min()} … {mover.max()}"
        )
    return mover


def n_agents(table: TabularMDP) -> int:
    """Returns the number of agents n."""
    return int(movers(table).max()) + 1


def default_edges(table: TabularMDP, default: int | None = None) -> Ints:
    """Returns the edge of the default action in each state, −1 where nothing can be done, int64 ``[S]``.

    Args:
        table: the table.
        default: the default action; None takes the table's label ``default``.

    Raises:
        CreditEnvsError: if none is known, or it is inadmissible in some state.
    """
    if default is None and "default" not in table.labels:
        raise CreditEnvsError(f"default=None: {table.name} has no label 'default'; name the action that stays")
    action = table.labels["default"] if default is None else np.full(table.n_states, default)
    edge = table.find_edges(np.arange(table.n_states), action)
    bad = np.flatnonzero((edge < 0) & (table.n_admissible > 0))
    if bad.size:
        raise CreditEnvsError(f"default={action[bad[0]]}: inadmissible in {bad.size} states, first in state {bad[0]}")
    return edge


def difference_at(values: Values, t: AnyArray, state: AnyArray, edge: AnyArray, default: int | None = None) -> Floats:
    """Returns the difference reward D_t(s, a) = Q_t(s, a) − Q_t(s, ā(s)) of visited steps, float64 like ``t``.

    Args:
        values: of the joint policy.
        t: int, step.
        state: int, state, of the same shape.
        edge: int, edge of the action taken (−1 gives NaN).
        default: see :func:`default_edges`.
    """
    stay = default_edges(values.table, default)[np.asarray(state)]
    return values.q_at(t, edge) - values.q_at(t, stay)


def difference_edges(values: Values, t: int, default: int | None = None) -> Floats:
    """Returns the difference reward D_t of every edge, float64 ``[E]``."""
    q, table = values.q_edges(t), values.table
    return np.asarray(q - q[default_edges(table, default)[table.edge_state]])


def coalition_values(table: TabularMDP, policy: PolicyLike, default: int | None = None) -> Floats:
    """Returns v(C), the expected return when all agents outside C always take the default action, float64 ``[2**n]``.

    Bit i of the index says whether agent i is in the coalition: the last entry is J, the first one has nobody move.

    Args:
        table: the table.
        policy: the joint policy, see :data:`~credit_envs.oracle.policy.PolicyLike`.
        default: see :func:`default_edges`.

    Raises:
        CreditEnvsError: as :func:`movers` and :func:`default_edges`, and for a malformed policy.
    """
    mover, stay, checked = movers(table), default_edges(table, default), as_policy(table, policy)
    always = np.zeros(table.n_edges)
    always[stay[stay >= 0]] = 1
    codes, weights = table.emission.episode_codes()
    if checked.kind != "obs":
        codes, weights = codes[:1], np.ones(1)
    out = np.zeros(1 << n_agents(table))
    for code, weight in zip(codes.tolist(), weights.tolist(), strict=True):
        whole = effective(table, checked, code)
        for coalition in range(len(out)):
            present = (coalition >> mover & 1) == 1
            edges = np.where(present[table.edge_state], whole.edge, always)
            part = EdgePolicy(edges, np.where(present, whole.stay, 0))
            out[coalition] += weight * Values(table, backward(table, chain(table, part), playing(table))).J
    return out


def difference_returns(table: TabularMDP, policy: PolicyLike, default: int | None = None) -> Floats:
    """Returns J − J with agent i always at the default action, for each agent, float64 ``[n]``."""
    v = coalition_values(table, policy, default)
    everyone = len(v) - 1
    return np.asarray(v[everyone] - v[everyone ^ (1 << np.arange(n_agents(table)))])


def shapley(game: AnyArray) -> Floats:
    """Returns the Shapley values of a game, float64 ``[n]``; they add up to v(everyone) − v(nobody).

    φ_i = Σ_{C ∌ i} |C|! (n − |C| − 1)! / n! · (v(C ∪ {i}) − v(C)).

    Args:
        game: float ``[2**n]``, value of each coalition; bit i of the index says whether agent i is in it.

    Raises:
        CreditEnvsError: if the length is no power of two.
    """
    v = np.asarray(game, dtype=np.float64)
    n = v.size.bit_length() - 1
    if v.ndim != 1 or v.size != 1 << n:
        raise CreditEnvsError(f"game: expected 2**n values, got shape {v.shape}")
    coalition = np.arange(v.size)
    size = (coalition[:, None] >> np.arange(n) & 1).sum(axis=1)
    weight = np.array([1 / (n * math.comb(n - 1, k)) if k < n else 0.0 for k in range(n + 1)])[size]
    out = np.empty(n)
    for i in range(n):
        without = coalition[(coalition >> i & 1) == 0]
        out[i] = weight[without] @ (v[without | 1 << i] - v[without])
    return out


def shapley_values(table: TabularMDP, policy: PolicyLike, default: int | None = None) -> Floats:
    """Returns the Shapley value of each agent in the game of :func:`coalition_values`, float64 ``[n]``."""
    return shapley(coalition_values(table, policy, default))


def round_values(values: Values, t: int, state: AnyArray) -> Floats:
    """Returns Q_t(s, (a_0, …, a_{n−1})) of the joint actions of a round, float64 ``[N, A, …, A]`` with n axes of A.

    Args:
        values: of the joint policy.
        t: step at which the round begins.
        state: int ``[N]``, states in which agent 0 is to move. NaN stands where an action is inadmissible; actions
            behind the end of the episode don't count.
    """
    return _joint(values, t, np.asarray(state, dtype=np.int64), n_agents(values.table))


def _joint(values: Values, t: int, state: Ints, left: int) -> Floats:
    table, a = values.table, values.table.n_actions
    shape = (state.size, *(a,) * left)
    out = np.full((state.size, a, *(a,) * (left - 1)), np.nan)
    count = table.n_admissible[state]
    edge = ragged_ranges(table.edge_start[state], count)
    row, action = np.repeat(np.arange(state.size), count), table.edge_action[edge]
    if left == 1 or t + 1 == table.horizon:
        q = values.q_at(np.full(edge.size, t), edge)
        out[row, action] = q.reshape(-1, *(1,) * (left - 1))
        return out.reshape(shape)
    outcomes = table.outcome_start[edge + 1] - table.outcome_start[edge]
    outcome = ragged_ranges(table.outcome_start[edge], outcomes)
    onward = np.zeros((outcome.size, *(a,) * (left - 1)))
    alive = ~table.terminal[outcome]
    onward[alive] = _joint(values, t + 1, table.successor[outcome[alive]].astype(np.int64), left - 1)
    gain = np.asarray(table.reward_at(t, table.reward[outcome])).reshape(-1, *(1,) * (left - 1))
    weighted = table.probability[outcome].reshape(gain.shape) * (gain + table.discount * onward)
    out[row, action] = 0
    np.add.at(out, (np.repeat(row, outcomes), np.repeat(action, outcomes)), weighted)
    return out


def coma(values: Values, policy: PolicyLike, t: int, state: int, actions: tuple[int, ...]) -> Floats:
    """Returns COMA's advantage of each agent's action in a round, float64 ``[n]``.

    A^i = Q(s, u) − Σ_b π_i(b) Q(s, (u^{−i}, b)): all other agents' actions are held fixed, the later ones too.

    Args:
        values: of the joint policy, on a table without luck.
        policy: the joint policy, one row per state or look.
        t: step at which the round begins.
        state: the state in which agent 0 is to move.
        actions: joint action u, n integers; the episode does not end before agent n − 1 has moved.

    Raises:
        CreditEnvsError: if the table has random outcomes, or the episode ends inside the round.
    """
    table, n = values.table, n_agents(values.table)
    if not table.is_deterministic:
        raise CreditEnvsError(f"{table.name}: outcomes are random; COMA's advantage needs the states between the moves")
    checked = as_policy(table, policy)
    joint = round_values(values, t, np.array([state]))[0]
    out, here = np.empty(n), state
    for i, action in enumerate(actions):
        row = _row(table, checked, here)
        others = joint[(*actions[:i], slice(None), *actions[i + 1 :])]
        out[i] = joint[actions] - np.nansum(row * others)
        edge = int(table.find_edges(np.array([here]), np.array([action]))[0])
        if i + 1 < n and (edge < 0 or table.terminal[table.outcome_start[edge]]):
            raise CreditEnvsError(f"actions={actions}: the round ends with agent {i}; later actions have no credit")
        here = int(table.successor[table.outcome_start[edge]])
    return out


def _row(table: TabularMDP, policy: Policy, state: int) -> Floats:
    return np.asarray(policy.probability[policy.rows(table, np.array([state]))[0]])


__all__ = [
    "coalition_values",
    "coma",
    "default_edges",
    "difference_at",
    "difference_edges",
    "difference_returns",
    "movers",
    "n_agents",
    "round_values",
    "shapley",
    "shapley_values",
]
