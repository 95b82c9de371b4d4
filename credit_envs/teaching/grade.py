"""Grades: a student's estimator against the assignment's formula and against the truth, with feedback that teaches.

Ten points for four questions. Does it run (1)? Is the credit the one that was asked for (5)? Does its gradient average to
the exact one (2)? Where the right credit is biased, too: does it point where the right one's does? What is a batch worth (2)?
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from credit_envs.errors import unknown
from credit_envs.evaluation.scores import GradientFrame
from credit_envs.evaluation.summary import Row, summarise
from credit_envs.leaderboard.room import Room
from credit_envs.piece import Piece
from credit_envs.recipes import recipe
from credit_envs.recipes.catalogue import around
from credit_envs.teaching import submission as handed
from credit_envs.teaching.assignments import ASSIGNMENTS, Assignment
from credit_envs.teaching.recognise import Recognised, recognise
from credit_envs.teaching.scenes import PLACES, Scene, many, scenes, subject

POINTS = {"runs": 1, "credit": 5, "gradient": 2, "worth": 2}
"""Points of each question."""

MEMORY = 8 << 30
"""Address space of a student's code in bytes (torch alone reserves several GiB)."""

WORTH_PLACES = tuple(place for place, _ in PLACES[:2])
_BUDGET = 2_000
_GROUPS, _PER_SEED = 300, 24
_ENOUGH = 0.9
_ROUNDING = 1e-6
_ASTRONOMIC = 100
_SURE = 3.5
"""Standard errors from which on a mean is said to differ: one false alarm in 2,000."""

Told = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Line:
    """One question of the rubric.

    Attributes:
        name: a key of :data:`POINTS`.
        points: given.
        of: at most.
        why: one sentence.
    """

    name: str
    points: float
    of: int
    why: str


@dataclass(frozen=True)
class Length:
    """Length of the mean gradient along the exact one, whose own is 1, and how many standard errors it is away from 1."""

    length: float
    z: float


@dataclass(frozen=True)
class Worth:
    """What a batch is worth with a credit, in one environment; intervals are 95 % over seeds.

    Attributes:
        place: id of the environment.
        equivalents: GRPO-equivalents per environment step with the student's credit: (value, low, high).
        right: the same with the right credit.
        cosine: cosine of the mean gradient to the exact one.
        right_cosine: the same with the right credit.
    """

    place: str
    equivalents: tuple[float, float, float]
    right: tuple[float, float, float]
    cosine: float
    right_cosine: float


@dataclass(frozen=True)
class Grade:
    """A graded submission.

    Attributes:
        submission: as it was named.
        assignment: which one it was graded as; empty if nobody knows.
        lines: the rubric.
        recognised: what the credit was found to be, in a few words.
        feedback: sentences for the student.
        bias: of the mean gradient, per environment; empty where the right credit is biased.
        worth: per environment.
    """

    submission: str
    assignment: str
    lines: tuple[Line, ...]
    recognised: str
    feedback: tuple[str, ...]
    bias: dict[str, Length] = field(default_factory=dict)
    worth: tuple[Worth, ...] = ()

    @property
    def points(self) -> float:
        """Points given."""
        return round(sum(line.points for line in self.lines), 2)

    @property
    def of(self) -> int:
        """Points that can be had."""
        return sum(POINTS.values())


def grade(
    name: str, assignment: str | None = None, *, room: Room, seed: int = 0, seeds: int = 8, told: Told | None = None
) -> Grade:
    """Grades one submission; broken ones get 0 points and the reason.

    Args:
        name: ``FILE.py`` or ``FILE.py:FUNCTION`` (default function: ``estimate``).
        assignment: a name in :data:`~credit_envs.teaching.assignments.ASSIGNMENTS` (default: what the file says).
        room: where the code runs.
        seed: of all rollouts.
        seeds: replicates for what a batch is worth.
        told: progress.

    Raises:
        CreditEnvsError: if there is no such file or assignment, or code cannot be confined here.
    """
    tell = told or (lambda *_: None)
    if assignment is not None and assignment not in ASSIGNMENTS:
        raise unknown("assignment", assignment, ASSIGNMENTS)
    asked, steps = None, 2 + len(WORTH_PLACES)
    try:
        source = handed.read(name)
        wanted = assignment or source.assignment
        if wanted not in ASSIGNMENTS:
            said = f'it says ASSIGNMENT = "{wanted}"' if wanted else "it has no line ASSIGNMENT = ..."
            raise handed.Broken(f"Which assignment is this? {said}; known: {', '.join(ASSIGNMENTS)}.")
        asked = ASSIGNMENTS[wanted]
        tell(0, steps, name)
        work = handed.Submission(source, room, asked.needs)
        found, lines, feedback = _credit(asked, work, seed)
        tell(1, steps, name)
        bias = {place: _bias(asked, work, place, seed) for place in WORTH_PLACES} if asked.unbiased else {}
        worth = []
        for done, place in enumerate(WORTH_PLACES):
            tell(2 + done, steps, name)
            worth.append(_worth(asked, work, place, seed, seeds))
    except handed.Broken as broken:
        none = tuple(Line(key, 0, of, "not graded") for key, of in POINTS.items())
        return Grade(name, "" if asked is None else asked.name, none, "broken", (str(broken),))
    tell(steps, steps, name)
    lines += [_gradient(bias) if asked.unbiased else _direction(worth), _worthy(worth)]
    return Grade(name, asked.name, tuple(lines), _words(found), tuple(feedback), bias, tuple(worth))


