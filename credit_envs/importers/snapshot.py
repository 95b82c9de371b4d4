"""Snapshots of a live environment: bytes that bring it back, and a key that says which state it is in."""

from __future__ import annotations

import hashlib
import io
import pickle
import random
from collections.abc import Collection
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any

import gymnasium
import numpy as np
from gymnasium.envs.registration import EnvSpec
from gymnasium.wrappers import OrderEnforcing, PassiveEnvChecker, TimeLimit

from credit_envs.errors import NotEnumerableError

STANDARD_WRAPPERS = (TimeLimit, OrderEnforcing, PassiveEnvChecker)
"""Wrappers that ``gymnasium.make`` adds; they are no part of the state."""

_GENERATORS = (np.random.Generator, np.random.RandomState, random.Random)
_LIVE = (gymnasium.Space, gymnasium.Env, EnvSpec, ModuleType, *_GENERATORS)
_NEVER_STATE = frozenset({"env", "spec", "_cached_spec", "_np_random", "_np_random_seed", "render_mode", "metadata"})
_FAR_FROM_THE_LIMIT = -(1 << 40)


class Snapshots:
    """Takes and restores snapshots of one environment and of the wrappers around it.

    The state is everything in the instance dictionaries except spaces, specs, random generators, rendering handles and
    the declared clock. Objects that carry a reference to the environment keep it. State outside the instances (module or
    class variables, files) is not seen here; :func:`credit_envs.importers.lock_step` is the check for that.

    Args:
        env: the environment, reset.
        clock: name of the step counter of ``env.unwrapped``, which is left out.
        ignore: further attributes that are no part of the state.
        vectors_are_tuples: whether the key treats integer vectors and tuples of the same numbers alike.

    Attributes:
        generators: name → random generator that the environment holds.

    Raises:
        NotEnumerableError: if an attribute cannot be saved.
    """

    def __init__(
        self,
        env: gymnasium.Env[Any, Any],
        clock: str | None = None,
        ignore: Collection[str] = (),
        vectors_are_tuples: bool = False,
    ) -> None:
        self.base: Any = env.unwrapped
        self.clock = clock
        self.vectors_are_tuples = vectors_are_tuples
        layers: list[Any] = [env]
        while isinstance(layers[-1], gymnasium.Wrapper):
            layers.append(layers[-1].env)
        self._limits = [layer for layer in layers if isinstance(layer, TimeLimit)]
        self._layers = [layer for layer in layers if not isinstance(layer, STANDARD_WRAPPERS)]
        self._live: dict[int, str] = {id(layer): f"layer {i}" for i, layer in enumerate(layers)}
        self._object: dict[str, Any] = {f"layer {i}": layer for i, layer in enumerate(layers)}
        self.generators: dict[str, Any] = {}
        self._left_out = [frozenset(self._sort(layer, ignore)) for layer in self._layers]
        self._nested, self._looking = False, True
        self.key()
        self._looking = False
        self._try_every_attribute()

    def dump(self) -> bytes:
        """Returns the bytes of the present state."""
        if not self._nested:
            return pickle.dumps(self._parts(), 5)
        buffer = io.BytesIO()
        pickler = _Pickler(buffer, self._live)
        pickler.dump(self._parts())
        return buffer.getvalue()

    def load(self, snapshot: bytes) -> None:
        """Brings the environment back to a snapshot; the clock is left as it is."""
        parts = _Unpickler(io.BytesIO(snapshot), self._object).load() if self._nested else pickle.loads(snapshot)
        for layer, left_out, part in zip(self._layers, self._left_out, parts, strict=True):
            attributes = layer.__dict__
            for name in [name for name in attributes if name not in left_out and name not in part]:
                del attributes[name]
            attributes.update(part)

    def pin(self, count: int) -> None:
        """Sets the clock, and moves time limits of wrappers out of the way."""
        if self.clock is not None:
            setattr(self.base, self.clock, count)
        for limit in self._limits:
            limit._elapsed_steps = _FAR_FROM_THE_LIMIT

    def key(self) -> bytes:
        """Returns 16 bytes that are equal for equal states, whatever path led there and in whichever process."""
        walk = _Walk(self)
        for part in self._parts():
            walk.mapping(part)
        return hashlib.blake2b("".join(walk.out).encode("utf-8", "surrogatepass"), digest_size=16).digest()

    def draws_so_far(self) -> list[Any]:
        """Returns the present states of the environment's generators, for comparison."""
        return [_state_of(generator) for generator in self.generators.values()]

    def redraw(self, word: int) -> None:
        """Puts every generator of the environment into another state."""
        for generator in self.generators.values():
            if isinstance(generator, np.random.Generator):
                generator.bit_generator.state = type(generator.bit_generator)(word).state
            else:
                generator.seed(word)

    def _parts(self) -> list[dict[str, Any]]:
        return [
            {name: value for name, value in layer.__dict__.items() if name not in left_out}
            for layer, left_out in zip(self._layers, self._left_out, strict=True)
        ]

    def _sort(self, layer: Any, ignore: Collection[str]) -> list[str]:
        """Returns the names of a layer's attributes that are no part of its state; registers its generators."""
        names = [*_NEVER_STATE, *ignore]
        if layer is self.base and self.clock is not None:
            names.append(self.clock)
        for name, value in layer.__dict__.items():
            if isinstance(value, _LIVE) or type(value).__module__.split(".")[0] == "pygame":
                names.append(name)
                self.register(value, name)
        return names

    def register(self, value: Any, name: str) -> str:
        """Makes an object live: snapshots refer to it instead of copying it. Returns its token."""
        token = self._live.setdefault(id(value), f"{name} {len(self._live)}")
        self._object[token] = value
        if isinstance(value, _GENERATORS) and all(value is not known for known in self.generators.values()):
            self.generators[token] = value
        return token

    def token(self, value: Any) -> str | None:
        """Returns the token of a live object; while the environment is first looked at, live objects are registered."""
        token = self._live.get(id(value))
        if token is None and self._looking and isinstance(value, _LIVE):
            token = self.register(value, type(value).__name__)
        # Plain pickling is twice as fast, and enough where the state refers to nothing outside itself.
        self._nested |= token is not None
        return token

    def _try_every_attribute(self) -> None:
        for part in self._parts():
            for name, value in part.items():
                try:
                    _Pickler(io.BytesIO(), self._live).dump(value)
                except Exception as error:
                    raise NotEnumerableError(
                        f"{type(self.base).__name__}.{name} ({type(value).__name__}) cannot be saved and restored: {error}; "
                        f"if it is no part of the state, pass ignore=({name!r},)"
                    ) from error


class _Pickler(pickle.Pickler):
    def __init__(self, file: io.BytesIO, live: dict[int, str]) -> None:
        super().__init__(file, 5)
        self._live = live

    def persistent_id(self, obj: Any) -> str | None:
        return self._live.get(id(obj))


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, objects: dict[str, Any]) -> None:
        super().__init__(file)
        self._objects = objects

    def persistent_load(self, pid: str) -> Any:
        return self._objects[pid]


def _state_of(generator: Any) -> Any:
    if isinstance(generator, np.random.Generator):
        return repr(generator.bit_generator.state)
    if isinstance(generator, np.random.RandomState):
        return repr(generator.get_state(legacy=False))
    return generator.getstate()


class _Walk:
    """Writes an object graph as text: by value, with back references for shared mutable objects, mappings sorted.

    Shared objects must stay visible as shared, because environments compare by identity (is the carried box the target?).
    """

    def __init__(self, snapshots: Snapshots) -> None:
        self.out: list[str] = []
        self._token = snapshots.token
        self._vectors_are_tuples = snapshots.vectors_are_tuples
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
