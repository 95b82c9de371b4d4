"""Families of environments: each builds a table from an instance seed and knobs. One line per family."""

from __future__ import annotations

from credit_envs.families import (
    apps,
    charts,
    chat,
    gallery,
    household,
    key_to_door,
    keyrooms,
    lookup,
    pivots,
    shop,
    sums,
    team,
)
from credit_envs.families.family import Family, Knob

FAMILIES: dict[str, Family] = {
    "Pivots": Family(
        "Pivots", pivots.build, pivots.KNOBS, "A chain of decisions with steps between them that change nothing."
    ),
    "KeyRooms": Family(
        "KeyRooms", keyrooms.build, keyrooms.KNOBS, "Rooms, keys and doors; lamps that matter for nothing."
    ),
    "KeyToDoor": Family(
        "KeyToDoor", key_to_door.build, key_to_door.KNOBS, "A key taken early pays at the end; lucky apples in between."
    ),
    "Gallery": Family(
        "Gallery", gallery.build, gallery.KNOBS, "A way through a museum by signs in the picture; the text may mislead."
    ),
    "Team": Family("Team", team.build, team.KNOBS, "Agents who hold doors open for each other; one reward for all."),
    "Shop": Family(
        "Shop", shop.build, shop.KNOBS, "Search, compare, choose options, buy; paid by how well the product fits."
    ),
    "Household": Family(
        "Household", household.build, household.KNOBS, "Errands in a house, told in words: real TextWorld games."
    ),
    "Lookup": Family(
        "Lookup", lookup.build, lookup.KNOBS, "Questions of several hops: search, read, answer; decoys lead astray."
    ),
    "Apps": Family("Apps", apps.build, apps.KNOBS, "Calls of several apps: read the manual, retry, check, complete."),
    "Sums": Family("Sums", sums.build, sums.KNOBS, "Column addition in tokens; a wrong digit or carry stays wrong."),
    "Charts": Family(
        "Charts", charts.build, charts.KNOBS, "A question about a bar chart, in tokens; few of them read the picture."
    ),
    "Chat": Family("Chat", chat.build, chat.KNOBS, "Replies liked as a whole; preference pairs with known noise."),
}

__all__ = ["FAMILIES", "Family", "Knob"]
