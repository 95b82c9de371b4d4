"""The list of algorithms: every recipe and piece with what it credits, needs and costs, from their own headers."""

from __future__ import annotations

from credit_envs.piece import PRIVILEGED, SLOTS, Piece
from credit_envs.recipes import PIECES, PRESETS
from credit_envs.recipes.catalogue import checks
from credit_envs.report.terminal import listing, terminal

_TITLES = {
    "plan": "Rollout plans: which rollouts are drawn",
    "reward": "Reward models: what they are paid",
    "advantage": "Advantage estimators: credit of every step",
    "weight": "Token weightings: factors on the credit",
    "loss": "Policy losses: how credit becomes an update",
}


def print_algorithms() -> None:
    """Prints the recipes, then the pieces slot by slot."""
    from rich.markup import escape

    console = terminal()
    presets = listing("Recipes of several pieces")
    presets.add_column("recipe", no_wrap=True)
    presets.add_column("pieces")
    for name, parts in PRESETS.items():
        presets.add_row(name, parts.replace("+", " + "))
    console.print(presets)
    console.print()
    passed = checks()
    for slot in SLOTS:
        table = listing(_TITLES[slot])
        table.add_column("piece", no_wrap=True, min_width=max(map(len, PIECES)))
        for name in ("per", "γ", "needs and costs", "status", "source"):
            table.add_column(name)
        for piece in (p for p in PIECES.values() if p.slot == slot):
            gamma = "" if piece.gamma is None else f"{piece.gamma:g}"
            status = f"{piece.status}, {passed[piece.name]} tests" if piece.name in passed else piece.status
            table.add_row(piece.name, piece.granularity, gamma, _needs(piece), status, escape(piece.source))
        console.print(table)
        console.print()
    console.print(
        "Pieces of different slots combine: credit-envs evaluate tree_grpo+vppo. What a slot is not given: groups, the\n"
        "environment's reward, grpo, no weights, reinforce. * hands out truth that no real system has.",
        markup=False,
    )


def _needs(piece: Piece) -> str:
    parts = [f"{need}*" if need in PRIVILEGED else need for need in piece.needs]
    parts += [f"label {wanted.replace('|', ' or ')}" for wanted in piece.requires]
    if piece.note:
        parts.append(piece.note)
    return ", ".join(parts) or "–"
