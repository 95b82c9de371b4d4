"""What sampling returns: trajectories as a struct of tensors, and apart from them the truth that estimators must not see."""

from __future__ import annotations

import dataclasses
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

    def replace(self, **changes: Tensor) -> Trajectories:
        """Returns a copy with some fields changed."""
        return dataclasses.replace(self, **changes)


@dataclass(frozen=True, eq=False)
class Truth:
    """What only the oracle may use.

    Attributes:
        state: int64 ``[N, T]``, true states.
        edge: int64 ``[N, T]``, executed edges, −1 where inadmissible or masked.
        code: int64 ``[N, T]``, emission codes.
        rollout: int64 ``[N]``, rollout words of the random keys.
    """

    state: Tensor
    edge: Tensor
    code: Tensor
    rollout: Tensor


@dataclass(frozen=True, eq=False)
class Sample:
    """Trajectories with the truth behind them."""

    trajectories: Trajectories
    truth: Truth


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
