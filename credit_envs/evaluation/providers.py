"""What estimators may ask for, made from a sample: the only place where truth is handed to an estimator."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from credit_envs.errors import unknown
from credit_envs.oracle.evaluation import Values, evaluate, occupancy
from credit_envs.oracle.masked import image_free
from credit_envs.oracle.policy import effective
from credit_envs.oracle.skill import skilled_policy
from credit_envs.piece import Piece
from credit_envs.sampling.draws import judge_luck
from credit_envs.sampling.sampler import Sampler
from credit_envs.sampling.trajectories import Sample, Trajectories
from credit_envs.table.observer import Observer

METERED = frozenset({"continuations", "fresh", "demonstrations", "search"})
"""Needs that cost environment steps beyond the sample."""

_EXPERT = 1 << 50


class Provided(Mapping[str, Any]):
    """The needs of estimators, each made on first use.

    Args:
        sampler: where the sample came from; pays for continuations.
        sample: the sample.
        values: exact values of the sampling policy (default: solved when first asked for).
        noise: luck of judges and masks, ``noise(salt, *shape)`` → uniform float64 (default: the sampler's, always the same).

    Attributes:
        paid_by: reward models that fresh groups pass through as well, so that a critic learns what is really paid.
    """

    def __init__(
        self,
        sampler: Sampler,
        sample: Sample,
        values: Values | None = None,
        noise: Callable[..., Tensor] | None = None,
    ) -> None:
        self.sampler, self.sample, self._values, self._noise = sampler, sample, values, noise or self._luck
        self.paid_by: tuple[Piece, ...] = ()
        self._makers: dict[str, Callable[[], Any]] = {
            "continuations": lambda: self._continuations,
            "fresh": lambda: self._fresh,
            "demonstrations": lambda: self._demonstrations,
            "search": lambda: self._search,
            "text": lambda: self._text,
            "key": self._key,
            "labels": lambda: self._labels,
            "blind_log_prob": self._blind,
            "noise": lambda: self._noise,
            "parameters": tuple,
            "visual": self._visual,
            "value": self._value,
            "state": lambda: sample.truth.state,
            "advantage": self._advantage,
            "projected_advantage": self._projected,
        }
        self._made: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._made:
            self._made[name] = self._makers[name]()
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._makers)

    def __len__(self) -> int:
        return len(self._makers)

    @property
    def exact(self) -> Values:
        """Exact values of the sampling policy."""
        if self._values is None:
            self._values = evaluate(self.sampler.table, self.sampler.policy.policy)
        return self._values

    def paying(self, rewards: tuple[Piece, ...]) -> Provided:
        """Returns the same with fresh groups paid by reward models."""
        out = Provided(self.sampler, self.sample, self._values, self._noise)
        out.paid_by = rewards
        return out

    def _continuations(self, rollout: Tensor, step: Tensor, k: int, gamma: float) -> Tensor:
        return self.sampler.continuations(self.sample, rollout, step, k, gamma)

    def _fresh(self, groups: int) -> Trajectories:
        batch = self.sample.trajectories
        drawn = self.sampler.groups(groups, max(2, batch.n_rollouts // batch.n_groups))
        fresh, own = drawn.trajectories, Provided(self.sampler, drawn, self._values, self._noise)
        for piece in self.paid_by:
            fresh = piece(fresh, provided=own)
        return fresh

    def _demonstrations(self, rollouts: int, skill: float) -> Trajectories:
        table = self.sampler.table
        policy = skilled_policy(table, skill)
        expert = Sampler(table, policy, self.sampler.seed + _EXPERT, self.sampler.dynamics.device)
        shown = expert.groups(rollouts, 1).trajectories
        self.sampler.meter.env_steps += expert.meter.env_steps
        return shown

    def _search(self, *arguments: Any, **options: Any) -> Any:
        return self.sampler.search(self.sample, *arguments, **options)

    def _labels(self, name: str) -> Tensor:
        table, truth, batch = self.sampler.table, self.sample.truth, self.sample.trajectories
        if name not in table.labels:
            raise unknown(f"label of {table.name}", name, table.labels)
        label = torch.from_numpy(np.array(table.labels[name])).to(truth.state.device)
        ends = truth.final[:, None]
        states = torch.cat([torch.where(batch.mask, truth.state, ends), ends], dim=1)
        before = batch.mask.long().cumsum(dim=1) == 0
        states[:, :-1] = torch.where(before, truth.state, states[:, :-1])
        return label[states]

    def _luck(self, salt: int, *shape: int) -> Tensor:
        zero = torch.zeros((), dtype=torch.int64, device=self.sample.truth.state.device)
        return judge_luck(self.sampler.seed, zero, zero, salt, *shape)

    def _blind(self) -> Tensor:
        mask, truth = self.sample.trajectories.mask, self.sample.truth
        masked = image_free(self.sampler.table, self.sampler.policy.policy)
        state, code = truth.state[mask].cpu().numpy(), truth.code[mask].cpu().numpy()
        action = self.sample.trajectories.action[mask].cpu().numpy()
        return self._spread(np.log(np.maximum(masked.probability[masked.rows(state, code), action], 1e-300)))

    def _visual(self) -> Tensor:
        table, truth = self.sampler.table, self.sample.truth
        if "visual" in table.labels:
            seen = torch.from_numpy(table.labels["visual"] > 0).to(truth.state.device)[truth.state]
        else:
            blind = table.emission.blind
            hidden = np.bincount(blind, minlength=blind.size)[blind] > 1
            seen = torch.from_numpy(hidden).to(truth.state.device)[truth.code]
        return seen & self.sample.trajectories.mask

    def _value(self) -> Tensor:
        step, state, _ = self._visited()
        return self._spread(self.exact.V[step, state])

    def _text(self, obs: Tensor) -> list[str]:
        rows = Observer(self.sampler.table, "text").rows(obs.cpu().numpy())
        return list(rows)

    def _key(self) -> Tensor:
        table, truth = self.sampler.table, self.sample.truth
        label = table.labels.get("anchor", np.asarray(table.emission.base, dtype=np.int64))
        return torch.from_numpy(label.copy()).to(truth.state.device)[truth.state]

    def _visited(self) -> tuple[Any, Any, Any]:
        mask = self.sample.trajectories.mask
        step = torch.nonzero(mask, as_tuple=True)[1]
        state, edge = self.sample.truth.state[mask], self.sample.truth.edge[mask]
        return step.cpu().numpy(), state.cpu().numpy(), edge.cpu().numpy()

    def _spread(self, flat: Any) -> Tensor:
        mask = self.sample.trajectories.mask
        out = torch.zeros(mask.shape, dtype=torch.float64, device=mask.device)
        out[mask] = torch.from_numpy(flat).to(mask.device)
        return out

    def _advantage(self) -> Tensor:
        step, state, edge = self._visited()
        advantage = self.exact.advantage_at(step, state, edge)
        stay = edge < 0
        if stay.any():
            table = self.exact.table
            paid = table.reward_at(step, table.inadmissible_reward)
            idle = paid + table.discount * self.exact.V[step + 1, state] - self.exact.V[step, state]
            advantage = np.where(stay, idle, advantage)
        return self._spread(advantage)

    def _projected(self) -> Tensor:
        """Averages the advantage over the states that look alike, weighted by how often they take the action at that step."""
        table = self.exact.table
        looks = table.emission.base
        if table.emission.n_base == table.n_states:
            exact: Tensor = self["advantage"]
            return exact
        step, _, edge = self._visited()
        policy = self.sampler.policy.policy
        d, chosen = occupancy(table, policy), effective(table, policy).edge
        cell = looks[table.edge_state].astype(np.int64) * table.n_actions + table.edge_action
        flat = np.zeros(step.size)
        for t in np.unique(step):
            now = np.flatnonzero((step == t) & (edge >= 0))
            weight = d[t][table.edge_state] * chosen
            excess = self.exact.q_edges(int(t)) - self.exact.V[t][table.edge_state]
            total = np.bincount(cell, weight * excess)
            share = np.bincount(cell, weight)
            flat[now] = total[cell[edge[now]]] / share[cell[edge[now]]]
        return self._spread(flat)
