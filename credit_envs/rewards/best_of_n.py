"""Best of N: at each step N actions are drawn and the one that a reward model scores highest is taken.

The law of the winner is exact. With F(q) the chance that one draw scores at most q, the best of N scores q with chance
F(q)^N − F(q⁻)^N; among equal scores the first draw wins, so that mass is split in proportion to π (``split``), or the lowest
action does (``lowest``). N = 1 gives π; N → ∞ the argmax on π's support. Only inference changes: N policy calls and N model
calls a step, no training. So what a process reward model is worth at inference is a number, J(π_N) by the oracle. A model
over the policy's rows (:mod:`credit_envs.sampling.tabular`) scores by ``model.rows(torch.arange(rows)).cpu().numpy()``.
Source: Choudhury 2025, arXiv 2502.10325 (best-of-N inference with a process reward model).
"""

from __future__ import annotations

import numpy as np

from credit_envs.arrays import AnyArray, Floats
from credit_envs.errors import CreditEnvsError, check_range
from credit_envs.oracle.policy import Policy

TIES = ("split", "lowest")
"""Who wins among equal scores."""


def best_of_n(policy: Policy, score: AnyArray, n: int, ties: str = "split") -> Policy:
    """Returns the policy that takes the best of N draws.

    Args:
        policy: what the draws come from.
        score: float ``[rows, A]``, the reward model's scores; never read where the policy has no weight.
        n: number of draws N, at least 1.
        ties: ``split`` or ``lowest``.

    Raises:
        CreditEnvsError: for scores of another shape, NaN among those that are read, or an option out of range.
    """
    check_range("n", n, 1, 1 << 40, integer=True)
    if ties not in TIES:
        raise CreditEnvsError(f"ties={ties!r}: expected one of {', '.join(TIES)}")
    chance = policy.probability
    found = np.asarray(score, dtype=np.float64)
    if found.shape != chance.shape:
        raise CreditEnvsError(f"score: expected shape {chance.shape}, got {found.shape}")
    if np.isnan(found[chance > 0]).any():
        row = int(np.flatnonzero((np.isnan(found) & (chance > 0)).any(axis=1))[0])
        raise CreditEnvsError(f"score: row {row} holds NaN for an action that the policy takes; expected numbers")
    found = np.where(chance > 0, found, -np.inf)
    # Ascending by score; among equal ones the winner stands last.
    order = np.argsort(found[:, ::-1], axis=1, kind="stable")
    order = found.shape[1] - 1 - order
    drawn, ranked = np.take_along_axis(chance, order, axis=1), np.take_along_axis(found, order, axis=1)
    total = np.maximum(drawn.sum(axis=1, keepdims=True), 1e-300)
    # What lies above is summed from the top, where it is exactly 0, so that large N do not blow up rounding.
    above = np.cumsum((drawn / total)[:, ::-1], axis=1)[:, ::-1]
    with np.errstate(divide="ignore"):
        below = np.exp(n * np.log1p(-np.minimum(above, 1)))
    won = np.concatenate([below[:, 1:], np.ones_like(below[:, :1])], axis=1) - below
    if ties == "split":
        won = _shared(won, drawn, ranked)
    won = np.where(drawn > 0, won, 0)
    out = np.zeros_like(chance)
    np.put_along_axis(out, order, won / np.maximum(won.sum(axis=1, keepdims=True), 1e-300), axis=1)
    return Policy(policy.kind, out)


def _shared(won: Floats, drawn: Floats, ranked: Floats) -> Floats:
    """Splits what each run of equal scores ``[rows, A]`` wins in proportion to the draws."""
    rows, actions = won.shape
    new = np.ones(ranked.shape, dtype=bool)
    new[:, 1:] = ranked[:, 1:] != ranked[:, :-1]
    run = np.cumsum(new.ravel()) - 1
    mass, share = np.bincount(run, won.ravel()), np.bincount(run, drawn.ravel())
    spread = drawn.ravel() * mass[run] / np.maximum(share[run], 1e-300)
    return np.asarray(spread.reshape(rows, actions))
