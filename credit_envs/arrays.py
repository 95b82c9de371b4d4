"""Array aliases, and the alphabet of shapes used in every docstring.

S states, A actions, E edges (admissible state-action pairs), O outcomes (successors of edges), H horizon,
N rollouts, T steps of the longest rollout, G groups, n rollouts of a group, K continuations.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Int32s = NDArray[np.int32]
Words = NDArray[np.uint64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
AnyArray = NDArray[Any]

EQUAL = 1e-9
"""Values that differ by less than this share of the largest are equal but for a processor's rounding."""


def ragged_ranges(start: AnyArray, count: AnyArray) -> Ints:
    """Concatenates ``arange(start[i], start[i] + count[i])`` over i: shape ``[sum(count)]``."""
    count = np.asarray(count, dtype=np.int64)
    ends = np.cumsum(count)
    total = int(ends[-1]) if ends.size else 0
    inside = np.arange(total, dtype=np.int64)
    return np.asarray(inside + np.repeat(np.asarray(start, dtype=np.int64) - (ends - count), count))


def narrow(bounds: AnyArray) -> AnyArray:
    """Returns row bounds as int32 where they fit: SciPy then keeps narrow indices, which halves what a product reads."""
    return bounds.astype(np.int32) if bounds[-1] <= np.iinfo(np.int32).max else bounds


def frozen(array: AnyArray) -> AnyArray:
    """Returns a read-only view, so that a table cannot change after it was validated."""
    view = array.view()
    view.flags.writeable = False
    return view
