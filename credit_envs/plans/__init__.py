"""Rollout plans: which rollouts are drawn, one file each, one line each in :data:`PLANS`."""

from __future__ import annotations

import functools

from credit_envs.piece import Piece
from credit_envs.plans import (
    agent_prm,
    agent_q,
    demonstrations,
    dynamic,
    gc_rl,
    groups,
    inverse_prm,
    klong,
    restarts,
    tree,
    turn_forks,
    uncertainty,
)

_PRM = "Choudhury 2025, arXiv 2502.10325"
_RAGEN, _KLONG = "Wang et al. 2025, arXiv 2504.20073", "Liu et al. 2026, arXiv 2602.17547"
_AGENT_Q = "Putta et al. 2024, arXiv 2408.07199"
_some = functools.partial

PLANS: tuple[Piece, ...] = (
    Piece("groups", groups.groups, "group", "Shao et al. 2024, arXiv 2402.03300", slot="plan"),
    Piece(
        "dynamic_sampling",
        dynamic.dynamic_sampling,
        "group",
        "Yu et al. 2025, arXiv 2503.14476",
        slot="plan",
        note="dropped groups are charged",
    ),
    Piece(
        "uncertainty_filter",
        uncertainty.uncertainty_filter,
        "group",
        _RAGEN,
        slot="plan",
        note="keeps a quarter; dropped groups are charged",
    ),
    Piece(
        "ragen2_top_p",
        _some(uncertainty.uncertainty_filter, strategy="top_p", value=0.9, include_zero=False),
        "group",
        f"{_RAGEN}; code of RAGEN-2",
        slot="plan",
        note="dropped groups are charged",
    ),
    Piece(
        "ragen2_min_p",
        _some(uncertainty.uncertainty_filter, strategy="min_p", value=0.5, include_zero=False),
        "group",
        f"{_RAGEN}; code of RAGEN-2",
        slot="plan",
        note="dropped groups are charged",
    ),
    Piece(
        "trees",
        tree.trees,
        "trajectory",
        "Ji et al. 2025, arXiv 2509.21240",
        slot="plan",
        note="forks at random steps; leaves are no independent rollouts",
    ),
    Piece("klong_windows", klong.klong, "segment", _KLONG, "reconstruction", slot="plan"),
    Piece(
        "klong_early_stage",
        _some(klong.klong, limit=1 / 3),
        "segment",
        _KLONG,
        "reconstruction",
        slot="plan",
        note="cut off after a third of the horizon: credit of a shorter task",
    ),
    Piece(
        "restarts",
        restarts.restarts,
        "group",
        "ours, after Florensa et al. 2017, arXiv 1707.05300",
        "ours",
        slot="plan",
        note="forks at states where returns part; weighs states by that",
    ),
    Piece(
        "with_demonstrations",
        demonstrations.with_demonstrations,
        "group",
        "Yan et al. 2025, arXiv 2504.14945",
        "reconstruction",
        slot="plan",
        note="one rollout per group is a demonstrator's, off-policy",
    ),
    Piece(
        "agent_prm_pairs",
        agent_prm.agent_prm_pairs,
        "step",
        _PRM,
        gamma=0.95,
        slot="plan",
        note="pairs for the loss dpo; two policy calls per state compared",
    ),
    Piece(
        "agent_prm_pairs_anchor",
        _some(agent_prm.agent_prm_pairs, identity="anchor"),
        "step",
        _PRM,
        gamma=0.95,
        slot="plan",
        note="pairs for the loss dpo; two policy calls per state compared",
    ),
    Piece(
        "inverse_prm_pairs",
        inverse_prm.inverse_prm_pairs,
        "step",
        _PRM,
        "reconstruction",
        0.95,
        slot="plan",
        note="pairs for the loss dpo; as many demonstrations as rollouts",
    ),
    Piece(
        "turn_forks",
        turn_forks.turn_forks,
        "group",
        "Zeng et al. 2025, arXiv 2505.11821",
        slot="plan",
        note="forks where turns start; with K turns up to G^(K-1) rollouts per group",
    ),
    Piece(
        "gc_rl",
        gc_rl.gc_rl,
        "group",
        "arXiv 2602.22765",
        slot="plan",
        requires=gc_rl.REQUIRES,
        note="critiques of own solutions beside the solutions",
    ),
    Piece(
        "agent_q_pairs",
        agent_q.agent_q,
        "step",
        _AGENT_Q,
        "reconstruction",
        slot="plan",
        note="forks; pairs for the loss dpo; 4 simulations per rollout; the critic is an oracle, right 4 times in 5",
        model_calls=1,
    ),
    Piece(
        "agent_q_pairs_no_critic",
        _some(agent_q.agent_q, alpha=1.0),
        "step",
        _AGENT_Q,
        "reconstruction",
        slot="plan",
        note="forks; pairs for the loss dpo; 4 simulations per rollout",
    ),
)
"""Every plan. Adding one: a file beside this one, and a line here."""

__all__ = ["PLANS"]
