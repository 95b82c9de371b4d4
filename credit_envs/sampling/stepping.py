"""Sampling with policies that remember: a carry goes along with every lane, and what they say at each step is recorded.

A policy with memory has no table, so the behaviour table of a sample is what it said at the visited steps, one row each.
Draws are those of tables: 53-bit integers against the quantised float64 probabilities, by the same keys. Forks and
continuations replay the observations and actions before them to come to their carries; that is not charged as policy
calls, because a system that keeps its carries needn't pay it. Search is not supported.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NoReturn, Protocol, runtime_checkable

import torch
from torch import Tensor

from credit_envs.errors import CreditEnvsError
from credit_envs.sampling.device import DeviceTable
from credit_envs.sampling.draws import draws, row_thresholds

_NEVER = -1e9
_NO_TABLE = (
    "policy: it remembers, so it is no table and has no exact values here; use what needs only rollouts, "
    "or policies.memory.tabulated if its window is finite"
)


@runtime_checkable
class Remembering(Protocol):
    """A policy with memory, see :class:`credit_envs.policies.memory.MemoryPolicy`.

    Whether an object is one is read off its class and plain attributes: since Python 3.12 a module's buffers don't count.
    """

    n_obs: int
    n_actions: int

    def admits(self, obs: Tensor) -> Tensor:
        """Returns which actions observations admit, bool ``[M, A]``."""
        ...

    def initial(self, n: int) -> Any:
        """Returns the carry of n episodes that have not begun."""
        ...

    def act(self, obs: Tensor, last: Tensor, carry: Any) -> tuple[Tensor, Any]:
        """Takes one step: logits and carry."""
        ...

    def replay(self, obs: Tensor, action: Tensor, steps: Tensor) -> tuple[Any, Tensor]:
        """Replays the first steps of episodes: carry and last actions."""
        ...

    def prepare(self) -> None:
        """Makes ready for many steps under the present weights."""
        ...


@dataclass(frozen=True, eq=False)
class History:
    """What came before a lane begins.

    Attributes:
        obs: int64 ``[M, T]``, observation ids.
        action: int64 ``[M, T]``, actions as named.
        steps: int64 ``[M]``, how many steps of each row.
    """

    obs: Tensor
    action: Tensor
    steps: Tensor


class Stepper:
    """A policy with memory on a device; stands where :class:`~credit_envs.sampling.device.DevicePolicy` does.

    Args:
        dynamics: the table.
        policy: the policy, on the same device.
    """

    kind = "obs"

    def __init__(self, dynamics: DeviceTable, policy: Remembering) -> None:
        if dynamics.table.n_obs % policy.n_obs or dynamics.table.n_actions != policy.n_actions:
            raise CreditEnvsError(
                f"policy: it knows {policy.n_obs} observations and {policy.n_actions} actions, "
                f"{dynamics.table.name} has {dynamics.table.n_obs} and {dynamics.table.n_actions}"
            )
        self.dynamics, self.remembering = dynamics, policy

    def begin(self, n: int, history: History | None = None) -> Play:
        """Begins n episodes, or goes on with n that have a history."""
        return Play(self, n, history)

    def follow(self, probability: Tensor | None = None) -> None:
        """Does nothing: the policy is read anew whenever episodes begin."""

    @property
    def policy(self) -> NoReturn:
        """Raises: there is no table.

        Raises:
            CreditEnvsError: always.
        """
        raise CreditEnvsError(_NO_TABLE)

    @property
    def probability(self) -> NoReturn:
        """Raises, as :attr:`policy`."""
        raise CreditEnvsError(_NO_TABLE)

    @property
    def threshold(self) -> NoReturn:
        """Raises, as :attr:`policy`."""
        raise CreditEnvsError(_NO_TABLE)


class Play:
    """Lanes of running episodes; finished ones leave."""

    def __init__(self, stepper: Stepper, n: int, history: History | None) -> None:
        self._stepper, policy = stepper, stepper.remembering
        device = stepper.dynamics.device
        policy.prepare()
        if history is None:
            self._carry = policy.initial(n)
            self._last = torch.full((n,), -1, dtype=torch.int64, device=device)
        else:
            self._carry, self._last = policy.replay(history.obs, history.action, history.steps)
        self._said: list[Tensor] = []

    @torch.no_grad()
    def act(self, state: Tensor, code: Tensor, key: Tensor, t: Tensor | int) -> tuple[Tensor, Tensor]:
        """Draws actions; returns (action as named, executed edge, −1 if inadmissible)."""
        d, policy = self._stepper.dynamics, self._stepper.remembering
        obs = d.observe(state, code)
        logits, self._carry = policy.act(obs, self._last, self._carry)
        barred = ~policy.admits(obs)
        probability = torch.log_softmax(logits.to(torch.float64).masked_fill(barred, _NEVER), dim=1).exp()
        choice = (row_thresholds(probability) <= draws(key, t)[:, None]).sum(dim=1)
        self._last = choice
        self._said.append(probability)
        return choice, d.renamed(state, d.find_edges(state, choice), code, -1)

    def keep(self, lanes: Tensor) -> None:
        """Lets only some lanes go on, int64 ``[m]``."""
        self._carry, self._last = _selected(self._carry, lanes), self._last[lanes]

    def chosen(self, state: Tensor, code: Tensor) -> tuple[Tensor, Tensor]:  # noqa: ARG002 (as tables are asked)
        """Returns the rows of all steps so far in order, int64 ``[M]``, and what was said there, float64 ``[M, A]``."""
        return torch.arange(len(state), device=state.device), torch.cat(self._said)


def _selected(carry: Any, index: Tensor) -> Any:
    if isinstance(carry, Tensor):
        return carry[index]
    parts = [_selected(part, index) for part in carry]
    return type(carry)(*parts) if hasattr(carry, "_fields") else tuple(parts)
