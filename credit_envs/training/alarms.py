"""Collapse alarms: what goes wrong in training with group baselines, seen early.

In-group spread of returns and entropy fall before the echo trap (RAGEN, Wang et al. 2025, arXiv 2504.20073 §4), spikes of
the gradient norm mark it; degenerate groups give no gradient at all; anchor groups say what step-level credit lives on.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from credit_envs.sampling.anchors import scoped
from credit_envs.sampling.statistics import compact, group_count, group_sum
from credit_envs.sampling.trajectories import Trajectories

_SPIKE = 10.0
_WINDOW = 50
_FEWEST = 10
_FALLEN = 0.05
_DEGENERATE = 0.95


def vitals(batch: Trajectories) -> dict[str, float]:
    """Returns what a batch says about the health of training.

    Returns:
        ``return`` (mean), ``spread`` (mean in-group deviation of returns), ``degenerate`` (share of groups whose returns
        are all equal), ``length`` (mean steps of a rollout), ``revisits`` (share of steps whose anchor another rollout
        of the group visits too) and ``anchor_group`` (mean number of steps at the anchor of a step).
    """
    group, n = compact(batch.group)
    returns, count = batch.returns, group_count(group, n)
    mean = group_sum(returns, group, n) / count
    variance = group_sum((returns - mean[group]) ** 2, group, n) / (count - 1).clamp(min=1)
    ids, anchors = scoped(batch, batch.anchor)
    # a rollout's number inside its group (rollouts of a group lie together), so that pairs stay small numbers
    number = torch.arange(batch.n_rollouts, device=group.device)
    first = torch.full((n,), batch.n_rollouts, device=group.device).scatter_reduce(0, group, number, "amin")
    inside = number - first[group]
    rollout = inside[:, None].expand_as(batch.mask)[batch.mask]
    pair, pairs = compact(ids * (int(inside.max()) + 1) + rollout)
    of = torch.zeros(pairs, dtype=torch.int64, device=ids.device)
    of[pair] = ids
    visitors = group_count(of, anchors)
    return {
        "return": float(returns.mean()),
        "spread": float(variance.sqrt().mean()),
        "degenerate": float((variance <= 0).to(torch.float64).mean()),
        "length": float(batch.lengths.to(torch.float64).mean()),
        "revisits": float((visitors[ids] >= 2).to(torch.float64).mean()),
        "anchor_group": float(group_count(ids, anchors)[ids].mean()),
    }


@dataclass
class Alarms:
    """Watches vitals and says what looks like collapse, each thing once.

    Attributes:
        raised: alarm → update at which it was raised.
        norms: the last gradient norms.
        highest: highest entropy and spread so far.
    """

    raised: dict[str, int] = field(default_factory=dict)
    norms: list[float] = field(default_factory=list)
    highest: dict[str, float] = field(default_factory=dict)

    def watch(self, update: int, now: dict[str, float], solved: bool = False) -> list[str]:
        """Returns the alarms that these vitals raise for the first time.

        Args:
            update: number of updates.
            now: vitals, with ``entropy`` and ``grad_norm``.
            solved: whether play is nearly optimal; then there is nothing left to spread or to be undecided about.
        """
        found: dict[str, str] = {}
        usual = sorted(self.norms)[len(self.norms) // 2] if len(self.norms) >= _FEWEST else None
        if usual and now["grad_norm"] > _SPIKE * usual:
            found["grad_norm"] = f"gradient norm {now['grad_norm']:.3g}, usually {usual:.3g}"
        self.norms = [*self.norms[-_WINDOW + 1 :], now["grad_norm"]]
        for name in ("entropy", "spread"):
            self.highest[name] = max(self.highest.get(name, 0.0), now[name])
            if update >= _FEWEST and not solved and now[name] < _FALLEN * self.highest[name]:
                found[name] = f"{name} {now[name]:.3g}, once {self.highest[name]:.3g}"
        if update >= _FEWEST and not solved and now["degenerate"] > _DEGENERATE:
            found["degenerate"] = f"{now['degenerate']:.0%} of groups have equal returns: no gradient"
        new = {name: text for name, text in found.items() if name not in self.raised}
        self.raised |= dict.fromkeys(new, update)
        return list(new.values())


def norms_of(gradients: list[Tensor], learners: int) -> Tensor:
    """Returns the gradient norm of each learner, float64 ``[learners]``; parameters lead with the learners' axis."""
    total = torch.zeros(learners, dtype=torch.float64, device=gradients[0].device)
    for gradient in gradients:
        total += (gradient.to(torch.float64) ** 2).reshape(learners, -1).sum(dim=1)
    return total.sqrt()
