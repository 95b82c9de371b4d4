"""Letters and digits as strokes, drawn with soft edges at any size."""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise

import numpy as np

from credit_envs.arrays import AnyArray, Floats, frozen

_STROKES = {
    "A": "06 20 46/14 34",
    "B": "00 06 36 45 44 33 03/33 42 41 30 00",
    "C": "41 30 10 01 05 16 36 45",
    "D": "00 06 26 44 42 20 00",
    "E": "40 00 06 46/03 33",
    "F": "40 00 06/03 33",
    "G": "41 30 10 01 05 16 36 45 43 23",
    "H": "00 06/40 46/03 43",
    "I": "00 06",
    "J": "40 45 36 16 05",
    "K": "00 06/40 03 46",
    "L": "00 06 46",
    "M": "06 00 24 40 46",
    "N": "06 00 46 40",
    "O": "10 30 41 45 36 16 05 01 10",
    "P": "06 00 30 41 43 34 04",
    "Q": "10 30 41 45 36 16 05 01 10/24 46",
    "R": "06 00 30 41 42 33 03/23 46",
    "S": "41 30 10 01 02 13 33 44 45 36 16 05",
    "T": "00 40/20 26",
    "U": "00 05 16 36 45 40",
    "V": "00 26 40",
    "W": "00 16 22 36 40",
    "X": "00 46/40 06",
    "Y": "00 23 40/23 26",
    "Z": "00 40 06 46",
    "0": "10 30 41 45 36 16 05 01 10",
    "1": "01 10 16/06 26",
    "2": "01 10 30 41 42 06 46",
    "3": "01 10 30 41 42 33 44 45 36 16 05/13 33",
    "4": "36 30 04 44",
    "5": "40 00 03 33 44 45 36 06",
    "6": "30 10 01 05 16 36 45 44 33 03",
    "7": "00 40 16",
    "8": "13 02 01 10 30 41 42 33 13 04 05 16 36 45 44 33",
    "9": "43 13 02 01 10 30 41 45 36 16",
}
"""Strokes of each character: points "xy" with x from 0 to 4 and y from 0 (top) to 6."""

_WIDTHS = {" ": 2} | {
    name: max(int(point[0]) for point in row.replace("/", " ").split()) for name, row in _STROKES.items()
}
_GAP = 2


def width(words: str, height: float) -> float:
    """Returns how wide words are in pixels; ``height`` is that of a letter."""
    return (sum(_WIDTHS[c] + _GAP for c in words.upper()) - _GAP) * height / 6


def write(picture: AnyArray, words: str, left: float, top: float, height: float, colour: tuple[int, int, int]) -> None:
    """Writes words in capitals over a picture; what lies outside is cut off.

    Args:
        picture: float ``[rows, columns, 3]``, changed in place.
        words: letters, digits and spaces.
        left: where they begin, in pixels.
        top: upper edge of the letters.
        height: height of the letters in pixels.
        colour: the ink.
    """
    x = left
    for character in words.upper():
        if character != " ":
            column, row = int(np.floor(x)), int(np.floor(top))
            cover = _glyph(character, round(x - column, 2), round(top - row, 2), height)
            spot = picture[max(row - 1, 0) :, max(column - 1, 0) :]
            cover = cover[max(1 - row, 0) :, max(1 - column, 0) :][: spot.shape[0], : spot.shape[1], None]
            spot = spot[: cover.shape[0], : cover.shape[1]]
            spot[:] = spot * (1 - cover) + np.array(colour) * cover
        x += (_WIDTHS[character] + _GAP) * height / 6


@lru_cache(maxsize=1024)
def _glyph(character: str, x: float, y: float, height: float) -> Floats:
    """Opacity of a character whose upper left corner is one pixel and (x, y) from the corner of the array."""
    unit, pen = height / 6, max(0.55, height / 15)
    rows, columns = int(np.ceil(height + pen)) + 3, int(np.ceil(4 * unit + pen)) + 3
    v, u = np.indices((rows, columns)) + 0.5
    distance = np.full((rows, columns), np.inf)
    for stroke in _STROKES[character].split("/"):
        points = [(1 + x + int(p[0]) * unit, 1 + y + int(p[1]) * unit) for p in stroke.split()]
        for (a, b), (c, d) in pairwise(points):
            along = np.clip(((u - a) * (c - a) + (v - b) * (d - b)) / ((c - a) ** 2 + (d - b) ** 2), 0, 1)
            distance = np.minimum(distance, np.hypot(u - a - along * (c - a), v - b - along * (d - b)))
    return frozen(np.clip(0.5 + pen - distance, 0, 1))
