"""What one sees in Apps: the subtask, what is known, the last error, the calls of the open apps."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from credit_envs.arrays import AnyArray
from credit_envs.families.apps_states import BAD, CONFLICT, OK, UNAUTHORISED, UNAVAILABLE, Place, Places, States

_ERRORS = {
    UNAUTHORISED: "401 not logged in",
    BAD: "400 bad arguments, see the documentation",
    CONFLICT: "409 not possible now",
}


@dataclass(frozen=True, eq=False)
class Printer:
    """Prints states.

    Attributes:
        places: the places of the instance.
        states: the numbered states.
    """

    places: Places
    states: States

    @cached_property
    def commands(self) -> list[str]:
        """The name of every action, by number."""
        task = self.places.task
        return [task.calls[call] for call in np.argsort(task.order)]

    def rows(self, states: AnyArray) -> list[str]:
        """Returns states in words."""
        return [self._state(int(self.states.place[s]), int(self.states.last[s])) for s in states]

    def _state(self, place: int, last: int) -> str:
        subtasks = self.places.task.subtasks
        if place >= self.places.n:
            return f"Task complete. Checks passed: {place - self.places.n} of {subtasks}."
        at = Place(*(part[place] for part in self.places.at))
        missed = at.subtask - at.sure - at.unsure
        lines = [
            self._wish(at),
            f"Subtasks before: {at.sure} confirmed, {at.unsure} unconfirmed, {missed} missed.",
            *self._open(at),
            *self._found(at),
            f"Response: {self._response(last)}",
        ]
        return "\n".join(lines + self._buttons(at))

    def _wish(self, at: Place) -> str:
        task = self.places.task
        app = task.words[task.app[at.subtask]]
        return (
            f"Subtask {at.subtask + 1} of {task.subtasks}: in {app.name}, {app.wish.format(task.people[at.subtask])}."
        )

    def _open(self, at: Place) -> list[str]:
        lines = []
        for a, app in enumerate(self.places.task.words):
            if self._is_open(at, a):
                login = "logged in" if at.tokens >> a & 1 else "not logged in"
                docs = f"{app.look}() shows the {app.value}; {app.write}({app.value}); {app.check}() shows the record"
                lines.append(f"{app.name}: {login}; {docs if at.docs >> a & 1 else 'documentation not read'}.")
        return lines

    def _is_open(self, at: Place, app: int) -> bool:
        return bool(self.places.task.open_apps[at.subtask] >> app & 1)

    def _found(self, at: Place) -> list[str]:
        task = self.places.task
        values = task.values[task.app[at.subtask]]
        lines = [f"{task.people[at.subtask]} wants: {values[at.found - 1]}."] if at.found else []
        if at.record:
            lines.append(f"Record: {values[at.record - 1]}, {'confirmed' if at.confirmed else 'not confirmed'}.")
        return lines

    def _response(self, last: int) -> str:
        if last >= UNAVAILABLE:
            return f"503 {self.places.task.calls[last - UNAVAILABLE]} is unavailable, try again"
        return "200 OK" if last == OK else _ERRORS[last]

    def _buttons(self, at: Place) -> list[str]:
        task = self.places.task
        calls = [a * task.per_app + np.arange(task.per_app) for a in range(task.apps) if self._is_open(at, a)]
        calls.append(task.next_subtask + np.arange(at.subtask + 1 == task.subtasks, 2))
        return [f"[{a}] {self.commands[a]}" for a in sorted(task.order[np.concatenate(calls)].tolist())]
