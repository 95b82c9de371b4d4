"""The plan of a KeyToDoor instance: three phases along the wind, drawn with the wind to the right and mirrored when shown.

Cells are numbered phase by phase: key room, gate, orchard, door room, door.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from credit_envs.arrays import Bools, Ints, frozen
from credit_envs.families.family import below, instance_draws
from credit_envs.table.draws import ONE

ROOM, GATE, ORCHARD, LAST_ROOM, DOOR = range(5)
"""Zones, in the order in which they are passed; nobody ever gets back to an earlier one."""


@dataclass(frozen=True, eq=False)
class Layout:
    """One instance; C cells.

    Attributes:
        size: side of the rooms.
        orchard: columns of the orchard.
        zone: int64 ``[C]``, the phase that each cell belongs to.
        x: int64 ``[C]``, column along the wind.
        y: int64 ``[C]``, row.
        shown_x: int64 ``[C]``, column on the map, which may be mirrored.
        apple: bool ``[C]``.
        start: the cell to start from.
        key: the key's cell.
        gate_y: row of the gate.
        gate: the gate's cell.
        mirrored: whether the wind blows to the left.
        colour: number 0 … 5 of the colour of key and door.
        meaning: int64 ``[4]``, what each action means, a permutation of up, down, left, right.
    """

    size: int
    orchard: int
    zone: Ints
    x: Ints
    y: Ints
    shown_x: Ints
    apple: Bools
    start: int
    key: int
    gate_y: int
    gate: int
    mirrored: bool
    colour: int
    meaning: Ints

    @property
    def width(self) -> int:
        """Columns of the map."""
        return 2 * self.size + self.orchard + 3

    @property
    def height(self) -> int:
        """Rows of the map."""
        return self.size + 2


def make_layout(size: int, orchard: int, n_apples: int, instance_seed: int, permute: bool) -> Layout:
    """Draws one instance."""
    draw = instance_draws("KeyToDoor", instance_seed, 8 + size * size + orchard * size)
    single, shuffle, room, trees = np.split(draw, (4, 8, 8 + size * size))
    mirrored, gate_row, door_row, colour = (int(below(single[i], n)) for i, n in enumerate((2, size, size, 6)))

    # One column-major block of cells per zone, in the order of the numbers.
    inside = np.arange(size * size)
    cells = np.arange(orchard * size)
    last = size + 2 + orchard
    zone = np.repeat([ROOM, GATE, ORCHARD, LAST_ROOM, DOOR], [inside.size, 1, cells.size, inside.size, 1])
    x = np.concatenate((1 + inside // size, [size + 1], size + 2 + cells // size, last + inside // size, [last + size]))
    y = 1 + np.concatenate((inside % size, [gate_row], cells % size, inside % size, [door_row]))

    # The key must not block the way out, or it could not be missed.
    order = room.copy()
    order[(size - 1) * size + gate_row] += ONE
    free = np.argsort(order, kind="stable")
    apple = np.zeros(zone.size, dtype=bool)
    apple[inside.size + 1 + np.argsort(trees, kind="stable")[:n_apples]] = True
    return Layout(
        size=size,
        orchard=orchard,
        zone=frozen(zone),
        x=frozen(x),
        y=frozen(y),
        shown_x=frozen(2 * size + orchard + 2 - x if mirrored else x),
        apple=frozen(apple),
        start=int(free[1]),
        key=int(free[0]),
        gate_y=1 + gate_row,
        gate=inside.size,
        mirrored=bool(mirrored),
        colour=colour,
        meaning=np.argsort(shuffle, kind="stable") if permute else np.arange(4),
    )


def moves(layout: Layout) -> Ints:
    """Returns the cell that each action leads to, int64 ``[C, 4]``; the door leads nowhere."""
    number = np.full((layout.height, layout.width), -1, dtype=np.int64)
    own = np.arange(layout.zone.size)
    number[layout.y, layout.x] = own
    wind = (layout.zone == GATE) | (layout.zone == ORCHARD)
    ahead = -1 if layout.mirrored else 1
    out = np.empty((own.size, 4), dtype=np.int64)
    for action, meaning in enumerate(layout.meaning.tolist()):
        dx, dy = ((0, -1), (0, 1), (-ahead, 0), (ahead, 0))[meaning]
        walked = number[layout.y + dy, np.minimum(layout.x + dx, layout.width - 1)]
        walked = np.where((walked < 0) | (layout.zone[walked] < layout.zone), own, walked)
        row = np.clip(layout.y + dy, 1, layout.size)
        blown = number[row, np.minimum(layout.x + 1, layout.width - 1)]
        out[:, action] = np.where(wind, blown, walked)
    return out
