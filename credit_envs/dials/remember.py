"""Tables whose states remember the last k observations and actions, so that policies with a finite window stay exact.

A policy that sees this observation and the k (observation, action) pairs before it is a table over the looks of the table
that :func:`remember` returns: the oracle solves it like any other. Dynamics, rewards and labels are those of the original.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from credit_envs.arrays import AnyArray, Ints
from credit_envs.dials.memory import MAX_STATES, with_memory
from credit_envs.errors import CreditEnvsError, check_range
from credit_envs.table.emission import Emission
from credit_envs.table.mdp import TabularMDP

_KEYS = 1 << 62
_TAG = "remembered state"


@dataclass(frozen=True, eq=False)
class Remembered:
    """A table with memory, and what each of its looks stands for.

    Attributes:
        table: the table; its look is the original look together with the memory.
        look: int64 ``[n_base']``, original look.
        seen: int64 ``[n_base', k]``, looks of the k steps before, oldest first; −1 before the start.
        done: int64 ``[n_base', k]``, actions of those steps; −1 before the start.
    """

    table: TabularMDP
    look: Ints
    seen: Ints
    done: Ints


def remember(table: TabularMDP, k: int, max_states: int = MAX_STATES) -> Remembered:
    """Adds the last k (look, action) pairs to the state.

    An inadmissible action changes nothing, the memory included.

    Args:
        table: a table without emission layers (no skins, paraphrases or cue: they are drawn anew and would have to be
            remembered, too).
        k: number of pairs, at least 0.
        max_states: largest number of states to build.

    Raises:
        CreditEnvsError: if an argument is out of range, the table has layers, or grows too large.
    """
    check_range("remember", k, 0, 62, integer=True)
    if table.emission.layers:
        names = ", ".join(layer.name for layer in table.emission.layers)
        raise CreditEnvsError(f"remember={k}: what {table.name} shows is drawn anew ({names}); leave that dial out")
    base = table.emission.base.astype(np.int64)
    size = table.emission.n_base * table.n_actions + 1
    if size**k >= _KEYS:
        raise CreditEnvsError(f"remember={k}: {size}**{k} memories are too many; remember less")
    pair = 1 + base[table.edge_state[table.outcome_edge]] * table.n_actions + table.edge_action[table.outcome_edge]

    def advance(memory: Ints, outcome: Ints) -> AnyArray:
        return np.asarray((memory * size + pair[outcome]) % size**k)

    tagged = table.replace(labels={**table.labels, _TAG: np.arange(table.n_states)})
    product = with_memory(tagged, 0, advance, f"remember={k}", max_states)
    labels = dict(product.table.labels)
    looks = base[labels.pop(_TAG)]
    key, number = np.unique(np.stack((looks, product.memory)), axis=1, return_inverse=True)
    digits = np.zeros((key.shape[1], k), dtype=np.int64)
    for i in range(k):
        digits[:, i] = key[1] // size ** (k - 1 - i) % size - 1
    there = digits >= 0
    return Remembered(
        product.table.replace(emission=Emission(number.ravel().astype(np.int32)), labels=labels),
        key[0],
        np.where(there, digits // table.n_actions, -1),
        np.where(there, digits % table.n_actions, -1),
    )
