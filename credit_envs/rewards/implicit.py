"""iStar's implicit step rewards: a second policy, trained to prefer won rollouts, against the one that acted.

    L_φ = −mean_{(+,−)} log σ(β [Σ_t log π_φ/π_old(τ⁺) − Σ_t log π_φ/π_old(τ⁻)])     all win × lose pairs of a group
    r_t = β log π_φ(a_t|o_t) / π_old(a_t|o_t)

π_φ is a table over the policy's own rows that starts at π_old; a won rollout is one with a higher return than the other of
its pair. Over a rollout Σ_t r_t = β log π_φ(τ)/π_old(τ). With labels that are certain the loss has no minimum, so its number
of updates and their size set the scale of r (they are ours: the paper gives an Adam rate for a language model [R]).

``soft`` labels a pair by σ(R_i − R_j), as preferences drawn by Bradley and Terry's rule would on average. Then there is a
minimum: on deterministic transitions π_φ ∝ π_old exp(R/β), r = Q_soft − V_soft with V_soft(s) = β log E[exp(R/β)|s], rewards
sum to R − V_soft(s_0), and r → A^π as β → ∞ (ours, kept because it can be checked).

Departures: π_φ starts afresh at each batch (the paper carries its weights over; pass ``initial`` to do so). Released-code
quirks as flags: ``mean_over_steps`` scores a rollout by the mean over its steps in the loss; ``lag`` pays by the weights from
before the last update; ``scaled`` divides r by the largest |Σ_{k≥t} r_k| of the batch. Source: Liu et al. 2025, arXiv
2509.19199; released code Tongyi-ConvAI/Qwen-Character, CharacterRL-iStar.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from credit_envs.errors import CreditEnvsError, check_range
from credit_envs.sampling.statistics import group_sum, returns_to_go
from credit_envs.sampling.trajectories import Trajectories

_ROUNDING = 1e-9
"""Returns this close are equal: sums of the same rewards in another order differ in their last bits."""


def pairs_of_groups(batch: Trajectories) -> tuple[Tensor, Tensor]:
    """Returns all pairs of different rollouts of a group, each once: two int64 ``[P]``."""
    order = torch.argsort(batch.group, stable=True)
    group = batch.group[order]
    first, second = [order[:0]], [order[:0]]
    for apart in range(1, int(torch.bincount(group).max())):
        same = group[apart:] == group[:-apart]
        first.append(order[:-apart][same])
        second.append(order[apart:][same])
    return torch.cat(first), torch.cat(second)


def train_implicit(
    batch: Trajectories,
    beta: float = 0.05,
    updates: int = 10,
    rate: float = 1.0,
    soft: bool = False,
    mean_over_steps: bool = False,
    initial: Tensor | None = None,
) -> Tensor:
    """Trains π_φ by full-batch gradient steps; returns its logits less those of π_old, float64 ``[rows, A]``.

    Args:
        batch: rollouts in groups.
        beta: scale of the rewards, above 0.
        updates: number of steps.
        rate: size of a step: the first moves a logit by ``rate/2`` times the share of pairs that pull at it.
        soft: label pairs by σ(R_i − R_j) instead of by the higher return.
        mean_over_steps: released-code quirk: rollouts are scored by the mean over steps, not by the sum.
        initial: float64 ``[rows, A]``, where to start from (default: π_old, zeros).

    Raises:
        CreditEnvsError: for an option out of range.
    """
    check_range("beta", beta, 0, float("inf"), open_low=True)
    check_range("updates", updates, 0, 1e6, integer=True)
    check_range("rate", rate, 0, float("inf"), open_low=True)
    shape = batch.policy_table.shape
    if initial is not None and initial.shape != shape:
        raise CreditEnvsError(f"initial: expected shape {tuple(shape)}, got {tuple(initial.shape)}")
    out = torch.zeros_like(batch.policy_table) if initial is None else initial.clone()
    first, second = pairs_of_groups(batch)
    gap = batch.returns[first] - batch.returns[second]
    wins = torch.sigmoid(gap) if soft else (gap.sign() + 1) / 2
    if not soft:
        won = gap.abs() > _ROUNDING
        first, second, wins = first[won], second[won], wins[won]
    if not len(first):
        return out
    mask = batch.mask
    used, row = torch.unique(batch.policy_row[mask], return_inverse=True)
    old = batch.policy_table[used].clamp(min=1e-300).log()
    cell = row * shape[1] + batch.policy_action[mask]
    owner = torch.nonzero(mask, as_tuple=True)[0]
    share = (
        1 / batch.lengths.to(old.dtype)[owner] if mean_over_steps else torch.ones_like(old[:1, 0]).expand(len(owner))
    )
    moved = out[used]
    for _ in range(updates):
        with torch.enable_grad():
            moved = moved.detach().requires_grad_()
            ratio = torch.log_softmax(old + moved, dim=1) - old
            score = group_sum(share * ratio.view(-1)[cell], owner, batch.n_rollouts)
            margin = beta * (score[first] - score[second])
            loss = -(wins * logsigmoid(margin) + (1 - wins) * logsigmoid(-margin)).mean()
            (slope,) = torch.autograd.grad(loss, moved)
        moved = (moved - rate / beta * slope).detach()
    out[used] = moved
    return out


def log_ratio(batch: Trajectories, moved: Tensor) -> Tensor:
    """Returns log π_φ/π_old at every step taken, float64 ``[N, T]`` (0 where masked), for logits moved by ``[rows, A]``."""
    used, row = torch.unique(batch.policy_row[batch.mask], return_inverse=True)
    old = batch.policy_table[used].clamp(min=1e-300).log()
    ratio = torch.log_softmax(old + moved[used], dim=1) - torch.log_softmax(old, dim=1)
    out = torch.zeros_like(batch.reward)
    out[batch.mask] = ratio[row, batch.policy_action[batch.mask]]
    return out


def implicit(
    batch: Trajectories,
    beta: float = 0.05,
    updates: int = 10,
    rate: float = 1.0,
    soft: bool = False,
    mean_over_steps: bool = False,
    lag: bool = False,
    scaled: bool = False,
    initial: Tensor | None = None,
) -> Trajectories:
    """Returns the batch with implicit step rewards as ``step_reward``.

    Args:
        batch: rollouts in groups.
        beta: see :func:`train_implicit`, like the options that follow.
        updates: likewise.
        rate: likewise.
        soft: likewise.
        mean_over_steps: likewise.
        lag: released-code quirk: pay by the weights from before the last update.
        scaled: released-code quirk: divide by the largest |Σ_{k≥t} r_k| of the batch.
        initial: see :func:`train_implicit`.

    Raises:
        CreditEnvsError: for an option out of range.
    """
    check_range("updates", updates, int(lag), 1e6, integer=True)
    moved = train_implicit(batch, beta, updates - int(lag), rate, soft, mean_over_steps, initial)
    reward = beta * log_ratio(batch, moved)
    if scaled:
        reward = reward / returns_to_go(reward, batch.mask, 1.0).abs().max().clamp(min=1e-300)
    return batch.replace(step_reward=reward)
