"""The states of Apps and what every call does in them; the last response is part of a state but changes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import breadth_first_order

from credit_envs.arrays import AnyArray, Bools, Ints, ragged_ranges
from credit_envs.families.apps_task import DOCS, LOGIN, LOOK, WRITE, Task

OK, UNAUTHORISED, BAD, CONFLICT, UNAVAILABLE = range(5)
"""Last responses; from ``UNAVAILABLE`` on, the number of the call that failed is added."""


class Place(NamedTuple):
    """What is the case before the end, each int64 ``[n]``.

    Attributes:
        subtask: present subtask.
        sure: subtasks left behind with a confirmed right record.
        unsure: subtasks left behind with a right record that was not confirmed.
        docs: documentation read, bits of open apps.
        tokens: logins, bits of open apps.
        found: value looked up, 0 for none.
        record: value written, 0 for none.
        confirmed: whether the record was seen.
    """

    subtask: Ints
    sure: Ints
    unsure: Ints
    docs: Ints
    tokens: Ints
    found: Ints
    record: Ints
    confirmed: Ints

    @property
    def right(self) -> Bools:
        """Whether the record is what was looked up."""
        return np.asarray((self.record == self.found) & (self.found > 0))


class Outcomes(NamedTuple):
    """Outcomes of calls; places from ``Places.n`` on are the ends, by checks passed.

    Attributes:
        place: int64 ``[O]``, where the call is made.
        call: int64 ``[O]``.
        successor: int64 ``[O]``, place after the call.
        last: int64 ``[O]``, response.
        probability: float64 ``[O]``.
    """

    place: AnyArray
    call: AnyArray
    successor: AnyArray
    last: AnyArray
    probability: AnyArray


@dataclass(frozen=True, eq=False)
class Places:
    """All places of a task.

    Attributes:
        task: the instance.
    """

    task: Task

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """Number of values of each part of a place."""
        t, bits = self.task, 1 << self.task.apps
        return (t.subtasks, t.subtasks + 1, t.subtasks + 1, bits, bits, t.n_values + 1, t.n_values + 1, 2)

    @property
    def n(self) -> int:
        """Number of places."""
        return len(self.codes)

    @cached_property
    def codes(self) -> Ints:
        """The places as numbers, increasing, int64 ``[n]``; some cannot be reached."""
        parts, subset = [], np.arange(1 << self.task.apps)
        sure, unsure = (part.ravel() for part in np.indices((self.task.subtasks, self.task.subtasks)))
        for subtask in range(self.task.subtasks):
            kept = sure + unsure <= subtask
            bits = subset[subset & ~self.task.open_apps[subtask] == 0]
            ranges = [bits, bits, *(np.arange(size) for size in self.sizes[5:])]
            grids = np.meshgrid(np.flatnonzero(kept), *ranges, indexing="ij")
            pair, *rest = (grid.ravel() for grid in grids)
            parts.append(self.encode(Place(np.full_like(pair, subtask), sure[pair], unsure[pair], *rest)))
        return np.sort(np.concatenate(parts))

    @cached_property
    def at(self) -> Place:
        """What is the case in each place."""
        return Place(*np.unravel_index(self.codes, self.sizes))

    def encode(self, place: Place) -> Ints:
        """Returns the codes of places."""
        return np.ravel_multi_index(tuple(place), self.sizes).astype(np.int64)

    def find(self, rows: Ints, **changes: AnyArray | int) -> Ints:
        """Returns the places that some places become by changing some of their parts."""
        here = Place(*(part[rows] for part in self.at))
        changed = {name: np.broadcast_to(value, rows.shape) for name, value in changes.items()}
        return np.searchsorted(self.codes, self.encode(here._replace(**changed)))


class _Table:
    """Collects outcomes."""

    def __init__(self) -> None:
        self.rows: list[tuple[AnyArray, ...]] = []

    def add(
        self, place: AnyArray, call: int, successor: AnyArray, last: int = OK, probability: AnyArray | float = 1.0
    ) -> None:
        """Adds one outcome of a call in each of some places."""
        self.rows.append(np.broadcast_arrays(place, call, successor, last, probability))

    def outcomes(self) -> Outcomes:
        """Returns the possible outcomes, ordered by place."""
        columns = Outcomes(*(np.concatenate(column) for column in zip(*self.rows, strict=True)))
        possible = np.flatnonzero(columns.probability > 0)
        order = possible[np.argsort(columns.place[possible], kind="stable")]
        return Outcomes(*(column[order] for column in columns))


def all_outcomes(places: Places, guess: float, flaky: float, lost: float) -> Outcomes:
    """Returns what every call does in every place."""
    table = _Table()
    for app in range(places.task.apps):
        _call_app(places, table, app, guess, flaky, lost)
    _go_on(places, table, lost)
    return table.outcomes()


def _call_app(places: Places, table: _Table, app: int, guess: float, flaky: float, lost: float) -> None:
    task, at, bit = places.task, places.at, 1 << app
    first, check = app * task.per_app, (app + 1) * task.per_app - 1
    is_open, has_token = task.open_apps[at.subtask] & bit > 0, at.tokens & bit > 0
    is_own = is_open & (task.app[at.subtask] == app)
    heard = np.where(at.docs & bit > 0, 1.0, guess)

    def refuse(where: Bools, call: int, last: int) -> None:
        rows = np.flatnonzero(where)
        table.add(rows, call, rows, last)

    def attempt(where: Bools, call: int, *effects: tuple[float, Mapping[str, AnyArray | int]]) -> None:
        rows = np.flatnonzero(where)
        told = heard[rows] if call != first + LOGIN else np.ones(rows.size)
        table.add(rows, call, rows, BAD, 1 - told)
        table.add(rows, call, rows, UNAVAILABLE + call, told * flaky)
        for share, changes in effects:
            table.add(rows, call, places.find(rows, **changes), OK, told * (1 - flaky) * share)

    rows = np.flatnonzero(is_open)
    table.add(rows, first + DOCS, places.find(rows, docs=at.docs[rows] | bit))
    refuse(is_open & has_token, first + LOGIN, OK)
    rows = np.flatnonzero(is_open & ~has_token)
    attempt(is_open & ~has_token, first + LOGIN, (1.0, {"tokens": at.tokens[rows] | bit}))
    for call in range(first + LOOK, check + 1):
        refuse(is_open & ~is_own, call, CONFLICT)
        refuse(is_own & ~has_token, call, UNAUTHORISED)

    ready, values = is_own & has_token, range(1, task.n_values + 1)
    refuse(ready & (at.found > 0), first + LOOK, OK)
    shares = [(1 / task.n_values, {"found": v}) for v in values]
    attempt(ready & (at.found == 0), first + LOOK, *shares)
    for v in values:
        call = first + WRITE + v - 1
        refuse(ready & (at.found == 0), call, CONFLICT)
        refuse(ready & (at.found > 0) & (at.record == v), call, OK)
        attempt(ready & (at.found > 0) & (at.record != v), call, (1.0, {"record": v, "confirmed": 0}))
    refuse(ready & (at.record == 0), check, CONFLICT)
    refuse(ready & (at.confirmed > 0), check, OK)
    attempt(ready & (at.record > 0) & (at.confirmed == 0), check, (1 - lost, {"confirmed": 1}), (lost, {"record": 0}))


def _go_on(places: Places, table: _Table, lost: float) -> None:
    task, at = places.task, places.at
    sure, unsure = at.sure + (at.right & (at.confirmed > 0)), at.unsure + (at.right & (at.confirmed == 0))
    rows = np.flatnonzero(at.subtask + 1 < task.subtasks)
    subtask = at.subtask[rows] + 1
    kept = task.open_apps[subtask]
    left = {"sure": sure[rows], "unsure": unsure[rows], "docs": at.docs[rows] & kept, "tokens": at.tokens[rows] & kept}
    table.add(rows, task.next_subtask, places.find(rows, subtask=subtask, found=0, record=0, confirmed=0, **left))

    # Multiplying out by hand keeps the last bit the same on every machine, which a power function does not.
    share = np.zeros((task.subtasks + 1, task.subtasks + 1))
    share[0, 0] = 1
    for n in range(task.subtasks):
        share[n + 1] = share[n] * lost
        share[n + 1, 1:] += share[n, :-1] * (1 - lost)
    rows = np.arange(places.n)
    for stored in range(task.subtasks + 1):
        passed = np.minimum(sure + stored, task.subtasks)
        table.add(rows, task.next_subtask + 1, places.n + passed, OK, share[unsure, stored])


@dataclass(frozen=True, eq=False)
class States:
    """Numbered states: a place and the last response.

    Attributes:
        place: int64 ``[S]``; from ``Places.n`` on, the checks passed at the end.
        last: int64 ``[S]``.
        outcomes: outcomes per state, with states in place of places.
    """

    place: Ints
    last: Ints
    outcomes: Outcomes


def number_states(places: Places, outcomes: Outcomes) -> States:
    """Numbers the states that can be reached, the start first and the ends last."""
    n = places.n + places.task.subtasks + 1
    graph = csr_array((np.ones(outcomes.place.size, dtype=np.int8), (outcomes.place, outcomes.successor)), shape=(n, n))
    seen = np.zeros(n, dtype=bool)
    seen[breadth_first_order(graph, 0, return_predecessors=False)] = True
    kept = Outcomes(*(column[seen[outcomes.place]] for column in outcomes))
    responses = UNAVAILABLE + places.task.next_subtask
    after = kept.successor * responses + kept.last
    keys = np.unique(np.append(after, 0))
    place, last = np.divmod(keys, responses)
    first, end = np.searchsorted(kept.place, place), np.searchsorted(kept.place, place, side="right")
    which = ragged_ranges(first, end - first)
    state = np.repeat(np.arange(keys.size), end - first)
    successor = np.searchsorted(keys, after)[which]
    return States(place, last, Outcomes(state, kept.call[which], successor, kept.last[which], kept.probability[which]))
