"""The states of a Charts instance: what may be written, chart by chart, and what is known about each."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from credit_envs.arrays import AnyArray, Bools, Ints
from credit_envs.families.charts_question import AND, HAS, SO, Question

NAME, WORD, VALUE, MARK = range(4)
"""What is written next inside a fact; the answer comes where a name would, after the last fact."""


@dataclass(frozen=True, eq=False)
class Prefixes:
    """All that can stand written before the answer; P of them, by length; n bars, k facts.

    Attributes:
        bars: int64 ``[P, k]``, the bar of each fact, −1 where none is named yet.
        values: int64 ``[P, k]``, what is written of it, 0 for nothing yet.
        notes: int64 ``[P, n]``, what is written of each bar, 0 for nothing.
        written: int64 ``[P]``, number of tokens.
        parent: int64 ``[P]``, the prefix without its last token, never decreasing; −1 for the empty one.
        token: int64 ``[P]``, the last token; −1 for the empty prefix.
    """

    bars: Ints
    values: Ints
    notes: Ints
    written: Ints
    parent: Ints
    token: Ints

    @cached_property
    def turn(self) -> Ints:
        """Position inside the fact, int64 ``[P]``: one of NAME, WORD, VALUE and MARK."""
        return self.written % 4

    @cached_property
    def fact(self) -> Ints:
        """Number of facts that are closed, int64 ``[P]``; k where the answer is due."""
        return self.written // 4

    @cached_property
    def current(self) -> Ints:
        """The bar of the fact that is being written, int64 ``[P]``; of no meaning where a name or the answer is due."""
        return np.asarray(self.bars[np.arange(self.written.size), np.minimum(self.fact, self.bars.shape[1] - 1)])

    @cached_property
    def content(self) -> Ints:
        """Number of what is written in whichever order, int64 ``[P]``: notes, the bar that is due, and the length."""
        due = np.where((self.turn == WORD) | (self.turn == VALUE), self.current + 1, 0)
        rows = np.column_stack((self.written, due, self.notes))
        return np.unique(rows, axis=0, return_inverse=True)[1].reshape(-1)

    @cached_property
    def complete(self) -> int:
        """The first prefix after which the answer is due; all later ones are such, too."""
        return int(np.searchsorted(self.written, self.written[-1]))


@dataclass(frozen=True, eq=False)
class Ends:
    """How an episode can end; D ways.

    Attributes:
        chart: int64 ``[D]``.
        stated: int64 ``[D]``, bit j is set if the j-th fact asked for was stated right.
        paid: int64 ``[D]``, 1 if the answer was paid.
    """

    chart: Ints
    stated: Ints
    paid: Ints


def count_prefixes(bars: int, values: int, facts: int) -> int:
    """Returns how many prefixes there are."""
    total, open_ = 1, 1
    for i in range(facts):
        total += 2 * open_ * (bars - i) * (1 + values)
        open_ *= (bars - i) * values
    return total


@lru_cache(maxsize=4)
def make_prefixes(n: int, h: int, k: int) -> Prefixes:
    """Enumerates the prefixes for n bars of h heights, k of them asked about."""
    word = n + k * h + 1
    bars, values = np.full((1, k), -1), np.zeros((1, k), dtype=np.int64)
    layers, first = [(bars, values, np.full(1, -1), np.full(1, -1))], 0
    for i in range(k):
        for turn in (NAME, WORD, VALUE, MARK):
            if turn == NAME:
                row, token = np.nonzero((bars[:, :, None] != np.arange(n)).all(axis=1))
            elif turn == VALUE:
                row, token = (part.ravel() for part in np.indices((len(bars), h)))
                token = n + 1 + token
            else:
                row = np.arange(len(bars))
                token = np.full(row.size, word + (HAS if turn == WORD else AND if i < k - 1 else SO))
            parent, bars, values = first + row, bars[row].copy(), values[row].copy()
            first += len(layers[-1][0])
            if turn == NAME:
                bars[:, i] = token
            elif turn == VALUE:
                values[:, i] = token - n
            layers.append((bars, values, parent, token))
    written = np.repeat(np.arange(len(layers)), [len(layer[0]) for layer in layers])
    bars, values, parent, token = (np.concatenate(part) for part in zip(*layers, strict=True))
    notes = np.zeros((written.size, n + 1), dtype=np.int64)
    for bar, value in zip(bars.T, values.T, strict=True):
        notes[np.arange(written.size), bar] += value  # the last column collects what has no bar yet
    return Prefixes(bars, values, notes[:, :-1], written, parent, token)


@dataclass(frozen=True, eq=False)
class States:
    """All states: prefix p of chart c is state ``p · C + c``, then the ends; M answers.

    Attributes:
        question: the question.
        prefixes: the prefixes.
        ends: the ends.
        alive: bool ``[P, C]``, whether what is written can still be paid.
        stated: int64 ``[P, C]``, as in :class:`Ends`.
        reading: int64 ``[P, k]``, heights of the asked bars as written, 0 where nothing is.
        outcome: int64 ``[L, C, M]``, end of each answer after the L complete prefixes, which are the last ones.
    """

    question: Question
    prefixes: Prefixes
    ends: Ends
    alive: Bools
    stated: Ints
    reading: Ints
    outcome: Ints

    @property
    def charts(self) -> int:
        """Number of charts C."""
        return len(self.question.heights)

    @property
    def playing(self) -> int:
        """Number of states before the ends."""
        return self.prefixes.written.size * self.charts


def make_states(question: Question, all_facts: bool) -> States:
    """Numbers the states; ``all_facts`` says that an answer is paid only if all facts asked for are stated right."""
    asked, heights, k = question.asked, question.heights, question.asked.size
    prefixes = make_prefixes(len(question.names), question.values, k)
    reading = prefixes.notes[:, asked]
    correct: Bools = np.asarray(reading[:, None, :] == heights[:, asked])
    stated = correct @ (1 << np.arange(k))
    alive = np.ones(stated.shape, dtype=bool)
    if all_facts:
        stray: Bools = np.any((prefixes.bars >= 0) & ~np.isin(prefixes.bars, asked), axis=1)
        alive = ~stray[:, None] & (correct | (reading == 0)[:, None, :]).all(axis=2)
    done = slice(prefixes.complete, None)
    paid = alive[done][:, :, None] & question.right(heights[:, asked])
    chart = np.arange(len(heights))[:, None]
    code = ((chart << k | stated[done][:, :, None]) << 1) | paid
    found = np.bincount(code.ravel()) > 0
    codes, outcome = np.flatnonzero(found), (np.cumsum(found) - 1)[code]
    ends = Ends(codes >> k + 1, codes >> 1 & (1 << k) - 1, codes & 1)
    return States(question, prefixes, ends, alive, stated, reading, outcome)


def edges(states: States) -> tuple[Ints, Ints, Ints]:
    """Returns state, token and successor of all edges, int64 ``[E]`` each."""
    prefixes, charts = states.prefixes, states.charts
    number = np.arange(states.playing).reshape(-1, charts)
    shape = states.outcome.shape
    last = np.broadcast_to(number[prefixes.complete :, :, None], shape)
    return (
        np.append(number[prefixes.parent[1:]], last),
        np.append(np.repeat(prefixes.token[1:], charts), np.broadcast_to(states.question.options, shape)),
        np.append(number[1:], states.playing + states.outcome),
    )


def labels(states: States, all_facts: bool) -> dict[str, Ints]:
    """Returns the labels of all states; what they mean stands in :mod:`credit_envs.families.charts`."""
    question, prefixes, ends, charts = states.question, states.prefixes, states.ends, states.charts
    k, turn, end = question.asked.size, prefixes.turn, np.zeros(states.ends.chart.size, dtype=np.int64)

    def spread(part: AnyArray, of_ends: AnyArray) -> Ints:
        shaped = np.broadcast_to(part if part.ndim == 2 else part[:, None], (len(part), charts))
        return np.append(shaped, of_ends).astype(np.int64)

    hidden = ~question.printed[question.asked]
    powers = 1 << np.arange(hidden.sum())
    return {
        "turn": spread(turn, end),
        "segment": spread(prefixes.fact, end + k + 1),
        "anchor": spread(prefixes.content[:, None] * charts + np.arange(charts), states.playing + np.arange(end.size)),
        "written": spread(prefixes.written, end + prefixes.written[-1] + 1),
        "chart": spread(np.arange(charts)[None] + 0 * states.stated, ends.chart),
        "right": spread(states.alive, ends.paid),
        "reference_action": spread(question.order[_reference(states)], end - 1),
        "reference_left": spread(4 * k + 1 - states.alive * prefixes.written[:, None], ends.paid - 1),
        "answer_share": _share(states, all_facts),
        "answer_whole": np.full(states.playing + end.size, _ways(question)),
        "blind": spread(*_blind(states)),
        "visual": spread(_visual(states, all_facts), end),
        "stated": spread(*(_bits(part, hidden) @ powers for part in (states.stated, ends.stated))),
        "facts": spread(*(_bits(part, hidden).sum(axis=-1) for part in (states.stated, ends.stated))),
        "key_facts": spread(turn * 0 + hidden.sum(), end + hidden.sum()),
    }


def lettered(states: States) -> Ints:
    """Returns where a height is to be written that stands in the picture as a number, int64 ``[S]`` of 0 and 1."""
    due = (states.prefixes.turn == VALUE) & states.question.lettered[states.prefixes.current]
    return np.append(due.repeat(states.charts), np.zeros(states.ends.chart.size)).astype(np.int64)


def _bits(stated: Ints, keep: Bools) -> Ints:
    """Takes some of the bits apart, int64 ``[..., J]``."""
    return np.asarray(stated[..., None] >> np.flatnonzero(keep) & 1)


def _blind(states: States) -> tuple[Ints, Ints]:
    """Numbers what the text shows: what is printed and written, in the end whether facts and answer were right.

    Returns:
        int64 ``[P, C]`` and int64 ``[D]``.
    """
    question, ends = states.question, states.ends
    shown = question.heights[:, question.asked][:, question.printed[question.asked]]
    known = np.unique(shown, axis=0, return_inverse=True)[1].reshape(-1) if shown.shape[1] else shown.sum(axis=1)
    size, count = states.prefixes.written.size, int(known.max()) + 1
    over = (known[ends.chart] << question.asked.size | ends.stated) << 1 | ends.paid
    return np.arange(size)[:, None] * count + known, size * count + np.unique(over, return_inverse=True)[1].reshape(-1)


def _reference(states: States) -> Ints:
    """Tokens that go on correctly from what is written, int64 ``[P, C]``."""
    question, prefixes = states.question, states.prefixes
    n, k, heights = len(question.names), question.asked.size, question.heights
    turn, fact = prefixes.turn[:, None], prefixes.fact[:, None]
    named = (prefixes.bars[:, :, None] == question.asked).any(axis=1)
    name = question.asked[np.argmin(named, axis=1)][:, None]
    value = n + heights[:, prefixes.current].T
    word = n + k * question.values + 1
    # What was not written has to be read now.
    known = np.where(states.reading[:, None, :] > 0, states.reading[:, None, :], heights[:, question.asked])
    answer = question.options[np.argmax(question.right(known), axis=2)]
    mark = word + np.where(fact < k - 1, AND, SO)
    return np.select([fact == k, turn == NAME, turn == WORD, turn == VALUE], [answer, name, word + HAS, value], mark)


def _visual(states: States, all_facts: bool) -> Bools:
    """Where no token is best under all charts that the text allows, bool ``[P, C]``."""
    question, prefixes = states.question, states.prefixes
    k, blind = question.asked.size, _blind(states)[0]
    if not all_facts:
        # Only the answer counts, and whoever sees the chart can always give the right one.
        right = question.right(question.heights[:, question.asked])
        last = blind[-1]
        common = np.stack([right[last == code].all(axis=0).any() for code in last])
        return np.asarray((prefixes.fact == k)[:, None] & ~common)
    # The value of a bar matters where something that can be paid is written, and is known where it is printed.
    live = np.zeros(int(blind.max()) + 1, dtype=bool)
    live[blind[states.alive]] = True
    varies = np.array([np.unique(question.heights[:, bar]).size > 1 for bar in range(len(question.names))])
    due = (prefixes.turn == VALUE) & (varies & ~question.printed)[prefixes.current]
    return np.asarray(due[:, None] & live[blind])


def _ways(question: Question) -> int:
    """Returns the number of all ways to write a solution."""
    n, k = len(question.names), question.asked.size
    return int(math.perm(n, k) * question.values**k * question.options.size)


def _share(states: States, all_facts: bool) -> Ints:
    """Share of the ways to go on that are paid, int64 ``[S]``, in units of one over the number of all ways."""
    question, prefixes = states.question, states.prefixes
    n, k, h = len(question.names), question.asked.size, question.values
    n_right = question.right(question.heights[:, question.asked]).sum(axis=1)
    fact, turn = prefixes.fact, prefixes.turn
    every = _ways(question)
    # Ways to go on: the names and values that are still to be chosen, then the answer.
    named, valued = fact + (turn > NAME), fact + (turn > VALUE)
    names = np.array([math.perm(n - i, k - i) for i in range(k + 1)])[named]
    onward = names * h ** (k - valued) * question.options.size
    orders = np.array([math.factorial(k - i) for i in range(k + 1)])[named]
    good = orders if all_facts else names * h ** (k - valued)
    share = states.alive * good[:, None] * n_right * (every // onward)[:, None]
    return np.append(share, states.ends.paid * every)
