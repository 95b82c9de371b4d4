"""Counter-based randomness: every draw is a pure function of (seed, purpose, context, rollout, branch, step).

A single environment, the vector environment, the torch batch and tree search therefore see the same luck, and a fork
gets fresh luck by taking a fresh branch number. The words are mixed in turn by splitmix64 (Steele, Lea and Flood 2014,
"Fast splittable pseudorandom number generators"). Draws are 53-bit integers that are compared with integer thresholds,
so that no backend can round differently.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np

from credit_envs.arrays import AnyArray, Floats, Ints, Words

GOLDEN = 0x9E3779B97F4A7C15
MIX_1 = 0xBF58476D1CE4E5B9
MIX_2 = 0x94D049BB133111EB
WORD = (1 << 64) - 1
BITS = 53
ONE = 1 << BITS
"""The integer that stands for probability one."""

EPISODE = 0xFFFFFFFF
"""Step word of what is drawn once per rollout."""


class Purpose(IntEnum):
    """What a draw decides; draws for different purposes are independent."""

    START = 1
    OUTCOME = 2
    EMISSION = 3
    ACTION = 4
    SEARCH = 5
    JUDGE = 6


def mix_word(key: int, word: int) -> int:
    """Mixes one word into a key, in Python integers (the reference for all other backends)."""
    z = (key + GOLDEN * (word + 1)) & WORD
    z = ((z ^ (z >> 30)) * MIX_1) & WORD
    z = ((z ^ (z >> 27)) * MIX_2) & WORD
    return z ^ (z >> 31)


def stream(seed: int, purpose: Purpose, context: int = 0, rollout: int = 0, branch: int = 0) -> int:
    """Returns the key of one rollout's draws for one purpose; the draw at step t is ``draw(stream(...), t)``."""
    key = 0
    for word in (seed, int(purpose), context, rollout, branch):
        key = mix_word(key, word)
    return key


def draw(key: int, step: int) -> int:
    """Returns the draw of one step: an integer in ``[0, 2**53)``."""
    return mix_word(key, step) >> (64 - BITS)


def mix_words(key: AnyArray | int, word: AnyArray | int) -> Words:
    """Like :func:`mix_word` for uint64 arrays (broadcast)."""
    with np.errstate(over="ignore"):
        words = (
            np.asarray(word, dtype=np.int64).astype(np.uint64) if not isinstance(word, int) else np.uint64(word & WORD)
        )
        z: Words = np.asarray(key, dtype=np.uint64) + np.uint64(GOLDEN) * (words + np.uint64(1))
        z = (z ^ (z >> np.uint64(30))) * np.uint64(MIX_1)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(MIX_2)
        return z ^ (z >> np.uint64(31))


def streams(
    seed: AnyArray | int,
    purpose: Purpose,
    context: AnyArray | int = 0,
    rollout: AnyArray | int = 0,
    branch: AnyArray | int = 0,
) -> Words:
    """Like :func:`stream` for arrays of words (broadcast); dtype uint64."""
    key: Words = np.zeros((), dtype=np.uint64)
    for word in (seed, int(purpose), context, rollout, branch):
        key = mix_words(key, word)
    return key


def draws(key: AnyArray | int, step: AnyArray | int) -> Ints:
    """Like :func:`draw` for arrays (broadcast); dtype int64."""
    return (mix_words(key, step) >> np.uint64(64 - BITS)).astype(np.int64)


def thresholds(probability: AnyArray, start: AnyArray | None = None) -> Ints:
    """Turns probabilities into cumulative integer thresholds; a draw selects the number of thresholds it has reached.

    Args:
        probability: float ``[O]`` with segment ``start``, or ``[..., A]`` where every row is one distribution.
        start: int ``[E + 1]`` segment bounds of the ragged form; no segment may be empty.

    Returns:
        int64 of the same shape, non-decreasing inside a segment, the last one of a segment being ``2**53``. The
        cumulative sums are taken in integers, so they are the same on every machine.
    """
    mass = np.rint(np.asarray(probability, dtype=np.float64) * ONE).astype(np.int64)
    if start is None:
        # The last outcome of positive probability takes the rounding remainder; later ones keep zero width.
        total = np.cumsum(mass, axis=-1)
        return np.where(total == total[..., -1:], ONE, np.minimum(total, ONE)).astype(np.int64)
    first, count = np.asarray(start[:-1]), np.diff(start)
    with np.errstate(over="ignore"):
        running = np.cumsum(mass)  # wraps modulo 2**64 on large tables; differences stay exact
        total = running - np.repeat(running[first] - mass[first], count)
    end = np.repeat(total[np.asarray(start[1:]) - 1], count)
    return np.where(total == end, ONE, np.minimum(total, ONE)).astype(np.int64)


def select_row(threshold: AnyArray, value: AnyArray) -> Ints:
    """Selects an index per row of dense thresholds ``[N, A]`` by draws ``[N]``."""
    return np.asarray((threshold <= np.asarray(value)[:, None]).sum(axis=1), dtype=np.int64)


def select_segment(threshold: AnyArray, first: AnyArray, last: AnyArray, value: AnyArray) -> Ints:
    """Selects by bisection an index in ``[first, last]`` per ragged segment: the first threshold above the draw."""
    low, high = np.array(first, dtype=np.int64), np.array(last, dtype=np.int64)
    while np.any(low < high):
        middle = (low + high) >> 1
        beyond = threshold[middle] <= value
        low = np.where(beyond, middle + 1, low)
        high = np.where(beyond, high, middle)
    return low


def uniform_floats(value: AnyArray) -> Floats:
    """Turns draws into floats in ``[0, 1)``."""
    return np.asarray(value, dtype=np.float64) / ONE
