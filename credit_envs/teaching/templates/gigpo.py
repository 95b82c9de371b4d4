"""Assignment: two levels (GiGPO; Feng et al. 2025, arXiv 2505.10978, with ω = 1 and without division by deviations).

    Â_{i,t} = (R_i − mean of R over the group)  +  (G_{i,t} − mean of G over all steps of the group at the same anchor)
    R_i     = Σ_t r_{i,t}
    G_{i,t} = Σ_{k ≥ t} γ^(k−t) r_{i,k}        γ = 0.95

Both means contain the rollout and the step themselves. Two steps share an anchor if their rollouts are of one group and
`batch.anchor` is equal; a step that is alone at its anchor therefore gets 0 from the second term.

batch.reward  float64 [N, T]    reward of each step, 0 where masked
batch.mask    bool    [N, T]    steps that were taken; rollouts differ in length
batch.group   int64   [N]       which group a rollout belongs to; groups differ in size and stand in no order
batch.anchor  int64   [N, T]    what was seen before the step, as a number (0 where masked, but 0 is also a real anchor)

Try it:   credit-envs grade gigpo.py
"""

import torch

ASSIGNMENT = "gigpo"
GAMMA = 0.95


def estimate(batch) -> torch.Tensor:
    """Returns the credit of every step, float64 [N, T], 0 where masked."""
    raise NotImplementedError("write the estimator here")
