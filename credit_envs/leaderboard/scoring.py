"""Scores of recorded credit: replayed, then measured against the oracle by the same moments as every evaluation.

Nothing that an entry states enters a score but its credit. What a cell is compared with, the unit and the exact advantage on
the fixed rollouts, is computed here.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from credit_envs import registry
from credit_envs.arrays import Floats
from credit_envs.credit.grpo import dr_grpo, rloo
from credit_envs.errors import CreditEnvsError
from credit_envs.evaluation.config import CEILING
from credit_envs.evaluation.prices import PRICE_LISTS, Spending
from credit_envs.evaluation.providers import Provided
from credit_envs.evaluation.replicate import stale
from credit_envs.evaluation.scores import Control, GradientFrame, score_credit, score_gradient
from credit_envs.evaluation.summary import CEILING_MIN, Interval, Replicates, Row, equivalents, interval, summarise
from credit_envs.leaderboard.records import Episodes
from credit_envs.leaderboard.replay import replay
from credit_envs.leaderboard.tracks import GROUP_SIZE, Board
from credit_envs.oracle.control import Rung, ladder
from credit_envs.oracle.evaluation import Values, evaluate, expected_return
from credit_envs.oracle.gradient import exact_gradient
from credit_envs.oracle.measure import spread
from credit_envs.sampling.sampler import Sampler
from credit_envs.sampling.trajectories import Sample
from credit_envs.table.mdp import TabularMDP

ENTRY = "entry"
"""What an entry is called in its own records."""

LEAST, MOST = 0.01, 100.0
"""GRPO-equivalents are held within these in means over cells; undefined ones count as the least."""

FEWEST_GROUPS = 2
"""Groups that a method must return: with one alone the variance of its gradient cannot be estimated."""

_FEWEST = 4
_STRAY = 1.5


@dataclass(frozen=True, eq=False)
class Stage:
    """A table and one policy of its ladder, with what scoring needs.

    Attributes:
        environment: canonical id.
        table: the environment.
        rung: the policy.
        values: its exact values.
        gradient: float64 ``[rows, A]``, the exact gradient.
        plain_gradient: the same without discounting of visits, which is the mean of RLOO's.
        groups: number of groups of 8 that the budget pays for, at least 4.
        budget: environment steps of methods that draw their own rollouts: the board's, or what those groups cost.
    """

    environment: str
    table: TabularMDP
    rung: Rung
    values: Values
    gradient: torch.Tensor
    plain_gradient: torch.Tensor
    groups: int
    budget: int

    def sampler(self, seed: int) -> Sampler:
        """Returns the sampler of a seed."""
        return Sampler(self.table, self.rung.policy, seed)


@functools.lru_cache(maxsize=128)
def stages(environment: str, table: TabularMDP, board: Board) -> tuple[Stage, ...]:
    """Returns the stages of an environment, one per policy of its ladder, or the strayed one."""
    found = []
    rungs = [strayed(table)] if board.strayed else ladder(table, board.levels)
    for rung in rungs:
        steps = spread(table, rung.policy).expected_steps
        gradient = torch.from_numpy(exact_gradient(table, rung.policy))
        plain = gradient
        if table.discount != 1:
            plain = torch.from_numpy(exact_gradient(table, rung.policy, discounted_visits=False))
        groups = max(_FEWEST, round(board.budget / (GROUP_SIZE * steps)))
        budget = max(board.budget, round(GROUP_SIZE * steps * groups))
        found.append(Stage(environment, table, rung, evaluate(table, rung.policy), gradient, plain, groups, budget))
    return tuple(found)


def strayed(table: TabularMDP) -> Rung:
    """Returns a policy with strong preferences that say nothing about value: random logits of deviation 1.5.

    Policies of the ladder were trained by exact gradients, so their log-probabilities tell good actions from bad ones. A
    method that reads them instead of the returns has nothing to read here.
    """
    policy = stale(ladder(table, (0.0,))[0].policy, _STRAY)
    return Rung("strayed", policy, expected_return(table, policy), float("nan"))


@functools.lru_cache(maxsize=64)
def table_of(environment: str) -> TabularMDP:
    """Builds an environment's table."""
    quiet = {"progress": False} if registry.entry(environment).source == "gymnasium" else {}
    return registry.make_table(environment, **quiet)


def score(stage: Stage, seed: int, episodes: Episodes, spent: Mapping[str, float]) -> list[dict[str, Any]]:
    """Scores one cell.

    Args:
        stage: where it was played.
        seed: seed of the cell.
        episodes: what was played and claimed.
        spent: what the entry cost, see :data:`~credit_envs.leaderboard.manifest.SPENT`.

    Returns:
        Flat records of the entry, the unit and the ceiling.

    Raises:
        CreditEnvsError: if the replay disagrees with the records, or a spread between groups cannot be seen.
    """
    if len(np.unique(episodes.group)) < FEWEST_GROUPS:
        raise CreditEnvsError(
            f"groups: one alone does not show how gradients spread, expected at least {FEWEST_GROUPS}"
        )
    played = replay(stage.table, stage.rung.policy, seed, episodes)
    own_rollouts = not is_fixed(episodes, stage.groups)
    fixed = stage.sampler(seed).groups(stage.groups, GROUP_SIZE) if own_rollouts else played
    mask = fixed.trajectories.mask
    frame = _Frame(stage, seed, fixed, controlled=True)
    own = _Frame(stage, seed, played, controlled=False) if own_rollouts else frame
    credit = torch.from_numpy(episodes.padded(episodes.credit).astype(np.float64))
    steps = float(mask.sum())
    sampled = {"env_steps": steps, "policy_calls": steps, "model_calls": 0.0, "seconds": 0.0}
    advantage = frame.provided["advantage"]
    scored = {
        ENTRY: own.score(credit, spent),
        "unit": frame.score(dr_grpo(fixed.trajectories), sampled),
        CEILING: frame.score(advantage, sampled),
    }
    where = {"environment": stage.environment, "policy": stage.rung.name, "seed": seed}
    return [{**where, "estimator": name, **found} for name, found in scored.items()]


