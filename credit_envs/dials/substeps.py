"""Tables in which one step of another table takes several: sub-steps that only move, and sub-steps that execute an edge."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from credit_envs.arrays import AnyArray, Ints, ragged_ranges
from credit_envs.dials.settle import settle
from credit_envs.errors import CreditEnvsError
from credit_envs.table.build import from_outcomes, lift
from credit_envs.table.emission import Emission
from credit_envs.table.mdp import TabularMDP


class Moves(NamedTuple):
    """Sub-steps without reward or luck, int64 ``[M]`` each: state, action, where it leads."""

    state: AnyArray
    action: AnyArray
    target: AnyArray


class Runs(NamedTuple):
    """Sub-steps that execute edges of the other table, int64 ``[R]`` each: state, action, edge."""

    state: AnyArray
    action: AnyArray
    edge: AnyArray


def splittable(table: TabularMDP, dial: str, labels: tuple[str, ...], max_states: int) -> TabularMDP:
    """Returns a table whose steps can be split: what renames its actions at every step becomes part of the state.

    Args:
        table: the table.
        dial: the dial that would split them, for the error.
        labels: labels that it adds.
        max_states: largest number of states to build.

    Raises:
        CreditEnvsError: if the table has one of these labels (the dial was turned already), or as
            :func:`credit_envs.dials.settle.settle`.
    """
    for name in labels:
        if name in table.labels:
            raise CreditEnvsError(f"{dial}: {table.name} has a label {name!r} already; a table can get one {dial} only")
    return settle(table, dial, max_states)


def with_substeps(
    table: TabularMDP,
    origin: Ints,
    moves: Moves,
    runs: Runs,
    landing: Callable[[Ints, Ints], AnyArray],
    *,
    n_actions: int,
    shown: Ints,
    **changes: Any,
) -> TabularMDP:
    """Builds a table from another one's edges and from moves between them.

    Args:
        table: the other table; labels, looks and views of state i follow ``origin[i]``.
        origin: int64 ``[S']``.
        moves: sub-steps that only move.
        runs: sub-steps that execute an edge.
        landing: function (run ``[n]``, outcome ``[n]``) → states in which outcomes of runs land.
        n_actions: number of action names.
        shown: int64 ``[S']`` ≥ 0, what the look of a state tells beside the look of its origin.
        **changes: further fields.
    """
    count = np.diff(table.outcome_start)[runs.edge]
    outcome = ragged_ranges(table.outcome_start[runs.edge], count)
    run = np.repeat(np.arange(len(runs.edge)), count)
    still = np.zeros(len(moves.state))
    rows = from_outcomes(
        table.name,
        origin.size,
        n_actions,
        {
            "state": np.concatenate((moves.state, runs.state[run])),
            "action": np.concatenate((moves.action, runs.action[run])),
            "successor": np.concatenate((moves.target, landing(run, outcome))),
            "probability": np.concatenate((still + 1, table.probability[outcome])),
            "reward": np.concatenate((still, table.reward[outcome])),
            "terminal": np.concatenate((still > 0, table.terminal[outcome])),
        },
        start={0: 1.0},
        horizon=1,
        validated=False,
    )
    dynamics = ("edge_start", "edge_action", "outcome_start", "successor", "probability", "reward", "terminal")
    look = table.emission.base[origin] * (shown.max(initial=0) + 1) + shown
    base = np.unique(look, return_inverse=True)[1].astype(np.int32)
    return lift(
        table,
        origin,
        n_actions=n_actions,
        **{name: getattr(rows, name) for name in dynamics},
        **{"emission": Emission(base, table.emission.layers), **changes},
    )


def refined(table: TabularMDP, origin: Ints, shown: Ints) -> dict[str, Ints]:
    """Returns the labels of the origins, with an ``anchor`` key that also tells sub-steps apart."""
    labels = {name: values[origin] for name, values in table.labels.items()}
    if "anchor" in labels:
        anchor = np.unique(labels["anchor"], return_inverse=True)[1]
        labels["anchor"] = np.unique(anchor * (shown.max(initial=0) + 1) + shown, return_inverse=True)[1]
    return labels
