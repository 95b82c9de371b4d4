"""What docs/data/algorithms*.csv holds, read once: what every recipe was worth in every cell, and small charts of it."""

import csv
import functools
from collections.abc import Mapping, Sequence
from html import escape
from math import exp, isfinite, log, log10
from pathlib import Path

from credit_envs.report.reading import PRICES, number, short

DATA = Path(__file__).parents[1] / "data"
LEAST = 1e-3
_NAN = float("nan")
_LEFT, _WIDE, _ROW, _TOP = 132, 210, 15, 6
_LOW, _HIGH = 0.01, 100.0
_POLICIES = {"uniform": "uniform play", "0.5": "half of the way to optimal play", "0.9": "nine tenths of the way"}


class Figure:
    """One recipe in one cell: worth and interval by price list, and what else was measured."""

    def __init__(self, row: Mapping[str, str]) -> None:
        self.environment, self.policy, self.recipe = row["environment"], row["policy"], row["algorithm"]
        self.seeds = int(row["seeds"])
        keys = {price: price.replace(" ", "_") for price in PRICES}
        self.worth = {
            price: tuple(float(row[key + end] or "nan") for end in ("", "_low", "_high")) for price, key in keys.items()
        }
        self.headroom, self.cosine, self.error, self.cost = (
            float(row[key] or "nan") for key in ("headroom", "cosine", "error", "cost")
        )

    def value(self, price: str) -> float:
        """Worth; worth nothing counts as :data:`LEAST`."""
        value = self.worth[price][0]
        return max(value, LEAST) if isfinite(value) else LEAST


@functools.cache
def figures() -> dict[str, list[Figure]]:
    """Returns all figures by recipe."""
    found: dict[str, list[Figure]] = {}
    for path in sorted(DATA.glob("algorithms*.csv")):
        with path.open() as lines:
            for row in csv.DictReader(lines):
                found.setdefault(row["algorithm"], []).append(Figure(row))
    return found


@functools.cache
def common() -> frozenset[str]:
    """Returns the environments on which every recipe was measured, so that recipes can be compared."""
    with (DATA / "algorithms.csv").open() as lines:
        return frozenset(row["environment"] for row in csv.DictReader(lines))


def mean(found: Sequence[Figure], price: str) -> float:
    """Returns the geometric mean."""
    return exp(sum(log(one.value(price)) for one in found) / len(found)) if found else _NAN


def sentence(recipe: str) -> str:
    """Returns in words what a recipe is worth."""
    found = figures()[recipe]
    parts = []
    for price in PRICES:
        won = sum(one.worth[price][1] > 1 + 1e-6 for one in found)
        lost = sum(one.worth[price][2] < 1 - 1e-6 for one in found)
        parts.append(
            f"**{number(mean(found, price))}** by {price}'s prices (above GRPO in {won} of {len(found)} cells, below in {lost})"
        )
    if len({part.split(" by ")[0] + part.split("prices")[1] for part in parts}) == 1:
        parts = [parts[0].replace("by simulator's prices", "under each price list")]
    cost = sum(one.cost for one in found) / len(found)
    return f"`{recipe}`: {', '.join(parts)}; {number(cost)} environment steps per sampled step."


def charts(recipes: Sequence[str]) -> str:
    """Returns charts of recipes: by environment steps, and by trained steps where that differs."""
    shown = []
    for found in (figures()[recipe] for recipe in recipes):
        differ = any(abs(one.value("simulator") - one.value("data")) > 1e-3 * one.value("data") for one in found)
        shown += [chart(found, price) for price in (("simulator", "data") if differ else ("simulator",))]
    return '```{raw} html\n<div class="forests">' + "".join(shown) + "</div>\n```"


def chart(found: Sequence[Figure], price: str) -> str:
    """Returns one chart as SVG: a line per environment, a mark with its interval per policy, on a logarithmic scale."""
    places = list(dict.fromkeys(one.environment for one in found))
    high = _TOP + _ROW * len(places) + 20
    title = "per environment step" if price == "simulator" else "per trained step"
    label = f"GRPO-equivalents {title}: " + "; ".join(
        f"{short(one.environment)} {one.policy}: {number(one.value(price))}" for one in found
    )
    out = [
        f"<figure><figcaption>{escape(found[0].recipe)}, {title}</figcaption>"
        f'<svg class="forest" viewBox="0 0 {_LEFT + _WIDE + 8} {high}" role="img" aria-label="{escape(label)}">'
    ]
    for tick in (0.01, 0.1, 1, 10, 100):
        x = _x(tick)
        out.append(
            f'<line class="{"one" if tick == 1 else "tick"}" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{high - 18}"/>'
        )
        out.append(f'<text class="tick" x="{x:.1f}" y="{high - 5}">{tick:g}</text>')
    for i, place in enumerate(places):
        y = _TOP + _ROW * i + _ROW / 2
        name = short(place)
        out.append(
            f'<text class="place" x="0" y="{y + 4:.1f}">{escape(name if len(name) < 23 else name[:21] + "…")}</text>'
        )
        for one in (one for one in found if one.environment == place):
            level = list(_POLICIES).index(one.policy) if one.policy in _POLICIES else 0
            y_here = y + 3.6 * (level - 1)
            value, low, top = one.worth[price]
            said = f"{name}, {_POLICIES.get(one.policy, one.policy)}: {number(one.value(price))}"
            if isfinite(low) and isfinite(top):
                out.append(
                    f'<line class="range p{level}" x1="{_x(low):.1f}" x2="{_x(top):.1f}" y1="{y_here:.1f}" y2="{y_here:.1f}"/>'
                )
                said += f" [{number(low)}, {number(top)}]"
            kind = "p" if isfinite(value) and value > LEAST else "none p"
            mark = f'cx="{_x(one.value(price)):.1f}" cy="{y_here:.1f}" r="2.6"'
            out.append(f'<circle class="{kind}{level}" {mark}><title>{escape(said)}</title></circle>')
    return "".join([*out, "</svg></figure>"])


def rows(recipe: str) -> list[str]:
    """Returns the figures of a recipe as rows of a table."""
    out = []
    for one in figures()[recipe]:
        worth = [_interval(*one.worth[price]) for price in PRICES]
        share = f"{one.headroom:.0%}" if isfinite(one.headroom) else "–"
        policy = one.policy if one.policy == "uniform" else f"{float(one.policy):.0%}"
        cells = [
            recipe,
            short(one.environment),
            policy,
            *worth,
            share,
            _plain(one.cosine),
            _plain(one.error),
            f"{number(one.cost)}×",
        ]
        out.append("| " + " | ".join(cells) + " |")
    return out


HEAD = "| recipe | environment | policy | simulator | language model | data | headroom | cosine | error | cost |"


def _interval(value: float, low: float, high: float) -> str:
    if not isfinite(value):
        return "–"
    return f"{number(value)} [{number(low)}, {number(high)}]" if isfinite(low) and isfinite(high) else number(value)


def _plain(value: float) -> str:
    return f"{value:.2f}" if isfinite(value) else "–"


def _x(value: float) -> float:
    share = log10(min(max(value, _LOW), _HIGH) / _LOW) / log10(_HIGH / _LOW)
    return _LEFT + _WIDE * share
