"""Pivots: a chain of decisions, with steps between them that change nothing.

## Description

A walk along a line. At each of `length` pivots one action is right and the others are wrong; which one is right differs
between instances. A pivot is followed by `fillers` steps that change nothing, whatever one does. A wrong choice does
not stop the walk, so failed episodes contain good steps and the return alone does not say which ones.

Every quantity can be derived by hand. With `credit="all"`, n pivots, a actions and the uniform policy, a state in which
j pivots are still to come and none was wrong is worth a^-j. If it is a pivot, the right action has the advantage
(a − 1)·a^-j and a wrong one −a^-j; all other advantages are zero. J_uniform = a^-n, J* = 1.

## Action Space

`Discrete(actions)`: the choices A, B, C, …; all are admissible in every state.

## Observation Space

- `state`: the number of the state (position, wrong choices so far; with `credit="all"` counted up to one).
- `grid`: uint8 `[3, length·(fillers + 1) + 1, 3]`. Middle row: channel 0 is 1 for fillers, 2 for pivots, 3 for the end;
  channel 1 is 1 where the walker stands. Top row, channel 2: one cell per wrong choice so far is 1.
- `text`: a sentence. `rgb`: a picture. `ansi`: one line of characters.

## Rewards

Paid with the last step. `credit="all"`: 1 if every pivot was right. `credit="each"`: 1/length per right pivot.

## Starting State

Before the first pivot.

## Episode End

After `length·(fillers + 1)` steps, which is also the horizon.

## Arguments

- `length` (default 4): number of pivots.
- `actions` (default 3): actions per step.
- `fillers` (default 3): steps after each pivot that change nothing.
- `credit` (default `"all"`): what is paid, see Rewards.

## References

The chain generalises the combination lock and DiscountingChain of Osband et al., "Behaviour Suite for Reinforcement
Learning", ICLR 2020, by a dial for how many steps belong to one decision.

## Version History

- v0: first version.
"""

from __future__ import annotations

import gymnasium
import numpy as np

from credit_envs.arrays import AnyArray, Ints
from credit_envs.families import tiles
from credit_envs.families.family import Knob, below, instance_draws
from credit_envs.table.mdp import TabularMDP
from credit_envs.table.view import View, text_space

KNOBS = {
    "length": Knob(4, 1, 200, "number of pivots"),
    "actions": Knob(3, 2, 26, "actions per step"),
    "fillers": Knob(3, 0, 50, "steps after each pivot that change nothing"),
    "credit": Knob("all", choices=("all", "each"), doc="pay if all pivots were right, or for each right one"),
}


