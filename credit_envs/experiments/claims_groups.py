"""Claims about group baselines: GRPO and GiGPO."""

from __future__ import annotations

from credit_envs.experiments.claims_places import longer, over
from credit_envs.experiments.comparisons import Test
from credit_envs.experiments.ledger import Claim

_GIGPO, _GIGPO_1 = "gigpo", "gigpo(gamma=1)"
_STEP, _STEP_1 = "gigpo_as_told(alpha=0)", "gigpo_as_told(alpha=0, gamma=1)"
_ROOMS_2 = "credit/KeyRooms-v0?horizon_factor=2.0&stages=2"
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
        longer((_GIGPO, _GIGPO_1)),
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
        "gigpo_sparsity",
        "GiGPO's gain grows with the sparsity of the reward.",
        f"{_FENG}; selection advice that circulates",
        "the ratio falls as more of the return is paid at the doors instead of the end, and as more of it is paid at once",
        "a slope of 0 or above",
        tuple(
            Test(name, expect="shrinks", along=axis)
            for name in (_GIGPO, _GIGPO_1)
            for axis in ("stage_reward", "density")
        ),
        lambda quick: [
            *over({"KeyRooms": _ROOMS_2}, (_GIGPO, _GIGPO_1), "stage_reward", (0.0, 0.25, 0.5, 0.75, 1.0))(quick),
            *over(
                {"KeyRooms, paid at doors": f"{_ROOMS_2}&stage_reward=1.0"},
                (_GIGPO, _GIGPO_1),
                "density",
                (0.0, 0.25, 0.5, 0.75, 1.0),
            )(quick),
        ],
    ),
)
