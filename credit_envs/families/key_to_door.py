"""KeyToDoor: a key that is picked up early and paid for at the end, with lucky apples in between.

## Description

Three phases. In the key room lies a key; whoever steps on it has it. A gate leads out, one way, into an orchard where a
strong wind carries the walker one column on at every step, for `orchard` steps: the distractor phase has a fixed length
and no apple can be met twice, so the table needs no memory of apples eaten. Behind the orchard is the door room. The
door ends the episode and pays only if the key was taken.

Apples pay at random, `apple_mean` on average and with a standard deviation of `luck · apple_mean`, whether or not one has
the key. Gate, door, key, start and apples lie elsewhere in each instance, the key has another colour, and the map may be
mirrored. Every instance can be solved; the key never blocks the gate, so it can always be missed.

Since neither movement nor apples depend on the key, a policy that does not see it earns exactly
`door_reward · P(the door is reached in time)` more with the key than without: that is the credit of picking it up. The
luck that hides it is exact too: each apple eaten adds `(luck · apple_mean)²` to the variance of the return.

## Action Space

`Discrete(4)`: 0 up, 1 down, 2 left, 3 right; all are admissible everywhere. In the rooms a step against a wall changes
nothing. In the gate and in the orchard `up` and `down` steer by one row while the wind blows; `left` and `right` do
nothing else. With `permute=True` the four are shuffled per instance and their names are hidden.

## Observation Space

- `state`: the number of the look. With `key_visible=False`, states with and without the key look the same from the gate
  to the door: the past pick-up is the hidden information, and only memory can tell.
- `grid`: uint8 `[room_size + 2, 2·room_size + orchard + 3, 3]`, the whole map. Channel 0: 1 wall, 2 floor, 3 key, 4 gate,
  5 orchard, 6 apple, 7 door, 8 open door. Channel 1: colour (1–6) of key and door. Channel 2, where the walker stands:
  1, or 2 with the key in hand (never with `key_visible=False`). Apples that the wind has left behind, and the key once the
  walker has left its room, are no longer shown.
- `text`: sentences, with the apples of the next few columns. `rgb`: a picture of the map. `ansi`: the map in characters.

## Rewards

Apples: `apple_mean · (1 + luck²)` with probability `1 / (1 + luck²)`, else 0. The door: `door_reward` with the key, else 0.

## Starting State

In the key room, without the key; one start per instance.

## Episode End

At the door, or at the horizon: `horizon_factor` times 6·(room_size − 1) + orchard + 3, an upper bound of the shortest
solution that does not depend on the instance.

## Arguments

- `room_size` (default 3): rooms are room_size × room_size cells; the orchard has room_size rows.
- `orchard` (default 10): columns of the orchard, the length of the distractor phase in steps.
- `apples` (default 0.3): share of the orchard's cells that hold an apple.
- `apple_mean` (default 0.1): mean reward of an apple.
- `luck` (default 3.0): standard deviation of an apple's reward, in units of its mean.
- `door_reward` (default 1.0): what the door pays with the key.
- `key_visible` (default True): whether one sees that one carries the key.
- `permute` (default False): shuffle the actions per instance.
- `horizon_factor` (default 4.0): see Episode End.

There are at most 2·(2·room_size² + room_size·orchard + 2) − 1 states.

## References

Hung et al., "Optimizing Agent Behavior over Long Time Scales by Transporting Value", Nature Communications 2019;
Mesnard et al., "Counterfactual Credit Assignment in Model-Free Reinforcement Learning", ICML 2021. Theirs is a
first-person view with apples scattered in a room; the wind keeps the fixed length of that phase without a clock.

## Version History

- v0: first version.
"""

from __future__ import annotations

import numpy as np

from credit_envs.arrays import AnyArray, Int32s
from credit_envs.families.family import Knob
from credit_envs.families.key_to_door_layout import DOOR, ORCHARD, ROOM, Layout, make_layout, moves
from credit_envs.families.key_to_door_views import views
from credit_envs.table.build import from_outcomes
from credit_envs.table.emission import Emission
from credit_envs.table.mdp import TabularMDP

