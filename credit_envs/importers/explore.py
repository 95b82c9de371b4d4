"""Tables of environments that can only be stepped, MiniGrid's for instance, by exhaustive exploration."""

from __future__ import annotations

import contextlib
import enum
import json
import time
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from credit_envs.arrays import AnyArray, Floats
from credit_envs.errors import CreditEnvsError, NotEnumerableError, check_range
from credit_envs.importers.checkpoint import load_search, save_search
from credit_envs.importers.making import bare, checked_horizon, discrete_actions, made, step_limit
from credit_envs.importers.observations import shown_space, stack
from credit_envs.importers.pictures import SIZE, Replay, picture_view
from credit_envs.importers.presets import Preset, preset_for
from credit_envs.importers.progress import progress_line
from credit_envs.importers.search import LimitReachedError, Search
from credit_envs.table.build import from_outcomes
from credit_envs.table.emission import Emission
from credit_envs.table.mdp import TabularMDP
from credit_envs.table.view import View, stored_view, text_space

_SAVE_EVERY_SECONDS = 60.0
_PICTURE_BYTES = 1 << 28


def import_gymnasium(
    env: str | gymnasium.Env[Any, Any],
    *,
    clock: str | None = None,
    max_states: int = 1_000_000,
    max_seconds: float | None = None,
    checkpoint: str | Path | None = None,
    progress: bool = True,
    horizon: int | None = None,
    seed: int = 0,
    seeds: Sequence[int] | None = None,
    observations: bool = True,
    pictures: bool | None = None,
    ignore: Collection[str] = (),
    **make_kwargs: Any,
) -> TabularMDP:
    """Explores a deterministic environment with Discrete actions into a table.

    The state is everything the environment object holds (see :class:`credit_envs.importers.snapshot.Snapshots`), the
    start is the state after ``reset(seed=...)``. A limit on the number of steps, which truncates the original,
    *terminates* the table's episodes, as everywhere in this package. States that look alike share an observation id;
    ``views`` gets ``original`` (the environment's own observation), ``text`` for MiniGrid, and ``rgb``. The text is a
    function of the observation, the picture of the state.

    Args:
        env: a Gymnasium id, or an environment (which is reset and stepped).
        clock: attribute of ``env.unwrapped`` that counts steps. It is left out of the state, and verified at the first,
            middle and last step on the first 25 states, every 100th, and up to 300 rewarding edges: same successor,
            same end, same observation, reward ``u[t] * r``. MiniGrid's is known.
        max_states: give up beyond this many states.
        max_seconds: give up after this time.
        checkpoint: file that keeps what was found, whenever the search stops and every minute; an existing one is
            resumed.
        progress: show a progress line on terminals, after two seconds.
        horizon: number of steps of an episode; default: the environment's own limit.
        seed: reset seed of the start state.
        seeds: several reset seeds instead: one context per distinct start state, weighted by how many seeds lead to it.
        observations: whether the original's observations are kept; without them a state looks like its number.
        pictures: whether to add the ``rgb`` view; None: if all pictures together take at most 256 MiB.
        ignore: attributes that are no part of the state.
        **make_kwargs: arguments of ``gymnasium.make``, with an id only.

    Raises:
        NotEnumerableError: if the environment draws random numbers, its observation is not a function of the state, the
            step counter matters beyond a factor on the rewards, or a limit is reached; the message carries the
            evidence.
        CreditEnvsError: for unknown ids, other action spaces, or no known horizon.
        MissingExtraError: if MiniGrid is asked for and not installed.
    """
    seeds = [seed] if seeds is None else [int(s) for s in seeds]
    if not seeds:
        raise CreditEnvsError("seeds=(): expected at least one reset seed")
    check_range("max_states", max_states, 1, 2**31 - 2, integer=True)
    if max_seconds is not None:
        check_range("max_seconds", max_seconds, 0, float("inf"))
    original = made(env, make_kwargs)
    discrete_actions(original)
    stepped = bare(original)
    preset = preset_for(stepped)
    clock = clock or preset.clock
    observation, _ = stepped.reset(seed=seeds[0])
    horizon = _horizon(original, preset, horizon)
    space = shown_space(stepped.observation_space, observation) if observations else None
    name = original.spec.id if original.spec is not None else type(original.unwrapped).__name__
    search = Search(stepped, seeds, horizon, clock, preset, ignore, observations)
    path = None if checkpoint is None else Path(checkpoint)
    task = {
        "name": name,
        "make": repr(sorted(make_kwargs.items())),
        "wrappers": str(stepped),
        "seeds": seeds,
        "horizon": horizon,
        "clock": clock,
        "ignore": sorted(ignore),
        "observations": observations,
    }
    task = json.loads(json.dumps(task))
    if path is not None and path.exists():
        load_search(search, path, task, space)
    with progress_line(f"exploring {name}", progress) as tell, _kept(search, path, task, space) as keep:

        def told(done: int, found: int) -> None:
            tell(done, found)
            keep()

        search.run(max_states, max_seconds, told)
    shown = _views(search, space)
    size = len(search.keys) * 3 * SIZE * SIZE
    if pictures or (pictures is None and size <= _PICTURE_BYTES):
        shown |= _pictures(env, make_kwargs, original, search, ignore)
    return _table(name, search, shown)


