"""Keys of states, and the random generators that are watched beside them."""

from __future__ import annotations

import copy
import random
import subprocess
import sys
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from credit_envs.importers.canonical import canonical_digest
from credit_envs.importers.luck import OtherLuck


class Thing:
    def __init__(self, **fields: Any) -> None:
        self.__dict__.update(fields)


def digest(value: Any, **options: Any) -> bytes:
    return canonical_digest([{"value": value}], lambda _: None, **options)


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=4)
    | st.binary(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text(max_size=3) | st.integers(), inner, max_size=3)
        | st.builds(lambda a, b: Thing(a=a, b=b), inner, inner)
    ),
    max_leaves=12,
)


def plain(value: Any) -> Any:
    """A nested tuple that is equal for equal content, types included."""
    if isinstance(value, Thing):
        return ("thing", *(plain(v) for v in value.__dict__.values()))
    if isinstance(value, dict):
        return ("dict", frozenset((plain(k), plain(v)) for k, v in value.items()))
    if isinstance(value, list | tuple):
        return (type(value).__name__, *(plain(v) for v in value))
    return (type(value).__name__, value.hex() if isinstance(value, float) else value)


@settings(max_examples=300, deadline=None)
@given(values, values)
def test_keys_are_equal_exactly_for_equal_content(one: Any, other: Any) -> None:
    assert (digest(one) == digest(other)) == (plain(one) == plain(other))
    assert digest(copy.deepcopy(one)) == digest(one)


def test_keys_see_sharing_cycles_and_kinds_of_numbers() -> None:
    shared = [1]
    assert digest([shared, shared]) != digest([[1], [1]])
    ring: list[Any] = []
    ring.append(ring)
    assert digest(ring) == digest(ring)
    assert digest(3) == digest(np.int64(3)) == digest(np.int32(3))
    assert digest(3) != digest(3.0)
    assert digest(0.0) != digest(-0.0)
    assert digest(True) == digest(np.True_) != digest(1)
    assert digest(np.zeros(2)) != digest(np.zeros(2, np.float32))
    assert digest(np.array([1, 2])) != digest((1, 2))
    assert digest(np.array([1, 2]), vectors_are_tuples=True) == digest((1, 2), vectors_are_tuples=True)
    assert digest({1, "a", (2, 3)}) == digest({(2, 3), 1, "a"})
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})


def test_importing_the_importers_loads_nothing_heavy() -> None:
    code = (
        "import sys, credit_envs.importers;"
        "print([m for m in ('minigrid', 'torch', 'pygame', 'rich', 'scipy') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_other_luck_is_put_back() -> None:
    generators = [np.random.default_rng(3), np.random.RandomState(3), random.Random(3)]
    before = [generators[0].random(), generators[1].random(), generators[2].random()]
    again = [np.random.default_rng(3), np.random.RandomState(3), random.Random(3)]
    with OtherLuck(again, word=9):
        inside = [generator.random() for generator in again]
    assert inside != before
    assert [generator.random() for generator in again] == before
