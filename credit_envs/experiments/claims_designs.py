"""Claims about what is trained and on what: models, windows, critiques, curricula, rounds."""

from __future__ import annotations

from credit_envs.experiments.claims_places import FIVE, joined
from credit_envs.experiments.contrasts import Contrast
from credit_envs.experiments.ledger import Claim
from credit_envs.experiments.trials import arms

_LONG_ROOMS = "credit/KeyRooms-v0?horizon_factor=4.0&stage_reward=0.5&stages=2"
_PRM = "Choudhury 2025, arXiv 2502.10325 (AgentPRM)"


def _mix(*shapes: tuple[int, int]) -> tuple[str, ...]:
    """Pivots of equal horizon and growing difficulty: (fillers, length)."""
    return tuple(f"credit/Pivots-v0?actions=2&fillers={fillers}&length={length}" for fillers, length in shapes)


_HARD, _EASY = _mix((7, 2), (3, 4), (1, 8), (0, 16)), _mix((7, 2), (7, 2), (7, 2), (1, 8))

CLAIMS: tuple[Claim, ...] = (
    Claim(
        "policy_size",
        "GiGPO's gain over GRPO grows with the size of the policy.",
        "circulating reading of results at 1.5B and 7B parameters",
        "the difference of their curves rises with log₂ of the width of a network",
        "a slope of 0 or below",
        (Contrast("speed", "gigpo", "grpo", expect="grows", along="log2_width"), Contrast("speed", "gigpo", "grpo")),
        arms(
            "sized",
            {name: FIVE[name] for name in ("KeyRooms", "Household", "Lookup")},
            {"gigpo": {"estimator": "gigpo"}, "grpo": {"estimator": "grpo"}},
            "log2_width",
            (2, 4, 6, 8),
            budget=100_000,
            full={"budget": 400_000},
        ),
    ),
    Claim(
        "pa_moe",
        "Routed experts (PA-MoE) beat one policy of equal size.",
        "Yang et al. 2026, arXiv 2602.17038 (PA-MoE)",
        "four experts end higher, and learn faster, than one that has at least as many weights, on the same credit",
        "they do not",
        (Contrast("final", "four experts", "one policy"), Contrast("speed", "four experts", "one policy")),
        arms(
            "experts",
            {name: FIVE[name] for name in ("KeyRooms", "Household")},
            {"four experts": {"number": 4}, "one policy": {"number": 1}},
            budget=60_000,
            seeds=5,
            full_seeds=10,
            full={"budget": 120_000},
            chunk=1,
        ),
    ),
    Claim(
        "klong",
        "Windows over long rollouts and a growing time limit learn what one window cannot.",
        "Liu et al. 2026, arXiv 2602.17547 (KLong)",
        "windows with growing limits end higher than rollouts that stop where the window does, and than windows alone",
        "they end no higher",
        (
            Contrast("final", "growing", "one"),
            Contrast("final", "split", "one"),
            Contrast("final", "growing", "split"),
        ),
        joined(
            *(
                arms(
                    "windows",
                    {task: env},
                    {way: {"way": way} for way in ("one", "split", "growing", "whole")},
                    window=window,
                    budget=200_000,
                )
                for task, env, window in (
                    ("KeyRooms", _LONG_ROOMS, 14),
                    ("Household", "credit/Household-v0?stages=12&task=place", 16),
                    ("Apps", "credit/Apps-v0", 8),
                )
            )
        ),
    ),
    Claim(
        "mig_watermark",
        "MIG's watermark keeps repetition from paying.",
        "arXiv 2602.01034 (MIG)",
        "solutions that may be redone stay as short as without gains (within half a step) and get right; where every rise "
        "counts they get longer",
        "longer solutions with the watermark, or none longer without it",
        (
            Contrast("length", "watermark", "no gain", expect="equal", margin=0.5),
            Contrast("length", "every rise", "watermark"),
            Contrast("final", "watermark", "every rise"),
        ),
        arms(
            "watermark",
            {f"Sums, {columns} columns": f"credit/Sums-v0?columns={columns}&repairs=3" for columns in (2, 3)},
            {
                "watermark": {"gain": "levels"},
                "every rise": {"gain": "rises"},
                "no gain": {"gain": "none"},
            },
            budget=80_000,
            seeds=20,
        ),
    ),
    Claim(
        "gc_rl",
        "Critiques of one's own solutions, trained beside them, help solving.",
        "arXiv 2602.22765 (GC-RL)",
        "a network that also criticises solves more, at equal environment steps",
        "it solves less",
        (Contrast("speed", "critique", "solve"), Contrast("final", "critique", "solve")),
        arms(
            "critique",
            {
                f"Sums, {columns} columns, base {base}": (
                    f"credit/Sums-v0?base={base}&columns={columns}&repairs=0&task=both"
                )
                for columns, base in ((2, 10), (3, 6))
            },
            {"solve": {"way": "solve"}, "critique": {"way": "critique"}},
            budget=40_000,
            full={"budget": 80_000},
            chunk=5,
        ),
    ),
    Claim(
        "curricula",
        "Training where returns vary most (credit-variance curricula) learns faster.",
        "circulating",
        "tasks drawn by the deviation of their returns give a higher curve than tasks drawn evenly; rollouts that start where "
        "returns part give a higher curve than rollouts from the start",
        "a lower one",
        (
            Contrast("speed", "variance", "even"),
            Contrast("final", "variance", "even"),
            Contrast("speed", "restarts", "from the start"),
        ),
        joined(
            *(
                arms(
                    "curriculum",
                    {task: first},
                    {"variance": {"choose": "variance"}, "even": {"choose": "even"}},
                    others=others,
                    budget=150_000,
                    seeds=20,
                )
                for task, (first, *others) in (("two to sixteen pivots", _HARD), ("mostly easy", _EASY))
            ),
            arms(
                "grained",
                {name: FIVE[name] for name in ("KeyRooms", "Lookup", "FrozenLake")},
                {"restarts": {"estimator": "restarts+dr_grpo"}, "from the start": {"estimator": "dr_grpo"}},
                budget=100_000,
                groups=4,
                seeds=20,
            ),
        ),
    ),
    Claim(
        "prm_rounds",
        "A process reward model fitted again on the improved policy's rollouts beats one fitted once on as many.",
        f"{_PRM}, iterations",
        "four rounds end higher than four steps by one model of four times the rollouts, and than rounds labelled by the model "
        "itself",
        "they end no higher",
        (Contrast("final", "four rounds", "one model"), Contrast("final", "four rounds", "own labels")),
        arms(
            "bootstrapped",
            {**FIVE, "Pivots": "credit/Pivots-v0"},
            {
                "four rounds": {"groups": 32, "rounds": 4},
                "one model": {"groups": 128, "rounds": 1, "tilts": 4},
                "own labels": {"groups": 32, "rounds": 4, "outcome_rounds": 1},
            },
            "beta",
            (0.1, 0.5),
            seeds=20,
        ),
    ),
)
"""Claims that loops of their own measure."""
