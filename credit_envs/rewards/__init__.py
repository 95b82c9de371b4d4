"""Reward models: what rollouts are paid, one file each, one line each in :data:`REWARDS`."""

from __future__ import annotations

from credit_envs.piece import Piece

REWARDS: tuple[Piece, ...] = ()
"""Every reward. Adding one: a file beside this one, and a line here."""

__all__ = ["REWARDS"]
