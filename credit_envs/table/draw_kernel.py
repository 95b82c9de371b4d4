"""The draws of :mod:`credit_envs.table.draws` for numba's kernels: the same integers, one at a time, on CPU and CUDA."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from credit_envs.table.draws import BITS, GOLDEN, MIX_1, MIX_2

_GOLDEN, _MIX_1, _MIX_2 = np.uint64(GOLDEN), np.uint64(MIX_1), np.uint64(MIX_2)
_ONE, _S27, _S30, _S31, _TOP = np.uint64(1), np.uint64(27), np.uint64(30), np.uint64(31), np.uint64(64 - BITS)


@njit(cache=True, nogil=True, inline="always")
def mix(key: Any, word: Any) -> Any:
    """Mixes a word, an integer that wraps modulo 2**64, into a key uint64."""
    z = key + _GOLDEN * (np.uint64(word) + _ONE)
    z = (z ^ (z >> _S30)) * _MIX_1
    z = (z ^ (z >> _S27)) * _MIX_2
    return z ^ (z >> _S31)


@njit(cache=True, nogil=True, inline="always")
def draw(key: Any, step: Any) -> Any:
    """Returns the draw of one step, int64 in ``[0, 2**53)``."""
    return np.int64(mix(key, step) >> _TOP)
