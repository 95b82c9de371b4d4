"""The catalogue of a Shop instance: products, the instruction, the queries and how the search ranks products."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from credit_envs.arrays import AnyArray, Bools, Ints
from credit_envs.families.family import below, instance_draws

MOST_QUERIES = 5
_TYPES = 3

_WORDS = {
    "nouns": "jacket backpack lamp kettle blanket notebook umbrella mug tripod curtain wallet hammock stool tent scarf",
    "adjectives": "waterproof lightweight washable slim padded foldable organic handmade vintage insulated quilted glossy "
    "matte sturdy portable recycled breathable ergonomic compact reversible stackable scented magnetic woven",
    "colour": "navy crimson olive ivory teal mustard charcoal lilac",
    "size": "tiny small medium large wide tall extra-large petite",
    "pattern": "plain striped dotted checked floral paisley camouflage zigzag",
}
KINDS = ("colour", "size", "pattern")
_LETTERS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


@dataclass(frozen=True)
class Size:
    """How much there is in a shop: the knobs of :mod:`credit_envs.families.shop` that decide the catalogue."""

    products: int
    page_size: int
    pages: int
    queries: int
    attributes: int
    options: int
    values: int
    near_misses: float


@dataclass(frozen=True, eq=False)
class Catalogue:
    """One instance; P products, W wanted attributes, K kinds of options, v values per kind on offer, L ranks.

    The wanted type, attributes and option values have the lowest numbers; what words they have is drawn.

    Attributes:
        values: v.
        page_size: products on a result page.
        kind: int64 ``[P]``, type of each product; 0 is wanted.
        has: bool ``[P, 2(W + 1)]``, attributes of each product; 0 … W − 1 are wanted.
        place: int64 ``[P, 2(W + 1)]``, where an attribute is told: 0 title, 1 features, 2 description.
        lacks: int64 ``[P, K]``, the value in 0 … v that a product does not come in; 0 is wanted.
        price: int64 ``[P]``, dollars.
        limit: dollars that may be spent.
        target: the product that the instruction was made from.
        query_types: bool ``[Q, 3]``, types named by each query.
        query_attributes: bool ``[Q, 2(W + 1)]``, attributes named by each query.
        ranking: int64 ``[Q, L]``, products that each query lists, best first.
        order: int64 ``[A]``, number of each action, in the order of :class:`~credit_envs.families.shop.Actions`.
        words: draws for names, int64 ``[4 + K, 64]``.
    """

    values: int
    page_size: int
    kind: Ints
    has: Bools
    place: Ints
    lacks: Ints
    price: Ints
    limit: int
    target: int
    query_types: Bools
    query_attributes: Bools
    ranking: Ints
    order: Ints
    words: Ints

    @property
    def wanted(self) -> int:
        """Number of wanted attributes W."""
        return int(self.has.shape[1]) // 2 - 1

    @property
    def options(self) -> int:
        """Number of kinds of options K."""
        return int(self.lacks.shape[1])

    @property
    def requirements(self) -> int:
        """Number of things that the instruction asks of a product of the right type: W + K + 1."""
        return self.wanted + self.options + 1

    @cached_property
    def nouns(self) -> list[str]:
        """Words of the types."""
        return _pick("nouns", self.words[0], _TYPES)

    @cached_property
    def adjectives(self) -> list[str]:
        """Words of the attributes."""
        return _pick("adjectives", self.words[1], self.has.shape[1])

    @cached_property
    def option_words(self) -> list[list[str]]:
        """Words of the values 0 … v of each kind of options."""
        return [_pick(KINDS[k], self.words[4 + k], self.values + 1) for k in range(self.options)]

    @cached_property
    def codes(self) -> list[str]:
        """Article numbers of the products; all differ, since the last six bits are the product's rank in a shuffle."""
        numbers = below(self.words[2], 1 << 10) * 64 + np.argsort(self.words[3], kind="stable")
        return ["B" + "".join(_LETTERS[n >> shift & 31] for shift in (15, 10, 5, 0)) for n in numbers.tolist()]

    def query(self, q: int) -> str:
        """Returns the words of a query."""
        adjectives = [self.adjectives[a] for a in np.flatnonzero(self.query_attributes[q])]
        return " ".join(adjectives + [self.nouns[n] for n in np.flatnonzero(self.query_types[q])])


