"""Making the environment that is to be imported, and reading its limits."""

from __future__ import annotations

import re
import warnings
from typing import Any

import gymnasium
from gymnasium.wrappers import TimeLimit

from credit_envs.errors import CreditEnvsError, check_range, unknown
from credit_envs.importers.presets import import_for_id
from credit_envs.importers.snapshot import STANDARD_WRAPPERS

# Taxi-v4 only repaired is_rainy and fickle_passenger; without them it is Taxi-v3, and no Gymnasium has both.
_SAME_WHEN_PLAIN = {"Taxi-v3": "Taxi-v4", "Taxi-v4": "Taxi-v3"}


def made(env: str | gymnasium.Env[Any, Any], make_kwargs: dict[str, Any]) -> gymnasium.Env[Any, Any]:
    """Returns an environment: the given one, or the one that Gymnasium makes for an id.

    An id without version means the newest version that is installed.

    Raises:
        CreditEnvsError: if the id is unknown, the environment refuses the arguments, or arguments come without an id.
        MissingExtraError: if the package that registers the id is not installed.
    """
    if isinstance(env, gymnasium.Env):
        if make_kwargs:
            raise CreditEnvsError(
                f"{next(iter(make_kwargs))}={next(iter(make_kwargs.values()))!r}: only allowed with an id"
            )
        return env
    if not isinstance(env, str):
        raise CreditEnvsError(f"env={env!r}: expected a Gymnasium id or an environment, got {type(env).__name__}")
    import_for_id(env)
    env_id = _installed(env, plain=not make_kwargs)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return gymnasium.make(env_id, disable_env_checker=True, **make_kwargs)
    except TypeError as error:
        raise CreditEnvsError(f"{env_id} does not accept {make_kwargs}: {error}") from error


def _installed(env_id: str, plain: bool) -> str:
    registered = gymnasium.registry
    if env_id in registered:
        return env_id
    if plain and _SAME_WHEN_PLAIN.get(env_id) in registered:
        return _SAME_WHEN_PLAIN[env_id]
    versions = [name for name in registered if re.fullmatch(re.escape(env_id) + r"-v\d+", name)]
    if versions:
        return max(versions, key=lambda name: int(name.rsplit("-v", 1)[1]))
    raise unknown("Gymnasium id", env_id, registered)


def bare(env: gymnasium.Env[Any, Any]) -> gymnasium.Env[Any, Any]:
    """Takes off the outer wrappers that ``gymnasium.make`` added."""
    while isinstance(env, STANDARD_WRAPPERS):
        env = env.env
    return env


def step_limit(env: gymnasium.Env[Any, Any]) -> int | None:
    """Returns after how many steps the environment as made is truncated, None if never."""
    limits = [] if env.spec is None or env.spec.max_episode_steps is None else [env.spec.max_episode_steps]
    while isinstance(env, gymnasium.Wrapper):
        if isinstance(env, TimeLimit):
            limits.append(env._max_episode_steps)
        env = env.env
    return min(limits, default=None)


def checked_horizon(horizon: int) -> int:
    """Returns the horizon as an integer.

    Raises:
        CreditEnvsError: unless it is an integer from 1 to 10**9.
    """
    check_range("horizon", horizon, 1, 10**9, integer=True)
    return int(horizon)


def discrete_actions(env: gymnasium.Env[Any, Any]) -> int:
    """Returns the number of actions.

    Raises:
        CreditEnvsError: if the action space is not Discrete.
    """
    space = env.action_space
    if not isinstance(space, gymnasium.spaces.Discrete):
        raise CreditEnvsError(f"action space {space}: expected Discrete; a table needs finitely many numbered actions")
    return int(space.n)
