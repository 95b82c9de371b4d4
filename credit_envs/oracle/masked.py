"""Play without the image: what a policy does, how much it reads, and what the best player earns who sees the text alone.

π_blind(a | text) = Σ_{(s, z): text} d(s) p(z|s) π(a | s, z) / Σ_{(s, z): text} d(s) p(z|s), with d the policy's own visits:
the policy of a player who knows π and the task, and sees the text alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from credit_envs.arrays import AnyArray, Floats, Ints
from credit_envs.errors import CreditEnvsError, TableError
from credit_envs.oracle.evaluation import occupancy, playing
from credit_envs.oracle.policy import Policy, PolicyLike, as_policy, named_actions, step_codes, uniform
from credit_envs.table.build import from_outcomes
from credit_envs.table.mdp import TabularMDP

_CELLS = 1 << 26
_CLOSE = 1e-9


@dataclass(frozen=True, eq=False)
class ImageFree:
    """A policy with the image masked.

    Attributes:
        look: int64 ``[S]``, what each state shows without the image (the label ``blind``, else the look).
        code: int64 ``[n_codes]``, each emission code as it appears without the image.
        probability: float64 ``[looks · n_codes, A]`` over action names; rows that no state shows are zero.
        dependence: float64 ``[S]``, E[KL(π(· | text, image) ‖ π_blind(· | text))] of each state in nats over what its
            emission shows; what VPPO (arXiv 2510.09285) estimates step by step as S_t. 0 where no step is taken.
        divergence: its mean over the steps that the policy takes.
    """

    look: Ints
    code: Ints
    probability: Floats
    dependence: Floats
    divergence: float

    def rows(self, state: AnyArray, code: AnyArray) -> Ints:
        """Returns the row of each (state, emission code), int64 like ``state``."""
        return np.asarray(self.look[state] * self.code.size + self.code[code])


def image_free(table: TabularMDP, policy: PolicyLike) -> ImageFree:
    """Masks the image of a policy.

    Args:
        table: the table; states that only the image tells apart share the label ``blind`` where it has one, emission
            layers say themselves what they show without it.
        policy: see :data:`~credit_envs.oracle.policy.PolicyLike`; inadmissible actions are left out. A text that the policy
            never comes to is read as if it had been written by somebody who plays uniformly, or else by chance.

    Raises:
        CreditEnvsError: for a malformed policy, or more than 2**26 cells of looks, codes and actions.
    """
    checked, emission = as_policy(table, policy), table.emission
    look = np.asarray(table.labels.get("blind", emission.base), dtype=np.int64)
    look = np.unique(look, return_inverse=True)[1]
    rows = (int(look.max()) + 1) * emission.n_codes
    if rows * table.n_actions > _CELLS:
        raise CreditEnvsError(
            f"{table.name}: {rows} blind looks with {table.n_actions} actions are too many to tabulate"
        )
    steps, visits = list(_steps(table, checked)), _visits(table, checked)
    mixed, known = np.zeros((rows, table.n_actions)), np.ones(rows, dtype=bool)
    alive = table.n_admissible > 0
    for step in steps:
        known[(look * emission.n_codes + emission.blind[step.code])[alive & (step.share > 0)]] = False
    for writer in ("the policy", "uniform play", "chance"):
        if known.all():
            break
        others = _visits(table, uniform(table)) if writer == "uniform play" else np.ones_like(visits)
        weight, total, seen = visits if writer == "the policy" else others, np.zeros_like(mixed), np.zeros(rows)
        for step in steps:
            row = look * emission.n_codes + emission.blind[step.code]
            mass = step.share * weight[step.episode] * alive
            np.add.at(total, (row[step.state], step.name), mass[step.state] * step.chance)
            np.add.at(seen, row, mass)
        new = ~known & (seen > 0)
        mixed[new] = total[new] / seen[new, None]
        known |= new
    reads = np.zeros((len(visits), table.n_states))
    for step in steps:
        blind = mixed[(look * emission.n_codes + emission.blind[step.code])[step.state], step.name]
        reading = (step.chance > 0) & (blind > 0)
        ratio = np.where(reading, step.chance, 1) / np.where(reading, blind, 1)
        gain = step.share[step.state] * step.chance * np.log(ratio)
        reads[step.episode] += np.bincount(step.state, gain, minlength=table.n_states)
    # A state's share of an episode code is part of reads already; visits are per code.
    taken = emission.episode_codes()[1] @ (visits * playing(table))
    return ImageFree(look, emission.blind, mixed, reads.sum(axis=0), float((visits * reads).sum() / taken.sum()))


class _Step(NamedTuple):
    """What one emission code shows: number of the episode's code, the code, its probability in each state ``[S]`` times the
    episode's, and of the edges that can be taken there: states, names, and how probable the policy makes them.
    """

    episode: int
    code: int
    share: Floats
    state: Ints
    name: Ints
    chance: Floats


def _visits(table: TabularMDP, policy: PolicyLike) -> Floats:
    """Returns expected visits by per-episode code, float64 ``[M, S]``."""
    codes = table.emission.episode_codes()[0].tolist()
    return np.stack([occupancy(table, policy, episode_code=code)[:-1].sum(axis=0) for code in codes])


def _steps(table: TabularMDP, policy: Policy) -> Iterator[_Step]:
    episodes = zip(*table.emission.episode_codes(), strict=True)
    for number, (episode, part) in enumerate(episodes):
        for states, code, probability in step_codes(table, int(episode)):
            share = np.zeros(table.n_states)
            share[states] = float(part) * probability
            edges = np.flatnonzero(share[table.edge_state] > 0)
            of, names = table.edge_state[edges], named_actions(table, edges, code)
            executed = names if policy.names_actions else table.edge_action[edges]
            yield _Step(number, code, share, of, names, policy.probability[policy.rows(table, of, code), executed])


def without_image(table: TabularMDP) -> TabularMDP:
    """Builds the game as a player meets it who sees no picture: its states are the numbers of the label ``blind``.

    The outcomes of an action are those of the states that look alike without the picture, each weighted with how probable
    it is once one has come there. That is exact where the weights don't depend on the way there, as where a text keeps all
    that was done; then the optimal policy of this table is that of the best player without the picture.

    Args:
        table: a table with the label ``blind``, such as a Charts table.

    Returns:
        A table with S' = largest ``blind`` + 1 states, the same actions, and the labels that are the same in all
        states of one ``blind``.

    Raises:
        TableError: if the table has no label ``blind``, pays at the cut-off or renames actions, if states that look alike
            without the picture have different admissible actions, or if what they tell depends on the way there.
    """
    blind = _blind(table)
    n = int(blind.max()) + 1
    first = np.full(n, table.n_states)
    np.minimum.at(first, blind, np.arange(table.n_states))
    alike = bool(np.array_equal(table.mask, table.mask[first[blind]]))
    if table.cutoff_reward is not None or table.emission.renames or not alike:
        raise TableError(f"table={table.name!r}: the label blind hides more than pictures; leave the dials out")
    belief, edge = beliefs(table), table.outcome_edge
    probability = belief[table.edge_state[edge]] * table.probability
    possible = probability > 0
    _check_ways(table, blind, belief, probability)
    starts = np.bincount(blind[table.start_state], table.start_probability, minlength=n)
    rows: dict[str, Any] = {
        "state": blind[table.edge_state[edge]],
        "action": table.edge_action[edge],
        "successor": blind[table.successor],
        "probability": probability,
        "reward": table.reward,
        "terminal": table.terminal,
    }
    return from_outcomes(
        f"{table.name} without the picture",
        n,
        table.n_actions,
        {name: column[possible] for name, column in rows.items()},
        start={int(state): float(starts[state]) for state in np.flatnonzero(starts)},
        horizon=table.horizon,
        discount=table.discount,
        reward_scale=table.reward_scale,
        reward_shift=table.reward_shift,
        inadmissible_reward=table.inadmissible_reward,
        action_names=table.action_names,
        labels={
            name: label[first] for name, label in table.labels.items() if np.array_equal(label, label[first][blind])
        },
        knobs=table.knobs,
    )


def beliefs(table: TabularMDP, policy: PolicyLike | None = None) -> Floats:
    """Returns P(s | text): how probable a state is for a player who sees only the text, float64 ``[S]``.

    Args:
        table: a table with the label ``blind``.
        policy: who wrote what the text shows; by default somebody who writes without looking. Where the policy never comes
            it is read as if this one had.

    Returns:
        Probabilities that sum to one over the states of one ``blind``; uniform where nobody comes and in the end.

    Raises:
        TableError: if the table has no label ``blind``.
    """
    blind = _blind(table)
    writers: list[PolicyLike] = [uniform(table), *([] if policy is None else [policy])]
    out = 1 / np.bincount(blind)[blind]
    for writer in writers:
        visits = occupancy(table, writer)[:-1].sum(axis=0) * (table.n_admissible > 0)
        total = np.bincount(blind, visits)[blind]
        out = np.where(total > 0, visits / np.where(total > 0, total, 1), out)
    return np.asarray(out)


def _check_ways(table: TabularMDP, blind: Ints, belief: Floats, probability: Floats) -> None:
    """Raises unless every way into a text (an action in a text, or the start) leaves the same beliefs."""
    size = blind.size
    on = (probability > 0) & ~table.terminal & (table.n_admissible[table.successor] > 0)
    way = blind[table.edge_state[table.outcome_edge]] * table.n_actions + table.edge_action[table.outcome_edge]
    ways = np.concatenate((way[on], np.full(table.n_contexts, -1)))
    lands = np.concatenate((table.successor[on].astype(np.int64), table.start_state))
    mass = np.concatenate((probability[on], table.start_probability))
    _, into = np.unique(np.stack((ways, blind[lands])), axis=1, return_inverse=True)
    pair, which = np.unique(into.ravel() * size + lands, return_inverse=True)
    seen = np.bincount(which, mass)
    of, state = pair // size, pair % size
    total = np.bincount(of, seen)
    # Where all beliefs that one way holds are right and sum to one, it holds them for all states of the text.
    wrong = np.abs(seen - belief[state] * total[of]) > _CLOSE * total[of]
    if wrong.any() or np.abs(np.bincount(of, belief[state]) - 1).max() > 1e-6:
        raise TableError(f"table={table.name!r}: what a text without the picture tells depends on the way to it")


def _blind(table: TabularMDP) -> Ints:
    if "blind" not in table.labels:
        raise TableError(f"table={table.name!r}: expected the label blind, as Charts tables have it")
    return table.labels["blind"]
