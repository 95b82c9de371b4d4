"""Claims about agents in training: what they learn, how fast, and which habits they take on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from credit_envs.experiments.claims_places import FIVE, ROOMS, joined
from credit_envs.experiments.contrasts import Contrast
from credit_envs.experiments.ledger import Claim
from credit_envs.experiments.trials import Trial, arms

_RAGEN = "Wang et al. 2025, arXiv 2504.20073 (RAGEN)"
_LOOP = "Chen et al. 2025, arXiv 2502.01600 (LOOP)"


def _agents(names: Sequence[str], **settings: Any) -> Mapping[str, Mapping[str, Any]]:
    return {name: {"agent": name, **settings} for name in names}


def _harsh(policy: str, rate: float, names: Sequence[str]) -> Callable[[bool], list[Trial]]:
    """Returns trials of agents that make the most of a batch: four updates, a high learning rate."""
    places = {name: env for name, env in FIVE.items() if name != "Sums"}
    if policy != "tabular":
        places = {f"{name}, network": FIVE[name] for name in ("FrozenLake", "Household")}
    own: dict[str, Any] = {} if policy == "tabular" else {"policy": policy}
    groups = {"grpo": "16", "starpo_s": "4"}  # that are trained on; both draw 16
    options = {name: ("--groups", groups[name], "--epochs", "4", "--lr", str(rate)) for name in names}
    return arms("learn", places, {n: {"agent": n, "options": options[n], **own} for n in names}, budget=150_000)


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
        arms("learn", FIVE, _agents(("gigpo",)), budget=100_000, options=("--groups", "4"), read=("anchors",)),
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
        "gigpo_ppo",
        "GiGPO learns better than PPO with a critic.",
        "Feng et al. 2025, arXiv 2505.10978, tables",
        "a higher curve, and a higher end, at equal environment steps, rollouts per batch and updates per rollout",
        "lower ones",
        (Contrast("speed", "gigpo", "ppo"), Contrast("final", "gigpo", "ppo")),
        arms("learn", FIVE, _agents(("gigpo", "ppo"), options=("--epochs", "4")), budget=100_000),
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
                for kind, env in (("tabular", ROOMS), ("mlp", ROOMS), ("transformer", FIVE["Sums"]))
            )
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
            {name: env for name, env in FIVE.items() if name != "Household"},
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
)
"""Claims that the loops of `agents/` measure."""
