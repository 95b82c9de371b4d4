"""How Gallery states are shown under a cue: planes, words, characters, pictures, and their corrupted forms."""

from __future__ import annotations

from collections.abc import Callable

import gymnasium
import numpy as np
from numpy.typing import NDArray

from credit_envs.arrays import AnyArray, Ints
from credit_envs.families import tiles
from credit_envs.families.gallery_corrupt import KINDS, corrupt
from credit_envs.families.gallery_layout import EXHIBITS, EXITS, HALL, JUNCTION, OVER, SEARCH, SIDE, WINGS, Layout
from credit_envs.families.gallery_pictures import PIXELS, picture
from credit_envs.table.draws import mix_words
from credit_envs.table.view import Rows, View, text_space

NOTHING, WALL, FLOOR, EXIT, SIGN, CORRIDOR, SIDE_ROOM, EXHIBIT = range(8)
SIDE_TILES = 7
DOORS = {2: ((3, 0), (3, 6)), 3: ((3, 0), (1, 3), (3, 6)), 4: ((3, 0), (1, 2), (1, 4), (3, 6))}
"""Row and column of the exits, by their number; the hand of the sign points from the centre (3, 3) that way."""

NO_SIGN = -1
_GRID = gymnasium.spaces.Box(0, 255, (SIDE_TILES, SIDE_TILES, 3), np.uint8)
_RGB = gymnasium.spaces.Box(0, 255, (PIXELS, PIXELS, 3), np.uint8)
_TEXT = text_space()
_ANSI = tiles.ansi_space(1024)

Drawer = Callable[[AnyArray, AnyArray, AnyArray], Rows]
"""Function from states, exits that the sign points to (or NO_SIGN) and cue digits, each int64 ``[n]``, to rows."""


