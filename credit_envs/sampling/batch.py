"""The torch batch: many episodes of one table stepped together on a device, the same bits as the Gymnasium faces."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from credit_envs.errors import CreditEnvsError, check_range
from credit_envs.sampling.device import DeviceTable
from credit_envs.sampling.draws import draws, mix_words, select_segment, streams
from credit_envs.table.draws import EPISODE, Purpose
from credit_envs.table.mdp import TabularMDP


class BatchStep(NamedTuple):
    """What one step of a batch returns; all ``[N]``.

    Attributes:
        obs: int64, observation ids; of the next episode where one ended.
        reward: float64.
        terminated: bool.
        final_obs: int64, observation ids of the step itself (differs from ``obs`` only where an episode ended).
    """

    obs: Tensor
    reward: Tensor
    terminated: Tensor
    final_obs: Tensor


class TorchBatch:
    """N episodes of a table on a device; ended ones restart in the same step.

    Environment i with seed s + i plays, bit for bit, what ``gymnasium.make`` and ``gymnasium.make_vec`` play with that
    seed and the same actions.

    Args:
        table: the table.
        num_envs: number of environments N.
        device: ``cpu`` or ``cuda``.

    Raises:
        CreditEnvsError: for a number out of range or a device that isn't there.
    """

    def __init__(self, table: TabularMDP, num_envs: int, device: str | torch.device = "cpu") -> None:
        check_range("num_envs", num_envs, 1, 1 << 24, integer=True)
        self.table, self.num_envs = table, int(num_envs)
        self.dynamics = DeviceTable(table, device)
        self.device = self.dynamics.device
        self._seeds = self._rollout = self.t = self.state = self.code = self._zeros()
        self._ready = False

    def reset(self, seed: int) -> Tensor:
        """Starts all environments with seeds s + i; returns observation ids int64 ``[N]``."""
        check_range("seed", seed, 0, 2**53, integer=True)
        self._seeds = seed + torch.arange(self.num_envs, device=self.device)
        self._rollout, self._ready = self._zeros(), True
        self.state, self.t = self._starts(), self._zeros()
        return self._observe()

    def step(self, action: Tensor) -> BatchStep:
        """Takes a step with named actions int64 ``[N]``.

        Raises:
            CreditEnvsError: before the first reset, or for actions of the wrong shape or range.
        """
        if not self._ready:
            raise CreditEnvsError("step: expected reset(seed) first")
        if action.shape != (self.num_envs,):
            raise CreditEnvsError(f"action: expected shape ({self.num_envs},), got {tuple(action.shape)}")
        if bool(((action < 0) | (action >= self.table.n_actions)).any()):
            raise CreditEnvsError(
                f"action: expected integers in [0, {self.table.n_actions - 1}], got {action.tolist()[:8]} …"
            )
        edge = self.dynamics.find_edges(self.state, action)
        edge = self.dynamics.renamed(self.state, edge, self.code, -1)
        key = self._keys(Purpose.OUTCOME)
        self.state, reward, ended = self.dynamics.step(self.state, edge, key, self.t)
        self.t = self.t + 1
        final = self._observe()
        self._rollout = self._rollout + ended
        self.state = torch.where(ended, self._starts(), self.state)
        self.t = torch.where(ended, 0, self.t)
        return BatchStep(self._observe(), reward, ended, final)

    def _zeros(self) -> Tensor:
        return torch.zeros(self.num_envs, dtype=torch.int64, device=self.device)

    def _keys(self, purpose: Purpose) -> Tensor:
        return streams(self._seeds, purpose, self._zeros(), self._rollout, 0)

    def _starts(self) -> Tensor:
        last = torch.full_like(self._rollout, self.table.n_contexts - 1)
        luck = draws(self._keys(Purpose.START), 0)
        context = select_segment(self.dynamics.start_threshold, self._zeros(), last, luck, self.table.n_contexts)
        return self.dynamics.start_state[context]

    def _observe(self) -> Tensor:
        if self.table.emission.layers:
            key = self._keys(Purpose.EMISSION)
            self.code = self.dynamics.emit(self.state, mix_words(key, self.t), mix_words(key, EPISODE))
        return self.dynamics.observe(self.state, self.code)
