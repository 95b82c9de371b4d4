"""The pages of a shop: how states and actions are numbered, and what a page says."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
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
        return int(self.base**self.options)

    @property
    def first_product(self) -> int:
        """First state of a product page."""
        return 1 + self.queries * self.results

    @property
    def first_end(self) -> int:
        """First state after buying."""
        return self.first_product + 3 * self.queries * self.listed * self.combinations

    def result(self, query: AnyArray, page: AnyArray | int) -> Ints:
        """Returns the states of result pages."""
        return np.asarray(1 + query * self.results + page)

    def product(self, query: AnyArray, rank: AnyArray, option: AnyArray | int) -> Ints:
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
        return self.product(place.query, place.rank, 0) + place.page - PRODUCT

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


@dataclass(frozen=True, eq=False)
class Printer:
    """Prints pages.

    Attributes:
        catalogue: the instance.
        pages: numbers of the states.
        actions: numbers of the actions.
        ends: int64, requirements met in each state after buying.
    """

    catalogue: Catalogue
    pages: Pages
    actions: Actions
    ends: Ints

    @cached_property
    def commands(self) -> list[str]:
        """The name of every action, by number."""
        c = self.catalogue
        names = [f"search {c.query(q)}" for q in range(self.actions.queries)]
        names += [f"click {code}" for code in c.codes[: self.actions.products]]
        names += [f"click {word}" for words in c.option_words for word in words]
        names += [f"click {word}" for word in BUTTONS]
        return [names[a] for a in np.argsort(c.order)]

    @cached_property
    def instruction(self) -> str:
        """What is to be bought."""
        c = self.catalogue
        wants = [f"{kind} {words[0]}" for kind, words in zip(KINDS, c.option_words, strict=False)]
        words = " ".join(c.adjectives[: c.wanted])
        return f"Instruction: buy one {words} {c.nouns[0]}, {', '.join([*wants, f'at most ${c.limit}'])}."

    def rows(self, states: AnyArray) -> list[str]:
        """Returns the pages of states."""
        states = np.asarray(states, dtype=np.int64)
        places = self.pages.decode(np.minimum(states, self.pages.first_end - 1))
        met = self.ends[np.maximum(states - self.pages.first_end, 0)]
        over = states >= self.pages.first_end
        return [
            self._receipt(int(met[i])) if over[i] else self._page(Place(*(part[i] for part in places)))
            for i in range(len(states))
        ]

    def _receipt(self, met: int) -> str:
        return f"Thank you for shopping with us. Your score: {met} of {self.catalogue.requirements}."

    def _page(self, place: Place) -> str:
        c, searches = self.catalogue, list(range(self.actions.queries))
        if place.page == SEARCH:
            return "\n".join([self.instruction, "Search page", *self._buttons(searches)])
        heading = f'Results for "{c.query(int(place.query))}", page {place.result_page + 1} of {self.pages.results}'
        if place.page == RESULTS:
            return "\n".join([self.instruction, heading, *self._results(place)])
        product = int(c.ranking[place.query, place.rank])
        lines = [self.instruction, heading, f"Product {c.codes[product]}: {self._title(product)}, ${c.price[product]}"]
        if place.page == PRODUCT:
            return "\n".join(lines + self._options(place, product) + self._named(*BUTTONS[1:]))
        chosen = [self._chosen(place, product, k) or "nothing" for k in range(c.options)]
        lines += [f"Chosen: {', '.join(chosen)}"] if chosen else []
        return "\n".join([*lines, self._told(product, int(place.page)), *self._named("prev", "back to search")])

    def _title(self, product: int) -> str:
        return " ".join([*self._adjectives(product, 0), self.catalogue.nouns[self.catalogue.kind[product]]])

    def _adjectives(self, product: int, told: int) -> list[str]:
        c = self.catalogue
        return [c.adjectives[a] for a in np.flatnonzero(c.has[product] & (c.place[product] == told))]

    def _told(self, product: int, page: int) -> str:
        if page == FEATURES:
            return f"Features: {', '.join(self._adjectives(product, 1)) or 'none listed'}"
        words = " and ".join([*self._adjectives(product, 2), "carefully made"])
        return f"Description: this {self.catalogue.nouns[self.catalogue.kind[product]]} is {words}."

    def _results(self, place: Place) -> list[str]:
        c, first = self.catalogue, int(place.result_page) * self.pages.page_size
        listed = c.ranking[place.query, first : first + self.pages.page_size].tolist()
        lines = [
            f"[{c.order[self.actions.product + p]}] click {c.codes[p]}: {self._title(p)}, ${c.price[p]}" for p in listed
        ]
        more = [
            name for name, there in (("next", place.result_page + 1 < self.pages.results), ("prev", first)) if there
        ]
        return lines + self._named(*more, "back to search")

    def _chosen(self, place: Place, product: int, kind: int) -> str:
        c, digit = self.catalogue, int(place.digits[kind])
        return c.option_words[kind][int(self.pages.value(digit, c.lacks[product, kind]))] if digit else ""

    def _options(self, place: Place, product: int) -> list[str]:
        c, lines = self.catalogue, []
        for k, kind in zip(range(c.options), KINDS, strict=False):
            values = self.pages.value(np.arange(1, c.values + 1), c.lacks[product, k])
            lines.append(f"{kind.capitalize()}: {self._chosen(place, product, k) or 'not chosen'}")
            lines += self._buttons(self.actions.value(k, values).tolist())
        return lines

    def _named(self, *names: str) -> list[str]:
        return self._buttons([self.actions.button(name) for name in names])

    def _buttons(self, which: list[int]) -> list[str]:
        return [f"[{a}] {self.commands[a]}" for a in sorted(self.catalogue.order[which].tolist())]
