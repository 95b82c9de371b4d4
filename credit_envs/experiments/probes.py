"""Measurements that no estimator's score holds: functions from a subject and a seed to sums, named by cells.

Adding one: a function here and a line in :data:`PROBES`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from credit_envs.evaluation.providers import Provided
from credit_envs.evaluation.replicate import Subject
from credit_envs.sampling.sampler import Sampler

_TIE = 1e-9


def blame(subject: Subject, seed: int, groups: int, group_size: int) -> dict[str, float]:
    """How often GRPO's credit has the wrong sign, by the kind of rollout and of step.

    A rollout failed if its return is below its group's mean, so that GRPO blames all of its steps; a step is good if its exact
    advantage is above 0, bad if below, idle if it is 0 (nothing that was done there mattered).

    Returns:
        Numbers of steps: ``failed_good``, ``failed_bad``, ``failed_idle``, ``won_good``, ``won_bad``, ``won_idle``.
    """
    sampler = Sampler(subject.table, subject.behaviour, seed, subject.device)
    sample = sampler.groups(groups, group_size)
    batch = sample.trajectories
    exact = Provided(sampler, sample, subject.values)["advantage"]
    returns = batch.returns.view(groups, group_size)
    above = (returns - returns.mean(dim=1, keepdim=True)).flatten()
    scale = _TIE * max(float(exact.abs().max()), 1e-300)
    out = {}
    for name, rollouts in (("failed", above < -_TIE), ("won", above > _TIE)):
        taken = batch.mask & rollouts[:, None]
        for kind, steps in (("good", exact > scale), ("bad", exact < -scale), ("idle", exact.abs() <= scale)):
            out[f"{name}_{kind}"] = float((taken & steps).sum())
    return out


PROBES: Mapping[str, Callable[[Subject, int, int, int], dict[str, float]]] = {"blame": blame}
"""Probes by name."""
