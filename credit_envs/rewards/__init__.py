"""Reward models: what rollouts are paid, one file each, one line each in :data:`REWARDS`."""

from __future__ import annotations

from credit_envs.piece import Piece
from credit_envs.rewards import overlong

REWARDS: tuple[Piece, ...] = (
    Piece("overlong", overlong.overlong, "trajectory", "Yu et al. 2025, arXiv 2503.14476", slot="reward"),
)
"""Every reward. Adding one: a file beside this one, and a line here."""

__all__ = ["REWARDS"]