def is_fixed(episodes: Episodes, groups: int) -> bool:
    """Whether rollouts are exactly the ones that fixed methods are given."""
    n = groups * GROUP_SIZE
    return bool(
        episodes.n_rollouts == n
        and np.array_equal(episodes.rollout, np.arange(n))
        and np.array_equal(episodes.group, np.arange(n) // GROUP_SIZE)
        and not episodes.branch.any()
    )


class _Frame:
    """A sample with its gradients' frame; with control variates where its rollouts are independent plays."""

    def __init__(self, stage: Stage, seed: int, sample: Sample, *, controlled: bool) -> None:
        self.stage, self.sample = stage, sample
        self.frame = GradientFrame(sample, stage.gradient)
        self.provided = Provided(stage.sampler(seed), sample, stage.values)
        self.controls: list[Control] = []
        if controlled:
            known = [self.provided["advantage"]]
            known += [rloo(sample.trajectories)] if stage.table.discount == 1 else []
            self.controls = [Control(self.frame.gradient(c), stage.plain_gradient) for c in known]

    def score(self, credit: torch.Tensor, spent: Mapping[str, float]) -> dict[str, Any]:
        """Returns costs and moments of a credit float64 ``[N, T]``."""
        spending = Spending(**spent, trained_steps=float(self.sample.trajectories.mask.sum()))
        return {
            **asdict(spending),
            **asdict(score_gradient(self.frame, credit, self.controls)),
            **asdict(score_credit(self.sample, credit, self.provided["advantage"], self.stage.table.n_edges)),
        }


def rows(records: Sequence[Mapping[str, Any]], board: Board) -> list[Row]:
    """Returns one row per environment and policy: the entry's."""
    return [row for row in summarise(records, board.budget) if row.estimator == ENTRY]


def informative(records: Sequence[Mapping[str, Any]], board: Board) -> list[Mapping[str, Any]]:
    """Returns the records of cells in which the unit's own gradient is worth something: where it sees nothing, nobody can."""
    own = np.arange(board.seeds)[None]
    kept: list[Mapping[str, Any]] = []
    for cell in _by_cell(records):
        unit = Replicates(cell["unit"])
        if np.isfinite(equivalents(unit, unit, PRICE_LISTS["simulator"], board.budget, own)).all():
            kept += [record for found in cell.values() for record in found]
    return kept


def _by_cell(records: Sequence[Mapping[str, Any]]) -> list[dict[str, list[Mapping[str, Any]]]]:
    """Returns the records of each environment and policy by estimator, in the order of their seeds."""
    cells: dict[tuple[str, str], dict[str, list[Mapping[str, Any]]]] = {}
    for record in sorted(records, key=lambda r: int(r["seed"])):
        here = cells.setdefault((record["environment"], record["policy"]), {})
        here.setdefault(record["estimator"], []).append(record)
    return list(cells.values())


def overall(records: Sequence[Mapping[str, Any]], board: Board, resamples: int = 1000) -> dict[str, Interval]:
    """Returns the means over cells with intervals over seeds, which all cells share.

    Returns:
        Geometric means of GRPO-equivalents by price list, medians of ``headroom`` (simulator's prices), ``pearson`` and
        ``cosine`` over cells, and ``cost``, environment steps per trained step (geometric mean).
    """
    draw = np.random.default_rng(0).integers(0, board.seeds, (resamples, board.seeds))
    draw = np.concatenate([np.arange(board.seeds)[None], draw])
    found: dict[str, list[Floats]] = {}
    for by_name in _by_cell(records):
        own, unit, ceiling = (Replicates(by_name[name]) for name in (ENTRY, "unit", CEILING))
        for price, prices in PRICE_LISTS.items():
            value = equivalents(own, unit, prices, board.budget, draw)
            found.setdefault(price, []).append(np.log(np.clip(np.nan_to_num(value, nan=LEAST), LEAST, MOST)))
        top, mine = (equivalents(one, unit, PRICE_LISTS["simulator"], board.budget, draw) for one in (ceiling, own))
        share = (np.nan_to_num(mine, nan=0.0) - 1) / np.maximum(top - 1, CEILING_MIN - 1)
        found.setdefault("headroom", []).append(np.where(top > CEILING_MIN, share, np.nan))
        found.setdefault("cosine", []).append(np.nan_to_num(own.cosine(draw), nan=0.0))
        found.setdefault("pearson", []).append(np.nan_to_num(own.pearson(draw), nan=0.0))
        found.setdefault("cost", []).append(np.log(own.mean("env_steps", draw) / own.mean("trained_steps", draw)))
    logs = {*PRICE_LISTS, "cost"}
    return {
        name: interval(np.exp(np.mean(values, axis=0)) if name in logs else np.nanmedian(values, axis=0))
        for name, values in found.items()
    }
