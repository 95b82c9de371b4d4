"""Breadth-first exploration of an environment that can only be stepped: snapshot, step, restore.

Nothing is believed that can be checked: states that share a key must look alike and (on a sample) behave alike, a step
may not draw random numbers, and a step counter may not matter beyond its factor on rewards.
"""

from __future__ import annotations

import hashlib
import time
from array import array
from collections.abc import Callable, Collection, Sequence
from typing import Any

import gymnasium
import numpy as np

from credit_envs.errors import CreditEnvsError, NotEnumerableError
from credit_envs.importers.checks import (
    Edge,
    Step,
    check_clock,
    check_merge,
    check_repeatable,
    in_sample,
    refuse_randomness,
)
from credit_envs.importers.luck import global_draws
from credit_envs.importers.observations import kept, look
from credit_envs.importers.presets import Preset
from credit_envs.importers.snapshot import Snapshots

_MERGES_CHECKED = 200


class LimitReachedError(NotEnumerableError):
    """The search stopped at a limit; what was found is kept."""


class Search:
    """The states found so far, and how to find more.

    Args:
        env: the environment.
        seeds: reset seeds; each gives a start state.
        horizon: number of steps of an episode; the step counter is verified up to it.
        clock: name of the step counter, or None.
        preset: what is known about the environment.
        ignore: attributes that are no part of the state.
        observations: whether observations are kept, and checked to be a function of the state.

    Attributes:
        keys: key of each state, in the order of discovery.
        queue: states in the order in which they are expanded; ``queue[:head]`` are done.
        successor, reward, ends: one entry per done state and action; the reward is the one at step 0.
        parent, via: state and action that first led to each state; start states have their index in ``roots`` as
            ``via``.
        rows: distinct observations; ``row`` is the row of each state.
        scale: reward factor per step, None while rewards do not depend on it.
    """

    def __init__(
        self,
        env: gymnasium.Env[Any, Any],
        seeds: Sequence[int],
        horizon: int,
        clock: str | None,
        preset: Preset,
        ignore: Collection[str],
        observations: bool,
    ) -> None:
        self.env, self.base = env, env.unwrapped
        self.seeds, self.horizon, self.clock, self.preset = list(seeds), horizon, clock, preset
        self.observations = observations
        space: Any = env.action_space
        self.n_actions, self.first_action = int(space.n), int(space.start)
        self.keys: list[bytes] = []
        self.queue, self.head = array("q"), 0
        self.successor, self.reward, self.ends = array("q"), array("d"), array("b")
        self.parent, self.via, self.row = array("q"), array("q"), array("q")
        self.rows: list[Any] = []
        self.factors = array("q")
        self.scale: list[float] | None = None
        self.steady: str | None = None
        self.rewards_checked = 0
        self.rewards_seen: set[float] = set()
        self.roots: list[int] = []
        self._alive: set[int] = set()
        self._state_of_key: dict[bytes, int] = {}
        self._state_of_bytes: dict[bytes, int] = {}
        self._row_of_look: dict[bytes, int] = {}
        self._looks: list[bytes] = []
        self._frontier: dict[int, bytes] = {}
        self._root_bytes: list[bytes] = []
        self._merges: list[tuple[int, bytes]] = []
        for seed in self.seeds:
            self._start(seed, ignore)
        self.committed = self._sizes()

    def run(self, max_states: int, max_seconds: float | None, tell: Callable[[int, int], None]) -> None:
        """Explores until every state is done.

        Raises:
            LimitReachedError: at ``max_states`` or ``max_seconds``.
            NotEnumerableError: if a check fails; the message carries the evidence.
        """
        end = None if max_seconds is None else time.monotonic() + max_seconds
        while self.head < len(self.queue) or len(self.keys) > max_states:
            late = end is not None and time.monotonic() > end
            if len(self.keys) > max_states or late:
                limit = f"max_seconds={max_seconds:g}" if late else f"max_states={max_states}"
                raise LimitReachedError(
                    f"{type(self.base).__name__}: {limit} reached with {len(self.keys)} states found and "
                    f"{len(self.queue) - self.head} of them still to expand{self._counter_hint()}"
                )
            self._expand(self.queue[self.head])
            tell(self.head, len(self.keys))
        for state, snapshot in self._merges:
            if state in self._alive:
                check_merge(self, state, snapshot)

    def path(self, state: int) -> tuple[int, list[int]]:
        """Returns the reset seed and the actions that first led to a state."""
        actions: list[int] = []
        while self.parent[state] >= 0:
            actions.append(self.via[state])
            state = self.parent[state]
        return self.seeds[self.via[state]], actions[::-1]

    def restore(self, found: Sequence[tuple[bytes, int, int, int]]) -> None:
        """Takes over the states of a checkpoint: (key, parent, via, row) each; edges and rows are set by the caller."""
        self._looks = [look(row) for row in self.rows]
        self._row_of_look = {seen: i for i, seen in enumerate(self._looks)}
        self.keys = [key for key, *_ in found]
        self._state_of_key = {key: i for i, key in enumerate(self.keys)}
        self._state_of_bytes.clear()
        self._frontier.clear()
        self._alive = set(self.queue)
        self.parent, self.via, self.row = (array("q", column) for column in list(zip(*found, strict=True))[1:])
        self.committed = self._sizes()

    def _counter_hint(self) -> str:
        """Names an attribute that grew by one at each step, the usual reason for a search without end."""
        state = self.queue[min(self.head, len(self.queue) - 1)]
        depth = len(self.path(state)[1])
        if depth < 2:
            return ""
        self._replayed(state)
        now = {name: value for name, value in vars(self.base).items() if isinstance(value, int | np.integer)}
        self.shots.load(self._root_bytes[self.seeds.index(self.path(state)[0])])
        counters = [name for name, value in now.items() if value - depth == vars(self.base).get(name)]
        return f"; {counters[0]} counts steps, perhaps clock={counters[0]!r} helps" if counters else ""

    # -- start, expand ---------------------------------------------------------------------------------------------

    def _start(self, seed: int, ignore: Collection[str]) -> None:
        def reset() -> tuple[Any, Snapshots]:
            observation, _ = self.env.reset(seed=seed)
            self.zero = 0 if self.clock is None else _count(self.base, self.clock)
            return observation, Snapshots(self.env, self.clock, ignore, self.preset.vectors_are_tuples)

        first = reset()[1].key()
        observation, self.shots = reset()
        if self.shots.key() != first:
            raise NotEnumerableError(
                f"{type(self.base).__name__}: reset(seed={seed}) gave two different states; a start that the seed does "
                "not fix cannot be enumerated"
            )
        self._draws = self.shots.draws_so_far()
        snapshot = self.shots.dump()
        state = self._locate(snapshot, observation, parent=-1, via=len(self.roots))
        if state not in self.roots:
            self._enqueue(state, snapshot, -1, len(self.roots))
        self.roots.append(state)
        self._root_bytes.append(snapshot)

    def _expand(self, state: int) -> None:
        snapshot = self._frontier.pop(state, None) or self._replayed(state)
        arrivals = []
        drawn_globally = global_draws()
        intact = False
        for action in range(self.n_actions):
            if not intact:
                self.shots.load(snapshot)
            step = self._step(action)
            if self.shots.draws_so_far() != self._draws:
                refuse_randomness(self, state, snapshot, action)
            after = self.shots.dump()
            intact = after == snapshot
            arrivals.append((after, step, self._locate(after, step.observation, state, action)))
        if global_draws() != drawn_globally:
            for action in range(self.n_actions):
                refuse_randomness(self, state, snapshot, action, only_if_different=action < self.n_actions - 1)
        sampled = in_sample(self.head)
        for action, (_, step, after_state) in enumerate(arrivals):
            edge = Edge(state, action, snapshot, step, self.keys[after_state], sampled)
            if sampled:
                check_repeatable(self, edge)
            check_clock(self, edge)
        for action, (after, step, after_state) in enumerate(arrivals):
            self.successor.append(after_state)
            self.reward.append(step.reward)
            self.ends.append(step.ends)
            if not step.ends and after_state not in self._alive:
                self._enqueue(after_state, after, state, action)
        self.head += 1
        self.committed = self._sizes()

    def _enqueue(self, state: int, snapshot: bytes, parent: int, via: int) -> None:
        self._alive.add(state)
        self._frontier[state] = snapshot
        # A state that was first entered by an ending step gets the parent through which play goes on.
        self.parent[state], self.via[state] = parent, via
        self.queue.append(state)

    def _step(self, action: int, count: int = 0) -> Step:
        self.shots.pin(self.zero + count)
        observation, reward, terminated, truncated, _ = self.env.step(self.first_action + action)
        if self.clock is not None and _count(self.base, self.clock) != self.zero + count + 1:
            raise NotEnumerableError(
                f"clock={self.clock!r}: a step moved it from {self.zero + count} to {_count(self.base, self.clock)}; "
                "a step counter grows by one"
            )
        return Step(observation, float(reward), bool(terminated), bool(truncated))

    def _locate(self, snapshot: bytes, observation: Any, parent: int, via: int) -> int:
        """Returns the number of the present state, a new one if it was never seen."""
        digest = _digest(snapshot)
        state = self._state_of_bytes.get(digest)
        if state is None:
            key = self.shots.key()
            state = self._state_of_key.get(key)
            if state is None:
                state = self._add(key, observation, parent, via)
            elif len(self._merges) < _MERGES_CHECKED:
                self._merges.append((state, snapshot))
            self._state_of_bytes[digest] = state
        if self.observations and look(observation) != self._looks[self.row[state]]:
            seed, actions = self.path(parent) if parent >= 0 else (self.seeds[via], [])
            raise NotEnumerableError(
                f"{type(self.base).__name__}: the observation is not a function of the state: after reset(seed={seed}) "
                f"and actions {[*actions, via] if parent >= 0 else actions} the state is the one after "
                f"{self.path(state)[1]}, but the observation differs"
            )
        return state

    def _add(self, key: bytes, observation: Any, parent: int, via: int) -> int:
        state = len(self.keys)
        self._state_of_key[key] = state
        self.keys.append(key)
        self.parent.append(parent)
        self.via.append(via)
        self.factors.extend(self.preset.factors(self.base))
        if self.observations:
            seen = look(observation)
            if seen not in self._row_of_look:
                self._row_of_look[seen] = len(self.rows)
                self._looks.append(seen)
                self.rows.append(kept(observation))
            self.row.append(self._row_of_look[seen])
        else:
            self.row.append(0)
        return state

    def _replayed(self, state: int) -> bytes:
        """Brings a state back by replaying the actions that first led to it."""
        actions = []
        there = state
        while self.parent[there] >= 0:
            actions.append(self.via[there])
            there = self.parent[there]
        self.shots.load(self._root_bytes[self.via[there]])
        for action in reversed(actions):
            self._step(action)
        if self.shots.key() != self.keys[state]:
            raise NotEnumerableError(
                f"{type(self.base).__name__}: replaying {actions[::-1]} leads to another state than in the checkpoint; "
                "the environment has changed, start with a new checkpoint"
            )
        return self.shots.dump()

    def _sizes(self) -> tuple[int, int, int, int]:
        return len(self.keys), len(self.queue), self.head, len(self.rows)

    # -- for the checks --------------------------------------------------------------------------------------------

    def again(self, snapshot: bytes, action: int, count: int = 0) -> tuple[Step, bytes]:
        """Steps from a snapshot at some count; returns the step and the key of the state it leads to."""
        self.shots.load(snapshot)
        step = self._step(action, count)
        known = self._state_of_bytes.get(_digest(self.shots.dump()))
        return step, self.shots.key() if known is None else self.keys[known]

    def looks_other(self, step: Step, other: Step) -> bool:
        """Whether two observations differ, where observations are kept."""
        return self.observations and look(step.observation) != look(other.observation)

    def where(self, state: int, action: int) -> str:
        """Says how a state is reached, and what is done there."""
        seed, actions = self.path(state)
        return f"{type(self.base).__name__}: after reset(seed={seed}) and actions {actions}, action {action}"


def _digest(snapshot: bytes) -> bytes:
    return hashlib.blake2b(snapshot, digest_size=16).digest()


def _count(base: Any, clock: str) -> int:
    value = getattr(base, clock, None)
    if not isinstance(value, int | np.integer):
        raise CreditEnvsError(
            f"clock={clock!r}: expected the name of an integer attribute of {type(base).__name__}, got {value!r}"
        )
    return int(value)
