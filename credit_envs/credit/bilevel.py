"""Bi-level GAE (RAGEN): over turns first, then over the tokens of each turn towards the turn's return.

    turns     Â_e = δ_e + γ_h λ Â_{e'},   δ_e = r_e + γ_h V̂_{e'} − V̂_e        e, e': last tokens of a turn and of the next
    tokens    GAE(γ, λ) inside the turn, with reward Â_e + V̂_e at its last token and no value after it

With γ = λ = γ_h = 1 it is flat token GAE; with one turn it is token GAE for any discounts; where every turn is one step it
is GAE over turns with γ_h. [R] What is paid before a turn's last token counts at the turn level with the turn, undiscounted
within it (released code sees rewards at last tokens only, where the question doesn't arise).

With the exact values as critic its mean is A only for λ = 1, or where all turns have one length: whether a token is a turn's
last is known once it is said, so where saying it decides that, V̂ at last tokens is a choice in hindsight.

Released-code quirk as a flag: ``boundaries="reward"`` takes every non-zero reward for the end of a turn, so that turns
which paid nothing are merged with the next one; a rollout's last token is always an end here (the code would crash).
Sources: RAGEN's released code (Wang et al. 2025, arXiv 2504.20073); the paper itself describes token-level PPO only.
"""

from __future__ import annotations

import torch
from torch import Tensor

from credit_envs.credit.critics import predicted
from credit_envs.errors import CreditEnvsError, check_range
from credit_envs.piece import Fresh
from credit_envs.sampling.packing import Packing, following
from credit_envs.sampling.statistics import recurrence, whitened
from credit_envs.sampling.tabular import fit_means
from credit_envs.sampling.trajectories import Trajectories

BOUNDARIES = ("turn", "reward")


def bilevel_on(
    batch: Trajectories,
    value: Tensor,
    gamma: float = 0.95,
    lam: float = 1.0,
    token_gamma: float = 1.0,
    boundaries: str = "turn",
    whiten: bool = False,
) -> Tensor:
    """Returns bi-level advantages for given values, float64 ``[N, T]``.

    Args:
        batch: rollouts; ``turn`` numbers their turns.
        value: float64 ``[N, T]``.
        gamma: γ_h in [0, 1], discount from turn to turn.
        lam: λ in [0, 1] of both levels.
        token_gamma: γ in [0, 1], discount inside a turn.
        boundaries: ``turn``, or ``reward`` for the released code's quirk.
        whiten: to mean 0 and variance 1 over the steps of the batch.

    Raises:
        CreditEnvsError: for values out of range.
    """
    for name, number in (("gamma", gamma), ("lam", lam), ("token_gamma", token_gamma)):
        check_range(name, number, 0, 1)
    if boundaries not in BOUNDARIES:
        raise CreditEnvsError(f"boundaries={boundaries!r}: expected one of {BOUNDARIES}")
    packing = Packing(batch.mask)
    reward, value, turn = (packing.pack(x) for x in (batch.reward, value, batch.turn))
    last = packing.mask & ~following(packing.mask)
    ends = last | (packing.mask & ((following(turn) != turn) if boundaries == "turn" else (reward != 0)))

    def backward(decay: Tensor, drive: Tensor) -> Tensor:
        return recurrence(decay.flip(-1), drive.flip(-1)).flip(-1)

    one = torch.ones_like(reward)
    ahead = backward(torch.where(ends, 0.0, one), torch.where(ends, value, reward))
    error = torch.where(ends, reward + gamma * following(ahead) - value, 0.0)
    above = backward(torch.where(ends, gamma * lam * one, one), error)

    paid = torch.where(ends, above + value, reward)
    error = paid + torch.where(ends, 0.0, token_gamma * following(value)) - value
    out = packing.unpack(backward(torch.where(ends, 0.0, token_gamma * lam * one), error))
    if whiten:
        out[batch.mask] = whitened(out[batch.mask])
    return out


def bilevel_gae(
    batch: Trajectories, *, fresh: Fresh, gamma: float = 0.95, lam: float = 1.0, boundaries: str = "turn"
) -> Tensor:
    """Returns bi-level GAE with a critic learned on fresh groups, float64 ``[N, T]``; see :func:`bilevel_on`.

    The critic's targets are discounted as the advantage is: bi-level returns Â + V̂ at λ = 1, averaged over anchors.
    """
    data = fresh(batch.n_groups)
    target = bilevel_on(data, torch.zeros_like(data.reward), gamma, boundaries=boundaries)[data.mask]
    seen = data.anchor[data.mask]
    value = predicted(fit_means(seen, torch.zeros_like(seen), target, 1), batch.anchor)
    return bilevel_on(batch, value, gamma, lam, boundaries=boundaries)


def bilevel_gae_exact(
    batch: Trajectories, *, value: Tensor, gamma: float = 1.0, lam: float = 1.0, boundaries: str = "turn"
) -> Tensor:
    """Returns bi-level GAE with the exact values as critic, float64 ``[N, T]``; see :func:`bilevel_on`.

    γ_h should be 1 where the table's discount is: the values know no discount per turn.
    """
    return bilevel_on(batch, value, gamma, lam, boundaries=boundaries)
