"""Tables of Gymnasium's toy-text environments, which list their own transition probabilities in ``P``."""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Callable, Mapping
from typing import Any

import gymnasium
import numpy as np

from credit_envs.arrays import AnyArray
from credit_envs.errors import CreditEnvsError, NotEnumerableError, TableError, check_range
from credit_envs.importers.lockstep import lock_step
from credit_envs.importers.making import bare, checked_horizon, discrete_actions, made, step_limit
from credit_envs.importers.pictures import SIZE, fitted, picture_space
from credit_envs.table.build import from_outcomes
from credit_envs.table.mdp import TabularMDP
from credit_envs.table.view import View, text_space

DEFAULT_HORIZON = 100
"""Horizon of environments that Gymnasium registers without a step limit."""

_DEFAULT_HORIZONS = {"CliffWalkingEnv": 200}
_ACTION_NAMES = {
    "FrozenLakeEnv": ("left", "down", "right", "up"),
    "CliffWalkingEnv": ("up", "right", "down", "left"),
    "TaxiEnv": ("south", "north", "east", "west", "pick up", "drop off"),
}
_STANDS = ("red", "green", "yellow", "blue")


def import_toy_text(
    env: str | gymnasium.Env[Any, Any],
    *,
    horizon: int | None = None,
    check_steps: int = 2_000,
    **make_kwargs: Any,
) -> TabularMDP:
    """Turns an environment that lists its dynamics in ``P`` into a table with the same state numbers.

    ``table.P`` equals the original's ``P``, outcomes listed twice included. States are the original's integer
    observations; those that no play reaches stay in. Because ``P`` is not always the whole truth, it is checked against
    the environment by stepping it.

    Args:
        env: a Gymnasium id, or an environment whose ``unwrapped`` has ``P`` and ``initial_state_distrib``.
        horizon: number of steps after which episodes terminate. Default: the registered step limit; without one, 200
            for CliffWalking (whose optimum takes 13 steps) and 100 for others.
        check_steps: steps of each of the two checks, 0 to skip them.
        **make_kwargs: arguments of ``gymnasium.make``, with an id only.

    Raises:
        NotEnumerableError: if the environment does something that ``P`` does not list, or at other frequencies (Taxi's
            fickle passenger); the message carries the evidence.
        CreditEnvsError: if the environment has no ``P``, or its spaces are not integers from 0.
    """
    check_range("check_steps", check_steps, 0, 10**9, integer=True)
    original = made(env, make_kwargs)
    base: Any = original.unwrapped
    kind = type(base).__name__
    n_states, n_actions = _sizes(base)
    if horizon is None:
        horizon = step_limit(original) or _DEFAULT_HORIZONS.get(kind, DEFAULT_HORIZON)
    if getattr(base, "fickle_passenger", False):
        raise NotEnumerableError(
            f"{kind}: fickle_passenger=True changes the destination in step(), which P does not list and the state "
            "number does not show; expected fickle_passenger=False"
        )
    start = _start(base, n_states)
    table = from_outcomes(
        original.spec.id if original.spec is not None else kind,
        n_states,
        n_actions,
        _outcomes(base.P, n_states, n_actions, kind),
        start=start,
        horizon=checked_horizon(horizon),
        action_names=_ACTION_NAMES.get(kind, ()) if len(_ACTION_NAMES.get(kind, ())) == n_actions else (),
        allow_unreachable=True,
        **_look(base, kind, n_states, original.spec),
    )
    if check_steps:
        _check(bare(original), table, int(check_steps))
    return table


def _sizes(base: Any) -> tuple[int, int]:
    kind = type(base).__name__
    if not hasattr(base, "P") or not hasattr(base, "initial_state_distrib"):
        raise CreditEnvsError(
            f"{kind}: expected attributes P and initial_state_distrib; use import_gymnasium, which explores by stepping"
        )
    n_actions = discrete_actions(base)
    space = base.observation_space
    if not isinstance(space, gymnasium.spaces.Discrete) or space.start != 0 or base.action_space.start != 0:
        raise CreditEnvsError(f"{kind}: expected Discrete observations and actions numbered from 0, got {space}")
    return int(space.n), n_actions


def _start(base: Any, n_states: int) -> dict[int, float]:
    chance = np.asarray(base.initial_state_distrib, dtype=np.float64).ravel()
    if chance.size != n_states or not np.all(np.isfinite(chance)):
        raise CreditEnvsError(
            f"initial_state_distrib: expected {n_states} probabilities, got {chance.size}, of which "
            f"{int(np.isfinite(chance).sum())} finite; does the map have a start?"
        )
    return {int(state): float(chance[state]) for state in np.flatnonzero(chance)}


def _outcomes(dynamics: Mapping[Any, Any], n_states: int, n_actions: int, kind: str) -> dict[str, AnyArray]:
    rows = []
    for state in range(n_states):
        for action in range(n_actions):
            try:
                listed = dynamics[state][action]
            except (KeyError, IndexError):
                raise CreditEnvsError(f"{kind}: P lists nothing for state {state}, action {action}") from None
            rows += [(state, action, successor, chance, reward, ends) for chance, successor, reward, ends in listed]
    columns = list(zip(*rows, strict=True))
    kinds = (np.int64, np.int64, np.int64, np.float64, np.float64, np.bool_)
    names = ("state", "action", "successor", "probability", "reward", "terminal")
    return {name: np.array(column, dtype=d) for name, column, d in zip(names, columns, kinds, strict=True)}


