"""From a KeyRooms layout to its table, without a search.

Since exactly the first cells and the first lamps are in reach at every progress, states are numbered in closed form:
``first[p] + (cell << bits[p]) + lamps``. What depends on knobs alone is built once; an instance costs a few array
operations per progress.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from credit_envs.arrays import Bools, Floats, Int32s, Ints, frozen
from credit_envs.errors import CreditEnvsError
from credit_envs.families.keyrooms_layout import Layout, Plan
from credit_envs.families.rooms import neighbours
from credit_envs.table.emission import identity
from credit_envs.table.mdp import TabularMDP

MOST_STATES = 1 << 24
_ACTIONS = ("up", "down", "left", "right", "use")
_USE = 4


@dataclass(frozen=True, eq=False)
class Frame:
    """The part of a table that all instances of the same knobs share.

    Attributes:
        first: number of the first state of each progress 0 … 2n.
        cells: cells in reach at each progress.
        bits: lamps in reach at each progress.
        cell: int64 ``[S]``, cell of each state.
        progress: int64 ``[S]``.
        lamps: int64 ``[S]``, bit j tells whether lamp j is on.
        labels: labels of the table that do not depend on the instance.
        fields: other fields of the table that do not depend on the instance.
    """

    first: tuple[int, ...]
    cells: tuple[int, ...]
    bits: tuple[int, ...]
    cell: Ints
    progress: Ints
    lamps: Ints
    labels: dict[str, Ints]
    fields: dict[str, Any]


@lru_cache(maxsize=8)
def make_frame(plan: Plan) -> Frame:
    """Numbers the states of a plan.

    Raises:
        CreditEnvsError: if there are more than 2**24.
    """
    opened = np.arange(2 * plan.stages + 1) // 2
    cells = (opened + 1) * plan.stride - 1
    bits = np.searchsorted(plan.lamp_room, opened, side="right")
    count = cells << bits
    n_states = int(count.sum())
    if n_states > MOST_STATES:
        sizes = f"stages={plan.stages}, room_size={plan.room_size}, distractors={len(plan.lamp_room)}"
        raise CreditEnvsError(f"{sizes}: {n_states} states, expected at most {MOST_STATES}; lower one of them")
    first = np.cumsum(count) - count
    progress = np.repeat(np.arange(len(opened)), count)
    inside = np.arange(n_states) - first[progress]
    cell, lamps = inside >> bits[progress], inside & ((1 << bits[progress]) - 1)

    # The goal is the last cell, so the states without edges are the last ones.
    n_edges = 5 * (n_states - (1 << int(bits[-1])))
    fields = {
        "n_actions": 5,
        "edge_start": np.minimum(np.arange(n_states + 1) * 5, n_edges),
        "edge_action": np.tile(np.arange(5, dtype=np.int32), n_edges // 5),
        "outcome_start": np.arange(n_edges + 1),
        "probability": np.ones(n_edges),
        "start_probability": np.ones(1),
        "emission": identity(n_states),
    }
    labels = {
        "turn": np.zeros(n_states, dtype=np.int64),
        "segment": progress,
        "anchor": progress * len(plan.cell_xy) + cell,
        "progress": progress,
        "lamps": lamps,
    }
    return Frame(
        first=tuple(first.tolist()),
        cells=tuple(cells.tolist()),
        bits=tuple(bits.tolist()),
        cell=frozen(cell),
        progress=frozen(progress),
        lamps=frozen(lamps),
        labels=labels,
        fields=fields,
    )


def make_table(layout: Layout, stage_reward: float, horizon: int, *, named: bool, **fields: Any) -> TabularMDP:
    """Builds the table of a layout.

    Not validated: it is right by construction, which the tests check on many instances.

    Args:
        layout: the instance.
        stage_reward: share of the return that is paid at the doors.
        horizon: steps after which the episode ends.
        named: whether the actions show their names.
        **fields: further fields of the table.
    """
    frame = make_frame(layout.plan)
    successor, reward, terminal = _dynamics(frame, layout, stage_reward)
    x, y = layout.cell_xy.T
    return TabularMDP(
        **{**frame.fields, "labels": {**frame.labels, "x": x[frame.cell], "y": y[frame.cell]}, **fields},
        name="KeyRooms",
        successor=successor,
        reward=reward,
        terminal=terminal,
        start_state=np.array([layout.start << frame.bits[0]]),
        horizon=horizon,
        action_names=_ACTIONS if named else (),
        validated=False,
    )


def _dynamics(frame: Frame, layout: Layout, stage_reward: float) -> tuple[Int32s, Floats, Bools]:
    """Returns successor, reward and terminal of all edges, each ``[E]``."""
    n_states, stages = len(frame.cell), layout.plan.stages
    successor = np.empty((n_states, 5), dtype=np.int32)
    reward, terminal = np.zeros((n_states, 5)), np.zeros((n_states, 5), dtype=bool)
    own = np.arange(len(layout.cell_xy))
    around = neighbours(layout.cell_xy, layout.plan.width, layout.plan.height)
    beside = np.column_stack((around, own))[:, layout.meaning].astype(np.int32)
    use = int(np.flatnonzero(layout.meaning == _USE)[0])
    lamps = np.arange(1 << frame.bits[-1], dtype=np.int32)
    flipped = lamps ^ (1 << np.arange(frame.bits[-1]))[:, None]

    for p, (first, cells, bits) in enumerate(zip(frame.first, frame.cells, frame.bits, strict=True)):
        masks = 1 << bits
        to = np.where(beside[:cells] < cells, beside[:cells], own[:cells, None])
        rows = slice(first, first + cells * masks)
        block = successor[rows].reshape(cells, masks, 5)
        np.add(((to << bits) + first)[:, None], lamps[:masks, None], out=block, casting="same_kind")
        lamp = layout.lamp[:bits]
        block[lamp, :, use] = first + (lamp << bits)[:, None] + flipped[:bits, :masks]
        if p < 2 * stages:
            stage, carrying = divmod(p, 2)
            spot = layout.before[stage] if carrying else layout.key[stage]
            block[spot, :, use] = frame.first[p + 1] + (spot << frame.bits[p + 1]) + lamps[:masks]
            if carrying and stage_reward:
                reward[rows].reshape(cells, masks, 5)[spot, :, use] = stage_reward / stages

    cell, action = np.nonzero(beside[:-1] == layout.goal)
    last = frame.first[-1] + (cell << frame.bits[-1])[:, None] + lamps
    reward[last, action[:, None]] = 1 - stage_reward
    terminal[last, action[:, None]] = True
    n_edges = 5 * (n_states - len(lamps))
    return successor.ravel()[:n_edges], reward.ravel()[:n_edges], terminal.ravel()[:n_edges]
