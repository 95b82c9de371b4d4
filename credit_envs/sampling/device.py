"""A table and a policy as tensors on one device, with the four moves of a step: emit, act, execute, draw the outcome."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from credit_envs.arrays import AnyArray
from credit_envs.errors import CreditEnvsError
from credit_envs.oracle.policy import Policy, as_policy
from credit_envs.sampling.draws import draws, mix_words, row_thresholds, select_segment
from credit_envs.table.draws import thresholds
from credit_envs.table.mdp import TabularMDP

_DENSE_EDGES = 1 << 26


def checked_device(device: str | torch.device) -> torch.device:
    """Returns the device, or raises an error that says what is there.

    Raises:
        CreditEnvsError: for a name that torch does not know, or CUDA where there is none.
    """
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise CreditEnvsError(f"device={device!r}: expected 'cpu' or 'cuda'") from error
    if chosen.type == "cuda" and not torch.cuda.is_available():
        raise CreditEnvsError(f"device={device!r}: torch sees no CUDA card here; use device='cpu'")
    return chosen


class DeviceTable:
    """The dynamics and emission of a table on a device; integer arrays as int64, numbers as float64."""

    def __init__(self, table: TabularMDP, device: str | torch.device = "cpu") -> None:
        self.table, self.device = table, checked_device(device)
        self.horizon, self.discount = table.horizon, table.discount
        self.edge_start = self._put(table.edge_start)
        self.n_admissible = self._put(table.n_admissible)
        self.edge_action = self._put(table.edge_action.astype(np.int64))
        self.outcome_start = self._put(table.outcome_start)
        self.successor = self._put(table.successor.astype(np.int64))
        self.reward = self._put(table.reward)
        self.terminal = self._put(table.terminal)
        self.outcome_threshold = None if table.is_deterministic else self._put(table.outcome_threshold)
        self.start_threshold = self._put(table.start_threshold)
        self.start_state = self._put(table.start_state)
        self.base = self._put(table.emission.base.astype(np.int64))
        self.shift = self._put(table.emission.shift) if table.emission.renames else None
        self.layers = [(layer, self._put(layer.threshold)) for layer in table.emission.layers]
        self.anchor_code = self._put(table.emission.anchor_code)
        self.labels = {name: self._put(label) for name, label in table.labels.items()}
        self.reward_scale = None if table.reward_scale is None else self._put(table.reward_scale)
        self.reward_shift = None if table.reward_shift is None else self._put(table.reward_shift)
        self.cutoff_reward = None if table.cutoff_reward is None else self._put(table.cutoff_reward)
        dense = table.n_states * table.n_actions <= _DENSE_EDGES
        self._edge_of = self._put(table.edge_of.astype(np.int64)) if dense else None
        self._edge_key = None if dense else self._put(table.edge_state * table.n_actions + table.edge_action)
        self.kernel: tuple[Any, ...] | None = None  # as sampling/walk.py reads it, made there on first use

    def _put(self, array: AnyArray) -> Tensor:
        return torch.from_numpy(np.array(array)).to(self.device)

    def find_edges(self, state: Tensor, action: Tensor) -> Tensor:
        """Returns the edge of (state, executed action), −1 where inadmissible."""
        key = state * self.table.n_actions + action
        if self._edge_of is not None:
            return self._edge_of.view(-1)[key]
        assert self._edge_key is not None
        found = torch.searchsorted(self._edge_key, key).clamp(max=len(self._edge_key) - 1)
        return torch.where(self._edge_key[found] == key, found, -1)

    def renamed(self, state: Tensor, edge: Tensor, code: Tensor, sign: int) -> Tensor:
        """Shifts edges by the emission's renaming: −1 from named to executed, +1 from executed to named."""
        if self.shift is None:
            return edge
        first, count = self.edge_start[state], self.n_admissible[state].clamp(min=1)
        moved = first + torch.remainder(edge - first + sign * self.shift[code], count)
        return torch.where(edge < 0, edge, moved)

    def emit(self, state: Tensor, step_key: Tensor, episode_key: Tensor) -> Tensor:
        """Draws emission codes, int64 like ``state``."""
        code = torch.zeros_like(state)
        for i, (layer, threshold) in enumerate(self.layers):
            value = draws(episode_key if layer.per_episode else step_key, i)
            rows = threshold[self.n_admissible[state]] if layer.state_class == "admissible" else threshold[0]
            code = code * layer.size + (rows <= value[:, None]).sum(dim=1)
        return code

    def observe(self, state: Tensor, code: Tensor) -> Tensor:
        """Returns observation ids, int64 like ``state``."""
        return self.base[state] * self.table.emission.n_codes + code

    def outcome(self, edge: Tensor, key: Tensor, t: Tensor | int) -> Tensor:
        """Draws the outcome of edges (all ≥ 0), int64 like ``edge``."""
        if self.outcome_threshold is None:
            return edge
        first, last = self.outcome_start[edge], self.outcome_start[edge + 1] - 1
        return select_segment(self.outcome_threshold, first, last, draws(key, t), self.table.max_outcomes)

    def pay(self, t: Tensor | int, reward: Tensor) -> Tensor:
        """Applies the step's affine factor to rewards."""
        if self.reward_scale is not None:
            reward = self.reward_scale[t] * reward
        if self.reward_shift is not None:
            reward = reward + self.reward_shift[t]
        return reward

    def step(
        self, state: Tensor, edge: Tensor, key: Tensor, t: Tensor | int, limit: int | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Executes edges (−1: inadmissible); returns next state, reward and terminated, the cut-off included.

        A limit below the horizon cuts off earlier.
        """
        horizon = self.horizon if limit is None else limit
        valid = edge >= 0
        chosen = self.outcome(edge.clamp(min=0), key, t)
        nxt = torch.where(valid, self.successor[chosen], state)
        paid = self.pay(t, torch.where(valid, self.reward[chosen], self.table.inadmissible_reward))
        ended = valid & self.terminal[chosen]
        last = (t + 1 >= horizon) if isinstance(t, Tensor) else torch.full_like(ended, t + 1 >= horizon)
        if self.cutoff_reward is not None:
            paid = paid + torch.where(last & ~ended, self.cutoff_reward[nxt], 0.0)
        return nxt, paid, ended | last


class DevicePolicy:
    """A tabular policy as integer thresholds, so that its draws are the same on every device."""

    def __init__(self, dynamics: DeviceTable, policy: Policy) -> None:
        table = dynamics.table
        self._policy: Policy | None = as_policy(table, policy)
        self.dynamics, self.kind = dynamics, self._policy.kind
        self.probability = dynamics._put(self._policy.probability)
        self.threshold = dynamics._put(thresholds(self._policy.probability))

    @property
    def policy(self) -> Policy:
        """The policy as the oracle reads it."""
        if self._policy is None:
            self._policy = Policy(self.kind, self.probability.cpu().numpy())
        return self._policy

    def follow(self, probability: Tensor) -> None:
        """Changes the policy's probabilities, float64 ``[rows, A]`` on its device, without leaving the device."""
        self._policy, self.probability = None, probability
        self.threshold = row_thresholds(probability)

    def rows(self, state: Tensor, code: Tensor) -> Tensor:
        """Returns the policy's row in each (state, code)."""
        if self.kind == "state":
            return state
        return self.dynamics.base[state] if self.kind == "look" else self.dynamics.observe(state, code)

    def act(self, state: Tensor, code: Tensor, key: Tensor, t: Tensor | int) -> tuple[Tensor, Tensor]:
        """Draws actions; returns (the policy's own action index, executed edge, −1 if inadmissible)."""
        choice = (self.threshold[self.rows(state, code)] <= draws(key, t)[:, None]).sum(dim=1)
        edge = self.dynamics.find_edges(state, choice)
        return choice, self.dynamics.renamed(state, edge, code, -1) if self.kind == "obs" else edge


__all__ = ["DevicePolicy", "DeviceTable", "checked_device", "mix_words"]
