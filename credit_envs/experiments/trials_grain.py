"""Trials that train with one signal at one grain, so that learning speed can be held against what the surface predicts."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from credit_envs.experiments.names import named
from credit_envs.experiments.trials import Figures
from credit_envs.experiments.trials_learn import apart
from credit_envs.oracle.masked import image_free
from credit_envs.policies import Policy
from credit_envs.training import Options, Run

ALARMS = ("entropy", "spread", "degenerate", "grad_norm")
"""Alarms of training that are reported, see :mod:`credit_envs.training.alarms`."""


def grained(
    environment: str,
    seeds: range,
    estimator: str,
    budget: int,
    groups: int = 16,
    group_size: int = 8,
    lr: float = 0.1,
    policy: str = "tabular",
    view: str | None = None,
) -> Figures:
    """Trains learners with one estimator, all seeds at once, each on its own samples.

    Args:
        environment: id.
        seeds: of the learners.
        estimator: a name as :func:`~credit_envs.experiments.names.named` reads it, such as ``mc@4(k=1)``.
        budget: environment steps per learner, everything metered.
        groups: groups per update.
        group_size: rollouts per group.
        lr: learning rate of Adam.
        policy: kind of policy, without memory.
        view: what a network reads.

    Returns:
        ``speed``, the mean of the curve of exact normalised returns; ``final``, its end; ``fall``, how far that lies below the
        best on the way; ``updates``; ``alarm_NAME``, the update at which an alarm was raised for all learners together, NaN if
        never; and ``dependence``, E[KL(π ‖ image-free π)] in nats, where the table hides something in an image.

    Raises:
        CreditEnvsError: if the environment lacks what the estimator needs.
    """
    chosen = named(estimator)
    with TemporaryDirectory() as folder:
        options = Options(environment, seeds.start, len(seeds), budget, groups, group_size, policy, view, lr, points=20)
        run = Run(estimator, replace(options, output=Path(folder), tensorboard=False, quiet=True))
        run.require(chosen)
        while run.going():
            sample = run.groups(lambda sampler, groups, size: chosen.plan(sampler, groups, size, provided={}))
            losses = []
            for _, own, provided in run.each(sample):
                batch, credit = chosen.credit(own.trajectories, provided)
                losses.append(chosen.loss(run.policy.log_prob(batch), batch, credit, provided=provided))
            run.update(torch.stack(losses).mean())
            run.next(sample.trajectories)
        result = json.loads(json.dumps(run.finish()))
    curve = np.array([point["normalised"] for point in result["curve"]], dtype=np.float64)
    everyone = np.ones(len(seeds))
    out = {"speed": curve.mean(axis=0), "final": curve[-1], "fall": curve.max(axis=0) - curve[-1]}
    out["updates"] = everyone * result["updates"]
    out |= {f"alarm_{name}": everyone * result["alarms"].get(name, np.nan) for name in ALARMS}
    assert isinstance(run.policy, Policy)
    table, seen = run.table, run.table.emission.blind
    if "blind" in table.labels or bool((seen != np.arange(seen.size)).any()):
        ends = apart(run.policy, table)
        out["dependence"] = np.array([image_free(table, end).divergence for end in ends])
    return {name: values.tolist() for name, values in out.items()}
