"""Every piece by name, every recipe by name, and recipes written as ``gigpo+turn_rewards+vppo``."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from pathlib import Path

from credit_envs.credit import ADVANTAGES
from credit_envs.errors import CreditEnvsError, unknown
from credit_envs.losses import LOSSES
from credit_envs.piece import Piece
from credit_envs.plans import PLANS
from credit_envs.recipes.recipe import Recipe, compose
from credit_envs.rewards import REWARDS
from credit_envs.weights import WEIGHTS

PIECES: Mapping[str, Piece] = {p.name: p for p in (*PLANS, *REWARDS, *ADVANTAGES, *WEIGHTS, *LOSSES)}
"""Every piece by name."""

DEFAULTS: Mapping[str, Piece] = {
    "plan": PIECES["groups"],
    "advantage": PIECES["grpo"],
    "loss": PIECES["reinforce"],
}
"""What stands in a slot that a recipe leaves open."""

PRESETS: Mapping[str, str] = {}
"""Recipes of several pieces: name → names of pieces. Every piece is also a recipe by itself."""

DEFAULT = ("grpo", "dr_grpo", "rloo", "gigpo", "vineppo_k1", "vineppo", "anchor_graph", "anchor_graph_time", "exact")
"""What ``credit-envs evaluate`` scores when nothing is named."""


def names() -> tuple[str, ...]:
    """Returns the names of all recipes: presets, and every piece that changes something by itself."""
    alone = [name for name, piece in PIECES.items() if piece not in DEFAULTS.values() or piece.slot == "advantage"]
    return tuple(dict.fromkeys([*PRESETS, *alone]))


def piece(name: str) -> Piece:
    """Returns a piece by name.

    Raises:
        CreditEnvsError: if there is none; the message names the nearest ones.
    """
    if name not in PIECES:
        raise unknown("piece", name, PIECES)
    return PIECES[name]


@functools.cache
def recipe(name: str) -> Recipe:
    """Returns a recipe by name, or by names joined with ``+``; their order makes no difference.

    Raises:
        CreditEnvsError: for an unknown name (with the nearest ones), and for pieces that cannot be combined.
    """
    parts: list[Piece] = []
    for part in name.split("+"):
        if part not in PRESETS and part not in PIECES:
            raise unknown("estimator", part, {**PRESETS, **PIECES})
        parts += [PIECES[word] for word in PRESETS.get(part, part).split("+")]
    return compose(name, parts, DEFAULTS)


def known(name: str) -> Recipe | None:
    """Returns a recipe by name, None if there is none."""
    try:
        return recipe(name)
    except CreditEnvsError:
        return None


def checks() -> dict[str, int]:
    """Returns how many passed tests call each piece, as ``pytest --record-checks`` last wrote it down."""
    return dict(json.loads(Path(__file__).with_name("checks.json").read_text()))


def around(advantage: Piece) -> Recipe:
    """Returns the recipe of one advantage estimator with everything else as usual."""
    return compose(advantage.name, [advantage], DEFAULTS)
