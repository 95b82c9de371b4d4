"""Tabular softmax: one logit per observation and action, the policy that the oracle's gradients are of."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from credit_envs.policies.policy import Policy
from credit_envs.table.mdp import TabularMDP


class Tabular(Policy):
    """Tabular softmax, uniform at first.

    Args:
        table: the table that every learner plays.
        learners: number of independent learners.
        seed: of no effect: there is nothing random at first.
    """

    def __init__(self, table: TabularMDP, learners: int = 1, seed: int = 0) -> None:
        super().__init__(table, learners, seed)
        self.logits = nn.Parameter(torch.zeros(learners * self.n_obs, self.n_actions, dtype=torch.float64))

    def scores(self, rows: Tensor) -> Tensor:
        """Returns logits of rows int64 ``[M]``, float64 ``[M, A]``."""
        return self.logits[rows]
