"""Where the rooms, doors, plates, keys and the goal of a Team instance are.

Rooms stand in a row. Cells are numbered room by room: room 0, door 0, room 1, door 1, …; each room has w² cells.
A placement is one integer, ``progress · Cⁿ + cells``: the state of the keys, and the agents' cells as n digits.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from credit_envs.arrays import AnyArray, Bools, Ints, frozen
from credit_envs.families import rooms
from credit_envs.families.family import below, instance_draws

N_COLOURS = 6


@dataclass(frozen=True)
class Plan:
    """What all instances of the same knobs share.

    Attributes:
        agents: n.
        plates: number of doors that are held open from plates.
        keys: number of doors that are unlocked.
        room_size: w.
        apart: whether each agent starts on a cell of its own draw.
    """

    agents: int
    plates: int
    keys: int
    room_size: int
    apart: bool

    @property
    def doors(self) -> int:
        """Number of doors D; there are D + 1 rooms."""
        return self.plates + self.keys

    @property
    def stride(self) -> int:
        """Cells of a room and its door."""
        return self.room_size**2 + 1

    @property
    def cells(self) -> int:
        """Number of cells C."""
        return (self.doors + 1) * self.stride - 1

    @property
    def progresses(self) -> int:
        """Number of states of the keys: each lies there or is held by an agent, and the last door may be open."""
        return self.keys * (self.agents + 1) + 1

    @property
    def width(self) -> int:
        """Columns of the map."""
        return (self.doors + 1) * (self.room_size + 1) + 1

    @property
    def height(self) -> int:
        """Rows of the map."""
        return self.room_size + 2

    @property
    def longest(self) -> int:
        """An upper bound of the shortest solution over all instances, in rounds.

        Crossing a room takes at most 2(w − 1) rounds and a door 2. At a plate door one agent walks to the near plate
        while the others walk to the door; they pass, one of them walks to the far plate, and the first one follows. At
        a locked door one agent takes the key, walks to the door and opens it, and all pass.
        """
        across = 2 * (self.room_size - 1)
        return self.plates * (3 * across + 4) + self.keys * (2 * across + 4) + across


@dataclass(frozen=True, eq=False)
class Layout:
    """One instance.

    Attributes:
        plan: what it shares with other instances.
        cell_xy: int64 ``[C, 2]``, column and row of each cell.
        start: int64 ``[n]``, cell from which each agent starts.
        goal: the cell to reach.
        locked: bool ``[D]``, which doors need a key; the others have plates.
        door: int64 ``[D]``, cell of each door.
        before: int64 ``[D]``, cell from which each door is unlocked.
        key: int64 ``[D]``, cell of each door's key (−1 at plate doors).
        plates: int64 ``[D, 2]``, plates before and behind each door (−1 at locked doors).
        colour: int64 ``[D]``, colour 0 … 5 of each door.
        meaning: int64 ``[6]``, what each action means, a permutation of up, down, left, right, use, stay.
    """

    plan: Plan
    cell_xy: Ints
    start: Ints
    goal: int
    locked: Bools
    door: Ints
    before: Ints
    key: Ints
    plates: Ints
    colour: Ints
    meaning: Ints


def make_layout(plan: Plan, instance_seed: int, permute: bool = False) -> Layout:
    """Draws one instance: order and rows of the doors, places of all things, colours, mirrored or not.

    The map does not depend on the number of agents.
    """
    n, doors, w, stride = plan.agents, plan.doors, plan.room_size, plan.stride
    counts = (2, 6, N_COLOURS, doors, doors, (doors + 1) * w * w, n)
    draw = instance_draws("Team", instance_seed, sum(counts))
    mirror, shuffle, paint, kinds, along, order, begin = np.split(draw, np.cumsum(counts)[:-1])
    locked = np.argsort(kinds, kind="stable") >= plan.plates
    number, first = np.arange(doors + 1), np.arange(doors + 1) * stride
    room_xy = np.stack((1 + number * (w + 1), number * 0 + 1), axis=1)
    cell_xy = rooms.cells(room_xy, w)
    door = rooms.draw_doors(room_xy, number[:-1], np.tile([1, 0], (doors, 1)), w, along)
    cell_xy[stride - 1 :: stride] = door.xy
    rooms.mirror(cell_xy, mirror, plan.width, plan.height)

    # Things go to random cells of their rooms; the cells on both sides of a door stay free.
    free = rooms.free_cells(order.reshape(doors + 1, w * w), (number[:-1], door.before), (number[1:], door.entry))
    free += first[:, None]
    near, far = free[:-1, 0], free[1:, 1]
    start = free[0, 2 if doors else 1]
    room_0 = np.setdiff1d(np.arange(w * w), free[0, :1])
    return Layout(
        plan=plan,
        cell_xy=frozen(cell_xy),
        start=room_0[below(begin, room_0.size)] if plan.apart else np.full(n, start),
        goal=int(free[-1, 0]),
        locked=locked,
        door=first[:-1] + w * w,
        before=first[:-1] + door.before,
        key=np.where(locked, near, -1),
        plates=np.where(locked[:, None], -1, np.stack((near, far), axis=1)),
        colour=np.argsort(paint, kind="stable")[np.arange(doors) % N_COLOURS],
        meaning=np.argsort(shuffle, kind="stable") if permute else np.arange(6),
    )


def cells_of(plan: Plan, placement: AnyArray) -> Ints:
    """Returns the agents' cells, int64 ``[..., n]``."""
    power = plan.cells ** np.arange(plan.agents - 1, -1, -1)
    return np.asarray(np.asarray(placement)[..., None] // power % plan.cells, dtype=np.int64)


def progress_of(plan: Plan, placement: AnyArray) -> Ints:
    """Returns the state of the keys, int64: ``(n + 1)·opened``, plus 1 + i while agent i holds the next key."""
    return np.asarray(placement // plan.cells**plan.agents, dtype=np.int64)


def opened(layout: Layout, progress: AnyArray) -> Bools:
    """Returns which locked doors are open, bool ``[..., D]`` (False at doors with plates)."""
    rank = np.cumsum(layout.locked) - 1
    done = np.asarray(progress)[..., None] >= (rank + 1) * (layout.plan.agents + 1)
    return np.asarray(layout.locked & done)


def held(layout: Layout, cells: AnyArray) -> Bools:
    """Returns which doors are held open from a plate, bool ``[..., D]`` for cells ``[..., n]``."""
    on = cells[..., None, :, None] == layout.plates[:, None, :]
    return np.asarray(np.any(on, axis=(-2, -1)))
