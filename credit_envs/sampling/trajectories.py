"""What sampling returns: trajectories as a struct of tensors, and apart from them the truth that estimators must not see."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Trajectories:
    """N rollouts of at most T steps. Everything here is something a real system would also know.

    Attributes:
        obs: int64 ``[N, T]``, observation ids (0 where masked).
        action: int64 ``[N, T]``, the actions as named.
        log_prob: float64 ``[N, T]``, log-probability of the action under the behaviour policy.
        reward: float64 ``[N, T]``.
        mask: bool ``[N, T]``, steps that were taken.
        group: int64 ``[N]``, rollouts of one group share context and number.
        context: int64 ``[N]``, which start (instance and start state) a rollout began from.
        turn: int64 ``[N, T]``, number of the turn that a step belongs to, from 0.
        segment: int64 ``[N, T]``, number of the segment that a step belongs to, from 0.
        anchor: int64 ``[N, T]``, observation id as identity rules see it by default (a cue isn't part of it).
        policy_row: int64 ``[N, T]``, row of the behaviour policy's table.
        policy_action: int64 ``[N, T]``, column of the behaviour policy's table.
        policy_table: float64 ``[rows, A]``, the behaviour policy's own probabilities.
        tree: int64 ``[N]``, rollouts of one tree share their first steps; without forks each rollout is a tree.
        node: int64 ``[N, T]``, equal where rollouts of a tree share one and the same step; distinct otherwise.
        step_reward: float64 ``[N, T]``, a reward model's own signal beside the reward, None without one.
    """

    obs: Tensor
    action: Tensor
    log_prob: Tensor
    reward: Tensor
    mask: Tensor
    group: Tensor
    context: Tensor
    turn: Tensor
    segment: Tensor
    anchor: Tensor
    policy_row: Tensor
    policy_action: Tensor
    policy_table: Tensor
    tree: Tensor = None  # type: ignore[assignment]  # filled in below
    node: Tensor = None  # type: ignore[assignment]
    step_reward: Tensor | None = None

    def __post_init__(self) -> None:
        rollouts, steps = self.mask.shape
        if self.tree is None:
            object.__setattr__(self, "tree", torch.arange(rollouts, device=self.mask.device))
        if self.node is None:
            every = torch.arange(rollouts * steps, device=self.mask.device).view(rollouts, steps)
            object.__setattr__(self, "node", every)

    @property
    def n_rollouts(self) -> int:
        """Number of rollouts N."""
        return int(self.mask.shape[0])

    @property
    def n_groups(self) -> int:
        """Number of groups, numbered 0 … n_groups − 1."""
        return int(self.group.max()) + 1

    @property
    def returns(self) -> Tensor:
        """Undiscounted return of each rollout, float64 ``[N]``."""
        return self.reward.sum(dim=1)

    @property
    def lengths(self) -> Tensor:
        """Steps of each rollout, int64 ``[N]``."""
        return self.mask.sum(dim=1)

    @property
    def n_trees(self) -> int:
        """Number of trees, numbered 0 … n_trees − 1."""
        return int(self.tree.max()) + 1

    def rows(self, index: Tensor) -> Trajectories:
        """Returns some rollouts, int64 or bool ``[n]``, in the order of the index; groups keep their numbers."""
        fields = {k: v[index] for k, v in vars(self).items() if k != "policy_table" and v is not None}
        return self.replace(**fields)

    def replace(self, **changes: Tensor | None) -> Trajectories:
        """Returns a copy with some fields changed."""
        return dataclasses.replace(self, **changes)  # type: ignore[arg-type]


@dataclass(frozen=True, eq=False)
class Truth:
    """What only the oracle may use.

    Attributes:
        state: int64 ``[N, T]``, true states.
        edge: int64 ``[N, T]``, executed edges, −1 where inadmissible or masked.
        code: int64 ``[N, T]``, emission codes.
        rollout: int64 ``[N]``, rollout words of the random keys.
        final: int64 ``[N]``, states after the last steps.
    """

    state: Tensor
    edge: Tensor
    code: Tensor
    rollout: Tensor
    final: Tensor


@dataclass(frozen=True, eq=False)
class Sample:
    """Trajectories with the truth behind them."""

    trajectories: Trajectories
    truth: Truth

    def rows(self, index: Tensor) -> Sample:
        """Returns some rollouts, int64 or bool ``[n]``, in the order of the index; groups keep their numbers."""
        return Sample(self.trajectories.rows(index), Truth(**{k: v[index] for k, v in vars(self.truth).items()}))


_FILL = {"edge": -1}


def stack(samples: Sequence[Sample]) -> Sample:
    """Puts rollouts of one policy below each other, padded to the longest; groups, trees and nodes keep their numbers.

    Args:
        samples: at least one, from one sampler.
    """
    if len(samples) == 1:
        return samples[0]
    width = max(sample.trajectories.mask.shape[1] for sample in samples)

    def joined(parts: Sequence[Trajectories] | Sequence[Truth]) -> dict[str, Tensor]:
        out = {}
        for name, value in vars(parts[0]).items():
            if name == "policy_table" or value is None:
                continue
            columns = [getattr(part, name) for part in parts]
            if value.ndim == 2:
                fill = _FILL.get(name, 0)
                columns = [torch.nn.functional.pad(c, (0, width - c.shape[1]), value=fill) for c in columns]
            out[name] = torch.cat(columns)
        return out

    batches = _one_table([sample.trajectories for sample in samples])
    batch = batches[0].replace(**joined(batches))
    return Sample(batch, Truth(**joined([sample.truth for sample in samples])))


def _one_table(batches: list[Trajectories]) -> list[Trajectories]:
    """Gives batches one behaviour table; tables that differ (what a policy with memory said) go below each other."""
    tables = [batch.policy_table for batch in batches]
    if all(table is tables[0] or torch.equal(table, tables[0]) for table in tables):
        return batches
    whole, first = torch.cat(tables), 0
    out = []
    for batch in batches:
        out.append(batch.replace(policy_row=batch.policy_row + first, policy_table=whole))
        first += len(batch.policy_table)
    return out


@dataclass
class Meter:
    """What sampling has cost so far.

    Attributes:
        env_steps: environment steps, replayed prefixes included.
        policy_calls: policy evaluations (one per step that a policy chose).
        restores: times a stored state was entered again.
    """

    env_steps: int = 0
    policy_calls: int = 0
    restores: int = 0

    def copy(self) -> Meter:
        """Returns the present reading."""
        return dataclasses.replace(self)

    def since(self, earlier: Meter) -> Meter:
        """Returns what was spent since an earlier reading."""
        spent = {f.name: getattr(self, f.name) - getattr(earlier, f.name) for f in dataclasses.fields(self)}
        return Meter(**spent)


def numbered(label: Tensor, mask: Tensor, *, starts: bool) -> Tensor:
    """Numbers turns or segments along each rollout from labels ``[N, T]``.

    Args:
        label: position inside the turn (a 0 starts one) or the segment's own number (a change starts one).
        mask: steps that were taken.
        starts: whether labels are positions.
    """
    new = torch.zeros_like(mask)
    new[:, 1:] = (label[:, 1:] == 0) if starts else (label[:, 1:] != label[:, :-1])
    return torch.where(mask, (new & mask).cumsum(dim=1), 0)
