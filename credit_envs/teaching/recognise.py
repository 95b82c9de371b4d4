"""Which credit is this? A student's numbers beside the right ones, those of every known slip, and of two slips at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from credit_envs.teaching.assignments.assignment import Assignment, Slip
from credit_envs.teaching.scenes import Scene

_SAME = 1e-4
"""Largest deviation of equal credit, as a share of its size: what float32 leaves."""

_CLEARLY, _LIKE = 0.25, 0.8
"""A slip explains credit if it leaves at most this share of what the right one leaves, and correlates at least so squared."""


@dataclass(frozen=True)
class Recognised:
    """What a credit was found to be.

    Attributes:
        kind: ``right``; ``slips`` (exactly those); ``scaled`` (those, or none, times a factor); ``like`` (explained by them
            much better than by the right one); ``constant`` (no signal at all); ``unknown``.
        slips: the slips.
        factor: of ``scaled``: the credit is this times the right one, or the slips' one.
        correlation: with the right credit, over all steps.
        wrong_places: environments where it differs from the right one.
        padded: whether steps that were never taken got credit.
    """

    kind: str
    slips: tuple[Slip, ...] = ()
    factor: float = 1.0
    correlation: float = 0.0
    wrong_places: tuple[str, ...] = ()
    padded: bool = False


def recognise(assignment: Assignment, scenes: Sequence[Scene], credit: Sequence[Tensor]) -> Recognised:
    """Compares credit with what the assignment's slips would have given.

    Args:
        assignment: what was asked for.
        scenes: batches.
        credit: float64 ``[N, T]`` per scene, as the student's function returned it.
    """

    def flat(parts: Sequence[Tensor]) -> Tensor:
        # Every place counts alike, whatever its rewards' size.
        return torch.cat([part[s.batch.mask] / size for part, s, size in zip(parts, scenes, sizes, strict=True)])

    def made(*slips: Slip) -> list[Tensor]:
        switches = {key: value for slip in slips for key, value in slip.switches.items()}
        return [
            assignment.credit(s.batch, **{need: s.needs[need] for need in assignment.needs}, **switches) for s in scenes
        ]

    right = made()
    sizes = [float(part.norm().clamp(min=1e-12)) for part in right]
    mine, true = flat(credit), flat(right)
    padded = any(bool((part[~s.batch.mask] != 0).any()) for part, s in zip(credit, scenes, strict=True))
    wrong = tuple(
        s.place
        for s, a, b in zip(scenes, credit, right, strict=True)
        if _distance(a[s.batch.mask], b[s.batch.mask]) > _SAME
    )
    known: dict[str, Any] = {"correlation": _cosine(mine, true), "wrong_places": wrong, "padded": padded}
    if float(mine.norm()) == 0:
        return Recognised("constant", **known)
    if not wrong:
        return Recognised("right", **known)
    others = []
    for slips in assignment.candidates():
        theirs = flat(made(*slips))
        if _distance(mine, theirs) <= _SAME:
            return Recognised("slips", slips, **known)
        others.append((slips, theirs))
    for slips, theirs in [((), true), *others]:
        factor = float(mine @ theirs) / max(float(theirs @ theirs), 1e-300)
        if _distance(mine, factor * theirs) <= _SAME:
            return Recognised("scaled", slips, factor, **known)
    slips, best = max(((slips, _cosine(mine, theirs) ** 2) for slips, theirs in others), key=lambda found: found[1])
    if best >= _LIKE and 1 - best <= _CLEARLY * (1 - known["correlation"] ** 2):
        return Recognised("like", slips, **known)
    return Recognised("unknown", **known)


def _distance(a: Tensor, b: Tensor) -> float:
    return float((a - b).norm()) / max(float(b.norm()), 1e-12)


def _cosine(a: Tensor, b: Tensor) -> float:
    return float(a @ b) / max(float(a.norm() * b.norm()), 1e-300)
