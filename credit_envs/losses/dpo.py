"""DPO: the preferred of two rows is made more likely than the rejected one, measured from the policy that acted.

    L = −mean_p log σ( β [ Σ_t (log π − log b)(a_t|o_t) of row 2p  −  the same of row 2p + 1 ] )

The reference is b, the stored behaviour log-probability (Agent Q's off-policy form); where the rollouts are fresh it is the
previous policy, which is online DPO. A row counts with the steps that its mask covers: one step for a step-level pair, all
of them for a pair of whole rollouts. Credit isn't read: the order of the rows is the preference.

``online_dpo`` makes the pairs itself: all pairs of rollouts of one group with different returns, whole rollouts against
each other. Paired by the outcome they need no search, no critic and no value, and every step of a rollout shares its fate.

At π = b the loss is log 2 and its gradient ½β (∇ log π(rejected) − ∇ log π(preferred)). Pairs of which a row has no step are
left out; without any pair the loss is 0, and so is its gradient. Sources: Rafailov et al. 2023, arXiv 2305.18290, Eq. 7;
Putta et al. 2024 (Agent Q), arXiv 2408.07199; Guo et al. 2024 (online DPO), arXiv 2402.04792.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from credit_envs.errors import CreditEnvsError, check_range
from credit_envs.sampling.trajectories import Trajectories

_ROUNDING = 1e-9
"""Returns that differ by less are equal sums in another order."""


def dpo(log_prob: Tensor, batch: Trajectories, credit: Tensor, beta: float = 0.1) -> Tensor:
    """Returns DPO's loss over rows in pairs, a float64 scalar.

    Args:
        log_prob: float64 ``[N, T]``, log-probabilities of the actions under the policy to be updated.
        batch: rows 2p (preferred) and 2p + 1 (rejected).
        credit: not read.
        beta: how far the policy may move from the reference, above 0.

    Raises:
        CreditEnvsError: if rows don't come in pairs of one group, or beta is out of range.
    """
    del credit
    check_range("beta", beta, 0, float("inf"), open_low=True)
    group = batch.group
    if len(group) % 2 or not torch.equal(group[0::2], group[1::2]):
        raise CreditEnvsError("dpo: expected rows in pairs, 2p preferred and 2p + 1 rejected, each pair of one group")
    moved = _moved(log_prob, batch)
    there = batch.mask.any(dim=1)
    return _mean_loss(beta * (moved[0::2] - moved[1::2]), there[0::2] & there[1::2])


def online_dpo(log_prob: Tensor, batch: Trajectories, credit: Tensor, beta: float = 0.1) -> Tensor:
    """Returns DPO's loss over all pairs of rollouts of a group with different returns, a float64 scalar.

    Args:
        log_prob: float64 ``[N, T]``, log-probabilities of the actions under the policy to be updated.
        batch: rollouts in groups; the one with the higher return is preferred.
        credit: not read.
        beta: how far the policy may move from the reference, above 0.

    Raises:
        CreditEnvsError: if beta is out of range.
    """
    del credit
    check_range("beta", beta, 0, float("inf"), open_low=True)
    order = torch.argsort(batch.group, stable=True)
    group, returns, moved = batch.group[order], batch.returns[order], _moved(log_prob, batch)[order]
    margins, valid = [moved[:0]], [torch.zeros_like(group[:0], dtype=torch.bool)]
    for apart in range(1, int(torch.bincount(group).max())):
        gap = returns[apart:] - returns[:-apart]
        margins.append(beta * gap.sign() * (moved[apart:] - moved[:-apart]))
        valid.append((group[apart:] == group[:-apart]) & (gap.abs() > _ROUNDING))
    return _mean_loss(torch.cat(margins), torch.cat(valid))


def _moved(log_prob: Tensor, batch: Trajectories) -> Tensor:
    """How much likelier each row has become than under the policy that acted: Σ_t log π − log b, float64 ``[N]``."""
    return torch.where(batch.mask, log_prob - batch.log_prob, 0.0).sum(dim=1)


def _mean_loss(margin: Tensor, valid: Tensor) -> Tensor:
    """Averages −log σ over the valid pairs ``[P]``; 0 without any, still differentiable."""
    return -torch.where(valid, logsigmoid(margin), 0.0).sum() / valid.sum().clamp(min=1)
