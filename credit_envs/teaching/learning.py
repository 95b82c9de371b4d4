"""The smallest training loop that learns: a table of logits, a credit, a step along its gradient; every return is exact.

For the notebooks, where a run must take seconds and be readable. Agents that one would use stand in ``agents/``.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from credit_envs.arrays import AnyArray, Floats
from credit_envs.errors import check_range
from credit_envs.evaluation.providers import Provided
from credit_envs.evaluation.scores import GradientFrame
from credit_envs.oracle.control import ladder
from credit_envs.oracle.evaluation import expected_return
from credit_envs.oracle.policy import Policy
from credit_envs.sampling.sampler import Sampler
from credit_envs.sampling.trajectories import Sample, Trajectories
from credit_envs.table.mdp import TabularMDP
from credit_envs.training.alarms import vitals

Credit = Callable[[Trajectories, Provided], Tensor]
"""From rollouts, and what may be asked about them, to credit float64 ``[N, T]``."""

Plan = Callable[[Sampler], Sample]
"""Draws the rollouts of one update."""


def learn(
    table: TabularMDP,
    credit: Credit,
    *,
    updates: int,
    rate: float,
    seed: int,
    groups: int = 4,
    group_size: int = 8,
    plan: Plan | None = None,
    start: Policy | None = None,
) -> dict[str, Floats]:
    """Trains a tabular softmax policy by plain policy gradient steps.

    Args:
        table: the environment.
        credit: what stands in for the advantage.
        updates: number of updates.
        rate: length of a step: logits move by ``rate`` times the mean gradient per rollout.
        seed: of everything that is drawn.
        groups: groups per update.
        group_size: rollouts per group.
        plan: draws the rollouts (default: ``groups`` groups).
        start: the first policy, by look (default: uniform).

    Returns:
        What was measured before each update and after the last, each float64 ``[updates + 1]``: ``J`` (exact return),
        ``entropy`` (mean over the steps taken, in nats), ``spread`` (mean in-group deviation of returns), ``degenerate`` (share
        of groups with equal returns), ``norm`` (of the gradient), ``steps`` (environment steps so far).

    Raises:
        CreditEnvsError: for numbers out of range.
    """
    check_range("updates", updates, 1, 1e6, integer=True)
    check_range("rate", rate, 0, 1e6, open_low=True)
    begin = start or ladder(table, (0.0,))[0].policy
    logits = np.log(np.where(begin.probability > 0, begin.probability, 1.0))
    admissible = begin.probability > 0
    out: dict[str, list[float]] = {name: [] for name in ("J", "entropy", "spread", "degenerate", "norm", "steps")}
    spent = 0
    for update in range(updates + 1):
        policy = Policy(begin.kind, _softmax(logits, admissible))
        # Every update plays under a seed of its own, far from the others'.
        sampler = Sampler(table, policy, (seed << 20) + update)
        sample = sampler.groups(groups, group_size) if plan is None else plan(sampler)
        batch = sample.trajectories
        frame = GradientFrame(sample, torch.zeros_like(batch.policy_table))
        gradient = (frame.total(frame.gradient(credit(batch, Provided(sampler, sample)))) / frame.n_groups).numpy()
        rows = batch.policy_table[batch.policy_row[batch.mask]]
        now = {
            "J": expected_return(table, policy),
            "entropy": float(-(rows * rows.clamp(min=1e-300).log()).sum(dim=1).mean()),
            **{name: value for name, value in vitals(batch).items() if name in ("spread", "degenerate")},
            "norm": float(np.linalg.norm(gradient)),
            "steps": float(spent),
        }
        for name, value in now.items():
            out[name].append(value)
        spent += sampler.meter.env_steps
        logits = logits + rate * gradient
    return {name: np.array(values) for name, values in out.items()}


def _softmax(logits: Floats, admissible: AnyArray) -> Floats:
    known = np.where(admissible, logits, -np.inf)
    top = known.max(axis=1, keepdims=True)
    raised = np.exp(known - np.where(np.isfinite(top), top, 0.0))
    total: Floats = raised / np.maximum(raised.sum(axis=1, keepdims=True), 1e-300)
    return total
