"""Claims about pieces that are put together, and about which piece to choose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from credit_envs.experiments.claims_places import ROOMS, TASKS, over
from credit_envs.experiments.comparisons import Test
from credit_envs.experiments.ledger import Claim

_LOOK: Mapping[str, str] = {
    **{name: TASKS[name] for name in ("Charts", "Gallery")},
    "KeyRooms, cue": f"{ROOMS}&cue=0.5",
}
_VPPO, _GIGPO = "dr_grpo+vppo", "gigpo(gamma=1)"


def _adds_up(
    name: str, words: str, joint: str, parts: tuple[str, str], places: Sequence[str] | Mapping[str, str]
) -> Claim:
    """Returns the claim that two pieces together are worth more than either."""
    return Claim(
        f"adds_up_{name}",
        f"{words} add up.",
        "combinations that common summaries call orthogonal",
        "together worth more than either alone",
        "worth less than one of them",
        tuple(Test(joint, part) for part in parts),
        over(places, (joint, *parts)),
    )


_CANDIDATES = (
    "dr_grpo",
    "gigpo",
    _GIGPO,
    "agent_prm_reward_anchor",
    "tree_grpo",
    "ppo_learned",
    "anchor_graph",
    "vineppo_k1",
)


def _advice(
    name: str,
    words: str,
    advised: str,
    places: Mapping[str, str],
    price: str = "simulator",
    others: Sequence[str] = _CANDIDATES,
) -> Claim:
    """Returns the claim that an advised method is best where it is advised."""
    rest = tuple(other for other in others if other != advised)
    return Claim(
        f"advice_{name}",
        words,
        "selection advice that circulates",
        "the advised method is worth at least as much as the best of the others; the ratio is what following the advice keeps",
        "another one is worth more",
        (Test(advised, others=rest, price=price),),
        over(places, (advised, *rest)),
    )


CLAIMS: tuple[Claim, ...] = (
    _adds_up("gigpo_vppo", "GiGPO and VPPO", "gigpo(gamma=1)+vppo", (_GIGPO, _VPPO), _LOOK),
    _adds_up("tree_vppo", "Tree-GRPO and VPPO", "tree_grpo_vppo", ("tree_grpo", _VPPO), _LOOK),
    _adds_up(
        "tree_gigpo",
        "Tree-GRPO and GiGPO",
        "tree_gigpo",
        ("tree_grpo", _GIGPO),
        ("Pivots", "KeyRooms", "Household", "Lookup", "Sums", "Shop"),
    ),
    _adds_up(
        "gigpo_turns",
        "GiGPO and turn rewards",
        "turn_rewards+gigpo(gamma=1)",
        (_GIGPO, "turn_rewards+dr_grpo"),
        ("KeyRooms", "Household", "Lookup", "Sums", "Shop"),
    ),
    _adds_up(
        "perception_vppo",
        "Perception-R1 and VPPO",
        "perception_r1+dr_grpo+vppo",
        ("perception_r1+dr_grpo", _VPPO),
        {"Charts": TASKS["Charts"], "Charts, facts are notes": "credit/Charts-v0?paid=answer"},
    ),
    _adds_up(
        "gigpo_mig", "GiGPO and MIG", "gigpo+mig_stepwise", ("gigpo", "mig_stepwise"), ("Lookup", "Sums", "Charts")
    ),
    _adds_up(
        "prm_vine",
        "VinePPO and a process reward model as its baseline",
        "vineppo+prm_advantage",
        ("vineppo", "prm_advantage"),
        ("Pivots", "KeyRooms", "Lookup", "Sums"),
    ),
    _advice(
        "repeats",
        "Many repeated states: choose GiGPO.",
        "gigpo",
        {name: TASKS[name] for name in ("KeyRooms", "Household", "FrozenLake")},
    ),
    _advice(
        "compute",
        "Compute to spare: choose AgentPRM.",
        "agent_prm_reward_anchor",
        {name: TASKS[name] for name in ("KeyRooms", "Household", "Lookup", "Sums")},
        "data",
    ),
    _advice(
        "turns",
        "Natural turns: choose turn rewards.",
        "turn_rewards+dr_grpo",
        {name: TASKS[name] for name in ("Household", "Lookup", "Sums", "Shop")},
        others=("turn_rewards+dr_grpo", *_CANDIDATES),
    ),
    _advice(
        "long",
        "Very long API tasks: choose LOOP.",
        "loop",
        {"Apps": "credit/Apps-v0", "Apps, six subtasks": "credit/Apps-v0?apps=2&subtasks=6"},
        others=("loop", *_CANDIDATES),
    ),
    Claim(
        "ratio_first",
        "Fix the off-policy ratio first: on stale data, path rewards and critiques help more once it is soft.",
        "advice that circulates about SSPO, Search-P1 and GC-RL",
        "on data drawn by an older policy, Search-P1's gain over the outcome alone is larger under SSPO's ratio than under "
        "PPO's; critiques gain more as well",
        "gains no larger, or smaller",
        (
            Test("search_p1+dr_grpo+sspo", "dr_grpo+sspo", against=("search_p1+dr_grpo+ppo", "dr_grpo+ppo")),
            Test(
                "gc_rl+critique_reward+dr_grpo+sspo",
                "dr_grpo+sspo",
                against=("gc_rl+critique_reward+dr_grpo+ppo", "dr_grpo+ppo"),
            ),
        ),
        lambda quick: [
            *over(
                ("Lookup", "Sums", "Charts"),
                ("search_p1+dr_grpo+sspo", "dr_grpo+sspo", "search_p1+dr_grpo+ppo", "dr_grpo+ppo"),
                "staleness",
                (0.5, 1.0),
            )(quick),
            *over(
                {"Sums, both tasks": "credit/Sums-v0?base=6&columns=2&repairs=0&task=both"},
                (
                    "gc_rl+critique_reward+dr_grpo+sspo",
                    "dr_grpo+sspo",
                    "gc_rl+critique_reward+dr_grpo+ppo",
                    "dr_grpo+ppo",
                ),
                "staleness",
                (0.5, 1.0),
            )(quick),
        ],
    ),
)
"""Claims about combinations and choices."""
