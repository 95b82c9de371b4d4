"""The host's side of a cell: draws rollouts, charges for them, and hands out observations only.

The desk keeps the sample with its truth behind a number; a method refers to rollouts by number and row. It also keeps each
rollout's lineage, from which a replay finds the same luck again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from credit_envs.arrays import AnyArray
from credit_envs.errors import CreditEnvsError, check_range
from credit_envs.evaluation.providers import METERED, Provided
from credit_envs.leaderboard.records import Episodes, held, ragged
from credit_envs.leaderboard.worker import CALLABLE, POLICY
from credit_envs.oracle.evaluation import Values
from credit_envs.piece import NEEDS, PRIVILEGED
from credit_envs.sampling.sampler import Sampler
from credit_envs.sampling.search import SearchResult
from credit_envs.sampling.trajectories import Sample, Trajectories, stack

Lineage = list[tuple[int, int]]

_MOST_BATCHES = 4096
_MOST_ENTRIES = 1 << 23
"""Rollouts times horizon of one batch, and numbers in one answer: what the host's memory is asked for."""

BLIND = "blind_log_prob"
_TRUTHS = frozenset({"visual", "blind"})
"""Labels that hand out what needs of those names are refused for."""


@dataclass(frozen=True, eq=False)
class Kept:
    """A sample behind a number.

    Attributes:
        sample: rollouts and the truth behind them.
        lineage: per rollout, (branch word, step from which on it holds).
        provided: what may be asked about them.
    """

    sample: Sample
    lineage: list[Lineage]
    provided: Provided


