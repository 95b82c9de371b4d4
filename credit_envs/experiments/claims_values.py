"""Claims about values: Monte Carlo, trees, search, critics, reward models, subgoals."""

from __future__ import annotations

from credit_envs.experiments.claims_places import TASKS, longer, over
from credit_envs.experiments.comparisons import Test
from credit_envs.experiments.ledger import Claim

_GIGPO_1 = "gigpo(gamma=1)"

CLAIMS: tuple[Claim, ...] = (
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
        longer(("agent_prm_reward", "orm", "prm_advantage_anchor", "orm_anchor")),
    ),
)