def views(layout: Layout, width: int, corruption: float) -> dict[str, View]:
    """Returns the views of an instance, by name.

    Args:
        layout: the instance.
        width: the cue's digit is ``shift * width + told``; ``told`` is 0, or 1 + the shift that a visitor believes in.
        corruption: strength of patches and noise.
    """

    def view(space: gymnasium.Space[object], draw: Drawer) -> View:
        def with_cue(states: AnyArray, digits: AnyArray) -> Rows:
            states, digit = np.asarray(states, dtype=np.int64), np.asarray(digits, dtype=np.int64)[:, 0]
            return draw(states, _pointed(layout, states, digit // width), digit)

        def without(states: AnyArray) -> Rows:
            states = np.asarray(states, dtype=np.int64)
            return draw(states, np.full(states.size, NO_SIGN), np.zeros(states.size, dtype=np.int64))

        return View(space, without, own_layers=("cue",), with_layers=with_cue)

    def words(states: AnyArray, pointed: AnyArray, digit: AnyArray) -> list[str]:
        told = digit % width
        believed = _pointed(layout, states, told - 1)
        return [
            _sentence(layout, *row)
            for row in zip(*(x.tolist() for x in (states, pointed, told, believed)), strict=True)
        ]

    def planes(states: AnyArray, pointed: AnyArray, _: AnyArray) -> NDArray[np.uint8]:
        return _planes(layout, states, pointed)

    def pictures(states: AnyArray, pointed: AnyArray, _: AnyArray) -> NDArray[np.uint8]:
        out = np.zeros((states.size, PIXELS, PIXELS, 3), dtype=np.uint8)
        for i, plane in enumerate(_planes(layout, states, pointed)):
            out[i] = picture(layout, int(states[i]), plane, int(pointed[i]))
        return out

    def characters(states: AnyArray, pointed: AnyArray, digit: AnyArray) -> list[str]:
        said = words(states, pointed, digit)
        return [_characters(plane, row) for plane, row in zip(_planes(layout, states, pointed), said, strict=True)]

    def corrupted(draw: Drawer, kind: str) -> Drawer:
        strength = 1.0 if kind == "blank" else corruption

        def spoilt(states: AnyArray, pointed: AnyArray, digit: AnyArray) -> Rows:
            seeds = (mix_words(mix_words(mix_words(0, layout.seed), states), digit) >> np.uint64(1)).astype(np.int64)
            return corrupt(draw(states, pointed, digit), kind, strength, seeds)

        return spoilt

    out = {
        "text": view(_TEXT, words),
        "grid": view(_GRID, planes),
        "rgb": view(_RGB, pictures),
        "ansi": view(_ANSI, characters),
    }
    for kind in KINDS:
        out[f"grid_{kind}"] = view(_GRID, corrupted(planes, kind))
        out[f"rgb_{kind}"] = view(_RGB, corrupted(pictures, kind))
    return out


def _pointed(layout: Layout, states: AnyArray, shift: AnyArray) -> Ints:
    """Returns the exit that leads on under a shift of the names, NO_SIGN where no sign is in view: int64 ``[n]``."""
    right = layout.right[np.minimum(layout.junction[states], layout.junctions - 1)]
    return np.where(layout.kind[states] == JUNCTION, (right + shift) % layout.exits, NO_SIGN)


def _sentence(layout: Layout, state: int, pointed: int, told: int, believed: int) -> str:
    kind, number, left = int(layout.kind[state]), int(layout.junction[state]) + 1, int(layout.left[state])
    wing, names = WINGS[layout.wing], EXITS[layout.exits]
    steps = f"{left} step{'s' if left > 1 else ''}"
    if kind == OVER:
        if state == layout.goal:
            return f"You stand before the {EXHIBITS[layout.exhibit]} of the {wing} Wing. The visit is over."
        return "The door falls shut behind you: you are out in the street. The visit is over."
    if kind == HALL:
        return f"You are in a corridor of the {wing} Wing, {steps} from junction {number} of {layout.junctions}."
    if kind == SIDE:
        end = "the other side" if layout.wrong == "detour" else f"junction {number} again"
        return f"You are in a side room of the {wing} Wing, {steps} from {end}."
    lead = f"You are at junction {number} of {layout.junctions} in the {wing} Wing. Exits: {', '.join(names)}."
    if kind == SEARCH:
        return f"{lead} No sign is in view; you can look further."
    if pointed == NO_SIGN:
        return f"{lead} There is a sign."
    if told == 0:
        return f"{lead} The sign points {names[pointed]}."
    return f"{lead} There is a sign. A visitor says: {names[believed]}."


def _planes(layout: Layout, states: AnyArray, pointed: AnyArray) -> NDArray[np.uint8]:
    out = np.zeros((states.size, SIDE_TILES, SIDE_TILES, 3), dtype=np.uint8)
    kind, left = layout.kind[states], layout.left[states]
    out[:, 0, 0, 1] = np.minimum(layout.junction[states] + 1, layout.junctions)
    out[:, 0, 1, 1] = layout.junctions
    out[:, 0, 2, 1] = np.where((kind == HALL) | (kind == SIDE), left, 0)
    out[:, 1:, :, 0] = WALL
    room, way = np.isin(kind, (JUNCTION, SEARCH)), (kind == HALL) | (kind == SIDE)
    end, outside = states == layout.goal, (kind == OVER) & (states != layout.goal)
    for rows, columns, where, what in (
        (slice(2, 6), slice(1, 6), room | end, np.full(states.size, FLOOR)),
        (slice(6, 7), slice(3, 4), room | end, np.full(states.size, FLOOR)),
        (slice(1, 7), slice(2, 5), way, np.where(kind == SIDE, SIDE_ROOM, CORRIDOR)),
        (slice(2, 5), slice(2, 5), kind == JUNCTION, np.full(states.size, SIGN)),
        (slice(3, 4), slice(3, 4), end, np.full(states.size, EXHIBIT)),
        (slice(4, 7), slice(0, 7), outside, np.full(states.size, NOTHING)),
    ):
        out[where, rows, columns, 0] = what[where, None, None]
    for exit, (row, column) in enumerate(DOORS[layout.exits]):
        out[room, row, column, 0] = EXIT
        shown = pointed == exit
        out[shown, 3, 3, 1] = 1
        out[shown, 3 + np.sign(row - 3), 3 + np.sign(column - 3), 1] = 1
    stands = np.where(way, 2 + np.minimum(left - 1, 3), 5)
    out[np.arange(states.size), stands, 3, 2] = 1
    return out


def _characters(plane: AnyArray, words: str) -> str:
    """The picture: # wall, + exit, o the painted cells of the sign, $ the exhibit, @ the visitor; then the words."""
    chars = np.array(list(" #.+ .:$"))[plane[1:, :, 0]]
    chars[plane[1:, :, 1] > 0] = "o"
    chars[plane[1:, :, 2] > 0] = "@"
    return "\n".join(["".join(row) for row in chars] + [words])
