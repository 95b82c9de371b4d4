"""Optimal play by backward induction, and the ladder of policies on which estimators are scored.

Ties between optimal actions go to the one that ends sooner, so that optimal play does not dawdle where time is free.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from credit_envs.arrays import AnyArray, Floats, Ints
from credit_envs.errors import check_range
from credit_envs.oracle.evaluation import Values, cutoff_values, evaluate, over_time, playing
from credit_envs.oracle.gradient import action_values
from credit_envs.oracle.policy import Policy, uniform
from credit_envs.table.mdp import TabularMDP

_TIE = 1e-12
_BISECTIONS = 60
_CLOSE = 1e-4


@dataclass(frozen=True, eq=False)
class Optimal(Values):
    """Optimal values, and how long optimal play takes.

    Attributes:
        steps: float64 ``[H + 1, S]``, expected number of steps that the soonest-ending optimal play still takes.
    """

    steps: Floats

    @property
    def length(self) -> float:
        """Expected number of steps of optimal play from the start distribution."""
        return float(self.table.start_probability @ self.steps[0, self.table.start_state])

    def greedy(self, t: int) -> Ints:
        """Returns the edge that optimal play takes in every state at step t (−1 without actions), int64 ``[S]``."""
        return _choose(self.table, self.q_edges(t), self._edge_steps(t))

    def _edge_steps(self, t: int) -> Floats:
        return np.asarray(1 + self.table.outcome_matrix @ self.steps[t + 1])


def optimal(table: TabularMDP) -> Optimal:
    """Solves a table by backward induction over (step, state), choosing among admissible actions."""
    solved = Optimal(table, over_time(table), over_time(table))
    solved.V[-1] = cutoff_values(table)
    alive = playing(table) > 0
    for t in range(table.horizon - 1, -1, -1):
        q, steps = solved.q_edges(t), solved._edge_steps(t)
        edge = _choose(table, q, steps)[alive]
        solved.V[t, alive], solved.steps[t, alive] = q[edge], steps[edge]
    return solved


def _choose(table: TabularMDP, q: Floats, steps: Floats) -> Ints:
    """Best edge per state: highest q, then fewest steps, then lowest action."""
    chosen = np.full(table.n_states, -1, dtype=np.int64)
    alive = np.flatnonzero(table.n_admissible > 0)
    first, count = table.edge_start[:-1][alive], table.n_admissible[alive]
    if not alive.size:
        return chosen
    top = np.repeat(np.maximum.reduceat(q, first), count)
    tied = np.where(q >= top - _TIE * np.maximum(1, np.abs(top)), steps, np.inf)
    soonest = np.repeat(np.minimum.reduceat(tied, first), count)
    candidate = np.where(tied <= soonest + _TIE * np.maximum(1, soonest), np.arange(q.size), q.size)
    chosen[alive] = np.minimum.reduceat(candidate, first)
    return chosen


@dataclass(frozen=True, eq=False)
class Rung:
    """One policy of a ladder.

    Attributes:
        name: ``uniform``, or the share of the way to optimal play that was asked for.
        policy: the policy, one row per look.
        J: its expected return.
        normalised: (J − J_uniform) / (J* − J_uniform), NaN where uniform play is already optimal.
    """

    name: str
    policy: Policy
    J: float
    normalised: float


def ladder(table: TabularMDP, levels: Sequence[float] = (0.0, 0.5, 0.9), max_updates: int = 300) -> list[Rung]:
    """Trains a tabular softmax policy by exact natural policy gradient and keeps it at given normalised returns.

    The update adds the occupancy-weighted advantage to the logits (Kakade 2001, "A natural policy gradient"; for tabular
    softmax it is the advantage itself), with a step that doubles on success and halves on failure. A rung lies on the
    path between two updates, found by bisection.

    Args:
        table: the table.
        levels: increasing normalised returns in [0, 1).
        max_updates: updates after which a level counts as out of reach; the best policy found stands for it.
    """
    for level in levels:
        check_range("levels", level, 0, 0.999)
    best_return = optimal(table).J
    looks, mask = _look_mask(table)
    logits = np.zeros((looks, table.n_actions))

    def rung(name: str, at: AnyArray) -> Rung:
        policy = Policy("look", _softmax(at, mask))
        value = evaluate(table, policy).J
        gap = best_return - base.J if name != "uniform" else np.nan
        normalised = (value - base.J) / gap if gap > _TIE else (0.0 if name == "uniform" else np.nan)
        return Rung(name, policy, value, float(normalised))

    base = rung("uniform", logits)
    if best_return - base.J <= _TIE * max(1.0, abs(best_return)):
        return [base]
    rungs: list[Rung] = [base] if levels and levels[0] == 0 else []
    current, rate, updates = base, 1.0, 0
    for level in [level for level in levels if level > 0]:
        name = f"{level:g}"
        while current.normalised < level and updates < max_updates:
            updates += 1
            step = _direction(table, current.policy)
            following = rung(name, logits + rate * step)
            if following.J <= current.J:
                rate /= 2
                continue
            if following.normalised >= level:
                following, logits = _between(rung, name, logits, rate * step, level)
            else:
                logits, rate = logits + rate * step, rate * 2
            current = following
        rungs.append(Rung(name, current.policy, current.J, current.normalised))
    return rungs


def _between(rung: object, name: str, logits: Floats, step: Floats, level: float) -> tuple[Rung, Floats]:
    low, high = 0.0, 1.0
    # Steps have doubled their way up to any size, so the bisection goes on until the rung is met.
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        found = rung(name, logits + middle * step).normalised  # type: ignore[operator]
        if found < level:
            low = middle
        else:
            high = middle
            if found < level + _CLOSE:
                break
    return rung(name, logits + high * step), logits + high * step  # type: ignore[operator]


def _look_mask(table: TabularMDP) -> tuple[int, AnyArray]:
    mask = np.zeros((table.emission.n_base, table.n_actions), dtype=bool)
    mask[table.emission.base[table.edge_state], table.edge_action] = True
    return table.emission.n_base, mask


def _softmax(logits: AnyArray, mask: AnyArray) -> Floats:
    shifted = np.where(mask, logits, -np.inf)
    top = shifted.max(axis=1, keepdims=True)
    weight = np.where(mask, np.exp(shifted - np.where(np.isfinite(top), top, 0)), 0)
    return np.asarray(weight / np.maximum(weight.sum(axis=1, keepdims=True), 1e-300))


def _direction(table: TabularMDP, policy: Policy) -> Floats:
    """Occupancy-weighted advantage of each (look, action), scaled to a largest entry of one."""
    weights, visits = action_values(table, policy)
    looks = table.emission.base
    total = np.zeros((table.emission.n_base, table.n_actions))
    np.add.at(total, (looks[table.edge_state], table.edge_action), weights)
    seen = np.bincount(looks, visits, minlength=table.emission.n_base)
    mean = total / np.maximum(seen, 1e-300)[:, None]
    advantage = np.where(seen[:, None] > 0, mean - (policy.probability * mean).sum(axis=1, keepdims=True), 0)
    top = float(np.abs(advantage).max())
    return advantage / top if top > 0 else advantage


__all__ = ["Optimal", "Rung", "ladder", "optimal", "uniform"]
