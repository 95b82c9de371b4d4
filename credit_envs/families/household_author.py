"""Authors Household games with TextWorld's GameMaker: a plan, put into the words of a skin.

All skins of a plan have the same states, commands and rewards.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from credit_envs.families.household_plan import APPLIANCES, BACK, CLOSED, LAMPS, TREATMENTS, Plan, Step, joins, tags
from credit_envs.families.household_rules import INFORM, LOGIC
from credit_envs.families.household_words import SKINS, Skin, Words, draw_words
from credit_envs.importers.textworld_engine import load_textworld


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
        maker.connect(one.exits[way], other.exits[BACK[way]])
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
        (way, plan.rooms[b]) if a == here else (BACK[way], plan.rooms[a]) for a, b, way in joins(plan) if here in (a, b)
    )
    parts.append("; ".join(f"{way} is the {words.places[other]}" for way, other in ways).capitalize() + ".")
    return " ".join(parts)
