"""One self-contained page: what was learnt, plots, tables, what the words mean, and where the figures come from."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path

from credit_envs.errors import CreditEnvsError
from credit_envs.evaluation import Results
from credit_envs.report import plots, tables
from credit_envs.report.html import tag, text, themed
from credit_envs.report.lessons import headline, sentences
from credit_envs.report.reading import PRICES, Cell, by_environment, cells, command, policies, short, worth
from credit_envs.table.storage import write_atomically

_TERMS = {
    "Credit": "The number by which an estimator says how much an action changed the return. It is scored against the exact "
    "advantage A(s, a) = Q(s, a) − V(s) of the sampling policy, which is known because the environment is a table.",
    "GRPO-equivalents": "How many times fewer resources an estimator needs than GRPO for a policy gradient of the same "
    "signal-to-noise ratio: 2 means half the budget, 0.1 ten times the budget. The unit is mean-centred GRPO without "
    "division by the deviation (`dr_grpo`), groups of 8. Bias counts as noise that no budget removes, so the figure "
    "depends on the budget B.",
    "Price lists": "What is scarce decides what an estimator is worth. Simulator: only environment steps cost. Language "
    "model: a generated step costs 1 and a trained step 3 more. Data: only the steps that are trained on cost, and fresh "
    "continuations are free.",
    "Headroom": "The way from GRPO to the exact advantage on the same trajectories. An estimator at 40 % has closed 40 % "
    "of it; the exact advantage is a reference, not a bound.",
    "Policies": "Credit quality depends on where the policy stands, so every estimator is scored under a ladder of "
    "policies, from uniform play to policies that reach a given share of the way to optimal play.",
    "Credit fidelity": "Pearson: correlation of credit and advantage over steps. Rank: Kendall's concordance of actions "
    "within a state. Sign: share of right signs. Top 3: share of each rollout's three most decisive steps that are among "
    "the estimator's three largest. Error: mean squared error after the best single scale, 1 for credit that says nothing.",
    "Measured dials": "ρ, the revisit rate: share of steps whose observation another rollout of the group visits too. Luck "
    "share: the part of the return's variance that the dynamics draw. k_eff: how unevenly the skill is spread over an "
    "episode; 1 means evenly.",
    "Intervals": "95 % percentile bootstrap over seeds, paired across estimators. With few seeds they are somewhat too "
    "narrow (about 90 % at n = 10).",
}


def write_page(results: Results, path: str | Path | None = None) -> Path:
    """Writes the page of results.

    Args:
        results: what to report.
        path: file to write (default: ``report.html`` in the folder of the results).

    Raises:
        CreditEnvsError: if there is nothing to report, or the file cannot be written.
        MissingExtraError: if matplotlib is not installed.
    """
    target = Path(path) if path is not None else results.folder / "report.html"
    write_atomically(target, as_html(results).encode())
    return target


def as_html(results: Results) -> str:
    """Returns the page of results as HTML that needs nothing else."""
    found = cells(results)
    if not found:
        raise CreditEnvsError(f"folder={str(results.folder)!r}: no finished cells, nothing to report")
    here = files("credit_envs.report")
    sections: dict[str, tuple[str, str]] = {
        "learnt": ("What was learnt", _learnt(results)),
        "worth": ("What each estimator is worth", _worth(found, results)),
        "cost": ("Score against cost", _cost(found)),
        "fidelity": ("Does the credit match the truth?", _fidelity(found)),
        "environments": ("The environments, measured", _environments(results)),
        "discount": ("The papers' γ and the environment's γ", tables.matched(found)),
        "figures": ("All figures", _figures(found)),
        "terms": ("Terms", tag("dl", *(tag("dt", text(k)) + tag("dd", text(v)) for k, v in _TERMS.items()))),
        "provenance": ("Provenance", _provenance(results)),
    }
    sections = {name: part for name, part in sections.items() if part[1]}
    nav = tag(
        "nav", *(tag("a", text(title), href=f"#{name}") for name, (title, _) in sections.items()), aria_label="Sections"
    )
    main = "".join(
        tag("section", tag("h2", text(title)), inside, id=name, aria_label=title)
        for name, (title, inside) in sections.items()
    )
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        "<title>Credit report</title>" + tag("style", (here / "style.css").read_text())
    )
    body = tag("header", tag("h1", "Credit report"), _summary(found, results), nav) + tag("main", main)
    script = tag("script", (here / "page.js").read_text())
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>{body}{script}</body></html>\n'


def _summary(found: Sequence[Cell], results: Results) -> str:
    config, places = results.config, by_environment(found)
    scope = (
        f"{len(places)} environment{'s' * (len(places) > 1)}, {len(policies(found))} policies each, "
        f"n = {config.seeds} seeds, B = {config.budget:,} environment steps per seed, groups of {config.group_size}."
    )
    expected = len(config.environments) * len(config.levels) * config.seeds
    done = sum(cell.rows[0].seeds for cell in found)
    if done < expected:
        scope += f" Unfinished: {done} of {expected} cells are done."
    return tag("p", text(scope), class_="soft") + "".join(
        tag("p", text(said), class_="headline") for said in headline(found)
    )


def _learnt(results: Results) -> str:
    lines = (tag("li", tag("strong", text(short(name))), ". ", text(said)) for name, said in sentences(results).items())
    return tag("ul", *lines, class_="lessons") + tables.counts(cells(results))


def _worth(found: Sequence[Cell], results: Results) -> str:
    unit = [
        name
        for name in dict.fromkeys(r.estimator for c in found for r in c.rows)
        if all(name not in plots.shown(here) for here in by_environment(found).values())
    ]
    caption = (
        "GRPO-equivalents with 95 % intervals; the line at 1 is GRPO. One row per estimator, one line per policy, one mark "
        "per price list where prices matter; arrow heads stand for values outside the scale. The shaded row is the exact "
        f"advantage on the same trajectories: the ceiling. Not drawn, because they equal the unit on every seed: "
        f"{', '.join(unit) or 'none'}. n = {results.config.seeds} seeds, B = {results.config.budget:,} steps."
    )
    return _panels(found, caption, _key(found), plots.worth_svg, "w", _worth_label)


def _cost(found: Sequence[Cell]) -> str:
    caption = (
        "Score: GRPO-equivalents per trained step, continuations for free. Cost: environment steps spent per step of the "
        "sample. Above the dashed line an estimator pays, roughly, even where environment steps are what is scarce; those "
        "that spend nothing beyond the sample stand side by side at 1×. Empty marks: uniform play; full marks: the best "
        "policy."
    )
    return _panels(found, caption, "", plots.cost_svg, "c", _cost_label)


def _panels(
    found: Sequence[Cell],
    caption: str,
    key: str,
    draw: Callable[[Sequence[Cell], str], str],
    prefix: str,
    label: Callable[[Sequence[Cell]], str],
) -> str:
    parts = []
    for i, (environment, here) in enumerate(by_environment(found).items()):
        name = f"{prefix}{i}"
        parts.append(tag("div", tag("h3", text(short(environment))), themed(draw(here, name), label(here), name)))
    return tag("figure", tag("figcaption", text(caption)), key, tag("div", *parts, class_="panels"))


def _worth_label(here: Sequence[Cell]) -> str:
    said = [
        f"{cell.policy_name}: " + ", ".join(f"{r.estimator} {worth(r, PRICES[0])}" for r in cell.rows) for cell in here
    ]
    return f"Dot plot of GRPO-equivalents on {short(here[0].environment)} at the simulator's prices. {'; '.join(said)}."


def _cost_label(here: Sequence[Cell]) -> str:
    said = [f"{r.estimator} costs {r.steps_ratio:.3g} and scores {worth(r, PRICES[-1])}" for r in here[-1].rows]
    return f"Score against cost on {short(here[0].environment)}, policy {here[-1].policy_name}: {'; '.join(said)}."


def _key(found: Sequence[Cell]) -> str:
    shapes = {
        "o": '<circle cx="8" cy="8" r="5.5" {}/>',
        "s": '<rect x="3" y="3" width="10" height="10" {}/>',
        "^": '<path d="M8 2 14 13.5H2Z" {}/>',
        "D": '<path d="M8 1.5 14.5 8 8 14.5 1.5 8Z" {}/>',
    }

    def entry(label: str, shape: str, colour: str, fill: float = 1.0) -> str:
        paint = f'fill="{colour}" fill-opacity="{fill:.2f}" stroke="{colour}" stroke-width="1.6"'
        glyph = f'<svg viewBox="0 0 16 16" aria-hidden="true">{shapes[shape].format(paint)}</svg>'
        return tag("li", glyph, text(label))

    colours = ("var(--blue)", "var(--orange)", "var(--green)")
    names = plots.policy_names(found)
    return tag(
        "ul",
        entry("all prices alike", "o", "var(--ink)"),
        *(entry(f"{p} prices", plots.SHAPES[p], colour) for p, colour in zip(PRICES, colours, strict=True)),
        *(entry(f"policy {n}", "o", "var(--ink)", plots.fill_of(i, len(names))) for i, n in enumerate(names)),
        entry("exact advantage", "D", "var(--ink)"),
        class_="key",
    )


def _fidelity(found: Sequence[Cell]) -> str:
    intro = tag(
        "p",
        text(
            "Credit against the exact advantage on the steps that were taken. The deeper the blue, the better; white is no "
            "better than chance and red is worse. A GRPO-like estimator can have useful gradients with credit that is almost "
            "all noise step by step. Intervals are in the table of all figures."
        ),
    )
    panels = tag("div", *(tag("div", tables.fidelity(c), data_policy=c.policy) for c in found), class_="panels")
    return intro + _choice(found) + panels


def _choice(found: Sequence[Cell]) -> str:
    names = policies(found)
    chosen = names[len(names) // 2]
    entries = (
        f'<label><input type="radio" name="policy" value="{name}"{" checked" * (name == chosen)}> {shown}</label>'
        for name, shown in zip(names, plots.policy_names(found), strict=True)
    )
    return tag("fieldset", "<legend>Policy</legend>", *entries, class_="choice")


def _environments(results: Results) -> str:
    order = {name: i for i, name in enumerate(results.config.environments)}
    known = sorted(results.environments, key=lambda entry: order.get(entry["environment"], len(order)))
    return tables.dials(known) + tables.rungs(known)


def _figures(found: Sequence[Cell]) -> str:
    intro = (
        "Click a column to sort. The policy is chosen above, beside the credit fidelity; without scripts all are shown."
    )
    parts = (
        tag("div", tables.everything([cell for cell in found if cell.policy == policy]), data_policy=policy)
        for policy in policies(found)
    )
    return tag("p", text(intro), class_="soft") + "".join(parts)


def _provenance(results: Results) -> str:
    prints = {short(entry["environment"]): entry["fingerprint"] for entry in results.environments}
    made = ", ".join(f"{name} {version}" for name, version in results.provenance.items())
    lists = (tag("li", text(f"{name}: "), tag("code", value)) for name, value in prints.items())
    config = json.dumps(asdict(results.config), indent=1, default=str)
    return (
        tag("p", text("Made with " + made + ". The same command makes the same figures again, wall times apart:"))
        + tag("pre", text(command(results.config)), tabindex="0")
        + tag("h3", "Fingerprints of the tables (sha256)")
        + tag("ul", *lists, style="overflow-wrap: anywhere")
        + tag("h3", "Configuration")
        + tag("pre", text(config), tabindex="0")
    )
