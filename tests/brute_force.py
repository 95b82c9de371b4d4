"""Slow references: every trajectory of a tiny table with its probability, and quantities as sums over them.

Nothing here reads the oracle, the sampler or an estimator; dynamics come from the table's ``P``.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from hypothesis import strategies as st
from strategies import make_random_table

from credit_envs.table import Emission, Layer, TabularMDP

Choose = Callable[[int, int], Any]
"""(state, emission code) → probabilities of action names ``[A]``."""


class Taken(NamedTuple):
    """One step; ``action`` is the executed action, None if the named one is inadmissible."""

    t: int
    state: int
    code: int
    named: int
    action: int | None
    reward: float
    successor: int
    ended: bool


@dataclass(frozen=True)
class Walk:
    """One trajectory and its probability."""

    chance: float
    context: int
    steps: tuple[Taken, ...]

    def discounted(self, discount: float) -> float:
        """Discounted return, counted from the walk's first step."""
        return sum(discount**i * step.reward for i, step in enumerate(self.steps))


def codes(table: TabularMDP, state: int, episode: tuple[int, ...]) -> Iterator[tuple[float, int]]:
    """Emission codes that a step in a state can show, given the digits of per-episode layers (−1 for other layers)."""
    n = int(table.edge_start[state + 1] - table.edge_start[state])
    options = []
    for layer, fixed in zip(table.emission.layers, episode, strict=True):
        row = np.asarray(layer.probability)[n if layer.state_class == "admissible" else 0]
        options.append([(1.0, fixed)] if layer.per_episode else [(float(p), z) for z, p in enumerate(row) if p > 0])
    for picks in itertools.product(*options):
        code, chance = 0, 1.0
        for layer, (p, z) in zip(table.emission.layers, picks, strict=True):
            code, chance = code * layer.probability.shape[1] + z, chance * p
        yield chance, code


def episodes(table: TabularMDP) -> Iterator[tuple[float, tuple[int, ...]]]:
    """Digits of the per-episode layers (−1 for other layers), with probabilities."""
    options = [
        [(float(p), z) for z, p in enumerate(layer.probability[0]) if p > 0] if layer.per_episode else [(1.0, -1)]
        for layer in table.emission.layers
    ]
    for picks in itertools.product(*options):
        yield float(np.prod([p for p, _ in picks])), tuple(z for _, z in picks)


def executed(table: TabularMDP, state: int, named: int, code: int) -> int | None:
    """The action that naming ``named`` executes under a code: names are shifted cyclically by the layers' shifts."""
    admissible = sorted(table.P[state])
    if named not in admissible:
        return None
    shift = 0
    for layer in reversed(table.emission.layers):
        code, digit = divmod(code, layer.probability.shape[1])
        shift += int(layer.shift[digit])
    return admissible[(admissible.index(named) - shift) % len(admissible)]


def walks(
    table: TabularMDP,
    choose: Choose,
    *,
    names: bool = False,
    t: int = 0,
    state: int | None = None,
    forced: int | None = None,
) -> Iterator[Walk]:
    """Yields every trajectory.

    Args:
        table: the table.
        choose: the policy.
        names: whether the policy chooses action names (which emissions may shift) or executed actions.
        t: first step.
        state: first state (default: the start distribution).
        forced: executed action of the first step.
    """
    starts = (
        [(float(p), i, int(s)) for i, (s, p) in enumerate(zip(table.start_state, table.start_probability, strict=True))]
        if state is None
        else [(1.0, 0, state)]
    )
    for chance, context, first in starts:
        for skin_chance, skin in episodes(table):
            if chance * skin_chance > 0:
                yield from _onward(table, choose, names, skin, t, first, forced, chance * skin_chance, context, ())


def _onward(table, choose, names, skin, t, state, forced, chance, context, steps):  # type: ignore[no-untyped-def]
    scale = 1.0 if table.reward_scale is None else float(table.reward_scale[t])
    shift = 0.0 if table.reward_shift is None else float(table.reward_shift[t])
    for code_chance, code in codes(table, state, skin):
        row = np.eye(table.n_actions)[forced] if forced is not None else choose(state, code)
        for named in np.flatnonzero(np.asarray(row) > 0).tolist():
            if forced is not None or not names:
                action = named if named in table.P[state] else None
            else:
                action = executed(table, state, named, code)
            outcomes = [(1.0, state, table.inadmissible_reward, False)] if action is None else table.P[state][action]
            for p, successor, reward, terminal in outcomes:
                if p == 0:
                    continue
                paid = scale * reward + shift
                last = t + 1 == table.horizon
                if last and not terminal and table.cutoff_reward is not None:
                    paid += float(table.cutoff_reward[successor])
                ended = bool(terminal or last)
                done = (*steps, Taken(t, state, code, named, action, paid, successor, ended))
                weight = chance * code_chance * float(row[named]) * p
                if ended:
                    yield Walk(weight, context, done)
                else:
                    yield from _onward(table, choose, names, skin, t + 1, successor, None, weight, context, done)


def by_state(probability: Any) -> Choose:
    """A policy with one row per state, choosing executed actions."""
    return lambda state, code: probability[state]


def by_look(table: TabularMDP, probability: Any) -> Choose:
    """A policy with one row per look."""
    return lambda state, code: probability[table.emission.base[state]]


def by_obs(table: TabularMDP, probability: Any) -> Choose:
    """A policy with one row per observation id, choosing names."""
    return lambda state, code: probability[int(table.emission.base[state]) * table.emission.n_codes + code]


def expected(paths: list[Walk], discount: float) -> float:
    """Mean discounted return of weighted walks."""
    return sum(w.chance * w.discounted(discount) for w in paths) / sum(w.chance for w in paths)


