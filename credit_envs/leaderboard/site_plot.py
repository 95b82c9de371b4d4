"""Score against cost, as a drawing whose colours follow the page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import log10

from credit_envs.leaderboard.standing import Standing
from credit_envs.report.html import tag, text
from credit_envs.report.reading import number

_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP, _RIGHT = 680, 380, 60, 48, 14, 130


def cost_plot(here: Sequence[Standing]) -> str:
    """Draws score per trained step against environment steps per trained step, both logarithmic, with intervals."""
    points = [(one, one.overall("cost")["value"], one.overall("data")) for one in here]
    costs = [cost for _, cost, _ in points] + [0.5, 2.0]
    ends = [float(s[key]) for _, _, s in points for key in ("low", "high") if s[key] > 0] + [0.5, 2.0]
    across, up = _axis(costs, _LEFT, _WIDTH - _RIGHT), _axis(ends, _HEIGHT - _BOTTOM, _TOP)
    lines = [*_grid(costs, across, upright=True), *_grid(ends, up, upright=False)]
    low, high = max(min(costs), min(ends)), min(max(costs), max(ends))
    lines.append(
        f'<line x1="{across(low):.1f}" y1="{up(low):.1f}" x2="{across(high):.1f}" y2="{up(high):.1f}" class="even"/>'
    )
    place = _labels({i: up(s["value"]) for i, (_, _, s) in enumerate(points) if s["value"] > 0})
    for i, (one, cost, score) in enumerate(points):
        if not score["value"] > 0:
            continue
        x, y = across(cost), up(score["value"])
        bounds = [up(max(float(score[key]), min(ends))) for key in ("low", "high")]
        kind = one.manifest.sub_track
        said = f"{one.name}: {number(score['value'])} per trained step, cost {number(cost)}"
        lines += [
            f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{bounds[0]:.1f}" y2="{bounds[1]:.1f}" class="bar {kind}"/>',
            tag("circle", tag("title", text(said)), cx=f"{x:.1f}", cy=f"{y:.1f}", r="5", class_=f"mark {kind}"),
        ]
        if i in place:
            lines += [
                f'<line x1="{x + 5:.1f}" y1="{y:.1f}" x2="{x + 15:.1f}" y2="{place[i]:.1f}" class="grid"/>',
                tag("text", text(one.name), x=f"{x + 18:.1f}", y=f"{place[i] + 4:.1f}"),
            ]
    lines += [
        f'<text x="{(_LEFT + _WIDTH - _RIGHT) / 2:.0f}" y="{_HEIGHT - 8}" text-anchor="middle" class="axis">'
        "cost: environment steps per trained step</text>",
        f'<text transform="translate(14 {_HEIGHT / 2:.0f}) rotate(-90)" text-anchor="middle" class="axis">'
        "score: GRPO-equivalents per trained step</text>",
    ]
    label = f"Score against cost of {len(points)} entries; the table above has the numbers."
    drawing = tag("svg", *lines, viewBox=f"0 0 {_WIDTH} {_HEIGHT}", role="img", aria_label=label)
    caption = (
        "Score against cost. Above the dashed line an entry pays, roughly, even where environment steps are what is scarce. "
        "Full marks: fixed data; empty marks: entries that draw more. Where there is room, marks bear names."
    )
    return tag("figure", tag("figcaption", text(caption)), drawing, class_="cost")


def _labels(height: dict[int, float]) -> dict[int, float]:
    """Returns where labels go, from the bottom up so that none covers another; where there is no room there is none."""
    place, last = {}, float("inf")
    for i, y in sorted(height.items(), key=lambda pair: -pair[1]):
        if min(y, last - 15) >= max(_TOP, y - 60):
            place[i] = last = min(y, last - 15)
    return place


def _axis(values: Sequence[float], start: float, end: float) -> Callable[[float], float]:
    low, high = log10(min(values)) - 0.05, log10(max(values)) + 0.05
    return lambda value: start + (log10(value) - low) / (high - low) * (end - start)


def _grid(values: Sequence[float], at: Callable[[float], float], *, upright: bool) -> list[str]:
    ticks = [t for p in range(-3, 5) for t in (10.0**p, 3 * 10.0**p) if min(values) <= t <= max(values)]
    out = []
    for tick in ticks:
        place = f"{at(tick):.1f}"
        if upright:
            out.append(f'<line x1="{place}" x2="{place}" y1="{_TOP}" y2="{_HEIGHT - _BOTTOM}" class="grid"/>')
            out.append(
                f'<text x="{place}" y="{_HEIGHT - _BOTTOM + 16}" text-anchor="middle" class="axis">{tick:g}×</text>'
            )
        else:
            out.append(f'<line y1="{place}" y2="{place}" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" class="grid"/>')
            out.append(f'<text x="{_LEFT - 6}" y="{place}" dy="4" text-anchor="end" class="axis">{tick:g}</text>')
    return out
