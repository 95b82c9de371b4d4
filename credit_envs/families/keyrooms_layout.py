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
from credit_envs.families import rooms
from credit_envs.families.family import instance_draws

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
        cell_xy=frozen(rooms.cells(room_xy, room_size)),
        lamp_room=frozen(lamp_room),
        lamp_slot=frozen(lamp_slot),
        longest=longest,
    )


def make_layout(plan: Plan, instance_seed: int, permute: bool = False) -> Layout:
    """Draws one instance: doors in their walls, things in their rooms, mirrored or not."""
    n, w, stride = plan.stages, plan.room_size, plan.stride
    draw = instance_draws("KeyRooms", instance_seed, 7 + n + (n + 1) * w * w)
    mirror, shuffle, along, order = np.split(draw, (2, 7, 7 + n))
    parent, cell_xy = plan.parent[1:], plan.cell_xy.copy()
    doors = rooms.draw_doors(plan.room_xy, parent, plan.step[1:], w, along)
    cell_xy[stride - 1 :: stride] = doors.xy

    # Cells before a door stay free, and so does the entry of the last room.
    free = rooms.free_cells(order.reshape(n + 1, w * w), (parent, doors.before), (n, doors.entry[-1]))
    first = np.arange(n + 1) * stride
    lamp = first[plan.lamp_room] + free[plan.lamp_room, 1 + plan.lamp_slot]
    start = int(free[0, 1 + np.searchsorted(plan.lamp_room, 1)])

    goal, last = int(first[n] + free[n, 0]), len(cell_xy) - 1
    cell_xy[[goal, last]] = cell_xy[[last, goal]]
    rooms.mirror(cell_xy, mirror, plan.width, plan.height)
    meaning = np.argsort(shuffle, kind="stable") if permute else np.arange(5)
    key, before = first[:n] + free[:n, 0], first[parent] + doors.before
    return Layout(plan, frozen(cell_xy), start, key, before, lamp, last, meaning)


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
