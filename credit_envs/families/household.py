"""Household: errands in a house, told in words. Every game is a real TextWorld game, compiled to a table beforehand.

## Description

A list asks for one errand after the other: put the mug on the shelf; wash the mug, then put it on the shelf; examine the
mug under the desk lamp; put the red mug and the blue mug on the shelf. Things lie on furniture or in closed containers,
and what is in other rooms is not shown, so they have to be found. Hands hold one thing. Only what the errand asks for can
be taken, which bounds the number of states; it can be put down anywhere, washed, heated or cooled in vain, and carried
round in circles. Nothing is ever lost: every state can still be won.

The games were written with TextWorld's GameMaker, with rules of their own, and compiled: the logic gives states and
commands, and the Z-machine interpreter played every command in every state, which gave each word that is shown and
confirmed every score. Playing them needs neither TextWorld nor a compiler. Three skins of each game share its table and
differ in every name and sentence. A game has one map (rooms around a hub, in a row, or around a loop), its own places for
rooms, furniture and things, and its own errands.

## Action Space

`Discrete(A)`: one command each, such as `go north`, `open fridge`, `take mug from sink`, `put mug on shelf`, `wash mug`,
`examine mug under desk lamp`; `action_names` lists them. A depends on `task` and `stages` alone. Few are admissible in a
state; the others change nothing and take a step. The order of the commands is drawn from the instance seed, so a lookup
table from one instance is worth nothing in another.

## Observation Space

- `text`: the description of the room, what is carried, and the errand of the moment. The answer to the last command is
  left out, so that what is shown is a function of the state.
- `menu`: the text, then the admissible commands with the numbers of their actions.
- `state`: the number of what is shown. Hidden, and therefore merged, are things and open containers in other rooms.

## Rewards

1 in all: 1 − `stage_reward` for the last errand, and `stage_reward / stages` for each stage, which is taken back when a
stage is undone. Stages of an errand: take, put; take, examine; take, wash (heat, cool), take again, put; take, put, take,
put.

## Starting State

In some room with empty hands, everything closed; one start per instance.

## Episode End

With the last errand, or at the horizon: `horizon_factor` times the longest shortest solution among the games of the same
task, map and number of stages (so that instances can share a pool).

## Arguments

- `task` (default `"prepare"`): `"place"` (find and place), `"look"` (examine under a lamp), `"prepare"` (wash, heat or
  cool, then place), `"two"` (place two things) or `"mixed"`.
- `stages` (default 4): 4, 12 or 60.
- `map` (default `"hub"`): `"hub"`, `"row"` or `"loop"`.
- `skin` (default `"home"`): `"home"`, `"ship"`, or `"tale"`, in which TextWorld's own grammar describes the rooms.
- `stage_reward` (default 0): share of the return that is paid stage by stage.
- `horizon_factor` (default 4): see Episode End.

There are 4 games of 4 stages, 2 of 12 and 2 of 60 for each task and map. Instance seeds that are equal modulo that number
share a game and differ in the order of its commands: for disjoint games split seeds by that remainder.

`python -m credit_envs.families.household_pack` authors and compiles all games again (extra `text`).

## References

Côté et al., "TextWorld: A Learning Environment for Text-based Games", 2018. The tasks follow Shridhar et al., "ALFWorld:
Aligning Text and Embodied Environments for Interactive Learning", ICLR 2021.

## Version History

- v0: first version.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from credit_envs.arrays import AnyArray, Ints
from credit_envs.errors import TableError
from credit_envs.families.family import Knob, instance_draws
from credit_envs.table.emission import Emission
from credit_envs.table.mdp import TabularMDP
from credit_envs.table.view import View, text_space

KNOBS = {
    "task": Knob("prepare", choices=("place", "look", "prepare", "two", "mixed"), doc="what the errands ask for"),
    "stages": Knob(4, choices=(4, 12, 60), doc="number of stages"),
    "map": Knob("hub", choices=("hub", "row", "loop"), doc="how the rooms hang together"),
    "skin": Knob("home", choices=("home", "ship", "tale"), doc="the words"),
    "stage_reward": Knob(0.0, 0, 1, "share of the return that is paid stage by stage", integer=False),
    "horizon_factor": Knob(4.0, 1, 1000, "horizon in longest shortest solutions", integer=False),
}

FOLDER = Path(__file__).parent / "data"
COLUMNS = ("step", "stage", "room", "carrying", "manner", "opened", "first_place", "second_place")
"""Factors of a state that files hold: step of the errands; stages that are behind; room, in the order of the map; 0 or 1
+ number of the thing carried; 0 or what was done to a thing (1 washed, 2 heated, 3 cooled); one bit per container; where
the errand's first and second thing are, 0 in hand (or no second thing), else 1 + number of the place."""

_ANCHOR = ("step", "room", "carrying", "manner", "first_place", "second_place")


@dataclass(frozen=True, eq=False)
class Game:
    """A shipped game in one skin.

    Attributes:
        admissible: int64 ``[S]``, number of admissible commands.
        command: int64 ``[E]``, number of the command of each edge.
        successor: int32 ``[E]``.
        labels: labels of the table, int64 ``[S]``.
        base: int32 ``[S]``, class of each state's look.
        looks: int64 ``[S, 2]``, description and inventory of each state.
        commands: words of the commands.
        descriptions: words of rooms.
        inventories: words of what is carried and of the list.
    """

    admissible: Ints
    command: Ints
    successor: AnyArray
    labels: dict[str, Ints]
    base: AnyArray
    looks: Ints
    commands: tuple[str, ...]
    descriptions: tuple[str, ...]
    inventories: tuple[str, ...]

    def text(self, states: AnyArray) -> list[str]:
        """Returns what states int64 ``[n]`` show: the room, what is carried, and the list."""
        looks = self.looks[np.asarray(states, dtype=np.int64)].tolist()
        return [f"{self.descriptions[room]}\n{self.inventories[held]}" for room, held in looks]


