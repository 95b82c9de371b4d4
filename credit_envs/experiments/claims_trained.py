"""Claims about training: what agents do, learn and become, measured by trials."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from credit_envs.experiments.claims_places import HOUSE, ROOMS, joined
from credit_envs.experiments.contrasts import Contrast
from credit_envs.experiments.ledger import Claim
from credit_envs.experiments.trials import Trial, arms

_LOOKUP, _SUMS, _LAKE = "credit/Lookup-v0", "credit/Sums-v0", "credit/FrozenLake-v0"
_FOUR = {"KeyRooms": ROOMS, "Household": HOUSE, "Lookup": _LOOKUP, "FrozenLake": _LAKE}
_FIVE = {**_FOUR, "Sums": _SUMS}
_LONG_ROOMS = "credit/KeyRooms-v0?horizon_factor=4.0&stage_reward=0.5&stages=2"
_RAGEN = "Wang et al. 2025, arXiv 2504.20073 (RAGEN)"
_PRM = "Choudhury 2025, arXiv 2502.10325 (AgentPRM)"
_LOOP = "Chen et al. 2025, arXiv 2502.01600 (LOOP)"


def _agents(names: Sequence[str], **settings: Any) -> Mapping[str, Mapping[str, Any]]:
    return {name: {"agent": name, **settings} for name in names}


def _harsh(policy: str, rate: float, names: Sequence[str]) -> Callable[[bool], list[Trial]]:
    """Returns trials of agents that make the most of a batch: four updates, a high learning rate."""
    places = _FOUR if policy == "tabular" else {f"{name}, network": _FOUR[name] for name in ("FrozenLake", "Household")}
    own: dict[str, Any] = {} if policy == "tabular" else {"policy": policy}
    groups = {"grpo": "16", "starpo_s": "4"}  # that are trained on; both draw 16
    options = {name: ("--groups", groups[name], "--epochs", "4", "--lr", str(rate)) for name in names}
    return arms("learn", places, {n: {"agent": n, "options": options[n], **own} for n in names}, budget=150_000)


def _mix(*shapes: tuple[int, int]) -> tuple[str, ...]:
    """Pivots of equal horizon and growing difficulty: (fillers, length)."""
    return tuple(f"credit/Pivots-v0?actions=2&fillers={fillers}&length={length}" for fillers, length in shapes)


_HARD, _EASY = _mix((7, 2), (3, 4), (1, 8), (0, 16)), _mix((7, 2), (7, 2), (7, 2), (1, 8))

CLAIMS: tuple[Claim, ...] = (
    Claim(
        "anchors_grow",
        "Anchor groups grow during training.",
        "circulating, about GiGPO",
        "steps share their anchor with more others after training than before; more anchors recur",
        "groups no larger after training",
        (
            Contrast("anchor_group", "gigpo", than="anchor_group_before"),
            Contrast("revisits", "gigpo", than="revisits_before"),
        ),
        arms("learn", _FIVE, _agents(("gigpo",)), budget=100_000, options=("--groups", "4"), read=("anchors",)),
    ),
    Claim(
        "echo_trap",
        "Training on trajectories' returns alone collapses: it gets good, then groups agree and returns fall.",
        f"{_RAGEN}, the echo trap",
        "with several updates per batch and a high learning rate GRPO ends below its best by more than 0.05",
        "it ends at its best",
        (Contrast("fall", "grpo", value=0.0, margin=0.05),),
        joined(_harsh("tabular", 0.3, ("grpo",)), _harsh("mlp", 0.02, ("grpo",))),
    ),
    Claim(
        "starpo_s",
        "Keeping the quarter of the groups whose returns vary most (StarPO-S) prevents collapse and learns better.",
        _RAGEN,
        "it falls less below its best than GRPO on all groups, and its curve is higher, at equal environment steps",
        "it falls as far, or its curve is lower",
        (Contrast("fall", "starpo_s", "grpo", expect="less"), Contrast("speed", "starpo_s", "grpo")),
        joined(_harsh("tabular", 0.3, ("grpo", "starpo_s")), _harsh("mlp", 0.02, ("grpo", "starpo_s"))),
    ),
    Claim(
        "gigpo_ppo",
        "GiGPO learns better than PPO with a critic.",
        "Feng et al. 2025, arXiv 2505.10978, tables",
        "a higher curve, and a higher end, at equal environment steps, rollouts per batch and updates per rollout",
        "lower ones",
        (Contrast("speed", "gigpo", "ppo"), Contrast("final", "gigpo", "ppo")),
        arms("learn", _FIVE, _agents(("gigpo", "ppo"), options=("--epochs", "4")), budget=100_000),
    ),
    Claim(
        "gigpo_overhead",
        "GiGPO's step term costs next to no time.",
        "Feng et al. 2025, arXiv 2505.10978: 0.54 s of 362.8 s",
        "it takes less than 1 % of the time of an update",
        "more than 1 %",
        (Contrast("share", "gigpo", value=0.01, expect="less"),),
        joined(
            *(
                arms("overhead", {kind: env}, {"gigpo": {"policy": kind}}, seeds=5, full_seeds=10)
                for kind, env in (("tabular", ROOMS), ("mlp", ROOMS), ("transformer", _SUMS))
            )
        ),
    ),
    Claim(
        "policy_size",
        "GiGPO's gain over GRPO grows with the size of the policy.",
        "circulating reading of results at 1.5B and 7B parameters",
        "the difference of their curves rises with log₂ of the width of a network",
        "a slope of 0 or below",
        (Contrast("speed", "gigpo", "grpo", expect="grows", along="log2_width"), Contrast("speed", "gigpo", "grpo")),
        arms(
            "sized",
            {"KeyRooms": ROOMS, "Household": HOUSE, "Lookup": _LOOKUP},
            {"gigpo": {"estimator": "gigpo"}, "grpo": {"estimator": "grpo"}},
            "log2_width",
            (2, 4, 6, 8),
            budget=100_000,
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
            {"KeyRooms": ROOMS, "Household": HOUSE},
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
        "loop_habits",
        "Agents learn habits unasked: documentation first, checking, recovering from errors.",
        f"{_LOOP}, behaviours that emerge in AppWorld",
        "each is done more often after training, where there is occasion for it",
        "not more often",
        tuple(Contrast(name, "loop", than=f"{name}_before") for name in ("docs", "check", "retry")),
        arms(
            "learn",
            {"Apps": "credit/Apps-v0", "Apps, unreliable": "credit/Apps-v0?flaky=0.3&lost=0.4"},
            _agents(("loop",)),
            budget=300_000,
            read=("habits",),
        ),
    ),
    Claim(
        "perception_errors",
        "A reward for the answer alone leaves errors of perception.",
        "Xiao et al. 2025, arXiv 2506.07218 (Perception-R1), exact McNemar test on 50 problems",
        "facts are stated right no more often than before (within 0.05), most runs show no gain by McNemar's test, and a "
        "reward for facts repairs it",
        "facts get right without being paid",
        (
            Contrast("facts", "answer only", than="facts_before", expect="equal", margin=0.05),
            Contrast("perception_shown", "answer only", value=0.5, expect="less"),
            Contrast("facts", "facts paid", "answer only"),
        ),
        arms(
            "learn",
            {"facts are notes": "credit/Charts-v0?paid=answer", "facts are needed": "credit/Charts-v0?paid=facts"},
            {
                "answer only": {"agent": "grpo", "options": ("--no-norm-by-std", "--groups", "4")},
                "facts paid": {"agent": "perception_r1+dr_grpo", "options": ("--groups", "4")},
            },
            budget=100_000,
            read=("perception",),
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
        "agent_q",
        "Search, pairs and DPO (Agent Q) learn more per environment step than policy gradients.",
        "Putta et al. 2024, arXiv 2408.07199 (Agent Q), as it is often told",
        "a higher curve than GRPO's and LOOP's (RLOO) at equal environment steps and updates per batch",
        "a lower one",
        (Contrast("speed", "agent_q", "grpo"), Contrast("speed", "agent_q", "loop")),
        arms(
            "learn",
            {"KeyRooms": ROOMS, "Lookup": _LOOKUP, "Sums": _SUMS, "FrozenLake": _LAKE},
            {
                "agent_q": {"agent": "agent_q", "options": ("--groups", "4")},
                **_agents(("grpo", "loop"), options=("--groups", "4", "--epochs", "4")),
            },
            budget=20_000,
            full={"budget": 60_000},
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
                {"KeyRooms": ROOMS, "Lookup": _LOOKUP, "FrozenLake": _LAKE},
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
            {**_FIVE, "Pivots": "credit/Pivots-v0"},
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
    Claim(
        "visual_measures",
        "Which steps need the picture is best told by how far the policy moves without it.",
        "Huang et al. 2025, arXiv 2510.09285 (VPPO): KL, patches black",
        "the quarter of the steps with the largest divergence holds more of the steps that need the picture than chance, "
        "entropy or the plain log-ratio do; half of the patches black tells more than all black",
        "it holds fewer",
        (
            Contrast("recall_k3", "network", than="recall_chance"),
            Contrast("recall_k3", "network", than="recall_entropy"),
            Contrast("recall_k3", "network", than="recall_gap"),
            Contrast("recall_patches", "network", than="recall_k3"),
        ),
        arms(
            "dependence",
            {
                "facts are needed": "credit/Charts-v0?bars=3&values=3",
                "half is printed": "credit/Charts-v0?bars=3&printed=0.5&values=3",
                "facts are notes": "credit/Charts-v0?bars=3&paid=answer&values=3",
            },
            {"network": {}},
            budget=60_000,
            full={"budget": 150_000},
        ),
    ),
)
"""Claims that trials measure."""