def build(instance_seed: int, *, length: int, actions: int, fillers: int, credit: str) -> TabularMDP:
    """Builds one instance; states are numbered by position, then by wrong choices so far."""
    unit, horizon = fillers + 1, length * (fillers + 1)
    right = below(instance_draws("Pivots", instance_seed, length), actions)
    most_wrong = 1 if credit == "all" else length

    place = np.arange(horizon + 1)
    n_values = np.minimum(-(-place // unit), most_wrong) + 1
    offset = np.cumsum(n_values) - n_values
    position = np.repeat(place, n_values)
    wrong = np.arange(position.size) - offset[position]

    walking = position < horizon
    here, action = np.repeat(position[walking], actions), np.tile(np.arange(actions), walking.sum())
    mistake = (here % unit == 0) & (action != right[here // unit])
    after = np.minimum(np.repeat(wrong[walking], actions) + mistake, most_wrong)
    done = here + 1 == horizon

    step = np.minimum(position, horizon - 1)
    return TabularMDP(
        name="Pivots",
        n_actions=actions,
        edge_start=np.minimum(np.arange(position.size + 1) * actions, here.size),
        edge_action=action.astype(np.int32),
        outcome_start=np.arange(here.size + 1),
        successor=(offset[here + 1] + after).astype(np.int32),
        probability=np.ones(here.size),
        reward=np.where(done, (most_wrong - after) / most_wrong, 0.0),
        terminal=done,
        start_state=np.zeros(1, np.int64),
        start_probability=np.ones(1),
        horizon=horizon,
        action_names=tuple(chr(ord("A") + a) for a in range(actions)),
        labels={
            "turn": step % unit,
            "segment": step // unit,
            "anchor": np.arange(position.size),
            "position": position,
            "wrong": wrong,
        },
        views=_views(position, wrong, length, unit, credit),
        knobs={"length": length, "actions": actions, "fillers": fillers, "credit": credit},
        validated=False,
    )


def _views(position: Ints, wrong: Ints, length: int, unit: int, credit: str) -> dict[str, View]:
    """Views of all states; position and wrong are int64 ``[S]``."""
    end = length * unit
    kind = np.where(np.arange(end + 1) % unit == 0, 2, 1)
    kind[end] = 3
    tile = tiles.tile_size(end + 1)

    def grid(states: AnyArray) -> AnyArray:
        states = np.asarray(states, dtype=np.int64)
        out = np.zeros((states.size, 3, end + 1, 3), dtype=np.uint8)
        out[:, 1, :, 0] = kind
        out[np.arange(states.size), 1, position[states], 1] = 1
        out[:, 0, :, 2] = np.arange(end + 1) < wrong[states][:, None]
        return out

    def text(states: AnyArray) -> list[str]:
        return [_sentence(int(position[s]), int(wrong[s]), length, unit, credit) for s in states]

    def ansi(states: AnyArray) -> list[str]:
        track = np.array(list(" .?$"))[kind]
        lines = []
        for s in states:
            line = track.copy()
            line[position[s]] = "@"
            lines.append("".join(line) + f"  {'no' if not wrong[s] else 'some' if credit == 'all' else wrong[s]} wrong")
        return lines

    def rgb(states: AnyArray) -> AnyArray:
        pictures = [_picture(kind, int(position[s]), int(wrong[s]), unit, credit, tile) for s in states]
        return np.stack(pictures) if pictures else np.zeros((0, 3 * tile, (end + 1) * tile, 3), np.uint8)

    return {
        "grid": View(gymnasium.spaces.Box(0, 255, (3, end + 1, 3), np.uint8), grid),
        "text": View(text_space(), text),
        "ansi": View(tiles.ansi_space(end + 32), ansi),
        "rgb": View(gymnasium.spaces.Box(0, 255, (3 * tile, (end + 1) * tile, 3), np.uint8), rgb),
    }


def _sentence(position: int, wrong: int, length: int, unit: int, credit: str) -> str:
    stage, inside = divmod(position, unit)
    if stage == length:
        lead = "The walk is over."
    elif inside == 0:
        lead = f"You stand at pivot {stage + 1} of {length}: choose well."
    else:
        lead = f"You walk on after pivot {stage + 1} of {length}, step {inside} of {unit - 1}: any action will do."
    passed = -(-position // unit)
    if passed == 0:
        return lead
    if wrong == 0:
        return f"{lead} So far every choice was right."
    return f"{lead} " + (
        "Some choice was wrong." if credit == "all" else f"{passed - wrong} of {passed} choices were right."
    )


def _picture(kind: Ints, position: int, wrong: int, unit: int, credit: str, tile: int) -> AnyArray:
    """The line with its pivots, the part behind coloured by how it went; a tally of the choices above."""
    board = tiles.canvas(3, len(kind), tile, tiles.PAGE)
    passed = -(-position // unit)
    past = tiles.GOOD if wrong == 0 else tiles.BAD if credit == "all" else tiles.MIXED
    for x, k in enumerate(kind):
        behind, ahead = (past if x <= position else tiles.TRACK), (past if x < position else tiles.TRACK)
        tiles.stamp(board, tiles.track(tile, behind if x else None, ahead if k != 3 else None), 1, x)
        tiles.stamp(board, tiles.goal(tile) if k == 3 else tiles.node(tile, ahead, large=bool(k == 2)), 1, x)
    marks = [wrong == 0] * min(passed, 1) if credit == "all" else [x < passed - wrong for x in range(passed)]
    for x, right in enumerate(marks, start=len(kind) - len(marks)):
        tiles.stamp(board, tiles.tally(tile, right), 0, x)
    tiles.stamp(board, tiles.agent(tile), 1, position)
    return tiles.finish(board)
