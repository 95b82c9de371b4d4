"""Key visual facts of a chart, and a judge of tunable accuracy who says which of them a solution states."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from credit_envs.arrays import AnyArray, Bools, Floats, Ints
from credit_envs.errors import CreditEnvsError, TableError, check_range
from credit_envs.table.draws import draws, mix_word, mix_words
from credit_envs.table.mdp import TabularMDP

_JUDGE = int.from_bytes(b"judge", "big")


@dataclass(frozen=True, eq=False)
class Verdicts:
    """What the judge says about N solutions; F is the largest number of key facts of an instance.

    Attributes:
        present: bool ``[N, F]``, whether the fact is stated, as the judge says; False where there is no such fact.
        truth: bool ``[N, F]``, whether it is.
        exists: bool ``[N, F]``, whether the solution's instance has so many key facts.
    """

    present: Bools
    truth: Bools
    exists: Bools

    @property
    def share(self) -> Floats:
        """Share of the key facts that the judge finds, float64 ``[N]``; 0 where there are none (Perception-R1's r_v)."""
        return np.asarray(self.present.sum(axis=1) / np.maximum(self.exists.sum(axis=1), 1))


def key_facts(table: TabularMDP, state: int) -> tuple[str, ...]:
    """Returns the key visual facts of the chart of a state in words: what is asked for and only the picture shows.

    Raises:
        TableError: if the table is no Charts table.
        CreditEnvsError: if there is no such state.
    """
    if "facts" not in table.views:
        raise TableError(f"table={table.name!r}: expected a Charts table, with the view facts")
    check_range("state", state, 0, table.n_states - 1, integer=True)
    return tuple(str(table.view("facts").rows(np.array([state]))[0]).splitlines())


def judge(
    table: TabularMDP, state: AnyArray, accuracy: float = 1.0, seed: int = 0, number: AnyArray | None = None
) -> Verdicts:
    """Judges which key visual facts are stated right in what is written, each verdict flipped with probability 1 − accuracy.

    The same arguments give the same verdicts on every machine; verdicts of one solution on different facts, and of
    different solutions, err independently.

    Args:
        table: a Charts table, or what dials and pools make of it.
        state: int64 ``[N]``, states in which solutions stand, or ended.
        accuracy: probability that a verdict is right, in [0, 1]; at 1/2 they tell nothing.
        seed: seed of the errors, an integer ≥ 0.
        number: int64 ``[N]`` ≥ 0, which solution each is; equal numbers err alike. By default the position.

    Raises:
        TableError: if the table has no labels ``stated`` and ``key_facts``.
        CreditEnvsError: for an argument out of its range.
    """
    for name in ("stated", "key_facts"):
        if name not in table.labels:
            raise TableError(f"table={table.name!r}: expected a Charts table, with the label {name}")
    check_range("accuracy", accuracy, 0, 1)
    check_range("seed", seed, 0, 2**53, integer=True)
    state = _whole("state", state, table.n_states - 1)
    number = np.arange(state.size) if number is None else _whole("number", number, 2**53)
    if number.shape != state.shape:
        raise CreditEnvsError(f"number: expected {state.size} integers, one for each state, got {number.size}")
    fact = np.arange(int(table.labels["key_facts"].max()))
    exists = fact < table.labels["key_facts"][state][:, None]
    truth = (table.labels["stated"][state][:, None] >> fact & 1) > 0
    keys = mix_words(mix_word(_JUDGE, seed), number)
    wrong = draws(keys[:, None], fact) < (1 - accuracy) * 2.0**53
    return Verdicts((truth ^ wrong) & exists, truth, exists)


def _whole(name: str, values: AnyArray, high: int) -> Ints:
    """Returns a vector of integers in [0, high] as int64."""
    given = np.asarray(values)
    is_whole = given.ndim == 1 and (given.dtype.kind in "iu" or not given.size)
    if not is_whole or (given.size and (given.min() < 0 or given.max() > high)):
        raise CreditEnvsError(f"{name}: expected a vector of integers in [0, {high}], got {given!r}")
    return given.astype(np.int64)
