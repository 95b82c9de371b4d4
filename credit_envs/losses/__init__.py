"""Policy losses: how credit becomes an update, one file each, one line each in :data:`LOSSES`."""

from __future__ import annotations

from credit_envs.losses import dpo, reinforce
from credit_envs.piece import Piece

LOSSES: tuple[Piece, ...] = (
    Piece("reinforce", reinforce.reinforce, "step", "Williams 1992", slot="loss"),
    Piece("dpo", dpo.dpo, "step", "Rafailov et al. 2023, arXiv 2305.18290, Eq. 7", slot="loss", note="rows in pairs"),
    Piece("online_dpo", dpo.online_dpo, "trajectory", "Guo et al. 2024, arXiv 2402.04792", slot="loss"),
)
"""Every loss. Adding one: a file beside this one, and a line here."""

__all__ = ["LOSSES"]