def _check(env: gymnasium.Env[Any, Any], table: TabularMDP, steps: int) -> None:
    """Compares P with the environment along episodes, and from states that episodes rarely reach."""
    kind = type(env.unwrapped).__name__
    try:
        lock_step(env, table, steps, view="state")
    except TableError as error:
        raise NotEnumerableError(f"{kind} hides randomness, or does not follow its own P. {error}") from None
    if isinstance(getattr(env.unwrapped, "s", None), int | np.integer):
        _check_everywhere(env, table, steps)


def _check_everywhere(env: gymnasium.Env[Any, Any], table: TabularMDP, steps: int) -> None:
    base: Any = env.unwrapped
    rng = np.random.default_rng(0)
    states = rng.integers(table.n_states, size=steps).tolist()
    actions = rng.integers(table.n_actions, size=steps).tolist()
    for i, (state, action) in enumerate(zip(states, actions, strict=True)):
        if i % 20 == 0:
            # A reset draws what an environment hides beside its state number.
            env.reset(seed=int(rng.integers(2**31)))
        base.s = state
        successor, reward, terminated, _, _ = env.step(action)
        listed = [(s, r, end) for p, s, r, end in table.P[state][action] if p > 0]
        if (int(successor), float(reward), bool(terminated)) not in listed:
            raise NotEnumerableError(
                f"{type(base).__name__} hides randomness, or does not follow its own P: from state {state}, action "
                f"{action} led to state {successor} with reward {reward}, but P[{state}][{action}] lists only {listed}"
            )


def _look(base: Any, kind: str, n_states: int, spec: Any) -> dict[str, Any]:
    """Returns labels and views of the environments that are known, and a picture where one can be drawn."""
    labels, words = _factors_and_words(base, kind, n_states)
    views = (
        {}
        if words is None
        else {"text": View(text_space(), lambda states: [words(int(s)) for s in np.asarray(states)])}
    )
    can_draw = (
        "rgb_array" in getattr(base, "metadata", {}).get("render_modes", ()) and hasattr(base, "s")
    ) or kind in _ACTION_NAMES
    if can_draw and spec is not None and importlib.util.find_spec("pygame") is not None:
        views["rgb"] = _pictures(spec)
    return {"labels": labels, "views": views}


def _factors_and_words(base: Any, kind: str, n_states: int) -> tuple[dict[str, AnyArray], Callable[[int], str] | None]:
    states = np.arange(n_states)
    if kind == "FrozenLakeEnv":
        row, column = divmod(states, base.ncol)
        what = {b"S": "at the start", b"F": "on the ice", b"H": "in a hole", b"G": "at the goal"}
        tiles = [what.get(bytes(tile), "on the ice") for tile in base.desc.ravel()]
        goals = _places(np.flatnonzero(base.desc.ravel() == b"G"), base.ncol)
        size = f"a lake of {base.nrow} rows and {base.ncol} columns"
        return (
            {"row": row, "column": column},
            lambda s: (
                f"You are at row {row[s] + 1}, column {column[s] + 1} of {size}, {tiles[s]}. The goal is at {goals}."
            ),
        )
    if kind == "CliffWalkingEnv":
        height, width = base.shape
        row, column = divmod(states, width)
        return (
            {"row": row, "column": column},
            lambda s: (
                f"You are at row {row[s] + 1}, column {column[s] + 1} of {height} rows and {width} columns. The goal "
                f"is at row {height}, column {width}; the cells between it and the start at row {height}, column 1 are "
                "a cliff."
            ),
        )
    if kind == "TaxiEnv":
        row, column, passenger, destination = np.unravel_index(states, (5, 5, 5, 4))
        stands = [f"{name} (row {r + 1}, column {c + 1})" for name, (r, c) in zip(_STANDS, base.locs, strict=True)]
        labels = {"row": row, "column": column, "passenger": passenger, "destination": destination}
        return (
            labels,
            lambda s: (
                f"The taxi is at row {row[s] + 1}, column {column[s] + 1}. The passenger "
                + ("sits in the taxi" if passenger[s] == 4 else f"waits at {stands[passenger[s]]}")
                + f" and wants to go to {stands[destination[s]]}."
            ),
        )
    return {}, None


def _places(cells: AnyArray, width: int) -> str:
    return " and ".join(f"row {cell // width + 1}, column {cell % width + 1}" for cell in cells) or "no cell"


def _pictures(spec: Any) -> View:
    @functools.cache
    def painter() -> gymnasium.Env[Any, Any]:
        env = bare(gymnasium.make(spec, render_mode="rgb_array", disable_env_checker=True))
        env.reset(seed=0)
        return env

    def rows(states: AnyArray) -> AnyArray:
        base: Any = painter().unwrapped
        out = np.zeros((len(states), SIZE, SIZE, 3), dtype=np.uint8)
        for i, state in enumerate(np.asarray(states).tolist()):
            base.s, base.lastaction = state, None
            out[i] = fitted(base.render())
        return out

    return View(picture_space(), rows)
