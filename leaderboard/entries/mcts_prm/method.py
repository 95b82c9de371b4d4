"""MCTS → PRM: tree search labels actions, a model of the labels shapes the reward, and its change is the credit.

The model's value is averaged with the policy's probabilities, hence the request for them.
"""

from torch import Tensor

from credit_envs.credit.immediate import immediate
from credit_envs.piece import Search
from credit_envs.rewards.mcts import mcts_shaped
from credit_envs.sampling.trajectories import Trajectories

MODEL_CALLS = 1


def estimate(batch: Trajectories, *, search: Search, policy: Tensor) -> Tensor:  # noqa: ARG001
    """Returns credit float64 ``[N, T]``."""
    return immediate(mcts_shaped(batch, search=search), lam=0.95)
