"""Greedy for the next reward: the action whose mean immediate reward was highest under uniform play.

What credit over one step is worth: optimal where rewards are immediate, helpless where they come late.
"""

import numpy as np

ENVS = 50


class Greedy:
    """The policy: the best mean reward seen, ties uniform."""

    def __init__(self, mean: np.ndarray) -> None:
        self.mean = mean

    def probabilities(self, obs: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """Returns rows float64 ``[n, A]``."""
        scores = np.where(mask > 0, self.mean[obs], -np.inf)
        best = (scores >= scores.max(axis=1, keepdims=True)) & (mask > 0)
        return best / best.sum(axis=1, keepdims=True).clip(1)


def train(make_env, budget: int, seed: int, device: str) -> Greedy:  # noqa: ARG001
    """Plays uniformly until the budget is spent, and remembers what each action paid."""
    luck, env = np.random.default_rng(seed), make_env(ENVS)
    paid, count = np.zeros((2, env.n_obs, env.n_actions))
    obs, info = env.reset()
    for _ in range(budget // ENVS):
        action = np.where(info["action_mask"] > 0, luck.random((ENVS, env.n_actions)), -1).argmax(axis=1)
        after, reward, _, _, info = env.step(action)
        np.add.at(paid, (obs, action), reward)
        np.add.at(count, (obs, action), 1)
        obs = after
    return Greedy(paid / np.maximum(count, 1))
