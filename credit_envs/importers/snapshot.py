"""Snapshots of a live environment: bytes that bring it back, and a key that says which state it is in."""

from __future__ import annotations

import io
import pickle
from collections.abc import Collection
from types import ModuleType
from typing import Any

import gymnasium
from gymnasium.envs.registration import EnvSpec
from gymnasium.wrappers import OrderEnforcing, PassiveEnvChecker, TimeLimit

from credit_envs.errors import NotEnumerableError
from credit_envs.importers.canonical import canonical_digest
from credit_envs.importers.luck import GENERATORS, state_of

STANDARD_WRAPPERS = (TimeLimit, OrderEnforcing, PassiveEnvChecker)
"""Wrappers that ``gymnasium.make`` adds; they are no part of the state."""

_LIVE = (gymnasium.Space, gymnasium.Env, EnvSpec, ModuleType, *GENERATORS)
_NEVER_STATE = frozenset({"env", "spec", "_cached_spec", "_np_random", "_np_random_seed", "render_mode", "metadata"})
_FAR_FROM_THE_LIMIT = -(1 << 40)


class Snapshots:
    """Takes and restores snapshots of one environment and of the wrappers around it.

    The state is everything in the instance dictionaries except spaces, specs, random generators, rendering handles and
    the declared clock. Objects that carry a reference to the environment keep it. State outside the instances (module
    or class variables, files) is not seen here; :func:`credit_envs.importers.lock_step` is the check for that.

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
        self._nested = False
        self._looking = True
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
            limit._elapsed_steps = _FAR_FROM_THE_LIMIT  # type: ignore[assignment]  # an int after any reset

    def key(self) -> bytes:
        """Returns 16 bytes that are equal for equal states, whatever path led there and in whichever process."""
        return canonical_digest(self._parts(), self.token, self.vectors_are_tuples)

    def draws_so_far(self) -> list[Any]:
        """Returns the present states of the environment's generators, for comparison."""
        return [state_of(generator) for generator in self.generators.values()]

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
        if isinstance(value, GENERATORS) and all(value is not known for known in self.generators.values()):
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
                        f"{type(self.base).__name__}.{name} ({type(value).__name__}) cannot be saved and restored: "
                        f"{error}; if it is no part of the state, pass ignore=({name!r},)"
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
