"""The question of a Charts instance: whose bars it asks about, how likely each chart is, and what the text gives away."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from credit_envs.arrays import AnyArray, Bools, Floats, Ints
from credit_envs.families.family import below, instance_draws

KINDS = ("sum", "difference", "highest")

THEMES = (
    ("Books read", ("Ann", "Bob", "Cleo", "Dan", "Eve", "Finn", "Gia", "Hugo")),
    ("Parks", ("Bern", "Cairo", "Kyiv", "Lima", "Oslo", "Paris", "Quito", "Rome")),
    ("Medals", ("Chad", "Cuba", "Fiji", "Iran", "Kenya", "Laos", "Mali", "Peru")),
    ("Nests", ("Ash", "Birch", "Cedar", "Elm", "Fir", "Maple", "Oak", "Pine")),
    ("Ships", ("Brest", "Cadiz", "Dover", "Genoa", "Hull", "Kiel", "Malmo", "Riga")),
    ("Pets", ("Ida", "Jon", "Kim", "Leo", "Mia", "Ned", "Olga", "Pam")),
)
"""Titles of charts with the names that their bars may have."""

WORDS = ("has", "and", "so")
"""Function words: after a name, between facts, before the answer."""

HAS, AND, SO = range(3)
_NAMES, _COLOURS = 8, 6


@dataclass(frozen=True, eq=False)
class Question:
    """One instance; n bars of heights 1 … h, k of them asked about, C possible charts.

    Tokens are numbered: names from the left bar to the right one, numbers from 0 to k·h, then :data:`WORDS`.

    Attributes:
        seed: its instance seed.
        kind: one of :data:`KINDS`.
        title: what the chart shows.
        names: n words.
        values: h.
        asked: int64 ``[k]``, bars in the order of the question.
        last: int64 ``[n]``, last year's heights, the likeliest ones.
        printed: bool ``[n]``, whose heights the text gives.
        lettered: bool ``[n]``, whose heights the picture gives as numbers, in the place of bars.
        heights: int64 ``[C, n]``; bars that nobody asks about have the same height in all charts.
        probability: float64 ``[C]``.
        colours: int64 ``[n]``, numbers 0 … 5.
        order: int64 ``[A]``, action of each token.
    """

    seed: int
    kind: str
    title: str
    names: tuple[str, ...]
    values: int
    asked: Ints
    last: Ints
    printed: Bools
    lettered: Bools
    heights: Ints
    probability: Floats
    colours: Ints
    order: Ints

    @property
    def tokens(self) -> tuple[str, ...]:
        """All tokens in words."""
        return (*self.names, *map(str, range(self.asked.size * self.values + 1)), *WORDS)

    @property
    def options(self) -> Ints:
        """Tokens that may be given as the answer, int64 ``[M]``."""
        n, k = len(self.names), self.asked.size
        numbers = {"sum": np.arange(k, k * self.values + 1), "difference": np.arange(self.values)}
        return np.asarray(self.asked if self.kind == "highest" else n + numbers[self.kind])

    def right(self, values: AnyArray) -> Bools:
        """Returns which options are right for heights of the asked bars int ``[..., k]``: bool ``[..., M]``."""
        if self.kind == "highest":
            return np.asarray(values == values.max(axis=-1, keepdims=True))
        total = values.sum(axis=-1) if self.kind == "sum" else values.max(axis=-1) - values.min(axis=-1)
        return np.asarray(total[..., None] == self.options - len(self.names))

    def sentence(self) -> str:
        """The question in words."""
        *before, final = (self.names[bar] for bar in self.asked.tolist())
        them = f"{', '.join(before)} and {final}"
        if self.kind == "sum":
            return f"How many do {them} have in all?"
        if self.kind == "highest":
            return f"Which of {them} has the most?"
        return f"By how many do {them if self.asked.size == 2 else f'the most and the fewest of {them}'} differ?"


def make_question(
    instance_seed: int,
    bars: int,
    values: int,
    facts: int,
    question: str,
    prior: float,
    printed: float,
    printed_in: str = "text",
) -> Question:
    """Draws one instance; ``question`` is a kind or ``"any"``, ``printed_in`` is ``"text"`` or ``"picture"``."""
    n_tokens = bars + facts * values + 1 + len(WORDS)
    sizes = (4, _NAMES, bars, bars, bars, bars, bars, _COLOURS, n_tokens)
    draws = instance_draws("Charts", instance_seed, sum(sizes))
    single, words, order, last, luck, other, given, colours, tokens = np.split(draws, np.cumsum(sizes)[:-1])
    title, names = THEMES[below(single[0], len(THEMES))]
    asked = np.argsort(order, kind="stable")[:facts]

    chance = max(prior, 1 / values)
    usual = 1 + below(last, values)
    elsewhere = 1 + (usual + below(other, values - 1)) % values  # uniform among the other heights
    rest = np.where(luck < chance * 2.0**53, usual, elsewhere)
    read = 1 + np.indices((values,) * facts).reshape(facts, -1).T
    probability = np.where(read == usual[asked], chance, (1 - chance) / (values - 1)).prod(axis=1)
    possible = probability > 0
    heights = np.tile(rest, (int(possible.sum()), 1))
    heights[:, asked] = read[possible]

    shown = np.zeros(bars, dtype=bool)
    others = np.setdiff1d(np.arange(bars), asked)
    for group, draw in ((asked, single[2]), (others, single[3])):
        count = int(printed * group.size + float(draw) / 2.0**53)
        shown[group[np.argsort(given[group], kind="stable")[:count]]] = True
    return Question(
        seed=instance_seed,
        kind=KINDS[below(single[1], len(KINDS))] if question == "any" else question,
        title=title,
        names=tuple(names[i] for i in np.argsort(words, kind="stable")[:bars].tolist()),
        values=values,
        asked=asked,
        last=usual,
        printed=shown & (printed_in == "text"),
        lettered=shown & (printed_in == "picture"),
        heights=heights,
        probability=probability[possible],
        colours=np.argsort(colours, kind="stable")[:bars],
        order=np.argsort(tokens, kind="stable"),
    )
