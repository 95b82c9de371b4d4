"""Emissions: what a state looks like, and everything random about it that never touches the dynamics.

An observation id is ``base[s] * n_codes + code``. ``base`` merges states that look alike (aliasing); ``code`` packs one
digit per layer (skin, paraphrase, cue). Layers are exogenous: drawn once per episode or at each step, averaged by the
oracle, so that composing them never multiplies the table.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from credit_envs.arrays import AnyArray, Bools, Floats, Int32s, Ints, frozen
from credit_envs.errors import TableError
from credit_envs.table.draws import mix_words, select_row, thresholds


@dataclass(frozen=True, eq=False)
class Layer:
    """One exogenous variable of the observation.

    Attributes:
        name: what it is: ``skin``, ``paraphrase``, ``cue``.
        per_episode: drawn once per episode (else at every step).
        probability: float64 ``[C, Z]``; row c is the distribution of the digit in states of class c.
        state_class: ``"none"`` (one row for all states) or ``"admissible"`` (row = number of admissible actions).
        shift: int64 ``[Z]``; the admissible actions' names are shifted cyclically by it (0 = names mean what they say).
        blind: int64 ``[Z]``; the digit as it appears without the image. A digit that the text shows maps to itself.
        shows_in_anchor: whether the digit is part of what an identity rule on observations compares by default.
    """

    name: str
    per_episode: bool
    probability: Floats
    state_class: str = "none"
    shift: Ints | None = None
    blind: Ints | None = None
    shows_in_anchor: bool = True

    def __post_init__(self) -> None:
        p = np.atleast_2d(np.asarray(self.probability, dtype=np.float64))
        if not np.all(np.isfinite(p)) or p.min() < 0 or np.abs(p.sum(axis=1) - 1).max() > 1e-9:
            raise TableError(f"layer {self.name!r}: probability rows must be non-negative and sum to 1")
        object.__setattr__(self, "probability", frozen(p))
        for name, default in (("shift", np.zeros(p.shape[1], np.int64)), ("blind", np.arange(p.shape[1]))):
            value = np.asarray(default if getattr(self, name) is None else getattr(self, name), dtype=np.int64)
            if value.shape != (p.shape[1],):
                raise TableError(f"layer {self.name!r}: {name} has shape {value.shape}, expected ({p.shape[1]},)")
            object.__setattr__(self, name, frozen(value))
        if np.any((np.asarray(self.blind) < 0) | (np.asarray(self.blind) >= p.shape[1])):
            raise TableError(f"layer {self.name!r}: blind must name digits in [0, {p.shape[1] - 1}]")
        if self.state_class not in ("none", "admissible"):
            raise TableError(f"layer {self.name!r}: state_class={self.state_class!r}, expected 'none' or 'admissible'")

    @property
    def size(self) -> int:
        """Number of values Z of the digit."""
        return int(self.probability.shape[1])

    @cached_property
    def threshold(self) -> Ints:
        """Integer thresholds of the digit, int64 ``[C, Z]``."""
        return thresholds(self.probability)


@dataclass(frozen=True, eq=False)
class Emission:
    """Maps (state, exogenous code) to an observation id.

    Attributes:
        base: int32 ``[S]``, class of each state's look, numbered 0 … n_base − 1 without gaps.
        layers: exogenous layers, in the order in which the dials added them.
    """

    base: Int32s
    layers: tuple[Layer, ...] = field(default=())

    def __post_init__(self) -> None:
        base = np.asarray(self.base, dtype=np.int32)
        if base.ndim != 1 or base.size == 0 or base.min() < 0:
            raise TableError("emission.base: expected a non-empty vector of non-negative classes")
        if np.bincount(base).min() == 0:
            raise TableError(
                f"emission.base: class {int(np.bincount(base).argmin())} is missing; number classes without gaps"
            )
        object.__setattr__(self, "base", frozen(base))

    @cached_property
    def n_base(self) -> int:
        """Number of looks before layers."""
        return int(self.base.max()) + 1

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """Number of values per layer."""
        return tuple(layer.size for layer in self.layers)

    @cached_property
    def n_codes(self) -> int:
        """Number of exogenous codes (1 without layers)."""
        return int(np.prod(self.sizes, dtype=np.int64)) if self.layers else 1

    @property
    def n_obs(self) -> int:
        """Number of observation ids."""
        return self.n_base * self.n_codes

    @cached_property
    def is_identity(self) -> bool:
        """Whether the observation id is the state itself."""
        return not self.layers and bool(np.array_equal(self.base, np.arange(self.base.size)))

    @cached_property
    def digits(self) -> Ints:
        """Digit of each layer in each code, int64 ``[n_codes, layers]``."""
        return np.stack(np.unravel_index(np.arange(self.n_codes), self.sizes or (1,)), axis=1)[:, : len(self.layers)]

    def pack(self, digits: AnyArray) -> Ints:
        """Packs digits ``[..., layers]`` into codes ``[...]``."""
        code = np.zeros(np.asarray(digits).shape[:-1], dtype=np.int64)
        for i, size in enumerate(self.sizes):
            code = code * size + digits[..., i]
        return code

    @cached_property
    def shift(self) -> Ints:
        """Total cyclic shift of the action names per code, int64 ``[n_codes]``."""
        total = np.zeros(self.n_codes, dtype=np.int64)
        for i, layer in enumerate(self.layers):
            assert layer.shift is not None
            total += layer.shift[self.digits[:, i]]
        return total

    @cached_property
    def blind(self) -> Ints:
        """Code as it appears without the image, int64 ``[n_codes]``."""
        return self._recode(lambda layer, digit: np.asarray(layer.blind)[digit])

    @cached_property
    def anchor_code(self) -> Ints:
        """Code restricted to the layers that identity rules see by default, int64 ``[n_codes]``."""
        return self._recode(lambda layer, digit: digit if layer.shows_in_anchor else digit * 0)

    def _recode(self, rule: object) -> Ints:
        if not self.layers:
            return np.zeros(1, dtype=np.int64)
        columns = [rule(layer, self.digits[:, i]) for i, layer in enumerate(self.layers)]  # type: ignore[operator]
        return self.pack(np.stack(columns, axis=1))

    @cached_property
    def renames(self) -> bool:
        """Whether any code shifts the action names."""
        return bool(np.any(self.shift))

    @cached_property
    def episode_layers(self) -> Bools:
        """Which layers are drawn once per episode, bool ``[layers]``."""
        return np.array([layer.per_episode for layer in self.layers], dtype=bool)

    def sample(self, n_admissible: AnyArray, step_key: AnyArray, episode_key: AnyArray) -> Ints:
        """Draws codes ``[N]``.

        Args:
            n_admissible: int ``[N]``, number of admissible actions of each state.
            step_key: uint64 ``[N]``, key of this step's emission draws.
            episode_key: uint64 ``[N]``, key of the episode's emission draws.
        """
        code = np.zeros(np.shape(n_admissible), dtype=np.int64)
        for i, layer in enumerate(self.layers):
            key = episode_key if layer.per_episode else step_key
            value = (mix_words(key, i) >> np.uint64(11)).astype(np.int64)
            row = np.asarray(n_admissible) if layer.state_class == "admissible" else np.zeros_like(n_admissible)
            code = code * layer.size + select_row(layer.threshold[row], value)
        return code

    def episode_codes(self) -> tuple[Ints, Floats]:
        """Returns the per-episode part of the codes (other digits 0) and its probabilities, both ``[M]``."""
        return self._enumerate(per_episode=True, n_admissible=0)

    def step_codes(self, n_admissible: int) -> tuple[Ints, Floats]:
        """Returns the per-step part of the codes and its probabilities in states with ``n_admissible`` actions."""
        return self._enumerate(per_episode=False, n_admissible=n_admissible)

    def _enumerate(self, *, per_episode: bool, n_admissible: int) -> tuple[Ints, Floats]:
        codes, probability = np.zeros(1, dtype=np.int64), np.ones(1)
        for layer in self.layers:
            if layer.per_episode == per_episode:
                row = layer.probability[n_admissible if layer.state_class == "admissible" else 0]
            else:
                row = np.eye(1, layer.size)[0]
            codes = (codes[:, None] * layer.size + np.arange(layer.size)).ravel()
            probability = (probability[:, None] * row).ravel()
        keep = probability > 0
        return codes[keep], probability[keep]

    def with_layer(self, layer: Layer) -> Emission:
        """Returns this emission with one more layer.

        Raises:
            TableError: if a layer of that name is already there.
        """
        if any(layer.name == other.name for other in self.layers):
            raise TableError(f"the table already has a {layer.name!r} layer; build it once with the wanted value")
        return Emission(self.base, (*self.layers, layer))


def identity(n_states: int) -> Emission:
    """Returns the emission that shows the state itself."""
    return Emission(np.arange(n_states, dtype=np.int32))
