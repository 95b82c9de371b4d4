"""The words of Household games: three skins of one logic.

A skin names rooms, furniture and things, and words the errands. ``home`` and ``ship`` have sentences of their own;
``tale`` leaves the description of rooms to TextWorld's grammar.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from credit_envs.families.household_plan import MAPS, Plan


@dataclass(frozen=True)
class Skin:
    """The words of one skin.

    Attributes:
        name: the skin.
        places: alternatives for each room and piece of furniture, by role.
        things: words for things that are carried.
        pairs: adjectives that tell two things of one kind apart.
        manners: what a plain, washed, heated and cooled thing is called.
        errands: sentences of the errands.
        done: what the list says at the end.
        rooms: opening sentences of rooms with ``{room}``; none where TextWorld's grammar describes rooms.
    """

    name: str
    places: Mapping[str, tuple[str, ...]]
    things: tuple[str, ...]
    pairs: tuple[tuple[str, str], ...]
    manners: tuple[str, str, str, str]
    errands: dict[str, str]
    done: str
    rooms: tuple[str, ...] = ()


_HOME = {
    "kitchen": ("kitchen", "pantry", "scullery"),
    "bathroom": ("bathroom", "washroom", "laundry room"),
    "study": ("study", "library", "office"),
    "bedroom": ("bedroom", "nursery", "guest room"),
    "hall": ("hallway", "living room", "dining room"),
    "washer": ("sink", "washstand", "basin"),
    "heater": ("stove", "hob", "cooker"),
    "cooler": ("fridge", "freezer", "icebox"),
    "desk": ("desk", "writing table", "bureau"),
    "shelf": ("shelf", "bookcase", "nightstand"),
    "table": ("dining table", "coffee table", "sideboard"),
    "cupboard": ("cupboard", "cabinet", "wardrobe"),
    "bench": ("bench", "armchair", "windowsill"),
    "lamp": ("desk lamp", "reading lamp", "green lamp"),
    "light": ("floor lamp", "candle lamp", "wall lamp"),
}
_THINGS = (
    "mug",
    "plate",
    "bowl",
    "spoon",
    "potato",
    "apple",
    "tomato",
    "egg",
    "towel",
    "vase",
    "kettle",
    "ladle",
    "pan",
)
_PAIRS = (("red", "blue"), ("small", "large"), ("round", "square"), ("old", "new"))

SKINS = {
    "home": Skin(
        "home",
        _HOME,
        _THINGS,
        _PAIRS,
        ("plain", "clean", "hot", "cold"),
        {
            "place": "put the {what} {spot}.",
            "wash": "wash the {what}, then put it {spot}.",
            "heat": "heat the {what}, then put it {spot}.",
            "cool": "cool the {what}, then put it {spot}.",
            "look": "examine the {what} under the {lamp}.",
            "two": "put the {what} and the {other} {spot}.",
        },
        "nothing more.",
        ("This is the {room}.", "You are in the {room}.", "A tidy {room}.", "The {room} is quiet.", "A bright {room}."),
    ),
    "ship": Skin(
        "ship",
        {
            "kitchen": ("galley", "canteen", "mess"),
            "bathroom": ("airlock", "sick bay", "wet cell"),
            "study": ("bridge", "laboratory", "map room"),
            "bedroom": ("cabin", "bunk room", "crew quarters"),
            "hall": ("corridor", "cargo hold", "engine room"),
            "washer": ("rinser", "spray unit", "scrubber"),
            "heater": ("burner", "plasma plate", "hot plate"),
            "cooler": ("cryo box", "cold locker", "chiller"),
            "desk": ("console", "workstation", "terminal"),
            "shelf": ("rack", "ledge", "bunk"),
            "table": ("crate", "pallet", "platform"),
            "cupboard": ("locker", "hatch", "stowage bin"),
            "bench": ("jump seat", "tool cart", "gurney"),
            "lamp": ("spotlight", "scan lamp", "blue lamp"),
            "light": ("strip light", "work light", "yellow lamp"),
        },
        (
            "flask",
            "canister",
            "wrench",
            "ration",
            "sensor",
            "visor",
            "beaker",
            "cable",
            "gasket",
            "filter",
            "probe",
            "lens",
        ),
        (("left", "right"), ("steel", "copper"), ("short", "long"), ("spare", "main")),
        ("plain", "rinsed", "glowing", "frozen"),
        {
            "place": "stow the {what} {spot}.",
            "wash": "have the {what} washed and stow it {spot}.",
            "heat": "have the {what} heated and stow it {spot}.",
            "cool": "have the {what} cooled and stow it {spot}.",
            "look": "inspect the {what} under the {lamp}.",
            "two": "stow both the {what} and the {other} {spot}.",
        },
        "all jobs done.",
        (
            "This is the {room}.",
            "The {room} hums softly.",
            "You float in the {room}.",
            "The lights of the {room} are on.",
        ),
    ),
    "tale": Skin(
        "tale",
        _HOME,
        _THINGS,
        _PAIRS,
        ("plain", "spotless", "steaming", "icy"),
        {
            "place": "kindly see to it that the {what} ends up {spot}.",
            "wash": "the {what} wants a wash, and then its place is {spot}.",
            "heat": "the {what} wants some heat, and then its place is {spot}.",
            "cool": "the {what} wants cooling, and then its place is {spot}.",
            "look": "hold the {what} under the {lamp} and have a good look.",
            "two": "the {what} and the {other} both belong {spot}.",
        },
        "put your feet up.",
    ),
}


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
