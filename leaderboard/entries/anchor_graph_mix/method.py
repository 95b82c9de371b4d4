"""The anchor graph at several resolutions, mixed by what other groups say of each (ours); it reads the policy."""

from torch import Tensor

from credit_envs.credit.anchor_mix import anchor_graph_mix
from credit_envs.sampling.trajectories import Trajectories


def estimate(batch: Trajectories, *, policy: Tensor) -> Tensor:  # noqa: ARG001
    """Returns credit float64 ``[N, T]``; gradients of candidates need the policy's probabilities, hence the request."""
    return anchor_graph_mix(batch)
