"""Token weightings: where an update looks, one file each, one line each in :data:`WEIGHTS`."""

from __future__ import annotations

from credit_envs.piece import Piece

WEIGHTS: tuple[Piece, ...] = ()
"""Every weight. Adding one: a file beside this one, and a line here."""

__all__ = ["WEIGHTS"]
