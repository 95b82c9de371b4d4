"""The pages of a shop: how states and actions are numbered, and what a page says."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from credit_envs.arrays import AnyArray, Ints
from credit_envs.families.shop_catalogue import KINDS, Catalogue

SEARCH, RESULTS, PRODUCT, DESCRIPTION, FEATURES, BOUGHT = range(6)
BUTTONS = ("next", "prev", "back to search", "description", "features", "buy now")


@dataclass(frozen=True)
class Actions:
    """Numbers of the actions before they are shuffled.

    Attributes:
        queries: number of queries; they come first.
        products: number of products.
        options: kinds of options.
        values: values of each kind on offer.
    """

    queries: int
    products: int
    options: int
    values: int

    search = 0

    @property
    def product(self) -> int:
        """First action that opens a product."""
        return self.queries

    def value(self, kind: int, value: AnyArray) -> AnyArray:
        """Returns the actions that choose values of one kind of options."""
        return self.queries + self.products + kind * (self.values + 1) + value

    def button(self, name: str) -> int:
        """Returns the action of one of :data:`BUTTONS`."""
        return self.queries + self.products + self.options * (self.values + 1) + BUTTONS.index(name)

    @property
    def count(self) -> int:
        """Number of actions A."""
        return self.queries + self.products + self.options * (self.values + 1) + len(BUTTONS)


class Place(NamedTuple):
    """Where states are; all ``[n]`` but digits ``[n, K]``. A digit is 0 for nothing chosen, else 1 + rank of the value."""

    page: Ints
    query: Ints
    result_page: Ints
    rank: Ints
    option: Ints
    digits: Ints


@dataclass(frozen=True)
class Pages:
    """Numbers of the states.

    Attributes:
        queries: Q.
        listed: products that a query lists, L.
        page_size: products on a result page.
        options: kinds of options K.
        values: values of each kind on offer.
    """

    queries: int
    listed: int
    page_size: int
    options: int
    values: int

    @property
    def results(self) -> int:
        """Result pages of a query."""
        return math.ceil(self.listed / self.page_size)

    @property
    def base(self) -> int:
        """Digits of one kind of options."""
        return self.values + 1

    @property
    def combinations(self) -> int:
        """Choices of options O, unfinished ones included."""
        return self.base**self.options

    @property
    def first_product(self) -> int:
        """First state of a product page."""
        return 1 + self.queries * self.results

    @property
    def first_end(self) -> int:
        """First state after buying."""
        return self.first_product + 3 * self.queries * self.listed * self.combinations

    def result(self, query: AnyArray, page: AnyArray) -> Ints:
        """Returns the states of result pages."""
        return np.asarray(1 + query * self.results + page)

    def product(self, query: AnyArray, rank: AnyArray, option: AnyArray) -> Ints:
        """Returns the states of product pages; description and features follow."""
        return np.asarray(self.first_product + 3 * ((query * self.listed + rank) * self.combinations + option))

    def option_digits(self) -> Ints:
        """Returns the digits of every choice of options, int64 ``[O, K]``."""
        return np.arange(self.combinations)[:, None] // self.base ** np.arange(self.options) % self.base

    @staticmethod
    def value(digit: AnyArray | int, lacks: AnyArray) -> AnyArray:
        """Returns the values that digits 1 … v stand for where one value is not on offer."""
        return digit - 1 + (np.asarray(digit) - 1 >= lacks)

    def identity(self, place: Place) -> Ints:
        """Returns the page of product states, whatever the options: the number it has with nothing chosen."""
        return self.product(place.query, place.rank, 0 * place.option) + place.page - PRODUCT

    def decode(self, state: AnyArray) -> Place:
        """Returns where states before the end are."""
        state = np.asarray(state, dtype=np.int64)
        is_product, is_result = state >= self.first_product, (state > 0) & (state < self.first_product)
        inside, sub = np.divmod(np.where(is_product, state - self.first_product, 0), 3)
        entry, option = np.divmod(inside, self.combinations)
        query, rank = np.divmod(entry, self.listed)
        at_query, result_page = np.divmod(np.where(is_result, state - 1, 0), self.results)
        return Place(
            page=np.select([is_product, is_result], [PRODUCT + sub, RESULTS], SEARCH),
            query=np.where(is_product, query, at_query),
            result_page=np.where(is_product, rank // self.page_size, result_page),
            rank=rank,
            option=option,
            digits=self.option_digits()[option],
        )


def commands(c: Catalogue, actions: Actions) -> list[str]:
    """Returns the name of every action, by number."""
    names = [f"search {c.query(q)}" for q in range(actions.queries)]
    names += [f"click {code}" for code in c.codes[: actions.products]]
    names += [f"click {word}" for words in c.option_words for word in words]
    names += [f"click {word}" for word in BUTTONS]
    return [names[a] for a in np.argsort(c.order)]


def page(c: Catalogue, pages: Pages, actions: Actions, ends: Ints, state: int) -> str:
    """Returns what a state's page says."""
    if state >= pages.first_end:
        met = int(ends[state - pages.first_end])
        return f"Thank you for shopping with us. Your score: {met} of {c.requirements}."
    place = Place(*(part[0] for part in pages.decode(np.array([state]))))
    if place.page == SEARCH:
        return "\n".join([_instruction(c), "Search page", *_buttons(c, actions, range(actions.queries))])
    heading = f'Results for "{c.query(place.query)}", page {place.result_page + 1} of {pages.results}'
    if place.page == RESULTS:
        return "\n".join([_instruction(c), heading, *_results(c, actions, place, pages.results)])
    product = int(c.ranking[place.query, place.rank])
    lines = [_instruction(c), f"{heading}, product {c.codes[product]}", f"{_title(c, product)}, ${c.price[product]}"]
    if place.page != PRODUCT:
        told = 1 if place.page == FEATURES else 2
        words = [c.adjectives[a] for a in np.flatnonzero(c.has[product] & (c.place[product] == told))]
        chosen = [_chosen(c, pages, place, product, k) for k in range(c.options)]
        lines += [f"Chosen: {', '.join(word or 'nothing' for word in chosen)}"] if chosen else []
        lines.append(_told(told, c.nouns[c.kind[product]], words))
        return "\n".join(lines + _buttons(c, actions, [actions.button("prev"), actions.button("back to search")]))
    buttons = [actions.button(name) for name in BUTTONS[1:]]
    return "\n".join(lines + _options(c, pages, actions, place, product) + _buttons(c, actions, buttons))


