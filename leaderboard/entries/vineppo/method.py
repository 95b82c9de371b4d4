"""VinePPO: the value of every visited state by nine fresh continuations (Kazemnejad et al. 2024)."""

from torch import Tensor

from credit_envs.credit.monte_carlo import vineppo
from credit_envs.piece import Continuations
from credit_envs.sampling.trajectories import Trajectories


def estimate(batch: Trajectories, *, continuations: Continuations) -> Tensor:
    """Returns credit float64 ``[N, T]``."""
    return vineppo(batch, continuations=continuations)
