"""Charts as pictures that one would show on a slide."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from credit_envs.arrays import AnyArray
from credit_envs.families import tiles
from credit_envs.families.charts_letters import width, write
from credit_envs.families.charts_question import Question

ROWS, COLUMNS = 240, 320
_LEFT, _RIGHT, _TOP, _BASE = 36.0, 308.0, 48.0, 206.0
_LINE: tiles.Colour = (226, 229, 234)
_PALE: tiles.Colour = (110, 118, 132)
_PAINTS = tuple(tiles.COLOURS.values())


def picture(question: Question, chart: int) -> NDArray[np.uint8]:
    """Draws one of the charts of a question, uint8 ``[240, 320, 3]``: title, axis with lines, bars or numbers, names below."""
    h, n = question.values, len(question.names)
    out = np.broadcast_to(np.array(tiles.PAGE, np.float64), (ROWS, COLUMNS, 3)).copy()
    write(out, question.title, _LEFT, 16, 13, tiles.INK)
    level = _BASE - np.arange(h + 1) * (_BASE - _TOP) / h
    for value, y in enumerate(level.tolist()):
        if value:
            _fill(out, (_LEFT, y - 0.5, _RIGHT, y + 0.5), _LINE)
        write(out, str(value), _LEFT - 8 - width(str(value), 9), y - 4.5, 9, _PALE)
    pitch = (_RIGHT - _LEFT) / n
    size = min(9.0, 9.0 * (pitch - 4) / max(width(name, 9.0) for name in question.names))
    for bar, height in enumerate(question.heights[chart].tolist()):
        middle, half = _LEFT + (bar + 0.5) * pitch, min(0.32 * pitch, 26.0)
        if question.lettered[bar]:
            write(out, str(height), middle - width(str(height), 13) / 2, _BASE - 18, 13, tiles.INK)
        else:
            box = (middle - half, float(level[height]), middle + half, _BASE)
            _fill(out, box, _PAINTS[question.colours[bar]], corner=4)
        name = question.names[bar]
        write(out, name, middle - width(name, size) / 2, _BASE + 10, size, tiles.INK)
    _fill(out, (_LEFT, _BASE - 0.75, _RIGHT, _BASE + 0.75), tiles.INK)
    return np.rint(out).astype(np.uint8)


def _fill(out: AnyArray, box: tuple[float, float, float, float], colour: tiles.Colour, corner: float = 0) -> None:
    """Fills a box (left, top, right, bottom, in pixels) whose upper corners are round."""
    left, top, right, bottom = box
    row, column = math.floor(top) - 1, math.floor(left) - 1
    spot = out[row : math.ceil(bottom) + 1, column : math.ceil(right) + 1]
    v, u = np.indices(spot.shape[:2]) + 0.5
    distance = tiles._box((u + column, v + row), left, top, right, bottom + 2 * corner, corner)
    cover = np.clip(0.5 - np.maximum(distance, v + row - bottom), 0, 1)[..., None]
    spot[:] = spot * (1 - cover) + np.array(colour) * cover
