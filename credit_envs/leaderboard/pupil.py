"""The learner's side: environments that are stepped on the host, and a policy that is read out at the end.

    train(make_env, budget, seed, device) → policy

``make_env(num_envs=1, observation="state")`` returns a vector environment: ``reset()`` → (obs, info), ``step(actions)`` →
(obs, reward, terminated, truncated, info). Finished episodes start anew in the same step; ``info["action_mask"]`` int32
``[N, A]`` says what is admissible. ``observation`` is a view: ``state`` (observation ids), ``grid``, ``text``. A policy has
``probabilities(obs, mask)`` → ``[n, A]`` for a batch of observations, or ``act(obs)`` → action, which is asked once per
observation. Policies have no memory.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from credit_envs.arrays import AnyArray
from credit_envs.leaderboard.wire import Line

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


def train(line: Line, function: Callable[..., Any], task: dict[str, Any]) -> AnyArray:
    """Trains, and returns the policy's probabilities float32 ``[n_obs, A]``."""
    import torch

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
