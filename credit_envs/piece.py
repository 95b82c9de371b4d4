"""What an algorithm is made of: pieces, each a pure function in one of five slots, and what they may ask for.

    plan       plan(sampler, groups, group_size) → Sample                    which rollouts are drawn
    reward     reward(batch, *, needs) → Trajectories                        what they are paid
    advantage  advantage(batch, *, needs) → float64 [N, T]                   credit of every step
    weight     weight(batch, *, needs) → float64 [N, T]                      factors on the credit, mostly masks
    loss       loss(log_prob [N, T], batch, credit [N, T], *, needs) → scalar, to be minimised

What a piece needs beyond that it names as keyword-only parameters without defaults, see :data:`NEEDS`.
"""

from __future__ import annotations

import functools
import inspect
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from credit_envs.errors import CreditEnvsError, unknown

if TYPE_CHECKING:
    from torch import Tensor

    from credit_envs.sampling.search import SearchResult
    from credit_envs.sampling.trajectories import Trajectories

PieceFunction = Callable[..., Any]

SLOTS = ("plan", "reward", "advantage", "weight", "loss")
"""The five slots of a recipe, in the order in which data passes through them."""

STATUSES = ("verified", "reconstruction", "as told", "ours", "user")
"""``verified``: follows paper or code, checked against the oracle; ``reconstruction``: the source leaves something open;
``as told``: a distorted form that circulates, kept to be measured; ``ours``; ``user``: not of this package."""


class Continuations(Protocol):
    """Fresh rollouts from inside a batch: (rollout ``[M]``, step ``[M]``, k, γ) → returns ``[M, k]``; metered."""

    def __call__(self, rollout: Tensor, step: Tensor, k: int, gamma: float) -> Tensor:
        """Samples the continuations."""
        ...


class Fresh(Protocol):
    """Independent groups of the same policy, to train a critic or a reward model on; metered."""

    def __call__(self, groups: int) -> Trajectories:
        """Samples the groups, each of the batch's group size."""
        ...


class Demonstrations(Protocol):
    """Rollouts of a policy of stated skill (0 uniform, 1 optimal), as if by an expert; metered."""

    def __call__(self, rollouts: int, skill: float) -> Trajectories:
        """Samples the rollouts."""
        ...


class Search(Protocol):
    """Tree search from inside a batch: (rollout ``[M]``, step ``[M]``, simulations, c, rule) → Q and visits; metered."""

    def __call__(
        self, rollout: Tensor, step: Tensor, simulations: int, c: float = 2**0.5, rule: str = "uct", nodes: bool = False
    ) -> SearchResult:
        """Searches; ``nodes`` asks for the statistics of all nodes."""
        ...


class Labels(Protocol):
    """What the environment verifies: a label's name → its values int64 ``[N, T + 1]`` before each step and after the last.

    Column t is the label of the state in which step t is taken; the column after a rollout's last step holds the label of
    the state that it ended in, and so do all later columns.
    """

    def __call__(self, name: str) -> Tensor:
        """Reads a label."""
        ...


class Noise(Protocol):
    """Counter-based luck of judges, masks and initial weights: (salt, shape) → uniform float64 in [0, 1)."""

    def __call__(self, salt: int, *shape: int) -> Tensor:
        """Draws uniforms; equal salts give equal draws within one replicate."""
        ...


NEEDS: Mapping[str, str] = {
    "continuations": "fresh rollouts from inside trajectories (snapshots); every step is charged",
    "fresh": "independent groups of the same policy, to fit a model on; every step is charged",
    "demonstrations": "rollouts of a policy of stated skill; every step is charged",
    "search": "tree search from visited states (snapshots); every simulated step is charged",
    "text": "the words of observation ids: a function from ids [n] to n strings",
    "key": "a structured identity key per step, int64 [N, T]",
    "labels": "what the environment verifies: a label's name → int64 [N, T + 1]",
    "blind_log_prob": "log-probability of the actions with the image masked, float64 [N, T]; one more policy call per step",
    "noise": "counter-based luck of judges and masks: (salt, *shape) → uniforms",
    "parameters": "the tensors that log_prob depends on (losses only)",
    "visual": "steps whose right action only the image tells, bool [N, T] (privileged)",
    "value": "exact values V_t(s_t), float64 [N, T] (privileged)",
    "state": "true states, int64 [N, T] (privileged)",
    "advantage": "the exact advantage, float64 [N, T] (privileged)",
    "projected_advantage": "E[A | t, observation, action], float64 [N, T] (privileged)",
}
"""What a piece may ask for, as keyword-only parameters of these names."""

