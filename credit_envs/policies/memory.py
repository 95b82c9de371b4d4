"""What a trainable policy with memory is: a carry that goes along with an episode, and whole episodes with gradient.

    carry = policy.initial(n)
    logits, carry = policy.act(obs, last, carry)        one step of n episodes; last is what each did before, −1 at first
    logits = policy.logits(obs, action)                 all steps of N episodes at once, the same numbers

The action is drawn outside, so ``act`` is told the last one. An episode that hasn't begun sees observation −1 and its carry
stays as it was: a batch of episodes of different ages is aligned at its end. A policy whose window is finite (``context``)
is a table over a table that remembers (:func:`tabulated`), and so exact; otherwise truth is an average with an interval
(:func:`credit_envs.sampling.stepping.simulate`).
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor, nn

from credit_envs.dials.memory import MAX_STATES
from credit_envs.dials.remember import Remembered, remember
from credit_envs.errors import CreditEnvsError
from credit_envs.oracle.policy import Policy as TabularPolicy
from credit_envs.policies.policy import admissible, normalised
from credit_envs.sampling.trajectories import Trajectories
from credit_envs.table.mdp import TabularMDP

Carry = Any
"""Tensors in nested tuples; the first axis of each is that of the episodes."""

_CHUNK = 1 << 12


class MemoryPolicy(nn.Module):
    """A policy over histories of observation ids and actions, for one or several learners.

    Args:
        table: the table that every learner plays.
        learners: number of independent learners; learner k's observations are ``k · n_obs + observation id``.
        seed: learner k's initial weights come from seed + k.

    Attributes:
        context: steps that a choice may depend on, its own included; None: all of them.
    """

    allowed: Tensor
    context: int | None = None

    def __init__(self, table: TabularMDP, learners: int = 1, seed: int = 0) -> None:
        super().__init__()
        self.seed = seed
        self.n_obs, self.n_actions, self.learners = table.n_obs, table.n_actions, learners
        self.register_buffer("allowed", admissible(table), persistent=False)

    @abstractmethod
    def initial(self, n: int) -> Carry:
        """Returns the carry of n episodes that have not begun."""

    @abstractmethod
    def act(self, obs: Tensor, last: Tensor, carry: Carry) -> tuple[Tensor, Carry]:
        """Takes one step of n episodes.

        Args:
            obs: int64 ``[n]``, observations, −1 where the episode hasn't begun.
            last: int64 ``[n]``, actions of the steps before, −1 at first.
            carry: of the steps before.

        Returns:
            Logits ``[n, A]`` without regard to admissibility, and the carry.
        """

    @abstractmethod
    def logits(self, obs: Tensor, action: Tensor) -> Tensor:
        """Returns logits ``[N, T, A]`` of whole episodes, with gradient.

        Args:
            obs: int64 ``[N, T]``, observations from step 0 on; what stands after the end of an episode is of no effect.
            action: int64 ``[N, T]``; a step sees the actions before it.
        """

    def prepare(self) -> None:
        """Makes ready for many calls of :meth:`act` without gradient under the present weights."""

    # -- the same for all ------------------------------------------------------------------------------------------

    def admits(self, obs: Tensor) -> Tensor:
        """Returns which actions observations admit, bool ``[..., A]``."""
        return self.allowed[obs % self.n_obs]

    def log_probs(self, obs: Tensor, action: Tensor) -> Tensor:
        """Returns log-probabilities float64 ``[N, T, A]`` of whole episodes; arguments as in :meth:`logits`."""
        return normalised(self.logits(obs, action), self.admits(obs))

    def log_prob(self, batch: Trajectories) -> Tensor:
        """Returns log-probabilities of a batch's actions, float64 ``[N, T]``, 0 where masked.

        What was seen and done in masked columns before a step is still remembered, so rows may be windows of rollouts.
        """
        found = self.log_probs(batch.obs, batch.action).gather(2, batch.action[..., None]).squeeze(2)
        return torch.where(batch.mask, found, 0.0)

    def entropy(self, batch: Trajectories) -> Tensor:
        """Returns the entropy at every step in nats, float64 ``[N, T]``, 0 where masked."""
        log = self.log_probs(batch.obs, batch.action)
        return torch.where(batch.mask, -(log.exp() * log).sum(dim=2), 0.0)

    @torch.no_grad()
    def replay(self, obs: Tensor, action: Tensor, steps: Tensor) -> tuple[Carry, Tensor]:
        """Replays the first steps of episodes.

        Args:
            obs: int64 ``[M, T]``.
            action: int64 ``[M, T]``.
            steps: int64 ``[M]``, how many steps of each.

        Returns:
            The carries of the M episodes, and their last actions int64 ``[M]`` (−1 where no step was taken).
        """
        carry, longest = self.initial(len(obs)), int(steps.max()) if len(steps) else 0
        last = torch.full((len(obs),), -1, dtype=torch.int64, device=obs.device)
        for t in range(longest):
            at = steps - longest + t  # aligned at the end
            place = at.clamp(min=0)[:, None]
            seen = torch.where(at >= 0, obs.gather(1, place).squeeze(1), -1)
            _, carry = self.act(seen, last, carry)
            last = torch.where(at >= 0, action.gather(1, place).squeeze(1), -1)
        return carry, last


@torch.no_grad()
def tabulated(
    policy: MemoryPolicy, table: TabularMDP, learner: int = 0, max_states: int = MAX_STATES
) -> tuple[Remembered, TabularPolicy]:
    """Turns a policy with a finite window into a table, exactly.

    Args:
        policy: the policy; its ``context`` must be finite.
        table: the table that it plays, without emission layers.
        learner: whose policy.
        max_states: largest number of states to build.

    Returns:
        The table that remembers ``context − 1`` steps, and the policy over its looks.

    Raises:
        CreditEnvsError: if the window is not finite, or the table can't be built.
    """
    if policy.context is None:
        raise CreditEnvsError("policy: its memory has no finite window, so it is no table; simulate its return instead")
    found = remember(table, policy.context - 1, max_states)
    device = policy.allowed.device
    look, seen, done = (torch.from_numpy(part).to(device) for part in (found.look, found.seen, found.done))
    offset = learner * policy.n_obs
    policy.prepare()
    rows = []
    for part in torch.split(torch.arange(len(look), device=device), _CHUNK):
        steps = (seen[part] >= 0).sum(dim=1)
        # Memories are aligned at their end, replay wants them aligned at their beginning.
        order = (torch.arange(seen.shape[1], device=device) - steps[:, None]) % max(seen.shape[1], 1)
        past, acts = seen[part].gather(1, order) + offset, done[part].gather(1, order)
        carry, last = policy.replay(past, acts, steps)
        logits, _ = policy.act(look[part] + offset, last, carry)
        rows.append(normalised(logits, policy.allowed[look[part]]).exp())
    return found, TabularPolicy("look", torch.cat(rows).cpu().numpy())


def select(carry: Carry, index: Tensor) -> Carry:
    """Returns the carries of some episodes, int64 ``[m]``."""
    if isinstance(carry, Tensor):
        return carry[index]
    parts = [select(part, index) for part in carry]
    return type(carry)(*parts) if hasattr(carry, "_fields") else tuple(parts)
