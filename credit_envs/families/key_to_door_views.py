"""How KeyToDoor states are shown: planes, words, characters and a picture, built for the states that are asked for."""

from __future__ import annotations

from functools import lru_cache

import gymnasium
import numpy as np
from numpy.typing import NDArray

from credit_envs.arrays import AnyArray
from credit_envs.families import tiles
from credit_envs.families.key_to_door_layout import DOOR, GATE, LAST_ROOM, ORCHARD, ROOM, Layout
from credit_envs.table.view import View, text_space

WALL, FLOOR, KEY, GATEWAY, GRASS, APPLE, LOCKED, OPEN = range(1, 9)
_KIND = np.array([FLOOR, GATEWAY, GRASS, FLOOR, LOCKED])
_NAMES = tuple(tiles.COLOURS)
_PAINTS = tuple(tiles.COLOURS.values())
_GRASS: tiles.Colour = (219, 235, 205)
_APPLE: tiles.Colour = (214, 60, 54)
_LEAF: tiles.Colour = (66, 128, 62)
_PATH: tiles.Colour = (214, 193, 158)
_AHEAD = 4
"""Columns of the orchard whose apples the text names."""


def views(layout: Layout, cell: AnyArray, key: AnyArray, key_visible: bool) -> dict[str, View]:
    """Returns the views of an instance; ``cell`` int64 ``[S]`` and ``key`` bool ``[S]`` say what its states are."""
    height, width = layout.height, layout.width
    tile = tiles.tile_size(width)
    shown = key & (key_visible | (layout.zone[cell] == DOOR))

    def planes(states: AnyArray) -> NDArray[np.uint8]:
        states = np.asarray(states, dtype=np.int64)
        return _planes(layout, cell[states], key[states], shown[states])

    def sentences(states: AnyArray) -> list[str]:
        return [_sentence(layout, int(cell[s]), bool(key[s]), bool(shown[s])) for s in states]

    def characters(states: AnyArray) -> list[str]:
        empty = "carrying nothing" if key_visible else "hands out of view"
        hands = np.where(shown, "carrying the key", empty)[np.asarray(states, dtype=np.int64)]
        return [_characters(plane, hand, layout.mirrored) for plane, hand in zip(planes(states), hands, strict=True)]

    def pictures(states: AnyArray) -> NDArray[np.uint8]:
        out = np.zeros((len(states), height * tile, width * tile, 3), dtype=np.uint8)
        for i, plane in enumerate(planes(states)):
            out[i] = _picture(plane, tile, layout.mirrored)
        return out

    return {
        "grid": View(gymnasium.spaces.Box(0, 255, (height, width, 3), np.uint8), planes),
        "text": View(text_space(), sentences),
        "ansi": View(tiles.ansi_space((width + 1) * height + 32), characters),
        "rgb": View(gymnasium.spaces.Box(0, 255, (height * tile, width * tile, 3), np.uint8), pictures),
    }


def _planes(layout: Layout, cell: AnyArray, key: AnyArray, shown: AnyArray) -> NDArray[np.uint8]:
    rows = np.arange(len(cell))
    x, y = layout.shown_x, layout.y
    out = np.zeros((len(cell), layout.height, layout.width, 3), dtype=np.uint8)
    out[..., 0] = WALL
    out[:, y, x, 0] = _KIND[layout.zone]
    ahead = layout.apple & (layout.x > layout.x[cell][:, None])
    row, apple = np.nonzero(ahead)
    out[row, y[apple], x[apple], 0] = APPLE
    colour = layout.colour + 1
    lies = rows[(layout.zone[cell] == ROOM) & ~key]
    out[lies, y[layout.key], x[layout.key], :2] = KEY, colour
    open_ = key & (layout.zone[cell] == DOOR)
    out[:, y[-1], x[-1], 0] = np.where(open_, OPEN, LOCKED)
    out[:, y[-1], x[-1], 1] = colour
    out[rows, y[cell], x[cell], 2] = 1 + shown
    return out


def _characters(plane: AnyArray, hands: str, mirrored: bool) -> str:
    """The map: k the key, > or < the gate, ~ the orchard, o an apple, D the door, / the open door, @ the walker."""
    chars = np.array(list(f" #.k{'<' if mirrored else '>'}~oD/"))[plane[..., 0]]
    chars[plane[..., 2] > 0] = "@"
    return "\n".join(["".join(row) for row in chars] + [hands])


