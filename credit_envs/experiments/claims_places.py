"""Where claims are measured: small versions of the families, and cells over them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from credit_envs.experiments.cells import Cell, Work

_FIELDS = ("group_size", "staleness", "budget")
_PIVOTS = "credit/Pivots-v0?actions=2&credit=each&fillers=0"
ROOMS = "credit/KeyRooms-v0?horizon_factor=2.0&stages=1"
HOUSE = "credit/Household-v0?task=place"
TASKS: Mapping[str, str] = {
    "Pivots": f"{_PIVOTS}&length=16",
    "KeyRooms": ROOMS,
    "Household": HOUSE,
    "Lookup": "credit/Lookup-v0",
    "Sums": "credit/Sums-v0",
    "Shop": "credit/Shop-v0",
    "FrozenLake": "credit/FrozenLake-v0",
    "Charts": "credit/Charts-v0",
    "Gallery": "credit/Gallery-v0?junctions=2",
}
"""Small versions of the families, by name."""

FIVE: Mapping[str, str] = {name: TASKS[name] for name in ("KeyRooms", "Household", "Lookup", "FrozenLake", "Sums")}
"""Those that training is tried on."""

TOKENS: Mapping[str, str] = {
    "Lookup tokens": "credit/Lookup-v0?spell=1",
    "Chat tokens": "credit/Chat-v0?spell=1",
    "Household tokens": "credit/Household-v0?spell=1&task=place",
}


def over(
    tasks: Sequence[str] | Mapping[str, str],
    names: Sequence[str],
    dial: str = "",
    values: Sequence[Any] = (),
    **settings: Any,
) -> Callable[[bool], list[Cell]]:
    """Returns the cells of a claim as a function of ``quick``.

    Args:
        tasks: names in :data:`TASKS`, or name → environment.
        names: estimators.
        dial: a dial of the environment, or ``group_size``, ``staleness`` or ``budget``; it becomes an axis.
        values: its values.
        **settings: fields of all cells.
    """
    places = tasks if isinstance(tasks, Mapping) else {name: TASKS[name] for name in tasks}

    def cells(quick: bool) -> list[Cell]:
        out = []
        for level in (0.5,) if quick else (0.0, 0.5, 0.9):
            # The full sweep has luck of its own, so that it checks the quick one.
            sizes = {"budget": 4_000 if quick else 32_000, "seeds": 10 if quick else 20}
            sizes["first_seed"] = 0 if quick else 1_000
            sizes |= {"extra_steps": 60_000 if quick else 1_000_000, **settings}
            for task, env in places.items():
                for value in values if dial else (None,):
                    axes: tuple[tuple[str, Any], ...] = (("task", task), *(((dial, value),) if dial else ()))
                    axes += () if quick else (("level", level),)
                    named, own = env, dict[str, Any](sizes)
                    if dial in _FIELDS:
                        own[dial] = value
                    elif dial:
                        named = f"{env}{'&' if '?' in env else '?'}{dial}={value}"
                    out.append(Cell(named, tuple(names), axes, level, **own))
        return out

    return cells


def longer(names: Sequence[str]) -> Callable[[bool], list[Cell]]:
    """Cells of the same tasks at growing length."""
    lengths = {length: f"{_PIVOTS}&length={length}" for length in (4, 8, 16, 32, 64)}
    stages = {n: f"credit/KeyRooms-v0?horizon_factor=2.0&stages={n}" for n in (1, 2, 3)}
    houses = {n: f"credit/Household-v0?stages={n}" for n in (4, 12)}

    def cells(quick: bool) -> list[Cell]:
        return [
            Cell(cell.environment, cell.estimators, (("task", task), ("size", size), *cell.axes[1:]), **_rest(cell))
            for task, places in (("Pivots", lengths), ("KeyRooms", stages), ("Household", houses))
            for size, env in places.items()
            for cell in over({task: env}, names)(quick)
        ]

    return cells


def _rest(cell: Cell) -> dict[str, Any]:
    fields = ("level", "budget", "seeds", "first_seed", "group_size", "extra_steps", "staleness", "restore", "probe")
    return {name: getattr(cell, name) for name in fields}


def joined(*parts: Callable[[bool], Sequence[Work]]) -> Callable[[bool], list[Work]]:
    """Returns the cells of several parts, as a function of ``quick``."""
    return lambda quick: [cell for part in parts for cell in part(quick)]
