"""A critic that an agent keeps from batch to batch: a table of mean returns in which old batches fade."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from credit_envs.sampling.statistics import group_count, group_sum, returns_to_go, whitened
from credit_envs.sampling.trajectories import Trajectories


class Critic(nn.Module):
    """Fading mean returns to go per row of the policy; buffers, so that a checkpoint holds them.

    Args:
        rows: rows of the policy's table, all learners together.
        learners: number of learners, whose rows stand one after the other.
    """

    total: Tensor
    count: Tensor

    def __init__(self, rows: int, learners: int) -> None:
        super().__init__()
        self.learners = learners
        self.register_buffer("total", torch.zeros(rows, dtype=torch.float64))
        self.register_buffer("count", torch.zeros(rows, dtype=torch.float64))

    def values(self, batch: Trajectories) -> Tensor:
        """Returns V̂ of every step, float64 ``[N, T]``; a row that no batch has shown has its learner's mean."""
        total, count = self.total.view(self.learners, -1), self.count.view(self.learners, -1)
        mean = total.sum(dim=1, keepdim=True) / count.sum(dim=1, keepdim=True).clamp(min=1e-9)
        value = torch.where(count > 0, total / count.clamp(min=1e-9), mean)
        return torch.where(batch.mask, value.view(-1)[batch.policy_row], 0.0)

    def learn(self, batch: Trajectories, gamma: float, memory: float) -> None:
        """Adds a batch and lets the earlier ones fade.

        Args:
            batch: rollouts.
            gamma: discount in [0, 1].
            memory: how much of the weight of earlier batches stays, in [0, 1].
        """
        to_go, row = returns_to_go(batch.reward, batch.mask, gamma)[batch.mask], batch.policy_row[batch.mask]
        self.total.mul_(memory).add_(group_sum(to_go, row, len(self.total)))
        self.count.mul_(memory).add_(group_count(row, len(self.count)))


def white(batch: Trajectories) -> Tensor:
    """Returns advantages that stand in ``step_reward`` with mean 0 and variance 1, float64 ``[N, T]``.

    It has this form for :meth:`credit_envs.training.Run.apart`, since each learner whitens its own.
    """
    assert batch.step_reward is not None
    out = torch.zeros_like(batch.reward)
    out[batch.mask] = whitened(batch.step_reward[batch.mask])
    return out
