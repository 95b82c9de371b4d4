"""Shop: find a product that fits an instruction, choose its options, buy it; paid by how well it fits.

## Description

A miniature of WebShop. The instruction names a type of product, attributes, a value for each kind of option and a price
limit. The shop has a search page with a few queries to choose from, result pages, product pages with buttons for
options and with two sub-pages, and a button that buys what is on the page. Everything can be clicked at any time that
the page has a button for it, so one may buy the first thing seen.

A product has `attributes + 1` attributes. The first and the fourth of them stand in the title, the second and the
fifth on the features page, the others in the description: what a product is worth can often only be read on its
sub-pages. The catalogue holds one product that fits in every respect, near misses that fail exactly one requirement (an
attribute, an option value that is out of stock, the price), and others. A query ranks products by how many of its words
they have, wherever they stand, ties in shelf order, and lists the best `pages · page_size`. One of the queries holds all
wanted words and always lists the product that fits; poorer queries may not.

Catalogue, instruction, words and article numbers differ between instances, and the actions are shuffled per instance.

## Action Space

`Discrete(queries + products + options·(values + 1) + 6)`: a search per query, a click per product, a click per option
value, and `click next`, `click prev`, `click back to search`, `click description`, `click features`, `click buy now`.
Only what the page shows is admissible. `prev` leads to the page before: from a sub-page to the product, from a product
to the result page that lists it. Clicking a chosen value again changes nothing.

## Observation Space

- `text`: the instruction, the page, and every button with the number of its action, in the order of the actions.
- `state`: the number of the state (query, result page or product, options chosen, sub-page).

Different states have different texts, so nothing about the present page is hidden; but facts of other pages have to be
remembered or looked up again. Labels: `page` (0 search, 1 results, 2 product, 3 description, 4 features, 5 bought),
`query`, `result_page`, `product` (−1 where there is none), `chosen` (kinds of options chosen so far), `met`
(requirements that buying now would meet, on product pages) and `right` (whether the product is the one that fits).
`segment` is the subgoal: 0 search, 1 pick a product, 2 choose its options, 3 buy. `anchor` is the identity of the page:
query, result page or product, and sub-page, without the options chosen.

## Rewards

Paid on buying; WebShop's formula (a attributes and o option values as wanted, p = 1 if the price keeps the limit):
`(a + o + p) / (attributes + options + 1)` times a type factor. WebShop's factor compares the nouns of the two names;
here names have one noun, which leaves 1 for the wanted type and 0 for another. Whoever never buys gets 0.

## Starting State

The search page.

## Episode End

On buying, or at the horizon: `horizon_factor` times the longest shortest solution of these knobs, `pages + options + 2`.

## Arguments

- `products` (default 12): products in the catalogue.
- `page_size` (default 4): products on a result page.
- `pages` (default 2): result pages of a query at most.
- `queries` (default 4): queries to choose from.
- `attributes` (default 3): attributes that the instruction wants.
- `options` (default 2): kinds of options (colour, size, pattern).
- `values` (default 3): values of each kind that a product comes in.
- `near_misses` (default 0.5): near misses as a share of the other products that fit on the result pages.
- `horizon_factor` (default 2.5): see Episode End.

With L = min(products, pages·page_size) there are 1 + queries·⌈L/page_size⌉ + 3·queries·L·(values + 1)^options states,
and one for each reward that can be paid.

## References

Yao, Chen, Yang and Narasimhan, "WebShop: Towards Scalable Real-World Web Interaction with Grounded Language Agents",
NeurIPS 2022; reward as in its released `get_reward`.

## Version History

- v0: first version.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from credit_envs.arrays import AnyArray, Ints
from credit_envs.families.family import Knob
from credit_envs.families.shop_catalogue import MOST_QUERIES, Catalogue, Size, make_catalogue
from credit_envs.families.shop_pages import BOUGHT, PRODUCT, RESULTS, SEARCH, Actions, Pages, Printer
from credit_envs.table.build import from_outcomes
from credit_envs.table.mdp import TabularMDP
from credit_envs.table.view import View, text_space

KNOBS = {
    "products": Knob(12, 2, 30, "products in the catalogue"),
    "page_size": Knob(4, 1, 10, "products on a result page"),
    "pages": Knob(2, 1, 5, "result pages of a query at most"),
    "queries": Knob(4, 1, MOST_QUERIES, "queries to choose from"),
    "attributes": Knob(3, 1, 5, "attributes that the instruction wants"),
    "options": Knob(2, 0, 3, "kinds of options"),
    "values": Knob(3, 1, 4, "values of each kind that a product comes in"),
    "near_misses": Knob(0.5, 0, 1, "near misses as a share of the other listed products", integer=False),
    "horizon_factor": Knob(2.5, 1, 1000, "horizon in longest shortest solutions", integer=False),
}

_TEXT = text_space()


def build(instance_seed: int, *, horizon_factor: float, **size: Any) -> TabularMDP:
    """Builds one instance; ``size`` holds the fields of :class:`~credit_envs.families.shop_catalogue.Size`."""
    shop = Size(**size)
    actions = Actions(shop.queries, shop.products, shop.options, shop.values)
    horizon = round(horizon_factor * (shop.pages + shop.options + 2))
    catalogue = make_catalogue(instance_seed, shop, actions.count)
    return _compile(catalogue, actions, horizon, {**size, "horizon_factor": horizon_factor})


Edges = tuple[AnyArray | int, AnyArray | int, AnyArray | int]
"""States, actions and successors, to be broadcast."""


class _Worth(NamedTuple):
    """What buying pays.

    Attributes:
        met: int64 ``[Q, L, O]``, requirements met by the product and the options chosen; 0 for the wrong type.
        end: int64 ``[Q, L, O]``, state after buying.
        ends: int64, the distinct values of ``met``, one per end state.
    """

    met: Ints
    end: Ints
    ends: Ints


def _compile(c: Catalogue, actions: Actions, horizon: int, knobs: dict[str, object]) -> TabularMDP:
    """Numbers the states in closed form: search page, result pages, products with options and sub-pages, ends."""
    queries, listed = c.ranking.shape
    pages = Pages(int(queries), int(listed), c.page_size, c.options, c.values)
    worth = _worth(c, pages)
    printer = Printer(c, pages, actions, worth.ends)
    state, action, successor = _edges(*_browse(c, pages, actions), *_shop(c, pages, actions, worth))
    met = np.append(np.zeros(pages.first_end), worth.ends)
    outcomes = {
        "state": state,
        "action": c.order[action],
        "successor": successor,
        "probability": np.ones(state.size),
        "reward": met[successor] / c.requirements,
        "terminal": successor >= pages.first_end,
    }
    return from_outcomes(
        "Shop",
        pages.first_end + len(worth.ends),
        actions.count,
        outcomes,
        start={0: 1.0},
        horizon=horizon,
        action_names=tuple(printer.commands),
        labels=_labels(c, pages, worth),
        views={"text": View(_TEXT, printer.rows)},
        knobs=knobs,
        validated=False,
    )


def _labels(c: Catalogue, pages: Pages, worth: _Worth) -> dict[str, Ints]:
    """Labels of all states; what an end state has no value for is −1."""
    at = pages.decode(np.arange(pages.first_end))
    opened, searched = at.page >= PRODUCT, at.page != SEARCH
    product = np.where(opened, c.ranking[at.query, at.rank], -1)
    chosen = (at.digits > 0).sum(axis=1)
    before = {
        "turn": np.zeros_like(product),
        "segment": np.select([~searched, at.page == RESULTS, chosen < c.options], [0, 1, 2], 3),
        "anchor": np.where(opened, pages.identity(at), np.arange(pages.first_end)),
        "page": at.page,
        "query": np.where(searched, at.query, -1),
        "result_page": np.where(searched, at.result_page, -1),
        "product": product,
        "chosen": chosen,
        "met": np.where(opened, worth.met[at.query, at.rank, at.option], 0),
        "right": product == c.target,
    }
    number = np.arange(len(worth.ends))
    after: dict[str, AnyArray | int] = {"turn": 0, "segment": 3, "page": BOUGHT, "met": worth.ends}
    after["anchor"] = pages.first_end + number
    return {name: np.append(part, number * 0 + after.get(name, -1)) for name, part in before.items()}


def _worth(c: Catalogue, pages: Pages) -> _Worth:
    """Counts what is as wanted for every listed product under every choice of options."""
    product = c.ranking[:, :, None]
    # Value 0 is wanted; a product that has it shows it first, so digit 1 means that it is chosen.
    wanted = ((pages.option_digits() == 1)[None, None] & (c.lacks[product] != 0)).sum(axis=3)
    fits = c.has[:, : c.wanted].sum(axis=1) + (c.price <= c.limit)
    met = np.where(c.kind[product] == 0, fits[product] + wanted, 0)
    ends, which = np.unique(met, return_inverse=True)
    return _Worth(met, pages.first_end + which.reshape(met.shape), ends)


def _browse(c: Catalogue, pages: Pages, actions: Actions) -> list[Edges]:
    """Edges of the search page and the result pages."""
    place = np.arange(pages.queries * pages.results) % pages.results
    results, query = 1 + np.arange(place.size), np.arange(pages.queries)
    q, rank = np.divmod(np.arange(pages.queries * pages.listed), pages.listed)
    return [
        (0, actions.search + query, pages.result(query, 0)),
        (pages.result(q, rank // c.page_size), actions.product + c.ranking[q, rank], pages.product(q, rank, 0)),
        (results[place + 1 < pages.results], actions.button("next"), 1 + results[place + 1 < pages.results]),
        (results[place > 0], actions.button("prev"), results[place > 0] - 1),
        (results, actions.button("back to search"), 0),
    ]


def _shop(c: Catalogue, pages: Pages, actions: Actions, worth: _Worth) -> list[Edges]:
    """Edges of product pages and their sub-pages."""
    q, rank, option = (part.ravel() for part in np.indices((pages.queries, pages.listed, pages.combinations)))
    here = pages.product(q, rank, option)
    parts: list[Edges] = [
        (here, actions.button("prev"), pages.result(q, rank // c.page_size)),
        (here, actions.button("description"), here + 1),
        (here, actions.button("features"), here + 2),
        (here, actions.button("buy now"), worth.end.ravel()),
        (here[:, None] + np.array([1, 2]), actions.button("prev"), here[:, None]),
        (here[:, None] + np.arange(3), actions.button("back to search"), 0),
    ]
    digits, lacks, chosen = pages.option_digits()[option], c.lacks[c.ranking[q, rank]], np.arange(1, pages.values + 1)
    for k in range(pages.options):
        value = pages.value(chosen, lacks[:, k, None])
        changed = here[:, None] + 3 * (chosen - digits[:, k, None]) * pages.base**k
        parts.append((here[:, None], actions.value(k, value), changed))
    return parts


def _edges(*parts: Edges) -> list[Ints]:
    """Returns states, actions and successors of all edges, each int64 ``[E]``."""
    columns = zip(*(np.broadcast_arrays(*part) for part in parts), strict=True)
    return [np.concatenate([part.ravel() for part in column]) for column in columns]
