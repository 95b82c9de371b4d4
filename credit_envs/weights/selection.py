"""Which steps stand out: the largest scores of each rollout, or of the whole batch."""

from __future__ import annotations

import torch
from torch import Tensor

from credit_envs.errors import CreditEnvsError, check_range

SCOPES = ("rollout", "batch")

_TIE = 1e-12


def top(score: Tensor, mask: Tensor, share: float, scope: str = "rollout", *, ties: bool = False) -> Tensor:
    """Selects ⌈share · n⌉ of the n taken steps, those with the largest scores; bool ``[N, T]``.

    Args:
        score: float64 ``[N, T]``; anything where masked.
        mask: steps that were taken.
        share: in [0, 1]; above 0 at least one step is kept.
        scope: ``rollout`` selects in every row, ``batch`` among all steps.
        ties: keep every step that scores like the last one kept; otherwise earlier steps (and rows) go first.

    Raises:
        CreditEnvsError: if the share is out of range or the scope unknown.
    """
    check_range("share", share, 0, 1)
    if scope not in SCOPES:
        raise CreditEnvsError(f"scope={scope!r}: expected one of {', '.join(SCOPES)}")
    if scope == "batch":
        out = torch.zeros_like(mask)
        out[mask] = _largest(score[mask], share, ties)
        return out
    score = torch.where(mask, score, -torch.inf)
    wanted = _count(share, mask.sum(dim=1, keepdim=True))
    ranked, order = torch.sort(score, dim=1, descending=True, stable=True)
    ranks = torch.arange(score.shape[1], device=score.device).expand_as(order)
    chosen = torch.zeros_like(mask).scatter(1, order, ranks < wanted)
    if ties:
        last = ranked.gather(1, (wanted - 1).clamp(min=0))
        chosen = chosen | (_near(score, last) & (wanted > 0))
    return chosen & mask


def _largest(score: Tensor, share: float, ties: bool) -> Tensor:
    """Selects among scores ``[M]`` in one pass, without sorting them."""
    wanted = int(_count(share, torch.tensor(len(score))))
    if wanted == 0:
        return torch.zeros_like(score, dtype=torch.bool)
    last = score.kthvalue(len(score) - wanted + 1).values
    above, level = score > last, score == last
    chosen = above | (level & (level.cumsum(0) <= wanted - above.sum()))
    return chosen | _near(score, last) if ties else chosen


def _count(share: float, n: Tensor) -> Tensor:
    # 0.07 · 100 is 7.000000000000001 in binary, which is not meant to be 8.
    return (share * n.to(torch.float64) - 1e-9).ceil().clamp(min=0).to(torch.int64)


def _near(score: Tensor, last: Tensor) -> Tensor:
    return score >= last - _TIE * (1 + last.abs())


def row_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Averages over the taken steps of each row, float64 ``[N]``; 0 for rows without any."""
    return torch.where(mask, values, 0.0).sum(dim=1) / mask.sum(dim=1).clamp(min=1)
