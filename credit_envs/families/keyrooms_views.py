"""How KeyRooms states are shown: planes, words, characters and a picture, built for the states that are asked for."""

from __future__ import annotations

from functools import lru_cache

import gymnasium
import numpy as np
from numpy.typing import NDArray

from credit_envs.arrays import AnyArray, Ints
from credit_envs.families import tiles
from credit_envs.families.keyrooms_compile import Frame, make_frame
from credit_envs.families.keyrooms_layout import Layout, Plan
from credit_envs.table.view import View, text_space

NOTHING, WALL, FLOOR, KEY, LOCKED, OPEN, LAMP, GOAL = range(8)
_NAMES = tuple(tiles.COLOURS)
_PAINTS = tuple(tiles.COLOURS.values())


def views(layout: Layout, view_size: int | None) -> dict[str, View]:
    """Returns the views of an instance, by name."""
    frame = make_frame(layout.plan)
    spaces = _spaces(layout.plan, view_size)
    return {
        "grid": View(spaces["grid"], lambda states: _planes(layout, frame, states, view_size)),
        "text": View(spaces["text"], lambda states: _sentences(layout, frame, states)),
        "ansi": View(spaces["ansi"], lambda states: _characters(layout, frame, states)),
        "rgb": View(spaces["rgb"], lambda states: _pictures(layout, frame, states)),
    }


@lru_cache(maxsize=64)
def _spaces(plan: Plan, view_size: int | None) -> dict[str, gymnasium.Space[object]]:
    """Building a space costs more than building a table, so instances of the same knobs share them."""
    window = (plan.height, plan.width) if view_size is None else (view_size, view_size)
    tile = tiles.tile_size(plan.width)
    return {
        "grid": gymnasium.spaces.Box(0, 255, (*window, 3), np.uint8),
        "text": text_space(),
        "ansi": tiles.ansi_space((plan.width + 1) * plan.height + 32),
        "rgb": gymnasium.spaces.Box(0, 255, (plan.height * tile, plan.width * tile, 3), np.uint8),
    }


def _map(layout: Layout, progress: AnyArray) -> NDArray[np.uint8]:
    """Returns the planes at each progress, lamps off and nobody there: uint8 ``[n, height, width, 3]``."""
    plan, progress = layout.plan, np.asarray(progress)[:, None]
    board = np.zeros((len(progress), plan.height, plan.width, 3), dtype=np.uint8)
    size = plan.room_size
    for x, y in _corners(layout):
        board[:, y - 1 : y + size + 1, x - 1 : x + size + 1, 0] = WALL
    (x, y), stage = layout.cell_xy.T, np.arange(plan.stages)
    board[:, y, x, 0] = FLOOR
    doors = slice(plan.stride - 1, None, plan.stride)
    board[:, y[doors], x[doors], 0] = np.where(progress > 2 * stage + 1, OPEN, LOCKED)
    board[:, y[doors], x[doors], 1] = stage % 6 + 1
    lies = progress <= 2 * stage
    board[:, y[layout.key], x[layout.key], 0] = np.where(lies, KEY, FLOOR)
    board[:, y[layout.key], x[layout.key], 1] = np.where(lies, stage % 6 + 1, 0)
    board[:, y[layout.lamp], x[layout.lamp], :2] = LAMP, 1
    board[:, y[layout.goal], x[layout.goal], 0] = GOAL
    return board


def _corners(layout: Layout) -> list[list[int]]:
    """Returns column and row of the top left cell of each room."""
    plan = layout.plan
    rooms = np.arange(plan.stages + 1)[:, None] * plan.stride + np.arange(plan.room_size**2)
    corners: list[list[int]] = layout.cell_xy[rooms].min(axis=1).tolist()
    return corners