def _instruction(c: Catalogue) -> str:
    wants = [f"{kind} {words[0]}" for kind, words in zip(KINDS, c.option_words, strict=False)]
    words = " ".join(c.adjectives[: c.wanted])
    return f"Instruction: buy a {words} {c.nouns[0]}, {', '.join([*wants, f'at most ${c.limit}'])}."


def _title(c: Catalogue, product: int) -> str:
    shown = np.flatnonzero(c.has[product] & (c.place[product] == 0))
    return " ".join([*(c.adjectives[a] for a in shown), c.nouns[c.kind[product]]]).capitalize()


def _told(told: int, noun: str, words: list[str]) -> str:
    if told == 1:
        return f"Features: {', '.join(words) or 'none listed'}"
    return f"Description: a {' and '.join([*words, 'carefully made'])} {noun}."


def _results(c: Catalogue, actions: Actions, place: Place, results: int) -> list[str]:
    first = place.result_page * c.page_size
    listed = c.ranking[place.query, first : first + c.page_size].tolist()
    lines = {
        int(c.order[actions.product + p]): f"click {c.codes[p]}: {_title(c, p)}, ${c.price[p]}" for p in listed
    }
    ranked = [f"[{action}] {line}" for action, line in lines.items()]
    names = ["next"] * (place.result_page + 1 < results) + ["prev"] * (place.result_page > 0) + ["back to search"]
    return ranked + _buttons(c, actions, [actions.button(name) for name in names])


def _chosen(c: Catalogue, pages: Pages, place: Place, product: int, kind: int) -> str:
    digit = int(place.digits[kind])
    return c.option_words[kind][int(pages.value(digit, c.lacks[product, kind]))] if digit else ""


def _options(c: Catalogue, pages: Pages, actions: Actions, place: Place, product: int) -> list[str]:
    lines = []
    for k, kind in zip(range(c.options), KINDS, strict=False):
        values = [int(pages.value(d, c.lacks[product, k])) for d in range(1, pages.values + 1)]
        numbered = sorted((int(c.order[actions.value(k, np.array(v))]), c.option_words[k][v]) for v in values)
        chosen = _chosen(c, pages, place, product, k)
        lines.append(f"{kind.capitalize()}: {chosen or 'not chosen'}")
        lines += [f"[{action}] click {word}" for action, word in numbered]
    return lines


def _buttons(c: Catalogue, actions: Actions, which: range | list[int]) -> list[str]:
    names = commands(c, actions)
    return [f"[{a}] {names[a]}" for a in sorted(c.order[list(which)].tolist())]
