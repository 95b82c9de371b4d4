"""The states of Lookup: which articles have been read, and which results are shown; their labels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from credit_envs.arrays import Bools, Ints
from credit_envs.families.lookup_world import World

# Uniform shares of up to 6 entities over up to 4 hops are whole numbers of this unit.
SHARES = 60**4
NOTES, RESULTS, MISSED, OVER = range(4)


@dataclass(frozen=True, eq=False)
class Notes:
    """Every set of articles that can have been read; N sets, h·m articles.

    Attributes:
        code: int64 ``[N]``, the set as bits, increasing.
        read: bool ``[N, h·m]``.
        known: bool ``[N, (h + 1)·m]``, names read.
        count: int64 ``[N]``, articles read.
        open: bool ``[N, h·m]``, articles that can be searched for.
    """

    code: Ints
    read: Bools
    known: Bools
    count: Ints
    open: Bools

    def find(self, code: Ints) -> Ints:
        """Returns the numbers of sets."""
        return np.searchsorted(self.code, code)


def _listed(world: World) -> Bools:
    """Returns which articles a search lists, bool ``[h·m, h·m]``."""
    h, m = world.hops, world.size
    listed = np.eye(h * m, dtype=bool)
    layer = np.arange(h)[:, None, None] * m
    of = np.broadcast_to(layer + np.arange(m)[:, None], world.similar.shape)
    listed[of, layer + world.similar] = True
    return listed


def find_notes(world: World, most: int) -> Notes:
    """Finds all sets of at most ``most`` articles that can be read, one size after the other."""
    h, m = world.hops, world.size
    article, after = np.arange(h * m), np.repeat(np.arange(1, h + 1) * m, m)
    names = np.zeros((h * m, (h + 1) * m), dtype=bool)
    for told in (article, after + world.fact.ravel(), after + world.decoy.ravel()):
        names[article, told] = True
    listed, bit = _listed(world), np.int64(1) << article

    def facts(code: Ints) -> tuple[Bools, Bools, Bools]:
        read = code[:, None] & bit != 0
        known = read @ names
        known[:, world.start] = True
        return read, known, known[:, : h * m] & ~read

    levels = [np.zeros(1, dtype=np.int64)]
    for _ in range(most):
        read, _, unread = facts(levels[-1])
        of, chosen = np.nonzero((unread @ listed) & ~read)
        levels.append(np.unique(levels[-1][of] | bit[chosen]))
    code = np.sort(np.concatenate(levels))
    read, known, unread = facts(code)
    count = read.sum(axis=1)
    return Notes(code, read, known, count, unread & (count < most)[:, None])


@dataclass(frozen=True, eq=False)
class States:
    """States before the end: the notes alone, then a result page per open search, with the article and without it.

    Attributes:
        first: int64 ``[N]``, state with each set's notes alone.
        page: int64 ``[N, h·m]``, state with the results of a search; the one that missed follows if there is any.
        notes: int64 ``[S]``, set of each state.
        about: int64 ``[S]``, article searched for, −1 for none.
        missed: bool ``[S]``.
        listed: bool ``[S, h·m]``, articles on the page.
    """

    first: Ints
    page: Ints
    notes: Ints
    about: Ints
    missed: Bools
    listed: Bools


def number_states(world: World, notes: Notes, variants: int) -> States:
    """Numbers the states before the end; result pages come in one variant, or in two where searches may miss."""
    size = 1 + variants * notes.open.sum(axis=1)
    first = np.cumsum(size) - size
    page = first[:, None] + 1 + variants * (np.cumsum(notes.open, axis=1) - 1)
    of, article = np.nonzero(notes.open)
    about, missed = np.full(size.sum(), -1), np.zeros(size.sum(), dtype=bool)
    for variant in range(variants):
        about[page[of, article] + variant] = article
        missed[page[of, article] + variant] = variant == 1
    listed = _listed(world)[about] & (about >= 0)[:, None]
    listed[missed, about[missed]] = False
    return States(first, page, np.repeat(np.arange(size.size), size), about, missed, listed)


def labels(world: World, notes: Notes, at: States, most: int, gives_up: bool) -> dict[str, Ints]:
    """Returns the labels of all states; the end states (right, wrong, and unknown where one can give up) come last."""
    h, m, chain = world.hops, world.size, np.array(world.chain)
    resolved = np.cumprod(notes.read[:, chain[:-1]], axis=1).sum(axis=1)[at.notes]
    count, known = notes.count[at.notes], notes.known[at.notes]
    page = np.select([at.about < 0, at.missed], [NOTES, MISSED], RESULTS)
    needs = chain[np.minimum(resolved, h - 1)]
    gold_listed = at.listed[np.arange(page.size), needs] & (resolved < h)
    plan = np.where(gold_listed, h * m + needs, needs)
    plan = world.order[np.where(resolved == h, h * m + chain[-1], plan)]
    about = at.about
    before = {
        "turn": 0 * page,
        "segment": resolved,
        "anchor": np.unique(((resolved * 16 + count) * 4 + page) * 64 + about + 1, return_inverse=True)[1],
        "reads": count,
        "page": page,
        "about": about,
        "gold_listed": gold_listed,
        "answer_seen": known[:, chain[-1]],
        "answer_share": _shares(world, notes)[at.notes],
        "answer_whole": SHARES + 0 * page,
        "reference_left": 2 * (h - resolved) + 1 - gold_listed,
        "reference_action": np.where((resolved < h) & (count == most), -1, plan),
    }
    n_ends = 2 + gives_up
    ends = np.arange(n_ends)
    after = {"segment": h, "page": OVER, "answer_share": (ends == 0) * SHARES, "answer_seen": ends == 0, "turn": 0}
    after |= {"answer_whole": SHARES, "reference_left": -1 * (ends > 0)}
    after |= {"gold_listed": 0, "anchor": int(before["anchor"].max()) + 1 + ends}
    return {name: np.append(part, 0 * ends + after.get(name, -1)) for name, part in before.items()}


def _shares(world: World, notes: Notes) -> Ints:
    """Returns the reader's probability of the right answer in units of 1 / SHARES, int64 ``[N]``."""
    h, m = world.hops, world.size
    n = notes.code.size
    share = np.zeros((n, m), dtype=np.int64)
    share[:, world.start] = SHARES
    for i in range(h):
        read = notes.read[:, i * m : (i + 1) * m]
        claimed, sure = np.zeros((n, m), dtype=bool), np.zeros((n, m), dtype=np.int64)
        claimed[:, world.fact[i]], sure[:, world.fact[i]] = read, np.where(read, share, 0)
        loose = np.where(read, 0, share).sum(axis=1)
        share = sure + ~claimed * (loose // np.maximum((~claimed).sum(axis=1), 1))[:, None]
    return share[:, world.chain[-1] - h * m]
