"""What a trainable policy without memory is: log-probabilities of named actions for observation ids, and so a table.

A finite environment has finitely many observations, so a network that reads one observation at a time is a table as well:
evaluated once on all of them, it is sampled and solved as fast as any table.
"""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
import torch
from torch import Tensor, nn

from credit_envs.sampling.statistics import distinct
from credit_envs.sampling.trajectories import Trajectories
from credit_envs.table.mdp import TabularMDP

_NEVER = -1e9


def admissible(table: TabularMDP) -> Tensor:
    """Returns which action names each observation admits, bool ``[n_obs, A]`` (all of them where play ends)."""
    looks = np.zeros((table.emission.n_base, table.n_actions), dtype=bool)
    looks[table.emission.base[table.edge_state], table.edge_action] = True
    looks[~looks.any(axis=1)] = True
    return torch.from_numpy(looks.repeat(table.emission.n_codes, axis=0))


def normalised(logits: Tensor, allowed: Tensor) -> Tensor:
    """Turns logits ``[..., A]`` into log-probabilities over admissible actions, float64; others get −1e9.

    Args:
        logits: floating ``[..., A]``.
        allowed: bool, broadcast against them.
    """
    return torch.log_softmax(logits.to(torch.float64).masked_fill(~allowed, _NEVER), dim=-1)


class Policy(nn.Module):
    """A policy over observation ids, for one or several learners at once.

    Args:
        table: the table that every learner plays.
        learners: number of independent learners; rows of learner k are ``k · n_obs + observation id``.
        seed: seed of initial weights.
    """

    allowed: Tensor

    def __init__(self, table: TabularMDP, learners: int = 1, seed: int = 0) -> None:
        super().__init__()
        self.seed = seed
        self.n_obs, self.n_actions, self.learners = table.n_obs, table.n_actions, learners
        self.register_buffer("allowed", admissible(table), persistent=False)

    @abstractmethod
    def scores(self, rows: Tensor) -> Tensor:
        """Returns logits of rows int64 ``[M]``, floating ``[M, A]``, without regard to admissibility."""

    def log_probs(self, rows: Tensor) -> Tensor:
        """Returns log-probabilities of rows int64 ``[M]``, float64 ``[M, A]``."""
        return normalised(self.scores(rows), self.allowed[rows % self.n_obs])

    def table(self) -> Tensor:
        """Returns the probabilities of all rows, float64 ``[learners · n_obs, A]``, without gradient."""
        with torch.no_grad():
            rows = torch.arange(self.learners * self.n_obs, device=self.allowed.device)
            return torch.cat([self.log_probs(part).exp() for part in torch.split(rows, 1 << 16)])

    def log_prob(self, batch: Trajectories) -> Tensor:
        """Returns log-probabilities of a batch's actions, float64 ``[N, T]``, 0 where masked.

        Each observation that occurs is evaluated once, however often it was visited.
        """
        rows, place = self._occurring(batch)
        out = torch.zeros_like(batch.log_prob)
        cell = place * self.n_actions + batch.policy_action[batch.mask]
        # index_select's gradient is one addition per step; that of indexing by pairs sorts them first on a card
        out[batch.mask] = self.log_probs(rows).flatten().index_select(0, cell)
        return out

    def entropy(self, batch: Trajectories) -> Tensor:
        """Returns the entropy at every step in nats, float64 ``[N, T]``, 0 where masked."""
        rows, place = self._occurring(batch)
        log = self.log_probs(rows)
        each = -(log.exp() * log).sum(dim=1)
        out = torch.zeros_like(batch.log_prob)
        out[batch.mask] = each[place]
        return out

    def _occurring(self, batch: Trajectories) -> tuple[Tensor, Tensor]:
        """Returns the rows that a batch visits, int64 ``[R]``, and the place of each taken step's among them, ``[M]``."""
        return distinct(batch.policy_row[batch.mask])
