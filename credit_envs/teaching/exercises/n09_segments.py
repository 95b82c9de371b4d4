"""Notebook 9: credit inside segments (HiPER), silent groups, and the echo trap."""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor

from credit_envs import oracle, registry
from credit_envs.credit.grpo import dr_grpo
from credit_envs.credit.segments import segments_on
from credit_envs.evaluation import evaluate
from credit_envs.evaluation.providers import Provided
from credit_envs.evaluation.scores import GradientFrame
from credit_envs.evaluation.summary import Interval
from credit_envs.plans.uncertainty import selected, uncertainty
from credit_envs.sampling.sampler import Sampler
from credit_envs.sampling.statistics import group_sum
from credit_envs.sampling.trajectories import Sample, Trajectories
from credit_envs.table.mdp import TabularMDP
from credit_envs.teaching.check import Mistake, Question

LAM = 0.9
WAYS = {
    "GAE, no segments": "ppo_learned",
    "the task's segments": "hiper_segments",
    "every 4 steps": "hiper_segments_every4",
    "GiGPO": "gigpo",
}
"""What is compared on a map of rooms."""


@functools.cache
def rooms() -> TabularMDP:
    """Returns a map of rooms whose segments are: to a key, to its door, and so on."""
    return registry.make_table("KeyRooms", stages=2, horizon_factor=3)


@functools.cache
def worth() -> dict[str, Interval]:
    """Returns the GRPO-equivalents per environment step of :data:`WAYS`, each critic's training data included."""
    found = evaluate(list(WAYS.values()), [rooms()], budget=4000, seeds=6, levels=(0.5,), match_discount=False)
    by_name = {row.estimator: row.equivalents["simulator"] for row in found.rows}
    return {label: by_name[name] for label, name in WAYS.items()}


@functools.cache
def game() -> TabularMDP:
    """Returns the game of keys and doors with apples on the way, cut off after 40 steps."""
    return registry.make_table("KeyToDoor", horizon=40)


@functools.cache
def drawn(level: float = 0.0, groups: int = 400) -> Sample:
    """Draws groups of 8 in that game, of a policy at a share of the way to optimal play."""
    return Sampler(game(), oracle.ladder(game(), (level,))[-1].policy, 0).groups(groups, 8)


@functools.cache
def _batch() -> tuple[Trajectories, Tensor]:
    table = registry.make_table("Pivots")
    sampler = Sampler(table, oracle.ladder(table, (0.5,))[-1].policy, 5)
    sample = sampler.groups(2, 4)
    wrong = Provided(sampler, sample)["value"] + 0.1 * torch.sin(torch.arange(16, dtype=torch.float64))
    return sample.trajectories, wrong


def _low(form: str = "right") -> Tensor:
    batch, value = _batch()
    if form == "no segments":
        return segments_on(batch.replace(segment=torch.zeros_like(batch.segment)), value, 1.0, LAM)
    if form == "one step":
        return segments_on(batch, value, 1.0, 0.0)
    if form == "no end":
        # Nothing is looked up behind a segment's end: its last step is blamed for its whole value.
        last = torch.ones_like(batch.mask)
        last[:, :-1] = batch.segment[:, 1:] != batch.segment[:, :-1]
        last[:, -1] = False
        after = torch.cat([value[:, 1:], torch.zeros_like(value[:, :1])], dim=1)
        reward = batch.reward - torch.where(last, after, 0.0)
        return segments_on(batch.replace(reward=reward), value, 1.0, LAM)
    return segments_on(batch, value, 1.0, LAM)


def _called(answer: Any) -> Any:
    batch, value = _batch()
    return answer(batch.reward, value, batch.segment, LAM)


def _deviation(form: str = "right") -> Tensor:
    batch = drawn().trajectories
    if form == "right":
        return uncertainty(batch)
    count = torch.bincount(batch.group).to(torch.float64)
    mean = group_sum(batch.returns, batch.group, len(count)) / count
    variance = group_sum((batch.returns - mean[batch.group]) ** 2, batch.group, len(count))
    return (variance / count).sqrt() if form == "population" else variance / (count - 1)


