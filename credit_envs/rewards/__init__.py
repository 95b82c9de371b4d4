"""Reward models: what rollouts are paid, one file each, one line each in :data:`REWARDS`."""

from __future__ import annotations

import functools

from credit_envs.piece import Piece
from credit_envs.rewards import agent_prm, implicit, information, inverse_prm, outcome, overlong, turns, verifier

_ORM = "Cobbe et al. 2021, arXiv 2110.14168"
_PRM, _ISTAR = "Choudhury 2025, arXiv 2502.10325", "Liu et al. 2025, arXiv 2509.19199"
_TURNS, _PAYING = "Zeng et al. 2025, arXiv 2505.11821", (turns.REQUIRES,)
_MIG, _IGPO, _INFO = "arXiv 2602.01034", "Wang et al. 2025, arXiv 2510.14967", information.REQUIRES
_some = functools.partial

REWARDS: tuple[Piece, ...] = (
    Piece("outcome_model", outcome.outcome_model, "trajectory", _ORM, slot="reward", note="1 model call per rollout"),
    Piece(
        "outcome_model_anchor",
        _some(outcome.outcome_model, identity="anchor"),
        "trajectory",
        _ORM,
        slot="reward",
        note="1 model call per rollout",
    ),
    Piece("agent_prm_q", agent_prm.agent_prm_q, "step", _PRM, gamma=0.95, slot="reward", model_calls=1),
    Piece(
        "agent_prm_q_anchor",
        _some(agent_prm.agent_prm_q, identity="anchor"),
        "step",
        _PRM,
        gamma=0.95,
        slot="reward",
        model_calls=1,
    ),
    Piece(
        "agent_prm_q_shaped",
        _some(agent_prm.agent_prm_q, target="shaped"),
        "step",
        _PRM,
        "reconstruction",
        0.95,
        slot="reward",
        model_calls=1,
    ),
    Piece(
        "inverse_prm_q",
        inverse_prm.inverse_prm_q,
        "step",
        _PRM,
        "reconstruction",
        0.95,
        slot="reward",
        note="demonstrations",
        model_calls=1,
    ),
    Piece(
        "inverse_prm_dense",
        _some(inverse_prm.inverse_prm_q, dense=True),
        "step",
        _PRM,
        "reconstruction",
        0.95,
        slot="reward",
        note="demonstrations; outcomes are not seen",
        model_calls=1,
    ),
    Piece(
        "implicit",
        implicit.implicit,
        "step",
        _ISTAR,
        "reconstruction",
        slot="reward",
        note="a second policy, trained on the batch",
        model_calls=1,
    ),
    Piece(
        "implicit_soft",
        _some(implicit.implicit, soft=True),
        "step",
        f"ours, after {_ISTAR}",
        "ours",
        slot="reward",
        note="a second policy, trained on the batch",
        model_calls=1,
    ),
    Piece(
        "verifier",
        verifier.verifier,
        "step",
        "ours, after Lightman et al. 2023, arXiv 2305.20050",
        "ours",
        slot="reward",
        note="256 true labels, a tenth of them wrong",
        model_calls=1,
    ),
    Piece("overlong", overlong.overlong, "trajectory", "Yu et al. 2025, arXiv 2503.14476", slot="reward"),
    Piece("turn_rewards", turns.turn_rewards, "turn", _TURNS, slot="reward", requires=_PAYING),
    Piece("turn_rewards_merged", turns.turn_rewards_merged, "trajectory", _TURNS, slot="reward", requires=_PAYING),
    Piece("turn_rewards_beside", turns.turn_rewards_beside, "turn", _TURNS, slot="reward", requires=_PAYING),
    Piece(
        "turn_rewards_potential",
        _some(turns.turn_rewards, potential=True),
        "turn",
        f"after {_TURNS}",
        "ours",
        slot="reward",
        requires=_PAYING,
    ),
    Piece(
        "mig_gain", information.mig_gain, "turn", _MIG, "reconstruction", slot="reward", requires=_INFO, model_calls=1
    ),
    Piece(
        "mig_gain_as_told",
        _some(information.mig_gain, kind="increments"),
        "turn",
        f"under {_MIG}",
        "as told",
        slot="reward",
        requires=_INFO,
        model_calls=1,
    ),
    Piece(
        "mig_gain_policy",
        information.mig_gain_policy,
        "turn",
        f"{_MIG}; by exact values",
        "reconstruction",
        slot="reward",
        model_calls=1,
    ),
    Piece("igpo_gain", information.igpo_gain, "turn", _IGPO, slot="reward", requires=_INFO, model_calls=1),
    Piece(
        "igpo_gain_log",
        _some(information.igpo_gain, log=True),
        "turn",
        f"{_IGPO}; released option",
        slot="reward",
        requires=_INFO,
        model_calls=1,
    ),
    Piece(
        "igpo_gain_policy",
        information.igpo_gain_policy,
        "turn",
        f"{_IGPO}; by exact values",
        slot="reward",
        model_calls=1,
    ),
)
"""Every reward. Adding one: a file beside this one, and a line here."""

__all__ = ["REWARDS"]
