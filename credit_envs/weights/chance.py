"""Random steps: the control of every mask, equally many steps of each rollout by chance.

    W_t = 1 on ⌈k n_i⌉ steps of rollout i drawn without replacement, else 0

Every step of a rollout is kept with the same probability ⌈k n_i⌉/n_i, so what a mask gains over it is due to where it looks.
Source: the random-mask control of Huang et al. 2025, arXiv 2510.09285.
"""

from __future__ import annotations

import torch
from torch import Tensor

from credit_envs.piece import Noise
from credit_envs.sampling.trajectories import Trajectories
from credit_envs.weights.selection import top

_SALT = 0xC01


def random_mask(batch: Trajectories, share: float = 0.4, *, noise: Noise) -> Tensor:
    """Returns the mask, float64 ``[N, T]``.

    Args:
        batch: the rollouts.
        share: k, in [0, 1].
        noise: counter-based luck.

    Raises:
        CreditEnvsError: if the share is out of range.
    """
    return top(noise(_SALT, *batch.mask.shape), batch.mask, share).to(torch.float64)
