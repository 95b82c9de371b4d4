"""What families with rooms share: cells of square rooms, doors in the walls between them, things at random places.

Cells are numbered room by room, each room's w² cells row by row and then its door: room 0, door 0, room 1, …
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from credit_envs.arrays import AnyArray, Ints
from credit_envs.families.family import below
from credit_envs.table.draws import ONE


class Doors(NamedTuple):
    """Door i leads into room i + 1.

    Attributes:
        xy: int64 ``[D, 2]``, column and row of each door.
        before: int64 ``[D]``, cell, inside the room that one comes from, next to each door.
        entry: int64 ``[D]``, cell, inside the room that one enters, next to each door.
    """

    xy: Ints
    before: Ints
    entry: Ints


def cells(room_xy: Ints, size: int) -> Ints:
    """Returns column and row of all cells, int64 ``[R (w² + 1) − 1, 2]``; those of the doors are still 0.

    Args:
        room_xy: int64 ``[R, 2]``, left and top inner cell of each room.
        size: w, cells along a room.
    """
    out = np.zeros((len(room_xy), size**2 + 1, 2), dtype=np.int64)
    row, column = np.divmod(np.arange(size**2), size)
    out[:, :-1] = room_xy[:, None] + np.stack((column, row), axis=1)
    return out.reshape(-1, 2)[:-1]


def draw_doors(room_xy: Ints, parent: Ints, step: Ints, size: int, draw: Ints) -> Doors:
    """Draws a place for each door in the wall that its two rooms share: along the wall it is drawn, across it is given.

    Args:
        room_xy: int64 ``[D + 1, 2]``, left and top inner cell of each room.
        parent: int64 ``[D]``, the room from which each door leads.
        step: int64 ``[D, 2]``, direction in which one passes each door.
        size: w, cells along a room.
        draw: int64 ``[D]``, draws.
    """
    offset, across, number = below(draw, size)[:, None], step != 0, np.array([1, size])
    outer = np.where(across, np.where(step > 0, size, -1), offset)
    entry = np.where(across, np.where(step > 0, 0, size - 1), offset)
    return Doors(room_xy[parent] + outer, np.clip(outer, 0, size - 1) @ number, entry @ number)


def free_cells(draw: Ints, *taken: tuple[AnyArray | int, AnyArray | int]) -> Ints:
    """Returns the cells of each room in random order, those that have to stay free last.

    Args:
        draw: int64 ``[R, w²]``, draws.
        *taken: (room, cell inside it) of what has to stay free.
    """
    key = draw.copy()
    for room, cell in taken:
        key[room, cell] += ONE
    return np.argsort(key, axis=1, kind="stable")


def mirror(cell_xy: Ints, draw: Ints, width: int, height: int) -> None:
    """Mirrors a map in place, or not, along each of its axes; ``draw`` is int64 ``[2]``."""
    for axis, size in enumerate((width, height)):
        if below(draw[axis], 2):
            cell_xy[:, axis] = size - 1 - cell_xy[:, axis]


def neighbours(cell_xy: Ints, width: int, height: int) -> Ints:
    """Returns the cell above, below, left and right of each cell, or the cell itself at a wall: int64 ``[C, 4]``."""
    x, y = cell_xy.T
    number = np.full(width * height, -1, dtype=np.int64)
    here, own = y * width + x, np.arange(len(x))
    number[here] = own
    beside = number[here[:, None] + np.array([-width, width, -1, 1])]
    return np.where(beside < 0, own[:, None], beside)