def _sentence(layout: Layout, cell: int, key: bool, shown: bool) -> str:
    """Names everything that can still matter and can be seen."""
    x, y, zone = int(layout.shown_x[cell]), int(layout.y[cell]), int(layout.zone[cell])
    colour = _NAMES[layout.colour]
    here = f"at column {x}, row {y}"

    def place(of: int) -> str:
        return f"at column {int(layout.shown_x[of])}, row {int(layout.y[of])}"

    if zone == ROOM:
        words = [f"You are in the key room, {here}.", f"The way out is the gate {place(layout.gate)}."]
        words += [] if key else [f"The {colour} key lies {place(layout.key)}."]
    elif zone in (GATE, ORCHARD):
        column = int(layout.x[cell]) - layout.size - 1
        start = "You are in the gate" if zone == GATE else "The wind carries you through the orchard"
        words = [f"{start}, {here}, column {column} of {layout.orchard}."]
        near = layout.apple & (layout.x > layout.x[cell]) & (layout.x <= layout.x[cell] + _AHEAD)
        spots = [f"{int(layout.x[a] - layout.x[cell])} ahead in row {int(layout.y[a])}" for a in np.flatnonzero(near)]
        words += [f"Apples: {', '.join(spots)}."] if spots else ["No apples near."]
    elif zone == LAST_ROOM:
        words = [f"You are in the door room, {here}.", f"The {colour} door is {place(-1)}."]
    else:
        words = [f"You are at the {colour} door.", "The key fits." if key else "Without its key it stays shut."]
    if shown and zone != DOOR:
        words.append(f"You carry the {colour} key.")
    return " ".join(words)


def _picture(plane: AnyArray, tile: int, mirrored: bool) -> NDArray[np.uint8]:
    kind, colour, walker = np.moveaxis(plane, 2, 0)
    paint = _PAINTS[int(colour.max()) - 1]
    board = tiles.canvas(kind.shape[0], kind.shape[1], tile, tiles.PAGE)
    tiles.stamp(board, tiles.wall(tile), *np.nonzero(kind == WALL))
    tiles.stamp(board, tiles.floor(tile), *np.nonzero((kind == FLOOR) | (kind == KEY)))
    tiles.stamp(board, tiles.floor(tile, _PATH), *np.nonzero(kind == GATEWAY))
    grass = np.nonzero((kind == GRASS) | (kind == APPLE))
    tiles.stamp(board, tiles.floor(tile, _GRASS), *grass)
    for y, x in [*zip(*grass, strict=True), *zip(*np.nonzero(kind == GATEWAY), strict=True)]:
        if kind[y, x] != APPLE:
            tiles.stamp(board, _chevron(tile, mirrored), int(y), int(x))
    tiles.stamp(board, _apple(tile), *np.nonzero(kind == APPLE))
    tiles.stamp(board, tiles.key(tile, paint), *np.nonzero(kind == KEY))
    tiles.stamp(board, tiles.door(tile, paint, False), *np.nonzero(kind == LOCKED))
    tiles.stamp(board, tiles.door(tile, paint, True), *np.nonzero(kind == OPEN))
    tiles.stamp(board, tiles.agent(tile), *np.nonzero(walker > 0))
    tiles.stamp(board, tiles.key(tile, paint, held=True), *np.nonzero(walker == 2))
    return tiles.finish(board)


@lru_cache(maxsize=64)
def _apple(tile: int) -> tiles.Picture:
    """An apple with a stalk and a leaf."""
    at = tiles._square(tile)
    halves = tiles._union([tiles._disc(at, 0.41, 0.56, 0.2), tiles._disc(at, 0.59, 0.56, 0.2)])
    stalk, leaf = tiles._box(at, 0.48, 0.2, 0.53, 0.42), tiles._disc(at, 0.62, 0.27, 0.09)
    shine = (tiles._disc(at, 0.35, 0.49, 0.055), tiles.PAGE, 0.75)
    dark = tiles._shade(_APPLE, 0.55)
    return tiles._layers(tile, (halves - 0.035, dark), (stalk, dark), (leaf, _LEAF), (halves, _APPLE), shine)


@lru_cache(maxsize=64)
def _chevron(tile: int, mirrored: bool) -> tiles.Picture:
    """A faint sign of the wind."""
    u, v = tiles._square(tile)
    along = (1 - u if mirrored else u) + 0.9 * np.abs(v - 0.5)
    bar = np.maximum(np.abs(along - 0.72) - 0.045, np.abs(v - 0.5) - 0.2)
    return tiles._layers(tile, (bar, (120, 160, 100), 0.45))
