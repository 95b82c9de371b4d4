"""What every learner of a run has spent of its budget, and the curve of returns that it had on the way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from credit_envs.sampling.trajectories import Trajectories
from credit_envs.training.learners import Learners


class Account:
    """Charges learners for environment steps, and says whose return is to be measured.

    Args:
        sampler: what they sample with; its meter and the steps of its policies are what is charged.
        budget: environment steps per learner.
        points: measurements along the way, evenly spaced.
        uniform: return of uniform play, which is 0 on the curve.
        optimal: return of optimal play, which is 1.

    Attributes:
        spent: float64 ``[learners]``, environment steps.
        latest: float64 ``[learners]``, normalised returns when last measured, NaN before.
        curve: its points; ``steps``, ``J`` and ``normalised`` are lists with one number per learner.
    """

    def __init__(self, sampler: Learners, budget: int, points: int, uniform: float, optimal: float) -> None:
        self._sampler, self._budget, self._points = sampler, budget, points
        self._uniform, self._gap = uniform, optimal - uniform
        self.spent = torch.zeros(sampler.learners, dtype=torch.float64)
        self.latest, self.curve = np.full(sampler.learners, np.nan), list[dict[str, Any]]()
        self._passed = torch.full((sampler.learners,), -1)
        self._begin()

    @property
    def share(self) -> float:
        """Share of the budget that every learner has spent; above 1 where the last rollouts went beyond it."""
        return float(self.spent.min()) / self._budget

    def charge(self, batch: Trajectories) -> None:
        """Charges every learner for the steps that its policy took, and shares the rest by their steps in the batch."""
        sampler = self._sampler
        spent = sampler.meter.env_steps - self._before.env_steps
        own = (sampler.taken - self._taken).cpu()
        self._begin()
        self.spent += own
        rest = spent - float(own.sum())
        if rest > 0:
            owner = sampler.owner(batch.context).cpu()
            steps = torch.zeros(sampler.learners, dtype=torch.float64)
            steps.index_add_(0, owner, batch.lengths.to(torch.float64).cpu())
            self.spent += rest * (steps / steps.sum() if float(steps.sum()) else own / own.sum())

    def retire(self) -> Tensor:
        """Lets learners that have spent their budget draw no more; returns who left, int64."""
        return self._sampler.retire(self.spent, self._budget)

    def due(self) -> list[int]:
        """Returns the learners that have passed the next point of their curve."""
        return torch.nonzero(self._marks() > self._passed).squeeze(1).tolist()

    def add(self, due: Sequence[int], returns: Any, about: Mapping[str, Any], error: Any = None) -> None:
        """Adds points to the curve.

        Args:
            due: learners, as :meth:`due` returned them.
            returns: of each, float64 ``[due]``.
            about: further entries of these points.
            error: half a 95 % interval of each return, float64 ``[due]``, where they are no exact ones.
        """
        marks, learners = self._marks(), self._sampler.learners
        self.latest[due] = (returns - self._uniform) / self._gap if self._gap > 0 else np.nan
        for at, learner in enumerate(due):
            for number in range(int(self._passed[learner]) + 1, int(marks[learner]) + 1):
                if number == len(self.curve):
                    self.curve.append({name: [float("nan")] * learners for name in ("steps", "J", "normalised")})
                point = self.curve[number]
                point["steps"][learner], point["J"][learner] = float(self.spent[learner]), float(returns[at])
                point["normalised"][learner] = float(self.latest[learner])
                if error is not None:
                    point.setdefault("error", [float("nan")] * learners)[learner] = float(error[at])
                point |= about
        self._passed = torch.maximum(self._passed, marks)

    def state(self) -> dict[str, Any]:
        """Returns all that it holds, as JSON takes it."""
        return {
            "curve": self.curve,
            "spent": self.spent.tolist(),
            "taken": self._sampler.taken.tolist(),
            "passed": self._passed.tolist(),
            "latest": self.latest.tolist(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Sets what :meth:`state` returned; the sampler's own reading is to be there already."""
        self.curve, self.latest = state["curve"], np.array(state["latest"])
        self.spent, self._passed = torch.tensor(state["spent"], dtype=torch.float64), torch.tensor(state["passed"])
        self._sampler.taken = torch.tensor(state["taken"], dtype=torch.float64, device=self._sampler.going.device)
        self.retire()
        self._begin()

    def _begin(self) -> None:
        self._before, self._taken = self._sampler.meter.copy(), self._sampler.taken.clone()

    def _marks(self) -> Tensor:
        """Points of the curve that learners have passed, int64 ``[learners]``."""
        share = self.spent / self._budget
        return (share * self._points + 1e-9).to(torch.int64).clamp(max=self._points)
