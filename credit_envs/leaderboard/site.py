"""The page: a static site of all verified entries, written from their folders; it needs no network and no server.

    index.html          one table per track and suite, and score against cost
    entry-NAME.html     one entry: how it stands, what was checked, every environment and policy, its source
    env-NAME.html       one environment: all entries side by side

Every figure was recomputed by :mod:`.verify`; entries without a report of exactly their files are named, not ranked. What
strangers wrote (names, descriptions, sources) is escaped.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from importlib.resources import files
from math import isfinite, log10
from pathlib import Path
from typing import Any

from credit_envs.evaluation.prices import PRICE_LISTS
from credit_envs.leaderboard.entry import SOURCE
from credit_envs.leaderboard.scoring import LEAST, MOST
from credit_envs.leaderboard.standing import Standing, standings
from credit_envs.leaderboard.tracks import board
from credit_envs.report.html import cell, table, tag, text
from credit_envs.report.reading import number, policy_name, short
from credit_envs.table.storage import write_atomically

_PRICES = tuple(PRICE_LISTS)
_HEADS = {"normalised": "normalised return", "env_steps": "steps used", "cost": "cost"}
_SCORES = {"estimator": (*_PRICES, "cost", "pearson", "cosine"), "learner": ("normalised", "env_steps")}
_CELL_SCORES = {
    "estimator": (*_PRICES, "headroom", "pearson", "rank", "sign", "cosine", "steps_ratio"),
    "learner": ("normalised", "env_steps"),
}
_LEVELS = {
    "re-run": "the code, run again without an oracle in reach, gave the same records, and every score was recomputed",
    "replayed": "every action was replayed and every score recomputed; the code was not run again",
}
_ABOUT = (
    "Estimators say how much each action changed the return; they are scored against the exact advantage and the exact policy "
    "gradient. GRPO-equivalents: how many times fewer resources than GRPO for the same gradient signal, if environment steps "
    "(simulator), generated and trained tokens (language model) or trained steps (data) are what is scarce. Over a suite they "
    f"are geometric means of all environments and policies, each held between {LEAST:g} and {MOST:g}. A score without its cost "
    "says little, so both stand side by side."
)


def write_site(entries: Path, folder: Path) -> Path:
    """Writes the site.

    Args:
        entries: folder of entries and their reports.
        folder: where the site is written; other files there stay.

    Returns:
        Its first page.

    Raises:
        CreditEnvsError: if there are no entries, or the folder cannot be written.
    """
    found = standings(entries)
    shown = [one for one in found if one.level in _LEVELS]
    waiting = [one.name for one in found if one.level not in _LEVELS]
    pages = {"index.html": _index(shown, waiting)}
    for one in shown:
        pages[f"entry-{one.name}.html"] = _entry(one, entries / one.name / SOURCE)
    for name, here in _by_environment(shown).items():
        pages[_environment_file(name)] = _environment(name, here)
    report, own = files("credit_envs.report"), files("credit_envs.leaderboard")
    pages["style.css"] = (report / "style.css").read_text() + (own / "site.css").read_text()
    pages["site.js"] = (report / "page.js").read_text() + (own / "site.js").read_text()
    for name, content in pages.items():
        write_atomically(folder / name, content.encode())
    return folder / "index.html"


def _page(title: str, body: str, *, home: bool = False) -> str:
    back = "" if home else tag("nav", tag("a", "Leaderboard", href="index.html"), aria_label="Site")
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{text(title)}</title>" + '<link rel="stylesheet" href="style.css"><link rel="icon" href="data:,">'
    )
    inside = tag("header", back, tag("h1", text(title))) + tag("main", body)
    script = '<script src="site.js"></script>'
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>{inside}{script}</body></html>\n'


def _index(shown: Sequence[Standing], waiting: Sequence[str]) -> str:
    parts = [tag("p", text(_ABOUT)), _filters(shown)]
    for track, suite in dict.fromkeys((one.manifest.track, one.manifest.suite) for one in shown):
        here = [one for one in shown if (one.manifest.track, one.manifest.suite) == (track, suite)]
        rules = board(suite)
        budget = rules.budget if track == "estimator" else rules.learner_budget
        caption = (
            f"{len(rules.environments)} environments, n = {rules.seeds} seeds, {budget:,} environment steps per seed; "
            "values over the whole suite with 95 % intervals over seeds; cost: environment steps per "
            "trained step; hidden: the first score on instances that nobody had seen. Click a column to sort."
        )
        columns = ("entry", "sub-track", "verified", *(_HEADS.get(s, s) for s in _listed(track)), "hidden")
        listed = table(caption, columns, [_row(one) for one in here], "sortable board")
        plot = _plot(here) if track == "estimator" else ""
        links = (tag("li", tag("a", text(short(e)), href=_environment_file(e))) for e in rules.environments)
        places = tag("h3", "Environment by environment") + tag("ul", *links, class_="places")
        parts.append(tag("section", tag("h2", text(f"{track.capitalize()} track, {suite}")), listed, plot, places))
    if waiting:
        parts.append(tag("p", text(f"Not verified yet, and so not ranked: {', '.join(waiting)}."), class_="soft"))
    return _page("Credit assignment leaderboard", "".join(parts), home=True)


def _filters(shown: Sequence[Standing]) -> str:
    def choice(label: str, key: str, values: Sequence[str]) -> str:
        options = tag("option", "all", value="") + "".join(tag("option", text(v), value=v) for v in values if v)
        return tag("label", f"{label} ", f'<select data-filter="{key}">{options}</select>')

    kinds = list(dict.fromkeys(one.manifest.sub_track for one in shown))
    levels = list(dict.fromkeys(one.level for one in shown))
    search = tag("label", 'Find <input type="search" data-filter="find">')
    parts = (search, choice("Sub-track", "kind", kinds), choice("Verified", "level", levels))
    return tag(
        "form", *parts, '<output aria-live="polite"></output>', class_="filters", aria_label="Filter the entries"
    )


def _row(one: Standing) -> str:
    manifest = one.manifest
    name = tag("a", text(one.name), href=f"entry-{one.name}.html")
    scores = [_interval(one.overall(s) if s != "cost" else one.overall(s)["value"]) for s in _listed(manifest.track)]
    main = _SCORES[manifest.track][0]
    hidden = _interval(one.hidden["overall"][main]) if one.hidden else cell("–", float("nan"))
    found = " ".join((one.name, manifest.authors, manifest.paper, manifest.description)).lower()
    kept = (
        cell(text(manifest.sub_track), class_="word"),
        cell(text(one.level), class_="word", title=_LEVELS[one.level]),
    )
    inside = (tag("th", name, scope="row"), *kept, *scores, hidden)
    return tag("tr", *inside, data_find=found, data_kind=manifest.sub_track, data_level=one.level)


def _listed(track: str) -> list[str]:
    """What fits beside each other on the first page."""
    return [score for score in _SCORES[track] if score != "cosine"]


def _interval(found: Mapping[str, float] | float) -> str:
    if not isinstance(found, Mapping):
        return cell(number(found), found)
    value, low, high = (float(found[key]) for key in ("value", "low", "high"))
    if not isfinite(value):
        return cell("–", value)
    span = f" <small>[{number(low)}, {number(high)}]</small>" if isfinite(low) else ""
    return cell(number(value) + span, value)


# -- score against cost ----------------------------------------------------------------------------------------------

_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP, _RIGHT = 680, 380, 60, 48, 14, 130


def _plot(here: Sequence[Standing]) -> str:
    """Score per trained step against environment steps per trained step, both logarithmic, with intervals."""
    points = [(one, one.overall("cost")["value"], one.overall("data")) for one in here]
    costs = [cost for _, cost, _ in points] + [0.5, 2.0]
    ends = [float(s[key]) for _, _, s in points for key in ("low", "high") if s[key] > 0] + [0.5, 2.0]
    across, up = _axis(costs, _LEFT, _WIDTH - _RIGHT), _axis(ends, _HEIGHT - _BOTTOM, _TOP)
    lines = [*_grid(costs, across, upright=True), *_grid(ends, up, upright=False)]
    low, high = max(min(costs), min(ends)), min(max(costs), max(ends))
    lines.append(
        f'<line x1="{across(low):.1f}" y1="{up(low):.1f}" x2="{across(high):.1f}" y2="{up(high):.1f}" class="even"/>'
    )
    labels = sorted(((up(s["value"]), i) for i, (_, _, s) in enumerate(points) if s["value"] > 0), reverse=True)
    place, last = {}, float("inf")
    for y, i in labels:
        last = min(y, last - 15)
        place[i] = last
    for i, (one, cost, score) in enumerate(points):
        if not score["value"] > 0:
            continue
        x, y = across(cost), up(score["value"])
        bounds = [up(max(float(score[key]), min(ends))) for key in ("low", "high")]
        kind = one.manifest.sub_track
        said = f"{one.name}: {number(score['value'])} per trained step, cost {number(cost)}"
        lines += [
            f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{bounds[0]:.1f}" y2="{bounds[1]:.1f}" class="bar {kind}"/>',
            f'<line x1="{x + 5:.1f}" y1="{y:.1f}" x2="{x + 15:.1f}" y2="{place[i]:.1f}" class="grid"/>',
            tag("circle", tag("title", text(said)), cx=f"{x:.1f}", cy=f"{y:.1f}", r="5", class_=f"mark {kind}"),
            tag("text", text(one.name), x=f"{x + 18:.1f}", y=f"{place[i] + 4:.1f}"),
        ]
    lines += [
        f'<text x="{(_LEFT + _WIDTH - _RIGHT) / 2:.0f}" y="{_HEIGHT - 8}" text-anchor="middle" class="axis">'
        "cost: environment steps per trained step</text>",
        f'<text transform="translate(14 {_HEIGHT / 2:.0f}) rotate(-90)" text-anchor="middle" class="axis">'
        "score: GRPO-equivalents per trained step</text>",
    ]
    label = "Score against cost. " + "; ".join(
        f"{o.name} costs {number(c)} and scores {number(s['value'])}" for o, c, s in points
    )
    drawing = tag("svg", *lines, viewBox=f"0 0 {_WIDTH} {_HEIGHT}", role="img", aria_label=label)
    caption = (
        "Score against cost. Above the dashed line an entry pays, roughly, even where environment steps are what is scarce. "
        "Full marks: fixed data; empty marks: entries that draw more."
    )
    return tag("figure", tag("figcaption", text(caption)), drawing, class_="cost")


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


# -- one entry, one environment --------------------------------------------------------------------------------------


def _entry(one: Standing, source: Path) -> str:
    manifest = one.manifest
    about = [tag("p", text(manifest.description), class_="headline") if manifest.description else ""]
    facts = {
        "Track": " ".join((manifest.track, manifest.sub_track)),
        "Suite": manifest.suite,
        "Authors": manifest.authors,
        "Paper": manifest.paper,
        "Needs": ", ".join(manifest.needs),
        "Code": f"{manifest.function} in {SOURCE}, revision {manifest.revision or 'unknown'}",
        "Made with": ", ".join(f"{name} {version}" for name, version in manifest.provenance.items()),
    }
    about.append(tag("dl", *(tag("dt", k) + tag("dd", text(v)) for k, v in facts.items() if v), class_="facts"))
    overall = [
        tag("tr", tag("th", text(_HEADS.get(s, s)), scope="row"), _interval(one.overall(s)))
        for s in _SCORES[manifest.track]
    ]
    checks = [
        tag(
            "tr",
            *(
                tag("th", text(c["name"]), scope="row"),
                cell(c["status"], class_="word"),
                cell(text(c["detail"]), class_="word"),
            ),
        )
        for c in one.checks
    ]
    rows = [
        _cell_row(tag("a", text(short(c["environment"])), href=_environment_file(c["environment"])), manifest.track, c)
        for c in one.scores["cells"]
    ]
    parts = [
        *about,
        tag("h2", "Over the suite"),
        table("Values with 95 % intervals over seeds.", ("score", "value"), overall),
        tag("h2", "Environment by environment"),
        _cells_table("environment", manifest.track, rows),
        tag("h2", f"Verified: {one.level}"),
        table("What was checked, in order.", ("check", "result", "detail"), checks),
    ]
    if one.hidden is not None:
        hidden = [_cell_row(text(short(c["environment"])), manifest.track, c) for c in one.hidden["cells"]]
        said = "The same families as tables that nobody had seen: other instances, an odd slip, permuted actions and looks."
        parts += [tag("h2", text(f"Hidden instances, season {one.hidden['season']}")), tag("p", text(said))]
        parts.append(_cells_table("environment", manifest.track, hidden))
    parts += [tag("h2", "The same again"), tag("pre", text(manifest.command.replace("`", "'")), tabindex="0")]
    if source.is_file():
        parts += [tag("h2", "Source"), tag("pre", _escaped(source.read_text()), tabindex="0")]
    return _page(one.name, "".join(parts))


def _escaped(source: str) -> str:
    return source.replace("&", "&amp;").replace("<", "&lt;")


def _cell_row(first: str, track: str, found: Mapping[str, Any]) -> str:
    flat = {**found, **found.get("equivalents", {})}
    if "headroom" in flat:
        flat["headroom"] = flat["headroom"][_PRICES[0]]
    policy = [cell(text(policy_name(found["policy"])), class_="word")] if track == "estimator" else []
    return tag("tr", tag("th", first, scope="row"), *policy, *(_interval(flat[score]) for score in _CELL_SCORES[track]))


def _cells_table(first: str, track: str, rows: Sequence[str]) -> str:
    names = {"steps_ratio": "cost", **_HEADS}
    columns = (first, *(("policy",) if track == "estimator" else ()), *(names.get(s, s) for s in _CELL_SCORES[track]))
    caption = (
        "GRPO-equivalents under three price lists, and the credit against the exact advantage."
        if track == "estimator"
        else ""
    )
    return table(caption or "Exact return, 0 for uniform and 1 for optimal play.", columns, rows, "sortable")


def _by_environment(shown: Sequence[Standing]) -> dict[str, list[Standing]]:
    out: dict[str, list[Standing]] = {}
    for one in shown:
        for name in dict.fromkeys(c["environment"] for c in one.scores["cells"]):
            out.setdefault(name, []).append(one)
    return out


def _environment(name: str, here: Sequence[Standing]) -> str:
    parts = [tag("p", "Environment ", tag("code", text(name)))]
    for track in dict.fromkeys(one.manifest.track for one in here):
        rows = [
            _cell_row(tag("a", text(one.name), href=f"entry-{one.name}.html"), track, found)
            for one in here
            if one.manifest.track == track
            for found in one.scores["cells"]
            if found["environment"] == name
        ]
        parts += [tag("h2", f"{track.capitalize()} track"), _cells_table("entry", track, rows)]
    return _page(short(name), "".join(parts))


def _environment_file(name: str) -> str:
    return f"env-{re.sub(r'[^A-Za-z0-9_.=-]', '-', name.removeprefix('credit/'))}.html"
