"""A table as linked Python objects, listed where visited (NumPy scalars would make steps several times slower)."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np

from credit_envs.errors import CreditEnvsError
from credit_envs.table.mdp import TabularMDP
from credit_envs.table.observer import Observer

LIMIT = 1 << 16
"""Listed states (and kept observations) at most; beyond, the listing starts again."""


BLOCK = 64
"""Observations decoded at once."""

_SMALL = 1024


class Node(dict[Any, Any]):
    """One state: action → (thresholds or None, outcome or outcomes); an outcome is (node, reward, terminal).

    Edges are listed when the state is first left, by the dictionary's own miss.

    Attributes:
        state: its number.
        look: its class of looks.
        actions: its admissible actions, once listed.
        shown: what it looks like, once shown; always None on tables with emission layers.
    """

    __slots__ = ("actions", "lister", "look", "shown", "state")

    def __init__(self, state: int, look: int, lister: Callable[[Node, Any], Any]) -> None:
        self.state, self.look, self.lister = state, look, lister
        self.actions: tuple[int, ...] = ()
        self.shown: Any = None

    def __missing__(self, action: Any) -> Any:
        return self.lister(self, action)


class Listing:
    """The visited part of one table, and what its states look like.

    Args:
        table: the table.
        observer: shows its observation ids.

    Attributes:
        copy: how to make a new object of an observation; None for immutable ones.
    """

    def __init__(self, table: TabularMDP, observer: Observer) -> None:
        self._table, self._observer = table, observer
        self._nodes: dict[int, Node] = {}
        self._looks: dict[int, Any] = {}
        self._block = _block(observer.space)
        self.copy = _copier(observer.space)

    def enter(self, state: int) -> Node:
        """Returns the node of a state."""
        node = self._nodes.get(state)
        if node is None:
            if len(self._nodes) >= LIMIT:
                for old in self._nodes.values():
                    old.clear()  # unlinked, or the listing would never be let go
                self._nodes.clear()
            node = self._nodes[state] = Node(state, int(self._table.emission.base[state]), self._list)
        return node

    def index(self, action: Any) -> int:
        """Returns an action as a plain integer.

        Raises:
            CreditEnvsError: if it is none, or out of range.
        """
        try:
            index = operator.index(action)
        except TypeError:
            index = -1
        if not 0 <= index < self._table.n_actions:
            raise CreditEnvsError(f"action={action!r}: expected an integer in [0, {self._table.n_actions - 1}]")
        return index

    def show(self, obs: int) -> Any:
        """Returns the observation of an id; to be copied before it is handed out."""
        shown = self._looks.get(obs)
        if shown is None:
            if len(self._looks) >= LIMIT:
                self._looks.clear()
            if self._observer.view == "state":
                self._looks[obs] = obs
            else:
                first = obs - obs % self._block
                ids = np.arange(first, min(first + self._block, self._table.n_obs))
                self._looks.update(
                    zip(ids.tolist(), _split(self._observer.rows(ids), self._observer.space), strict=True)
                )
            shown = self._looks[obs]
        return shown

    def _list(self, node: Node, action: Any) -> Any:
        """Lists the edges of a state, and then what an inadmissible action does."""
        named = self.index(action)
        if not node:
            table = self._table
            first, last = table.edge_start[node.state : node.state + 2].tolist()
            ends = table.outcome_start[first : last + 1].tolist()
            span = slice(ends[0], ends[-1])
            columns = (column[span].tolist() for column in (table.successor, table.reward, table.terminal))
            outcomes = [(self.enter(state), reward, done) for state, reward, done in zip(*columns, strict=True)]
            bounds = [] if table.is_deterministic else table.outcome_threshold[span].tolist()
            node.actions = tuple(table.edge_action[first:last].tolist())
            for e, listed in enumerate(node.actions):
                low, high = ends[e] - ends[0], ends[e + 1] - ends[0]
                certain = high == low + 1
                node[listed] = (None, outcomes[low]) if certain else (bounds[low:high], outcomes[low:high])
        if named not in node:
            node[named] = (None, (node, self._table.inadmissible_reward, False))
        return node[named]


def _block(space: gymnasium.Space[Any]) -> int:
    """Returns how many neighbours are decoded at once: small planes cost hardly more together than one alone."""
    small = isinstance(space, gymnasium.spaces.Box) and int(np.prod(space.shape)) * space.dtype.itemsize <= _SMALL
    return BLOCK if small else 1


def _split(rows: Any, space: gymnasium.Space[Any]) -> list[Any]:
    """Returns the rows of a batch of shown states as elements of its space."""
    if isinstance(space, gymnasium.spaces.Dict):
        parts = [_split(rows[key], part) for key, part in space.spaces.items()]
        return [dict(zip(space.spaces, values, strict=True)) for values in zip(*parts, strict=True)]
    if isinstance(rows, np.ndarray):
        rows = np.asarray(rows, dtype=space.dtype)
        return rows.tolist() if isinstance(space, gymnasium.spaces.Discrete) else list(rows)
    return list(rows)


def _copier(space: gymnasium.Space[Any]) -> Callable[[Any], Any] | None:
    if isinstance(space, gymnasium.spaces.Discrete | gymnasium.spaces.Text):
        return None
    if isinstance(space, gymnasium.spaces.Dict):
        parts = [(key, copy) for key, part in space.spaces.items() if (copy := _copier(part)) is not None]
        if len(parts) == 1:
            only, copy_only = parts[0]
            return lambda shown: {**shown, only: copy_only(shown[only])}
        return lambda shown: {**shown, **{key: copy(shown[key]) for key, copy in parts}}
    return np.ndarray.copy  # the method itself: a function around it would cost more than the copy
