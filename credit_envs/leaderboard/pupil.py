"""The learner's side: environments that are stepped on the host, and a policy that is read out at the end.

    train(make_env, budget, seed, device) → policy

``make_env(num_envs=1, observation="state")`` returns a vector environment: ``reset()`` → (obs, info), ``step(actions)`` →
(obs, reward, terminated, truncated, info). Finished episodes start anew in the same step; ``info["action_mask"]`` int32
``[N, A]`` says what is admissible. ``observation`` is a view: ``state`` (observation ids), ``grid``, ``text``. A policy has
``probabilities(obs, mask)`` → ``[n, A]`` for a batch of observations, or ``act(obs)`` → action, which is asked once per
observation. Policies have no memory. :class:`Episodes` plays a table of probabilities and returns batches that every
estimator of the package reads.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from credit_envs.arrays import AnyArray
from credit_envs.leaderboard.wire import Line
from credit_envs.sampling.trajectories import Trajectories

_CHUNK = 4096


class BudgetSpent(RuntimeError):
    """The budget of environment steps is spent; the policy is due."""


class RemoteEnv:
    """A vector environment on the host.

    Attributes:
        num_envs: number of environments N.
        n_actions: number of actions A.
        n_obs: number of observation ids.
    """

    def __init__(self, line: Line, num_envs: int, observation: str) -> None:
        self._line = line
        made = self._ask("make", num_envs, observation)
        self._number, self.num_envs = int(made["number"]), num_envs
        self.n_actions, self.n_obs, self.horizon = int(made["n_actions"]), int(made["n_obs"]), int(made["horizon"])

    def reset(self) -> tuple[Any, dict[str, AnyArray]]:
        """Starts new episodes."""
        obs, mask = self._ask("reset", self._number)
        return obs, {"action_mask": mask}

    def step(self, actions: AnyArray) -> tuple[Any, AnyArray, AnyArray, AnyArray, dict[str, AnyArray]]:
        """Takes one action per environment; charges N environment steps.

        Raises:
            BudgetSpent: if there are not that many left.
        """
        obs, reward, ended, mask = self._ask("step", self._number, np.asarray(actions, dtype=np.int64))
        return obs, reward, ended, np.zeros_like(ended), {"action_mask": mask}

    def _ask(self, what: str, *arguments: Any) -> Any:
        self._line.send({"ask": what, "arguments": list(arguments)})
        answer = self._line.receive()
        if "error" in answer:
            raise (BudgetSpent if answer["error"].startswith("budget") else RuntimeError)(answer["error"])
        return answer["value"]


class Episodes:
    """Plays a policy over observation ids, and returns finished episodes as a batch; unfinished ones go on next time.

    Args:
        env: of the view ``state``.
        seed: of the actions.
    """

    def __init__(self, env: RemoteEnv, seed: int) -> None:
        self.env, self._luck = env, np.random.default_rng(seed)
        self._open: list[list[tuple[int, int, float, float]]] = [[] for _ in range(env.num_envs)]
        self._admitted = np.ones((env.n_obs, env.n_actions))
        obs, info = env.reset()
        self._seen = np.asarray(obs), info["action_mask"]

    def batch(self, probability: AnyArray, rollouts: int) -> Trajectories:
        """Plays until so many episodes have ended.

        Args:
            probability: float ``[n_obs, A]``; what is inadmissible is left out.
            rollouts: number of episodes.

        Returns:
            At least so many rollouts. Those that began with the same observation form a group; ``policy_table`` float64
            ``[n_obs, A]`` leaves out what was seen to be inadmissible.

        Raises:
            BudgetSpent: if the budget ends first.
        """
        done: list[list[tuple[int, int, float, float]]] = []
        while len(done) < rollouts:
            obs, mask = self._seen
            self._admitted[obs] = mask > 0
            chance = _normalised(probability[obs] * self._admitted[obs])
            drawn = (chance.cumsum(axis=1) < self._luck.random((len(obs), 1))).sum(axis=1)
            action = np.minimum(drawn, chance.shape[1] - 1)
            after, reward, ended, _, info = self.env.step(action)
            taken = chance[np.arange(len(obs)), action]
            for lane, step in enumerate(
                zip(obs.tolist(), action.tolist(), reward.tolist(), taken.tolist(), strict=True)
            ):
                self._open[lane].append(step)
                if ended[lane]:
                    done.append(self._open[lane])
                    self._open[lane] = []
            self._seen = np.asarray(after), info["action_mask"]
        return _batch(done, _normalised(probability * self._admitted))


def _normalised(rows: AnyArray) -> AnyArray:
    return np.asarray(rows / np.maximum(rows.sum(axis=1, keepdims=True), 1e-300))


def _batch(episodes: list[list[tuple[int, int, float, float]]], probability: AnyArray) -> Trajectories:
    width = max(map(len, episodes))
    columns = np.zeros((4, len(episodes), width))
    for row, steps in enumerate(episodes):
        columns[:, row, : len(steps)] = np.array(steps).T
    mask = np.arange(width) < np.array([len(steps) for steps in episodes])[:, None]
    obs, action, reward, taken = columns
    _, group = np.unique(obs[:, 0], return_inverse=True)
    put, blank = torch.from_numpy, torch.zeros(mask.shape, dtype=torch.int64)
    seen, chosen = put(obs.astype(np.int64)), put(action.astype(np.int64))
    return Trajectories(
        obs=seen,
        action=chosen,
        log_prob=put(np.where(mask, np.log(np.maximum(taken, 1e-300)), 0.0)),
        reward=put(reward),
        mask=put(mask),
        group=put(group.astype(np.int64)),
        context=put(group.astype(np.int64)),
        turn=blank,
        segment=blank,
        anchor=seen,
        policy_row=seen,
        policy_action=chosen,
        policy_table=put(probability),
    )


def train(line: Line, function: Callable[..., Any], task: dict[str, Any]) -> AnyArray:
    """Trains, and returns the policy's probabilities float32 ``[n_obs, A]``."""
    torch.manual_seed(task["seed"])
    views: list[str] = []

    def make_env(num_envs: int = 1, observation: str = "state") -> RemoteEnv:
        views.append(observation)
        return RemoteEnv(line, num_envs, observation)

    policy = function(make_env, task["budget"], task["seed"], "cpu")
    line.send({"ask": "exam", "arguments": [views[-1] if views else "state"]})
    exam = line.receive()["value"]
    obs, mask = exam["obs"], exam["mask"]
    if hasattr(policy, "probabilities"):
        parts = [policy.probabilities(obs[i : i + _CHUNK], mask[i : i + _CHUNK]) for i in range(0, len(mask), _CHUNK)]
        found = np.concatenate([np.asarray(torch.as_tensor(part).detach().cpu()) for part in parts])
    else:
        found = np.zeros(mask.shape)
        found[np.arange(len(mask)), [int(policy.act(one)) for one in obs]] = 1.0
    return found.astype(np.float32)
