"""Drawing in plain NumPy: a canvas of square tiles and small pictures with soft edges.

Shapes are signed distances (negative inside) over a unit square, so every picture is sharp at every tile size.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import gymnasium
import numpy as np
from numpy.typing import NDArray

from credit_envs.arrays import AnyArray, frozen
from credit_envs.table.view import CHARSET

Picture = NDArray[np.float32]
"""float32 ``[tile, tile, 4]``: colour 0 … 255 and opacity 0 … 1."""

Colour = tuple[int, int, int]

PAGE: Colour = (255, 255, 255)
WALL: Colour = (62, 72, 89)
FLOOR: Colour = (246, 243, 236)
CLOSED_FLOOR: Colour = (220, 217, 211)
GRID: Colour = (230, 226, 217)
INK: Colour = (38, 44, 56)
TRACK: Colour = (201, 206, 214)
GOOD: Colour = (46, 160, 103)
MIXED: Colour = (224, 159, 50)
BAD: Colour = (208, 82, 72)
WALKER: Colour = (52, 102, 196)
STAR: Colour = (255, 214, 82)
LIGHT: Colour = (255, 205, 64)
UNLIT: Colour = (158, 163, 172)

COLOURS: dict[str, Colour] = {
    "red": (209, 67, 67),
    "blue": (57, 118, 199),
    "green": (54, 151, 88),
    "purple": (137, 84, 176),
    "orange": (225, 133, 42),
    "teal": (36, 152, 158),
}
"""Colours of keys and doors, in the order of the stages; the seventh is red again."""


def tile_size(columns: int) -> int:
    """Returns pixels per tile: 32, less on maps wider than 48 tiles, at least 8."""
    return max(8, min(32, 1536 // columns))


def ansi_space(length: int) -> gymnasium.spaces.Text:
    """Returns the space of a view in characters."""
    return gymnasium.spaces.Text(min_length=0, max_length=length, charset=CHARSET)


def canvas(rows: int, columns: int, tile: int, colour: Colour) -> Picture:
    """Returns float32 ``[rows, columns, tile, tile, 3]`` of one colour."""
    return np.broadcast_to(np.array(colour, np.float32), (rows, columns, tile, tile, 3)).copy()


def stamp(board: Picture, picture: Picture, row: int | AnyArray, column: int | AnyArray) -> None:
    """Paints a picture over tiles of a canvas ``[..., tile, tile, 3]``; row and column may be arrays."""
    opacity = picture[..., 3:]
    board[row, column] = board[row, column] * (1 - opacity) + picture[..., :3] * opacity


def finish(board: Picture) -> NDArray[np.uint8]:
    """Turns a canvas into a picture, uint8 ``[rows * tile, columns * tile, 3]``."""
    rows, columns, tile = board.shape[:3]
    flat = board.swapaxes(1, 2).reshape(rows * tile, columns * tile, 3)
    return np.rint(flat).astype(np.uint8)


def _square(tile: int) -> tuple[AnyArray, AnyArray]:
    centre = (np.arange(tile) + 0.5) / tile
    v, u = np.meshgrid(centre, centre, indexing="ij")
    return u, v


def _disc(at: tuple[AnyArray, AnyArray], u: float, v: float, radius: float) -> AnyArray:
    return np.asarray(np.hypot(at[0] - u, at[1] - v) - radius)


def _box(
    at: tuple[AnyArray, AnyArray], left: float, top: float, right: float, bottom: float, corner: float = 0
) -> AnyArray:
    du = np.abs(at[0] - (left + right) / 2) - (right - left) / 2 + corner
    dv = np.abs(at[1] - (top + bottom) / 2) - (bottom - top) / 2 + corner
    outside = np.hypot(np.maximum(du, 0), np.maximum(dv, 0))
    return np.asarray(outside + np.minimum(np.maximum(du, dv), 0) - corner)


def _star(at: tuple[AnyArray, AnyArray], radius: float, depth: float = 0.45) -> AnyArray:
    """Five points: fold the angle into one tenth of the circle, where the outline is a straight line."""
    u, v = at[0] - 0.5, at[1] - 0.5
    turn = 2 * np.pi / 5
    angle = np.abs((np.arctan2(u, -v) + turn / 2) % turn - turn / 2)
    x, y = np.hypot(u, v) * np.cos(angle), np.hypot(u, v) * np.sin(angle)
    dx, dy = depth * radius * np.cos(turn / 2) - radius, depth * radius * np.sin(turn / 2)
    return np.asarray(((x - radius) * dy - y * dx) / np.hypot(dx, dy))


def _layers(tile: int, *layers: tuple[AnyArray, Colour] | tuple[AnyArray, Colour, float]) -> Picture:
    """Paints shapes over each other, the first one lowest."""
    colour, opacity = np.zeros((tile, tile, 3)), np.zeros((tile, tile, 1))
    for distance, paint, *strength in layers:
        cover = np.clip(0.5 - distance * tile, 0, 1)[..., None] * (strength[0] if strength else 1.0)
        total = cover + opacity * (1 - cover)
        colour = (np.array(paint) * cover + colour * opacity * (1 - cover)) / np.maximum(total, 1e-9)
        opacity = total
    picture: Picture = frozen(np.concatenate((colour, opacity), axis=2).astype(np.float32))
    return picture


def _shade(colour: Colour, factor: float) -> Colour:
    r, g, b = (round(c * factor) for c in colour)
    return r, g, b


def _union(shapes: Sequence[AnyArray]) -> AnyArray:
    return np.asarray(np.minimum.reduce(list(shapes)))


@lru_cache(maxsize=64)
def floor(tile: int, colour: Colour = FLOOR) -> Picture:
    """A floor tile with a faint outline."""
    at = _square(tile)
    return _layers(tile, (_box(at, -1, -1, 2, 2), _shade(colour, 0.94)), (_box(at, 0.02, 0.02, 0.98, 0.98), colour))


@lru_cache(maxsize=64)
def wall(tile: int) -> Picture:
    """A wall tile."""
    at = _square(tile)
    return _layers(tile, (_box(at, -1, -1, 2, 2), WALL), (_box(at, 0.06, 0.06, 0.94, 0.94, 0.04), _shade(WALL, 1.1)))


@lru_cache(maxsize=256)
def key(tile: int, colour: Colour, held: bool = False) -> Picture:
    """A key; in hand it is smaller, in the corner, on a white badge."""
    at = _square(tile)
    size = 0.52 if held else 1.0
    scaled = (0.5 + (at[0] - (0.73 if held else 0.5)) / size, 0.5 + (at[1] - (0.77 if held else 0.5)) / size)
    bow = np.abs(_disc(scaled, 0.3, 0.5, 0.135)) - 0.055
    teeth = [_box(scaled, 0.66, 0.5, 0.73, 0.67), _box(scaled, 0.81, 0.5, 0.88, 0.71)]
    shape = _union([bow, _box(scaled, 0.46, 0.45, 0.88, 0.55), *teeth]) * size
    badge = _box(at, 0.49, 0.62, 0.98, 0.94, 0.1)
    dark = _shade(colour, 0.55)
    under = [(badge - 0.03, dark), (badge, PAGE)] if held else [(shape - 0.035, dark)]
    return _layers(tile, *under, (shape, colour))


@lru_cache(maxsize=256)
def door(tile: int, colour: Colour, is_open: bool) -> Picture:
    """A door: a leaf with a keyhole while it is locked, a frame around the passage once it is open."""
    at = _square(tile)
    frame = _box(at, 0.0, 0.0, 1.0, 1.0, 0.06)
    if is_open:
        return _layers(tile, (frame, _shade(colour, 0.8)), (_box(at, 0.13, 0.13, 0.87, 0.87, 0.04), FLOOR))
    hole = _union([_disc(at, 0.5, 0.44, 0.085), _box(at, 0.465, 0.44, 0.535, 0.64)])
    leaf, inner = _box(at, 0.1, 0.1, 0.9, 0.9, 0.05), _box(at, 0.2, 0.2, 0.8, 0.8, 0.04)
    shades = ((frame, _shade(colour, 0.6)), (leaf, colour), (inner, _shade(colour, 1.13)), (hole, _shade(colour, 0.35)))
    return _layers(tile, *((distance, tuple(min(c, 255) for c in paint)) for distance, paint in shades))  # type: ignore[arg-type]


@lru_cache(maxsize=64)
def lamp(tile: int, is_on: bool) -> Picture:
    """A lamp, shining or not."""
    at = _square(tile)
    bulb, socket = _disc(at, 0.5, 0.43, 0.19), _box(at, 0.42, 0.58, 0.58, 0.76, 0.03)
    shape = _union([bulb, socket])
    glow = [(_disc(at, 0.5, 0.43, r), LIGHT, 0.16) for r in (0.44, 0.37, 0.3)] if is_on else []
    body = LIGHT if is_on else UNLIT
    shine = (_disc(at, 0.44, 0.37, 0.055), PAGE, 0.75)
    return _layers(tile, *glow, (shape - 0.035, _shade(body, 0.5)), (bulb, body), (socket, _shade(UNLIT, 0.75)), shine)


@lru_cache(maxsize=64)
def goal(tile: int) -> Picture:
    """A star on a green tile."""
    at = _square(tile)
    star = _star(at, 0.36)
    return _layers(tile, (_box(at, 0.05, 0.05, 0.95, 0.95, 0.1), GOOD), (star - 0.03, _shade(GOOD, 0.6)), (star, STAR))


@lru_cache(maxsize=64)
def agent(tile: int) -> Picture:
    """The walker: a blue disc with a white rim and two eyes."""
    at = _square(tile)
    eyes = _union([_disc(at, 0.41, 0.45, 0.05), _disc(at, 0.59, 0.45, 0.05)])
    return _layers(
        tile,
        (_disc(at, 0.5, 0.5, 0.385), INK),
        (_disc(at, 0.5, 0.5, 0.355), PAGE),
        (_disc(at, 0.5, 0.5, 0.31), WALKER),
        (eyes, PAGE),
    )


@lru_cache(maxsize=64)
def track(tile: int, behind: Colour | None, ahead: Colour | None) -> Picture:
    """A piece of line: its left half and its right half, where there is one."""
    at = _square(tile)
    half = max(0.05, 1.0 / tile)
    left, right = _box(at, -1, 0.5 - half, 0.5, 0.5 + half), _box(at, 0.5, 0.5 - half, 2, 0.5 + half)
    halves = ((behind, left), (ahead, right))
    return _layers(tile, *((shape, colour) for colour, shape in halves if colour is not None))


@lru_cache(maxsize=64)
def node(tile: int, colour: Colour, large: bool) -> Picture:
    """A stop on a line: a large ring for a decision, else a dot."""
    at = _square(tile)
    if not large:
        return _layers(tile, (_disc(at, 0.5, 0.5, 0.13), colour))
    return _layers(tile, (_disc(at, 0.5, 0.5, 0.4), colour), (_disc(at, 0.5, 0.5, 0.27), PAGE))


@lru_cache(maxsize=64)
def tally(tile: int, right: bool) -> Picture:
    """One counted choice: a tick or a cross."""
    at = _square(tile)
    disc = (_disc(at, 0.5, 0.5, 0.36), GOOD if right else BAD)
    # In coordinates turned by 45 degrees a cross is two bars and a tick is a corner.
    a, b = (at[0] + at[1]) / np.sqrt(2), (at[1] - at[0]) / np.sqrt(2)
    turned, c = (a, b), np.sqrt(0.5)
    if right:
        mark = _union([_box(turned, c - 0.13, 0.06, c + 0.08, 0.14), _box(turned, c, -0.25, c + 0.08, 0.14)])
    else:
        mark = _union([_box(turned, c - 0.2, -0.04, c + 0.2, 0.04), _box(turned, c - 0.04, -0.2, c + 0.04, 0.2)])
    return _layers(tile, disc, (mark, PAGE))
