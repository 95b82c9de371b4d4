"""Pictures of states, all of one size, drawn on request."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np

from credit_envs.arrays import AnyArray, Ints
from credit_envs.errors import CreditEnvsError
from credit_envs.importers.snapshot import Snapshots
from credit_envs.table.view import View

SIZE = 256


def picture_space() -> gymnasium.spaces.Box:
    """Returns the space of pictures, uint8 ``[256, 256, 3]``."""
    return gymnasium.spaces.Box(0, 255, (SIZE, SIZE, 3), np.uint8)


def fitted(picture: Any) -> AnyArray:
    """Averages a picture over whole blocks of pixels until it fits, and centres it on black.

    Raises:
        CreditEnvsError: if the environment rendered something else than a picture.
    """
    pixels = np.asarray(picture)
    if pixels.ndim != 3 or pixels.shape[2] != 3:
        raise CreditEnvsError(f"render() gave an array of shape {pixels.shape}: expected a picture [height, width, 3]")
    block = -(-max(pixels.shape[:2]) // SIZE)
    height, width = pixels.shape[0] // block, pixels.shape[1] // block
    blocks = pixels[: height * block, : width * block].reshape(height, block, width, block, 3)
    out = np.zeros((SIZE, SIZE, 3), dtype=np.uint8)
    top, left = (SIZE - height) // 2, (SIZE - width) // 2
    out[top : top + height, left : left + width] = np.rint(blocks.mean(axis=(1, 3))).astype(np.uint8)
    return out


@dataclass(frozen=True, eq=False)
class Replay:
    """How each state is reached.

    Attributes:
        seeds: reset seeds.
        parent: int64 ``[S]``, the state before, −1 for start states.
        via: int64 ``[S]``, the action that leads here, or the index of a start state's seed.
        first_action: number of the original's first action.
        clock: attribute that counts steps, or None.
        ignore: attributes that are no part of the state.
    """

    seeds: tuple[int, ...]
    parent: Ints
    via: Ints
    first_action: int
    clock: str | None
    ignore: tuple[str, ...]


def picture_view(remake: Callable[[], gymnasium.Env[Any, Any]], replay: Replay) -> View:
    """Returns a view that draws states by replaying the actions that lead to them; it makes its own environment."""

    @functools.cache
    def painter() -> _Painter:
        return _Painter(remake(), replay)

    def rows(states: AnyArray) -> AnyArray:
        drawn = [painter().picture(int(state)) for state in np.asarray(states)]
        return np.stack(drawn) if drawn else np.zeros((0, SIZE, SIZE, 3), dtype=np.uint8)

    return View(picture_space(), rows)


class _Painter:
    """Keeps a snapshot of every state it has passed, so that drawing all states costs one step each."""

    def __init__(self, env: gymnasium.Env[Any, Any], replay: Replay) -> None:
        self._env, self._replay = env, replay
        if hasattr(env.unwrapped, "tile_size") and hasattr(env.unwrapped, "width"):
            base: Any = env.unwrapped
            base.tile_size = max(SIZE // max(base.width, base.height), 8)
        self._snapshots: dict[int, bytes] = {}
        for root in np.flatnonzero(replay.parent < 0):
            env.reset(seed=replay.seeds[int(replay.via[root])])
            self._zero = 0 if replay.clock is None else int(getattr(env.unwrapped, replay.clock))
            self._shots = Snapshots(env, replay.clock, replay.ignore)
            self._snapshots[int(root)] = self._shots.dump()

    def picture(self, state: int) -> AnyArray:
        """Returns the picture of a state, uint8 ``[256, 256, 3]``."""
        steps = [state]
        while steps[-1] not in self._snapshots:
            steps.append(int(self._replay.parent[steps[-1]]))
        self._shots.load(self._snapshots[steps.pop()])
        self._shots.pin(self._zero)
        for there in reversed(steps):
            self._shots.pin(self._zero)
            self._env.step(self._replay.first_action + int(self._replay.via[there]))
            self._snapshots[there] = self._shots.dump()
        return fitted(self._env.render())
