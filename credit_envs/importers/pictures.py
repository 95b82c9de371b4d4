"""Pictures of states, all of one size, drawn on request."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np

from credit_envs.arrays import AnyArray
from credit_envs.errors import CreditEnvsError

SIZE = 256


def picture_space() -> gymnasium.spaces.Box:
    """Returns the space of pictures, uint8 ``[256, 256, 3]``."""
    return gymnasium.spaces.Box(0, 255, (SIZE, SIZE, 3), np.uint8)


def fitted(picture: Any) -> AnyArray:
    """Averages a picture over whole blocks of pixels until it fits, and centres it on black.

    Raises:
        CreditEnvsError: if the environment rendered something else than a picture.
    """
    pixels = np.asarray(picture)
    if pixels.ndim != 3 or pixels.shape[2] != 3:
        raise CreditEnvsError(f"render() gave an array of shape {pixels.shape}: expected a picture [height, width, 3]")
    block = -(-max(pixels.shape[:2]) // SIZE)
    height, width = pixels.shape[0] // block, pixels.shape[1] // block
    blocks = pixels[: height * block, : width * block].reshape(height, block, width, block, 3)
    out = np.zeros((SIZE, SIZE, 3), dtype=np.uint8)
    top, left = (SIZE - height) // 2, (SIZE - width) // 2
    out[top : top + height, left : left + width] = np.rint(blocks.mean(axis=(1, 3))).astype(np.uint8)
    return out
