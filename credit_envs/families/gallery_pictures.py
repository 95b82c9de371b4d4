"""The Gallery's rooms as pictures that one would show on a slide."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from credit_envs.arrays import AnyArray
from credit_envs.families import tiles
from credit_envs.families.gallery_layout import JUNCTION, OVER, SEARCH, Layout

TILE = 32
PIXELS = 7 * TILE
_NOTHING, _WALL, _FLOOR, _EXIT, _SIGN, _CORRIDOR, _SIDE_ROOM, _EXHIBIT = range(8)
_WINGS: tuple[tiles.Colour, ...] = (
    (245, 232, 206),
    (222, 232, 245),
    (236, 224, 212),
    (243, 226, 219),
    (228, 226, 232),
    (230, 240, 218),
    (218, 238, 228),
    (214, 235, 240),
)
_PAINTS = tuple(tiles.COLOURS.values())
_DARK: tiles.Colour = (150, 146, 140)
_STREET: tiles.Colour = (196, 199, 204)
_BAR: tiles.Colour = (226, 229, 234)
_ANGLES = {2: (180, 0), 3: (180, 90, 0), 4: (180, 117, 63, 0)}
"""Degrees of the directions of the exits, anticlockwise from the right."""


def picture(layout: Layout, state: int, plane: AnyArray, pointed: int) -> NDArray[np.uint8]:
    """Draws a state.

    Args:
        layout: the instance.
        state: the state.
        plane: its planes, uint8 ``[7, 7, 3]``.
        pointed: the exit that the sign points to, −1 for none.

    Returns:
        uint8 ``[224, 224, 3]``.
    """
    kind, junction = plane[..., 0], min(int(layout.junction[state]), layout.junctions - 1)
    tint, is_room = _WINGS[layout.wing], layout.kind[state] in (JUNCTION, SEARCH)
    board = tiles.canvas(7, 7, TILE, tiles.PAGE)
    tiles.stamp(board, tiles.wall(TILE), *np.nonzero(kind == _WALL))
    tiles.stamp(board, tiles.floor(TILE, tint), *np.nonzero((kind == _FLOOR) | (kind == _CORRIDOR) | (kind == _SIGN)))
    tiles.stamp(board, tiles.floor(TILE, tint), *np.nonzero(kind == _EXHIBIT))
    tiles.stamp(board, tiles.floor(TILE, _DARK), *np.nonzero(kind == _SIDE_ROOM))
    tiles.stamp(board, _doorway(TILE, tint), *np.nonzero(kind == _EXIT))
    if is_room:
        for column, colour in zip((1, 5), layout.paintings[junction].tolist(), strict=True):
            tiles.stamp(board, _painting(TILE, _PAINTS[colour]), 1, column)
    below_bar = np.arange(7)[:, None] > 0
    tiles.stamp(board, tiles.floor(TILE, _STREET), *np.nonzero((kind == _NOTHING) & below_bar))
    tiles.stamp(board, tiles.agent(TILE), *np.nonzero(plane[..., 2]))
    out = tiles.finish(board)
    if layout.kind[state] == JUNCTION:
        _paste(out, _sign(3 * TILE, None if pointed < 0 else _ANGLES[layout.exits][pointed]), 2 * TILE)
    if state == layout.goal:
        _paste(out, _exhibit(3 * TILE, _PAINTS[layout.exhibit]), 2 * TILE)
    done = layout.junctions if state == layout.goal else int(layout.junction[state])
    if layout.kind[state] == OVER and state != layout.goal:
        done = 0
    _progress(out, done, layout.junctions)
    return out


def _paste(out: AnyArray, large: tiles.Picture, corner: int) -> None:
    """Paints a picture of several tiles over a finished one, at row and column ``corner``."""
    spot, opacity = out[corner : corner + len(large), corner : corner + len(large)], large[..., 3:]
    spot[:] = np.rint(spot * (1 - opacity) + large[..., :3] * opacity)


def _progress(out: AnyArray, done: int, junctions: int) -> None:
    """Draws one segment per junction in the top row, those passed filled."""
    edges = np.rint(np.linspace(8, PIXELS - 8, junctions + 1)).astype(int)
    gap = 4 if junctions <= 20 else 1
    for j in range(junctions):
        out[11:21, edges[j] : edges[j + 1] - gap] = tiles.GOOD if j < done else _BAR


@lru_cache(maxsize=64)
def _doorway(tile: int, tint: tiles.Colour) -> tiles.Picture:
    """An open doorway: floor with a dark frame."""
    at = tiles._square(tile)
    frame, inside = tiles._box(at, -1, -1, 2, 2), tiles._box(at, 0.12, 0.12, 0.88, 0.88, 0.08)
    return tiles._layers(tile, (frame, tiles._shade(tiles.WALL, 0.7)), (inside, tiles._shade(tint, 0.86)))


@lru_cache(maxsize=64)
def _painting(tile: int, colour: tiles.Colour) -> tiles.Picture:
    """A framed painting: sky, a hill and a sun."""
    at = tiles._square(tile)
    frame, canvas = tiles._box(at, 0.1, 0.14, 0.9, 0.86, 0.04), tiles._box(at, 0.18, 0.22, 0.82, 0.78)
    hill = np.maximum(canvas, tiles._disc(at, 0.42, 0.98, 0.42))
    sun = tiles._disc(at, 0.66, 0.38, 0.08)
    return tiles._layers(
        tile, (frame, (196, 160, 84)), (canvas, (244, 240, 228)), (hill, colour), (sun, tiles._shade(colour, 0.8))
    )


@lru_cache(maxsize=64)
def _exhibit(tile: int, colour: tiles.Colour) -> tiles.Picture:
    """The last exhibit: a star on a pedestal."""
    at = tiles._square(tile)
    raised = (at[0], at[1] + 0.14)
    star = tiles._star(raised, 0.34)
    base, top = tiles._box(at, 0.28, 0.68, 0.72, 0.95, 0.03), tiles._box(at, 0.22, 0.66, 0.78, 0.75, 0.03)
    dark = tiles._shade(colour, 0.6)
    return tiles._layers(tile, (base, tiles.UNLIT), (top, tiles.INK), (star - 0.04, dark), (star, tiles.STAR))


@lru_cache(maxsize=32)
def _sign(size: int, angle: int | None) -> tiles.Picture:
    """A round board with an arrow at an angle in degrees, or an empty board."""
    at = tiles._square(size)
    ring, face = tiles._disc(at, 0.5, 0.5, 0.46), tiles._disc(at, 0.5, 0.5, 0.42)
    board = [(ring, tiles.INK), (face, tiles.PAGE)]
    if angle is None:
        return tiles._layers(size, *board)
    cos, sin = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
    u, v = at[0] - 0.5, at[1] - 0.5
    along, across = 0.5 + u * cos - v * sin, 0.5 + u * sin + v * cos
    shaft = tiles._box((along, across), 0.2, 0.44, 0.6, 0.56, 0.02)
    # A triangle with its tip at 0.84: two slanted edges and the edge at its back.
    slope = np.array((0.2, 0.27)) / np.hypot(0.2, 0.27)
    head = np.maximum((along - 0.84) * slope[0] + np.abs(across - 0.5) * slope[1], 0.56 - along)
    return tiles._layers(size, *board, (tiles._union([shaft, head]), tiles.BAD))
