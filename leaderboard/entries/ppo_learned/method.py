"""PPO's generalised advantages with a critic fitted on as many fresh groups (Schulman et al. 2016)."""

from torch import Tensor

from credit_envs.credit.gae import ppo_learned
from credit_envs.piece import Fresh
from credit_envs.sampling.trajectories import Trajectories

MODEL_CALLS = 1


def estimate(batch: Trajectories, *, fresh: Fresh) -> Tensor:
    """Returns credit float64 ``[N, T]``."""
    return ppo_learned(batch, fresh=fresh)