PRIVILEGED = frozenset({"visual", "value", "state", "advantage", "projected_advantage"})
"""Needs that hand out truth, which no real system has."""


@dataclass(frozen=True)
class Piece:
    """One piece with its name and what a reader wants to know about it.

    Attributes:
        name: as it stands in tables and recipes.
        function: see the module's first lines for its form in each slot.
        granularity: what shares one number: group, trajectory, segment, turn, step, token.
        source: paper and section.
        status: one of :data:`STATUSES`.
        gamma: the discount it uses (its paper's by default), None if it takes none.
        slot: one of :data:`SLOTS`.
        requires: labels that the table must have; ``a|b`` means either.
        note: what it costs beyond the rollouts, or what it is kept for, in a few words.
        model_calls: evaluations of a critic, a reward model or a judge per step.
        needs: names in :data:`NEEDS`, read from the function's keyword-only parameters.
    """

    name: str
    function: PieceFunction
    granularity: str = "step"
    source: str = ""
    status: str = "verified"
    gamma: float | None = None
    slot: str = "advantage"
    requires: tuple[str, ...] = ()
    note: str = ""
    model_calls: float = 0.0
    needs: tuple[str, ...] = field(default=(), init=False)

    def __post_init__(self) -> None:
        for name, value, allowed in (("slot", self.slot, SLOTS), ("status", self.status, STATUSES)):
            if value not in allowed:
                raise CreditEnvsError(f"{self.name}: {name}={value!r}, expected one of {', '.join(allowed)}")
        object.__setattr__(self, "needs", needs_of(self.function))

    @property
    def summary(self) -> str:
        """First line of the docstring of the file that the function stands in."""
        function: Any = self.function
        while isinstance(function, functools.partial):
            function = function.func
        text = inspect.getdoc(inspect.getmodule(function)) or ""
        return text.partition("\n")[0]

    def with_gamma(self, gamma: float) -> Piece:
        """Returns the piece at another discount (itself if it takes none)."""
        if self.gamma is None or self.gamma == gamma:
            return self
        return replace(self, function=functools.partial(self.function, gamma=gamma), gamma=gamma)

    def __call__(self, *arguments: Any, provided: Mapping[str, Any]) -> Any:
        """Runs the function with what it needs.

        Raises:
            CreditEnvsError: if it raises; the message names the piece and the line.
        """
        given = {name: provided[name] for name in self.needs}
        try:
            return self.function(*arguments, **given)
        except CreditEnvsError:
            raise
        except Exception as error:
            place = traceback.extract_tb(error.__traceback__)[-1]
            line = f"{Path(place.filename).name}:{place.lineno}"
            raise CreditEnvsError(f"{self.name}: raised {type(error).__name__} in {line}: {error}") from error

    def steps(self, batch: Trajectories, provided: Mapping[str, Any]) -> Tensor:
        """Runs a piece that returns one number per step; masked steps become 0.

        Raises:
            CreditEnvsError: if it raises, or returns the wrong shape, or NaN on a step that was taken.
        """
        import torch

        found = self(batch, provided=provided)
        what = "credit" if self.slot == "advantage" else self.slot
        if not isinstance(found, torch.Tensor):
            found = torch.as_tensor(found, dtype=torch.float64, device=batch.mask.device)
        if found.shape != batch.mask.shape:
            raise CreditEnvsError(
                f"{self.name}: {what} has shape {tuple(found.shape)}, expected {tuple(batch.mask.shape)}"
            )
        found = torch.where(batch.mask, found.to(torch.float64), 0.0)
        bad = ~torch.isfinite(found)
        if bad.any():
            where = [int(i) for i in torch.nonzero(bad)[0]]
            raise CreditEnvsError(
                f"{self.name}: {what} is {float(found[bad][0])} at [rollout, step] = {where}, expected numbers"
            )
        return found


def needs_of(function: PieceFunction) -> tuple[str, ...]:
    """Reads a piece's needs from its keyword-only parameters without defaults.

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
