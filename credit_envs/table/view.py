"""Views: how a state is shown, as an integer, words, planes or a picture. Rows are built on request, never up front."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np

from credit_envs.arrays import AnyArray

if TYPE_CHECKING:
    from credit_envs.table.mdp import TabularMDP

Rows = Any
"""A batch of shown states: an array ``[n, ...]``, a list of n strings, or a dict of those."""

CHARSET = "".join(chr(c) for c in range(32, 127)) + "\n"
"""Characters of text views, in a fixed order."""

MAX_TEXT = 4096


@dataclass(frozen=True, eq=False)
class View:
    """How states are shown.

    Attributes:
        space: Gymnasium space of one shown state.
        rows: function from state ids int64 ``[n]`` to their rows (array ``[n, ...]``, list of n strings, or dict of those).
        own_layers: names of the emission layers that the view draws itself; observers show the others in their own way.
        with_layers: function from state ids int64 ``[n]`` and the digits of ``own_layers`` int64 ``[n, len(own_layers)]``
            to rows with these digits drawn in. Where it shows words, it may tell no more than each layer's ``blind`` form.
    """

    space: gymnasium.Space[Any]
    rows: Callable[[AnyArray], Rows]
    own_layers: tuple[str, ...] = ()
    with_layers: Callable[[AnyArray, AnyArray], Rows] | None = None

    def of(self, origin: AnyArray) -> View:
        """Returns the view of states that look like states ``origin`` (int64 ``[S']``) of this view."""
        drawn = self.with_layers
        layered = None if drawn is None else lambda states, digits: drawn(origin[states], digits)
        return View(self.space, lambda states: self.rows(origin[states]), self.own_layers, layered)

    def reworded(self, space: gymnasium.Space[Any], change: Callable[[AnyArray, Rows], Rows]) -> View:
        """Returns a view that shows ``change(states, rows)`` instead of the rows, with layers drawn in or not."""
        drawn = self.with_layers
        layered = None if drawn is None else lambda states, digits: change(states, drawn(states, digits))
        return View(space, lambda states: change(states, self.rows(states)), self.own_layers, layered)


def text_space(max_length: int = MAX_TEXT) -> gymnasium.spaces.Text:
    """Returns the space of text views."""
    return gymnasium.spaces.Text(min_length=0, max_length=max_length, charset=CHARSET)


def stored_view(space: gymnasium.Space[Any], stored: Rows) -> View:
    """Returns a view over rows that already exist: an array, a list of strings, or a dict of those."""

    def pick(rows: Rows, states: AnyArray) -> Rows:
        if isinstance(rows, Mapping):
            return {key: pick(value, states) for key, value in rows.items()}
        if isinstance(rows, np.ndarray):
            return rows[states]
        return [rows[int(s)] for s in states]

    return View(space, lambda states: pick(stored, np.asarray(states)))


def default_views(table: TabularMDP) -> dict[str, View]:
    """Returns the two views that every table has: ``state`` (its number) and ``text`` (its labels in words)."""
    names, columns = list(table.labels), list(table.labels.values())

    def words(states: AnyArray) -> list[str]:
        if not names:
            return [f"State {int(s)}." for s in states]
        parts = [", ".join(f"{n} {int(c[s])}" for n, c in zip(names, columns, strict=True)) for s in states]
        return [f"State {int(s)}: {part}." for s, part in zip(states, parts, strict=True)]

    def numbers(states: AnyArray) -> AnyArray:
        return np.asarray(states, dtype=np.int64)

    return {"state": View(gymnasium.spaces.Discrete(table.n_states), numbers), "text": View(text_space(), words)}
