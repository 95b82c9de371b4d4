"""Notebook 8: using the signal you have: a denser reward, a second task, stale data; one at a time and together."""

from __future__ import annotations

import functools
import itertools
import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from credit_envs import oracle, registry
from credit_envs.arrays import Floats
from credit_envs.evaluation import evaluate
from credit_envs.evaluation.providers import Provided
from credit_envs.plans.gc_rl import mixed_cache
from credit_envs.rewards.search_p1 import search_p1
from credit_envs.sampling.sampler import Sampler
from credit_envs.sampling.trajectories import Sample
from credit_envs.table.mdp import TabularMDP
from credit_envs.teaching.check import Mistake, Question
from credit_envs.training.alarms import vitals

STALENESS = 1.0
PIECES = {"denser reward": "search_p1", "second task": "gc_rl", "gate": "sspo"}
"""What is switched on and off: Search-P1's reward, GC-RL's critiques, SSPO's gate."""


@functools.cache
def search_game() -> TabularMDP:
    """Returns the game of looking things up: read pages, then answer."""
    return registry.make_table("Lookup")


@functools.cache
def drawn(level: float, groups: int = 200) -> tuple[Sample, Provided]:
    """Draws groups of 8 in the search game, of a policy at a share of the way to optimal play."""
    table = search_game()
    sampler = Sampler(table, oracle.ladder(table, (level,))[-1].policy, 0)
    sample = sampler.groups(groups, 8)
    return sample, Provided(sampler, sample)


@functools.cache
def sums() -> TabularMDP:
    """Returns the game of long sums with its second task: judging solutions."""
    return registry.make_table("Sums", task="both").replace(name="Sums, both tasks")


@functools.cache
def solutions(groups: int = 200) -> Sample:
    """Draws groups of 8 solutions, of a policy halfway to optimal play."""
    table = sums()
    sampler = Sampler(table, oracle.ladder(table, (0.5,))[-1].policy, 0)
    solving = torch.from_numpy(np.flatnonzero(table.labels["task"][table.start_state] == 0))
    return sampler.groups(groups, 8, context=solving[torch.arange(groups) % len(solving)])


@functools.cache
def factorial(seeds: int = 6) -> dict[tuple[bool, ...], tuple[float, float, float]]:
    """Returns what each of the 8 combinations of :data:`PIECES` is worth on stale rollouts: (value, low, high)."""
    named = {}
    for on in itertools.product((False, True), repeat=len(PIECES)):
        parts = [part for part, wanted in zip(PIECES.values(), on, strict=True) if wanted]
        if "search_p1" in parts and "gc_rl" in parts:
            parts = ["gc_rl", "critique_reward", *(p for p in parts if p != "gc_rl")]
        named[on] = "+".join([*parts, "dr_grpo"])
    found = evaluate(
        list(named.values()),
        [sums()],
        budget=4000,
        seeds=seeds,
        levels=(0.5,),
        staleness=STALENESS,
        match_discount=False,
    )
    by_name = {row.estimator: row.equivalents["simulator"] for row in found.rows}
    return {on: (x.value, x.low, x.high) for on, name in named.items() for x in [by_name[name]]}


def silent(level: float = 0.05) -> Floats:
    """Returns the share of groups with equal returns: by the outcome, and by Search-P1's reward."""
    sample, provided = drawn(level)
    batch = sample.trajectories
    return np.array([vitals(b)["degenerate"] for b in (batch, search_p1(batch, labels=provided["labels"]))])


@functools.cache
def potential() -> tuple[Tensor, Tensor, Tensor]:
    """Returns reward ``[N, T]``, potential ``[N, T + 1]`` (0 after the end) and mask of a small batch of the search game."""
    sample, provided = drawn(0.2, 4)
    batch = sample.trajectories
    left = provided["labels"]("reference_left").to(torch.float64)
    phi = 1 - left / left[:, :1].clamp(min=1)
    after = torch.cat([batch.mask, torch.zeros_like(batch.mask[:, :1])], dim=1)
    return batch.reward, torch.where(after, phi, 0.0), batch.mask


def _shaped(form: str = "right") -> Tensor:
    reward, phi, mask = potential()
    gain = phi[:, 1:] - phi[:, :-1]
    if form == "bonus":
        gain = phi[:, 1:]
    if form == "sign":
        gain = -gain
    return torch.where(mask, reward + gain, 0.0) if form != "alone" else torch.where(mask, gain, 0.0)


@functools.cache
def ratios() -> tuple[Tensor, Tensor]:
    """Returns made-up log ratios and a mask, ``[4, 6]``."""
    noise = torch.Generator().manual_seed(3)
    lengths = torch.tensor([6, 3, 5, 1])
    mask = torch.arange(6) < lengths[:, None]
    return torch.randn(4, 6, generator=noise, dtype=torch.float64) * mask, mask


