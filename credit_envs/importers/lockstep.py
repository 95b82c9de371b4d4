"""Original and table side by side: every observation, reward and end must be the same."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np

from credit_envs.arrays import AnyArray
from credit_envs.errors import TableError, check_range, unknown
from credit_envs.importers.making import made
from credit_envs.importers.observations import unstack
from credit_envs.table.mdp import TabularMDP

_EXPECTED_AT_LEAST = 5.0
_SMALLEST_P = 1e-6


@dataclass(frozen=True)
class LockStep:
    """What a comparison without a difference has covered.

    Attributes:
        steps: steps compared.
        episodes: episodes started.
        edges: distinct state-action pairs taken where the state was certain.
        p_value: of the χ² test of outcome frequencies, 1.0 where nothing was random.
    """

    steps: int
    episodes: int
    edges: int
    p_value: float


def lock_step(
    env: str | gymnasium.Env[Any, Any],
    table: TabularMDP,
    steps: int = 10_000,
    seed: int = 0,
    *,
    view: str | None = None,
    seeds: Sequence[int] | None = None,
    **make_kwargs: Any,
) -> LockStep:
    """Walks through the original and its table together, and stops at the first difference.

    Each step takes one of the actions that were tried least in the present state. Where several states look alike, all
    that agree with what was seen are followed, and one of them must go on agreeing. Where the original is random, the
    table follows the outcome that the original drew, and the frequencies of all edges together are compared by a χ²
    test (edges taken rarely are pooled with others of the same probabilities; a difference is reported below p = 1e-6).

    Args:
        env: a Gymnasium id, or the environment.
        table: its table.
        steps: number of steps, at least 1.
        seed: seeds the choice of actions, and resets where ``seeds`` is not given.
        view: view of the table that must equal the original's observation; default ``original``, else ``state``.
        seeds: reset seeds, used in turn. Default: fresh ones for environments that list their probabilities in ``P``,
            for all others 0, the default of :func:`import_gymnasium`.
        **make_kwargs: arguments of ``gymnasium.make``, with an id only.

    Raises:
        TableError: at the first difference, naming seed, actions, what was expected and what came.
        CreditEnvsError: if the view or the id is unknown.
    """
    check_range("steps", steps, 1, 10**12, integer=True)
    original = made(env, make_kwargs)
    walk = _Walk(original, table, view or ("original" if "original" in table.views else "state"))
    rng = np.random.default_rng(seed)
    if seeds is None and not hasattr(original.unwrapped, "P"):
        seeds = (0,)
    episodes = 0
    over = True
    for _ in range(int(steps)):
        if over:
            walk.reset(int(rng.integers(2**31)) if seeds is None else int(seeds[episodes % len(seeds)]))
            episodes += 1
        over = walk.step(walk.least_tried(rng))
    p_value = _p_value(table, walk.outcomes)
    if p_value < _SMALLEST_P:
        raise TableError(
            f"{table.name}: over {steps} steps the original's outcomes are not distributed as in the table (χ² test, "
            f"p = {p_value:.1e})"
        )
    return LockStep(int(steps), episodes, len(walk.edges), p_value)


class _Walk:
    def __init__(self, original: gymnasium.Env[Any, Any], table: TabularMDP, view: str) -> None:
        if view not in {"state", "text", *table.views}:
            raise unknown("view", view, {"state", "text", *table.views})
        self.original, self.table, self.view = original, table, table.view(view)
        self.first_action = int(getattr(original.action_space, "start", 0))
        self.shown: dict[int, Any] = {}
        self.tried: dict[int, Any] = defaultdict(lambda: np.zeros(table.n_actions, dtype=np.int64))
        self.outcomes: dict[int, int] = defaultdict(int)
        self.edges: set[int] = set()

    def reset(self, seed: int) -> None:
        observation, _ = self.original.reset(seed=seed)
        self.seed, self.actions = seed, list[int]()
        starts = self.table.start_state[self.table.start_probability > 0].tolist()
        self.states = [state for state in dict.fromkeys(starts) if _same(self._show(state), observation)]
        if not self.states:
            raise self._differs("observation", [self._show(state) for state in starts[:1]], observation)

    def least_tried(self, rng: np.random.Generator) -> int:
        tried = self.tried[self.states[0]]
        return int(rng.choice(np.flatnonzero(tried == tried.min())))

    def step(self, action: int) -> bool:
        """Steps both; returns whether the episode is over."""
        table, t = self.table, len(self.actions)
        self.tried[self.states[0]][action] += 1
        self.actions.append(action)
        observation, reward, terminated, truncated, _ = self.original.step(self.first_action + action)
        last = t + 1 == table.horizon
        certain = len(self.states) == 1
        possible = [way for state in self.states for way in self._ways(state, action, t, last)]
        ways = [way for way in possible if way[1] == float(reward)]
        if not ways:
            raise self._differs("reward", [way[1] for way in possible], float(reward))
        # The original may have a later limit than the table, never an earlier one.
        ended = bool(terminated or truncated or last)
        expected, ways = ways, [way for way in ways if way[2] == ended]
        if not ways:
            raise self._differs("end of the episode", [way[2] for way in expected], ended)
        expected, ways = ways, [way for way in ways if _same(self._show(way[0]), observation)]
        if not ways:
            raise self._differs("observation", [self._show(way[0]) for way in expected], observation)
        if certain:
            self.edges.add(ways[0][3])
            if len({way[:3] for way in ways}) == 1 and ways[0][4] >= 0:
                self.outcomes[ways[0][4]] += 1
        self.states = list(dict.fromkeys(way[0] for way in ways))
        return ended

    def _ways(self, state: int, action: int, t: int, last: bool) -> list[tuple[int, float, bool, int, int]]:
        """Returns (next state, reward, end, edge, outcome) of everything that may happen."""
        table = self.table
        first, end = table.edge_start[state], table.edge_start[state + 1]
        found = np.flatnonzero(table.edge_action[first:end] == action)
        if not found.size:
            return [(state, table.inadmissible_reward, last, -1, -1)]
        edge = int(first + found[0])
        outcomes = np.arange(table.outcome_start[edge], table.outcome_start[edge + 1])
        outcomes = outcomes[table.probability[outcomes] > 0]
        ends = table.terminal[outcomes] | last
        paid = table.reward_at(t, table.reward[outcomes])
        if last and table.cutoff_reward is not None:
            paid = paid + np.where(table.terminal[outcomes], 0.0, table.cutoff_reward[table.successor[outcomes]])
        columns = (
            table.successor[outcomes].tolist(),
            paid.tolist(),
            ends.tolist(),
            [edge] * outcomes.size,
            outcomes.tolist(),
        )
        return list(zip(*columns, strict=True))

    def _show(self, state: int) -> Any:
        if state not in self.shown:
            self.shown[state] = unstack(self.view.rows(np.array([state])), 0)
        return self.shown[state]

    def _differs(self, what: str, expected: list[Any], got: Any) -> TableError:
        one = _short(expected[0]) if expected else "nothing"
        more = f" (or {len(expected) - 1} others)" if len(expected) > 1 else ""
        return TableError(
            f"{self.table.name}: after reset(seed={self.seed}) and actions {self.actions} the {what} differs: the "
            f"table says {one}{more}, the original {_short(got)}"
        )


def _same(shown: Any, observation: Any) -> bool:
    if isinstance(shown, dict):
        return isinstance(observation, dict) and all(_same(shown[name], observation.get(name)) for name in shown)
    if isinstance(shown, str):
        return bool(shown == observation)
    return bool(np.array_equal(shown, observation))


def _short(value: Any) -> str:
    text = " ".join(repr(value.item() if isinstance(value, np.generic) else value).split())
    return text if len(text) <= 300 else f"{text[:300]}…"


def _p_value(table: TabularMDP, counts: dict[int, int]) -> float:
    """Returns the p-value of the χ² statistic summed over edges.

    Identical outcomes of an edge count as one. Edges that were taken too rarely are added up with all others that have
    the
    same probabilities: sums of multinomial counts with equal probabilities are multinomial again.
    """
    from scipy.stats import chi2

    cells: dict[Any, tuple[AnyArray, AnyArray]] = {}
    for edge in sorted({int(table.outcome_edge[outcome]) for outcome in counts}):
        outcomes = range(table.outcome_start[edge], table.outcome_start[edge + 1])
        ways = [(table.successor[o], table.reward[o], table.terminal[o]) for o in outcomes]
        which = [ways.index(way) for way in ways]
        seen = np.bincount(which, [counts.get(o, 0) for o in outcomes])
        chance = np.bincount(which, table.probability[list(outcomes)])
        seen, chance = seen[chance > 0], chance[chance > 0]
        enough = chance.min() * seen.sum() >= _EXPECTED_AT_LEAST
        group = edge if enough else tuple(chance.round(12))
        before = cells.get(group, (0, 0))
        cells[group] = (before[0] + seen, before[1] + chance * seen.sum())
    tested = [(seen, expected) for seen, expected in cells.values() if expected.min() >= _EXPECTED_AT_LEAST]
    statistic = sum(float(((seen - expected) ** 2 / expected).sum()) for seen, expected in tested)
    freedom = sum(seen.size - 1 for seen, _ in tested)
    return float(chi2.sf(statistic, freedom)) if freedom else 1.0
