"""Assignment: one number per step (REINFORCE with a baseline).

Credit step t of rollout i with its return to go, above that of the OTHER rollouts of its group at the same step:

    G_{i,t} = Σ_{k ≥ t} γ^(k−t) r_{i,k}        γ = 0.95
    Â_{i,t} = G_{i,t} − mean of G_{j,t} over the other rollouts j of the group

A rollout that has ended earns nothing more: its G is 0 there, and it counts. A rollout that is alone in its group gets 0.

batch.reward  float64 [N, T]    reward of each step, 0 where masked
batch.mask    bool    [N, T]    steps that were taken; rollouts differ in length
batch.group   int64   [N]       which group a rollout belongs to; groups differ in size and stand in no order

Try it:   credit-envs grade step_returns.py
"""

import torch

ASSIGNMENT = "step_returns"
GAMMA = 0.95


def estimate(batch) -> torch.Tensor:
    """Returns the credit of every step, float64 [N, T], 0 where masked."""
    raise NotImplementedError("write the estimator here")