def build(
    instance_seed: int, *, task: str, stages: int, map: str, skin: str, stage_reward: float, horizon_factor: float
) -> TabularMDP:
    """Builds one instance from a shipped game.

    Raises:
        TableError: if its file is missing or damaged.
    """
    header = read_header(task, map, stages)
    game = read_game(task, map, stages, skin, instance_seed % len(header["games"]))
    order = np.argsort(instance_draws("Household", instance_seed, len(game.commands)), kind="stable")
    place = np.argsort(order)  # of each command among the actions

    n_states, n_edges = len(game.admissible), len(game.command)
    state = np.repeat(np.arange(n_states), game.admissible)
    action = place[game.command]
    sorted_edges = np.lexsort((action, state))
    successor = game.successor[sorted_edges]

    names = tuple(game.commands[i] for i in order)
    edge_start = np.concatenate(([0], np.cumsum(game.admissible)))
    edge_action = action[sorted_edges].astype(np.int32)

    def menu(states: AnyArray) -> list[str]:
        lines = []
        for s, shown in zip(np.asarray(states).tolist(), game.text(states), strict=True):
            listed = edge_action[edge_start[s] : edge_start[s + 1]].tolist()
            lines.append("\n".join([shown, *(f"[{a}] {names[a]}" for a in listed)]))
        return lines

    stage = game.labels["stage"]
    over = game.labels["step"][successor] == game.labels["step"].max()
    reward = (1 - stage_reward) * over + stage_reward * (stage[successor] - stage[state]) / stages
    return TabularMDP(
        name="Household",
        n_actions=len(order),
        edge_start=edge_start,
        edge_action=edge_action,
        outcome_start=np.arange(n_edges + 1),
        successor=successor,
        probability=np.ones(n_edges),
        reward=reward,
        terminal=over,
        start_state=np.zeros(1, np.int64),
        start_probability=np.ones(1),
        horizon=round(horizon_factor * header["longest"]),
        action_names=names,
        labels=game.labels,
        emission=Emission(game.base),
        views={"text": View(text_space(), game.text), "menu": View(text_space(), menu)},
        knobs={
            "task": task,
            "stages": stages,
            "map": map,
            "skin": skin,
            "stage_reward": stage_reward,
            "horizon_factor": horizon_factor,
        },
        validated=False,
    )


@lru_cache(maxsize=64)
def read_header(task: str, map: str, stages: int) -> dict[str, Any]:
    """Reads what a file says about its games: ``longest`` shortest solution, and per game ``optimal`` and ``digest``.

    Raises:
        TableError: if the file is missing or damaged.
    """
    header: dict[str, Any] = json.loads(_members(task, map, stages, ("header",))[0].tobytes())
    return header


@lru_cache(maxsize=64)
def read_game(task: str, map: str, stages: int, skin: str, number: int) -> Game:
    """Reads a shipped game in one skin.

    Raises:
        TableError: if the file is missing or damaged.
    """
    names = [f"{number}:{name}" for name in ("admissible", "edges", "columns", "looks", skin)]
    admissible, edges, columns, looks, words = _members(task, map, stages, tuple(names))
    commands, descriptions, inventories = (tuple(part.split("\x00")) for part in words.tobytes().decode().split("\x1e"))
    factors = {name: columns[:, i].astype(np.int64) for i, name in enumerate(COLUMNS)}
    stage = factors["stage"]
    return Game(
        admissible=admissible.astype(np.int64),
        command=edges[:, 0].astype(np.int64),
        successor=edges[:, 1].astype(np.int32),
        labels={
            "turn": np.zeros(len(stage), dtype=np.int64),
            "segment": stage,
            "anchor": _classes(np.stack([factors[name] for name in _ANCHOR], axis=1)),
            **factors,
        },
        base=_classes(looks).astype(np.int32),
        looks=looks.astype(np.int64),
        commands=commands,
        descriptions=descriptions,
        inventories=inventories,
    )


def _classes(rows: AnyArray) -> Ints:
    """Numbers rows of small integers, equal ones alike, by first occurrence."""
    key = np.zeros(len(rows), dtype=np.int64)
    for column in rows.T.astype(np.int64):
        key = key * (int(column.max()) + 1) + column
    _, first, which = np.unique(key, return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[which]


def file_name(task: str, map: str, stages: int) -> str:
    """Returns the name of the file that holds the games of a setting."""
    return f"household-{task}-{map}-{stages}.npz"


def _members(task: str, map: str, stages: int, names: tuple[str, ...]) -> list[AnyArray]:
    path = FOLDER / file_name(task, map, stages)
    try:
        with np.load(path, allow_pickle=False) as stored:
            return [stored[name] for name in names]
    except FileNotFoundError as error:
        raise TableError(f"{path.name}: this game is not shipped; `python -m {__name__}_pack` makes it") from error
    except Exception as error:  # zipfile, zlib and NumPy trip over damaged bytes in many ways
        raise TableError(f"{path.name}: damaged ({type(error).__name__}: {error})") from error
