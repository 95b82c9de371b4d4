"""What may stand in one slot together (section 29 of the specification), and why the rest may not."""

from __future__ import annotations

from collections.abc import Mapping

from credit_envs.errors import CreditEnvsError
from credit_envs.piece import Piece

TOGETHER: Mapping[frozenset[str], str] = {
    frozenset({"tree_grpo", "gigpo"}): "tree_gigpo",
    frozenset({"gigpo", "mig_stepwise"}): "gigpo_mig",
    frozenset({"vineppo", "prm_advantage"}): "prm_baseline",
}
"""Pairs of advantage estimators → the piece that stands for both."""

REWARDS_TOGETHER: frozenset[frozenset[str]] = frozenset({frozenset({"search_p1", "critique_reward"})})
"""Pairs of reward models that commute, because they pay different rollouts."""

_RATIOS = "both define the importance ratio: SSPO one per rollout, SORL one per turn"

REFUSED: Mapping[frozenset[str], str] = {
    frozenset({"sspo", "sorl"}): _RATIOS,
    frozenset({"sspo_sigmoid", "sorl"}): _RATIOS,
}
"""Pairs that are refused with a reason of their own."""

_REASONS = {
    "plan": "both say which rollouts are drawn",
    "reward": "both say what rollouts are paid, and no rule says in which order",
    "advantage": "both say what a step's credit is",
    "loss": "both say how credit becomes an update",
}


def merged(slot: str, pieces: tuple[Piece, ...]) -> list[Piece]:
    """Returns what stands in a slot; weights multiply, so any number of them may.

    Args:
        slot: the slot.
        pieces: all pieces in it, in the order of their names.

    Raises:
        CreditEnvsError: for two that don't go together, with the reason.
    """
    if len(pieces) < 2 or slot == "weight":
        return list(pieces)
    names = [piece.name for piece in pieces]
    if slot == "advantage" and frozenset(names) in TOGETHER:
        from credit_envs.recipes.catalogue import piece

        return [piece(TOGETHER[frozenset(names)])]
    pairs = [frozenset({a, b}) for i, a in enumerate(names) for b in names[i + 1 :]]
    if slot == "reward" and all(pair in REWARDS_TOGETHER for pair in pairs):
        return list(pieces)
    for pair in pairs:
        if pair not in REWARDS_TOGETHER:
            a, b = sorted(pair)
            raise CreditEnvsError(f"recipe: {a} and {b} cannot be combined: {REFUSED.get(pair, _REASONS[slot])}")
    raise CreditEnvsError(f"recipe: {', '.join(names)} cannot be combined: {_REASONS[slot]}")
