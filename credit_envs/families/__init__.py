"""Families of environments: each builds a table from an instance seed and knobs. One line per family."""

from __future__ import annotations

from credit_envs.families import key_to_door, keyrooms, pivots
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
}

__all__ = ["FAMILIES", "Family", "Knob"]
