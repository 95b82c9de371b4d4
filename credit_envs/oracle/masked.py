"""What a policy does without the image: its actions averaged over everything that only the image tells apart.

π_blind(a | text) = Σ_{(s, z): text} d(s) p(z|s) π(a | s, z) / Σ_{(s, z): text} d(s) p(z|s), with d the policy's own visits:
the policy of a player who knows π and the task, and sees the text alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from credit_envs.arrays import AnyArray, Floats, Ints
from credit_envs.errors import CreditEnvsError
from credit_envs.oracle.evaluation import occupancy
from credit_envs.oracle.policy import PolicyLike, as_policy, named_actions, step_codes
from credit_envs.table.mdp import TabularMDP

_CELLS = 1 << 26


@dataclass(frozen=True, eq=False)
class ImageFree:
    """A policy with the image masked.

    Attributes:
        look: int64 ``[S]``, what each state shows without the image (the label ``blind``, else the look).
        code: int64 ``[n_codes]``, each emission code as it appears without the image.
        probability: float64 ``[looks · n_codes, A]`` over action names; rows that are never seen are zero.
    """

    look: Ints
    code: Ints
    probability: Floats

    def rows(self, state: AnyArray, code: AnyArray) -> Ints:
        """Returns the row of each (state, emission code), int64 like ``state``."""
        return np.asarray(self.look[state] * self.code.size + self.code[code])


def image_free(table: TabularMDP, policy: PolicyLike) -> ImageFree:
    """Masks the image of a policy.

    Args:
        table: the table; states that only the image tells apart share the label ``blind`` where it has one, emission
            layers say themselves what they show without it.
        policy: see :data:`~credit_envs.oracle.policy.PolicyLike`.

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
    total, seen = np.zeros((rows, table.n_actions)), np.zeros(rows)
    codes, shares = emission.episode_codes()
    for episode, share in zip(codes.tolist(), shares.tolist(), strict=True):
        visits = occupancy(table, checked, episode_code=episode)[:-1].sum(axis=0)
        for states, code, probability in step_codes(table, episode):
            row = look[states] * emission.n_codes + emission.blind[code]
            np.add.at(seen, row, share * probability * visits[states])
            inside = np.zeros(table.n_states, dtype=bool)
            inside[states] = True
            edges = np.flatnonzero(inside[table.edge_state])
            of, names = table.edge_state[edges], named_actions(table, edges, code)
            executed = names if checked.names_actions else table.edge_action[edges]
            chance = checked.probability[checked.rows(table, of, code), executed]
            where = (look[of] * emission.n_codes + emission.blind[code], names)
            np.add.at(total, where, share * probability * visits[of] * chance)
    return ImageFree(look, emission.blind, total / np.where(seen > 0, seen, 1)[:, None])
