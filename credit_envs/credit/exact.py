"""The oracle's own rows: the exact advantage on the same trajectories (the ceiling), and its projection on observations."""

from __future__ import annotations

from torch import Tensor

from credit_envs.sampling.trajectories import Trajectories


def exact(_: Trajectories, *, advantage: Tensor) -> Tensor:
    """Returns A^π_t(s, a) at every step taken, float64 ``[N, T]``."""
    return advantage


def projected(_: Trajectories, *, projected_advantage: Tensor) -> Tensor:
    """Returns E[A^π | t, observation, action], float64 ``[N, T]``: the best that sees observations only."""
    return projected_advantage
