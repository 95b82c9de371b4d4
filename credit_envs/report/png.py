"""Pictures as PNG, small and without another library: with a palette where there are few colours."""

from __future__ import annotations

import struct
import zlib
from base64 import b64encode

import numpy as np

from credit_envs.arrays import AnyArray


def png(picture: AnyArray) -> bytes:
    """Returns a picture as PNG.

    Args:
        picture: uint8 ``[height, width, 3]``.
    """
    height, width = picture.shape[:2]
    packed = picture.reshape(-1, 3).astype(np.uint32) @ np.array([65536, 256, 1], dtype=np.uint32)
    colours, index = np.unique(packed, return_inverse=True)
    few = colours.size <= 256
    rows = index.astype(np.uint8).reshape(height, -1) if few else picture.reshape(height, -1)
    lines = np.concatenate([np.zeros((height, 1), dtype=np.uint8), rows], axis=1)
    palette = np.stack([colours >> 16, colours >> 8 & 255, colours & 255], axis=1).astype(np.uint8)
    return b"".join(
        [
            b"\x89PNG\r\n\x1a\n",
            _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3 if few else 2, 0, 0, 0)),
            _chunk(b"PLTE", palette.tobytes()) if few else b"",
            _chunk(b"IDAT", zlib.compress(lines.tobytes(), 9)),
            _chunk(b"IEND", b""),
        ]
    )


def data_uri(picture: AnyArray) -> str:
    """Returns a picture uint8 ``[height, width, 3]`` as an address that holds it."""
    return "data:image/png;base64," + b64encode(png(picture)).decode()


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
