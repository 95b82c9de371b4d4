"""Token weightings: where an update looks, one file each, one line each in :data:`WEIGHTS`.

Factors multiply credit, and several weights multiply each other: the product of two masks is their intersection.
"""

from __future__ import annotations

import functools

from credit_envs.piece import Piece
from credit_envs.weights import at_rl, chance, high_entropy, vppo

_some = functools.partial
_VPPO, _AT_RL = "Huang et al. 2025, arXiv 2510.09285", "Jiao et al. 2026, arXiv 2602.11455"
_call = "one more policy call per step"

WEIGHTS: tuple[Piece, ...] = (
    Piece("vppo", vppo.vppo, "step", _VPPO, slot="weight", requires=("blind",), note=_call),
    Piece("vppo_mask", vppo.vppo_mask, "step", _VPPO, slot="weight", requires=("blind",), note=_call),
    Piece(
        "vppo_shaping",
        vppo.vppo_shaping,
        "trajectory",
        _VPPO,
        slot="weight",
        requires=("blind",),
        note=_call,
    ),
    Piece(
        "vppo_as_told",
        vppo.vppo_as_told,
        "step",
        "under VPPO",
        "as told",
        slot="weight",
        requires=("blind",),
        note=_call,
    ),
    Piece("at_rl", at_rl.at_rl, "step", _AT_RL, "reconstruction", slot="weight", requires=("visual",)),
    Piece(
        "at_rl_soft",
        _some(at_rl.at_rl, low=0.5),
        "step",
        f"{_AT_RL}, w_low = 0.5",
        "reconstruction",
        slot="weight",
        requires=("visual",),
    ),
    Piece(
        "at_rl_complement",
        _some(at_rl.at_rl, complement=True),
        "step",
        f"{_AT_RL}, its control",
        "reconstruction",
        slot="weight",
        requires=("visual",),
    ),
    Piece("high_entropy", high_entropy.high_entropy, "step", "Wang et al. 2025, arXiv 2506.01939", slot="weight"),
    Piece("random_mask", chance.random_mask, "step", f"{_VPPO}, its control", slot="weight"),
)
"""Every weight. Adding one: a file beside this one, and a line here."""

__all__ = ["WEIGHTS"]
