"""What every table must satisfy; each violation names the field, the place and the value."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from credit_envs.arrays import AnyArray
from credit_envs.errors import TableError

if TYPE_CHECKING:
    from credit_envs.table.mdp import TabularMDP

TOLERANCE = 1e-9


def validate(table: TabularMDP) -> None:
    """Checks a table's arrays against each other.

    Raises:
        TableError: naming the first field that is wrong, where, and what was expected.
    """
    n_states, n_edges, n_outcomes = table.n_states, table.n_edges, table.n_outcomes
    _require(n_states >= 1, "edge_start", "at least one state", n_states)
    _require(table.n_actions >= 1, "n_actions", "at least 1", table.n_actions)
    _require(
        isinstance(table.horizon, int | np.integer) and table.horizon >= 1, "horizon", "an integer ≥ 1", table.horizon
    )
    _require(0 <= table.discount <= 1, "discount", "a number in [0, 1]", table.discount)
    _require(
        bool(np.isfinite(table.inadmissible_reward)),
        "inadmissible_reward",
        "a finite number",
        table.inadmissible_reward,
    )
    _require(
        len(table.action_names) == table.n_actions, "action_names", f"{table.n_actions} names", len(table.action_names)
    )
    _bounds(table.edge_start, n_edges, "edge_start", allow_empty=True)
    _bounds(table.outcome_start, n_outcomes, "outcome_start", allow_empty=False)
    _require(
        len(table.outcome_start) == n_edges + 1, "outcome_start", f"{n_edges + 1} entries", len(table.outcome_start)
    )

    _within(table.edge_action, 0, table.n_actions - 1, "edge_action")
    same_state = table.edge_state[1:] == table.edge_state[:-1]
    _all(~same_state | (np.diff(table.edge_action) > 0), "edge_action", "increasing and distinct inside a state")

    for name in ("probability", "reward", "terminal"):
        _require(len(getattr(table, name)) == n_outcomes, name, f"{n_outcomes} entries", len(getattr(table, name)))
    _within(table.successor, 0, n_states - 1, "successor")
    _finite(table.reward, "reward")
    _distribution(table.probability, table.outcome_edge, n_edges, "probability", "edge")

    _require(table.start_state.size > 0, "start_state", "at least one start", 0)
    _within(table.start_state, 0, n_states - 1, "start_state")
    starts = len(table.start_state)
    _require(
        len(table.start_probability) == starts, "start_probability", f"{starts} entries", len(table.start_probability)
    )
    _distribution(table.start_probability, np.zeros(starts, np.int64), 1, "start_probability", "distribution")

    for name, length in (("reward_scale", table.horizon), ("reward_shift", table.horizon), ("cutoff_reward", n_states)):
        values = getattr(table, name)
        if values is not None:
            _require(len(values) == length, name, f"{length} entries", len(values))
            _finite(values, name)
    _require(
        table.cutoff_reward is None or table.discount > 0,
        "discount",
        "more than 0 with a cutoff_reward",
        table.discount,
    )
    for name, values in table.labels.items():
        _require(values.shape == (n_states,), f"labels[{name!r}]", f"shape ({n_states},)", values.shape)
    _require(
        table.emission.base.shape == (n_states,), "emission.base", f"shape ({n_states},)", table.emission.base.shape
    )
    for layer in table.emission.layers:
        rows = table.n_actions + 1 if layer.state_class == "admissible" else 1
        _require(
            layer.probability.shape[0] == rows, f"layer {layer.name!r}", f"{rows} rows", layer.probability.shape[0]
        )
    _play(table)


def _play(table: TabularMDP) -> None:
    """Every state in which play goes on needs an admissible action, and every state a way to reach it."""
    continued = np.zeros(table.n_states, dtype=bool)
    continued[table.successor[~table.terminal & (table.probability > 0)]] = True
    continued[table.start_state[table.start_probability > 0]] = True
    _all(~continued | (table.n_admissible > 0), "edge_start", "at least one admissible action where play goes on")
    if not table.allow_unreachable:
        _all(table.reachable(), "successor", "every state reachable from the start (or allow_unreachable=True)")


def _require(ok: bool, field: str, expected: str, got: Any) -> None:
    if not ok:
        raise TableError(f"{field}: expected {expected}, got {got!r}")


def _all(ok: AnyArray, field: str, expected: str) -> None:
    if not np.all(ok):
        bad = np.flatnonzero(~ok)
        raise TableError(f"{field}: expected {expected}; wrong at {bad.size} places, first at {int(bad[0])}")


def _finite(values: AnyArray, field: str) -> None:
    _all(np.isfinite(values), field, "finite numbers")


def _within(values: AnyArray, low: int, high: int, field: str) -> None:
    bad = np.flatnonzero((values < low) | (values > high))
    if bad.size:
        raise TableError(f"{field}[{int(bad[0])}] = {int(values[bad[0]])}: expected an integer in [{low}, {high}]")


def _bounds(start: AnyArray, end: int, field: str, *, allow_empty: bool) -> None:
    step = np.diff(start)
    ok = start.size > 0 and start[0] == 0 and start[-1] == end and bool(np.all(step >= 0 if allow_empty else step > 0))
    _require(
        ok,
        field,
        f"{'non-decreasing' if allow_empty else 'increasing'} bounds from 0 to {end}",
        start[[0, -1]].tolist(),
    )


def _distribution(probability: AnyArray, segment: AnyArray, n: int, field: str, what: str) -> None:
    _all((probability >= 0) & np.isfinite(probability), field, "finite numbers ≥ 0")
    total = np.bincount(segment, probability, minlength=n)
    bad = np.flatnonzero(np.abs(total - 1) > TOLERANCE)
    if bad.size:
        raise TableError(f"{field}: {what} {int(bad[0])} sums to {total[bad[0]]:.12g}, expected 1 (±{TOLERANCE:g})")
