"""A recipe: one way through the five slots, put together from pieces in any order.

``tree_grpo+vppo`` names two recipes; each brings its pieces, and the slots that none fills have their defaults. Pieces in
different slots combine freely. Rewards and weights may stand in one slot together where section 29 of the specification
says how (:mod:`credit_envs.recipes.rules`); everything else twice in a slot is refused with the reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from credit_envs.errors import CreditEnvsError
from credit_envs.piece import PRIVILEGED, SLOTS, Piece
from credit_envs.recipes.rules import merged
from credit_envs.sampling.sampler import Sampler
from credit_envs.sampling.trajectories import Sample, Trajectories

if TYPE_CHECKING:
    from credit_envs.table.mdp import TabularMDP

FORKS = frozenset({"continuations", "search"})
"""Needs that enter stored states."""


@dataclass(frozen=True)
class Recipe:
    """One way from rollouts to an update.

    Attributes:
        name: as it stands in tables.
        pieces: one per slot, rewards and weights possibly none or several, in the order of slots and then of names; so
            the order in which a recipe was written down makes no difference.
    """

    name: str
    pieces: tuple[Piece, ...]

    def slot(self, slot: str) -> tuple[Piece, ...]:
        """Returns the pieces of a slot."""
        return tuple(piece for piece in self.pieces if piece.slot == slot)

    @property
    def plan(self) -> Piece:
        """The rollout plan."""
        return self.slot("plan")[0]

    @property
    def advantage(self) -> Piece:
        """The advantage estimator."""
        return self.slot("advantage")[0]

    @property
    def loss(self) -> Piece:
        """The policy loss."""
        return self.slot("loss")[0]

    @property
    def needs(self) -> tuple[str, ...]:
        """What its pieces ask for, each once."""
        return tuple(dict.fromkeys(need for piece in self.pieces for need in piece.needs))

    @property
    def privileged(self) -> bool:
        """Whether it is told truth that no real system has."""
        return bool(PRIVILEGED & set(self.needs))

    @property
    def gamma(self) -> float | None:
        """The discount of its advantage estimator, None if that takes none."""
        return self.advantage.gamma

    @property
    def policy_calls(self) -> float:
        """Policy evaluations per step beyond the rollouts."""
        return float("blind_log_prob" in self.needs)

    @property
    def model_calls(self) -> float:
        """Evaluations of critics, reward models and judges per step."""
        return sum(piece.model_calls for piece in self.pieces)

    @property
    def forks(self) -> bool:
        """Whether it enters stored states."""
        return bool(FORKS & set(self.needs)) or "forks" in self.plan.note

    def with_gamma(self, gamma: float) -> Recipe:
        """Returns the recipe with its advantage estimator at another discount (itself if that takes none)."""
        changed = tuple(p.with_gamma(gamma) if p.slot == "advantage" else p for p in self.pieces)
        return self if changed == self.pieces else replace(self, pieces=changed)

    def missing(self, table: TabularMDP) -> str | None:
        """Returns what a table lacks for it, None if nothing."""
        for piece in self.pieces:
            for wanted in piece.requires:
                if not any(_offers(table, name) for name in wanted.split("|")):
                    return f"{piece.name} needs {wanted.replace('|', ' or ')}, which {table.name} does not offer"
        return None

    def sample(self, sampler: Sampler, groups: int, group_size: int) -> Sample:
        """Draws rollouts by its plan."""
        drawn: Sample = self.plan(sampler, groups, group_size, provided={})
        return drawn

    def credit(self, batch: Trajectories, provided: Mapping[str, Any]) -> tuple[Trajectories, Tensor]:
        """Returns the batch as its reward models pay it, and the weighted credit float64 ``[N, T]``.

        Raises:
            CreditEnvsError: if a piece raises, or returns something of the wrong form.
        """
        rewards = self.slot("reward")
        for piece in rewards:
            batch = piece(batch, provided=provided)
            if not isinstance(batch, Trajectories):
                raise CreditEnvsError(f"{piece.name}: a reward model returns Trajectories, got {type(batch).__name__}")
        if rewards and "fresh" in self.advantage.needs and hasattr(provided, "paying"):
            provided = provided.paying(rewards)
        credit = self.advantage.steps(batch, provided)
        for piece in self.slot("weight"):
            credit = credit * piece.steps(batch, provided)
        return batch, credit

    def pull(self, batch: Trajectories, credit: Tensor, table: Tensor, provided: Mapping[str, Any]) -> Tensor:
        """Returns how hard the loss pulls at each step's log-probability: −N ∂loss/∂log π(a_t|o_t), float64 ``[N, T]``.

        For REINFORCE that is the credit itself; importance ratios, clipping, aggregation and pairs change it.

        Args:
            batch: as :meth:`credit` returns it.
            credit: likewise.
            table: float64 ``[rows, A]``, the policy to be updated (its rows are the batch's ``policy_row``).
            provided: what the loss needs.

        Raises:
            CreditEnvsError: if the loss raises, or its gradient is not a number.
        """
        logits = table.clamp(min=1e-300).log().requires_grad_()
        with torch.enable_grad():
            log_prob = torch.log_softmax(logits, dim=1)[batch.policy_row, batch.policy_action]
            loss = self.loss(log_prob, batch, credit, provided={**provided, "parameters": (logits,)})
            if not loss.requires_grad:
                return torch.zeros_like(credit)
            (slope,) = torch.autograd.grad(loss, log_prob)
        pull = torch.where(batch.mask, -batch.n_rollouts * slope, 0.0)
        if not bool(torch.isfinite(pull).all()):
            raise CreditEnvsError(f"{self.loss.name}: its gradient is not a number at some step")
        return pull


def compose(name: str, parts: Iterable[Piece], defaults: Mapping[str, Piece]) -> Recipe:
    """Puts pieces together.

    Args:
        name: name of the recipe.
        parts: pieces, in any order; the same piece twice counts once.
        defaults: slot → the piece that stands where none is given.

    Raises:
        CreditEnvsError: for two pieces in one slot without a rule for that pair.
    """
    chosen: list[Piece] = []
    for slot in SLOTS:
        own = {part.name: part for part in parts if part.slot == slot}
        found = merged(slot, tuple(own[key] for key in sorted(own)))
        chosen += found or ([defaults[slot]] if slot in defaults else [])
    return Recipe(name, tuple(chosen))


def _offers(table: TabularMDP, name: str) -> bool:
    """Whether a table has a label, or (for ``blind`` and ``visual``) an image that says more than the text."""
    if name in table.labels:
        return True
    layers = table.emission.layers
    return name in ("blind", "visual") and any(np.any(layer.blind != np.arange(layer.size)) for layer in layers)
