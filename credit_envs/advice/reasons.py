"""Why a run may fail: what a situation says against it, each reason with its measured number and what may help."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import isfinite, isnan

from credit_envs.advice.situation import Situation


@dataclass(frozen=True)
class Reason:
    """One reason.

    Attributes:
        name: what is wrong, in two or three words.
        number: the measured number that says so.
        says: what it means.
        helps: what may help.
    """

    name: str
    number: str
    says: str
    helps: str


def reasons(found: Situation, budget: int) -> list[Reason]:
    """Returns why a run in a situation may fail, the gravest first.

    Args:
        found: the situation.
        budget: environment steps of one batch.
    """
    return [
        *_nothing_to_learn(found),
        *_too_little_signal(found, budget),
        *_wrong_credit(found, budget),
        *_hidden(found),
    ]


def _nothing_to_learn(found: Situation) -> Iterator[Reason]:
    if isnan(found.reached):
        yield Reason(
            "nothing to gain",
            f"J* = J of uniform play = {found.J_optimal:.4g}",
            "no play is better than uniform play",
            "check rewards and horizon",
        )
    elif found.reached > 0.98:
        yield Reason(
            "nearly solved",
            f"{found.reached:.1%} of the way to optimal play",
            "what is left to learn is smaller than most estimators' noise",
            "a lower --skill says what earlier training meets",
        )
    if isnan(found.unit):
        yield Reason(
            "no action matters",
            "A = 0 at every step",
            "under this policy every action is worth the same, so every policy gradient is zero",
            "another policy, or a longer horizon",
        )
    elif found.ceiling < 2:
        yield Reason(
            "credit is not what is missing",
            f"the exact advantage is worth {found.ceiling:.2f} GRPOs",
            "even perfect credit would hardly beat GRPO here",
            "more rollouts, or larger updates",
        )


def _too_little_signal(found: Situation, budget: int) -> Iterator[Reason]:
    groups = budget / (found.group_size * found.steps)
    if found.informative < 0.25:
        few = found.success < 0.5
        n = next((n for n in (16, 32, 64, 128, 256) if _informs(found.success, n) >= 0.5), None)
        larger = f"groups of {n} would differ about {_informs(found.success, n):.0%} of the time; " if n else ""
        yield Reason(
            "no group has a success" if few else "every rollout of a group succeeds",
            f"returns differ in {found.informative:.1%} of groups of {found.group_size} (±{2 * found.informative_error:.1%}); "
            f"{found.success:.1%} of rollouts succeed",
            "all other groups give group-relative credit nothing, and cost as much",
            f"{larger}dropping such groups (dapo), demonstrations (with_demonstrations), an easier start or denser reward"
            if few
            else f"{larger}dropping such groups (dapo), harder tasks",
        )
    if isfinite(found.noise) and groups < found.noise:
        yield Reason(
            "budget too small" if found.steps < 50 else "horizon too long for the budget",
            f"{budget:,} steps are {groups:.0f} groups of {found.steps:.0f}-step rollouts; GRPO's signal equals its noise at "
            f"{found.noise:,.0f}",
            "one update follows noise more than signal",
            f"{found.noise * found.group_size * found.steps:,.0f} steps per update, small learning rates, or credit with less "
            f"noise (the exact advantage would need {found.noise / found.ceiling:,.0f} groups)",
        )
    if found.steps > 0.9 * found.horizon and found.horizon > 10 and found.success < 0.5:
        yield Reason(
            "rollouts end at the horizon",
            f"E[T] = {found.steps:.0f} of {found.horizon}",
            "most steps are taken after the rollout has lost its way",
            "earlier ends, or starts nearer to the goal",
        )


def _wrong_credit(found: Situation, budget: int) -> Iterator[Reason]:
    if found.revisit_rate < 0.2:
        yield Reason(
            "no revisits",
            f"ρ = {found.revisit_rate:.3f} (the shared start alone makes {1 / found.steps:.3f})",
            "anchors have nothing to compare: GiGPO is GRPO",
            "coarser anchors (gigpo_similarity), larger groups",
        )
    if found.graph_cosine < 0.95:
        hides, times = 1 - found.seen > 0.02, found.seen - found.anchored > 0.02
        why = (
            " and ".join(["looks hide states"] * hides + ["the step matters"] * times) or "values change with the step"
        )
        ample = budget / (found.group_size * found.steps) >= 2 * found.noise
        felt = f"{budget:,} steps are enough to feel it" if ample else f"at {budget:,} steps noise still hides it"
        yield Reason(
            "values of anchors are wrong",
            f"cosine {found.graph_cosine:.3f} to the exact gradient with unlimited rollouts",
            f"however much is sampled, anchor_graph stays wrong: {why}; {felt}",
            "anchor_graph_time, or anchor_graph_mix, which finds out",
        )
    if found.step_cosine < 0.9:
        yield Reason(
            "discounted returns mislead",
            f"cosine {found.step_cosine:.3f} of GiGPO's step term (γ = 0.95) with unlimited rollouts",
            "a reward that is further away than about 20 steps counts for little in it",
            "gigpo with the environment's γ: credit-envs evaluate scores both",
        )
    if found.luck_share > 0.5:
        yield Reason(
            "luck",
            f"{found.luck_share:.0%} of the variance of the return is the dynamics' own",
            "credit that follows the return pays for luck",
            "values (anchors, a critic) instead of returns, larger groups",
        )


def _hidden(found: Situation) -> Iterator[Reason]:
    if found.seen < 0.98:
        yield Reason(
            "aliasing",
            f"{1 - found.seen:.1%} of the advantage's size depends on what looks hide",
            "states that look alike want different actions",
            "a memory: credit_envs.dials.remember.remember(table, k), or a recurrent policy",
        )
    way = found.J_optimal - found.J_uniform
    if found.perception_gap > 0.01 * max(way, 1e-9):
        yield Reason(
            "the picture is needed",
            f"the best player without it loses {found.perception_gap:.3g} of {found.J_optimal:.3g}",
            "a policy that reads only the words stops there, and looks as if it had converged",
            "a policy that sees both, VPPO's masks; watch the gap",
        )


def _informs(success: float, n: int) -> float:
    """Chance that n independent rollouts with this chance of success don't all end alike."""
    return 1 - success**n - (1 - success) ** n