def state_values(table: TabularMDP, choose: Choose, t: int, state: int, names: bool = False) -> float:
    """V_t(s) by enumeration."""
    return expected(list(walks(table, choose, names=names, t=t, state=state)), table.discount)


def action_value(table: TabularMDP, choose: Choose, t: int, state: int, action: int) -> float:
    """Q_t(s, a) by enumeration."""
    return expected(list(walks(table, choose, t=t, state=state, forced=action)), table.discount)


def best_value(table: TabularMDP, t: int, state: int) -> float:
    """Optimal value over admissible actions by recursion over trajectories (no dynamic programming)."""
    scale = 1.0 if table.reward_scale is None else float(table.reward_scale[t])
    shift = 0.0 if table.reward_shift is None else float(table.reward_shift[t])
    best = -np.inf
    for outcomes in table.P[state].values():
        total = 0.0
        for p, successor, reward, terminal in outcomes:
            paid = scale * reward + shift
            if not terminal and t + 1 == table.horizon:
                paid += 0.0 if table.cutoff_reward is None else float(table.cutoff_reward[successor])
            elif not terminal:
                paid += table.discount * best_value(table, t + 1, successor)
            total += p * paid
        best = max(best, total)
    return best


def meeting_share(paths: list[Walk], key: Callable[[Taken], Any], group_size: int) -> float:
    """ρ_G: share of steps whose anchor another rollout of the group visits, by enumerating all groups.

    ``paths`` are all walks of one context.
    """
    total = sum(w.chance for w in paths)
    met = steps = 0.0
    for group in itertools.product(paths, repeat=group_size):
        chance = float(np.prod([w.chance / total for w in group]))
        seen = [{key(step) for step in w.steps} for w in group]
        for i, w in enumerate(group):
            steps += chance * len(w.steps)
            met += chance * sum(any(key(s) in seen[j] for j in range(group_size) if j != i) for s in w.steps)
    return met / steps


@st.composite
def rich_table(
    draw: st.DrawFn, max_states: int = 5, max_actions: int = 3, max_horizon: int = 3, layers: bool = True
) -> TabularMDP:
    """A random table with everything a table can have: discount, reward factors, cut-off rewards, aliasing, layers."""
    # Sizes come from the seed: hypothesis prefers small ones, and pruning takes more away.
    seed = draw(st.integers(0, 2**20))
    rng = np.random.default_rng(seed)
    table = make_random_table(
        seed,
        n_states=int(rng.integers((max_states + 1) // 2, max_states + 1)),
        n_actions=int(rng.integers(1, max_actions + 1)),
        horizon=int(rng.integers(1, max_horizon + 1)),
        layered=draw(st.booleans()),
        n_starts=draw(st.integers(1, 2)),
        discount=draw(st.sampled_from([1.0, 0.9, 0.5])),
        cutoff=draw(st.booleans()),
    )
    base = np.arange(table.n_states)
    if draw(st.booleans()):
        base = np.unique(rng.integers(0, table.n_states, table.n_states), return_inverse=True)[1]
    shown = random_layers(rng, table.n_actions) if layers and draw(st.booleans()) else ()
    # What enumeration costs grows with the branching to the power of the horizon; tests enumerate from every step.
    codes = Emission(base, shown).step_codes(int(table.n_admissible.max()))[0].size
    branching = table.max_outcomes * table.n_actions * codes
    table = table.replace(horizon=min(table.horizon, max(1, int(np.log(2000) / np.log(max(branching, 2))))))
    return table.replace(
        reward_scale=rng.choice([1.0, 0.5, 2.0], table.horizon) if draw(st.booleans()) else None,
        reward_shift=rng.choice([0.0, 0.25, -1.0], table.horizon) if draw(st.booleans()) else None,
        inadmissible_reward=draw(st.sampled_from([0.0, -0.3])),
        emission=Emission(base, shown),
    )


def cue_layer(n_actions: int, name: str = "cue") -> Layer:
    """A per-step layer that shifts the names of admissible actions uniformly, hidden from the text."""
    p = np.zeros((n_actions + 1, n_actions))
    for n in range(n_actions + 1):
        p[n, : max(n, 1)] = 1 / max(n, 1)
    shift = np.arange(n_actions)
    return Layer(name, False, p, "admissible", shift, np.zeros(n_actions, dtype=np.int64), shows_in_anchor=False)


def random_layers(rng: np.random.Generator, n_actions: int) -> tuple[Layer, ...]:
    """One or two of: a skin per episode, a paraphrase per step, a cue."""
    options = (
        Layer("skin", True, rng.dirichlet(np.ones(2))[None]),
        Layer("paraphrase", False, np.array([[0.25, 0.0, 0.75]])),
        cue_layer(n_actions),
    )
    chosen = rng.choice(3, size=int(rng.integers(1, 3)), replace=False)
    return tuple(options[i] for i in sorted(chosen.tolist()))


def random_rows(seed: int, n_rows: int, n_actions: int) -> Any:
    """Random rows of probabilities, some of them exactly zero, float64 ``[n_rows, n_actions]``."""
    rng = np.random.default_rng(seed)
    weight = rng.exponential(size=(n_rows, n_actions)) * (rng.random((n_rows, n_actions)) < 0.8)
    weight[np.arange(n_rows), rng.integers(0, n_actions, n_rows)] += 0.5
    return weight / weight.sum(axis=1, keepdims=True)


def softmax(logits: Any, mask: Any) -> Any:
    """Row-wise softmax over the allowed entries."""
    weight = np.where(mask, np.exp(logits - logits.max()), 0.0)
    return weight / np.maximum(weight.sum(axis=1, keepdims=True), 1e-300)
