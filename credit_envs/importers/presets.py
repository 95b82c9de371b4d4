"""What is known about families of environments beforehand: their step counter, state factors and words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gymnasium
from gymnasium import spaces

from credit_envs.errors import need
from credit_envs.table.view import Rows

_COMPASS = ("east", "south", "west", "north")


@dataclass(frozen=True)
class Preset:
    """What the importer may assume of an environment; every assumption is verified during exploration.

    Attributes:
        clock: attribute that counts steps.
        limit: attribute that holds the number of steps after which the environment truncates.
        vectors_are_tuples: whether integer vectors and tuples of the same numbers mean the same.
        factor_names: names of the state factors that become labels.
        factors: reads the factors from ``env.unwrapped``.
        words: turns columns of observations and a row number into words, None where the observation is not the usual
            one.
    """

    clock: str | None = None
    limit: str | None = None
    vectors_are_tuples: bool = False
    factor_names: tuple[str, ...] = ()
    factors: Callable[[Any], tuple[int, ...]] = lambda _: ()
    words: Callable[[Rows, int], str] | None = None


def import_for_id(env_id: str) -> None:
    """Imports the package that registers an id.

    Raises:
        MissingExtraError: if the package is not installed.
    """
    if env_id.startswith(("MiniGrid", "BabyAI")):
        need("minigrid", "minigrid")


def preset_for(env: gymnasium.Env[Any, Any]) -> Preset:
    """Returns what is known about an environment by its class."""
    if any(base.__module__.split(".")[0] == "minigrid" for base in type(env.unwrapped).__mro__):
        return _minigrid(env)
    return Preset()


def _minigrid(env: gymnasium.Env[Any, Any]) -> Preset:
    from minigrid.core.constants import COLOR_TO_IDX, OBJECT_TO_IDX

    base: Any = env.unwrapped

    def factors(base: Any) -> tuple[int, ...]:
        held = base.carrying
        carrying = 0 if held is None else OBJECT_TO_IDX[held.type] * len(COLOR_TO_IDX) + COLOR_TO_IDX[held.color]
        return int(base.agent_pos[0]), int(base.agent_pos[1]), int(base.agent_dir), carrying

    view = base.agent_view_size
    image = env.observation_space["image"] if isinstance(env.observation_space, spaces.Dict) else None
    usual = env.observation_space is base.observation_space and image is not None and image.shape == (view, view, 3)
    return Preset(
        clock="step_count",
        limit="max_steps",
        vectors_are_tuples=True,
        factor_names=("x", "y", "direction", "carrying"),
        factors=factors,
        words=_minigrid_words if usual else None,
    )


def _minigrid_words(columns: Rows, row: int) -> str:
    """Says in words what a MiniGrid observation shows; walls beyond the next cell are left out."""
    from minigrid.core.constants import IDX_TO_COLOR, IDX_TO_OBJECT

    image = columns["image"][row]
    middle, last = image.shape[0] // 2, image.shape[1] - 1

    def name(x: int, y: int) -> str:
        kind, color, state = (int(v) for v in image[x, y])
        what = IDX_TO_OBJECT[kind]
        if what in ("unseen", "empty", "wall"):
            return {"unseen": "the dark", "empty": "an empty cell", "wall": "a wall"}[what]
        opened = ("open ", "closed ", "locked ")[state] if what == "door" else ""
        full = f"{opened or ''}{IDX_TO_COLOR[color]} {what}"
        return ("an " if full[0] in "aeiou" else "a ") + full

    seen = []
    for y in range(last, -1, -1):
        for x in range(image.shape[0]):
            if (x, y) in ((middle, last), (middle, last - 1)) or name(x, y) in ("the dark", "an empty cell", "a wall"):
                continue
            place = [f"{last - y} ahead"] if y < last else []
            place += [f"{abs(x - middle)} to the {'left' if x < middle else 'right'}"] if x != middle else []
            seen.append(f"{name(x, y)} ({', '.join(place)})")
    held = name(middle, last)
    lines = [f"You face {_COMPASS[int(columns['direction'][row])]}. In front of you is {name(middle, last - 1)}."]
    lines += [f"You also see {', '.join(seen)}."] if seen else []
    lines += [f"You carry {'nothing' if held == 'an empty cell' else held}."]
    return " ".join([*lines, f"Your mission: {columns['mission'][row]}."])
