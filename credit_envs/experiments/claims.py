"""The claims, as data. Adding one: an entry in :data:`CLAIMS`.

All are about gradients and credit of a given policy (halfway to optimal play; in the full sweep also at 0 and 90 %), so what a
paper reports after training may differ: a method can learn better than its gradient at one policy suggests, and the reverse.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from credit_envs.errors import unknown
from credit_envs.experiments.cells import Cell
from credit_envs.experiments.ledger import Claim, Test

_FIELDS = ("group_size", "staleness", "budget")
_PIVOTS = "credit/Pivots-v0?actions=2&credit=each&fillers=0"
ROOMS = "credit/KeyRooms-v0?horizon_factor=2.0&stages=1"
HOUSE = "credit/Household-v0?task=place"
TASKS: Mapping[str, str] = {
    "Pivots": f"{_PIVOTS}&length=16",
    "KeyRooms": ROOMS,
    "Household": HOUSE,
    "Lookup": "credit/Lookup-v0",
    "Sums": "credit/Sums-v0",
    "Shop": "credit/Shop-v0",
    "FrozenLake": "credit/FrozenLake-v0",
    "Charts": "credit/Charts-v0",
    "Gallery": "credit/Gallery-v0?junctions=2",
}
"""Small versions of the families, by name."""

TOKENS: Mapping[str, str] = {
    "Lookup tokens": "credit/Lookup-v0?spell=1",
    "Chat tokens": "credit/Chat-v0?spell=1",
    "Household tokens": "credit/Household-v0?spell=1&task=place",
}


def over(
    tasks: Sequence[str] | Mapping[str, str],
    names: Sequence[str],
    dial: str = "",
    values: Sequence[Any] = (),
    **settings: Any,
) -> Callable[[bool], list[Cell]]:
    """Returns the cells of a claim as a function of ``quick``.

    Args:
        tasks: names in :data:`TASKS`, or name → environment.
        names: estimators.
        dial: a dial of the environment, or ``group_size``, ``staleness`` or ``budget``; it becomes an axis.
        values: its values.
        **settings: fields of all cells.
    """
    places = tasks if isinstance(tasks, Mapping) else {name: TASKS[name] for name in tasks}

    def cells(quick: bool) -> list[Cell]:
        out = []
        for level in (0.5,) if quick else (0.0, 0.5, 0.9):
            sizes = {"budget": 4_000 if quick else 32_000, "seeds": 10 if quick else 20}
            sizes |= {"extra_steps": 60_000 if quick else 1_000_000, **settings}
            for task, env in places.items():
                for value in values if dial else (None,):
                    axes: tuple[tuple[str, Any], ...] = (("task", task), *(((dial, value),) if dial else ()))
                    axes += () if quick else (("level", level),)
                    named, own = env, dict[str, Any](sizes)
                    if dial in _FIELDS:
                        own[dial] = value
                    elif dial:
                        named = f"{env}{'&' if '?' in env else '?'}{dial}={value}"
                    out.append(Cell(named, tuple(names), axes, level, **own))
        return out

    return cells


def _longer(names: Sequence[str]) -> Callable[[bool], list[Cell]]:
    """Cells of the same tasks at growing length."""
    lengths = {length: f"{_PIVOTS}&length={length}" for length in (4, 8, 16, 32, 64)}
    stages = {n: f"credit/KeyRooms-v0?horizon_factor=2.0&stages={n}" for n in (1, 2, 3)}
    houses = {n: f"credit/Household-v0?stages={n}" for n in (4, 12)}

    def cells(quick: bool) -> list[Cell]:
        return [
            Cell(cell.environment, cell.estimators, (("task", task), ("size", size), *cell.axes[1:]), **_rest(cell))
            for task, places in (("Pivots", lengths), ("KeyRooms", stages), ("Household", houses))
            for size, env in places.items()
            for cell in over({task: env}, names)(quick)
        ]

    return cells


def _rest(cell: Cell) -> dict[str, Any]:
    fields = ("level", "budget", "seeds", "group_size", "extra_steps", "staleness", "restore", "probe")
    return {name: getattr(cell, name) for name in fields}


_GIGPO, _GIGPO_1 = "gigpo", "gigpo(gamma=1)"
_STEP, _STEP_1 = "gigpo_as_told(alpha=0)", "gigpo_as_told(alpha=0, gamma=1)"
_FENG = "Feng et al. 2025, arXiv 2505.10978"

CLAIMS: tuple[Claim, ...] = (
    Claim(
        "grpo_blame",
        "GRPO credits good steps in failed rollouts wrongly.",
        "motivation of GiGPO, VinePPO, AgentPRM and most step-level methods",
        "a good part of the steps that GRPO blames were good",
        "a share near 0",
        (Test(expect="rate"),),
        over(("Pivots", "KeyRooms", "Household", "Lookup", "Sums", "Shop", "FrozenLake"), (), probe="blame"),
    ),
    Claim(
        "gigpo_revisits",
        "GiGPO's gain over GRPO grows with the revisit rate.",
        f"{_FENG}, and repeated widely",
        "the ratio rises with ρ_G, turned by skins that change no dynamics",
        "a slope of 0 or below",
        (
            Test(_GIGPO, expect="grows", along="revisit_rate"),
            Test(_GIGPO_1, expect="grows", along="revisit_rate"),
        ),
        over(("KeyRooms", "Household", "Lookup"), (_GIGPO, _GIGPO_1), "skin_rate", (0.0, 0.25, 0.5, 0.75, 1.0)),
    ),
    Claim(
        "gigpo_no_repeats",
        "Without repeated states GiGPO is GRPO.",
        _FENG,
        "equal within 10 % where nearly every rollout looks different",
        "an interval outside",
        (Test(_GIGPO_1, expect="equal", margin=0.1), Test(_GIGPO, expect="equal", margin=0.1)),
        over(("KeyRooms", "Household", "Lookup"), (_GIGPO, _GIGPO_1), "skin_rate", ("1.0&skins=512",)),
    ),
    Claim(
        "gigpo_levels",
        "Both levels of GiGPO together beat either alone.",
        f"{_FENG}, ablation",
        "more than the episode term (GRPO) and more than the step term",
        "either alone worth more",
        (Test(_GIGPO), Test(_GIGPO, _STEP), Test(_GIGPO_1), Test(_GIGPO_1, _STEP_1)),
        over(("KeyRooms", "Household", "Lookup", "Shop", "FrozenLake"), (_GIGPO, _STEP, _GIGPO_1, _STEP_1)),
    ),
    Claim(
        "gigpo_horizon",
        "GiGPO's gain grows with the horizon.",
        f"{_FENG}; selection advice that circulates",
        "the ratio rises per doubling of the episode's length",
        "a slope of 0 or below",
        (
            Test(_GIGPO, expect="grows", along="log2_steps"),
            Test(_GIGPO_1, expect="grows", along="log2_steps"),
        ),
        _longer((_GIGPO, _GIGPO_1)),
    ),
    Claim(
        "gigpo_group",
        "GiGPO's step term needs many rollouts per group.",
        "selection advice that circulates",
        "its worth rises per doubling of the group",
        "a slope of 0 or below",
        (Test(_GIGPO_1, "dr_grpo", expect="grows", along="log2_group"),),
        over(("KeyRooms", "Household", "Lookup"), (_GIGPO_1,), "group_size", (2, 4, 8, 16, 32)),
    ),
    Claim(
        "grpo_std",
        "Dividing by the group's deviation costs signal (Dr.GRPO's point).",
        "Liu et al. 2025, arXiv 2503.20783",
        "GRPO is worth less than GRPO without the division",
        "worth more",
        (Test("grpo", expect="less"),),
        over(("Pivots", "KeyRooms", "Household", "Lookup", "Sums", "Shop", "FrozenLake"), ("grpo",)),
    ),
    Claim(
        "mc_pays",
        "Monte-Carlo step values (K = 9) give a better gradient than GRPO.",
        "Kazemnejad et al. 2024, arXiv 2410.01679 (VinePPO)",
        "more worth, per environment step and per trained step",
        "less worth",
        (Test("vineppo"), Test("vineppo", price="data"), Test("vineppo", price="language model")),
        over(("Pivots", "KeyRooms", "Lookup", "Sums", "FrozenLake"), ("vineppo",)),
    ),
    Claim(
        "mc_k",
        "At a fixed budget, Monte-Carlo values want more continuations per state rather than more rollouts.",
        "circulating reading of VinePPO's ablation of K",
        "K = 4 and 9 are worth more than K = 1",
        "K = 1 worth more",
        (Test("vineppo(k=4)", "vineppo_k1"), Test("vineppo", "vineppo(k=4)")),
        over(("Pivots", "KeyRooms", "Lookup", "Sums", "FrozenLake"), ("vineppo_k1", "vineppo(k=4)", "vineppo")),
    ),
    Claim(
        "similarity_anchors",
        "Anchors by similarity of texts rescue GiGPO where one state is worded in many ways.",
        "GiGPO's released code for search tasks; circulating",
        "their gain over exact anchors rises with the number of wordings",
        "a slope of 0 or below",
        (
            Test("gigpo_similarity(gamma=1)", _GIGPO_1, expect="grows", along="log2_paraphrases"),
            Test("gigpo_similarity(gamma=1)", _GIGPO_1, where=(("paraphrases", 8),)),
        ),
        over(
            ("KeyRooms", "Lookup"), (_GIGPO_1, "gigpo_similarity(gamma=1)"), "paraphrases", (1, 2, 4, 8), budget=2_000
        ),
    ),
    Claim(
        "tree_quarter",
        "Tree-GRPO does with a quarter of the budget what GRPO does.",
        "Ji et al. 2025, arXiv 2509.21240",
        "more than 4 GRPO-equivalents at equal counted steps",
        "less than 4",
        (Test("tree_grpo", factor=4.0),),
        over(("Pivots", "KeyRooms", "Household", "Lookup", "Sums", "Shop"), ("tree_grpo",)),
    ),
    Claim(
        "tree_equal",
        "At equal counted steps Tree-GRPO is worth more than GRPO.",
        "Ji et al. 2025, arXiv 2509.21240, without the factor",
        "more than 1 GRPO-equivalent",
        "less than 1",
        (Test("tree_grpo"),),
        over(("Pivots", "KeyRooms", "Household", "Lookup", "Sums", "Shop"), ("tree_grpo",)),
    ),
    Claim(
        "tree_values",
        "At equal counted steps, credit read off a tree's branchings beats one number per leaf.",
        "step-level claim of Ji et al. 2025, read literally; ours",
        "tree_value_loo worth more than GRPO and than Tree-GRPO",
        "worth less",
        (Test("tree_value_loo"), Test("tree_value_loo", "tree_grpo")),
        over(("Pivots", "KeyRooms", "Household", "Lookup", "Sums", "Shop"), ("tree_grpo", "tree_value_loo")),
    ),
    Claim(
        "search_q",
        "Action values of tree search are good step values.",
        "MCTS-based process rewards (AgentQ, rStar and others)",
        "search-shaped rewards worth more than GRPO per environment step and per trained step",
        "worth less",
        (Test("mcts_prm"), Test("mcts_prm", price="data"), Test("mcts_prm_policy", "mcts_prm", price="data")),
        over(("Pivots", "KeyRooms", "Lookup", "Sums", "FrozenLake"), ("mcts_prm", "mcts_prm_policy")),
    ),
    Claim(
        "learned_values",
        "What a critic gives away is its learning: exact values are far better than learned ones.",
        "VinePPO's argument against critics",
        "PPO with the exact critic worth more than with a critic fitted on as many fresh groups, per trained step",
        "worth as much",
        (Test("ppo_exact", "ppo_learned", price="data"), Test("ppo_learned"), Test("ppo_learned", price="data")),
        over(("Pivots", "KeyRooms", "Household", "Lookup", "Sums", "FrozenLake"), ("ppo_exact", "ppo_learned")),
    ),
    Claim(
        "turn_rewards",
        "Verifiable turn rewards improve the gradient, with and without GiGPO.",
        "Zeng et al. 2025, arXiv 2505.11821; combinations circulate",
        "worth more than the same estimator on the outcome alone",
        "worth less: what is paid is no longer the task",
        (Test("turn_rewards+dr_grpo"), Test("turn_rewards+gigpo", _GIGPO)),
        over(
            ("KeyRooms", "Household", "Lookup", "Sums", "Shop"), ("turn_rewards+dr_grpo", "turn_rewards+gigpo", _GIGPO)
        ),
    ),
    Claim(
        "hiper_boundaries",
        "HiPER needs the right subgoal boundaries, and with them beats GiGPO.",
        "Peng et al. 2026, arXiv 2602.16165",
        "true boundaries worth more than shifted ones, than every fourth turn, and than GiGPO",
        "worth less",
        (
            Test("hiper_right", "hiper_shifted", price="data"),
            Test("hiper_right", "hiper_every4", price="data"),
            Test("hiper_right", "hiper", price="data"),
            Test("hiper_right", _GIGPO_1, price="data"),
        ),
        over(
            ("KeyRooms", "Household"),
            ("hiper_right", "hiper_shifted", "hiper_every4", "hiper", _GIGPO_1),
            "plan",
            (1, 2),
        ),
    ),
    Claim(
        "segment_boundaries",
        "Segments that follow the task beat segments of the same kind cut anywhere.",
        "the principle, for segments",
        "hiper_segments worth more than with a boundary every 4 steps, and than one step later",
        "worth less",
        (
            Test("hiper_segments", "hiper_segments_every4", price="data"),
            Test("hiper_segments", "hiper_segments(shift=1)", price="data"),
        ),
        over(
            {**TASKS, "KeyRooms": "credit/KeyRooms-v0?horizon_factor=2.0&stages=2"},
            ("hiper_segments", "hiper_segments_every4", "hiper_segments(shift=1)"),
        ),
    ),
    Claim(
        "vppo",
        "Training the visually dependent steps only, and trusting rollouts that looked, improves the gradient.",
        "Huang et al. 2025, arXiv 2510.09285",
        "VPPO worth more than GRPO; its mask more than a random one; shaping more than none",
        "worth less",
        (
            Test("dr_grpo+vppo"),
            Test("dr_grpo+vppo_mask", "dr_grpo+random_mask"),
            Test("dr_grpo+vppo_shaping"),
        ),
        over(
            {**{name: TASKS[name] for name in ("Charts", "Gallery")}, "KeyRooms, cue": f"{ROOMS}&cue=0.5"},
            ("dr_grpo+vppo", "dr_grpo+vppo_mask", "dr_grpo+random_mask", "dr_grpo+vppo_shaping"),
        ),
    ),
    Claim(
        "vppo_share",
        "Keeping about 40 % of the steps is best.",
        "launch scripts of Huang et al. 2025",
        "0.4 worth more than 0.2, 0.8 and all",
        "another share worth more",
        (
            Test("dr_grpo+vppo_mask(share=0.4)", "dr_grpo+vppo_mask(share=0.2)"),
            Test("dr_grpo+vppo_mask(share=0.4)", "dr_grpo+vppo_mask(share=0.8)"),
            Test("dr_grpo+vppo_mask(share=0.4)"),
        ),
        over(
            {**{name: TASKS[name] for name in ("Charts", "Gallery")}, "KeyRooms, cue": f"{ROOMS}&cue=0.5"},
            tuple(f"dr_grpo+vppo_mask(share={share})" for share in (0.2, 0.4, 0.8)),
        ),
    ),
    Claim(
        "at_rl",
        "Training only the steps that attend to the image keeps the gain; training only the others loses it.",
        "Jiao et al. 2026, arXiv 2602.11455",
        "at_rl at least as good as GRPO, its complement worse",
        "the complement as good",
        (
            Test("dr_grpo+at_rl"),
            Test("dr_grpo+at_rl_complement", expect="less"),
            Test("dr_grpo+at_rl", "dr_grpo+at_rl_complement"),
        ),
        over(
            {**{name: TASKS[name] for name in ("Charts", "Gallery")}, "KeyRooms, cue": f"{ROOMS}&cue=0.5"},
            ("dr_grpo+at_rl", "dr_grpo+at_rl_complement"),
        ),
    ),
    Claim(
        "search_p1",
        "Search-P1's partial credit for the path helps.",
        "arXiv 2602.22576",
        "worth more than the outcome alone",
        "worth less: a path is paid that does not lead there",
        (Test("search_p1+dr_grpo"),),
        over(("Lookup", "Sums", "Charts"), ("search_p1+dr_grpo",)),
    ),
    Claim(
        "istar",
        "Implicit step rewards improve on GRPO.",
        "Liu et al. 2025, arXiv 2509.19199 (iStar)",
        "worth more than GRPO per environment step",
        "worth less",
        (Test("istar_rloo", "rloo"), Test("istar", "grpo")),
        over(
            ("Pivots", "KeyRooms", "Household", "Lookup", "Sums", "FrozenLake"), ("istar_rloo", "istar", "rloo", "grpo")
        ),
    ),
    Claim(
        "inverse_prm",
        "A reward model learned from demonstrations helps, the more of them the better.",
        "Choudhury 2025, arXiv 2502.10325 (InversePRM)",
        "worth more than RLOO per trained step; 64 demonstrations more than 4",
        "worth less",
        (
            Test("inverse_prm_q(rollouts=64)+istar_rloo", "rloo", price="data"),
            Test("inverse_prm_q(rollouts=64)+istar_rloo", "inverse_prm_q(rollouts=4)+istar_rloo", price="data"),
        ),
        over(
            ("Pivots", "KeyRooms", "Lookup"),
            ("inverse_prm_q(rollouts=4)+istar_rloo", "inverse_prm_q(rollouts=64)+istar_rloo", "rloo"),
            budget=2_000,
        ),
    ),
    Claim(
        "prm_orm",
        "Process reward models beat outcome reward models the more, the longer the task.",
        "Choudhury 2025, arXiv 2502.10325; Lightman et al. 2023",
        "the ratio rises per doubling of length",
        "a slope of 0 or below",
        (
            Test("agent_prm_reward", "orm", expect="grows", along="log2_steps"),
            Test("prm_advantage_anchor", "orm_anchor", expect="grows", along="log2_steps"),
        ),
        _longer(("agent_prm_reward", "orm", "prm_advantage_anchor", "orm_anchor")),
    ),
    Claim(
        "loop_ratio",
        "Off-policy, a ratio per token beats one per turn, and that one per trajectory.",
        "Chen et al. 2025, arXiv 2502.01600 (LOOP)",
        "token > turn > trajectory under staleness",
        "the reverse order",
        (Test("loop", "loop_by_turn"), Test("loop_by_turn", "loop_by_trajectory")),
        over(TOKENS, ("loop", "loop_by_turn", "loop_by_trajectory"), "staleness", (0.2, 0.5, 1.0)),
    ),
    Claim(
        "stale_losses",
        "SSPO's gate and SORL's turn-level clip beat PPO's clip on stale data.",
        "SSPO; Li et al. 2025, arXiv 2511.20718 (SORL)",
        "worth more than PPO's loss on the same credit",
        "worth less",
        (Test("dr_grpo+sspo", "dr_grpo+ppo"), Test("dr_grpo+sorl", "dr_grpo+ppo")),
        over(
            ("KeyRooms", "Household", "Lookup"),
            ("dr_grpo+sspo", "dr_grpo+sorl", "dr_grpo+ppo"),
            "staleness",
            (0.5, 1.0),
        ),
    ),
)
"""Every claim that is measured here."""

UNMEASURED: Mapping[str, str] = {
    "anchors grow during training": "needs training runs",
    "GC-RL's critique helps generation": "needs training runs",
    "the echo trap and StarPO-S": "needs training runs",
    "PA-MoE's routed experts beat one policy of equal size": "needs training runs with networks",
    "KLong's windows learn horizons beyond the context": "needs training runs",
    "gains grow with the policy's size": "needs training runs with networks",
    "answer-only reward leaves perception errors": "needs training runs",
    "LOOP's learnt habits in Apps": "needs training runs",
    "MIG's watermark against repetition": "needs training runs",
    "Perception-R1 with a noisy judge": "measurable here, not entered yet",
    "which combinations add up": "measurable here, not entered yet",
    "regret of the usual selection advice": "needs the ledger's full sweeps first",
    "Agent Q against pure RL per environment step": "needs training runs (pairs have no on-policy gradient)",
    "credit-variance curricula": "needs training runs",
    "PRM bootstrapping from an improved policy": "needs training runs",
}
"""Claims of the list that have no verdict, and why."""


def claim(name: str) -> Claim:
    """Returns a claim by name.

    Raises:
        CreditEnvsError: if there is none; the message names the nearest ones.
    """
    found = {one.name: one for one in CLAIMS}
    if name not in found:
        raise unknown("claim", name, found)
    return found[name]
