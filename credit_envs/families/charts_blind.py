"""The game without the picture: what the best player earns who sees only the text, and how much a policy reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from credit_envs.arrays import AnyArray, Floats, Ints
from credit_envs.errors import TableError
from credit_envs.table.build import from_outcomes
from credit_envs.table.mdp import TabularMDP

if TYPE_CHECKING:
    from credit_envs.oracle.policy import PolicyLike


def without_image(table: TabularMDP) -> TabularMDP:
    """Builds the game as a player meets it who sees no picture: its states are the numbers of the label ``blind``.

    The outcomes of an action are those of the states that look alike without the picture, each weighted with how probable
    it is once one has come there. The text shows all that was written, so these weights don't depend on who wrote it,
    and the optimal policy of this table is that of the best player without the picture.

    Args:
        table: a Charts table whose dynamics no dial has changed in a way that the text hides.

    Returns:
        A table with S' = largest ``blind`` + 1 states, the same actions, and the labels that are the same in all
        states of one ``blind``.

    Raises:
        TableError: if the table has no label ``blind`` or pays at the cut-off, or if states that look alike without the
            picture have different admissible actions.
    """
    blind = _blind(table)
    n = int(blind.max()) + 1
    first = np.full(n, table.n_states)
    np.minimum.at(first, blind, np.arange(table.n_states))
    if table.cutoff_reward is not None or not np.array_equal(table.mask, table.mask[first[blind]]):
        raise TableError(f"table={table.name!r}: the label blind hides more than pictures; leave the dials out")
    edge = table.outcome_edge
    probability = beliefs(table)[table.edge_state[edge]] * table.probability
    possible = probability > 0
    starts = np.bincount(blind[table.start_state], table.start_probability, minlength=n)
    rows: dict[str, AnyArray] = {
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
        table: a Charts table.
        policy: who wrote what the text shows; by default somebody who writes without looking. Where the policy never comes
            it is read as if this one had.

    Returns:
        Probabilities that sum to one over the states of one ``blind``; uniform where nobody comes and in the end.

    Raises:
        TableError: if the table has no label ``blind``.
    """
    from credit_envs.oracle.evaluation import occupancy
    from credit_envs.oracle.policy import uniform

    blind = _blind(table)
    writers: list[PolicyLike] = [uniform(table), *([] if policy is None else [policy])]
    out = 1 / np.bincount(blind)[blind]
    for writer in writers:
        visits = occupancy(table, writer)[:-1].sum(axis=0) * (table.n_admissible > 0)
        total = np.bincount(blind, visits)[blind]
        out = np.where(total > 0, visits / np.where(total > 0, total, 1), out)
    return np.asarray(out)


def image_free(table: TabularMDP, policy: PolicyLike) -> Floats:
    """Returns what a policy does without the picture: its average over what the picture may show, given the text.

    π(a | text) = Σ_s P(s | text) π(a | s), with the text as the policy itself has written it (:func:`beliefs`).

    Args:
        table: a Charts table.
        policy: see :data:`~credit_envs.oracle.policy.PolicyLike`; inadmissible actions are left out.

    Returns:
        float64 ``[S, A]``, the same for all states of one ``blind``; zero in the end.

    Raises:
        TableError: if the table has no label ``blind``.
    """
    blind = _blind(table)
    mixed = np.zeros((int(blind.max()) + 1, table.n_actions))
    np.add.at(mixed, blind, beliefs(table, policy)[:, None] * _rows(table, policy))
    return np.asarray(mixed[blind])


def dependence(table: TabularMDP, policy: PolicyLike) -> Floats:
    """Returns KL(π(· | picture, text) ‖ π(· | text)) of every state in nats, float64 ``[S]``; 0 in the end.

    What VPPO (arXiv 2510.09285) estimates token by token as S_t, exact, and against all pictures that the text allows
    instead of one masked picture.

    Raises:
        TableError: as :func:`image_free`.
    """
    pi, mixed = _rows(table, policy), image_free(table, policy)
    read = (pi > 0) & (mixed > 0)
    return np.asarray((pi * np.log(np.where(read, pi, 1) / np.where(read, mixed, 1))).sum(axis=1))


def _rows(table: TabularMDP, policy: PolicyLike) -> Floats:
    from credit_envs.oracle.policy import as_policy, effective

    rows = np.zeros((table.n_states, table.n_actions))
    rows[table.edge_state, table.edge_action] = effective(table, as_policy(table, policy)).edge
    return rows


def _blind(table: TabularMDP) -> Ints:
    if "blind" not in table.labels:
        raise TableError(f"table={table.name!r}: expected a Charts table, with the label blind")
    return table.labels["blind"]
