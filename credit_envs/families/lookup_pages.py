"""What a reader sees in Lookup: the question, the notes, the results, the commands; and the plan."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from credit_envs.arrays import AnyArray, Ints
from credit_envs.families.lookup_states import Notes, States
from credit_envs.families.lookup_world import World

_OVER = ("Your answer was right.", "Your answer was wrong.", "You gave no answer.")


@dataclass(frozen=True, eq=False)
class Printer:
    """Prints states.

    Attributes:
        world: the instance.
        notes: the sets of articles read.
        at: the states before the end.
        most: readings in all.
        reference: int64 ``[S]``, the plan's next action in every state, −1 for none.
    """

    world: World
    notes: Notes
    at: States
    most: int
    reference: Ints

    @cached_property
    def commands(self) -> list[str]:
        """The name of every action, by number."""
        names, articles = self.world.names, self.world.hops * self.world.size
        commands = [f"search {name}" for name in names[:articles]] + [f"read {name}" for name in names[:articles]]
        commands += [f"answer {name}" for name in names[articles:]] + ["answer unknown"]
        return [commands[a] for a in np.argsort(self.world.order)]

    def rows(self, states: AnyArray) -> list[str]:
        """Returns states in words."""
        return [self._state(int(s)) for s in states]

    def plans(self, states: AnyArray) -> list[str]:
        """Returns the plan as it stands in each state."""
        return [self._plan(int(s)) for s in states]

    def _state(self, state: int) -> str:
        ended = state - self.at.notes.size
        if ended >= 0:
            return f"Question: {self.world.question}\n{_OVER[ended]}"
        n = int(self.at.notes[state])
        read, left = np.flatnonzero(self.notes.read[n]), self.most - int(self.notes.count[n])
        lines = [f"Question: {self.world.question}", f"Readings left: {left}"]
        lines += [f"Read: {self.world.articles[article]}" for article in read]
        about = int(self.at.about[state])
        lines += [f"Results for {self.world.names[about]}:"] if about >= 0 else []
        return "\n".join(lines + self._commands(state, n, left))

    def _commands(self, state: int, n: int, left: int) -> list[str]:
        articles, answers = self.world.hops * self.world.size, self.world.size
        listed = np.flatnonzero(self.at.listed[state] & ~self.notes.read[n])
        named = np.flatnonzero(self.notes.known[n, articles:])
        unknown = [] if left else [2 * articles + answers]
        others = [*np.flatnonzero(self.notes.open[n]), *(2 * articles + named), *unknown]
        numbers = [sorted(self.world.order[np.array(part, dtype=np.int64)]) for part in (articles + listed, others)]
        if self.at.about[state] >= 0 and not listed.size:
            return ["nothing new", *self._numbered(numbers[1])]
        return self._numbered(numbers[0] + numbers[1])

    def _numbered(self, actions: list[int]) -> list[str]:
        return [f"[{a}] {self.commands[a]}" for a in actions]

    def _plan(self, state: int) -> str:
        done = state >= self.at.notes.size
        known = self.world.hops
        if not done:
            read = self.notes.read[self.at.notes[state], self.world.chain[:-1]]
            known = int(np.cumprod(read).sum())
        following = int(self.reference[state])
        last = "over" if done else f"next: {self.commands[following]}" if following >= 0 else "out of readings"
        return "\n".join(["Plan", *self.world.plan(known), last])
