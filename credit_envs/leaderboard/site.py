"""The page: a static site of all verified entries, written from their folders; it needs no network and no server.

    index.html          one table per track and suite, and score against cost
    entry-NAME.html     one entry: how it stands, what was checked, every environment and policy, its source
    env-NAME.html       one environment: all entries side by side
    maps.html           the granularity maps, where the docs hold them
    claims.html         the claims ledger, likewise

Every figure was recomputed by :mod:`.verify`; entries without a report of exactly their files are named, not ranked. What
strangers wrote (names, descriptions, sources) is escaped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path

from credit_envs.leaderboard.entry import SOURCE
from credit_envs.leaderboard.scoring import LEAST, MOST
from credit_envs.leaderboard.site_entry import by_environment, entry_page, environment_page
from credit_envs.leaderboard.site_evidence import LEDGER, claims_page, maps, maps_page
from credit_envs.leaderboard.site_parts import (
    HEADS,
    LEVELS,
    PLACES,
    SCORES,
    choice,
    entry_file,
    environment_file,
    filters,
    interval,
    page,
)
from credit_envs.leaderboard.site_plot import cost_plot
from credit_envs.leaderboard.standing import Standing, standings
from credit_envs.leaderboard.tracks import board
from credit_envs.leaderboard.worker import POLICY
from credit_envs.report.html import cell, table, tag, text
from credit_envs.report.reading import short
from credit_envs.table.storage import write_atomically

_ABOUT = (
    "Estimators say how much each action changed the return; they are scored against the exact advantage and the exact policy "
    "gradient. GRPO-equivalents: how many times fewer resources than GRPO for the same gradient signal, if environment steps "
    "(simulator), generated and trained tokens (language model) or trained steps (data) are what is scarce. Over a suite they "
    f"are geometric means of all environments and policies, each held between {LEAST:g} and {MOST:g}. A score without its cost "
    "says little, so both stand side by side. Entries that ask for `policy` read the given policy's own "
    "probabilities, which tell what was good before."
)


def write_site(entries: Path, folder: Path, docs: Path | None = None) -> Path:
    """Writes the site.

    Args:
        entries: folder of entries and their reports.
        folder: where the site is written; other files there stay.
        docs: folder of the docs, whose maps and ledger are shown as well.

    Returns:
        Its first page.

    Raises:
        CreditEnvsError: if there are no entries, or the folder cannot be written.
    """
    found = standings(entries)
    shown = [one for one in found if one.level in LEVELS]
    waiting = [one.name for one in found if one.level not in LEVELS]
    there = {"index.html": True, "maps.html": docs is not None and bool(maps(docs))}
    there["claims.html"] = docs is not None and (docs / LEDGER).is_file()
    places = {file: name for file, name in PLACES.items() if there[file]}
    pages = {"index.html": _index(shown, waiting, places)}
    if docs is not None and there["maps.html"]:
        pages["maps.html"] = maps_page(docs, places)
        for path in maps(docs):
            write_atomically(folder / path.name, path.read_bytes())
    if docs is not None and there["claims.html"]:
        pages["claims.html"] = claims_page(docs, places)
    for one in shown:
        pages[entry_file(one.name)] = entry_page(one, entries / one.name / SOURCE, places)
    for name, here in by_environment(shown).items():
        pages[environment_file(name)] = environment_page(name, here, places)
    report, own = files("credit_envs.report"), files("credit_envs.leaderboard")
    pages["style.css"] = (report / "style.css").read_text() + (own / "site.css").read_text()
    pages["site.js"] = (report / "page.js").read_text() + (own / "site.js").read_text()
    for name, content in pages.items():
        write_atomically(folder / name, content.encode())
    return folder / "index.html"


def _index(shown: Sequence[Standing], waiting: Sequence[str], places: Mapping[str, str]) -> str:
    kinds = list(dict.fromkeys(one.manifest.sub_track for one in shown))
    levels = list(dict.fromkeys(one.level for one in shown))
    choices = (choice("Sub-track", "kind", kinds), choice("Verified", "level", levels))
    parts = [
        tag("p", text(_ABOUT)),
        filters(*choices, choice("Reads the policy", "reads", ["no", "yes"]), what="entries"),
    ]
    sections = {(one.manifest.track, one.manifest.suite) for one in shown}
    for track, suite in sorted(sections, key=lambda one: (one[0], -len(board(one[1]).environments), one[1])):
        here = [one for one in shown if (one.manifest.track, one.manifest.suite) == (track, suite)]
        parts.append(
            tag("section", tag("h2", text(f"{track.capitalize()} track, {suite}")), *_section(track, suite, here))
        )
    if waiting:
        parts.append(tag("p", text(f"Not verified yet, and so not ranked: {', '.join(waiting)}."), class_="soft"))
    return page("Credit assignment leaderboard", "".join(parts), places, "index.html")


def _section(track: str, suite: str, here: Sequence[Standing]) -> list[str]:
    rules = board(suite)
    budget = rules.budget if track == "estimator" else rules.learner_budget
    caption = (
        f"{len(rules.environments)} environments, n = {rules.seeds} seeds, {budget:,} environment steps per seed; "
        "values over the whole suite with 95 % intervals over seeds. Click a column to sort."
    )
    if track == "estimator":
        caption += " Cost: environment steps per trained step."
    asks = ("asks for",) if track == "estimator" else ()
    columns = (
        "entry",
        *(("sub-track",) if asks else ()),
        *asks,
        "verified",
        *(HEADS.get(s, s) for s in _listed(track)),
    )
    seasons = dict.fromkeys((one.hidden["season"], one.hidden["published"]) for one in here if one.hidden)
    notes = [
        tag("p", text(f"Hidden instances: season {name}. {_PUBLISHED if known else _SECRET}"), class_="soft")
        for name, known in seasons
    ]
    listed = table(
        caption,
        (*columns, *(("hidden",) if seasons else ())),
        [_row(one, bool(seasons)) for one in here],
        "sortable board",
    )
    plot = cost_plot(here) if track == "estimator" else ""
    links = (tag("li", tag("a", text(short(e)), href=environment_file(e))) for e in rules.environments)
    return [listed, *notes, plot, tag("h3", "Environment by environment"), tag("ul", *links, class_="places")]


_PUBLISHED = (
    "Its secret is published: it shows how methods fare elsewhere, and proves nothing about methods made since."
)
_SECRET = "Its secret was kept when these entries were verified."


def _row(one: Standing, seasons: bool) -> str:
    manifest = one.manifest
    name = tag("a", text(one.name), href=entry_file(one.name))
    scores = [interval(one.overall(s) if s != "cost" else one.overall(s)["value"]) for s in _listed(manifest.track)]
    main = SCORES[manifest.track][0]
    hidden = [interval(one.hidden["overall"][main]) if one.hidden else cell("–", float("nan"))] if seasons else []
    found = " ".join((one.name, manifest.authors, manifest.paper, manifest.description, *manifest.needs)).lower()
    kept = [cell(text(one.level), class_="word", title=LEVELS[one.level])]
    if manifest.track == "estimator":
        asks = text(", ".join(manifest.needs) or "–")
        kept = [cell(text(manifest.sub_track), class_="word"), cell(asks, class_="word"), *kept]
    inside = (tag("th", name, scope="row"), *kept, *scores, *hidden)
    reads = "yes" if POLICY in manifest.needs else "no"
    return tag("tr", *inside, data_find=found, data_kind=manifest.sub_track, data_level=one.level, data_reads=reads)


def _listed(track: str) -> list[str]:
    """What fits beside each other on the first page."""
    return [score for score in SCORES[track] if score != "cosine"]
