"""Claims about what rollouts are paid, and how credit becomes an update."""

from __future__ import annotations

from credit_envs.experiments.claims_places import TOKENS, joined, over
from credit_envs.experiments.comparisons import Test
from credit_envs.experiments.contrasts import Contrast
from credit_envs.experiments.ledger import Claim
from credit_envs.experiments.trials import arms

_GIGPO = "gigpo"

_CHARTS = {"Charts": "credit/Charts-v0", "Charts, facts are notes": "credit/Charts-v0?paid=answer"}


def _judged(accuracy: float) -> str:
    """Returns Perception-R1's reward by a judge of some accuracy, with GRPO."""
    return f"perception_r1(accuracy={accuracy})+dr_grpo"


CLAIMS: tuple[Claim, ...] = (
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
        "search_p1",
        "Search-P1's partial credit for the path helps.",
        "arXiv 2602.22576",
        "worth more than the outcome alone",
        "worth less: a path is paid that does not lead there",
        (Test("search_p1+dr_grpo"),),
        over(("Lookup", "Sums", "Charts"), ("search_p1+dr_grpo",)),
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
    Claim(
        "search_p1_soft",
        "Partial credit for wrong answers is what helps in Search-P1, and most where several steps are needed.",
        "arXiv 2602.22576 (Search-P1)",
        "worth more with the soft score than without; its gain over the outcome alone rises with the number of hops",
        "worth less, or a slope of 0 or below",
        (
            Test("search_p1+dr_grpo", "search_p1(soft=False)+dr_grpo"),
            Test("search_p1+dr_grpo", expect="grows", along="hops"),
        ),
        lambda quick: [
            *over(("Sums", "Charts"), ("search_p1+dr_grpo", "search_p1(soft=False)+dr_grpo"))(quick),
            *over(
                {"Lookup": "credit/Lookup-v0"},
                ("search_p1+dr_grpo", "search_p1(soft=False)+dr_grpo"),
                "hops",
                (1, 2, 3),
            )(quick),
        ],
    ),
    Claim(
        "perception_noise",
        "A reward for perceived facts helps even with a noisy judge.",
        "Xiao et al. 2025, arXiv 2506.07218 (Perception-R1)",
        "its gradient is worth more than that of the outcome alone with verdicts right in all, 90 and 70 % of cases, and facts "
        "are stated right more often after training; a judge by chance does nothing for either",
        "worth less, or facts no more often right, with a judge right in 70 %",
        (
            *(Test(_judged(accuracy)) for accuracy in (1.0, 0.9, 0.7)),
            Test(_judged(0.5), expect="less"),
            *(Contrast("facts", _judged(accuracy), "dr_grpo") for accuracy in (1.0, 0.9, 0.7)),
            Contrast("facts", _judged(0.5), "dr_grpo", expect="equal", margin=0.1),
            Contrast("final", _judged(0.7), "dr_grpo"),
        ),
        joined(
            over(_CHARTS, tuple(map(_judged, (1.0, 0.9, 0.7, 0.5)))),
            arms(
                "watched",
                _CHARTS,
                {name: {"estimator": name} for name in ("dr_grpo", *map(_judged, (1.0, 0.9, 0.7, 0.5)))},
                budget=80_000,
                read=("perception",),
            ),
        ),
    ),
)