class Desk:
    """Answers what a method asks in one cell.

    Args:
        sampler: draws and meters.
        budget: environment steps; the move that uses them up is the last.
        values: exact values of the policy, for needs that the host makes from them (never handed out).
        policy: whether the policy's own probabilities are shown.
    """

    def __init__(self, sampler: Sampler, budget: int, values: Values, *, policy: bool = False) -> None:
        self.sampler, self.budget, self._values, self.policy = sampler, budget, values, policy
        self._kept: list[Kept] = []
        self._groups = self._trees = 0

    @property
    def left(self) -> int:
        """Environment steps that are left."""
        return max(0, self.budget - self.sampler.meter.env_steps)

    def answer(self, what: str, arguments: list[Any]) -> Any:
        """Answers a question; see :class:`~credit_envs.leaderboard.worker.Sampler` for what may be asked.

        Raises:
            CreditEnvsError: for anything else, and when the budget is spent.
        """
        moves = {name: getattr(self, f"_{name}") for name in ("draw", "branches", "rows", "join", "need")}
        what = "draw" if what == "groups" else what
        if what == "left":
            return self.left
        if what == POLICY and self.policy:
            return self.sampler.policy.policy.probability.copy()
        if what not in moves:
            raise CreditEnvsError(f"{what!r}: a sampler has groups, branches, rows, join, ask and left")
        return moves[what](*arguments)

    def deal(self, groups: int, group_size: int) -> dict[str, Any]:
        """Draws groups of rollouts, and numbers groups and trees on."""
        sample = self.sampler.groups(groups, group_size)
        batch = sample.trajectories
        numbered = batch.replace(group=batch.group + self._groups, tree=batch.tree + self._trees)
        self._groups += groups
        self._trees += batch.n_rollouts
        return self._keep(Sample(numbered, sample.truth), [[(0, 0)]] * batch.n_rollouts)

    def taken(self, pairs: Any) -> Episodes:
        """Reads what a method returned: pairs of (number of a batch, credit float32 ``[N, T]``).

        Raises:
            CreditEnvsError: if that is not what it is, or credit is not a number.
        """
        if not isinstance(pairs, list) or not 0 < len(pairs) <= _MOST_BATCHES:
            raise CreditEnvsError("method: returned no credit")
        parts, credits = [], []
        for pair in pairs:
            if not isinstance(pair, list) or len(pair) != 2:
                raise CreditEnvsError("method: expected pairs of batch and credit")
            kept = self._of(pair[0])
            mask = kept.sample.trajectories.mask.cpu().numpy()
            credit = pair[1]
            if not isinstance(credit, np.ndarray) or credit.shape != mask.shape:
                raise CreditEnvsError(f"method: credit has shape {np.shape(credit)}, expected {mask.shape}")
            flat = held(credit[mask])
            if not np.isfinite(flat).all():
                why = "" if self.policy else "; the policy's probabilities are NaN unless a method asks for `policy`"
                raise CreditEnvsError(f"method: a credit is not a number{why}")
            parts.append(kept)
            credits.append(flat)
        lineage = [line for kept in parts for line in kept.lineage]
        actions, lengths = [], []
        for kept in parts:
            batch = kept.sample.trajectories
            actions.append(batch.policy_action[batch.mask].cpu().numpy())
            lengths.append(batch.lengths.cpu().numpy())

        def column(read: Any) -> AnyArray:
            return np.concatenate([read(kept.sample).cpu().numpy() for kept in parts])

        forks, branch = ragged([np.array([b for b, _ in line]) for line in lineage], np.int64)
        _, start = ragged([np.array([s for _, s in line]) for line in lineage], np.int64)
        return Episodes(
            group=column(lambda s: s.trajectories.group),
            context=column(lambda s: s.trajectories.context),
            rollout=column(lambda s: s.truth.rollout),
            forks=forks,
            branch=branch,
            start=start,
            steps=np.concatenate([[0], np.cumsum(np.concatenate(lengths))]).astype(np.int64),
            action=np.concatenate(actions),
            credit=np.concatenate(credits),
        )

    # -- moves -----------------------------------------------------------------------------------------------------

    def _draw(self, n_groups: int, group_size: int) -> dict[str, Any]:
        check_range("n_groups", n_groups, 1, self.budget, integer=True)
        check_range("group_size", group_size, 1, self.budget, integer=True)
        self._afford(n_groups * group_size)
        self._small(n_groups * group_size)
        return self.deal(n_groups, group_size)

    def _afford(self, least: int) -> None:
        """Raises where a move would cost more than is left even if every rollout were one step long."""
        if self.left == 0 or least > self.left:
            raise CreditEnvsError(f"budget: {self.left} of {self.budget} environment steps are left")

    def _small(self, rollouts: int) -> None:
        """Raises where rollouts would not fit, whatever they cost: copies are free."""
        if rollouts * self.sampler.table.horizon > _MOST_ENTRIES:
            raise CreditEnvsError(f"rollouts: {rollouts} are too many at once")

    def _of(self, number: Any) -> Kept:
        if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number < len(self._kept):
            raise CreditEnvsError("batch: expected one that the sampler returned")
        return self._kept[number]

    def _keep(self, sample: Sample, lineage: Sequence[Lineage]) -> dict[str, Any]:
        if len(self._kept) >= _MOST_BATCHES:
            raise CreditEnvsError(f"batches: {_MOST_BATCHES} are enough")
        self._kept.append(Kept(sample, list(lineage), Provided(self.sampler, sample, self._values)))
        return {"batch": shown(sample.trajectories, policy=self.policy), "handle": len(self._kept) - 1}

    def _branches(self, number: Any, rollout: AnyArray, step: AnyArray) -> dict[str, Any]:
        kept, index = self._of(number), self._index(number, rollout)
        at = torch.from_numpy(np.asarray(step, dtype=np.int64))
        self._inside(kept, index, at)
        self._afford(len(index))
        first = self.sampler.branch_words
        sample = self.sampler.branches(kept.sample, index, at)
        lineage = [
            [*(part for part in kept.lineage[i] if part[1] < t), (first + k, t)]
            for k, (i, t) in enumerate(zip(index.tolist(), at.tolist(), strict=True))
        ]
        return self._keep(sample, lineage)

    def _rows(self, number: Any, index: AnyArray) -> dict[str, Any]:
        kept, rows = self._of(number), self._index(number, index)
        self._small(len(rows))
        return self._keep(kept.sample.rows(rows), [kept.lineage[i] for i in rows.tolist()])

    def _join(self, numbers: Any) -> dict[str, Any]:
        parts = [self._of(number) for number in numbers]
        if not parts:
            raise CreditEnvsError("join: expected at least one batch")
        self._small(sum(part.sample.trajectories.n_rollouts for part in parts))
        return self._keep(stack([p.sample for p in parts]), [line for p in parts for line in p.lineage])

    def _index(self, number: Any, index: AnyArray) -> Tensor:
        rows, n = np.asarray(index), self._of(number).sample.trajectories.n_rollouts
        if rows.ndim != 1 or rows.dtype.kind not in "iu" or rows.size == 0 or rows.min() < 0 or rows.max() >= n:
            raise CreditEnvsError(f"rollout: expected a vector of whole numbers in [0, {n - 1}]")
        return torch.from_numpy(rows.astype(np.int64))

    def _inside(self, kept: Kept, rollout: Tensor, step: Tensor) -> None:
        if step.shape != rollout.shape or bool((step < 0).any()):
            raise CreditEnvsError("step: expected one per rollout, from 0")
        if bool((step >= kept.sample.trajectories.mask.shape[1]).any()) or not bool(
            kept.sample.trajectories.mask[rollout, step].all()
        ):
            raise CreditEnvsError("step: a rollout has ended by then")

    def _need(self, number: Any, name: Any, *arguments: Any) -> Any:
        kept = self._of(number)
        check_need(name)
        if name == BLIND and not self.policy:
            raise CreditEnvsError(
                f"need {name!r}: says what the policy's probabilities are; ask for {POLICY!r} as well"
            )
        if name not in CALLABLE:
            return out(kept.provided[name])
        inside = [torch.from_numpy(a) if isinstance(a, np.ndarray) else a for a in arguments]
        if name in METERED:
            self._check_metered(kept, name, inside)
        else:
            _check_free(name, inside)
        found = kept.provided[name](*inside)
        if isinstance(found, Trajectories):
            return {"batch": shown(found, policy=self.policy), "handle": None}
        return out(found)

    def _check_metered(self, kept: Kept, name: str, arguments: list[Any]) -> None:
        if name in ("continuations", "search"):
            rollout, step, times = arguments[0], arguments[1], arguments[2]
            self._inside(kept, self._index(self._kept.index(kept), np.asarray(rollout)), step)
            check_range("k", times, 1, 1 << 20, integer=True)
            self._afford(len(rollout) * int(times))
            return
        size = max(2, kept.sample.trajectories.n_rollouts // kept.sample.trajectories.n_groups)
        check_range("groups", arguments[0], 1, self.budget, integer=True)
        rollouts = int(arguments[0]) * (size if name == "fresh" else 1)
        self._afford(rollouts)
        self._small(rollouts)


def _check_free(name: str, arguments: list[Any]) -> None:
    """Checks questions that cost no steps: they may not ask for truth, nor for more than fits."""
    if name == "labels" and (arguments[0] in _TRUTHS or str(arguments[0]).endswith("_action")):
        raise CreditEnvsError(
            f"label {arguments[0]!r}: names the right action, which is truth; entries may not ask for it"
        )
    size = arguments[0].numel() if name == "text" else prod(arguments[1:]) if name == "noise" else 0
    if size > _MOST_ENTRIES:
        raise CreditEnvsError(f"{name}: {size} are too many at once")


def check_need(name: Any) -> None:
    """Raises for a need that does not exist or hands out truth.

    Raises:
        CreditEnvsError: naming it.
    """
    if name not in NEEDS or name == "parameters":
        known = ", ".join(need for need in NEEDS if need not in PRIVILEGED and need != "parameters")
        raise CreditEnvsError(f"need {name!r}: there is none; methods may ask for {known}")
    if name in PRIVILEGED:
        raise CreditEnvsError(f"need {name!r}: hands out truth, which no real system has; entries may not ask for it")


def shown(batch: Trajectories, *, policy: bool) -> dict[str, Any]:
    """Returns what a method sees of rollouts: observations, actions, rewards; with ``policy``, how likely actions were."""
    fields = {k: None if v is None else v.cpu().numpy() for k, v in vars(batch).items() if k[0] != "_"}
    if not policy:
        fields |= {name: np.full_like(fields[name], np.nan) for name in ("policy_table", "log_prob")}
    return fields


def out(value: Any) -> Any:
    """Turns an answer into something that a message can hold."""
    if isinstance(value, Tensor):
        return value.cpu().numpy()
    if isinstance(value, SearchResult):
        nodes = None if value.nodes is None else {name: out(one) for name, one in vars(value.nodes).items()}
        return {**{name: out(getattr(value, name)) for name in ("q", "visits", "value")}, "nodes": nodes}
    return value
