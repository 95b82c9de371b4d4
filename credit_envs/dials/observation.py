"""Dials on what states look like: ``aliasing``, ``paraphrases`` and ``skins``. They never touch dynamics or states."""

from __future__ import annotations

import numpy as np

from credit_envs.arrays import Floats, Ints
from credit_envs.errors import CreditEnvsError, UnreachableRequestError, check_range
from credit_envs.table.emission import Emission, Layer
from credit_envs.table.mdp import TabularMDP

MAX_CODES = 1 << 22
"""Largest number of exogenous codes of a table."""


def aliasing(table: TabularMDP, share: float, aliasing_seed: int = 0) -> TabularMDP:
    """Merges pairs of looks into one, so that a share of all looks is shared by two.

    Only looks in which the same actions are admissible are merged, so that policies on looks stay admissible. The pairs
    of a smaller share are among those of a larger one with the same seed.

    Args:
        table: the table.
        share: share in [0, 1] of the looks that play can meet, rounded down to whole pairs.
        aliasing_seed: seed of the pairing.

    Raises:
        CreditEnvsError: if ``share`` is out of range.
        UnreachableRequestError: if too few looks have the same admissible actions.
    """
    check_range("aliasing", share, 0, 1)
    check_range("aliasing_seed", aliasing_seed, 0, np.inf, integer=True)
    pairs, looks = _pairs(table, int(aliasing_seed))
    wanted = int(np.floor(share * looks / 2 + 1e-9))
    if wanted > len(pairs):
        top = 2 * len(pairs) / looks
        raise UnreachableRequestError(f"aliasing={share:g}: expected a number in [0, {top:.4g}] on {table.name}")
    if wanted == 0:
        return table
    merged = np.arange(table.emission.n_base)
    merged[pairs[:wanted, 1]] = pairs[:wanted, 0]
    look = merged[table.emission.base]
    _, first, which = np.unique(look, return_index=True, return_inverse=True)
    by_first_state = np.argsort(np.argsort(first))
    return table.replace(emission=Emission(by_first_state[which].astype(np.int32), table.emission.layers))


def aliasing_steps(table: TabularMDP) -> Floats:
    """Returns the shares that :func:`aliasing` can reach, increasing."""
    pairs, looks = _pairs(table, 0)
    return 2 * np.arange(len(pairs) + 1) / looks


def _pairs(table: TabularMDP, seed: int) -> tuple[Ints, int]:
    """Returns pairs of looks that may merge, ``[P, 2]`` in random order, and the number of looks that play can meet."""
    states = np.flatnonzero(table.played())
    base = table.emission.base
    looks, index = np.unique(base[states], return_inverse=True)
    mask = np.zeros((looks.size, table.n_actions), dtype=np.int64)
    place = np.full(table.n_states, -1)
    place[states] = index
    where = place[table.edge_state]
    np.add.at(mask, (where[where >= 0], table.edge_action[where >= 0]), 1)
    n_states = np.bincount(index, minlength=looks.size)
    even = np.flatnonzero(np.all((mask == 0) | (mask == n_states[:, None]), axis=1))
    kind = np.unique(np.packbits(mask[even] > 0, axis=1), axis=0, return_inverse=True)[1].ravel()
    rng = np.random.default_rng(seed)
    order = rng.permutation(even.size)
    order = order[np.argsort(kind[order], kind="stable")]
    row = np.arange(order.size) - np.searchsorted(kind[order], kind[order])
    partner = np.flatnonzero(row % 2 == 1)
    pairs = looks[even[np.stack((order[partner - 1], order[partner]), axis=1)]]
    return rng.permutation(pairs), looks.size


def paraphrases(table: TabularMDP, wordings: int) -> TabularMDP:
    """Shows each state in one of several wordings, drawn at every step.

    An identity rule on observations then finds a state again with probability 1/m.

    Args:
        table: the table.
        wordings: m ≥ 1; 1 leaves the table as it is.

    Raises:
        CreditEnvsError: if ``wordings`` is out of range.
    """
    check_range("paraphrases", wordings, 1, MAX_CODES, integer=True)
    m = int(wordings)
    return table if m == 1 else add_layer(table, Layer("paraphrase", False, np.full((1, m), 1 / m)))


def skins(table: TabularMDP, rate: float, skins: int = 64) -> TabularMDP:
    """Dresses a share of the episodes in one of several skins that mean nothing.

    Args:
        table: the table.
        rate: probability q in [0, 1] that an episode wears a skin; 0 leaves the table as it is.
        skins: m ≥ 0 skins, equally likely.

    Raises:
        CreditEnvsError: if an argument is out of range.
    """
    check_range("skin_rate", rate, 0, 1)
    check_range("skins", skins, 0, MAX_CODES - 1, integer=True)
    m = int(skins)
    if rate == 0 or m == 0:
        return table
    return add_layer(table, Layer("skin", True, np.concatenate(([1 - rate], np.full(m, rate / m)))[None]))


def add_layer(table: TabularMDP, layer: Layer) -> TabularMDP:
    """Adds an exogenous layer to what a table shows.

    Raises:
        CreditEnvsError: if the layers then have too many codes, or one of that name is there.
    """
    codes = table.emission.n_codes * layer.size
    if codes > MAX_CODES or codes * table.emission.n_base > np.iinfo(np.int32).max:
        raise CreditEnvsError(
            f"{layer.name}: {table.emission.n_base} looks × {codes} codes are too many observations "
            f"(at most {MAX_CODES} codes and 2**31 observations); ask for fewer values"
        )
    return table.replace(emission=table.emission.with_layer(layer))