def make_catalogue(instance_seed: int, size: Size, n_actions: int) -> Catalogue:
    """Draws one instance; ``n_actions`` are shuffled."""
    p, w, options, values = size.products, size.attributes, size.options, size.values
    n_attributes, listed = 2 * (w + 1), min(p, size.pages * size.page_size)
    parts = _cut(
        instance_draws("Shop", instance_seed, 2048),
        [(3,), *5 * [(p,)], *2 * [(p, n_attributes)], (p, options), (n_actions,), (4 + options, 64)],
    )
    single, shuffle, kinds, cheap, dear, shelf, order, places, lack, actions, words = parts

    # Slot 0 is the target, then come the near misses, each failing one requirement in turn; the rest is whatever.
    n_near = int(size.near_misses * (listed - 1))
    slot = np.arange(p)
    near = (slot > 0) & (slot <= n_near)
    fails = np.where(near, (slot + below(single[0], 64)) % (w + options + 1), -1)
    alike = near | (slot == 0)
    kind = np.where(alike, 0, below(kinds, _TYPES))

    # Attributes with the lowest keys are chosen; the order makes sure that no other product has all that are wanted.
    key = np.argsort(np.argsort(order, axis=1, kind="stable"), axis=1)
    wanted = np.arange(n_attributes) < w
    key = key - 64 * (alike[:, None] & wanted) + 128 * (fails[:, None] == np.arange(n_attributes)) * wanted
    complete = ~alike & (kind == 0) & (key[:, :w] <= w).all(axis=1)
    key[complete, 0] += 128
    has = np.argsort(np.argsort(key, axis=1, kind="stable"), axis=1) <= w
    place = np.argsort(np.argsort(np.where(has, places >> 1, places | 1 << 53), axis=1, kind="stable"), axis=1) % 3

    stocked = np.where(fails[:, None] == w + np.arange(options), 0, 1 + below(lack, values))
    lacks = np.where(alike[:, None], stocked, below(lack, values + 1))
    limit = 10 * (3 + int(below(single[1:2], 7)[0]))
    price = np.where(fails == w + options, limit + 1 + below(dear, 40), limit - below(cheap, 20))
    price = np.where(alike, price, 10 + below(dear, 120))

    number = np.argsort(shuffle, kind="stable")
    rank = np.argsort(number)
    kind, has, place, lacks, price = kind[rank], has[rank], place[rank], lacks[rank], price[rank]
    types, asked = _queries(size.queries, w, n_attributes, int(below(single[2:], n_attributes - w)[0]))
    score = types[:, kind].astype(np.int64) + asked.astype(np.int64) @ has.T.astype(np.int64)
    tied = np.argsort(np.argsort(shelf, kind="stable"))
    return Catalogue(
        values=values,
        page_size=size.page_size,
        kind=kind,
        has=has,
        place=place,
        lacks=lacks,
        price=price,
        limit=limit,
        target=int(number[0]),
        query_types=types,
        query_attributes=asked,
        ranking=np.argsort(tied - 64 * score, axis=1)[:, :listed],
        order=np.argsort(actions, kind="stable"),
        words=words,
    )


def _queries(n: int, wanted: int, n_attributes: int, stray: int) -> tuple[Bools, Bools]:
    """Returns which types and attributes the first n of five queries name; the first names all that is wanted."""
    types, asked = np.zeros((MOST_QUERIES, _TYPES), bool), np.zeros((MOST_QUERIES, n_attributes), bool)
    types[[0, 1, 3, 4], 0] = True
    asked[[0, 2], :wanted] = True
    asked[3, wanted + stray] = True
    asked[4, [wanted - 1, wanted + (stray + 1) % (n_attributes - wanted)]] = True
    return types[:n], asked[:n]


def _cut(draw: Ints, shapes: list[tuple[int, ...]]) -> list[Ints]:
    """Cuts draws into arrays of given shapes."""
    ends = np.cumsum([math.prod(shape) for shape in shapes])
    return [part.reshape(shape) for part, shape in zip(np.split(draw, ends)[:-1], shapes, strict=True)]


def _pick(kind: str, draw: AnyArray, n: int) -> list[str]:
    """Returns n different words of a kind."""
    pool = _WORDS[kind].split()
    return [pool[i] for i in np.argsort(draw[: len(pool)], kind="stable")[:n].tolist()]
