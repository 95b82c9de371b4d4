"""Advantage estimators: one file per family of methods, one line each in :data:`ADVANTAGES`."""

from __future__ import annotations

import functools

from credit_envs.credit import (
    anchor_graph,
    anchor_mix,
    exact,
    gigpo,
    grpo,
    istar,
    klong,
    monte_carlo,
    mt_grpo,
    prm_baseline,
    tree,
    tree_gigpo,
)
from credit_envs.piece import Piece
from credit_envs.rewards import turns

_GIGPO, _VINE = "Feng et al. 2025, arXiv 2505.10978", "Kazemnejad et al. 2024, arXiv 2410.01679"
_TREE = "Ji et al. 2025, arXiv 2509.21240"
_PRM = "Choudhury 2025, arXiv 2502.10325"
_MT_GRPO, _PAYING = "Zeng et al. 2025, arXiv 2505.11821", (turns.REQUIRES,)
_some = functools.partial

ADVANTAGES: tuple[Piece, ...] = (
    Piece("grpo", grpo.grpo, "trajectory", "Shao et al. 2024, arXiv 2402.03300"),
    Piece("dr_grpo", grpo.dr_grpo, "trajectory", "Liu et al. 2025, arXiv 2503.20783"),
    Piece("rloo", grpo.rloo, "trajectory", "Ahmadian et al. 2024, arXiv 2402.14740"),
    Piece("gigpo", gigpo.gigpo, "step", _GIGPO, gamma=0.95),
    Piece("gigpo_std", _some(gigpo.gigpo, norm_by_std=True), "step", _GIGPO, gamma=0.95),
    Piece("gigpo_similarity", gigpo.gigpo_similarity, "step", _GIGPO, gamma=0.95),
    Piece("gigpo_embedding", gigpo.gigpo_embedding, "step", "no such option in the code", "as told", 0.95),
    Piece("gigpo_key", gigpo.gigpo_key, "step", _GIGPO, gamma=0.95),
    Piece("gigpo_state", gigpo.gigpo_state, "step", f"{_GIGPO}; privileged anchors", gamma=0.95),
    Piece("gigpo_state_time", _some(gigpo.gigpo_state, time=True), "step", f"{_GIGPO}; privileged anchors", gamma=0.95),
    Piece("vineppo_k1", _some(monte_carlo.vineppo, k=1), "step", _VINE, gamma=1.0),
    Piece("vineppo", monte_carlo.vineppo, "step", _VINE, gamma=1.0),
    Piece("return_minus_value", monte_carlo.return_minus_value, "step", "after VinePPO", "ours", 1.0),
    Piece("value_minus_mean", monte_carlo.value_minus_trajectory_mean, "step", "under AgentPRM", "as told", 1.0),
    Piece("anchor_graph", anchor_graph.anchor_graph, "step", "ours", "ours", 1.0),
    Piece("anchor_graph_time", _some(anchor_graph.anchor_graph, time=True), "step", "ours", "ours", 1.0),
    Piece("anchor_graph_state", anchor_graph.anchor_graph_state, "step", "ours; privileged anchors", "ours", 1.0),
    Piece(
        "anchor_graph_state_time",
        _some(anchor_graph.anchor_graph_state, time=True),
        "step",
        "ours; privileged anchors",
        "ours",
        1.0,
    ),
    Piece("tree_grpo", tree.tree_grpo, "trajectory", _TREE),
    Piece("tree_intra", tree.tree_intra, "trajectory", _TREE),
    Piece("tree_inter", tree.tree_inter, "trajectory", _TREE),
    Piece("tree_value", tree.tree_value, "step", f"ours, after {_TREE}", "ours"),
    Piece("tree_value_loo", _some(tree.tree_value, leave_one_out=True), "step", f"ours, after {_TREE}", "ours"),
    Piece("tree_gigpo", tree_gigpo.tree_gigpo, "step", f"{_TREE}; {_GIGPO}", "reconstruction", 0.95),
    Piece("klong", klong.klong, "segment", "Liu et al. 2026, arXiv 2602.17547", "reconstruction"),
    Piece("anchor_graph_mix", anchor_mix.anchor_graph_mix, "step", "ours", "ours", 1.0),
    Piece("istar", istar.istar, "step", "Liu et al. 2025, arXiv 2509.19199"),
    Piece("istar_rloo", _some(istar.istar, norm="rloo"), "step", "released code of arXiv 2509.19199"),
    Piece("prm_baseline", prm_baseline.prm_baseline, "step", f"{_PRM}; {_VINE}", "reconstruction", 1.0, model_calls=1),
    Piece(
        "prm_baseline_anchor",
        _some(prm_baseline.prm_baseline, identity="anchor"),
        "step",
        f"{_PRM}; {_VINE}",
        "reconstruction",
        1.0,
        model_calls=1,
    ),
    Piece("prm_advantage", prm_baseline.prm_advantage, "step", f"ours, after {_PRM}", "ours", 1.0, model_calls=1),
    Piece(
        "prm_advantage_anchor",
        _some(prm_baseline.prm_advantage, identity="anchor"),
        "step",
        f"ours, after {_PRM}",
        "ours",
        1.0,
        model_calls=1,
    ),
    Piece("mt_grpo", mt_grpo.mt_grpo, "segment", f"{_MT_GRPO}; two turns", requires=_PAYING),
    Piece(
        "mt_grpo_segments",
        _some(mt_grpo.mt_grpo, turns=None),
        "segment",
        f"{_MT_GRPO}; K turns on independent rollouts",
        "reconstruction",
        requires=_PAYING,
    ),
    Piece(
        "mt_grpo_turns",
        _some(mt_grpo.mt_grpo, level="turn", turns=None),
        "turn",
        f"{_MT_GRPO}; K turns on independent rollouts",
        "reconstruction",
        requires=_PAYING,
    ),
    Piece(
        "mt_grpo_forked",
        _some(mt_grpo.mt_grpo, turns=3, among="siblings"),
        "segment",
        f"{_MT_GRPO}; three turns",
        requires=_PAYING,
        note="for the plan turn_forks",
    ),
    Piece(
        "mt_grpo_released",
        mt_grpo.mt_grpo_released,
        "segment",
        f"{_MT_GRPO}; released code",
        requires=_PAYING,
    ),
    Piece(
        "turn_return_as_told",
        mt_grpo.turn_return_as_told,
        "step",
        "under turn-level rewards",
        "as told",
        1.0,
        requires=_PAYING,
        note="no baseline",
    ),
    Piece("projected", exact.projected, "step", "oracle"),
    Piece("exact", exact.exact, "step", "oracle"),
)
"""Every advantage estimator. Adding one: a file beside this one, and a line here."""

__all__ = ["ADVANTAGES"]