def _carried(progress: Ints) -> Ints:
    """Returns the colour 1 … 6 of the key in hand, 0 for none."""
    return np.where(progress % 2 == 1, progress // 2 % 6 + 1, 0)


def _planes(layout: Layout, frame: Frame, states: AnyArray, view_size: int | None) -> NDArray[np.uint8]:
    states = np.asarray(states, dtype=np.int64)
    progress, cell, lamps = frame.progress[states], frame.cell[states], frame.lamps[states]
    used, which = np.unique(progress, return_inverse=True)
    board = _map(layout, used)
    x, y = layout.cell_xy[cell].T
    height, width, margin, top, left = layout.plan.height, layout.plan.width, 0, np.zeros_like(y), np.zeros_like(x)
    if view_size is not None:
        # Around the map lies enough nothing for a window at any cell.
        height = width = margin = view_size
        board = np.pad(board, ((0, 0), (margin, margin), (margin, margin), (0, 0)))
        top, left = y - view_size // 2, x - view_size // 2
    windows = np.moveaxis(np.lib.stride_tricks.sliding_window_view(board, (height, width), axis=(1, 2)), 3, 5)
    out: NDArray[np.uint8] = np.ascontiguousarray(windows[which, top + margin, left + margin])
    for j, (lamp_x, lamp_y) in enumerate(layout.cell_xy[layout.lamp].tolist()):
        row, column = lamp_y - top, lamp_x - left
        lit = (lamps >> j & 1 == 1) & (row >= 0) & (row < height) & (column >= 0) & (column < width)
        out[lit, row[lit], column[lit], 1] = 2
    out[np.arange(states.size), y - top, x - left, 2] = 1 + _carried(progress)
    return out


def _characters(layout: Layout, frame: Frame, states: AnyArray) -> list[str]:
    """Keys are small letters and their doors the capitals, * and + a lamp on and off, $ the goal, @ the walker."""
    planes = _planes(layout, frame, states, None)
    doors = layout.cell_xy[layout.plan.stride - 1 :: layout.plan.stride]
    pictures = []
    for state, plane in zip(np.asarray(states).tolist(), planes, strict=True):
        progress = int(frame.progress[state])
        chars = np.array(list(" #.kD/+$"))[plane[..., 0]]
        chars[(plane[..., 0] == LAMP) & (plane[..., 1] == 2)] = "*"
        for i in range(layout.plan.stages):
            x, y = layout.cell_xy[layout.key[i]]
            if progress <= 2 * i:
                chars[y, x] = chr(ord("a") + i % 26)
            if progress <= 2 * i + 1:
                chars[doors[i, 1], doors[i, 0]] = chr(ord("A") + i % 26)
        chars[plane[..., 2] > 0] = "@"
        carrying = f"carrying {chr(ord('a') + progress // 2 % 26)}" if progress % 2 else "carrying nothing"
        pictures.append("\n".join(["".join(row) for row in chars] + [carrying]))
    return pictures


def _sentences(layout: Layout, frame: Frame, states: AnyArray) -> list[str]:
    return [_sentence(layout, *(int(part[s]) for part in (frame.progress, frame.cell, frame.lamps))) for s in states]


def _sentence(layout: Layout, progress: int, cell: int, lamps: int) -> str:
    """Names everything in reach that can matter: enough to tell any two states apart."""
    plan = layout.plan
    stage, carrying = divmod(progress, 2)

    def place(of: int) -> str:
        x, y = layout.cell_xy[of].tolist()
        return "right here" if of == cell else f"at column {x}, row {y}"

    x, y = layout.cell_xy[cell].tolist()
    room, inside = divmod(cell, plan.stride)
    where = f"in the doorway to room {room + 2}" if inside == plan.stride - 1 else f"in room {room + 1}"
    words = [f"You are {where} of {plan.stages + 1}, at column {x}, row {y}."]
    if cell == layout.goal:
        words.append("You have reached the goal.")
    elif stage == plan.stages:
        words.append(f"All doors are open. The goal is {place(layout.goal)}.")
    else:
        colour = _NAMES[stage % 6]
        door_x, door_y = layout.cell_xy[(stage + 1) * plan.stride - 1].tolist()
        hand = f"You carry the {colour} key." if carrying else f"The {colour} key is {place(int(layout.key[stage]))}."
        near = ", next to you" if cell == layout.before[stage] else ""
        words.append(f"{hand} The {colour} door at column {door_x}, row {door_y}{near}, is locked.")
    for j, spot in enumerate(layout.lamp[plan.lamp_room <= stage].tolist()):
        words += [f"The lamp {place(spot)} is {'on' if lamps >> j & 1 else 'off'}."]
    return " ".join(words)


def _pictures(layout: Layout, frame: Frame, states: AnyArray) -> NDArray[np.uint8]:
    states = np.asarray(states, dtype=np.int64)
    tile = tiles.tile_size(layout.plan.width)
    shape = (states.size, layout.plan.height * tile, layout.plan.width * tile, 3)
    out = np.zeros(shape, dtype=np.uint8)
    for progress in np.unique(frame.progress[states]).tolist():
        board = _backdrop(layout, progress, tile)
        for i in np.flatnonzero(frame.progress[states] == progress).tolist():
            cell, lamps = int(frame.cell[states[i]]), int(frame.lamps[states[i]])
            out[i] = tiles.finish(_foreground(layout, board.copy(), progress, cell, lamps, tile))
    return out


def _backdrop(layout: Layout, progress: int, tile: int) -> tiles.Picture:
    """Draws everything that the progress decides; the floor of rooms that are still closed is darker."""
    plan, opened = layout.plan, progress // 2
    kind, colour, _ = np.moveaxis(_map(layout, np.array([progress]))[0], 2, 0)
    board = tiles.canvas(plan.height, plan.width, tile, tiles.PAGE)
    x, y = layout.cell_xy.T
    near = np.arange(len(x)) // plan.stride <= opened
    tiles.stamp(board, tiles.wall(tile), *np.nonzero(kind == WALL))
    tiles.stamp(board, tiles.floor(tile), y[near], x[near])
    tiles.stamp(board, tiles.floor(tile, tiles.CLOSED_FLOOR), y[~near], x[~near])
    for c, paint in enumerate(_PAINTS, start=1):
        tiles.stamp(board, tiles.key(tile, paint), *np.nonzero((kind == KEY) & (colour == c)))
        tiles.stamp(board, tiles.door(tile, paint, False), *np.nonzero((kind == LOCKED) & (colour == c)))
        tiles.stamp(board, tiles.door(tile, paint, True), *np.nonzero((kind == OPEN) & (colour == c)))
    tiles.stamp(board, tiles.goal(tile), y[layout.goal], x[layout.goal])
    return board


def _foreground(layout: Layout, board: tiles.Picture, progress: int, cell: int, lamps: int, tile: int) -> tiles.Picture:
    """Adds lamps and the walker, with the key in hand."""
    for j, spot in enumerate(layout.lamp.tolist()):
        x, y = layout.cell_xy[spot].tolist()
        tiles.stamp(board, tiles.lamp(tile, bool(lamps >> j & 1)), y, x)
    x, y = layout.cell_xy[cell].tolist()
    tiles.stamp(board, tiles.agent(tile), y, x)
    if progress % 2:
        tiles.stamp(board, tiles.key(tile, _PAINTS[progress // 2 % 6], held=True), y, x)
    return board
