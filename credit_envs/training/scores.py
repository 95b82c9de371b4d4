"""The credit of agents, scored as the foundation does: each agent's recipe with the options that its file has by default."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from credit_envs.credit.immediate import immediate
from credit_envs.errors import CreditEnvsError
from credit_envs.evaluation import evaluate
from credit_envs.evaluation.config import provenance
from credit_envs.piece import Piece
from credit_envs.plans.agent_prm import agent_prm_pairs
from credit_envs.plans.inverse_prm import inverse_prm_pairs
from credit_envs.recipes import PIECES, Recipe, compose, known
from credit_envs.recipes.catalogue import DEFAULTS
from credit_envs.rewards.mcts import mcts_shaped
from credit_envs.table.storage import write_atomically
from credit_envs.weights.vppo import vppo

PRICE = "simulator"
"""The price list of the scores: environment steps."""

_NAMES: Mapping[str, str] = {
    "vineppo": "vineppo_k1",
    "anchor_graph": "anchor_graph_mix",
    "dapo": "dynamic_sampling+grpo+dapo_loss",
    "mt_grpo": "mt_grpo_segments",
}
_UNSCORED = ("ppo", "mt_ppo")
"""Agents whose credit lives on earlier batches (their critic), of which a score has none."""

_some = functools.partial


def recipe_of(agent: str) -> Recipe | None:
    """Returns the recipe that an agent's file follows by default, None if there is none by its name."""
    if agent in _UNSCORED:
        return None
    if agent == "agent_prm":
        plan = _some(agent_prm_pairs, identity="anchor", gamma=1.0, states=32)
        return compose(agent, [Piece("pairs", plan, slot="plan", note="pairs"), PIECES["dpo"]], DEFAULTS)
    if agent == "inverse_prm":
        plan = _some(inverse_prm_pairs, gamma=1.0, states=32)
        return compose(agent, [Piece("pairs", plan, slot="plan", note="pairs"), PIECES["dpo"]], DEFAULTS)
    if agent == "mcts_prm":
        ahead = Piece("ahead", _some(immediate, lam=0.95))
        return compose(agent, [Piece("shaped", mcts_shaped, slot="reward", model_calls=1), ahead], DEFAULTS)
    if agent == "vppo":
        mask = Piece("mask", _some(vppo, ties=True), slot="weight", requires=("blind",))
        return compose(agent, [PIECES["grpo"], mask], DEFAULTS)
    return known(_NAMES.get(agent, agent))


def score(
    agents: Sequence[str],
    environments: Sequence[str],
    folder: Path,
    budget: int = 20_000,
    seeds: int = 10,
    progress: Callable[[int, int, str], None] | None = None,
) -> Path:
    """Scores the agents' recipes on environments, and writes the GRPO-equivalents as ``_credit.json``.

    Args:
        agents: agents that have a recipe (others are left out).
        environments: ids.
        folder: gets the scores, and an evaluation's own files in ``runs/credit``; what is there is not done again.
        budget: environment steps of a sample.
        seeds: replicates.
        progress: told about every finished cell.

    Returns:
        The file.

    Raises:
        CreditEnvsError: if no agent has a recipe.
    """
    chosen = {agent: found for agent in agents if (found := recipe_of(agent)) is not None}
    if not chosen:
        raise CreditEnvsError(f"agents={tuple(agents)}: none of them has a recipe to score")
    options: dict[str, Any] = {"budget": budget, "seeds": seeds, "match_discount": False}
    results = evaluate(
        list(chosen.values()),
        list(environments),
        output=folder / "runs" / "credit",
        progress=progress,
        **options,
    )
    by_recipe = {found.name: agent for agent, found in chosen.items()}
    scores = [
        {
            "environment": row.environment,
            "policy": row.policy,
            "agent": by_recipe[row.estimator],
            "equivalents": None if (value := row.equivalents[PRICE].value) != value else float(f"{value:.6g}"),
        }
        for row in results.rows
        if row.estimator in by_recipe
    ]
    about = {"price": PRICE, "levels": list(results.config.levels), **options, "provenance": provenance()}
    path = folder / "_credit.json"
    write_atomically(path, json.dumps({**about, "scores": scores}).encode())
    return path
