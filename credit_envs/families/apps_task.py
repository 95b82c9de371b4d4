"""The task of an Apps instance: which app each subtask is about, who it is for, and the words of every call."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from credit_envs.arrays import Ints
from credit_envs.families.family import below, instance_draws

DOCS, LOGIN, LOOK, WRITE = range(4)
"""Calls of an app, in this order; a write per value follows, then the check."""


class App(NamedTuple):
    """The words of an app.

    Attributes:
        name: its name.
        wish: what a subtask asks for, with a place for a person.
        look: the call that shows what the person wants.
        write: the call that changes the record.
        check: the call that shows the record.
        value: what a value is called in the documentation.
        values: words for values.
    """

    name: str
    wish: str
    look: str
    write: str
    check: str
    value: str
    values: tuple[str, ...]


_APPS = (
    App(
        "calendar",
        "move the meeting with {} to the day they asked for",
        "requests",
        "move_to",
        "agenda",
        "day",
        ("Monday", "Tuesday", "Thursday", "Friday", "Sunday"),
    ),
    App(
        "bank",
        "set the standing order to {} to the amount on their invoice",
        "invoices",
        "set_order",
        "orders",
        "amount",
        ("$15", "$20", "$35", "$60", "$90"),
    ),
    App(
        "mail",
        "file the letter from {} under the label it names",
        "inbox",
        "file_under",
        "labels",
        "label",
        ("travel", "bills", "family", "school", "garden"),
    ),
    App(
        "music",
        "give the party of {} the style they wish for",
        "wishes",
        "set_style",
        "playlists",
        "style",
        ("jazz", "folk", "opera", "blues", "swing"),
    ),
    App(
        "files",
        "give {} the folder role that their ticket asks for",
        "tickets",
        "set_role",
        "members",
        "role",
        ("reader", "writer", "owner", "auditor", "guest"),
    ),
    App(
        "notes",
        "paint the note for {} in the colour they like",
        "memos",
        "paint",
        "board",
        "colour",
        ("red", "green", "violet", "orange", "white"),
    ),
)
_PEOPLE = ("Ada", "Boris", "Chidi", "Dalia", "Emil", "Farah", "Goran", "Hana", "Ines", "Jonas", "Kofi", "Lucia")


@dataclass(frozen=True, eq=False)
class Task:
    """One instance; A apps, K subtasks, V values.

    Attributes:
        words: the apps.
        app: int64 ``[K]``, app of each subtask.
        people: person of each subtask.
        values: words of the values of each app, A lists of V.
        order: int64 ``[A·(V + 4) + 2]``, number of each call: app by app, then ``next_subtask`` and ``complete_task``.
    """

    words: tuple[App, ...]
    app: Ints
    people: tuple[str, ...]
    values: tuple[tuple[str, ...], ...]
    order: Ints

    @property
    def apps(self) -> int:
        """Apps A."""
        return len(self.words)

    @property
    def subtasks(self) -> int:
        """Subtasks K."""
        return len(self.people)

    @property
    def n_values(self) -> int:
        """Values V."""
        return len(self.values[0])

    @property
    def per_app(self) -> int:
        """Calls of one app."""
        return self.n_values + 4

    @property
    def next_subtask(self) -> int:
        """The call that goes on to the next subtask; ``complete_task`` follows."""
        return self.apps * self.per_app

    @cached_property
    def open_apps(self) -> Ints:
        """Apps that are open at each subtask, as bits, int64 ``[K]``: from the first subtask about them to the last."""
        subtask = np.arange(self.subtasks)
        spans = [np.flatnonzero(self.app == a) for a in range(self.apps)]
        is_open = [(subtask >= s.min()) & (subtask <= s.max()) if s.size else subtask < 0 for s in spans]
        return np.asarray((np.array(is_open) << np.arange(self.apps)[:, None]).sum(axis=0))

    @cached_property
    def calls(self) -> list[str]:
        """The name of every call, in the order of the calls."""
        names = []
        for app, values in zip(self.words, self.values, strict=True):
            verbs = ["login", app.look, *(f"{app.write} {value}" for value in values), app.check]
            names += [f"read_docs {app.name}", *(f"{app.name}.{verb}" for verb in verbs)]
        return [*names, "next_subtask", "complete_task"]


def make_task(instance_seed: int, apps: int, subtasks: int, values: int) -> Task:
    """Draws one instance.

    The apps take turns in blocks of about equal length, and at each boundary the two neighbours change places with
    probability 1/2, so that one comes back to an app but never has more than two open.
    """
    n_calls = apps * (values + 4) + 2
    sizes = (len(_APPS), subtasks, len(_PEOPLE), len(_APPS) * 5, n_calls)
    ends = np.cumsum(sizes)
    which, swap, people, words, order = np.split(instance_draws("Apps", instance_seed, int(ends[-1])), ends[:-1])
    chosen = np.argsort(which, kind="stable")[:apps]
    app = np.arange(subtasks) * apps // subtasks
    boundaries = np.flatnonzero(np.diff(app)) + 1
    for k in boundaries[below(swap, 2)[boundaries] == 1]:
        app[[k - 1, k]] = app[[k, k - 1]]
    shuffled = np.argsort(words.reshape(len(_APPS), 5), axis=1, kind="stable")[:, :values]
    return Task(
        words=tuple(_APPS[a] for a in chosen),
        app=app,
        people=tuple(_PEOPLE[p] for p in np.argsort(people, kind="stable")[:subtasks]),
        values=tuple(tuple(_APPS[a].values[v] for v in shuffled[a]) for a in chosen),
        order=np.argsort(order, kind="stable"),
    )
