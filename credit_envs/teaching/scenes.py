"""The rollouts on which students' estimators are tried: small batches that tell slips apart, and the truth behind them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import torch
from torch import Tensor

from credit_envs import registry
from credit_envs.errors import CreditEnvsError, check_range
from credit_envs.evaluation.providers import Provided
from credit_envs.evaluation.replicate import Subject
from credit_envs.oracle.control import ladder
from credit_envs.sampling.sampler import Sampler
from credit_envs.sampling.trajectories import Sample, Trajectories

PLACES = (
    ("credit/FrozenLake-v0?horizon=30", "pays at the end only, after episodes of unequal length"),
    ("credit/KeyToDoor-v0?horizon=40", "pays along the way"),
    ("credit/Chat-v0", "pays every turn"),
)
"""Where estimators are tried, and what is particular about it."""

LEVEL = 0.5
"""The policy, as a share of the way from uniform to optimal play."""

_GROUPS, _SIZE, _KEPT = 6, 6, 30


@lru_cache(maxsize=32)
def subject(name: str, gamma: float) -> Subject:
    """Returns an environment at a discount with its policy and the exact values, made once per process.

    Its gradient is the mean of Σ_t ∇log π(a_t|o_t) A_t without γ^t in front, as estimators make it.
    """
    table = registry.make_table(name).replace(discount=gamma)
    made = Subject(table, ladder(table, (LEVEL,))[-1].policy)
    made.gradient = made.plain_gradient
    return made


class SameLuck:
    """Continuations that give the same state the same luck whenever it is asked for, so that results can be compared.

    Args:
        sampler: draws them.
        sample: from inside which rollouts.

    Attributes:
        count: continuations that were asked for.
    """

    def __init__(self, sampler: Sampler, sample: Sample) -> None:
        self._sampler, self._sample = sampler, sample
        self._drawn: dict[tuple[int, float], Tensor] = {}
        self.count = 0

    def __call__(self, rollout: Tensor, step: Tensor, k: int, gamma: float) -> Tensor:
        """Returns float64 ``[M, k]``, see :class:`~credit_envs.piece.Continuations`.

        Raises:
            CreditEnvsError: for a step that was not taken, or a k or γ out of range.
        """
        mask = self._sample.trajectories.mask
        check_range("k", k, 1, 64, integer=True)
        check_range("gamma", gamma, 0, 1)
        inside = (rollout >= 0) & (rollout < mask.shape[0]) & (step >= 0) & (step < mask.shape[1])
        if not bool(inside.all()) or not bool(mask[rollout, step].all()):
            raise CreditEnvsError("continuations: asked from a step that was not taken (see batch.mask)")
        self.count += len(rollout) * k
        if (k, gamma) not in self._drawn:
            at = torch.nonzero(mask, as_tuple=True)
            found = torch.full((*mask.shape, k), torch.nan, dtype=torch.float64)
            found[at] = self._sampler.continuations(self._sample, at[0], at[1], k, gamma)
            self._drawn[k, gamma] = found
        return self._drawn[k, gamma][rollout, step]


@dataclass(frozen=True, eq=False)
class Scene:
    """One batch on which credit is compared with what it should be.

    Attributes:
        place: id of the environment.
        particular: what is particular about it.
        sample: rollouts whose groups are unequal in size and stand in no order.
        needs: what may be asked about them.
    """

    place: str
    particular: str
    sample: Sample
    needs: Mapping[str, Any]

    @property
    def batch(self) -> Trajectories:
        """The rollouts."""
        return self.sample.trajectories

    @cached_property
    def luck(self) -> SameLuck:
        """The continuations that are offered."""
        found: SameLuck = self.needs["continuations"]
        return found


def scenes(gamma: float, seed: int) -> list[Scene]:
    """Draws one batch per place: 30 of 36 rollouts of six groups, in random order.

    Args:
        gamma: discount of the environments.
        seed: of the rollouts.
    """
    out = []
    for place, particular in PLACES:
        made = subject(place, gamma)
        sampler = Sampler(made.table, made.policy, seed)
        whole = sampler.groups(_GROUPS, _SIZE)
        order = torch.randperm(_GROUPS * _SIZE, generator=torch.Generator().manual_seed(seed))[:_KEPT]
        sample = whole.rows(order)
        out.append(Scene(place, particular, sample, {"continuations": SameLuck(sampler, sample)}))
    return out


def many(place: str, gamma: float, seed: int, groups: int, size: int = 8) -> tuple[Subject, Sample, Provided]:
    """Draws many groups of an environment, to be averaged over."""
    made = subject(place, gamma)
    sampler = Sampler(made.table, made.policy, seed)
    sample = sampler.groups(groups, size)
    return made, sample, Provided(sampler, sample, made.values)
