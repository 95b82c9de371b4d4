"""What a family is: a function from an instance seed and knobs to a table; knobs are checked in this one place."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from credit_envs.arrays import Ints
from credit_envs.errors import CreditEnvsError, check_range, unknown
from credit_envs.table.draws import draws, mix_word
from credit_envs.table.mdp import TabularMDP


@dataclass(frozen=True)
class Knob:
    """One argument of a family.

    Attributes:
        default: value when not given; where it is None, None may also be given.
        low: smallest value (numbers).
        high: largest value (numbers).
        doc: what it does, in one line.
        integer: whether numbers must be whole.
        choices: the allowed values, instead of a range.
    """

    default: Any
    low: float = 0.0
    high: float = 0.0
    doc: str = ""
    integer: bool = True
    choices: tuple[Any, ...] | None = None

    def check(self, name: str, value: Any) -> Any:
        """Returns the value in its canonical type.

        Raises:
            CreditEnvsError: naming the knob, the value and the range or the choices.
        """
        if value is None and self.default is None:
            return None
        if self.choices is None:
            check_range(name, value, self.low, self.high, integer=self.integer)
            return int(value) if self.integer else float(value)
        for choice in self.choices:
            if np.ndim(value) == 0 and value == choice:
                return choice
        near = difflib.get_close_matches(str(value), [str(choice) for choice in self.choices], n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise CreditEnvsError(f"{name}={value!r}: expected one of {', '.join(map(repr, self.choices))}{hint}")


@dataclass(frozen=True)
class Family:
    """A family of environments.

    Attributes:
        name: its name in the registry.
        compile: function ``(instance_seed, **knobs) -> TabularMDP``; it gets every knob, already checked.
        knobs: its knobs, by name.
        summary: one line for lists.
    """

    name: str
    compile: Callable[..., TabularMDP]
    knobs: Mapping[str, Knob]
    summary: str

    def build(self, instance_seed: int = 0, **knobs: Any) -> TabularMDP:
        """Builds one instance; the same seed and knobs give the same table on every machine.

        Raises:
            CreditEnvsError: for an unknown knob (with the nearest known names) or a value out of its range.
        """
        check_range("instance", instance_seed, 0, 2**53, integer=True)
        for name in knobs:
            if name not in self.knobs:
                raise unknown(f"knob of {self.name}", name, self.knobs)
        values = {name: knob.check(name, knobs.get(name, knob.default)) for name, knob in self.knobs.items()}
        return self.compile(int(instance_seed), **values)

    @property
    def page(self) -> str:
        """The module docstring of the family, from which its page is made."""
        return sys.modules[self.compile.__module__].__doc__ or ""


def instance_draws(family: str, instance_seed: int, n: int) -> Ints:
    """Returns n draws of an instance: integers in ``[0, 2**53)``, int64 ``[n]``, the same on every machine."""
    key = mix_word(int.from_bytes(family.encode()[:8], "big"), instance_seed)
    return draws(key, np.arange(n, dtype=np.int64))


def below(value: Ints, limit: int) -> Ints:
    """Turns draws into integers in ``[0, limit)`` for limits up to 1,024 (int64, same shape)."""
    return (value * limit) >> 53
