"""Messages between the host, which knows the truth, and a method, which must not: JSON and raw arrays, never pickles.

A message is a length, a JSON header and the bytes of its arrays. What comes from a method is read as what it says it is and
nothing else: dtypes are from a short list, sizes are checked before memory is taken, and unknown forms are refused.
"""

from __future__ import annotations

import json
import math
import socket
import struct
import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from credit_envs.arrays import AnyArray
from credit_envs.errors import CreditEnvsError

_DTYPES = ("<f8", "<f4", "<i8", "<i4", "<i2", "|u1", "|b1")
_HEADER_BYTES = 1 << 26
_MOST_DIMENSIONS = 6
_FRAME = struct.Struct("<QQ")

MESSAGE_BYTES = 1 << 30
"""Largest message, arrays included."""


def _packed(value: Any, parts: list[bytes]) -> Any:
    if isinstance(value, np.ndarray):
        array = np.ascontiguousarray(value, dtype=value.dtype.newbyteorder("<"))
        if array.dtype.str not in _DTYPES:
            raise CreditEnvsError(f"dtype {array.dtype}: expected one of {', '.join(_DTYPES)}")
        parts.append(array.tobytes())
        return {"array": array.dtype.str, "shape": list(np.shape(value))}
    if isinstance(value, Mapping):
        return {"object": {str(key): _packed(item, parts) for key, item in value.items()}}
    if isinstance(value, list | tuple):
        return [_packed(item, parts) for item in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise CreditEnvsError(f"{type(value).__name__}: a message holds numbers, words, lists, objects and arrays")


def pack(value: Any) -> bytes:
    """Returns a message: nested lists and objects of numbers, words and NumPy arrays as bytes."""
    parts: list[bytes] = []
    header = json.dumps(_packed(value, parts)).encode()
    body = b"".join(parts)
    return _FRAME.pack(len(header), len(body)) + header + body


def unpack(header: bytes, body: bytes) -> Any:
    """Reads a message back.

    Raises:
        CreditEnvsError: for anything that :func:`pack` does not write.
    """
    try:
        value = json.loads(header)
    except (ValueError, RecursionError) as error:
        raise CreditEnvsError(f"message: not JSON ({error})") from error
    place = 0

    def read(item: Any) -> Any:
        nonlocal place
        if isinstance(item, list):
            return [read(one) for one in item]
        if not isinstance(item, dict):
            return item
        if set(item) == {"object"} and isinstance(item["object"], dict):
            return {key: read(one) for key, one in item["object"].items()}
        if set(item) != {"array", "shape"} or item["array"] not in _DTYPES:
            raise CreditEnvsError("message: holds something that is neither a value nor an array")
        shape = item["shape"]
        if not isinstance(shape, list) or len(shape) > _MOST_DIMENSIONS:
            raise CreditEnvsError(f"message: array of shape {shape!r}, expected at most {_MOST_DIMENSIONS} dimensions")
        if not all(isinstance(n, int) and not isinstance(n, bool) and n >= 0 for n in shape):
            raise CreditEnvsError(f"message: array of shape {shape!r}, expected whole numbers from 0")
        size = math.prod(shape) * np.dtype(item["array"]).itemsize
        if place + size > len(body):
            raise CreditEnvsError(f"message: array of {size} bytes, but only {len(body) - place} are there")
        array: AnyArray = np.frombuffer(body[place : place + size], dtype=item["array"]).reshape(shape).copy()
        place += size
        return array

    try:
        return read(value)
    except RecursionError as error:
        raise CreditEnvsError("message: nested too deep") from error


class Line:
    """One end of a connection that carries messages.

    Args:
        end: a connected stream socket.
        seconds: wall time after which nothing more is waited for (default: for ever).
    """

    def __init__(self, end: socket.socket, seconds: float | None = None) -> None:
        self.end = end
        self._deadline = None if seconds is None else time.monotonic() + seconds

    def send(self, value: Any) -> None:
        """Sends a message."""
        self.end.sendall(pack(value))

    def receive(self) -> Any:
        """Waits for a message.

        Raises:
            CreditEnvsError: if it is malformed or too large.
            EOFError: if the other end is closed.
            TimeoutError: when the line's time is up.
        """
        header, body = _FRAME.unpack(self._exactly(_FRAME.size))
        if header > _HEADER_BYTES or header + body > MESSAGE_BYTES:
            raise CreditEnvsError(f"message: {header + body} bytes, expected at most {MESSAGE_BYTES}")
        return unpack(self._exactly(header), self._exactly(body))

    def _exactly(self, n: int) -> bytes:
        parts, left = [], n
        while left:
            if self._deadline is not None:
                remaining = self._deadline - time.monotonic()
                if remaining <= 0:
                    raise TimeoutError("the line's time is up")
                self.end.settimeout(remaining)
            part = self.end.recv(min(left, 1 << 20))
            if not part:
                raise EOFError("the other end is closed")
            parts.append(part)
            left -= len(part)
        return b"".join(parts)
