"""Results as Markdown tables, for pages that are written by hand around them."""

from __future__ import annotations

from credit_envs.evaluation import Results
from credit_envs.report.lessons import sentences
from credit_envs.report.reading import (
    PRICES,
    Cell,
    by_environment,
    cells,
    command,
    interval,
    is_reference,
    number,
    one_price,
    percent,
    short,
)


def markdown(results: Results) -> str:
    """Returns tables of GRPO-equivalents per environment and policy, the γ-matched table, and what was learnt."""
    config = results.config
    fingerprints = {e["environment"]: e["fingerprint"][:12] for e in results.environments}
    lines = [
        f"Made by `{command(config)}` with credit_envs {results.provenance['credit_envs']}, torch "
        f"{results.provenance['torch']}; n = {config.seeds} seeds, B = {config.budget:,} environment steps, groups of "
        f"{config.group_size}.",
        "",
    ]
    found = cells(results)
    said = sentences(results)
    for environment, here in by_environment(found).items():
        lines += [
            f"### {short(environment)}",
            "",
            said[environment],
            "",
            f"Table fingerprint `{fingerprints[environment]}…`.",
            "",
        ]
        head = ["policy", "estimator", *PRICES, "headroom", "rank", "top-3", "error", "steps"]
        lines += [line(head), line(["---"] * len(head))]
        lines += [entry for cell in here for entry in _lines(cell)]
        lines.append("")
    matched = [
        line(
            [short(cell.environment), cell.policy_name, name, *(interval(r.equivalents[PRICES[0]]) for r in (own, row))]
        )
        for cell in found
        for name, row in cell.matched.items()
        if not is_reference(name) and (own := cell.row(name)) is not None
    ]
    if matched:
        head = ["environment", "policy", "estimator", "its paper's γ", "the environment's γ"]
        lines += ["### γ matched", "", line(head), line(["---"] * len(head)), *matched, ""]
    return "\n".join(lines)


def _lines(cell: Cell) -> list[str]:
    lines = []
    for row in cell.rows:
        first, *others = (interval(row.equivalents[price]) for price in PRICES)
        worth = [first, *("=" if one_price(row) else text for text in others)]
        scores = [percent(row.headroom[PRICES[0]].value), *(number(x.value) for x in (row.rank, row.top, row.error))]
        lines.append(line([cell.policy_name, row.estimator, *worth, *scores, f"{number(row.steps_ratio)}×"]))
    return lines


def line(entries: list[str]) -> str:
    """Returns one line of a Markdown table."""
    return f"| {' | '.join(entries)} |"


def row(*entries: object) -> str:
    """Returns one line of a table."""
    return f"| {' | '.join(str(entry) for entry in entries)} |"
