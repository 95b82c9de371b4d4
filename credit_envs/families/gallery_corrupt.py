"""Corrupted pictures, to ask what a policy does without (parts of) the image."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from credit_envs.arrays import AnyArray, Words
from credit_envs.errors import CreditEnvsError, check_range, unknown
from credit_envs.table.draws import draws, mix_words

KINDS = ("blank", "patches", "noise")
_PATCHES = 14


def corrupt(image: AnyArray, kind: str, strength: float = 1.0, seed: int | AnyArray = 0) -> NDArray[np.uint8]:
    """Corrupts pictures; the same arguments give the same result on every machine.

    - ``"blank"``: brightness falls to 1 − strength; at 1 the picture is black.
    - ``"patches"``: the picture is divided into at most 14 × 14 patches; a share ``strength`` of them, rounded to whole
      patches and chosen at random, turns black.
    - ``"noise"``: each pixel is replaced by uniformly random bytes with probability ``strength``.

    Args:
        image: uint8 ``[height, width, channels]``, or a batch ``[n, height, width, channels]``; not changed.
        kind: one of :data:`KINDS`.
        strength: how much, in [0, 1]; 0 changes nothing.
        seed: integer ≥ 0, or one for each picture of a batch, ``[n]``.

    Returns:
        uint8 of the same shape.

    Raises:
        CreditEnvsError: if an argument is out of range or the image is no picture.
    """
    if kind not in KINDS:
        raise unknown("corruption", kind, KINDS)
    check_range("strength", strength, 0, 1)
    image = np.asarray(image)
    if image.dtype != np.uint8 or image.ndim not in (3, 4) or 0 in image.shape[-3:]:
        raise CreditEnvsError(
            f"image: expected uint8 [height, width, channels] or a batch of those, got {image.dtype} {image.shape}"
        )
    if image.ndim == 3:
        single: NDArray[np.uint8] = corrupt(image[None], kind, strength, seed)[0]
        return single
    if kind == "blank":
        return np.rint(image * (1 - strength)).astype(np.uint8)
    if np.size(seed) not in (1, len(image)) or (np.size(seed) and np.min(seed) < 0):
        raise CreditEnvsError(f"seed={seed!r}: expected an integer ≥ 0, or {len(image)} of them")
    keys: Words = mix_words(mix_words(0, np.asarray(seed)), KINDS.index(kind))
    keys = np.broadcast_to(keys.reshape(-1), len(image))[:, None]
    return _patched(image, strength, keys) if kind == "patches" else _noisy(image, strength, keys)


def _patched(image: AnyArray, strength: float, keys: Words) -> NDArray[np.uint8]:
    n, height, width, _ = image.shape
    rows, columns = (math.ceil(size / math.ceil(size / _PATCHES)) for size in (height, width))
    order = np.argsort(draws(keys, np.arange(rows * columns)), axis=1, kind="stable")
    covered = np.zeros((n, rows * columns), dtype=bool)
    np.put_along_axis(covered, order[:, : round(strength * rows * columns)], True, axis=1)
    covered = covered.reshape(n, rows, columns)
    mask = covered[:, np.arange(height) * rows // height][:, :, np.arange(width) * columns // width]
    return np.where(mask[..., None], 0, image).astype(np.uint8)


def _noisy(image: AnyArray, strength: float, keys: Words) -> NDArray[np.uint8]:
    n, height, width, channels = image.shape
    count = height * width
    hit = draws(keys, np.arange(count)) < strength * 2.0**53
    values = draws(keys, count + np.arange(count * channels)) >> 45
    noise = values.reshape(n, height, width, channels)
    return np.where(hit.reshape(n, height, width, 1), noise, image).astype(np.uint8)