def _weight(gate: bool = True, mean: str = "geometric") -> Tensor:
    log_ratio, mask = ratios()
    gated = log_ratio.arctan() if gate else log_ratio
    length = mask.sum(dim=1)
    if mean == "arithmetic":
        return (gated.exp() * mask).sum(dim=1) / length
    return (gated.sum(dim=1) / (mask.shape[1] if mean == "padded" else 1 if mean == "product" else length)).exp()


def _reward(path: tuple[float, float] = (3 / 4, 3 / 6), form: float = 0.1 * 0.1) -> float:
    return 0.3 * path[0] * path[1] + 0.6 * (0.8 * 0 + 0.2 * 0.5) + form


def _together() -> float:
    """The product of what each piece is worth alone, relative to none."""
    found = factorial()
    none = found[(False,) * 3][0]
    alone = [found[tuple(i == j for j in range(3))][0] / none for i in range(3)]
    return math.prod(alone)


def _measured_together() -> float:
    found = factorial()
    return found[(True,) * 3][0] / found[(False,) * 3][0]


def _called(answer: Any) -> Any:
    return answer(*potential())


QUESTIONS = (
    Question(
        "8.1",
        truth=_reward,
        tolerance=1e-3,
        mistakes=(
            Mistake(
                lambda: _reward(form=0.1),
                "The format's reward is 0.1, and it is weighted with 0.1 once more: it is worth 0.01.",
            ),
            Mistake(
                lambda: _reward((3 / 4, 1.0)),
                "You forgot the second factor of the path: 3 covered steps in 6 actions. Detours cost.",
            ),
            Mistake(
                lambda: _reward((0.0, 0.0)), "The path pays even though the answer is wrong; that is the point of it."
            ),
        ),
        explanation="A wrong answer that came most of the way is told from one that never began.",
        hint="0.3 · (3/4 · 3/6) + 0.6 · (0.8 · r_acc + 0.2 · r_reason) + 0.1 · 0.1, with r_acc = 0 and r_reason = 0.5.",
    ),
    Question(
        "8.2",
        truth=silent,
        tolerance=1e-6,
        mistakes=(
            Mistake(lambda: silent()[::-1].copy(), "The other way round: first the outcome, then the path's reward."),
            Mistake(lambda: 1 - silent(), "Those are the groups that DO say something."),
        ),
        explanation="A group whose returns are all equal has credit 0 everywhere. The denser reward leaves no group "
        "silent.",
        hint="`vitals(batch)['degenerate']`, once for the batch and once for `search_p1(batch, "
        "labels=provided['labels'])`.",
    ),
    Question(
        "8.3",
        truth=_shaped,
        use=_called,
        tolerance=1e-6,
        mistakes=(
            Mistake(
                lambda: _shaped("bonus"),
                "That is a bonus for being far, paid again at every step. Pay for the CHANGE of Φ.",
            ),
            Mistake(lambda: _shaped("alone"), "The reward itself is missing."),
            Mistake(lambda: _shaped("sign"), "The change has the wrong sign: what comes after minus what was before."),
        ),
        explanation="Summed over a rollout it adds Φ(end) − Φ(start), the same for all rollouts of a group: no "
        "credit of GRPO changes.",
        hint="reward + phi[:, 1:] − phi[:, :-1], and 0 where masked.",
    ),
    Question(
        "8.4",
        truth=_weight,
        use=lambda answer: answer(*ratios()),
        tolerance=1e-6,
        mistakes=(
            Mistake(
                lambda: _weight(gate=False), "There is no gate: that is GSPO's ratio. Squash log ρ by arctan first."
            ),
            Mistake(
                lambda: _weight(mean="product"),
                "The sum is not divided by the rollout's length: long rollouts explode.",
            ),
            Mistake(
                lambda: _weight(mean="padded"),
                "You divided by the width of the batch. A rollout's length is mask.sum(dim=1).",
            ),
            Mistake(
                lambda: _weight(mean="arithmetic"),
                "That is the arithmetic mean of the gates; the geometric one is asked.",
            ),
        ),
        explanation="One step of a rollout of length n can move it by a factor of exp(π/2n) at most, whatever its "
        "ratio.",
        hint="exp( Σ_t arctan(log ρ_t) / length ), the sum over steps that were taken.",
    ),
    Question(
        "8.5",
        truth=_together,
        tolerance=1e-3,
        mistakes=(Mistake(_measured_together, "That is what was measured together. Predict it from the three alone."),),
        explanation="Compare with the measured one and its interval: where they agree, the pieces don't interact.",
        hint="Worth alone, divided by the worth of none, for each of the three; multiply.",
    ),
)


def mixed() -> tuple[int, int]:
    """Returns how many of the groups of solutions are mixed, and how many solutions the cache takes from them."""
    cache = mixed_cache(solutions(), sums())
    return cache.mixed, len(cache.context)
