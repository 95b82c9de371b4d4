"""Plans of Household games: rooms, places, things and errands, drawn from a seed, without words."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

TASKS = ("place", "look", "prepare", "two", "mixed")
MAPS = ("hub", "row", "loop")
STAGES = (4, 12, 60)
SIZE = {"place": 2, "look": 2, "wash": 4, "heat": 4, "cool": 4, "two": 4}
"""Stages of an errand: take and put; take and examine; take, treat, take again and put; take, put, take and put."""

_ROOMS = ("kitchen", "bathroom", "study", "bedroom", "hall")
_HOME_OF = {"washer": "bathroom", "heater": "kitchen", "cooler": "kitchen", "desk": "study", "shelf": "bedroom"}
CLOSED = ("cooler", "cupboard")
"""Places that can be opened, and are closed at first."""

LAMPS = {"desk": "lamp", "shelf": "light"}
"""Which lamp stands on which place."""

TREATMENTS = ("wash", "heat", "cool")

APPLIANCES = {"wash": "washer", "heat": "heater", "cool": "cooler"}
"""Where each treatment happens."""

_PLACES = {
    4: ("washer", "heater", "cooler", "desk", "shelf", "table", "cupboard", "bench"),
    12: ("washer", "heater", "cooler", "desk", "shelf", "table", "cupboard"),
    60: ("washer", "heater", "cooler", "desk", "shelf"),
}
# Which way the i-th room lies from the room it is joined to: (room, other room, direction from room to other room).
_JOINS = {
    "hub": ((0, 1, "north"), (0, 2, "east"), (0, 3, "south"), (0, 4, "west")),
    "row": ((0, 1, "east"), (1, 2, "east"), (2, 3, "east"), (3, 4, "east")),
    "loop": ((0, 1, "east"), (1, 2, "south"), (2, 3, "west"), (3, 0, "north"), (2, 4, "east")),
}
BACK = {"north": "south", "south": "north", "east": "west", "west": "east"}


@dataclass(frozen=True)
class Step:
    """What an errand asks for at one moment.

    Attributes:
        kind: place, look, wash, heat, cool or two.
        stage: stages that are behind when it begins.
        note: the errand whose words the list shows.
        things: the things that may be taken now.
        spot: the place (or lamp) where it ends.
        following: per thing the step that follows once that thing is there.
    """

    kind: str
    stage: int
    note: int
    things: tuple[int, ...]
    spot: str
    following: tuple[int, ...]


@dataclass(frozen=True)
class Plan:
    """A game without words.

    Attributes:
        task: one of TASKS.
        map: one of MAPS.
        stages: number of stages.
        seed: where it was drawn from.
        rooms: roles of the rooms, in the order in which the map joins them.
        place_room: role of a place → role of its room.
        thing_place: where each thing lies at first.
        n_pairs: things 2i and 2i + 1 are a pair for i below this; others are single.
        start: role of the first room.
        steps: the errands, step by step; the last step is the end.
    """

    task: str
    map: str
    stages: int
    seed: int
    rooms: tuple[str, ...]
    place_room: dict[str, str]
    thing_place: tuple[str, ...]
    n_pairs: int
    start: str
    steps: tuple[Step, ...]


def draw_plan(task: str, map: str, stages: int, seed: int) -> Plan:
    """Draws a plan; the same arguments give the same plan on every machine."""
    rng = np.random.default_rng([20261121, TASKS.index(task), MAPS.index(map), stages, seed])
    places = _PLACES[stages]
    rooms = [r for r in _ROOMS if stages < 60 or r != "hall"]
    rooms = [rooms[i] for i in rng.permutation(len(rooms))]
    free = [r for r in rooms if r not in ("kitchen",)]
    place_room = {p: _HOME_OF.get(p) or free[rng.integers(len(free))] for p in places}
    if "table" in places:
        place_room["table"] = "hall"
    paired = task in ("two", "mixed") and (stages >= 12 or task == "two")
    kinds = _kinds(task, stages, rng)
    n_things = 4 if paired else 3

    # Nothing lies where it would be treated, so that every game begins before its first stage.
    at_first = [p for p in places if p not in APPLIANCES.values()] if task in ("prepare", "mixed") else places
    where = [at_first[rng.integers(len(at_first))] for _ in range(n_things)]
    first, stage, last_thing = tuple(where), 0, -1
    steps: list[Step] = []
    for note, kind in enumerate(kinds):
        here = len(steps)
        if kind == "two":
            pair = int(rng.integers(2))
            one, other = 2 * pair, 2 * pair + 1
            spot = _other(rng, places, (where[one], where[other]))
            steps += [
                Step(kind, stage, note, (one, other), spot, (here + 1, here + 2)),
                Step(kind, stage + 2, note, (other,), spot, (here + 3,)),
                Step(kind, stage + 2, note, (one,), spot, (here + 3,)),
            ]
            where[one] = where[other] = spot
        else:
            things = [i for i in range(n_things) if i != last_thing]
            thing = things[rng.integers(len(things))]
            last_thing = thing
            if kind == "look":
                lamps = [p for p in LAMPS if p != where[thing]]
                spot = lamps[rng.integers(len(lamps))]
            else:
                spot = _other(rng, places, (where[thing], APPLIANCES.get(kind, where[thing])))
            steps.append(Step(kind, stage, note, (thing,), spot, (here + 1,)))
            where[thing] = spot
        stage += SIZE[kind]
    steps.append(Step("end", stage, len(kinds), (), "", ()))
    start = rooms[rng.integers(len(rooms))]
    return Plan(task, map, stages, seed, tuple(rooms), place_room, first, 2 if paired else 0, start, tuple(steps))


def joins(plan: Plan) -> list[tuple[int, int, str]]:
    """Returns which rooms are joined: numbers of two rooms, and the way from the first to the second."""
    return [join for join in _JOINS[plan.map] if max(join[:2]) < len(plan.rooms)]


def _kinds(task: str, stages: int, rng: np.random.Generator) -> list[str]:
    """Draws the kinds of the errands, whose stages sum up to ``stages``."""
    if task == "mixed":
        whole = ["place", "look", "prepare", "two"] if stages >= 12 else ["place", "look"]
        kinds = [whole[i] for _ in range(max(1, stages // 12)) for i in rng.permutation(len(whole))]
    else:
        kinds = [task] * (stages // SIZE.get(task, 4))
    return [TREATMENTS[rng.integers(3)] if kind == "prepare" else kind for kind in kinds]


def _other(rng: np.random.Generator, places: tuple[str, ...], taken: tuple[str, ...]) -> str:
    left = [p for p in places if p not in taken]
    return left[rng.integers(len(left))]


def tags(plan: Plan) -> dict[str, str]:
    """The numbers that GameMaker gives to places and lamps, in order of creation."""
    opened = [p for p in plan.place_room if p not in CLOSED]
    closed = [p for p in plan.place_room if p in CLOSED]
    numbered = {p: f"s_{i}" for i, p in enumerate(opened)} | {p: f"c_{i}" for i, p in enumerate(closed)}
    return numbered | {"lamp": "l_0", "light": "l_1"}
