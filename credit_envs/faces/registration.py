"""Registers every environment of the registry with Gymnasium."""

from __future__ import annotations

import gymnasium

from credit_envs.registry import ENTRIES

TABLE_ID = "credit/Table-v0"
"""Plays any table: ``gymnasium.make(TABLE_ID, table=...)`` with a ``TabularMDP`` or the path of a stored one."""

_ENTRY = "credit_envs.faces.entry"


def register_all() -> None:
    """Registers all ids that are not registered yet; nothing is built or compiled."""
    for entry in ENTRIES:
        if entry.id not in gymnasium.registry:
            gymnasium.register(
                entry.id, f"{_ENTRY}:make", vector_entry_point=f"{_ENTRY}:make_vec", kwargs={"source": entry.id}
            )
    if TABLE_ID not in gymnasium.registry:
        gymnasium.register(TABLE_ID, f"{_ENTRY}:make_from", vector_entry_point=f"{_ENTRY}:make_vec_from")
