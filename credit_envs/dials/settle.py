"""Moves an exogenous layer that renames actions into the state, so that a step can be split while the names stay.

A cue is drawn anew at every step and never multiplies states. Where a step becomes several sub-steps (plan, spell), it
has to last for all of them, which takes memory: state ``(s, digit)`` is state s under one digit of the layer.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from credit_envs.arrays import AnyArray, Ints, ragged_ranges
from credit_envs.errors import CreditEnvsError
from credit_envs.table.build import lift
from credit_envs.table.emission import Emission, Layer
from credit_envs.table.mdp import TabularMDP
from credit_envs.table.observer import Observer
from credit_envs.table.view import Rows, View


def settle(table: TabularMDP, dial: str, max_states: int) -> TabularMDP:
    """Moves the layers that rename actions at every step, or depend on their number, into the state.

    Every state is multiplied by the digits that it can show. Dynamics, returns and what one sees stay as they are, for
    policies on observations too; what changes is that a start now includes the first digit, that the digit is part of
    the look that identity rules compare, and that the oracle no longer knows which part of the look is the picture's.

    Args:
        table: the table; returned as it is if it has no such layer.
        dial: the dial that asks for it, for errors.
        max_states: largest number of states to build.

    Raises:
        CreditEnvsError: if the table grows too large, or a layer renames actions once per episode.
    """
    for layer in table.emission.layers:
        if layer.state_class == "none" and not np.any(layer.shift):
            continue
        if layer.per_episode:
            raise CreditEnvsError(
                f"{dial}: layer {layer.name!r} of {table.name} renames actions once per episode; expected names that stay"
            )
        table = _settled(table, layer, dial, max_states)
    return table


def _settled(table: TabularMDP, layer: Layer, dial: str, max_states: int) -> TabularMDP:
    count = table.n_admissible
    chance = layer.probability[count if layer.state_class == "admissible" else count * 0]
    origin, digit = np.nonzero(chance)
    if origin.size > max_states:
        raise CreditEnvsError(
            f"{dial}: {origin.size} states with the layer {layer.name!r}, more than max_states={max_states}; raise max_states"
        )
    first = np.searchsorted(origin, np.arange(table.n_states + 1))

    n = count[origin]
    named = ragged_ranges(table.edge_start[origin], n)
    owner = np.repeat(np.arange(origin.size), n)
    start = table.edge_start[origin][owner]
    edge = start + (named - start - np.asarray(layer.shift)[digit][owner]) % n[owner]
    n_outcomes = np.diff(table.outcome_start)[edge]
    outcome = ragged_ranges(table.outcome_start[edge], n_outcomes)
    branches = np.diff(first)[table.successor[outcome]]
    landing = ragged_ranges(first[table.successor[outcome]], branches)
    outcome = np.repeat(outcome, branches)
    per_edge = np.bincount(np.repeat(np.arange(edge.size), n_outcomes), branches, edge.size).astype(np.int64)

    begins = np.diff(first)[table.start_state]
    start_state = ragged_ranges(first[table.start_state], begins)
    shown = chance[origin, digit]
    base = np.unique(table.emission.base[origin].astype(np.int64) * layer.size + digit, return_inverse=True)[1]
    others = tuple(other for other in table.emission.layers if other is not layer)
    return lift(
        table,
        origin,
        edge_start=np.concatenate(([0], np.cumsum(n))),
        edge_action=table.edge_action[named],
        outcome_start=np.concatenate(([0], np.cumsum(per_edge))),
        successor=landing.astype(np.int32),
        probability=table.probability[outcome] * shown[landing],
        reward=table.reward[outcome],
        terminal=table.terminal[outcome],
        start_state=start_state,
        start_probability=np.repeat(table.start_probability, begins) * shown[start_state],
        emission=Emission(base.astype(np.int32), others),
        views=_views(table, layer, origin, digit),
    )


def _views(table: TabularMDP, layer: Layer, origin: Ints, digit: Ints) -> dict[str, View]:
    """Every view that can show the layer, with its digit drawn in."""
    alone = table.replace(emission=Emission(table.emission.base, (layer,)))
    look = table.emission.base[origin].astype(np.int64) * layer.size + digit

    def drawn(observer: Observer) -> Callable[[AnyArray], Rows]:
        return lambda states: observer.rows(look[states])

    out = {}
    for name in {"text", *table.views} - {"state"}:
        try:
            observer = Observer(alone, name)
        except CreditEnvsError:  # a view without room for the layer
            continue
        out[name] = View(observer.space, drawn(observer))
    return out
