"""Recipes written with arguments, so that a sweep is plain data: ``vineppo(k=4)``, ``mc@8(k=2)``, ``gigpo(gamma=1)+vppo``.

``NAME(OPTION=VALUE, …)`` binds options of whichever pieces of the recipe have them; ``FAMILY@GRAIN`` is one of
:mod:`credit_envs.experiments.granular`.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import re
from collections.abc import Mapping
from typing import Any

from credit_envs import registry
from credit_envs.errors import CreditEnvsError, unknown
from credit_envs.evaluation.config import load_recipe
from credit_envs.experiments.granular import grain_of, pieces
from credit_envs.piece import Piece
from credit_envs.recipes.catalogue import DEFAULTS, PIECES, PRESETS
from credit_envs.recipes.recipe import Recipe, compose

_PART = re.compile(r"(\w+)(?:@(\w+))?(?:\(([^()]*)\))?")


@functools.cache
def named(name: str) -> Recipe:
    """Returns the recipe of a name with arguments.

    Raises:
        CreditEnvsError: for a name of another form, an unknown piece, or an option that no piece of the recipe has.
    """
    if ".py:" in name:
        return load_recipe(name)
    chosen: list[Piece] = []
    for part in name.split("+"):
        form = _PART.fullmatch(part.strip())
        if form is None:
            raise CreditEnvsError(f"estimator={name!r}: expected NAME, NAME(OPTION=VALUE) or FAMILY@GRAIN, joined by +")
        word, grain, options = form.groups()
        if grain is not None:
            own = pieces(word, grain_of(grain))
        elif word in PRESETS or word in PIECES:
            own = [PIECES[one] for one in PRESETS.get(word, word).split("+")]
        else:
            raise unknown("estimator", word, {**PRESETS, **PIECES})
        settings = registry.settings([pair.strip() for pair in options.split(",")]) if options else {}
        chosen += _bound(name, own, settings)
    return compose(name, chosen, DEFAULTS)


def _bound(name: str, own: list[Piece], settings: Mapping[str, Any]) -> list[Piece]:
    left = set(settings)
    out = []
    for piece in own:
        has = set(inspect.signature(piece.function).parameters) & set(settings)
        left -= has
        changed = {key: settings[key] for key in sorted(has) if key != "gamma" or piece.gamma is None}
        if changed:
            function = functools.partial(piece.function, **changed)
            words = ", ".join(f"{key}={value}" for key, value in changed.items())
            piece = dataclasses.replace(piece, name=f"{piece.name}({words})", function=function)
        out.append(piece.with_gamma(float(settings["gamma"])) if "gamma" in has else piece)
    if left:
        raise CreditEnvsError(f"estimator={name!r}: no piece of it has the option {', '.join(sorted(left))}")
    return out
