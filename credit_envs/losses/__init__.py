"""Policy losses: how credit becomes an update, one file each, one line each in :data:`LOSSES`."""

from __future__ import annotations

import functools

from credit_envs.losses import cispo, dpo, gmpo, gspo, loop, ppo, reinforce, sapo, sorl, sspo
from credit_envs.piece import Piece

_some = functools.partial
_GSPO, _LOOP = "Zheng et al. 2025, arXiv 2507.18071", "Chen et al. 2025, arXiv 2502.01600"
_SSPO = "Glazyrina et al. 2026, arXiv 2602.19327"
_grpo = _some(ppo.ppo, mode="seq-mean-token-mean", dual=None)

LOSSES: tuple[Piece, ...] = (
    Piece("reinforce", reinforce.reinforce, "step", "Williams 1992", slot="loss"),
    Piece("ppo", ppo.ppo, "step", "Schulman et al. 2017, arXiv 1707.06347; verl", slot="loss"),
    Piece("grpo_loss", _grpo, "step", "Shao et al. 2024, arXiv 2402.03300, Eq. 3", slot="loss"),
    Piece("grpo_kl_loss", _some(_grpo, beta=0.04), "step", "Shao et al. 2024, Eq. 3–4, β = 0.04", slot="loss"),
    Piece(
        "dr_grpo_loss",
        _some(ppo.ppo, mode="seq-mean-token-sum-norm", dual=None),
        "step",
        "Liu et al. 2025, arXiv 2503.20783",
        slot="loss",
    ),
    Piece("dapo_loss", _some(ppo.ppo, high=0.28, dual=10.0), "step", "Yu et al. 2025, arXiv 2503.14476", slot="loss"),
    Piece("loop_token", loop.loop, "step", _LOOP, slot="loss"),
    Piece("loop_turn", _some(loop.loop, level="turn"), "turn", _LOOP, slot="loss"),
    Piece("loop_trajectory", _some(loop.loop, level="trajectory"), "trajectory", _LOOP, slot="loss"),
    Piece("gspo", gspo.gspo, "trajectory", _GSPO, slot="loss", note="bounds for thousands of tokens"),
    Piece(
        "gspo_wide", _some(gspo.gspo, low=0.2, high=0.2), "trajectory", f"{_GSPO}; PPO's bounds", "ours", slot="loss"
    ),
    Piece(
        "gspo_token",
        gspo.gspo_token,
        "trajectory",
        _GSPO,
        slot="loss",
        note="bounds for thousands of tokens",
    ),
    Piece(
        "gspo_token_wide",
        _some(gspo.gspo_token, low=0.2, high=0.2),
        "trajectory",
        f"{_GSPO}; PPO's bounds",
        "ours",
        slot="loss",
    ),
    Piece("sapo", sapo.sapo, "step", "Gao et al. 2025, arXiv 2511.20347", slot="loss"),
    Piece("gmpo", gmpo.gmpo, "trajectory", "Zhao et al. 2025, arXiv 2507.20673", slot="loss"),
    Piece("cispo", cispo.cispo, "step", "MiniMax 2025, arXiv 2506.13585, Eq. 4–5", slot="loss"),
    Piece("sspo", sspo.sspo, "trajectory", _SSPO, "reconstruction", slot="loss", note="arctan gate"),
    Piece(
        "sspo_sigmoid",
        _some(sspo.sspo, gate="sigmoid"),
        "trajectory",
        _SSPO,
        "reconstruction",
        slot="loss",
        note="sigmoid gate",
    ),
    Piece(
        "sorl",
        sorl.sorl,
        "turn",
        "Li et al. 2025, arXiv 2511.20718",
        "reconstruction",
        slot="loss",
        note="a second backward pass",
    ),
    Piece("dpo", dpo.dpo, "step", "Rafailov et al. 2023, arXiv 2305.18290, Eq. 7", slot="loss", note="rows in pairs"),
    Piece("online_dpo", dpo.online_dpo, "trajectory", "Guo et al. 2024, arXiv 2402.04792", slot="loss"),
)
"""Every loss. Adding one: a file beside this one, and a line here."""

__all__ = ["LOSSES"]
