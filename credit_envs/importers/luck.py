"""Watching and changing the random generators that an environment may use."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

GENERATORS = (np.random.Generator, np.random.RandomState, random.Random)


def state_of(generator: Any) -> Any:
    """Returns the state of a generator, for comparison."""
    if isinstance(generator, np.random.Generator):
        return repr(generator.bit_generator.state)
    if isinstance(generator, np.random.RandomState):
        return repr(generator.get_state(legacy=False))
    return generator.getstate()


def global_draws() -> tuple[Any, Any]:
    """Returns what changes whenever anybody draws from the global generators."""
    state: Any = np.random.get_state(legacy=False)  # noqa: NPY002 (read to detect environments that use it)
    return (state["state"]["pos"], state["has_gauss"], int(state["state"]["key"][0])), random.getstate()[1][-1]


class OtherLuck:
    """Inside, every generator that an environment may use is in another state; all are put back afterwards."""

    def __init__(self, generators: Iterable[Any], word: int) -> None:
        self._generators, self._word = list(generators), word

    def __enter__(self) -> None:
        self._numpy = np.random.get_state(legacy=False)  # noqa: NPY002 (put back on exit)
        self._python = random.getstate()
        self._own = [_saved(generator) for generator in self._generators]
        np.random.seed(self._word)  # noqa: NPY002 (put back on exit)
        random.seed(self._word)
        for generator in self._generators:
            if isinstance(generator, np.random.Generator):
                generator.bit_generator.state = type(generator.bit_generator)(self._word).state
            else:
                generator.seed(self._word)

    def __exit__(self, *_: object) -> None:
        np.random.set_state(self._numpy)  # noqa: NPY002 (put back as found)
        random.setstate(self._python)
        for put_back in self._own:
            put_back()


def _saved(generator: Any) -> Callable[[], None]:
    if isinstance(generator, np.random.Generator):
        bits, state = generator.bit_generator, generator.bit_generator.state
        return lambda: setattr(bits, "state", state)
    if isinstance(generator, np.random.RandomState):
        kept_state = generator.get_state(legacy=False)
        return lambda: generator.set_state(kept_state)
    python_state = generator.getstate()
    return lambda: generator.setstate(python_state)
