"""What an estimator is: a pure function from trajectories, and what it declares that it needs, to credit ``[N, T]``."""

from __future__ import annotations

import functools
import inspect
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from credit_envs.errors import CreditEnvsError, unknown
from credit_envs.sampling.trajectories import Trajectories

CreditFunction = Callable[..., Tensor]


class Continuations(Protocol):
    """Fresh rollouts from inside a batch: (rollout ``[M]``, step ``[M]``, k, γ) → returns ``[M, k]``; metered."""

    def __call__(self, rollout: Tensor, step: Tensor, k: int, gamma: float) -> Tensor:
        """Samples the continuations."""
        ...


NEEDS: Mapping[str, str] = {
    "continuations": "fresh rollouts from inside trajectories (snapshots); every step is charged",
    "text": "the words of observation ids: a function from ids [n] to n strings",
    "key": "a structured identity key per step, int64 [N, T]",
    "state": "true states, int64 [N, T] (privileged)",
    "advantage": "the exact advantage, float64 [N, T] (privileged)",
    "projected_advantage": "E[A | t, observation, action], float64 [N, T] (privileged)",
}
"""What an estimator may ask for, as keyword-only parameters of these names."""


@dataclass(frozen=True)
class Method:
    """An estimator with its name and what a reader wants to know about it.

    Attributes:
        name: as it stands in tables.
        estimate: ``estimate(batch, **needs) → float64 [N, T]``; masked steps are ignored.
        needs: names in :data:`NEEDS`, read from the function's keyword-only parameters.
        gamma: the discount it uses (its paper's by default), None if it takes none.
        granularity: trajectory, turn, step or segment.
        source: paper and section.
        status: ``verified`` (checked against the oracle), ``reconstruction`` or ``ours``.
    """

    name: str
    estimate: CreditFunction
    granularity: str = "step"
    source: str = ""
    status: str = "verified"
    gamma: float | None = None
    needs: tuple[str, ...] = field(default=(), init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "needs", needs_of(self.estimate))

    def with_gamma(self, gamma: float) -> Method:
        """Returns the method at another discount (itself if it takes none)."""
        if self.gamma is None or self.gamma == gamma:
            return self
        estimate = functools.partial(self.estimate, gamma=gamma)
        return Method(self.name, estimate, self.granularity, self.source, self.status, gamma)

    def __call__(self, batch: Trajectories, provided: Mapping[str, Any]) -> Tensor:
        """Runs the estimator with what it needs and checks what comes back.

        Raises:
            CreditEnvsError: if it raises, or the credit has the wrong shape, or NaN on a step that was taken.
        """
        given = {name: provided[name] for name in self.needs}
        try:
            credit = self.estimate(batch, **given)
        except CreditEnvsError:
            raise
        except Exception as error:
            place = traceback.extract_tb(error.__traceback__)[-1]
            line = f"{Path(place.filename).name}:{place.lineno}"
            raise CreditEnvsError(f"{self.name}: raised {type(error).__name__} in {line}: {error}") from error
        if not isinstance(credit, Tensor):
            credit = torch.as_tensor(credit, dtype=torch.float64, device=batch.mask.device)
        if credit.shape != batch.mask.shape:
            raise CreditEnvsError(
                f"{self.name}: credit has shape {tuple(credit.shape)}, expected {tuple(batch.mask.shape)}"
            )
        credit = torch.where(batch.mask, credit.to(torch.float64), 0.0)
        bad = ~torch.isfinite(credit)
        if bad.any():
            where = [int(i) for i in torch.nonzero(bad)[0]]
            raise CreditEnvsError(
                f"{self.name}: credit is {float(credit[bad][0])} at [rollout, step] = {where}, expected numbers"
            )
        return credit


def needs_of(function: CreditFunction) -> tuple[str, ...]:
    """Reads an estimator's needs from its keyword-only parameters without defaults.

    Raises:
        CreditEnvsError: if it asks for something that does not exist.
    """
    asked = [
        name
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY and parameter.default is parameter.empty
    ]
    for name in asked:
        if name not in NEEDS:
            raise unknown("need of an estimator", name, NEEDS)
    return tuple(asked)