# -- is it the credit that was asked for? ---------------------------------------------------------------------------


def _credit(asked: Assignment, work: handed.Submission, seed: int) -> tuple[Recognised, list[Line], list[str]]:
    tried = scenes(asked.gamma, seed)
    credit = [work.estimate(s.batch, {need: s.needs[need] for need in work.needs}) for s in tried]
    bought = sum(s.luck.count for s in tried) / sum(int(s.batch.mask.sum()) for s in tried)
    found = recognise(asked, tried, credit)
    share, feedback = _judged(found, tried)
    if found.padded:
        share *= 0.8
        feedback.append(
            "Steps that were never taken get credit. Here it is cut away; in your own loop it would train the "
            "policy on padding. Multiply by batch.mask at the end."
        )
    if asked.continuations and bought > 1.5 * asked.continuations and found.kind == "right":
        share *= 0.8
        feedback.append(
            f"You bought {bought:.0f} continuations per state; {asked.continuations} suffice: the state after step t "
            "is the state before step t + 1, so its value is already there."
        )
    of = POINTS["credit"]
    lines = [
        Line("runs", POINTS["runs"], POINTS["runs"], "finite numbers of the right shape on every batch"),
        Line("credit", round(of * share, 2), of, _words(found)),
    ]
    return found, lines, feedback


def _judged(found: Recognised, tried: Sequence[Scene]) -> tuple[float, list[str]]:
    """Returns the share of points for the credit, and what to say to it."""
    kept = math.prod(slip.keeps for slip in found.slips)
    said = [slip.feedback for slip in found.slips]
    if len(said) > 1:
        said = [f"{i}. {text}" for i, text in enumerate(said, 1)]
    right = [s for s in tried if s.place not in found.wrong_places]
    where = []
    if right and found.wrong_places:
        good, bad = (
            " and ".join(f"{_short(s.place)} ({s.particular})" for s in tried if (s in right) == ok)
            for ok in (True, False)
        )
        where = [f"It is right on {good}, wrong on {bad}."]
    if found.kind == "right":
        return 1.0, ["The credit is the one that was asked for, on every batch."]
    if found.kind == "constant":
        return 0.0, ["The credit is 0 everywhere: nothing would be learned from it."]
    if found.kind == "slips":
        return kept, [*said, *where]
    if found.kind == "scaled":
        what = "what these would give" if said else "the right one"
        return 0.6 * kept, [*said, f"Every credit is {found.factor:.4g} times {what}. Where does the factor come from?"]
    if found.kind == "like":
        return 0.5 * kept, [
            "Not exactly, but clearly more than like the right credit, it looks like this:",
            *said,
            *where,
        ]
    share = len(right) / len(tried)
    text = (
        f"The credit correlates with the right one at {found.correlation:.2f}, and with no known slip better. Work "
        "out a group of two rollouts with two steps each by hand, and compare."
    )
    return 0.6 * share, [text, *where]


def _words(found: Recognised) -> str:
    names = " and ".join(slip.name for slip in found.slips)
    factor = f"{found.factor:.3g} times "
    texts = {
        "right": "the credit that was asked for",
        "slips": names,
        "scaled": factor + (f"the right one with: {names}" if names else "the right one"),
        "like": f"most like: {names}",
        "constant": "0 everywhere",
        "unknown": f"unknown (correlation with the right one {found.correlation:.2f})",
    }
    return texts[found.kind]


# -- against the truth ---------------------------------------------------------------------------------------------