def _horizon(env: gymnasium.Env[Any, Any], preset: Preset, horizon: int | None) -> int:
    limits = [
        limit for limit in (step_limit(env), getattr(env.unwrapped, preset.limit or "", None)) if limit is not None
    ]
    limit = None if not limits else int(min(limits))
    if horizon is None and limit is None:
        raise CreditEnvsError(
            f"horizon=None: {type(env.unwrapped).__name__} has no step limit of its own; pass horizon="
        )
    found = checked_horizon(limit if horizon is None else horizon)  # type: ignore[arg-type]
    if limit is not None and found > limit:
        raise CreditEnvsError(
            f"horizon={horizon}: the environment itself stops after {limit} steps, expected at most that"
        )
    return found


@contextlib.contextmanager
def _kept(search: Search, path: Path | None, task: dict[str, Any], space: gymnasium.Space[Any] | None) -> Iterator[Any]:
    """Saves the search on every way out, and now and then before; the yielded function is called between states."""
    if path is None:
        try:
            yield lambda: None
        except LimitReachedError as error:
            raise LimitReachedError(
                f"{error}; raise the limit (checkpoint= keeps what was found), or import a smaller instance"
            ) from None
        return
    last = time.monotonic()

    def keep() -> None:
        nonlocal last
        if time.monotonic() - last > _SAVE_EVERY_SECONDS:
            save_search(search, path, task, space)
            last = time.monotonic()

    try:
        yield keep
    except LimitReachedError as error:
        save_search(search, path, task, space)
        raise LimitReachedError(
            f"{error}; raise the limit and run it again with checkpoint={str(path)!r} to go on"
        ) from None
    except KeyboardInterrupt as error:
        save_search(search, path, task, space)
        error.add_note(f"{search.head} states are done and kept; run it again with checkpoint={str(path)!r} to go on")
        raise
    save_search(search, path, task, space)


def _table(name: str, search: Search, views: dict[str, View]) -> TabularMDP:
    n_states, n_actions = len(search.keys), search.n_actions
    queue = np.array(search.queue)
    reward, scale = _rewards(search)
    factors = np.array(search.factors, dtype=np.int64).reshape(n_states, -1)
    starts = Counter(search.roots)
    return from_outcomes(
        name,
        n_states,
        n_actions,
        {
            "state": np.repeat(queue, n_actions),
            "action": np.tile(np.arange(n_actions), queue.size),
            "successor": np.array(search.successor),
            "probability": np.ones(len(search.successor)),
            "reward": reward,
            "terminal": np.array(search.ends, dtype=bool),
        },
        start={state: count / len(search.roots) for state, count in starts.items()},
        horizon=search.horizon,
        reward_scale=scale,
        action_names=_action_names(search.base, n_actions),
        labels={label: factors[:, i] for i, label in enumerate(search.preset.factor_names)},
        emission=Emission(np.array(search.row, dtype=np.int32)) if search.observations else None,
        views=views,
    )


def _rewards(search: Search) -> tuple[Floats, Floats | None]:
    """Returns r per edge and u per step, such that ``u[t] * r`` is bit for bit what the original paid."""
    paid = np.array(search.reward, dtype=np.float64)
    if search.scale is None:
        return paid, None
    scale = np.array(search.scale, dtype=np.float64)
    reward = paid / scale[0]
    wrong = np.flatnonzero(reward * scale[0] != paid)
    if wrong.size:
        raise NotEnumerableError(
            f"{type(search.base).__name__}: reward {paid[wrong[0]]!r} is no multiple of {scale[0]!r}"
        )
    return reward, scale


def _action_names(base: Any, n_actions: int) -> tuple[str, ...]:
    """Returns the names of an enumeration ``actions`` that numbers all actions from 0, nothing otherwise."""
    actions: Any = getattr(base, "actions", None)
    members: list[Any] = list(actions) if isinstance(actions, enum.EnumMeta) else []
    numbered = [member.value for member in members] == list(range(n_actions))
    return tuple(member.name for member in members) if numbered else ()


def _views(search: Search, space: gymnasium.Space[Any] | None) -> dict[str, View]:
    if space is None:
        return {}
    columns, row = stack(space, search.rows), np.array(search.row)
    stored = stored_view(space, columns)
    views = {"original": View(space, lambda states: stored.rows(row[np.asarray(states)]))}
    words = search.preset.words
    if words is not None:

        def said(states: AnyArray) -> list[str]:
            rows, which = np.unique(row[np.asarray(states)], return_inverse=True)
            spoken = [words(columns, int(i)) for i in rows]
            return [spoken[i] for i in which]

        views["text"] = View(text_space(), said)
    return views


def _pictures(
    env: str | gymnasium.Env[Any, Any],
    make_kwargs: dict[str, Any],
    original: gymnasium.Env[Any, Any],
    search: Search,
    ignore: Collection[str],
) -> dict[str, View]:
    """Returns the ``rgb`` view, nothing where the environment cannot be made once more to draw pictures."""
    if "rgb_array" not in original.metadata.get("render_modes", ()) or (not isinstance(env, str) and env.spec is None):
        return {}

    def remake() -> gymnasium.Env[Any, Any]:
        if isinstance(env, str):
            return bare(made(env, {**make_kwargs, "render_mode": "rgb_array"}))
        assert env.spec is not None
        return bare(gymnasium.make(env.spec, render_mode="rgb_array", disable_env_checker=True))

    replay = Replay(
        seeds=tuple(search.seeds),
        parent=np.array(search.parent),
        via=np.array(search.via),
        first_action=search.first_action,
        clock=search.clock,
        ignore=tuple(ignore),
    )
    return {"rgb": picture_view(remake, replay)}
