"""What all pages of the site share: their frame, their words, and how a value with its interval is shown."""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import isfinite

from credit_envs.evaluation.prices import PRICE_LISTS
from credit_envs.report.html import cell, tag, text
from credit_envs.report.reading import number

PRICES = tuple(PRICE_LISTS)
HEADS = {"normalised": "normalised return", "env_steps": "steps used", "steps_ratio": "cost"}
SCORES = {"estimator": (*PRICES, "cost", "pearson", "cosine"), "learner": ("normalised", "env_steps")}
CELL_SCORES = {
    "estimator": (*PRICES, "headroom", "pearson", "rank", "sign", "cosine", "steps_ratio"),
    "learner": ("normalised", "env_steps"),
}
LEVELS = {
    "re-run": "the code, run again without an oracle in reach, gave the same records, and every score was recomputed",
    "replayed": "every action was replayed and every score recomputed; the code was not run again",
}
PLACES = {"index.html": "Leaderboard", "maps.html": "Granularity maps", "claims.html": "Claims ledger"}
"""The pages that every page leads to, where they exist."""


def page(title: str, body: str, places: Mapping[str, str], here: str = "") -> str:
    """Returns a page.

    Args:
        title: also its only head of the first order.
        body: HTML.
        places: pages to lead to.
        here: the one that this is, if any.
    """
    links = (
        tag("a", name, href=file, **({"aria_current": "page"} if file == here else {})) for file, name in places.items()
    )
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{text(title)}</title>" + '<link rel="stylesheet" href="style.css"><link rel="icon" href="data:,">'
    )
    skip = tag("a", "Skip to the content", href="#main", class_="skip")
    inside = (
        skip
        + tag("header", tag("nav", *links, aria_label="Site"), tag("h1", text(title)))
        + tag("main", body, id="main")
    )
    script = '<script src="site.js"></script>'
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>{inside}{script}</body></html>\n'


def interval(found: Mapping[str, float] | float) -> str:
    """Returns the cell of a value, with its interval if it has one."""
    if not isinstance(found, Mapping):
        return cell(number(found), found)
    value, low, high = (float(found[key]) for key in ("value", "low", "high"))
    if not isfinite(value):
        return cell("–", value)
    span = f" <small>[{number(low)}, {number(high)}]</small>" if isfinite(low) else ""
    return cell(number(value) + span, value)


def entry_file(name: str) -> str:
    """Returns the file of an entry's page."""
    return f"entry-{name}.html"


def environment_file(name: str) -> str:
    """Returns the file of an environment's page."""
    return f"env-{re.sub(r'[^A-Za-z0-9_.=-]', '-', name.removeprefix('credit/'))}.html"


def choice(label: str, key: str, values: list[str]) -> str:
    """Returns a choice of a filter."""
    options = tag("option", "all", value="") + "".join(tag("option", text(v), value=v) for v in values if v)
    return tag("label", f"{label} ", f'<select data-filter="{key}">{options}</select>')


def filters(*choices: str, what: str) -> str:
    """Returns the form that filters a page's rows: a search, and choices."""
    search = tag("label", 'Find <input type="search" data-filter="find">')
    said = f'<output aria-live="polite" data-what="{what}"></output>'
    return tag("form", search, *choices, said, class_="filters", aria_label=f"Filter the {what}")
