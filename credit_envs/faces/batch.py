"""Observations of many environments at once: rows decoded once if they fit into memory, else at every step."""

from __future__ import annotations

from typing import Any, TypeAlias

import gymnasium
import numpy as np

from credit_envs.arrays import AnyArray
from credit_envs.table.observer import Observer
from credit_envs.table.view import Rows

MEMORY = 256 << 20
"""Bytes of rows that are decoded once."""

_TEXT_BYTES = 256
_AT_ONCE = 1 << 16

Store: TypeAlias = "AnyArray | dict[str, Store]"
"""Rows ``[n, ...]``: numbers, or objects for strings, or a dict of those."""


class Batcher:
    """Turns observation ids into batches that Gymnasium's batched space holds; every batch is new memory.

    Args:
        observer: shows observation ids.
        n_obs: number of observation ids.

    Attributes:
        store: all rows, or None where they are decoded at every step.
    """

    def __init__(self, observer: Observer, n_obs: int) -> None:
        self._observer = observer
        self._is_id = observer.view == "state"
        self.store: Store | None = None
        if not self._is_id and n_obs * _row_bytes(observer.space) <= MEMORY:
            chunks = [np.arange(at, min(at + _AT_ONCE, n_obs)) for at in range(0, n_obs, _AT_ONCE)]
            self.store = _joined([_stored(observer.rows(chunk), observer.space) for chunk in chunks])

    def __call__(self, obs: AnyArray) -> Any:
        """Returns the batch of observation ids int ``[n]``."""
        return _batch(self.rows(obs))

    def items(self, obs: AnyArray) -> list[Any]:
        """Returns the observations one by one, as the single environment hands them out."""
        return _items(self.rows(obs), len(obs))

    def rows(self, obs: AnyArray) -> Store:
        """Returns new rows of observation ids int ``[n]``."""
        if self._is_id:
            return np.array(obs, dtype=np.int64)
        if self.store is not None:
            return _taken(self.store, obs)
        return _stored(self._observer.rows(obs), self._observer.space)


def _row_bytes(space: gymnasium.Space[Any]) -> int:
    if isinstance(space, gymnasium.spaces.Dict):
        return sum(_row_bytes(part) for part in space.spaces.values())
    if isinstance(space, gymnasium.spaces.Text):
        return _TEXT_BYTES
    return int(np.prod(space.shape or (1,))) * int(np.dtype(space.dtype).itemsize)


def _stored(rows: Rows, space: gymnasium.Space[Any]) -> Store:
    if isinstance(space, gymnasium.spaces.Dict):
        return {key: _stored(rows[key], part) for key, part in space.spaces.items()}
    if isinstance(space, gymnasium.spaces.Text):
        words = np.empty(len(rows), dtype=object)
        words[:] = rows
        return words
    return np.array(rows, dtype=space.dtype, order="C")


def _joined(stores: list[Any]) -> Store:
    if isinstance(stores[0], dict):
        return {key: _joined([store[key] for store in stores]) for key in stores[0]}
    return stores[0] if len(stores) == 1 else np.concatenate(stores)


def _taken(store: Store, obs: AnyArray) -> Store:
    if isinstance(store, dict):
        return {key: _taken(part, obs) for key, part in store.items()}
    return np.take(store, obs, axis=0)


def _batch(rows: Store) -> Any:
    if isinstance(rows, dict):
        return {key: _batch(part) for key, part in rows.items()}
    return tuple(rows.tolist()) if rows.dtype == object else rows


def _items(rows: Store, n: int) -> list[Any]:
    if isinstance(rows, dict):
        parts = {key: _items(part, n) for key, part in rows.items()}
        return [{key: part[i] for key, part in parts.items()} for i in range(n)]
    return rows.tolist() if rows.ndim == 1 else list(rows)
