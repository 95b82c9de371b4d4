"""The return of the rollout for every step, and no baseline: REINFORCE (Williams 1992), what every method should beat."""

from torch import Tensor

from credit_envs.sampling.trajectories import Trajectories


def estimate(batch: Trajectories) -> Tensor:
    """Returns credit float64 ``[N, T]``."""
    return batch.returns[:, None] * batch.mask
