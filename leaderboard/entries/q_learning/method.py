"""Tabular Q-learning with optimistic zeros and ε-greedy play, over observation ids (Watkins 1989)."""

import numpy as np

ENVS, RATE, FINAL = 50, 0.2, 0.05


class Greedy:
    """The greedy policy of a table of Q."""

    def __init__(self, q: np.ndarray) -> None:
        self.q = q

    def probabilities(self, obs: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """Returns one-hot rows float32 ``[n, A]``."""
        scores = np.where(mask > 0, self.q[obs], -np.inf)
        return np.eye(self.q.shape[1], dtype=np.float32)[scores.argmax(axis=1)]


def train(make_env, budget: int, seed: int, device: str) -> Greedy:  # noqa: ARG001
    """Trains within a budget of environment steps."""
    luck, env = np.random.default_rng(seed), make_env(ENVS)
    q = np.zeros((env.n_obs, env.n_actions))
    obs, info = env.reset()
    updates = budget // ENVS
    for i in range(updates):
        mask = info["action_mask"] > 0
        best = np.where(mask, q[obs] + 1e-9 * luck.random(mask.shape), -np.inf).argmax(axis=1)
        drawn = np.where(mask, luck.random(mask.shape), -1).argmax(axis=1)
        explores = luck.random(ENVS) < max(FINAL, 1 - 2 * i / updates)
        action = np.where(explores, drawn, best)
        after, reward, ended, _, info = env.step(action)
        value = np.where(info["action_mask"] > 0, q[after], -np.inf).max(axis=1)
        np.add.at(q, (obs, action), RATE * (reward + np.where(ended, 0.0, value) - q[obs, action]) / 1.0)
        obs = after
    return Greedy(q)
