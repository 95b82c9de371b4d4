"""KeyRooms: rooms, keys and doors, and lamps that matter for nothing.

## Description

Stage i of n: pick up key i, which lies in room i, then open door i, which leads to room i + 1. Behind the last door
lies the goal. The map decides how far key and door are apart. In a `chain` door i is in room i itself; in a `hub` four
arms grow from a central room in turn, so keys are carried back through the hub; in a `tree` each room leads to two more
where there is space. Doors sit at random places of their walls, keys, lamps, start and goal at random places of their
rooms, and the map may be mirrored. Every instance can be solved.

Lamps can be switched and change nothing else. Each doubles the number of states behind it, so different rollouts
rarely meet in the same state: the structural dial for revisits.

## Action Space

`Discrete(5)`: 0 up, 1 down, 2 left, 3 right, 4 use. All are admissible everywhere; a step against a wall or a locked
door changes nothing. `use` takes the key of the present stage when standing on it; opens the locked door of the present
stage when standing on the floor cell before it with its key in hand; switches a lamp when standing on it; else it
changes nothing. With `permute=True` the five are shuffled per instance and their names are hidden.

## Observation Space

- `state`: the number of the state (progress, cell, lamps). Progress is 2i while key i lies there, 2i + 1 while it is in
  hand, 2n when all doors are open.
- `grid`: uint8 `[height, width, 3]`, the whole map, or `[view_size, view_size, 3]`, a window around the walker. Channel
  0: 0 nothing, 1 wall, 2 floor, 3 key, 4 locked door, 5 open door, 6 lamp, 7 goal. Channel 1: colour of a key or door
  (1–6), 1 for a lamp that is off and 2 for one that is on. Channel 2, where the walker stands: 1, or 1 + colour of the
  key in hand.
- `text`: sentences. `rgb`: a picture of the map. `ansi`: the map in characters.

## Rewards

1 in all: `stage_reward / n` for each opened door, the rest at the goal.

## Starting State

In room 0, all doors locked, all lamps off; one start per instance.

## Episode End

At the goal, or at the horizon: `horizon_factor` times the longest shortest solution that these knobs can produce (an
upper bound that does not depend on the instance, so that instances can share a pool).

## Arguments

- `map` (default `"chain"`): `"chain"`, `"hub"` or `"tree"`.
- `stages` (default 2): number of keys and doors.
- `room_size` (default 3): rooms are room_size × room_size cells.
- `distractors` (default 1): number of lamps, spread over the rooms before the last; at most stages·(room_size² − 6).
- `stage_reward` (default 0): share of the return that is paid at the doors.
- `permute` (default False): shuffle the actions per instance.
- `horizon_factor` (default 8): see Episode End.
- `view_size` (default None, the whole map): side of the window that `grid` shows.

There are Σ_{i<n} 2·c_i·2^{l_i} + c_n·2^d states, with c_i = (i + 1)(w² + 1) − 1 open cells, l_i lamps in rooms 0 … i,
w = room_size and d = distractors.

## References

Keys and doors follow MiniGrid: Chevalier-Boisvert et al., "Minigrid & Miniworld: Modular & Customizable Reinforcement
Learning Environments for Goal-Oriented Tasks", NeurIPS 2023.

## Version History

- v0: first version.
"""

from __future__ import annotations

from credit_envs.errors import check_range
from credit_envs.families.family import Knob
from credit_envs.families.keyrooms_compile import make_table
from credit_envs.families.keyrooms_layout import make_layout, make_plan
from credit_envs.families.keyrooms_views import views
from credit_envs.table.mdp import TabularMDP

KNOBS = {
    "map": Knob("chain", choices=("chain", "hub", "tree"), doc="how the rooms hang together"),
    "stages": Knob(2, 1, 100, "number of keys and doors"),
    "room_size": Knob(3, 3, 16, "rooms are room_size x room_size cells"),
    "distractors": Knob(1, 0, 20, "number of lamps, which change nothing"),
    "stage_reward": Knob(0.0, 0, 1, "share of the return that is paid at the doors", integer=False),
    "permute": Knob(False, choices=(False, True), doc="shuffle the actions per instance and hide their names"),
    "horizon_factor": Knob(8.0, 1, 1000, "horizon in longest shortest solutions", integer=False),
    "view_size": Knob(None, 3, 64, "side of the window that the grid view shows; None for the whole map"),
}


def build(
    instance_seed: int,
    *,
    map: str,
    stages: int,
    room_size: int,
    distractors: int,
    stage_reward: float,
    permute: bool,
    horizon_factor: float,
    view_size: int | None,
) -> TabularMDP:
    """Builds one instance.

    Raises:
        CreditEnvsError: if the lamps do not fit into the rooms, or the table would exceed 2**24 states.
    """
    knobs = {name: value for name, value in locals().items() if name in KNOBS}
    check_range("distractors", distractors, 0, stages * (room_size**2 - 6), integer=True)
    layout = make_layout(make_plan(map, stages, room_size, distractors), instance_seed, permute)
    horizon = round(horizon_factor * layout.plan.longest)
    return make_table(layout, stage_reward, horizon, named=not permute, views=views(layout, view_size), knobs=knobs)
