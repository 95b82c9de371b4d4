"""Entry points: what ``gymnasium.make`` and ``gymnasium.make_vec`` call."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gymnasium.vector import AutoresetMode

from credit_envs.errors import CreditEnvsError, UnexpectedArgumentError
from credit_envs.faces.single import TabularEnv
from credit_envs.faces.truth import OracleInfo
from credit_envs.faces.vector import TabularVectorEnv
from credit_envs.registry import entry, make_table
from credit_envs.table.mdp import TabularMDP
from credit_envs.table.storage import load

Source = str | os.PathLike[str] | TabularMDP
"""An environment id, the path of a stored table (``.npz``), or a table."""


def make(
    source: Source,
    instance: int = 0,
    fresh: bool = False,
    observation: str | None = None,
    render_mode: str | None = None,
    oracle_info: OracleInfo = False,
    restore: str = "free",
    anchor_info: bool = False,
    **knobs: Any,
) -> TabularEnv:
    """Makes a single environment.

    Args:
        source: an environment id, the path of a stored table (``.npz``), or a table.
        instance: instance seed of a family.
        fresh: whether every reset builds the layout of a new instance seed, drawn from the episode's seed.
        observation: view; default: the registered one.
        render_mode: see :class:`TabularEnv`.
        oracle_info: see :class:`TabularEnv`.
        restore: see :class:`TabularEnv`.
        anchor_info: see :class:`TabularEnv`.
        **knobs: family knobs, importer arguments and dials.

    Raises:
        CreditEnvsError: for unknown ids, knobs, views and modes (with the nearest names), and values out of range.
    """
    build: Callable[[int], TabularMDP] | None = None
    if fresh:
        if not isinstance(source, str) or _is_path(source):
            raise CreditEnvsError("fresh=True: a stored table has one layout; name a registered family")
        name = source

        def build(seed: int) -> TabularMDP:
            return make_table(name, instance=seed, **knobs)

    table = _table(source, instance, knobs)
    view = observation or _default_view(source)
    return TabularEnv(table, view, render_mode, oracle_info, restore, anchor_info, fresh=build)


def make_vec(
    source: Source,
    num_envs: int = 1,
    instance: int = 0,
    observation: str | None = None,
    autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
    max_episode_steps: int | None = None,
    render_mode: str | None = None,
    anchor_info: bool = False,
    **knobs: Any,
) -> TabularVectorEnv:
    """Makes a vector environment.

    Args:
        source: an environment id, the path of a stored table (``.npz``), or a table.
        num_envs: number of environments.
        instance: instance seed of a family.
        observation: view; default: the registered one.
        autoreset_mode: see :class:`TabularVectorEnv`.
        max_episode_steps: see :class:`TabularVectorEnv`.
        render_mode: see :class:`TabularVectorEnv`.
        anchor_info: see :class:`TabularVectorEnv`.
        **knobs: family knobs, importer arguments and dials.

    Raises:
        CreditEnvsError: as :func:`make`; also for what only the single environment offers.
    """
    for name in ("fresh", "oracle_info", "restore"):
        if knobs.pop(name, False):
            raise CreditEnvsError(f"{name}: only single environments offer this; pass vectorization_mode='sync'")
    view = observation or _default_view(source)
    table = _table(source, instance, knobs)
    return TabularVectorEnv(table, num_envs, view, autoreset_mode, max_episode_steps, render_mode, anchor_info)


def make_from(table: Source | None = None, **kwargs: Any) -> TabularEnv:
    """Entry point of ``credit/Table-v0``: like :func:`make`, for a table or the path of one."""
    return make(_given(table), **kwargs)


def make_vec_from(table: Source | None = None, **kwargs: Any) -> TabularVectorEnv:
    """Vector entry point of ``credit/Table-v0``: like :func:`make_vec`, for a table or the path of one."""
    return make_vec(_given(table), **kwargs)


def _given(table: Source | None) -> Source:
    if table is None:
        raise CreditEnvsError("table=None: expected a TabularMDP or the path of a stored one")
    return table if isinstance(table, TabularMDP) else Path(table)


def _is_path(source: Source) -> bool:
    return isinstance(source, os.PathLike) or (isinstance(source, str) and source.endswith(".npz"))


def _table(source: Source, instance: int, knobs: dict[str, Any]) -> TabularMDP:
    try:
        return _built(source, instance, knobs)
    except CreditEnvsError as error:
        # TorchRL, for one, tries ``frameskip`` and does without it where it meets these words.
        stranger = next(
            (name for name in knobs if str(error).startswith("unknown ") and f" {name!r};" in str(error)), None
        )
        if stranger is None:
            raise
        raise UnexpectedArgumentError(f"{error} (unexpected keyword argument {stranger!r})") from error


def _built(source: Source, instance: int, knobs: dict[str, Any]) -> TabularMDP:
    if isinstance(source, str) and not _is_path(source):
        return make_table(source, instance=instance, **knobs)
    if instance != 0:
        raise CreditEnvsError(f"instance={instance}: a stored table has one layout, expected 0")
    table = source if isinstance(source, TabularMDP) else load(source)
    if not knobs:
        return table
    from credit_envs import dials

    return dials.apply(table, **knobs)


def _default_view(source: Source) -> str:
    return entry(source).observation if isinstance(source, str) and not _is_path(source) else "state"


for _point in (make, make_from):
    # Gymnasium reads the render modes off the entry point, and then offers their ``_list`` forms too.
    setattr(_point, "metadata", TabularEnv.metadata)  # noqa: B010 (type checkers refuse attributes of functions)
