"""A training run on the host's side: environments that are stepped here, and the exact return of what was learnt.

The method sees observations, rewards and admissible actions, and can neither choose seeds nor look at the table. The score is
(J − J_uniform) / (J* − J_uniform), J the exact expected return of the policy that it hands over as probabilities per
observation.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from credit_envs.arrays import AnyArray
from credit_envs.errors import CreditEnvsError, check_range
from credit_envs.faces.vector import TabularVectorEnv
from credit_envs.leaderboard.records import held
from credit_envs.leaderboard.room import Room, asked
from credit_envs.oracle.control import optimal
from credit_envs.oracle.evaluation import expected_return
from credit_envs.oracle.policy import Policy, uniform
from credit_envs.table.mdp import TabularMDP
from credit_envs.table.observer import Observer

MOST_CELLS = 1 << 26
"""Observations times actions of a policy."""

_MOST_ENVS = 1024
_SEED_STEP = 1 << 20


@dataclass(frozen=True, eq=False)
class Learnt:
    """What a training run left.

    Attributes:
        probability: float32 ``[n_obs, A]``, rows sum to 1 up to rounding.
        spent: what the run cost, see :data:`~credit_envs.leaderboard.manifest.SPENT`.
    """

    probability: AnyArray
    spent: dict[str, float]


class School:
    """The host's side of a training run.

    Args:
        table: the environment.
        budget: environment steps.
        seed: seed of the run.
    """

    def __init__(self, table: TabularMDP, budget: int, seed: int) -> None:
        self.table, self.budget, self.seed, self.spent = table, budget, seed, 0
        self._envs: list[TabularVectorEnv] = []

    def answer(self, what: str, arguments: list[Any]) -> Any:
        """Answers ``make``, ``reset``, ``step`` and ``exam``.

        Raises:
            CreditEnvsError: for anything else, and when the budget is spent.
        """
        answers: dict[str, Callable[..., Any]] = {
            "make": self._make,
            "reset": self._reset,
            "step": self._step,
            "exam": self._exam,
        }
        if what not in answers:
            raise CreditEnvsError(f"{what!r}: expected one of {', '.join(answers)}")
        return answers[what](*arguments)

    def _make(self, num_envs: int, observation: str) -> dict[str, int]:
        check_range("num_envs", num_envs, 1, _MOST_ENVS, integer=True)
        if len(self._envs) >= _MOST_ENVS:
            raise CreditEnvsError(f"environments: {_MOST_ENVS} are enough")
        made = TabularVectorEnv(self.table, num_envs, _viewed(observation), "SameStep")
        first = self.seed * _SEED_STEP + len(self._envs) * _MOST_ENVS
        made.reset(seed=first)
        self._envs.append(made)
        sizes = {"n_actions": self.table.n_actions, "n_obs": self.table.n_obs, "horizon": self.table.horizon}
        return {"number": len(self._envs) - 1, **sizes}

    def _reset(self, number: int) -> list[Any]:
        obs, info = self._envs[number].reset()
        return [_sent(obs), self._mask(info, len(obs))]

    def _step(self, number: int, actions: AnyArray) -> list[Any]:
        env = self._envs[number]
        if self.spent + env.num_envs > self.budget:
            raise CreditEnvsError(f"budget: {self.spent} of {self.budget} environment steps are spent")
        if actions.shape != (env.num_envs,) or actions.min() < 0 or actions.max() >= self.table.n_actions:
            raise CreditEnvsError(f"actions: expected {env.num_envs} whole numbers in [0, {self.table.n_actions - 1}]")
        self.spent += env.num_envs
        obs, reward, ended, _, info = env.step(actions)
        return [_sent(obs), np.asarray(reward, np.float64), np.asarray(ended), self._mask(info, len(actions))]

    def _mask(self, info: Mapping[str, Any], n: int) -> AnyArray:
        full = np.ones((n, self.table.n_actions), dtype=np.int32)
        return np.asarray(info.get("action_mask", full)).astype(np.int32)

    def _exam(self, observation: str) -> dict[str, Any]:
        return {
            "obs": _sent(Observer(self.table, _viewed(observation)).rows(np.arange(self.table.n_obs))),
            "mask": masks(self.table),
        }


def masks(table: TabularMDP) -> AnyArray:
    """Returns which actions observations admit, int32 ``[n_obs, A]``."""
    looks = np.zeros((table.emission.n_base, table.n_actions), dtype=np.int32)
    looks[table.emission.base[table.edge_state], table.edge_action] = 1
    return np.repeat(looks, table.emission.n_codes, axis=0)


def _viewed(observation: str) -> str:
    if observation not in ("state", "text", "grid"):
        raise CreditEnvsError(f"observation={observation!r}: expected state, text or grid")
    return observation


def _sent(obs: Any) -> Any:
    return [str(one) for one in obs] if not isinstance(obs, np.ndarray) or obs.dtype.kind in "OU" else obs


def learn(room: Room, source: str, function: str, table: TabularMDP, budget: int, seed: int) -> Learnt:
    """Runs one training run.

    Raises:
        CreditEnvsError: if the method fails, or what it hands over is no policy.
    """
    if table.n_obs * table.n_actions > MOST_CELLS:
        raise CreditEnvsError(f"{table.name}: too many observations for the learner track")
    school, began = School(table, budget, seed), time.perf_counter()
    with room.child() as line:
        task = {"what": "train", "source": source, "function": function, "budget": budget, "seed": seed}
        found = asked(line, task, school.answer)
    spent = {"env_steps": float(school.spent), "policy_calls": float(school.spent), "model_calls": 0.0}
    return Learnt(held(checked(table, found)), {**spent, "seconds": time.perf_counter() - began})


def checked(table: TabularMDP, found: Any) -> AnyArray:
    """Returns probabilities, or raises if they are none.

    Raises:
        CreditEnvsError: naming the first row that is no distribution.
    """
    shape = (table.n_obs, table.n_actions)
    if not isinstance(found, np.ndarray) or found.shape != shape or found.dtype != np.float32:
        raise CreditEnvsError(f"policy: expected float32 probabilities of shape {shape}, got {np.shape(found)}")
    bad = ~np.isfinite(found).all(axis=1) | (found < 0).any(axis=1) | (np.abs(found.sum(axis=1) - 1) > 1e-3)
    bad &= masks(table).any(axis=1)
    if bad.any():
        raise CreditEnvsError(f"policy: row {int(np.flatnonzero(bad)[0])} is no distribution over {shape[1]} actions")
    return found


def exact(table: TabularMDP, probability: AnyArray) -> dict[str, float]:
    """Returns the exact return J of a policy, and J normalised."""
    rows = probability.astype(np.float64)
    rows = rows / np.maximum(rows.sum(axis=1, keepdims=True), 1e-12)
    best, low = optimal(table).J, expected_return(table, uniform(table))
    found = expected_return(table, Policy("obs", rows))
    gap = best - low
    return {"J": found, "normalised": (found - low) / gap if gap > 1e-12 else float("nan")}
