"""Models that are tables over (key, action): what a reward model or a critic is where nothing has to generalise.

Three rules say which steps share a key:

``history``  the context and everything seen and done so far (AgentPRM's hash): no two different pasts share anything
``anchor``   the context and the present look: histories that meet are pooled, whatever the step
``row``      the row of the policy's own table: what the policy can tell apart

Histories and anchors are 64-bit hashes by counter-based mixing, so keys of different samples can be compared. What was never
seen is predicted by the nearest mean there is: an untried action by its key's mean, an unseen key by the mean of everything.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import torch
from torch import Tensor

from credit_envs.errors import unknown
from credit_envs.sampling.draws import mix_words
from credit_envs.sampling.statistics import distinct, group_sum
from credit_envs.sampling.trajectories import Trajectories

IDENTITIES = ("history", "anchor", "row")
"""Rules by which steps share a key."""


def keys(batch: Trajectories, identity: str = "history") -> Tensor:
    """Returns each step's key, int64 ``[N, T]`` (meaningless where masked).

    Args:
        batch: rollouts; the history of a row is what its mask covers.
        identity: one of :data:`IDENTITIES`.

    Raises:
        CreditEnvsError: for another identity.
    """
    if identity not in IDENTITIES:
        raise unknown("identity", identity, IDENTITIES)
    if identity == "row":
        return batch.policy_row
    if identity == "anchor":
        return anchor_keys(batch.context[:, None], batch.anchor)
    start = mix_words(0, batch.context)
    out = torch.zeros_like(batch.anchor)
    for t in range(out.shape[1]):
        out[:, t] = mix_words(start, batch.anchor[:, t])
        start = torch.where(batch.mask[:, t], mix_words(out[:, t], batch.policy_action[:, t]), start)
    return out


def anchor_keys(context: Tensor, anchor: Tensor) -> Tensor:
    """Returns the keys of anchors in their contexts, int64 like both (broadcast)."""
    return mix_words(mix_words(0, context), anchor)


@dataclass(frozen=True, eq=False)
class ActionTable:
    """A function of (key, action).

    Attributes:
        key: int64 ``[K]``, increasing: the keys that were seen.
        value: float64 ``[K, A]``, predictions; actions are columns of the policy's table.
        count: float64 ``[K, A]``, how often each pair was seen.
        otherwise: float64 ``[]``, prediction at keys that were never seen.
    """

    key: Tensor
    value: Tensor
    count: Tensor
    otherwise: Tensor

    def rows(self, key: Tensor) -> Tensor:
        """Returns the predictions for all actions, float64 ``[..., A]``, at keys int64 ``[...]``."""
        place = torch.searchsorted(self.key, key.contiguous()).clamp(max=len(self.key) - 1)
        seen = self.key[place] == key
        return torch.where(seen[..., None], self.value[place], self.otherwise)

    def at(self, key: Tensor, action: Tensor) -> Tensor:
        """Returns predictions at (key, action), float64 ``[...]``; both int64 ``[...]``."""
        place = torch.searchsorted(self.key, key.contiguous()).clamp(max=len(self.key) - 1)
        return torch.where(self.key[place] == key, self.value[place, action], self.otherwise)

    def replace(self, value: Tensor, otherwise: float | None = None) -> ActionTable:
        """Returns the table with other predictions, float64 ``[K, A]``, and another one for keys never seen."""
        last = self.otherwise if otherwise is None else torch.full_like(self.otherwise, otherwise)
        return dataclasses.replace(self, value=value, otherwise=last)


def fit_means(key: Tensor, action: Tensor, target: Tensor, n_actions: int, weight: Tensor | None = None) -> ActionTable:
    """Fits conditional means, which minimise squared error and cross-entropy alike.

    Args:
        key: int64 ``[M]``, M ≥ 1.
        action: int64 ``[M]`` in ``[0, n_actions)``.
        target: float64 ``[M]``.
        n_actions: number of actions A.
        weight: float64 ``[M]``, above 0, how much each target counts (default: 1).
    """
    weight = torch.ones_like(target) if weight is None else weight
    keys, place = distinct(key)
    cells = len(keys) * n_actions
    cell = place * n_actions + action
    total = group_sum(weight * target, cell, cells).view(-1, n_actions)
    count = group_sum(weight, cell, cells).view(-1, n_actions)
    mean = total.sum(dim=1, keepdim=True) / count.sum(dim=1, keepdim=True)
    value = torch.where(count > 0, total / torch.where(count > 0, count, 1.0), mean)
    return ActionTable(keys, value, count, (weight * target).sum() / weight.sum())


def expected(model: ActionTable, batch: Trajectories, key: Tensor) -> Tensor:
    """Returns V(s) = Σ_a π(a|s) Q(s, a) under the policy that acted, float64 ``[N, T]`` (0 where masked).

    Args:
        model: Q.
        batch: rollouts.
        key: int64 ``[N, T]``, from :func:`keys`.
    """
    mask = batch.mask
    out = torch.zeros_like(batch.reward)
    out[mask] = (batch.policy_table[batch.policy_row[mask]] * model.rows(key[mask])).sum(dim=1)
    return out