def _bias(asked: Assignment, work: handed.Submission, place: str, seed: int) -> Length:
    """Measures the mean gradient's length along the exact one.

    Two credits whose gradients have that mean are control variates: the exact one, and the one that was asked for.
    """
    made, sample, provided = many(place, asked.gamma, seed + 1, _GROUPS)
    batch, frame = sample.trajectories, GradientFrame(sample, made.gradient)
    target = made.gradient[frame.pair_row]

    def along(credit: Tensor) -> Tensor:
        return frame.dots(frame.gradient(credit), target) / float((made.gradient**2).sum()) - 1

    own = along(torch.where(batch.mask, work.estimate(batch, {need: provided[need] for need in work.needs}), 0.0))
    right = asked.credit(batch, **{need: provided[need] for need in asked.needs})
    controls = torch.stack([along(provided["advantage"]), along(right)], dim=1)
    beta = torch.linalg.lstsq(controls - controls.mean(0), (own - own.mean())[:, None], driver="gelsd").solution
    own = own - (controls @ beta)[:, 0]
    error = float(own.std()) / math.sqrt(len(own))
    return Length(1 + float(own.mean()), float(own.mean()) / max(error, _ROUNDING))


def _worth(asked: Assignment, work: handed.Submission, place: str, seed: int, seeds: int) -> Worth:
    made = subject(place, asked.gamma)
    scored = {
        "yours": around(Piece("yours", work.function, "step", "user", "user")),
        "right": around(Piece("right", asked.credit, "step", "assignment", "user")),
        "dr_grpo": recipe("dr_grpo"),
        "exact": recipe("exact"),
    }
    records: list[dict[str, Any]] = []
    for i in range(seeds):
        found = made.replicate(scored, seed + i, _PER_SEED, 8, 100 * _BUDGET)
        unit = next(record for record in found if record["estimator"] == "dr_grpo")
        records += [{**r, "environment": place, "policy": "half"} for r in [*found, {**unit, "estimator": "unit"}]]
    rows: dict[str, Row] = {row.estimator: row for row in summarise(records, _BUDGET)}
    yours, right = rows["yours"], rows["right"]

    def interval(row: Row) -> tuple[float, float, float]:
        x = row.equivalents["simulator"]
        return x.value, x.low, x.high

    return Worth(place, interval(yours), interval(right), yours.cosine.value, right.cosine.value)


def _gradient(bias: dict[str, Length]) -> Line:
    of = POINTS["gradient"]
    share = sum(abs(found.z) < _SURE for found in bias.values()) / len(bias)
    worst = max(bias, key=lambda place: abs(bias[place].z))
    length, z = bias[worst].length, abs(bias[worst].z)
    if share == 1:
        return Line("gradient", of, of, f"unbiased as far as {_GROUPS} groups can tell (|z| ≤ {z:.1f})")
    sure = f"|z| = {z:.1f}" if z < _ASTRONOMIC else f"|z| > {_ASTRONOMIC}"
    text = f"biased: on {_short(worst)} the mean gradient has length {length:.2f} along the exact one, not 1 ({sure})"
    return Line("gradient", round(of * share, 2), of, text)


def _direction(worth: Sequence[Worth]) -> Line:
    of = POINTS["gradient"]
    shares = [min(1.0, max(0.0, w.cosine / (_ENOUGH * w.right_cosine))) for w in worth]
    text = ", ".join(f"{w.cosine:.2f} on {_short(w.place)} (right: {w.right_cosine:.2f})" for w in worth)
    return Line("gradient", round(of * _mean(shares), 2), of, f"cosine of the mean gradient to the exact one: {text}")


def _worthy(worth: Sequence[Worth]) -> Line:
    of = POINTS["worth"]
    # Where luck is large (continuations), an interval that reaches the right one's value is as good.
    shares = [1.0 if w.equivalents[2] >= w.right[0] else max(0.0, w.equivalents[0] / w.right[0]) for w in worth]
    text = ", ".join(f"{_interval(w.equivalents)} on {_short(w.place)} (right: {_interval(w.right)})" for w in worth)
    return Line("worth", round(of * _mean(shares), 2), of, f"GRPO-equivalents per environment step: {text}")


def _interval(found: tuple[float, float, float]) -> str:
    value, low, high = found
    return (
        "nothing (points away from the exact gradient)" if math.isnan(value) else f"{value:.2f} [{low:.2f}, {high:.2f}]"
    )


def _mean(values: Sequence[float]) -> float:
    return sum(0.0 if math.isnan(v) else v for v in values) / len(values)


def _short(place: str) -> str:
    return place.removeprefix("credit/").partition("-v")[0]
