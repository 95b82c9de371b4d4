"""What the credit viewer shows: one group of rollouts with the truth of every step and what estimators say.

The return of each rollout splits exactly (design of credit_envs, §5):

    Σ γ^t r_t − V_0(s_0) = Σ γ^t A_t + Σ γ^t L_t          L_t = r_t + γ V_{t+1}(s_{t+1}) − Q_t(s_t, a_t)

skill and luck, here step by step. Recipes that share a rollout plan share the group; :func:`groups` makes one for each plan.
What a recipe searched is kept with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from credit_envs.arrays import AnyArray, Floats, Ints
from credit_envs.errors import CreditEnvsError, check_range
from credit_envs.evaluation.config import load_recipe
from credit_envs.evaluation.providers import Provided
from credit_envs.oracle import Values, evaluate, optimal, uniform
from credit_envs.oracle.skill import skilled_policy
from credit_envs.recipes import Recipe
from credit_envs.sampling.sampler import Sampler
from credit_envs.sampling.trajectories import Sample
from credit_envs.table.mdp import TabularMDP

USUAL = ("grpo", "gigpo", "anchor_graph", "tree_grpo")
"""What is shown when nothing is named."""

_MOST_VALUES = 50_000_000
_MOST_STEPS = 20_000


@dataclass(frozen=True)
class Searched:
    """One tree search from a step of a rollout.

    Attributes:
        rollout, step: where it started.
        parent: int64 ``[n]``, the branch that leads to each node, −1 at the root, which is the first.
        visits: int64 ``[n]``, simulations that went on from each node.
        node: int64 ``[m]``, the node that each branch leaves.
        action: int64 ``[m]``, its action as named, −1 for the inadmissible move.
        count: int64 ``[m]``, simulations through it.
        q: float64 ``[m]``, mean of their returns from there on, NaN without any.
    """

    rollout: int
    step: int
    parent: Ints
    visits: Ints
    node: Ints
    action: Ints
    count: Ints
    q: Floats


@dataclass(frozen=True)
class Method:
    """One recipe's credit on the group.

    Attributes:
        name: of the recipe.
        granularity: what shares one number.
        source: where it comes from.
        privileged: whether it was told truth.
        credit: float64 ``[N, T]``.
        scale: root mean square of the credit over the steps taken, 1 where it is all zero.
        correlation: with the exact advantage over the steps taken, NaN where one of them never varies.
        searches: the trees that it grew from steps of the group.
    """

    name: str
    granularity: str
    source: str
    privileged: bool
    credit: Floats
    scale: float
    correlation: float
    searches: tuple[Searched, ...] = ()


@dataclass(frozen=True, eq=False)
class Viewed:
    """A group of rollouts with its truth.

    Attributes:
        table: the table.
        sample: the rollouts, N of at most T steps.
        plan: the rollout plan that drew them.
        level: share of the way from uniform to optimal play that was asked for.
        seed: seed of the sample.
        policy_return: exact expected return of the policy.
        uniform_return: that of uniform play.
        optimal_return: that of optimal play.
        value: V_t(s_t), float64 ``[N, T]``.
        advantage: exact advantage, float64 ``[N, T]``.
        luck: L_t, float64 ``[N, T]``.
        methods: what recipes say.
        texts: what was seen in words at each step, by rollout.
        alternatives: by rollout and step, the named admissible actions int64 ``[n]`` and their advantages float64 ``[n]``.
    """

    table: TabularMDP
    sample: Sample
    plan: str
    level: float
    seed: int
    policy_return: float
    uniform_return: float
    optimal_return: float
    value: Floats
    advantage: Floats
    luck: Floats
    methods: tuple[Method, ...]
    texts: tuple[tuple[str, ...], ...]
    alternatives: tuple[tuple[tuple[AnyArray, Floats], ...], ...]

    @property
    def mask(self) -> AnyArray:
        """Steps that were taken, bool ``[N, T]``."""
        return self.sample.trajectories.mask.cpu().numpy()

    @property
    def discounts(self) -> Floats:
        """γ^t, float64 ``[T]``."""
        return np.asarray(self.table.discount ** np.arange(self.mask.shape[1]), dtype=np.float64)

    def ledger(self) -> Floats:
        """Returns V_0, skill Σ γ^t A_t, luck Σ γ^t L_t and the discounted return of each rollout, float64 ``[N, 4]``."""
        reward = self.sample.trajectories.reward.cpu().numpy()
        sums = [(part * self.discounts).sum(axis=1) for part in (self.advantage, self.luck, reward)]
        return np.stack([self.value[:, 0], *sums], axis=1)


def groups(
    table: TabularMDP,
    algorithms: Sequence[str] = (),
    levels: Sequence[float] = (0.5,),
    group_size: int = 8,
    seed: int = 0,
) -> list[Viewed]:
    """Draws a group for every policy and every rollout plan among the recipes.

    Args:
        table: the table.
        algorithms: names of recipes, or ``FILE.py:FUNCTION`` (default: :data:`USUAL`).
        levels: the policies, each as share of the way from uniform (0) to optimal play (1).
        group_size: rollouts, at least 2.
        seed: seed of the samples.

    Raises:
        CreditEnvsError: as :func:`viewed`, recipes of different plans excepted.
    """
    plans: dict[str, list[str]] = {}
    for name in dict.fromkeys(algorithms or USUAL):
        plans.setdefault(load_recipe(name).plan.name, []).append(name)
    for level in levels:
        check_range("policy", level, 0, 1)
    return [
        viewed(table, names, level, group_size, seed) for level in dict.fromkeys(levels) for names in plans.values()
    ]


def viewed(
    table: TabularMDP,
    algorithms: Sequence[str] = (),
    level: float = 0.5,
    group_size: int = 8,
    seed: int = 0,
) -> Viewed:
    """Draws one group of rollouts and computes the truth and the credit of every step.

    Args:
        table: the table.
        algorithms: names of recipes, or ``FILE.py:FUNCTION``, all of one rollout plan (default: what of :data:`USUAL` shares
            its first one's).
        level: the policy, as share of the way from uniform (0) to optimal play (1).
        group_size: rollouts, at least 2.
        seed: seed of the sample.

    Raises:
        CreditEnvsError: for an unknown recipe, one that the table lacks something for, recipes of different plans, or a
            table too large to solve in passing.
    """
    check_range("policy", level, 0, 1)
    check_range("group_size", group_size, 2, 64, integer=True)
    check_range("seed", seed, 0, (1 << 50) - 1, integer=True)
    recipes = _recipes(table, tuple(dict.fromkeys(algorithms)) or USUAL[:-1])
    if table.n_states * (table.horizon + 1) > _MOST_VALUES:
        raise CreditEnvsError(
            f"{table.name}: too large to solve in passing ({table.n_states:,} states × {table.horizon:,})"
        )
    policy = skilled_policy(table, level)
    sampler, values = Sampler(table, policy, seed), evaluate(table, policy)
    sample = recipes[0].sample(sampler, 1, group_size)
    batch, truth = sample.trajectories, sample.truth
    if batch.n_rollouts == 0:
        raise CreditEnvsError(
            f"seed={seed}: the plan {recipes[0].plan.name} kept no rollout of this group, try another"
        )
    steps = int(batch.mask.sum())
    if steps > _MOST_STEPS:
        raise CreditEnvsError(f"{table.name}: {steps:,} steps in one group, a page shows {_MOST_STEPS:,} at most")
    provided = _Watched(sampler, sample, values)
    mask = batch.mask.cpu().numpy()
    value, advantage = (provided[name].cpu().numpy() for name in ("value", "advantage"))
    after = np.concatenate([value[:, 1:], np.zeros((len(value), 1))], axis=1)
    luck = np.where(mask, batch.reward.cpu().numpy() + table.discount * after - value - advantage, 0.0)
    methods = tuple(_method(recipe, sample, provided, advantage) for recipe in recipes)
    words = iter(provided["text"](batch.obs[batch.mask]))
    texts = tuple(tuple(next(words) for _ in range(int(n))) for n in batch.lengths)
    states, codes = truth.state.cpu().numpy(), truth.code.cpu().numpy()
    alternatives = []
    for i, n in enumerate(batch.lengths.tolist()):
        worth = []
        for t, state, code in zip(range(n), states[i].tolist(), codes[i].tolist(), strict=False):
            actions = table.edge_action[table.edge_start[state] : table.edge_start[state + 1]].astype(np.int64)
            edges = table.executed_edges(np.full(actions.size, state), actions, np.full(actions.size, code))
            worth.append((actions, values.advantage_at(np.full(actions.size, t), np.full(actions.size, state), edges)))
        alternatives.append(tuple(worth))
    return Viewed(
        table,
        sample,
        recipes[0].plan.name,
        float(level),
        seed,
        values.J,
        evaluate(table, uniform(table)).J,
        optimal(table).J,
        value,
        advantage,
        luck,
        methods,
        texts,
        tuple(alternatives),
    )


def _recipes(table: TabularMDP, names: Sequence[str]) -> list[Recipe]:
    """Reads the names and checks that the table offers what they need and that they share a plan."""
    found = [load_recipe(name) for name in names]
    for recipe in found:
        missing = recipe.missing(table)
        if missing is not None:
            raise CreditEnvsError(missing)
        if recipe.plan.name != found[0].plan.name:
            raise CreditEnvsError(
                f"algorithms={recipe.name!r}: draws its rollouts by {recipe.plan.name}, {found[0].name} by "
                f"{found[0].plan.name}; expected recipes of one plan, so that all are seen on one group"
            )
    return found


class _Watched(Provided):
    """Keeps the searches that estimators ask for."""

    def __init__(self, sampler: Sampler, sample: Sample, values: Values) -> None:
        super().__init__(sampler, sample, values)
        self.found: list[Searched] = []

    def _search(self, rollout: Tensor, step: Tensor, *arguments: Any, **options: Any) -> Any:
        result = super()._search(rollout, step, *arguments, **{**options, "nodes": True})
        parts = {name: part.cpu().numpy() for name, part in vars(result.nodes).items()}
        tree = parts["root"][parts["node"]]
        for i, (where, when) in enumerate(zip(rollout.tolist(), step.tolist(), strict=True)):
            nodes, branches = np.flatnonzero(parts["root"] == i), np.flatnonzero(tree == i)
            parent = parts["parent"][nodes]
            self.found.append(
                Searched(
                    where,
                    when,
                    np.where(parent < 0, -1, np.searchsorted(branches, parent)),
                    parts["visits"][nodes],
                    np.searchsorted(nodes, parts["node"][branches]),
                    parts["action"][branches],
                    parts["count"][branches],
                    parts["q"][branches],
                )
            )
        return result


def _method(recipe: Recipe, sample: Sample, provided: _Watched, advantage: Floats) -> Method:
    batch = sample.trajectories
    provided.found = []
    _, found = recipe.credit(batch, provided)
    credit, mask = found.detach().to(torch.float64).cpu().numpy(), batch.mask.cpu().numpy()
    own, true = credit[mask], advantage[mask]
    spread = float(own.std() * true.std())
    correlation = float(((own - own.mean()) * (true - true.mean())).mean()) / spread if spread > 1e-15 else float("nan")
    scale = float(np.sqrt((own**2).mean()))
    piece = recipe.advantage
    return Method(
        recipe.name,
        piece.granularity,
        piece.source,
        recipe.privileged,
        credit,
        scale if scale > 0 else 1.0,
        correlation,
        tuple(provided.found),
    )
