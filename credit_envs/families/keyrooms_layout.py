"""The plan of a KeyRooms instance: where rooms, doors, keys and lamps are.

Cells are numbered in the order in which they open up: room 0, door 0, room 1, door 1, …; the goal is the last cell.
So with i doors open the first ``(i + 1)(w² + 1) − 1`` cells are in reach, and every state has a number in closed form.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from credit_envs.arrays import Ints, frozen
from credit_envs.families.family import below, instance_draws
from credit_envs.table.draws import ONE

_STEPS = ((1, 0), (-1, 0), (0, -1), (0, 1))


@dataclass(frozen=True, eq=False)
class Plan:
    """What all instances of the same knobs share; ``n`` stages, ``n + 1`` rooms, C cells.

    Attributes:
        stages: n.
        room_size: w.
        width: columns of the map.
        height: rows of the map.
        room_xy: int64 ``[n + 1, 2]``, left and top inner cell of each room.
        step: int64 ``[n + 1, 2]``, direction in which one enters each room (0 for room 0).
        parent: int64 ``[n + 1]``, the room from which one enters each room (0 for room 0).
        cell_xy: int64 ``[C, 2]``, column and row of each cell; doors are filled in per instance.
        lamp_room: int64 ``[d]``, room of each lamp, increasing.
        lamp_slot: int64 ``[d]``, number of the lamp inside its room.
        longest: an upper bound of the shortest solution over all instances.
    """

    stages: int
    room_size: int
    width: int
    height: int
    room_xy: Ints
    step: Ints
    parent: Ints
    cell_xy: Ints
    lamp_room: Ints
    lamp_slot: Ints
    longest: int

    @property
    def stride(self) -> int:
        """Cells per room and its door."""
        return self.room_size**2 + 1


@dataclass(frozen=True, eq=False)
class Layout:
    """One instance.

    Attributes:
        plan: what it shares with other instances.
        cell_xy: int64 ``[C, 2]``, column and row of each cell.
        start: the cell to start from.
        key: int64 ``[n]``, cell of each key.
        before: int64 ``[n]``, the floor cell from which each door is opened.
        lamp: int64 ``[d]``, cell of each lamp.
        goal: the last cell.
        meaning: int64 ``[5]``, what each action means, a permutation of up, down, left, right, use.
    """

    plan: Plan
    cell_xy: Ints
    start: int
    key: Ints
    before: Ints
    lamp: Ints
    goal: int
    meaning: Ints


@lru_cache(maxsize=64)
def make_plan(shape: str, stages: int, room_size: int, distractors: int) -> Plan:
    """Returns the plan of given knobs; ``shape`` is ``chain``, ``hub`` or ``tree``."""
    place, parent = {"chain": _chain, "hub": _hub, "tree": _tree}[shape](stages + 1)
    xy, back = np.array(place, dtype=np.int64), np.array(parent, dtype=np.int64)
    step = xy - xy[back]
    xy -= xy.min(axis=0)
    width, height = ((xy.max(axis=0) + 1) * (room_size + 1) + 1).tolist()
    room_xy = xy * (room_size + 1) + 1
    inside = np.stack(np.divmod(np.arange(room_size**2), room_size)[::-1], axis=1)
    cells = np.zeros((stages + 1, room_size**2 + 1, 2), dtype=np.int64)
    cells[:, :-1] = room_xy[:, None] + inside
    lamp_room = np.sort(np.arange(distractors) % stages)
    lamp_slot = np.arange(distractors) - np.searchsorted(lamp_room, lamp_room)
    # Crossing a room takes at most 2(w - 1) steps, a door 2; each stage enters a room, fetches its key and walks on.
    across, doors = 2 * (room_size - 1), sum(_rooms_between(parent, i, i + 1) for i in range(stages))
    longest = 2 * stages + across * (stages + 1) + (across + 2) * doors
    return Plan(
        stages=stages,
        room_size=room_size,
        width=width,
        height=height,
        room_xy=frozen(room_xy),
        step=frozen(step),
        parent=frozen(back),
        cell_xy=frozen(cells.reshape(-1, 2)[:-1]),
        lamp_room=frozen(lamp_room),
        lamp_slot=frozen(lamp_slot),
        longest=longest,
    )


def make_layout(plan: Plan, instance_seed: int, permute: bool = False) -> Layout:
    """Draws one instance: doors in their walls, things in their rooms, mirrored or not."""
    n, w, stride = plan.stages, plan.room_size, plan.stride
    draw = instance_draws("KeyRooms", instance_seed, 7 + n + (n + 1) * w * w)
    mirror, shuffle, along, order = np.split(draw, (2, 7, 7 + n))
    offset = below(along, w)
    parent, step = plan.parent[1:], plan.step[1:]

    # A door lies in the wall that two rooms share; along the wall it is drawn, across it is given.
    across = step != 0
    cell_xy = plan.cell_xy.copy()
    outer = np.where(across, np.where(step > 0, w, -1), offset[:, None])
    cell_xy[stride - 1 :: stride] = plan.room_xy[parent] + outer
    before = np.clip(outer, 0, w - 1) @ np.array([1, w])
    entry = np.where(across, np.where(step > 0, 0, w - 1), offset[:, None]) @ np.array([1, w])

    # Things go to random free cells of their rooms: cells before a door, and the entry of the last room, come last.
    order = order.reshape(n + 1, w * w)
    order[parent, before] += ONE
    order[n, entry[-1]] += ONE
    free = np.argsort(order, axis=1, kind="stable")
    first = np.arange(n + 1) * stride
    lamp = first[plan.lamp_room] + free[plan.lamp_room, 1 + plan.lamp_slot]
    start = int(free[0, 1 + np.searchsorted(plan.lamp_room, 1)])

    goal, last = int(first[n] + free[n, 0]), len(cell_xy) - 1
    cell_xy[[goal, last]] = cell_xy[[last, goal]]
    for axis, size in enumerate((plan.width, plan.height)):
        if below(mirror[axis], 2):
            cell_xy[:, axis] = size - 1 - cell_xy[:, axis]
    meaning = np.argsort(shuffle, kind="stable") if permute else np.arange(5)
    return Layout(plan, frozen(cell_xy), start, first[:n] + free[:n, 0], first[parent] + before, lamp, last, meaning)


def neighbours(layout: Layout) -> Ints:
    """Returns the cell above, below, left and right of each cell, or the cell itself at a wall: int64 ``[C, 4]``."""
    x, y = layout.cell_xy.T
    width = layout.plan.width
    number = np.full(width * layout.plan.height, -1, dtype=np.int64)
    here, cells = y * width + x, np.arange(len(x))
    number[here] = cells
    beside = number[here[:, None] + np.array([-width, width, -1, 1])]
    return np.where(beside < 0, cells[:, None], beside)


def _chain(n_rooms: int) -> tuple[list[tuple[int, int]], list[int]]:
    """A row that snakes through a rectangle twice as wide as high."""
    columns = math.ceil(math.sqrt(2 * n_rooms))
    place = []
    for room in range(n_rooms):
        row, column = divmod(room, columns)
        place.append((columns - 1 - column if row % 2 else column, row))
    return place, [max(room - 1, 0) for room in range(n_rooms)]


def _hub(n_rooms: int) -> tuple[list[tuple[int, int]], list[int]]:
    """A central room and four arms that grow in turn."""
    place, parent = [(0, 0)], [0]
    for room in range(1, n_rooms):
        depth, arm = divmod(room - 1, 4)
        dx, dy = _STEPS[arm]
        place.append(((depth + 1) * dx, (depth + 1) * dy))
        parent.append(max(room - 4, 0))
    return place, parent


def _tree(n_rooms: int) -> tuple[list[tuple[int, int]], list[int]]:
    """Every room, in the order of opening, leads to two more where there is space; sideways and lengthwise in turn."""
    place, parent, depth = [(0, 0)], [0], [0]
    room = 0
    while len(place) < n_rooms:
        x, y = place[room]
        sides = _STEPS if depth[room] % 2 == 0 else _STEPS[::-1]
        free = [(x + dx, y + dy) for dx, dy in sides if (x + dx, y + dy) not in place]
        for spot in free[: min(2, n_rooms - len(place))]:
            place.append(spot)
            parent.append(room)
            depth.append(depth[room] + 1)
        room += 1
    return place, parent


def _rooms_between(parent: list[int], a: int, b: int) -> int:
    """Doors on the way from room a to room b."""
    steps = 0
    while a != b:
        a, b = (parent[a], b) if a > b else (a, parent[b])
        steps += 1
    return steps