KNOBS = {
    "room_size": Knob(3, 2, 16, "rooms are room_size × room_size cells; the orchard has as many rows"),
    "orchard": Knob(10, 0, 200, "columns of the orchard, the length of the distractor phase in steps"),
    "apples": Knob(0.3, 0, 1, "share of the orchard's cells that hold an apple", integer=False),
    "apple_mean": Knob(0.1, 0, 100, "mean reward of an apple", integer=False),
    "luck": Knob(3.0, 0, 30, "standard deviation of an apple's reward, in units of its mean", integer=False),
    "door_reward": Knob(1.0, 0, 1000, "what the door pays with the key", integer=False),
    "key_visible": Knob(True, choices=(True, False), doc="whether one sees that one carries the key"),
    "permute": Knob(False, choices=(False, True), doc="shuffle the actions per instance and hide their names"),
    "horizon_factor": Knob(4.0, 1, 1000, "horizon in longest shortest solutions", integer=False),
}

_ACTIONS = ("up", "down", "left", "right")


def build(
    instance_seed: int,
    *,
    room_size: int,
    orchard: int,
    apples: float,
    apple_mean: float,
    luck: float,
    door_reward: float,
    key_visible: bool,
    permute: bool,
    horizon_factor: float,
) -> TabularMDP:
    """Builds one instance; states are numbered by cell along the wind, without the key before with it."""
    knobs = {name: value for name, value in locals().items() if name in KNOBS}
    layout = make_layout(room_size, orchard, round(apples * orchard * room_size), instance_seed, permute)
    number, cell, key = _states(layout)
    before = np.flatnonzero(layout.zone[cell] < DOOR)
    state, action = np.repeat(before, 4), np.tile(np.arange(4), before.size)
    to = moves(layout)[cell[state], action]
    carries = key[state] | (to == layout.key)
    certain = luck == 0 or apple_mean == 0
    chance = 1.0 if certain else 1 / (1 + luck**2)
    pays = np.where(layout.zone[to] == DOOR, door_reward * carries, layout.apple[to] * apple_mean / chance)
    # An apple that may pay has a second outcome, in which it does not.
    lucky = layout.apple[to] & (not certain)
    row = np.concatenate((np.arange(to.size), np.flatnonzero(lucky)))
    barren = np.arange(row.size) >= to.size
    look = _looks(layout, cell, key, key_visible)
    zone = layout.zone[cell]
    return from_outcomes(
        "KeyToDoor",
        cell.size,
        4,
        {
            "state": state[row],
            "action": action[row],
            "successor": number[to, carries.astype(np.int64)][row],
            "probability": np.where(barren, 1 - chance, np.where(lucky[row], chance, 1.0)),
            "reward": np.where(barren, 0.0, pays[row]),
            "terminal": layout.zone[to[row]] == DOOR,
        },
        start={int(number[layout.start, 0]): 1.0},
        horizon=round(horizon_factor * (6 * (room_size - 1) + orchard + 3)),
        action_names=() if permute else _ACTIONS,
        labels={
            "turn": np.zeros(cell.size, dtype=np.int64),
            "segment": np.where(zone == ROOM, key, np.where(zone <= ORCHARD, 2, 3)),
            "anchor": cell * 2 + key,
            "key": key,
            "x": layout.shown_x[cell],
            "y": layout.y[cell],
        },
        emission=Emission(look),
        views=views(layout, cell, key, key_visible),
        knobs=knobs,
        validated=False,
    )


def _states(layout: Layout) -> tuple[AnyArray, AnyArray, AnyArray]:
    """Numbers the states that play can reach: number ``[C, 2]``, cell ``[S]`` and key ``[S]`` (bool)."""
    exists = np.ones((layout.zone.size, 2), dtype=bool)
    exists[layout.key, 0] = False
    # Behind the gate the wind lets the walker spread by one row per column.
    column = layout.x - layout.size - 1
    blown = (column > 0) & (column <= layout.orchard)
    exists[blown & (np.abs(layout.y - layout.gate_y) > column)] = False
    cell, key = np.nonzero(exists)
    number = np.full(exists.shape, -1, dtype=np.int64)
    number[cell, key] = np.arange(cell.size)
    return number, cell, key.astype(bool)


def _looks(layout: Layout, cell: AnyArray, key: AnyArray, key_visible: bool) -> Int32s:
    """Classes of looks, numbered in the order of the states: int32 ``[S]``."""
    zone = layout.zone[cell]
    hidden = (zone > 0) & (zone < DOOR) & (not key_visible)
    new = ~(hidden & key)
    return (np.cumsum(new) - 1).astype(np.int32)
