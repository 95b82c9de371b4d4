"""The pages of evidence: granularity maps and claims ledger, from what ``credit-envs experiment`` wrote for the docs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import Any

from credit_envs import registry
from credit_envs.errors import CreditEnvsError
from credit_envs.leaderboard.site_parts import choice, filters, page
from credit_envs.report.html import cell, table, tag, text
from credit_envs.report.reading import number, short

LEDGER, TESTS = "data/ledger.json", "data/principle_tests.json"
MAPS = ("surface-*.png", "optimum-*.png", "levels-*.png", "dials.png")
"""Pictures of the maps' page, in this order."""

_WORDS = {
    "first": "one step of the unit decides",
    "all": "all steps of the unit must agree",
    "parity": "the parity of the unit decides",
    "data": "trained steps are what is scarce",
    "language": "generated and trained tokens are what is scarce",
}
_CLAIM = ("claim", "who says it", "verdict", "measured", "predicted", "refuted by", "command")
_READING = (
    "The principle: a signal works best when its granularity matches the task's causal unit. Each map has the grain of the "
    "signal across and the causal unit upwards; shade is how much of the best grain's worth a grain keeps, the dot is the best "
    "grain, the square the causal unit, where the principle says the dot should be."
)


def maps(docs: Path) -> list[Path]:
    """Returns the pictures that are there."""
    return [path for pattern in MAPS for path in sorted((docs / "images").glob(pattern))]


def maps_page(docs: Path, places: Mapping[str, str]) -> str:
    """Returns the page of the granularity maps: the numbers first, then every picture in words and as it is."""
    parts = [tag("p", text(_READING))]
    if (docs / TESTS).is_file():
        parts += [tag("h2", "How often the unit is best"), _principle(_read(docs / TESTS))]
    parts.append(tag("h2", "The maps"))
    for path in maps(docs):
        said = in_words(path.stem)
        drawing = f'<img src="{path.name}" alt="{said}" loading="lazy" decoding="async">'
        parts.append(tag("figure", tag("figcaption", text(said)), tag("a", drawing, href=path.name), class_="map"))
    return page("Granularity maps", "".join(parts), places, "maps.html")


def in_words(stem: str) -> str:
    """Returns what a picture shows, from its name."""
    kind, *rest = stem.split("-")
    if kind == "dials":
        return "What estimators are worth as one dial of the environment turns"
    families = {short(one.id).lower(): short(one.id) for one in registry.ENTRIES}
    named = [_WORDS.get(word, families.get(word, word)) for word in rest]
    head = {"surface": "Worth by grain and causal unit", "optimum": "The best grain against the budget"}
    return f"{head.get(kind, 'Worth by level')}: {', '.join(named)}"


def _principle(found: Sequence[Mapping[str, Any]]) -> str:
    """A table of the stated tests, one row per family of estimators and price list."""
    rows = []
    for one in (family for block in found for family in block.get("families", ())):
        shares = [cell(_percent(one.get(key)), one.get(key)) for key in ("share k", "share open", "share not k")]
        rows.append(tag("tr", tag("th", text(one["family"]), scope="row"), cell(one["price"], class_="word"), *shares))
    columns = ("estimator", "price list", "unit best beyond doubt", "open", "unit beaten beyond doubt")
    return table("Shares of slices (task, structure, unit, budget) with a unit above 1.", columns, rows, "sortable")


def _percent(share: float | None) -> str:
    return "–" if share is None or not isfinite(share) else f"{100 * share:.0f} %"


def claims_page(docs: Path, places: Mapping[str, str]) -> str:
    """Returns the page of the claims ledger."""
    claims = _read(docs / LEDGER)
    verdicts = list(dict.fromkeys(one["verdict"] for one in claims))
    counted = ", ".join(f"{sum(one['verdict'] == v for one in claims)} {v}" for v in verdicts)
    about = (
        "Published and circulating claims about credit assignment. What a claim predicts and what would refute it were written "
        f"down before the experiment; the verdict follows from the results by a rule. Of {len(claims)} claims: {counted}."
    )
    caption = (
        "Effects with 95 % intervals over seeds, and each test's own verdict with the number of places (environments, or "
        "settings of a dial) that speak for the claim and against it."
    )
    listed = table(caption, _CLAIM, [_claim(one) for one in claims], "sortable board ledger")
    parts = (tag("p", text(about)), filters(choice("Verdict", "verdict", verdicts), what="claims"), listed)
    return page("Claims ledger", "".join(parts), places, "claims.html")


def _claim(one: Mapping[str, Any]) -> str:
    tests = "".join(
        tag("li", text(test["test"]) + _effect(test.get("effect")) + _places(test)) for test in one["tests"]
    )
    shown = [
        text(one["source"]),
        text(one["verdict"]),
        tag("ul", tests),
        text(one["predicted"]),
        text(one["refuted_by"]),
    ]
    shown.append(tag("code", text(one["command"])))
    cells = [cell(what, class_="word", data_head=head) for head, what in zip(_CLAIM[1:], shown, strict=True)]
    name = tag("th", text(one["claim"]), scope="row", class_="word")
    found = " ".join(str(one[key]) for key in ("name", "claim", "source")).lower()
    return tag("tr", name, *cells, data_find=found, data_verdict=one["verdict"])


def _effect(effect: Sequence[float] | None) -> str:
    if not effect or not all(isinstance(x, int | float) and isfinite(x) for x in effect):
        return ""
    value, low, high = map(number, effect)
    return f" {tag('strong', value)} <small>[{low}, {high}]</small>"


def _places(test: Mapping[str, Any]) -> str:
    """A test's verdict, and how many places speak for the claim and against it (a slope has no places)."""
    sides = test.get("sides", ())
    counts = f": {sides.count('for')} for, {sides.count('against')} against, of {len(sides)}" if sides else ""
    return tag("small", text(f" {test['verdict']}{counts}"))


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise CreditEnvsError(f"docs: {path} is unreadable ({type(error).__name__}: {error})") from error
