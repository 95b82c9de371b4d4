"""Every piece by name, every recipe by name, and recipes written as ``gigpo+turn_rewards+vppo``."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from pathlib import Path

from credit_envs.credit import ADVANTAGES
from credit_envs.errors import CreditEnvsError, unknown
from credit_envs.losses import LOSSES
from credit_envs.piece import Piece
from credit_envs.plans import PLANS
from credit_envs.recipes.recipe import Recipe, compose
from credit_envs.rewards import REWARDS
from credit_envs.weights import WEIGHTS

PIECES: Mapping[str, Piece] = {p.name: p for p in (*PLANS, *REWARDS, *ADVANTAGES, *WEIGHTS, *LOSSES)}
"""Every piece by name."""

DEFAULTS: Mapping[str, Piece] = {
    "plan": PIECES["groups"],
    "advantage": PIECES["grpo"],
    "loss": PIECES["reinforce"],
}
"""What stands in a slot that a recipe leaves open."""

PRESETS: Mapping[str, str] = {
    "dapo": "dynamic_sampling+overlong+grpo+dapo_loss",
    "starpo_s": "uncertainty_filter+grpo+dapo_loss",
    "tree_grpo": "trees+tree_grpo",
    "tree_intra": "trees+tree_intra",
    "tree_inter": "trees+tree_inter",
    "tree_value": "trees+tree_value",
    "tree_value_loo": "trees+tree_value_loo",
    "tree_gigpo": "trees+tree_gigpo",
    "klong": "klong_windows+klong",
    "klong_early": "klong_early_stage+klong",
    "agent_prm": "agent_prm_pairs+dpo",
    "agent_prm_anchor": "agent_prm_pairs_anchor+dpo",
    "inverse_prm": "inverse_prm_pairs+dpo",
    "istar_soft": "implicit_soft+istar_rloo",
    "agent_prm_reward": "agent_prm_q+istar_rloo",
    "agent_prm_reward_anchor": "agent_prm_q_anchor+istar_rloo",
    "agent_prm_reward_shaped": "agent_prm_q_shaped+istar_rloo",
    "inverse_prm_reward": "inverse_prm_q+istar_rloo",
    "verifier_reward": "verifier+istar_rloo",
    "agent_q": "agent_q_pairs+dpo",
    "agent_q_no_critic": "agent_q_pairs_no_critic+dpo",
    "mcts_prm": "mcts_shaped+immediate",
    "mcts_prm_095": "mcts_shaped+immediate_095",
    "mcts_prm_puct": "mcts_shaped_puct+immediate",
    "mcts_prm_policy": "mcts_shaped_policy+immediate",
    "mcts_prm_gigpo": "mcts_shaped+gigpo",
    "orm": "outcome_model+grpo",
    "orm_anchor": "outcome_model_anchor+grpo",
    "mig_policy": "mig_gain_policy+mig",
    "igpo_log": "igpo_gain_log+igpo",
    "igpo_policy": "igpo_gain_policy+igpo",
    "gc_rl": "gc_rl+critique_reward",
    "gc_rl_balanced": "gc_rl+critique_reward_balanced",
    "gc_rl_place": "gc_rl+critique_reward_place",
    "search_p1_gc_rl_sspo": "gc_rl+critique_reward+search_p1+sspo",
    "perception_r1_vppo": "perception_r1+vppo",
    "mt_grpo_forked": "turn_forks+mt_grpo_forked",
    "mt_ppo": "turn_rewards+ppo_learned",
    "ppo_mr": "turn_rewards_merged+ppo_learned",
    "grpo_mr": "turn_rewards_merged+grpo",
    "gigpo_turn_rewards": "turn_rewards+gigpo",
    # Routed experts change which parameters a step trains, not its credit, which is GiGPO's: a row of a routed table belongs
    # to one expert. What the routing is worth shows in training (`--policy phase_moe`).
    "pa_moe": "gigpo",
    "loop": "loop+loop_token",
    "loop_by_turn": "loop+loop_turn",
    "loop_by_trajectory": "loop+loop_trajectory",
    "vppo_dapo": "dynamic_sampling+grpo+vppo+dapo_loss",
    "tree_grpo_vppo": "trees+tree_grpo+vppo",
    "at_rl_vppo": "at_rl+vppo",
    "entropy_vppo": "high_entropy+vppo_mask",
}
"""Recipes of several pieces: name → names of pieces. Any other piece is also a recipe by itself."""

_BESIDE = frozenset({"implicit", "mig_gain", "mig_gain_as_told", "igpo_gain", "turn_rewards_beside"})
"""Reward models that only put a signal beside the reward, which some estimator makes by itself."""

DEFAULT = ("grpo", "dr_grpo", "rloo", "gigpo", "vineppo_k1", "vineppo", "anchor_graph", "anchor_graph_time", "exact")
"""What ``credit-envs evaluate`` scores when nothing is named."""


def names() -> tuple[str, ...]:
    """Returns the names of all recipes: estimators, weights, presets, and of the rest what no preset uses, by itself."""
    used = {word for parts in PRESETS.values() for word in parts.split("+")} | {p.name for p in DEFAULTS.values()}
    used |= _BESIDE
    alone = [name for name, one in PIECES.items() if one.slot in ("advantage", "weight") or name not in used]
    return tuple(dict.fromkeys([*alone, *PRESETS]))


def piece(name: str) -> Piece:
    """Returns a piece by name.

    Raises:
        CreditEnvsError: if there is none; the message names the nearest ones.
    """
    if name not in PIECES:
        raise unknown("piece", name, PIECES)
    return PIECES[name]


@functools.cache
def recipe(name: str) -> Recipe:
    """Returns a recipe by name, or by names joined with ``+``; their order makes no difference.

    Raises:
        CreditEnvsError: for an unknown name (with the nearest ones), and for pieces that cannot be combined.
    """
    parts: list[Piece] = []
    for part in name.split("+"):
        if part not in PRESETS and part not in PIECES:
            raise unknown("estimator", part, {**PRESETS, **PIECES})
        parts += [PIECES[word] for word in PRESETS.get(part, part).split("+")]
    return compose(name, parts, DEFAULTS)


def known(name: str) -> Recipe | None:
    """Returns a recipe by name, None if there is none."""
    try:
        return recipe(name)
    except CreditEnvsError:
        return None


def checks() -> dict[str, int]:
    """Returns how many passed tests call each piece, as ``pytest --record-checks`` last wrote it down."""
    return dict(json.loads(Path(__file__).with_name("checks.json").read_text()))


def around(advantage: Piece) -> Recipe:
    """Returns the recipe of one advantage estimator with everything else as usual."""
    return compose(advantage.name, [advantage], DEFAULTS)
