"""Tabular critics: values of what is seen, learned from fresh rollouts, or the exact values with an error of stated size.

A critic is a table over what is seen of a step, filled in closed form:

    Monte-Carlo   V̂(φ) = mean of G_t over the visits of φ                        (the limit of TD(1))
    LSTD          V̂(φ) = mean over the visits of r_t + γ V̂(φ_{t+1})             (the fixed point of batch TD(0))

The second is a sparse linear system, always solvable because every rollout ends. What was never visited is predicted by the
mean over the visits of the training data. Anchors don't contain the step unless asked for, so under a time limit both are the
best that a critic without a clock can do, not V. Sources: Sutton 1988; Bradtke & Barto 1996 (LSTD).
"""

from __future__ import annotations

import torch
from scipy import sparse
from scipy.sparse.linalg import splu
from torch import Tensor

from credit_envs.errors import CreditEnvsError, check_range
from credit_envs.piece import Fresh, Noise
from credit_envs.sampling.packing import Packing, earned, following
from credit_envs.sampling.statistics import group_count, group_sum
from credit_envs.sampling.tabular import ActionTable, fit_means
from credit_envs.sampling.trajectories import Trajectories

FITS = ("mc", "td")
_SALT = 0x0C717C
_CLOCK = 1 << 32


def fitted(batch: Trajectories, key: Tensor, gamma: float, fit: str = "mc") -> ActionTable:
    """Fits a critic on rollouts, as a table with one column.

    Args:
        batch: training data.
        key: int64 ``[N, T]``, what the critic sees.
        gamma: discount in [0, 1].
        fit: ``mc`` or ``td``.

    Raises:
        CreditEnvsError: for another ``fit``.
    """
    if fit not in FITS:
        raise CreditEnvsError(f"fit={fit!r}: expected one of {FITS}")
    mask, packing = batch.mask, Packing(batch.mask)
    to_go = earned(packing, batch.reward, gamma)[packing.mask]
    table = fit_means(key[mask], torch.zeros_like(key[mask]), to_go, 1)
    if fit == "mc":
        return table
    flat = torch.searchsorted(table.key, key[mask])
    ids = torch.zeros_like(key)
    ids[packing.mask] = flat
    goes_on = following(packing.mask)[packing.mask]
    after = following(ids)[packing.mask]
    n = len(table.key)
    count = group_count(flat, n)
    reward = group_sum(batch.reward[mask], flat, n) / count
    at, upon, share = (x.cpu().numpy() for x in (flat[goes_on], after[goes_on], (gamma / count)[flat][goes_on]))
    onward = sparse.csr_array((share, (at, upon)), shape=(n, n))
    solved = splu(sparse.csc_array(sparse.eye_array(n) - onward)).solve(reward.cpu().numpy())
    value = torch.from_numpy(solved).to(key.device)
    return table.replace(value[:, None], float(value[flat].mean()))


def predicted(critic: ActionTable, key: Tensor) -> Tensor:
    """Returns a critic's values, float64 like the keys."""
    return critic.at(key, torch.zeros_like(key))


def seen(batch: Trajectories, time: bool = False) -> Tensor:
    """Returns what a critic sees of a step, int64 ``[N, T]``: the anchor, and the step if it sees the clock."""
    if not time:
        return batch.anchor
    return batch.anchor * _CLOCK + torch.arange(batch.anchor.shape[1], device=batch.anchor.device)


def learned(batch: Trajectories, fresh: Fresh, gamma: float, fit: str = "mc", time: bool = False) -> Tensor:
    """Learns a critic on as many fresh groups as the batch has, and returns its values float64 ``[N, T]``.

    Args:
        batch: where values are wanted.
        fresh: pays for the training data.
        gamma: discount in [0, 1].
        fit: ``mc`` or ``td``.
        time: whether the critic sees the step.
    """
    data = fresh(batch.n_groups)
    critic = fitted(data, seen(data, time), gamma, fit)
    return torch.where(batch.mask, predicted(critic, seen(batch, time)), 0.0)


def corrupted(batch: Trajectories, value: Tensor, noise: Noise, size: float) -> Tensor:
    """Adds an error to values, one and the same wherever the same is seen, as a network's would be; float64 ``[N, T]``.

    Args:
        batch: the rollouts.
        value: float64 ``[N, T]``.
        noise: its luck.
        size: deviation of the error in units of the deviation of the values over the batch's steps; its distribution is
            uniform.
    """
    check_range("size", size, 0, 1e6)
    luck = noise(_SALT, int(batch.anchor.max()) + 1)
    error = (2 * luck - 1) * 3**0.5
    spread = value[batch.mask].std(correction=0)
    return torch.where(batch.mask, value + size * spread * error[batch.anchor], 0.0)
