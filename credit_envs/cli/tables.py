"""Tables that commands are asked for: registered ids with knobs, or saved files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from credit_envs import registry
from credit_envs.errors import CreditEnvsError
from credit_envs.table.mdp import TabularMDP


def table_of(env_id: str, knobs: Sequence[str], instance: int = 0) -> TabularMDP:
    """Builds a registered table, or loads a saved one.

    Args:
        env_id: id, or path of a saved table (.npz).
        knobs: knobs and dials, as ``NAME=VALUE``.
        instance: instance seed of a family.

    Raises:
        CreditEnvsError: for an unknown id or knob, or a file that is not there.
    """
    settings = registry.settings(knobs)
    if not env_id.endswith(".npz"):
        return registry.make_table(env_id, instance, **settings)
    from credit_envs import dials
    from credit_envs.table.storage import load

    return dials.apply(load(existing(env_id)), **settings)


def existing(path: str) -> str:
    """Returns the path of a saved table.

    Raises:
        CreditEnvsError: if there is no such file.
    """
    if not Path(path).is_file():
        raise CreditEnvsError(f"environment {path!r}: there is no such file")
    return path
