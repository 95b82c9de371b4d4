"""Observations of other people's environments: compared as bytes, stored as columns, shown as views."""

from __future__ import annotations

import copy
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from credit_envs.arrays import AnyArray
from credit_envs.errors import CreditEnvsError
from credit_envs.table.view import CHARSET, MAX_TEXT, Rows, text_space

_ARRAYS = (spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)


def look(observation: Any) -> bytes:
    """Returns bytes that are equal for equal observations (numbers by value, arrays by dtype, shape and content)."""
    if isinstance(observation, np.ndarray):
        return f"a{observation.dtype.str}{observation.shape}".encode() + observation.tobytes()
    if isinstance(observation, dict):
        return b"{" + b",".join(name.encode() + b":" + look(observation[name]) for name in sorted(observation)) + b"}"
    if isinstance(observation, tuple | list):
        return b"(" + b",".join(look(item) for item in observation) + b")"
    plain = observation.item() if isinstance(observation, np.generic) else observation
    return repr(plain).encode()


def kept(observation: Any) -> Any:
    """Returns a copy that later steps of the environment cannot change."""
    return copy.deepcopy(observation)


def shown_space(space: gymnasium.Space[Any], observation: Any) -> gymnasium.Space[Any]:
    """Returns the space of the table's view: the original, with every kind of string as text.

    Raises:
        CreditEnvsError: for spaces that a table cannot store (Tuple, Sequence, Graph, …).
    """
    if isinstance(space, spaces.Dict):
        parts = {name: shown_space(part, observation[name]) for name, part in space.spaces.items()}
        return spaces.Dict(parts)
    if isinstance(observation, str):
        if len(observation) > MAX_TEXT or not set(observation) <= set(CHARSET):
            raise CreditEnvsError(
                f"observation {observation[:40]!r}…: expected at most {MAX_TEXT} printable ASCII characters; "
                "pass observations=False"
            )
        return text_space()
    if isinstance(space, _ARRAYS):
        return space
    raise CreditEnvsError(
        f"observation space {type(space).__name__}: expected Box, Discrete, MultiDiscrete, MultiBinary, text or a "
        "Dict of those; wrap the environment (FlattenObservation) or pass observations=False"
    )


def stack(space: gymnasium.Space[Any], rows: list[Any]) -> Rows:
    """Turns observations into columns: an array ``[n, ...]``, a list of strings, or a dict of those."""
    if isinstance(space, spaces.Dict):
        return {name: stack(part, [row[name] for row in rows]) for name, part in space.spaces.items()}
    if isinstance(space, spaces.Text):
        return list(rows)
    return np.array(rows, dtype=space.dtype).reshape(len(rows), *(space.shape or ()))


def unstack(columns: Rows, index: int) -> Any:
    """Returns one observation of :func:`stack`'s columns."""
    if isinstance(columns, dict):
        return {name: unstack(column, index) for name, column in columns.items()}
    return columns[index]


def flat(columns: Rows, prefix: str = "observation") -> dict[str, AnyArray]:
    """Returns columns as named arrays for a file."""
    if isinstance(columns, dict):
        return {k: v for name, column in columns.items() for k, v in flat(column, f"{prefix}/{name}").items()}
    return {
        prefix: columns if isinstance(columns, np.ndarray) else np.array([str(word) for word in columns], dtype=np.str_)
    }


def unflat(space: gymnasium.Space[Any], arrays: dict[str, AnyArray], prefix: str = "observation") -> Rows:
    """Reverses :func:`flat`."""
    if isinstance(space, spaces.Dict):
        return {name: unflat(part, arrays, f"{prefix}/{name}") for name, part in space.spaces.items()}
    column = arrays[prefix]
    return column.tolist() if isinstance(space, spaces.Text) else column
