"""A text for an object graph that is the same for equal graphs, on every path and in every process."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from types import BuiltinFunctionType, FunctionType
from typing import Any

import numpy as np


def canonical_digest(
    parts: Sequence[dict[str, Any]], token: Callable[[Any], str | None], vectors_are_tuples: bool = False
) -> bytes:
    """Returns 16 bytes that identify the content of mappings.

    Numbers count by value whether they are Python's or NumPy's, mappings and sets in any order. Shared mutable objects
    and cycles stay visible as such.

    Args:
        parts: the mappings.
        token: returns the name of an object that is referred to instead of being looked into, None for all others.
        vectors_are_tuples: whether integer vectors and tuples of the same numbers are alike.
    """
    walk = _Walk(token, vectors_are_tuples)
    for part in parts:
        walk.mapping(part)
    return hashlib.blake2b("".join(walk.out).encode("utf-8", "surrogatepass"), digest_size=16).digest()


class _Walk:
    """Writes an object graph as text: by value, with back references for shared mutable objects, mappings sorted.

    Shared objects must stay visible as shared, because environments compare by identity (is the carried box the
    target?).
    """

    def __init__(self, token: Callable[[Any], str | None], vectors_are_tuples: bool) -> None:
        self.out: list[str] = []
        self._token, self._vectors_are_tuples = token, vectors_are_tuples
        self._number: dict[int, int] = {}
        self._alive: list[Any] = []

    def value(self, x: Any) -> None:
        kind = type(x)
        atom = _ATOMS.get(kind)
        if atom is not None:
            self.out.append(atom(x))
        elif kind is tuple:
            self.out.append(f"({len(x)},")
            for item in x:
                self.value(item)
        elif isinstance(x, np.generic):
            self._scalar(x)
        elif isinstance(x, type | FunctionType | BuiltinFunctionType):
            self.out.append(f"t{x.__module__}.{x.__qualname__};")
        elif kind is np.ndarray and self._vectors_are_tuples and x.ndim == 1 and x.dtype.kind == "i":
            self.value(tuple(x.tolist()))
        elif not self._seen(x):
            self._node(x, kind)

    def mapping(self, items: dict[Any, Any]) -> None:
        self.out.append(f"{{{len(items)},")
        if all(type(name) is str for name in items):
            for name in sorted(items):
                self.out.append(f"{len(name)}:{name}")
                self.value(items[name])
        else:
            for name in sorted(items, key=self._order):
                self.value(name)
                self.value(items[name])

    def _seen(self, x: Any) -> bool:
        number = self._number.get(id(x))
        if number is not None:
            self.out.append(f"r{number};")
            return True
        self._number[id(x)] = len(self._number)
        return False

    def _node(self, x: Any, kind: type) -> None:
        token = self._token(x)
        if token is not None:
            self.out.append(f"l{len(token)}:{token}")
        elif kind is list:
            self.out.append(f"[{len(x)},")
            for item in x:
                self.value(item)
        elif kind is dict:
            self.mapping(x)
        elif kind is set or kind is frozenset:
            self.out.append(f"<{len(x)},")
            for item in sorted(x, key=self._order):
                self.value(item)
        elif kind is np.ndarray:
            self.out.append(f"a{x.dtype.str}{x.shape}")
            self.value(x.tolist() if x.dtype.hasobject else x.tobytes())
        else:
            self.out.append(f"o{kind.__module__}.{kind.__qualname__};")
            self.mapping(x.__dict__) if _is_plain(kind) else self._reduced(x)

    def _reduced(self, x: Any) -> None:
        reduced = x.__reduce_ex__(4)
        # Temporaries stay alive during the walk, or their ids could be given to other objects.
        parts = reduced if isinstance(reduced, str) else (*reduced[:3], *(part and list(part) for part in reduced[3:5]))
        self._alive.append(parts)
        self.value(parts)

    def _scalar(self, x: np.generic) -> None:
        plain = x.item()
        exact = isinstance(x, np.integer | np.bool_ | np.float64 | np.str_)
        self.value(plain) if exact else self.out.append(f"n{x.dtype.str}{x.tobytes().hex()};")

    def _order(self, x: Any) -> str:
        """Sort key of a member of a set or of a mapping's key; members are hashable, so by-value text is enough."""
        outer, self.out = self.out, []
        numbers = dict(self._number)
        self.value(x)
        text, self.out = "".join(self.out), outer
        self._number = numbers
        return text


_ATOMS: dict[type, Any] = {
    int: lambda x: f"i{x};",
    bool: lambda x: "T" if x else "F",
    float: lambda x: f"f{x.hex()};",
    str: lambda x: f"s{len(x)}:{x}",
    bytes: lambda x: f"y{len(x)}:{x.hex()}",
    type(None): lambda _: "N",
}

_PLAIN: dict[type, bool] = {}


def _is_plain(kind: type) -> bool:
    """Whether instances are nothing but their ``__dict__``."""
    if kind not in _PLAIN:
        own: Any = kind
        _PLAIN[kind] = (
            own.__reduce_ex__ is object.__reduce_ex__
            and own.__reduce__ is object.__reduce__
            and getattr(own, "__getstate__", None) is getattr(object, "__getstate__", None)
            and kind.__dictoffset__ != 0
            and kind.__basicsize__ == _Bare.__basicsize__
            and not any("__slots__" in base.__dict__ and base.__dict__["__slots__"] for base in kind.__mro__)
        )
    return _PLAIN[kind]


class _Bare:
    pass
