"""Policies as the oracle sees them: a table of probabilities indexed by state, look or observation id."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from credit_envs.arrays import AnyArray, Floats, Ints
from credit_envs.errors import CreditEnvsError
from credit_envs.table.mdp import TabularMDP

PolicyLike: TypeAlias = "Floats | Policy | Callable[[Ints], AnyArray]"
"""An array ``[S, A]``, ``[n_base, A]`` or ``[n_obs, A]``, a function from observation ids to rows, or a Policy."""

_TOLERANCE = 1e-6


@dataclass(frozen=True, eq=False)
class Policy:
    """A tabular policy.

    Attributes:
        kind: what a row stands for: ``state``, ``look`` (the emission's base class) or ``obs``. The first two choose the
            executed action, whatever its name is at the moment; ``obs`` chooses a name.
        probability: float64 ``[rows, A]``.
    """

    kind: str
    probability: Floats

    def rows(self, table: TabularMDP, state: AnyArray, code: AnyArray | int = 0) -> Ints:
        """Returns the row of the policy in each (state, emission code)."""
        if self.kind == "state":
            return np.asarray(state, dtype=np.int64)
        look = table.emission.base[state].astype(np.int64)
        return look if self.kind == "look" else look * table.emission.n_codes + code

    @property
    def names_actions(self) -> bool:
        """Whether the policy chooses action names (which an emission may shift) instead of executed actions."""
        return self.kind == "obs"


def as_policy(table: TabularMDP, policy: PolicyLike) -> Policy:
    """Checks a policy against a table.

    Args:
        table: the table.
        policy: see :data:`PolicyLike`. An array with S rows is read as one row per state.

    Raises:
        CreditEnvsError: if the shape fits no reading, or rows are no distributions.
    """
    if isinstance(policy, Policy):
        kind, probability = policy.kind, policy.probability
    elif callable(policy):
        kind, probability = "obs", np.asarray(policy(np.arange(table.n_obs)), dtype=np.float64)
    else:
        probability = np.asarray(policy, dtype=np.float64)
        rows = probability.shape[0] if probability.ndim == 2 else -1
        readings = {table.n_obs: "obs", table.emission.n_base: "look", table.n_states: "state"}
        if rows not in readings:
            allowed = sorted({(n, table.n_actions) for n in readings})
            raise CreditEnvsError(f"policy: expected shape {' or '.join(map(str, allowed))}, got {probability.shape}")
        kind = readings[rows]
    n_rows = {"state": table.n_states, "look": table.emission.n_base, "obs": table.n_obs}.get(kind)
    if n_rows is None:
        raise CreditEnvsError(f"policy.kind={kind!r}: expected 'state', 'look' or 'obs'")
    if probability.shape != (n_rows, table.n_actions):
        raise CreditEnvsError(f"policy: expected shape {(n_rows, table.n_actions)}, got {probability.shape}")
    if not np.all(np.isfinite(probability)):
        row = int(np.flatnonzero(~np.isfinite(probability).all(axis=1))[0])
        raise CreditEnvsError(f"policy: row {row} holds NaN or infinity; expected probabilities")
    if probability.min(initial=0) < 0:
        raise CreditEnvsError(f"policy: probability {probability.min():g} is below 0")
    total = probability.sum(axis=1)
    # Rows of states without actions are never read and may be zero.
    used = np.zeros(n_rows, dtype=bool)
    playing = np.flatnonzero(table.n_admissible > 0)
    if kind == "obs":
        looks = table.emission.base[playing].astype(np.int64)
        used[(looks[:, None] * table.emission.n_codes + np.arange(table.emission.n_codes)).ravel()] = True
    else:
        used[Policy(kind, probability).rows(table, playing)] = True
    bad = np.flatnonzero(used & (np.abs(total - 1) > _TOLERANCE))
    if bad.size:
        raise CreditEnvsError(f"policy: row {bad[0]} sums to {total[bad[0]]:.9g}, expected 1")
    return Policy(kind, probability)


@dataclass(frozen=True, eq=False)
class EdgePolicy:
    """A policy spread over a table's edges.

    Attributes:
        edge: float64 ``[E]``, probability of each admissible action in its state.
        stay: float64 ``[S]``, probability of naming an inadmissible action.
    """

    edge: Floats
    stay: Floats


def effective(table: TabularMDP, policy: Policy, episode_code: int | None = None) -> EdgePolicy:
    """Averages a policy over what each step's emission may show: π_eff(a|s) = Σ_z p(z|s) π(name of a under z | s, z).

    Args:
        table: the table.
        policy: a checked policy.
        episode_code: the per-episode part of the emission code, where the policy sees it.

    Raises:
        CreditEnvsError: if the policy sees several per-episode looks and none was named.
    """
    if episode_code is None:
        codes, _ = table.emission.episode_codes()
        if policy.kind == "obs" and codes.size > 1:
            raise CreditEnvsError(
                f"episode_code=None: the policy sees {codes.size} per-episode looks; name one, or use expected_return"
            )
        episode_code = int(codes[0])
    alive = table.n_admissible > 0
    if policy.kind != "obs":
        rows = policy.rows(table, table.edge_state)
        edge = policy.probability[rows, table.edge_action]
    else:
        edge = np.zeros(table.n_edges)
        for state, code, weight in step_codes(table, episode_code):
            where = _edges_of(table, state)
            named = named_actions(table, where, code)
            rows = policy.rows(table, table.edge_state[where], code)
            edge[where] += weight * policy.probability[rows, named]
    stay = np.where(alive, 1 - np.bincount(table.edge_state, edge, minlength=table.n_states), 0)
    stay[np.abs(stay) < _TOLERANCE] = 0
    return EdgePolicy(edge, stay)


def step_codes(table: TabularMDP, episode_code: int = 0) -> Iterator[tuple[Ints, int, float]]:
    """Yields (states, code, probability) for every emission code that a step can show, by number of admissible actions."""
    by_count = any(layer.state_class == "admissible" for layer in table.emission.layers)
    counts = np.unique(table.n_admissible) if by_count else np.array([-1])
    for count in counts.tolist():
        states = np.flatnonzero(table.n_admissible == count) if by_count else np.arange(table.n_states)
        codes, probability = table.emission.step_codes(max(count, 0))
        for code, weight in zip(codes.tolist(), probability.tolist(), strict=True):
            yield states, episode_code + code, weight


def named_actions(table: TabularMDP, edges: Ints, code: int) -> Ints:
    """Returns the action name that executes each edge under an emission code, int64 like ``edges``."""
    if not table.emission.shift[code]:
        return table.edge_action[edges].astype(np.int64)
    state = table.edge_state[edges]
    first = table.edge_start[state]
    rank = (edges - first + table.emission.shift[code]) % table.n_admissible[state]
    named: Ints = table.edge_action[first + rank].astype(np.int64)
    return named


def _edges_of(table: TabularMDP, states: Ints) -> Ints:
    if states.size == table.n_states:
        return np.arange(table.n_edges)
    chosen = np.zeros(table.n_states, dtype=bool)
    chosen[states] = True
    return np.flatnonzero(chosen[table.edge_state])


def uniform(table: TabularMDP) -> Floats:
    """Returns the policy that is uniform over admissible actions, float64 ``[S, A]``."""
    return np.asarray(table.mask / np.maximum(table.n_admissible, 1)[:, None], dtype=np.float64)
