"""Rollout plans: which rollouts are drawn, one file each, one line each in :data:`PLANS`."""

from __future__ import annotations

from credit_envs.piece import Piece
from credit_envs.plans import groups

PLANS: tuple[Piece, ...] = (Piece("groups", groups.groups, "group", "Shao et al. 2024, arXiv 2402.03300", slot="plan"),)
"""Every plan. Adding one: a file beside this one, and a line here."""

__all__ = ["PLANS"]
