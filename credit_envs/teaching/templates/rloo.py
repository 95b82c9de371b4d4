"""Assignment: one number per rollout (RLOO).

A batch holds rollouts in groups: the rollouts of a group began from the same start. Credit every step of rollout i with

    Â_i = R_i − mean of R_j over the OTHER rollouts j of its group

where R is the sum of a rollout's rewards. A rollout that is alone in its group gets 0.

batch.reward  float64 [N, T]    reward of each step, 0 where masked
batch.mask    bool    [N, T]    steps that were taken; rollouts differ in length
batch.group   int64   [N]       which group a rollout belongs to; groups differ in size and stand in no order

Try it:   credit-envs grade rloo.py
"""

import torch

ASSIGNMENT = "rloo"


def estimate(batch) -> torch.Tensor:
    """Returns the credit of every step, float64 [N, T], 0 where masked."""
    raise NotImplementedError("write the estimator here")
