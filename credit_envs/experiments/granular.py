"""One signal at any granularity: estimators whose credit is decided at boundaries only and shared by the steps in between.

A grain g cuts a rollout into parts: every g steps, or where a turn or a segment begins (at token level a step is a token), or
not at all (``trajectory``). Then, at γ = 1,

    mc        Σ_{t ∈ part} r_t + V̂(next boundary) − V̂(this one),    V̂ = mean of K fresh continuations
    learned   the same with V̂ fitted on the boundaries of fresh groups: a process reward model or critic per boundary
    value     the same with V^π (privileged): what is left of mc's noise at K = ∞
    anchor    GiGPO with anchors at boundaries only: A^E + the part's start's return against its anchor group
    tree      forks at boundaries only; a stretch between two branchings shares V̂(child) − V̂(parent), leave-one-out

Grain 1 of ``mc`` is VinePPO; grain ``trajectory`` of ``anchor`` and ``tree`` is GRPO without deviation (twice, and with a
leave-one-out mean). A baseline at a part's start does not depend on the actions inside, so ``mc``, ``value`` and (but for
n − 1 of n) ``anchor`` where anchors are shared have mean A^π for every grain: the grain only moves variance and cost.
``learned`` and ``tree`` are biased, by what the model gets wrong and by weighing branchings unevenly.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
from torch import Tensor

from credit_envs.credit.critics import predicted
from credit_envs.credit.gigpo import gigpo_on
from credit_envs.credit.tree import tree_value
from credit_envs.errors import CreditEnvsError, check_range, unknown
from credit_envs.piece import Continuations, Fresh, Piece
from credit_envs.plans.tree import fork_points, paper_budget
from credit_envs.sampling.anchors import scoped
from credit_envs.sampling.draws import draws, mix_words, streams
from credit_envs.sampling.sampler import Sampler
from credit_envs.sampling.spans import Spans, spans
from credit_envs.sampling.statistics import centred, returns_to_go
from credit_envs.sampling.tabular import fit_means
from credit_envs.sampling.trajectories import Sample, Trajectories, stack
from credit_envs.table.draws import Purpose

Grain = int | str
LEVELS = ("step", "turn", "segment", "trajectory")
"""Grains that have names."""

_FORK = 0x677261696E


def parts(batch: Trajectories, grain: Grain) -> Tensor:
    """Returns the number of the part that each step belongs to, int64 ``[N, T]``.

    Raises:
        CreditEnvsError: for a grain that is neither a number of steps nor one of :data:`LEVELS`.
    """
    column = torch.arange(batch.mask.shape[1], device=batch.mask.device)
    if isinstance(grain, int):
        check_range("grain", grain, 1, 1 << 30, integer=True)
        number = (column // grain).expand_as(batch.turn)
    elif grain not in LEVELS:
        raise unknown("grain", grain, LEVELS)
    else:
        named = {"step": column.expand_as(batch.turn), "turn": batch.turn, "segment": batch.segment}
        number = named.get(grain, torch.zeros_like(batch.turn))
    return torch.where(batch.mask, number, 0)


def cut(batch: Trajectories, grain: Grain) -> Spans:
    """Returns the parts of a batch as spans."""
    return spans(batch.replace(turn=parts(batch, grain)), "turn")


def shared(batch: Trajectories, found: Spans, value: Tensor) -> Tensor:
    """Returns Σ r + V(next boundary) − V(this one), shared by the steps of a part, float64 ``[N, T]``.

    Args:
        batch: rollouts.
        found: their parts.
        value: float64 ``[N, K]``, values at the parts' starts.
    """
    value = torch.where(found.present, value, 0.0)
    following = torch.zeros_like(value)
    following[:, :-1] = value[:, 1:]
    return found.spread(found.total(batch.reward) + following - value)


def mc(batch: Trajectories, grain: Grain, k: int = 1, *, continuations: Continuations) -> Tensor:
    """Returns the credit of Monte-Carlo values at boundaries, float64 ``[N, T]``.

    Args:
        batch: rollouts.
        grain: see :func:`parts`.
        k: continuations per boundary.
        continuations: see :class:`~credit_envs.piece.Continuations`.
    """
    found = cut(batch, grain)
    rollout, number = torch.nonzero(found.present, as_tuple=True)
    value = torch.zeros(found.present.shape, dtype=torch.float64, device=batch.mask.device)
    value[rollout, number] = continuations(rollout, found.start[rollout, number], k, 1.0).mean(dim=1)
    return shared(batch, found, value)


def value(batch: Trajectories, grain: Grain, *, value: Tensor) -> Tensor:
    """Returns the credit of exact values at boundaries, float64 ``[N, T]``."""
    found = cut(batch, grain)
    return shared(batch, found, value.gather(1, found.start))


def learned(batch: Trajectories, grain: Grain, data: int = 0, *, fresh: Fresh) -> Tensor:
    """Returns the credit of values learned at boundaries, float64 ``[N, T]``.

    Args:
        batch: rollouts.
        grain: see :func:`parts`.
        data: groups of training data (0: as many as the batch has).
        fresh: see :class:`~credit_envs.piece.Fresh`.
    """
    shown = fresh(data or batch.n_groups)
    there = cut(shown, grain)
    rollout, number = torch.nonzero(there.present, as_tuple=True)
    step = there.start[rollout, number]
    key, to_go = shown.anchor[rollout, step], returns_to_go(shown.reward, shown.mask, 1.0)[rollout, step]
    model = fit_means(key, torch.zeros_like(key), to_go, 1)
    here = cut(batch, grain)
    return shared(batch, here, predicted(model, batch.anchor.gather(1, here.start)))


def anchor(batch: Trajectories, grain: Grain, omega: float = 1.0, episode: float = 1.0) -> Tensor:
    """Returns GiGPO's credit with anchors at boundaries only, float64 ``[N, T]``.

    Args:
        batch: rollouts.
        grain: see :func:`parts`.
        omega: weight of the step term.
        episode: weight of the episode term.
    """
    found = cut(batch, grain)
    rollout, number = torch.nonzero(found.present, as_tuple=True)
    step = found.start[rollout, number]
    begins = torch.zeros_like(batch.mask)
    begins[rollout, step] = True
    to_go = returns_to_go(batch.reward, batch.mask, 1.0)
    ids, n = scoped(batch.replace(mask=begins), batch.anchor)
    against = torch.zeros(found.present.shape, dtype=torch.float64, device=batch.mask.device)
    against[rollout, number] = centred(to_go[begins], ids, n)
    return episode * gigpo_on(batch, batch.anchor, omega=0.0) + omega * found.spread(against)


def grain_trees(sampler: Sampler, groups: int, group_size: int, grain: Grain, forks: int = 2) -> Sample:
    """Grows trees that fork at boundaries only; as :func:`credit_envs.plans.tree.trees` with one round.

    Args:
        sampler: metered.
        groups: number of prompts.
        group_size: chains that a prompt's budget is worth.
        grain: see :func:`parts`.
        forks: per tree.
    """
    sample = sampler.groups(groups, max(1, round(group_size / paper_budget(1, forks, 1))))
    batch = sample.trajectories
    rollout, step, start, count = fork_points(batch.replace(turn=parts(batch, grain)))
    key = mix_words(streams(sampler.seed, Purpose.SEARCH, batch.context, sample.truth.rollout), _FORK)
    luck = draws(key[:, None], torch.arange(forks, device=key.device)).to(torch.float64) / 2.0**53
    chosen = (start[:, None] + torch.minimum((luck * count[:, None]).long(), count[:, None] - 1)).flatten()
    sample = stack([sample, sampler.branches(sample, rollout[chosen], step[chosen])])
    return sample.rows(torch.argsort(sample.trajectories.tree, stable=True))


FAMILIES = ("mc", "learned", "value", "anchor", "tree")
"""Estimator families that take a grain."""

_FUNCTIONS: dict[str, Callable[..., Tensor]] = {"mc": mc, "learned": learned, "value": value, "anchor": anchor}


def pieces(family: str, grain: Grain) -> list[Piece]:
    """Returns the pieces of a family at a grain: an estimator, and for ``tree`` the plan that goes with it.

    Raises:
        CreditEnvsError: for an unknown family or grain.
    """
    if family not in FAMILIES:
        raise unknown("estimator family", family, FAMILIES)
    if not isinstance(grain, int) and grain not in LEVELS:
        raise unknown("grain", str(grain), LEVELS)
    name = f"{family}@{grain}"
    if family == "tree":
        credit = functools.partial(tree_value, leave_one_out=True, along=True)
        plan = functools.partial(grain_trees, grain=grain)
        return [
            Piece(f"{name} plan", plan, "segment", "ours", "ours", slot="plan", note="forks at boundaries"),
            Piece(name, credit, "segment", "ours", "ours"),
        ]
    calls = {"learned": 1.0}.get(family, 0.0)
    function = functools.partial(_FUNCTIONS[family], grain=grain)
    return [Piece(name, function, "segment", "ours", "ours", model_calls=calls)]


def grain_of(text: str) -> Grain:
    """Reads a grain: a whole number, or the name of a level.

    Raises:
        CreditEnvsError: for anything else.
    """
    if text.isdecimal() and int(text):
        return int(text)
    if text in LEVELS:
        return text
    raise CreditEnvsError(f"grain {text!r}: expected a number of steps above 0, or one of {', '.join(LEVELS)}")
