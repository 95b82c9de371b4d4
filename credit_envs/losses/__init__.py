"""Policy losses: how credit becomes an update, one file each, one line each in :data:`LOSSES`."""

from __future__ import annotations

from credit_envs.losses import reinforce
from credit_envs.piece import Piece

LOSSES: tuple[Piece, ...] = (Piece("reinforce", reinforce.reinforce, "step", "Williams 1992", slot="loss"),)
"""Every loss. Adding one: a file beside this one, and a line here."""

__all__ = ["LOSSES"]
