"""Tree-GRPO: chains forked at random steps; a leaf's return against its tree and against the prompt (Ji et al. 2025).

It draws its own rollouts: prompts of four chains, each forked twice, until the budget is spent.
"""

import torch
from torch import Tensor

from credit_envs.credit.tree import tree_grpo

CHAINS, FORKS = 4, 2


def estimate(sampler):
    """Returns the leaves of all trees, and their credit float64 ``[N, T]``."""
    luck, leaves, spent = torch.Generator().manual_seed(0), [], 0
    while not leaves or sampler.left > 1.5 * spent / len(leaves):
        before = sampler.left
        chains = sampler.groups(1, CHAINS)
        rollout = torch.arange(CHAINS).repeat_interleave(FORKS)
        depth = chains.lengths[rollout]
        step: Tensor = (torch.rand(len(rollout), generator=luck) * depth).long()
        leaves.append(sampler.join([chains, sampler.branches(chains, rollout, step)]))
        spent += before - sampler.left
    batch = sampler.join(leaves)
    return batch, tree_grpo(batch)
