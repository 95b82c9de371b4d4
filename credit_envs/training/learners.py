"""Several learners at once: one table holds a copy of the environment for each, and samples are drawn evenly."""

from __future__ import annotations

from dataclasses import asdict
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from credit_envs.errors import CreditEnvsError, check_range
from credit_envs.oracle.policy import Policy
from credit_envs.sampling.draws import draws, select_segment, streams
from credit_envs.sampling.sampler import Sampler
from credit_envs.sampling.stepping import Remembering
from credit_envs.sampling.trajectories import Meter, Sample
from credit_envs.table.build import union
from credit_envs.table.draws import Purpose, thresholds
from credit_envs.table.mdp import TabularMDP

_LANES = 1 << 14
_WIDTH = 1.96
_COUNTERS = ("_groups", "_rollouts", "_branches", "_nodes", "_searches")


class Learners(Sampler):
    """A sampler in which group i belongs to the learner i modulo the number of learners still going, whatever plan draws.

    Args:
        table: the environment.
        policy: the policies, float64 ``[learners · n_obs, A]``, or one with memory for all learners.
        learners: number of learners.
        seed: first word of every random key.
        device: ``cpu`` or ``cuda``.
        restore: what entering a stored state costs.

    Attributes:
        going: int64, the learners that still draw groups, see :meth:`retire`.
        taken: float64 ``[learners]``, steps that each learner's policy took so far (searches and demonstrations excepted).
    """

    def __init__(
        self,
        table: TabularMDP,
        policy: Tensor | Remembering,
        learners: int,
        seed: int,
        device: str,
        restore: str = "free",
    ) -> None:
        self.single, self.learners = table, learners
        pool = table if learners == 1 else union([table] * learners)
        given = Policy("obs", policy.cpu().numpy()) if isinstance(policy, Tensor) else policy
        super().__init__(pool, given, seed, device, restore)
        self._threshold = self.dynamics._put(table.start_threshold)  # of one copy of the environment
        self.going = torch.arange(learners, device=self.dynamics.device)
        self.taken = torch.zeros(learners, dtype=torch.float64, device=self.dynamics.device)

    def groups(self, n_groups: int, group_size: int, context: Tensor | None = None, limit: int | None = None) -> Sample:
        """Samples groups as :meth:`Sampler.groups` does, evenly over learners where no contexts are given."""
        return super().groups(n_groups, group_size, self.starts(n_groups) if context is None else context, limit)

    def starts(self, n_groups: int, among: Tensor | None = None) -> Tensor:
        """Draws the contexts that the next groups begin in, evenly over learners, int64 ``[n_groups]``.

        Args:
            n_groups: number of groups.
            among: bool ``[contexts]`` of one copy of the environment, where they may begin (default: anywhere).

        Raises:
            CreditEnvsError: if they may begin nowhere.
        """
        device, count = self.dynamics.device, self.single.n_contexts
        threshold = self._threshold
        if among is not None:
            chosen = np.where(among.cpu().numpy(), self.single.start_probability, 0.0)
            if not chosen.any():
                raise CreditEnvsError(f"among: expected a context of {self.single.name} that is ever drawn, got none")
            threshold = torch.from_numpy(thresholds(chosen / chosen.sum())).to(device)
        number = torch.arange(self._groups, self._groups + n_groups, device=device)
        learner = self.going[torch.arange(n_groups, device=device) % len(self.going)]
        luck = draws(streams(self.seed, Purpose.START, learner, number), 0)
        first = torch.zeros_like(number)
        return learner * count + select_segment(threshold, first, first + count - 1, luck, count)

    def owner(self, context: Tensor) -> Tensor:
        """Returns the learner of each context, int64 like it."""
        return context // self.single.n_contexts

    def retire(self, spent: Tensor, budget: float) -> Tensor:
        """Leaves only learners below the budget going (all of them where none is); returns who left, int64.

        Args:
            spent: float64 ``[learners]``.
            budget: environment steps.
        """
        below = torch.nonzero(spent < budget).squeeze(1).to(self.going.device)
        left = self.going[~torch.isin(self.going, below)] if len(below) else self.going[:0]
        self.going = below if len(below) else self.going
        return left

    def _took(self, context: Tensor, times: Tensor | None = None) -> None:
        super()._took(context, times)
        self.taken += torch.bincount(self.owner(context), times, minlength=self.learners)

    def reading(self) -> dict[str, int]:
        """Returns counters and meter, which are all that the next sample depends on beside the policy."""
        return {**{name: getattr(self, name) for name in _COUNTERS}, **asdict(self.meter)}

    def restore_reading(self, reading: dict[str, int]) -> None:
        """Sets what :meth:`reading` returned."""
        for name in _COUNTERS:
            setattr(self, name, reading[name])
        self.meter = Meter(**{name: reading[name] for name in asdict(self.meter)})


class Simulated(NamedTuple):
    """Mean returns of simulated play, and how sure they are.

    Attributes:
        mean: float64 ``[learners]``, discounted as the oracle does.
        error: float64 ``[learners]``, half the width of the 95 % interval (normal, 1.96 standard errors).
    """

    mean: Tensor
    error: Tensor


def simulate(
    table: TabularMDP, policy: Tensor | Remembering, learners: int, rollouts: int, seed: int, device: str = "cpu"
) -> Simulated:
    """Estimates the return of policies that have no exact one, by independent rollouts.

    Args:
        table: the environment.
        policy: as for :class:`Learners`.
        learners: number of learners.
        rollouts: per learner, at least 2.
        seed: first word of every random key.
        device: ``cpu`` or ``cuda``.

    Raises:
        CreditEnvsError: for fewer than 2 rollouts.
    """
    check_range("rollouts", rollouts, 2, 1 << 40, integer=True)
    sampler = Learners(table, policy, learners, seed, device)
    parts, at_once = [], max(1, _LANES // learners)
    for first in range(0, rollouts, at_once):
        batch = sampler.groups(min(at_once, rollouts - first) * learners, 1).trajectories
        weight = table.discount ** torch.arange(batch.mask.shape[1], device=batch.mask.device, dtype=torch.float64)
        parts.append((batch.reward * weight).sum(dim=1).view(-1, learners))
    returns = torch.cat(parts).cpu()
    return Simulated(returns.mean(dim=0), _WIDTH * returns.std(dim=0) / len(returns) ** 0.5)