@functools.cache
def _longer() -> float:
    """How much longer the mean gradient of the kept quarter of groups is than that of all, along the exact one."""
    sample = drawn()
    policy = oracle.ladder(game(), (0.0,))[-1].policy
    exact = torch.from_numpy(oracle.exact_gradient(game(), policy))
    frame = GradientFrame(sample, exact)
    along = frame.dots(frame.gradient(dr_grpo(sample.trajectories)), exact[frame.pair_row])
    kept = selected(uncertainty(sample.trajectories), "top_k", 0.25)
    return float(along[kept].mean() / along.mean())


QUESTIONS = (
    Question(
        "9.1",
        truth=_low,
        use=_called,
        mistakes=(
            Mistake(
                lambda: _low("no segments"),
                "That is GAE over the whole rollout. At a segment's end the sum must start anew: nothing of the "
                "next segment flows back.",
            ),
            Mistake(
                lambda: _low("no end"),
                "At a segment's last step V of the next step still counts (it is the next segment's start); only "
                "the sum stops there.",
            ),
            Mistake(
                lambda: _low("one step"), "Those are the one-step errors δ; sum them up with λ inside the segment."
            ),
        ),
        explanation="With λ = 1 a segment's steps get what it paid, plus V at its end, minus V at the step.",
        hint="Backwards: A_t = δ_t + λ·A_{t+1} if step t + 1 is in the same segment, else δ_t; δ_t = r_t + V_{t+1} "
        "− V_t with V = 0 after the end.",
    ),
    Question(
        "9.2",
        truth=lambda: max(("the task's segments", "every 4 steps"), key=lambda name: worth()[name].value),
        mistakes=(
            Mistake(
                lambda: min(("the task's segments", "every 4 steps"), key=lambda name: worth()[name].value),
                "Look again: that is the shorter bar of the two.",
            ),
        ),
        explanation="Short segments leave less noise, wherever they are cut. Here a critic with the wrong cuts "
        "beats one with the right ones.",
        hint="Compare the two bars: which is longer?",
    ),
    Question(
        "9.3",
        truth=lambda: 0.8**4 + 0.2**4,
        tolerance=1e-3,
        mistakes=(
            Mistake(lambda: 0.8**4, "Nearly: all of them may succeed, too."),
            Mistake(lambda: 1 - 0.8**4 - 0.2**4, "That is the chance that the group does say something."),
        ),
        explanation="Close to it: two groups in five are paid for and teach nothing. At a chance of 0.5 it is one "
        "in 128.",
        hint="All four fail, or all four succeed; the rollouts are independent.",
    ),
    Question(
        "9.4",
        truth=_deviation,
        use=lambda answer: answer(drawn().trajectories),
        mistakes=(
            Mistake(lambda: _deviation("population"), "Divide by n − 1, not by n (ddof = 1)."),
            Mistake(lambda: _deviation("variance"), "That is the variance; take the root."),
        ),
        explanation="For outcomes 0 and 1 it is largest where half succeed: it measures how undecided the policy is "
        "about a start.",
        hint="For each group: the sample deviation (ddof = 1) of its returns. "
        "`torch.stack([batch.returns[batch.group == g].std() ...])` will do.",
    ),
    Question(
        "9.5",
        truth=_longer,
        tolerance=1e-2,
        mistakes=(
            Mistake(lambda: 4.0, "It would be 4 if the other three quarters had no gradient at all. Measure it."),
            Mistake(lambda: 1.0, "It would be 1 if the filter chose blindly."),
        ),
        explanation="Less than 4, so the groups that were dropped (and paid for) had something to say, too.",
        hint="Mean of `along[kept]` over mean of `along`.",
    ),
)
