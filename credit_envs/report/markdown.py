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
        lines += [_line(head), _line(["---"] * len(head))]
        lines += [line for cell in here for line in _lines(cell)]
        lines.append("")
    matched = [
        _line(
            [short(cell.environment), cell.policy_name, name, *(interval(r.equivalents[PRICES[0]]) for r in (own, row))]
        )
        for cell in found
        for name, row in cell.matched.items()
        if not is_reference(name) and (own := cell.row(name)) is not None
    ]
    if matched:
        head = ["environment", "policy", "estimator", "its paper's γ", "the environment's γ"]
        lines += ["### γ matched", "", _line(head), _line(["---"] * len(head)), *matched, ""]
    return "\n".join(lines)


def _lines(cell: Cell) -> list[str]:
    lines = []
    for row in cell.rows:
        first, *others = (interval(row.equivalents[price]) for price in PRICES)
        worth = [first, *("=" if one_price(row) else text for text in others)]
        scores = [percent(row.headroom[PRICES[0]].value), *(number(x.value) for x in (row.rank, row.top, row.error))]
        lines.append(_line([cell.policy_name, row.estimator, *worth, *scores, f"{number(row.steps_ratio)}×"]))
    return lines


def _line(entries: list[str]) -> str:
    return f"| {' | '.join(entries)} |"
