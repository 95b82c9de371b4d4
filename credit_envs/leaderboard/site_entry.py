"""Pages of single entries and of single environments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from credit_envs.leaderboard.entry import SOURCE
from credit_envs.leaderboard.site_parts import (
    CELL_SCORES,
    HEADS,
    PRICES,
    SCORES,
    entry_file,
    environment_file,
    interval,
    page,
)
from credit_envs.leaderboard.standing import Standing
from credit_envs.report.html import cell, table, tag, text
from credit_envs.report.reading import policy_name, short


def entry_page(one: Standing, source: Path, places: Mapping[str, str]) -> str:
    """Returns the page of an entry: how it stands, what was checked, every environment and policy, its source."""
    manifest = one.manifest
    about = [tag("p", text(manifest.description), class_="headline") if manifest.description else ""]
    facts = {
        "Track": " ".join((manifest.track, manifest.sub_track)),
        "Suite": manifest.suite,
        "Authors": manifest.authors,
        "Paper": manifest.paper,
        "Asks for": ", ".join(manifest.needs),
        "Code": f"{manifest.function} in {SOURCE}, revision {manifest.revision or 'unknown'}",
        "Made with": ", ".join(f"{name} {version}" for name, version in manifest.provenance.items()),
    }
    about.append(tag("dl", *(tag("dt", k) + tag("dd", text(v)) for k, v in facts.items() if v), class_="facts"))
    overall = [
        tag("tr", tag("th", text(HEADS.get(s, s)), scope="row"), interval(one.overall(s)))
        for s in SCORES[manifest.track]
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
        _cell_row(tag("a", text(short(c["environment"])), href=environment_file(c["environment"])), manifest.track, c)
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
        said = "The same families as other tables: other instances, an odd slip, permuted actions and looks, new words."
        if one.hidden["published"]:
            said += " The secret that they follow from is published, so methods made since may know them."
        parts += [tag("h2", text(f"Hidden instances, season {one.hidden['season']}")), tag("p", text(said))]
        parts.append(_cells_table("environment", manifest.track, hidden))
    parts += [tag("h2", "The same again"), tag("pre", text(manifest.command.replace("`", "'")), tabindex="0")]
    if source.is_file():
        parts += [tag("h2", "Source"), tag("pre", _escaped(source.read_text()), tabindex="0")]
    return page(one.name, "".join(parts), places)


def _escaped(source: str) -> str:
    return source.replace("&", "&amp;").replace("<", "&lt;")


def _cell_row(first: str, track: str, found: Mapping[str, Any]) -> str:
    flat = {**found, **found.get("equivalents", {})}
    if "headroom" in flat:
        flat["headroom"] = flat["headroom"][PRICES[0]]
    policy = [cell(text(policy_name(found["policy"])), class_="word")] if track == "estimator" else []
    return tag("tr", tag("th", first, scope="row"), *policy, *(interval(flat[score]) for score in CELL_SCORES[track]))


def _cells_table(first: str, track: str, rows: Sequence[str]) -> str:
    columns = (first, *(("policy",) if track == "estimator" else ()), *(HEADS.get(s, s) for s in CELL_SCORES[track]))
    caption = (
        "GRPO-equivalents under three price lists, and the credit against the exact advantage."
        if track == "estimator"
        else ""
    )
    return table(caption or "Exact return, 0 for uniform and 1 for optimal play.", columns, rows, "sortable")


def by_environment(shown: Sequence[Standing]) -> dict[str, list[Standing]]:
    """Returns environment → the entries that played it."""
    out: dict[str, list[Standing]] = {}
    for one in shown:
        for name in dict.fromkeys(c["environment"] for c in one.scores["cells"]):
            out.setdefault(name, []).append(one)
    return out


def environment_page(name: str, here: Sequence[Standing], places: Mapping[str, str]) -> str:
    """Returns the page of an environment: all entries side by side."""
    parts = [tag("p", "Environment ", tag("code", text(name)))]
    for track, suite in dict.fromkeys((one.manifest.track, one.manifest.suite) for one in here):
        rows = [
            _cell_row(tag("a", text(one.name), href=entry_file(one.name)), track, found)
            for one in here
            if (one.manifest.track, one.manifest.suite) == (track, suite)
            for found in one.scores["cells"]
            if found["environment"] == name
        ]
        parts += [tag("h2", text(f"{track.capitalize()} track, {suite}")), _cells_table("entry", track, rows)]
    return page(short(name), "".join(parts), places)
