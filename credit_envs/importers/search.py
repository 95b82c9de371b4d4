"""Breadth-first exploration of an environment that can only be stepped: snapshot, step, restore.

Nothing is believed that can be checked: states that share a key must look alike and (on a sample) behave alike, a step
may not draw random numbers, and a step counter may not matter beyond its factor on rewards.
"""

from __future__ import annotations

import hashlib
import random
import time
from array import array
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np

from credit_envs.errors import CreditEnvsError, NotEnumerableError
from credit_envs.importers.observations import kept, look
from credit_envs.importers.presets import Preset
from credit_envs.importers.snapshot import Snapshots

_FIRST, _STRIDE = 25, 100
_REWARDS_CHECKED = 300
_MERGES_CHECKED = 200
_REDRAWS = 32


@dataclass(frozen=True)
class Step:
    """What one step of the original did."""

    observation: Any
    reward: float
    terminated: bool
    truncated: bool

    @property
    def ends(self) -> bool:
        """Whether the episode ended."""
        return self.terminated or self.truncated


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
        parent, via: state and action that first led to each state; start states have their index in ``roots`` as ``via``.
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
                    f"{len(self.queue) - self.head} of them still to expand"
                )
            self._expand(self.queue[self.head])
            tell(self.head, len(self.keys))
        for state, snapshot in self._merges:
            self._check_merge(state, snapshot)

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
                f"{type(self.base).__name__}: reset(seed={seed}) gave two different states; a start that the seed does not "
                "fix cannot be enumerated"
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
        global_draws = _global_draws()
        intact = False
        for action in range(self.n_actions):
            if not intact:
                self.shots.load(snapshot)
            step = self._step(action)
            if self.shots.draws_so_far() != self._draws:
                self._refuse_randomness(state, snapshot, action)
            after = self.shots.dump()
            intact = after == snapshot
            arrivals.append((after, step, self._locate(after, step.observation, state, action)))
        if _global_draws() != global_draws:
            for action in range(self.n_actions):
                self._refuse_randomness(state, snapshot, action, only_if_different=action < self.n_actions - 1)
        number = self.head
        for action, (_, step, after_state) in enumerate(arrivals):
            if number < _FIRST or number % _STRIDE == 0:
                self._check_repeatable(state, snapshot, action, step, after_state)
            self._check_clock(state, snapshot, action, step, after_state, number)
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
                f"{type(self.base).__name__}: the observation is not a function of the state: after reset(seed={seed}) and "
                f"actions {[*actions, via] if parent >= 0 else actions} the state is the one after "
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
                f"{type(self.base).__name__}: replaying {actions[::-1]} leads to another state than in the checkpoint; the "
                "environment has changed, start with a new checkpoint"
            )
        return self.shots.dump()

    def _sizes(self) -> tuple[int, int, int, int]:
        return len(self.keys), len(self.queue), self.head, len(self.rows)

    # -- checks ----------------------------------------------------------------------------------------------------

    def _again(self, snapshot: bytes, action: int, count: int = 0) -> tuple[Step, bytes]:
        self.shots.load(snapshot)
        step = self._step(action, count)
        known = self._state_of_bytes.get(_digest(self.shots.dump()))
        return step, self.shots.key() if known is None else self.keys[known]

    def _where(self, state: int, action: int) -> str:
        seed, actions = self.path(state)
        return f"{type(self.base).__name__}: after reset(seed={seed}) and actions {actions}, action {action}"

    def _check_repeatable(self, state: int, snapshot: bytes, action: int, step: Step, after: int) -> None:
        """Steps again with other random numbers everywhere."""
        with _OtherLuck(self.shots, word=self.head + 1):
            other, key = self._again(snapshot, action)
        if (key, _facts(other)) != (self.keys[after], _facts(step)) or self._looks_other(step, other):
            self._refuse_randomness(state, snapshot, action, (self.keys[after], step), (key, other))

    def _looks_other(self, step: Step, other: Step) -> bool:
        return self.observations and look(step.observation) != look(other.observation)

    def _refuse_randomness(
        self, state: int, snapshot: bytes, action: int, *outcomes: tuple[bytes, Step], only_if_different: bool = False
    ) -> None:
        distinct = {(key, *_facts(step)): None for key, step in outcomes}
        for word in range(_REDRAWS):
            with _OtherLuck(self.shots, word):
                step, key = self._again(snapshot, action)
            distinct[(key, *_facts(step))] = None
        if len(distinct) < 2 and only_if_different:
            return
        hint = ""
        if hasattr(self.base, "P") and hasattr(self.base, "initial_state_distrib"):
            hint = "; this environment lists its probabilities in P: use import_toy_text"
        if len(distinct) > 1:
            (key, reward, ends), (other_key, other_reward, other_ends) = list(distinct)[:2]
            found = (
                f"led to two outcomes: state {key.hex()[:8]} with reward {reward:g}{' (end)' * ends}, and state "
                f"{other_key.hex()[:8]} with reward {other_reward:g}{' (end)' * other_ends}"
            )
        elif outcomes:
            found = "showed two different observations of one state"
        else:
            found = f"drew random numbers, although {_REDRAWS} redraws gave one outcome, so that none can be ruled out"
        raise NotEnumerableError(f"{self._where(state, action)} {found}; hidden randomness cannot be enumerated{hint}")

    def _check_clock(self, state: int, snapshot: bytes, action: int, step: Step, after: int, number: int) -> None:
        """Compares the step at the middle and the last counts with the one at count 0."""
        if self.clock is None:
            return
        paid = step.reward != 0 and (self.rewards_checked < _REWARDS_CHECKED or step.reward not in self.rewards_seen)
        if not paid and not (number < _FIRST or number % _STRIDE == 0):
            return
        rewards = {0: step.reward}
        # Truncation is expected at the last count only; the last but one tells whether it comes too early.
        for count in sorted({self.horizon // 2, max(self.horizon - 2, 0), self.horizon - 1} - {0}):
            other, key = self._again(snapshot, action, count)
            last = count == self.horizon - 1
            same_end = other.terminated == step.terminated if last else other.ends == step.ends
            if key != self.keys[after] or not same_end or self._looks_other(step, other):
                part = "successor" if key != self.keys[after] else "observation" if same_end else "end of the episode"
                raise NotEnumerableError(
                    f"{self._where(state, action)} has another {part} at {self.clock}={self.zero + count} than at "
                    f"{self.zero}; the step counter is part of the state, pass clock=None"
                )
            rewards[count] = other.reward
        self._check_factor(state, snapshot, action, rewards)
        if paid:
            self.rewards_checked += 1
            self.rewards_seen.add(step.reward)

    def _check_factor(self, state: int, snapshot: bytes, action: int, rewards: dict[int, float]) -> None:
        """Requires rewards that are constant, or all proportional to one curve over the step count."""
        where = self._where(state, action)
        if len(set(rewards.values())) == 1:
            if rewards[0] == 0 or len(rewards) == 1:
                return
            self.steady = where
        elif self.scale is None:
            self.scale = [self._again(snapshot, action, count)[0].reward for count in range(self.horizon)]
        if self.scale is not None:
            unit = rewards[0] / self.scale[0] if self.scale[0] else 0.0
            wrong = [count for count, reward in rewards.items() if self.scale[count] * unit != reward]
            if wrong or self.steady is not None:
                at = f"{rewards[wrong[0]]!r} at step {wrong[0]}" if wrong else f"a constant reward after {self.steady}"
                raise NotEnumerableError(f"{where}: rewards are not u[t]·r with one curve u for all of them ({at})")

    def _check_merge(self, state: int, snapshot: bytes) -> None:
        """Two snapshots with one key must behave alike."""
        if state not in self._alive:
            return
        place = self.queue.index(state) * self.n_actions
        for action in range(self.n_actions):
            step, key = self._again(snapshot, action)
            edge = place + action
            expected = (self.keys[self.successor[edge]], (self.reward[edge], bool(self.ends[edge])))
            if (key, _facts(step)) != expected:
                raise NotEnumerableError(
                    f"{self._where(state, action)} does not always do the same: two snapshots with the same content differ "
                    "in something that the key leaves out (the order of a dict, the kind of a number)"
                )


def _facts(step: Step) -> tuple[float, bool]:
    return step.reward, step.ends


def _digest(snapshot: bytes) -> bytes:
    return hashlib.blake2b(snapshot, digest_size=16).digest()


def _count(base: Any, clock: str) -> int:
    value = getattr(base, clock, None)
    if not isinstance(value, int | np.integer):
        raise CreditEnvsError(
            f"clock={clock!r}: expected the name of an integer attribute of {type(base).__name__}, got {value!r}"
        )
    return int(value)


def _global_draws() -> tuple[Any, Any]:
    """Returns what changes whenever anybody draws from the global generators."""
    state: Any = np.random.get_state(legacy=False)  # noqa: NPY002 (read to detect environments that use it)
    return (state["state"]["pos"], state["has_gauss"], int(state["state"]["key"][0])), random.getstate()[1][-1]


class _OtherLuck:
    """Inside, every generator that an environment may use is in another state; all are put back afterwards."""

    def __init__(self, shots: Snapshots, word: int) -> None:
        self._shots, self._word = shots, word

    def __enter__(self) -> None:
        self._numpy = np.random.get_state(legacy=False)  # noqa: NPY002 (put back on exit)
        self._python = random.getstate()
        self._own = [_saved(generator) for generator in self._shots.generators.values()]
        np.random.seed(self._word)  # noqa: NPY002 (put back on exit)
        random.seed(self._word)
        self._shots.redraw(self._word)

    def __exit__(self, *_: object) -> None:
        np.random.set_state(self._numpy)  # noqa: NPY002 (put back as found)
        random.setstate(self._python)
        for put_back in self._own:
            put_back()


def _saved(generator: Any) -> Callable[[], None]:
    if isinstance(generator, np.random.Generator):
        bits, state = generator.bit_generator, generator.bit_generator.state
        return lambda: setattr(bits, "state", state)
    if isinstance(generator, np.random.RandomState):
        kept_state = generator.get_state(legacy=False)
        return lambda: generator.set_state(kept_state)
    python_state = generator.getstate()
    return lambda: generator.setstate(python_state)
