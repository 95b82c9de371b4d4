"""The counter-based draws of :mod:`credit_envs.table.draws` in torch: the same integers on CPU and CUDA."""

from __future__ import annotations

from math import prod

import torch
from torch import Tensor

from credit_envs.table import draws as reference
from credit_envs.table.draws import Purpose


def _signed(word: int) -> int:
    """Reads a 64-bit word as two's complement, which is how torch's int64 holds it."""
    word &= reference.WORD
    return word - (1 << 64) if word >= 1 << 63 else word


_GOLDEN, _MIX_1, _MIX_2 = (_signed(w) for w in (reference.GOLDEN, reference.MIX_1, reference.MIX_2))


def _shift(z: Tensor, bits: int) -> Tensor:
    """Logical right shift of int64 (torch's own repeats the sign)."""
    return (z >> bits) & ((1 << (64 - bits)) - 1)


def mix_words(key: Tensor | int, word: Tensor | int) -> Tensor:
    """Mixes words into keys, int64 (broadcast); wraps modulo 2**64 like the reference."""
    step = word * _GOLDEN + _GOLDEN if isinstance(word, Tensor) else _signed((word + 1) * reference.GOLDEN)
    z = key + step
    if not isinstance(z, Tensor):
        z = torch.tensor(_signed(z), dtype=torch.int64)
    z = (z ^ _shift(z, 30)) * _MIX_1
    z = (z ^ _shift(z, 27)) * _MIX_2
    return z ^ _shift(z, 31)


def streams(seed: Tensor | int, purpose: Purpose, context: Tensor, rollout: Tensor, branch: Tensor | int = 0) -> Tensor:
    """Returns the keys of rollouts' draws for one purpose, int64 like the broadcast words."""
    key: Tensor | int = 0
    for word in (seed, int(purpose), context, rollout, branch):
        key = mix_words(key, word)
    assert isinstance(key, Tensor)
    return key


def draws(key: Tensor, step: Tensor | int) -> Tensor:
    """Returns the draws of one step, int64 in ``[0, 2**53)``."""
    return _shift(mix_words(key, step), 64 - reference.BITS)


def judge_luck(seed: int, learner: Tensor, update: Tensor, salt: int, *shape: int) -> Tensor:
    """Draws luck of judges and masks, uniform float64 in [0, 1) of a shape, on the learner's device.

    Args:
        seed: first word of the key.
        learner: int64 scalar.
        update: int64 scalar.
        salt: tells draws of one update apart.
        *shape: of the result.
    """
    key = mix_words(streams(seed, Purpose.JUDGE, learner, update), salt)
    return (draws(key, torch.arange(prod(shape), device=learner.device)).to(torch.float64) / 2.0**53).view(shape)


def row_thresholds(probability: Tensor) -> Tensor:
    """Turns rows of probabilities float64 ``[..., A]`` into integer thresholds int64, as the reference does."""
    mass = torch.round(probability * reference.ONE).to(torch.int64)
    total = mass.cumsum(dim=-1)
    return torch.where(total == total[..., -1:], reference.ONE, total.clamp(max=reference.ONE))


def select_segment(threshold: Tensor, first: Tensor, last: Tensor, value: Tensor, widest: int) -> Tensor:
    """Selects by bisection in ragged segments ``[first, last]`` of at most ``widest`` entries, as the reference does."""
    low, high = first, last
    for _ in range((widest - 1).bit_length()):
        middle = (low + high) >> 1
        beyond = threshold[middle] <= value
        low, high = torch.where(beyond & (low < high), middle + 1, low), torch.where(beyond, high, middle)
    return low
