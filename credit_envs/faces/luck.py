"""The luck of one environment: draws listed ahead in blocks, equal word for word to ``draws.draw``."""

from __future__ import annotations

import numpy as np

from credit_envs.arrays import AnyArray, Ints
from credit_envs.table.draws import EPISODE, Purpose, draw, draws, mix_word, mix_words, stream, streams

AHEAD = 16
"""Steps that a block lists of each episode."""

EPISODES = 256
"""Episodes of a full block."""

LONGER = 64
"""Steps added at a time when an episode outlasts its block."""

INSTANCE = 1
"""Step word of the draw that picks a fresh layout; the start's is 0."""


class Luck:
    """Draws of the episodes of one seed, in plain Python integers.

    A seeded reset stays cheap because the blocks grow from one episode, of which nothing is listed ahead, to
    ``EPISODES``. What a table does not need (a single start, certain outcomes, no emission layers) is not drawn.

    Args:
        seed: first word of all keys.
        starts: whether start draws are wanted.
        outcomes: whether outcome draws are listed ahead.
        layers: per emission layer, whether it is drawn once per episode.

    Attributes:
        seed: seed, rollout and branch of the luck being played.
        rollout: see ``seed``.
        branch: see ``seed``.
        start: the episode's start draw (0 if not wanted).
        outcome: the episode's outcome draws by step; grows by :meth:`outcome_at`.
        emission: the episode's emission draws by time, one per layer; grows by :meth:`emission_at`.
    """

    def __init__(self, seed: int, *, starts: bool, outcomes: bool, layers: tuple[bool, ...]) -> None:
        self._seed = self.seed = seed
        self._wanted = (starts, outcomes, layers)
        self._first, self._size, self._since = 0, 0, 0
        self._blocks: tuple[list[int], list[list[int]], list[list[list[int]]]] = ([], [], [])
        self.rollout, self.branch, self.start = -1, 0, 0
        self.outcome: list[int] = []
        self.emission: list[list[int]] = []

    def begin(self, rollout: int) -> None:
        """Starts an episode."""
        at = rollout - self._first
        if not 0 <= at < self._size:
            self._list_block(rollout)
            at = 0
        starts, outcomes, emissions = self._blocks
        self.seed, self.rollout, self.branch, self._since = self._seed, rollout, 0, 0
        self.start = starts[at] if starts else 0
        self.outcome = outcomes[at] if outcomes else []
        self.emission = emissions[at] if emissions else []

    def fork(self, seed: int, rollout: int, branch: int, step: int) -> None:
        """Goes on from ``step`` of an episode with the luck of another branch."""
        self.seed, self.rollout, self.branch, self._since = seed, rollout, branch, step
        self.outcome, self.emission = [], []

    def outcome_at(self, t: int) -> int:
        """Returns the outcome draw of step t, listing more of the episode if need be."""
        row = self.outcome
        if t >= len(row):
            row.extend([0] * (t - len(row)))  # what lies before a fork is never asked for
            key = stream(self.seed, Purpose.OUTCOME, 0, self.rollout, self.branch)
            if t == self._since:
                row.extend([draw(key, step) for step in range(t, t + AHEAD // 2)])
            else:
                row.extend(draws(key, np.arange(t, t + LONGER)).tolist())
        return row[t]

    def emission_at(self, t: int) -> list[int]:
        """Returns the emission draws of time t, one per layer, listing more of the episode if need be."""
        row = self.emission
        if t >= len(row):
            row.extend([[]] * (t - len(row)))
            key = stream(self.seed, Purpose.EMISSION, 0, self.rollout, self.branch)
            whole = mix_word(stream(self.seed, Purpose.EMISSION, 0, self.rollout, 0), EPISODE)
            row.extend(
                self._emissions(np.uint64(key), np.uint64(whole), t, AHEAD if t == self._since else LONGER).tolist()
            )
        return row[t]

    def _emissions(self, key: AnyArray | np.uint64, whole: AnyArray | np.uint64, t: int, count: int) -> Ints:
        """Draws the layers' values int64 ``[..., count, layers]`` of times t onwards."""
        step = mix_words(np.asarray(key)[..., None], np.arange(t, t + count))
        episode = np.broadcast_to(np.asarray(whole)[..., None], step.shape)
        return np.stack([draws(episode if once else step, i) for i, once in enumerate(self._wanted[2])], axis=-1)

    def _list_block(self, rollout: int) -> None:
        starts, outcomes, layers = self._wanted
        self._first, self._size = rollout, min(max(1, 4 * self._size), EPISODES)
        if self._size == 1:
            one = [draw(stream(self._seed, Purpose.START, 0, rollout, 0), 0)] if starts else []
            self._blocks = (one, [], [])
            return
        rollouts = np.arange(rollout, rollout + self._size)
        steps = np.arange(AHEAD)
        begun: list[int] = []
        listed: list[list[int]] = []
        shown: list[list[list[int]]] = []
        if starts:
            begun = draws(streams(self._seed, Purpose.START, 0, rollouts, 0), 0).tolist()
        if outcomes:
            listed = draws(streams(self._seed, Purpose.OUTCOME, 0, rollouts, 0)[:, None], steps).tolist()
        if layers:
            key = streams(self._seed, Purpose.EMISSION, 0, rollouts, 0)
            shown = self._emissions(key, mix_words(key, EPISODE), 0, AHEAD).tolist()
        self._blocks = (begun, listed, shown)


def instance_of(seed: int, rollout: int) -> int:
    """Returns the instance seed, below 2**31, of a rollout that gets a layout of its own."""
    return draw(stream(seed, Purpose.START, 0, rollout, 0), INSTANCE) >> 22
