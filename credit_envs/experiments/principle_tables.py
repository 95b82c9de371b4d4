"""Tables of the principle as plain data: test, regression and rules of thumb by family, causal structure and policy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from credit_envs.experiments.grain_tests import regression, rules
from credit_envs.experiments.surface import STRUCTURES, Slice, numbered

FAMILIES = (
    ("mc", "rollouts", "Monte-Carlo values, K = 1, more rollouts"),
    ("mc", "continuations", "Monte-Carlo values, 8 rollouts, K grows"),
    ("mc", "best split", "Monte-Carlo values, best K"),
    ("learned", "rollouts", "learned critic on half the budget"),
    ("anchor", "rollouts", "anchor groups (GiGPO, γ = 1)"),
    ("tree", "rollouts", "trees forking at boundaries"),
    ("value", "rollouts", "exact values (the limit)"),
)
"""Families and ways of spending, with what a reader sees."""

TITLES = {(family, spending): title for family, spending, title in FAMILIES}

_PRICES = ("simulator", "language model", "data")
_NOTHING = (float("nan"),) * 3


def middle(found: Sequence[Slice]) -> list[Slice]:
    """Returns the slices of the policy in the middle."""
    levels = sorted({one.level for one in found})
    return [one for one in found if one.level == levels[len(levels) // 2]]


def families(found: Sequence[Slice]) -> list[dict[str, Any]]:
    """Returns one row per family, way of spending and price list."""
    out = []
    for price in _PRICES:
        for family, spending, title in FAMILIES:
            here = [one for one in found if (one.family, one.spending, one.price) == (family, spending, price)]
            out += _row(numbered(here), {"family": title, "price": price})
    return out


def structures(found: Sequence[Slice], price: str = "simulator") -> list[dict[str, Any]]:
    """Returns one row per family, task and causal structure."""
    out = []
    for family, spending, title in FAMILIES:
        own = [one for one in found if (one.family, one.spending, one.price) == (family, spending, price)]
        for task in ("Pivots", "KeyRooms"):
            for structure in STRUCTURES:  # at k = 1 all are the same task
                here = [one for one in own if one.task == task and (one.structure == structure or one.unit == 1)]
                out += _row(here, {"family": title, "task": task, "structure": structure})
    return out


def levels(found: Sequence[Slice], price: str = "simulator") -> list[dict[str, Any]]:
    """Returns one row per family and policy; nothing where there is one policy."""
    known = sorted({one.level for one in found})
    out = []
    for family, spending, title in FAMILIES if len(known) > 1 else ():
        own = [one for one in found if (one.family, one.spending, one.price) == (family, spending, price)]
        for level in known:
            here = [one for one in numbered(own) if one.level == level]
            out += _row(here, {"family": title, "level": level})
    return out


def _row(here: Sequence[Slice], place: dict[str, Any]) -> list[dict[str, Any]]:
    # At k = 1 the finest grain is the unit, and wherever "finer is better" holds the test is passed for nothing.
    stretched = [one for one in here if one.unit > 1]
    told = [one.verdict for one in stretched if one.verdict != "undefined"]
    if not told:
        return []
    row = {**place, "slices": len(told)}
    row |= {f"share {word}": told.count(word) / len(told) for word in ("k", "open", "not k")}
    # Slopes on Pivots, whose length does not grow with k.
    slope = regression([one for one in here if one.task == "Pivots"])
    row |= {name: slope.get(name, _NOTHING) for name in ("unit", "budget", "censored")}
    return [{**row, **{f"keeps {name}": value for name, value in rules(stretched).items()}}]
