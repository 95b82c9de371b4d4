"""Several learners at once: one table holds a copy of the environment for each, and samples are drawn evenly."""

from __future__ import annotations

from dataclasses import asdict

import torch
from torch import Tensor

from credit_envs.oracle.policy import Policy
from credit_envs.sampling.draws import draws, select_segment, streams
from credit_envs.sampling.sampler import Sampler
from credit_envs.sampling.trajectories import Meter, Sample
from credit_envs.table.build import union
from credit_envs.table.draws import Purpose
from credit_envs.table.mdp import TabularMDP

_COUNTERS = ("_groups", "_rollouts", "_branches", "_nodes", "_searches")


class Learners(Sampler):
    """A sampler in which group i belongs to the learner i modulo the number of learners still going, whatever plan draws.

    Args:
        table: the environment.
        probability: float64 ``[learners · n_obs, A]``, the policies.
        learners: number of learners.
        seed: first word of every random key.
        device: ``cpu`` or ``cuda``.
        restore: what entering a stored state costs.

    Attributes:
        going: int64, the learners that still draw groups, see :meth:`retire`.
        taken: float64 ``[learners]``, steps that each learner's policy took so far (searches and demonstrations excepted).
    """

    def __init__(
        self, table: TabularMDP, probability: Tensor, learners: int, seed: int, device: str, restore: str = "free"
    ) -> None:
        self.single, self.learners = table, learners
        pool = table if learners == 1 else union([table] * learners)
        super().__init__(pool, Policy("obs", probability.cpu().numpy()), seed, device, restore)
        self._threshold = self.dynamics._put(table.start_threshold)
        self.going = torch.arange(learners, device=self.dynamics.device)
        self.taken = torch.zeros(learners, dtype=torch.float64, device=self.dynamics.device)

    def groups(self, n_groups: int, group_size: int, context: Tensor | None = None, limit: int | None = None) -> Sample:
        """Samples groups as :meth:`Sampler.groups` does, evenly over learners where no contexts are given."""
        if context is None:
            device, count = self.dynamics.device, self.single.n_contexts
            number = torch.arange(self._groups, self._groups + n_groups, device=device)
            learner = self.going[torch.arange(n_groups, device=device) % len(self.going)]
            luck = draws(streams(self.seed, Purpose.START, learner, number), 0)
            first = torch.zeros_like(number)
            context = learner * count + select_segment(self._threshold, first, first + count - 1, luck, count)
        return super().groups(n_groups, group_size, context, limit)

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
