"""Authors Household games with TextWorld's GameMaker: a plan of rooms and errands, put into the words of a skin.

A plan is drawn from a seed and has no words; all skins of a plan have the same states, commands and rewards.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from credit_envs.families.household_rules import INFORM, LOGIC
from credit_envs.families.household_words import SKINS, Skin
from credit_envs.importers.textworld_engine import load_textworld

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
_BACK = {"north": "south", "south": "north", "east": "west", "west": "east"}


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


@dataclass(frozen=True)
class Words:
    """The names of a plan in one skin: of rooms and places by role, of things by number."""

    places: dict[str, str]
    things: tuple[str, ...]


def draw_words(plan: Plan, skin: Skin) -> Words:
    """Draws the names of a plan's rooms, places and things from the words of a skin."""
    rng = np.random.default_rng(
        [20261121, 1 + list(SKINS).index(skin.name), MAPS.index(plan.map), plan.stages, plan.seed]
    )
    places = {role: names[rng.integers(len(names))] for role, names in skin.places.items()}
    taken = {word for name in places.values() for word in name.split()}
    free = [thing for thing in skin.things if thing not in taken]
    nouns = [free[i] for i in rng.permutation(len(free))]
    pairs = [skin.pairs[i] for i in rng.permutation(len(skin.pairs))]
    things: list[str] = []
    for i in range(plan.n_pairs):
        things += [f"{adjective} {nouns[i]}" for adjective in pairs[i]]
    things += nouns[plan.n_pairs : plan.n_pairs + len(plan.thing_place) - len(things)]
    return Words(places, tuple(things))


def author(plan: Plan, skin_name: str) -> Any:
    """Makes the TextWorld game of a plan in a skin (``textworld.generator.game.Game``).

    Raises:
        MissingExtraError: if TextWorld is not installed.
    """
    load_textworld()
    from textworld import GameMaker
    from textworld.generator.game import Event, GameOptions, Quest

    skin = SKINS[skin_name]
    words = draw_words(plan, skin)
    options = GameOptions()
    options.kb = _knowledge(_code(plan, skin, words))
    options.seeds = 1 + plan.seed
    maker = GameMaker(options)

    plain, *manners = [maker.new(type="q", name=name, desc="") for name in skin.manners]
    rooms = {role: maker.new_room(words.places[role]) for role in plan.rooms}
    places = {
        role: maker.new(type="c" if role in CLOSED else "s", name=words.places[role], desc="")
        for role in plan.place_room
    }
    lamps = {on: maker.new(type="l", name=words.places[role], desc="") for on, role in LAMPS.items()}
    things = [maker.new(type="o", name=name, desc="") for name in words.things]
    steps = [maker.new(type="e", name=f"errand {i}", desc="") for i in range(len(plan.steps))]
    maker.nowhere += [plain, *manners, *steps]

    for a, b, way in joins(plan):
        one, other = rooms[plan.rooms[a]], rooms[plan.rooms[b]]
        maker.connect(one.exits[way], other.exits[_BACK[way]])
    for role, room in plan.place_room.items():
        rooms[room].add(places[role])
        if role in CLOSED:
            places[role].add_property("closed")
    for on, lamp in lamps.items():
        rooms[plan.place_room[on]].add(lamp)
    for thing, role in zip(things, plan.thing_place, strict=True):
        places[role].add(thing)
        thing.add_fact("is", thing, plain)
    maker.set_player(rooms[plan.start])
    maker.inventory.add_property("empty")
    plain.add_property("plain")
    for manner in (plain, *manners):
        manner.add_property("known")
    for role, verb, manner in zip(APPLIANCES.values(), ("washes", "heats", "cools"), manners, strict=True):
        places[role].add_fact(verb, places[role], manner)
    steps[0].add_property("now")
    for step, errand in zip(plan.steps, steps, strict=True):
        for role, place in places.items():
            if role != step.spot or step.kind == "look":
                errand.add_fact("elsewhere", errand, place)
        for number, following in zip(step.things, step.following, strict=True):
            thing, after = things[number], steps[following]
            errand.add_fact("due", errand, thing)
            if step.kind == "look":
                errand.add_fact("shows", errand, thing, lamps[step.spot], places[step.spot], after)
            elif step.kind in TREATMENTS:
                wanted = manners[TREATMENTS.index(step.kind)]
                errand.add_fact("treats", errand, thing)
                errand.add_fact("serves", errand, thing, wanted, places[step.spot], after)
                for manner in (plain, *manners):
                    if manner is not wanted:
                        errand.add_fact("early", errand, manner, places[step.spot])
            else:
                errand.add_fact("brings", errand, thing, places[step.spot], after)

    if skin.rooms:
        for role, room in rooms.items():
            room.infos.desc = _room_words(plan, skin, words, role, places, lamps)
    ends = [i for i, step in enumerate(plan.steps) if i and step.note != plan.steps[i - 1].note]
    maker.quests = [Quest([Event(conditions=[maker.new_fact("now", steps[i])])], desc="") for i in ends]
    game = maker.build()
    game.objective = "Do what your list says; it is shown with what you carry."
    return game


