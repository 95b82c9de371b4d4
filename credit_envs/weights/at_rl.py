"""AT-RL: credit on the steps that attend to the image, by an attention that is synthetic here.

    c_t = 1[the step is visual, seen rightly with probability p] + u_t,   u_t uniform in [0, 1)
    W_t = 1 where c_t is among the top 15 % of all steps, else w_low

The paper sums a token's attention over the image's tokens and clusters tokens by it; about 15 % attend strongly. A
transformer tells its own (``at_rl_attention``). A table has none, so connectivity is read off the label that says which
steps only the image tells, through a channel of stated accuracy: p = 1 never errs, p = ½ says nothing. Steps that the
channel rates alike are ordered by chance. It is a score of steps like any other and has nothing to do with entropy. Shared
steps of a tree have one connectivity.

Summaries disagree on whether other steps are dropped (w_low = 0) or damped (½); ``renormalise`` makes the mean W one, and
``complement`` trains the others only, which the paper reports to break training.

Reconstruction: no code; the paper partitions a graph of tokens (METIS) where this takes a threshold, and weights and channel
are ours. Source: Jiao et al. 2026, arXiv 2602.11455, abstract and summaries.
"""

from __future__ import annotations

import torch
from torch import Tensor

from credit_envs.errors import CreditEnvsError, check_range
from credit_envs.piece import Noise
from credit_envs.sampling.trajectories import Trajectories
from credit_envs.weights.selection import top

_SALT = 0xA77


def connectivity(batch: Trajectories, visual: Tensor, noise: Noise, accuracy: float = 0.9) -> Tensor:
    """Returns synthetic attention to the image, float64 ``[N, T]`` in [0, 2), equal on equal nodes, 0 where masked.

    Args:
        batch: the rollouts.
        visual: bool ``[N, T]``, steps whose right action only the image tells.
        noise: counter-based luck.
        accuracy: p, in [0.5, 1].

    Raises:
        CreditEnvsError: if the accuracy is out of range.
    """
    check_range("accuracy", accuracy, 0.5, 1)
    node = batch.node - batch.node.min()
    wrong, order = noise(_SALT, 2, int(node.max()) + 1)
    return torch.where(batch.mask, (visual ^ (wrong[node] >= accuracy)) + order[node], 0.0)


def at_rl(
    batch: Trajectories,
    accuracy: float = 0.9,
    share: float = 0.15,
    low: float = 0.0,
    renormalise: bool = False,
    complement: bool = False,
    *,
    visual: Tensor,
    noise: Noise,
) -> Tensor:
    """Returns W, float64 ``[N, T]``.

    Args:
        batch: the rollouts.
        accuracy: see :func:`connectivity`.
        share: share of all steps that are anchors, in [0, 1].
        low: w_low, weight of the others, in [0, 1].
        renormalise: scale W to mean 1 over all steps.
        complement: swap anchors and others.
        visual: bool ``[N, T]``, steps whose right action only the image tells (privileged).
        noise: counter-based luck.

    Raises:
        CreditEnvsError: if an option is out of range.
    """
    return at_rl_attention(batch, connectivity(batch, visual, noise, accuracy), share, low, renormalise, complement)


def at_rl_attention(
    batch: Trajectories,
    attention: Tensor,
    share: float = 0.15,
    low: float = 0.0,
    renormalise: bool = False,
    complement: bool = False,
) -> Tensor:
    """Returns W from the policy's own attention, float64 ``[N, T]``; other arguments as for :func:`at_rl`.

    Args:
        batch: the rollouts.
        attention: float64 ``[N, T]``, what each step attends to the picture, such as
            ``Transformer.attention(batch, "picture")``.
        share: share of all steps that are anchors, in [0, 1].
        low: w_low, weight of the others, in [0, 1].
        renormalise: scale W to mean 1 over all steps.
        complement: swap anchors and others.

    Raises:
        CreditEnvsError: if an option is out of range, or the shape doesn't fit.
    """
    check_range("low", low, 0, 1)
    if attention.shape != batch.mask.shape:
        raise CreditEnvsError(f"attention: expected shape {tuple(batch.mask.shape)}, got {tuple(attention.shape)}")
    anchors = top(attention, batch.mask, share, "batch")
    weight = low + (1 - low) * (anchors ^ complement).to(torch.float64)
    if renormalise:
        total = torch.where(batch.mask, weight, 0.0).sum()
        weight = weight * torch.where(total > 0, batch.mask.sum() / total, 1.0)
    return weight
