"""Trials that run an agent's own file, and read off its curve and the policies it ends with."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from credit_envs import registry
from credit_envs.errors import CreditEnvsError
from credit_envs.experiments.readings import READINGS
from credit_envs.experiments.trials import Figures
from credit_envs.oracle.policy import Policy as TabularPolicy
from credit_envs.policies import Policy, make_policy
from credit_envs.table.mdp import TabularMDP
from credit_envs.training import checkpoint, files, results
from credit_envs.training.run import part


def learn(
    environment: str,
    seeds: range,
    agent: str,
    budget: int,
    options: Sequence[str] = (),
    policy: str = "tabular",
    view: str | None = None,
    read: Sequence[str] = (),
) -> Figures:
    """Trains an agent, all seeds at once.

    Args:
        environment: id.
        seeds: of the learners.
        agent: an agent or a recipe.
        budget: environment steps per learner.
        options: further options of the agent, as on a command line.
        policy: kind of policy.
        view: what a network reads.
        read: what is measured of policies before and after training, names in
            :data:`credit_envs.experiments.readings.READINGS`.

    Returns:
        ``final`` and ``speed`` (normalised return at the end, and its mean over the budget), ``fall`` (how far the end lies
        below the best on the way), and per reading ``NAME_before`` and ``NAME``.

    Raises:
        CreditEnvsError: if the agent cannot be trained.
    """
    with TemporaryDirectory() as folder:
        arguments = ["--env", environment, "--seed", str(seeds.start), "--learners", str(len(seeds))]
        arguments += ["--budget", str(budget), "--policy", policy, *(["--view", view] if view else []), *options]
        if code := files.run(agent, [*arguments, "--output", folder, "--no-tensorboard", "--quiet"]):
            raise CreditEnvsError(f"{agent} on {environment}: exit code {code}")
        found = json.loads((Path(folder) / "result.json").read_text())
        table, starts, ends = _policies(Path(folder), environment, policy, view, seeds) if read else (None, [], [])
    curve = results.learning(found)
    out: dict[str, Sequence[float]] = {
        "final": curve.final.tolist(),
        "speed": curve.speed.tolist(),
        "fall": (curve.curves.max(axis=1) - curve.final).tolist(),
    }
    return {**out, **readings(table, starts, ends, read, seeds)}


def readings(
    table: TabularMDP,
    starts: Sequence[TabularPolicy],
    ends: Sequence[TabularPolicy],
    names: Sequence[str],
    seeds: Sequence[int],
) -> dict[str, list[float]]:
    """Returns what is measured of policies before (``NAME_before``) and after training, one number per seed."""
    out: dict[str, list[float]] = {}
    for name in names:
        for start, end, seed in zip(starts, ends, seeds, strict=True):
            found: Mapping[str, float] = READINGS[name](table, start, end, seed)
            for figure, value in found.items():
                out.setdefault(figure, []).append(float(value))
    return out


def _policies(folder: Path, environment: str, kind: str, view: str | None, seeds: range) -> Any:
    """Returns the table, and the policies of all learners before and after training."""
    table = registry.make_table(environment)
    shown = registry.parse(environment)[0].observation
    tensors, _ = checkpoint.load(folder / "checkpoint.safetensors")
    policy = make_policy(kind, table, len(seeds), seeds.start, view, shown)
    if not isinstance(policy, Policy):
        raise CreditEnvsError(f"policy={kind!r}: expected one without memory, which can be read as a table")
    before = apart(policy, table)
    policy.load_state_dict(part(tensors, "policy."))
    return table, before, apart(policy, table)


def apart(policy: Policy, table: TabularMDP) -> list[TabularPolicy]:
    """Returns every learner's policy."""
    with torch.no_grad():
        rows = policy.table().cpu().numpy().reshape(policy.learners, table.n_obs, -1)
    return [TabularPolicy("obs", np.ascontiguousarray(one)) for one in rows]