@lru_cache(maxsize=1)
def _stock_logic() -> str:
    from textworld.generator.data import LOGIC_DATA_PATH

    return "\n".join(path.read_text() for path in sorted(Path(LOGIC_DATA_PATH).glob("*.twl")))


def _knowledge(code: str) -> Any:
    """TextWorld's own rules and ours; the code travels with the game."""
    from textworld.generator.data import TEXT_GRAMMARS_PATH, KnowledgeBase
    from textworld.logic import GameLogic

    return KnowledgeBase(GameLogic.parse(_stock_logic() + LOGIC % (INFORM + code)), TEXT_GRAMMARS_PATH)


def _code(plan: Plan, skin: Skin, words: Words) -> str:
    """The errands as an Inform 7 table; things, places and steps are numbered as the maker numbers them."""
    tag = tags(plan)
    rows = ["", "Table of Steps", "this-step\tpiece\twish\tspot\tnext-step"]
    notes = []
    for i, step in enumerate(plan.steps):
        wish = 1 + TREATMENTS.index(step.kind) if step.kind in TREATMENTS else 0
        spot = tag[LAMPS[step.spot]] if step.kind == "look" else tag.get(step.spot)
        rows += [
            f"e_{i}\to_{thing}\tq_{wish}\t{spot}\te_{following}"
            for thing, following in zip(step.things, step.following, strict=True)
        ]
        notes.append(f'The note of e_{i} is "{_note(step, skin, words)}".')
    rows += ["", *notes, ""]
    rows += [f"The stand of {tag[lamp]} is {tag[on]}." for on, lamp in LAMPS.items()]
    for name, role in zip(("washing", "heating", "cooling"), APPLIANCES.values(), strict=True):
        kind = "container" if role in CLOSED else "supporter"
        rows += [f"The {name} place is a {kind} that varies.", f"The {name} place is {tag[role]}."]
    return "\n".join(rows) + "\n"


def tags(plan: Plan) -> dict[str, str]:
    """The numbers that GameMaker gives to places and lamps, in order of creation."""
    opened = [p for p in plan.place_room if p not in CLOSED]
    closed = [p for p in plan.place_room if p in CLOSED]
    numbered = {p: f"s_{i}" for i, p in enumerate(opened)} | {p: f"c_{i}" for i, p in enumerate(closed)}
    return numbered | {"lamp": "l_0", "light": "l_1"}


def _note(step: Step, skin: Skin, words: Words) -> str:
    if step.kind == "end":
        return skin.done
    if step.kind == "look":
        return skin.errands["look"].format(what=words.things[step.things[0]], lamp=words.places[LAMPS[step.spot]])
    spot = f"{'in' if step.spot in CLOSED else 'on'} the {words.places[step.spot]}"
    kind = "place" if step.kind == "two" and len(step.things) == 1 else step.kind
    named = [words.things[i] for i in step.things]
    return skin.errands[kind].format(what=named[0], other=named[-1], spot=spot)


def _room_words(plan: Plan, skin: Skin, words: Words, role: str, places: dict[str, Any], lamps: dict[str, Any]) -> str:
    """Describes a room: its furniture with what is there, as Inform 7 text, and its exits."""
    rng = np.random.default_rng([20261121, plan.seed, plan.rooms.index(role)])
    opening = skin.rooms[rng.integers(len(skin.rooms))].format(room=words.places[role])
    parts = [opening[0].upper() + opening[1:]]
    for place, room in plan.place_room.items():
        if room == role:
            tag, name = places[place].id, words.places[place]
            lit = f" A {words.places[LAMPS[place]]} shines on it." if place in lamps else ""
            if place in CLOSED:
                parts.append(
                    f"The {name} is [if {tag} is open]open and holds [a list of things in {tag}][otherwise]closed[end if]."
                )
            else:
                parts.append(f"The {name} holds [a list of things on {tag}].{lit}")
    here = plan.rooms.index(role)
    ways = sorted(
        (way, plan.rooms[b]) if a == here else (_BACK[way], plan.rooms[a])
        for a, b, way in joins(plan)
        if here in (a, b)
    )
    parts.append("; ".join(f"{way} is the {words.places[other]}" for way, other in ways).capitalize() + ".")
    return " ".join(parts)
