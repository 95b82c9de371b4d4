"""AgentPRM: a model of the discounted outcome, fitted on fresh groups, pays every step; then RLOO (Choudhury 2025)."""

from torch import Tensor

from credit_envs.credit.istar import istar
from credit_envs.piece import Fresh
from credit_envs.rewards.agent_prm import agent_prm_q
from credit_envs.sampling.trajectories import Trajectories

MODEL_CALLS = 1


def estimate(batch: Trajectories, *, fresh: Fresh) -> Tensor:
    """Returns credit float64 ``[N, T]``."""
    return istar(agent_prm_q(batch, fresh=fresh), norm="rloo")
