"""A tabular softmax policy trained by the policy gradient with GiGPO's credit.

Groups are the episodes of a batch that began with the same observation: a learner cannot choose where it starts.
"""

import numpy as np

from credit_envs.credit.gigpo import gigpo
from credit_envs.leaderboard.pupil import BudgetSpent, Episodes

ENVS, ROLLOUTS, RATE = 64, 64, 1.0


class Softmax:
    """The policy."""

    def __init__(self, logits: np.ndarray) -> None:
        self.logits = logits

    def probabilities(self, obs: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """Returns rows float64 ``[n, A]``."""
        raised = np.where(mask > 0, np.exp(self.logits[obs] - self.logits[obs].max(axis=1, keepdims=True)), 0.0)
        return raised / raised.sum(axis=1, keepdims=True).clip(1e-300)


def train(make_env, budget: int, seed: int, device: str) -> Softmax:  # noqa: ARG001
    """Trains until the budget is spent."""
    env = make_env(ENVS)
    episodes, policy = Episodes(env, seed), Softmax(np.zeros((env.n_obs, env.n_actions)))
    every = np.arange(env.n_obs)
    while True:
        try:
            batch = episodes.batch(policy.probabilities(every, np.ones_like(policy.logits)), ROLLOUTS)
        except BudgetSpent:
            return policy
        mask = batch.mask.numpy()
        obs, action, credit = (x.numpy()[mask] for x in (batch.obs, batch.action, gigpo(batch)))
        # Gradients of log-probabilities: one-hot less the policy's probabilities, times credit, summed per observation.
        push = np.zeros_like(policy.logits)
        np.add.at(push, (obs, action), credit)
        gradient = push - push.sum(axis=1, keepdims=True) * batch.policy_table.numpy()
        policy.logits = policy.logits + RATE * gradient / batch.n_rollouts
