"""Assignment: buying information (VinePPO; Kazemnejad et al. 2024, arXiv 2410.01679, with K = 4).

    Â_t = r_t + V̂(s_{t+1}) − V̂(s_t)        V̂(s) = mean return of K fresh continuations from s, and 0 after the end

`continuations(rollout, step, k, gamma)` plays k fresh rollouts on from the state in which each (rollout, step) was taken.

    rollout, step   int64 [M]           a step must have been taken: batch.mask[rollout, step] is True
    returns         float64 [M, k]      return of each continuation, from that step on (use gamma = 1.0)

batch.reward  float64 [N, T]    reward of each step, 0 where masked
batch.mask    bool    [N, T]    steps that were taken; rollouts differ in length

Try it:   credit-envs grade vineppo.py
"""

import torch

ASSIGNMENT = "vineppo"
K = 4


def estimate(batch, *, continuations) -> torch.Tensor:
    """Returns the credit of every step, float64 [N, T], 0 where masked."""
    raise NotImplementedError("write the estimator here")
