"""What was learnt, one sentence per environment: only what the intervals support, computed from the rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from math import isfinite

from credit_envs.evaluation import Interval, Results, Row
from credit_envs.recipes import known
from credit_envs.report.reading import PRICES, ROUNDING, Cell, by_environment, cells, number, percent, worth

_SIMULATOR, _DATA = PRICES[0], PRICES[-1]
_FORKS = 1.001

Leads = Mapping[str, tuple[Row | None, list[Row]]]


def sentences(results: Results) -> dict[str, str]:
    """Returns one sentence per environment."""
    return {environment: sentence(here) for environment, here in by_environment(cells(results)).items()}


def verdict(found: Interval) -> str:
    """Says what an interval of GRPO-equivalents supports: ``more``, ``less``, ``same`` (contains 1) or ``unknown``.

    Unknown are figures without an interval: the estimator's mean gradient, or GRPO's, does not point along the exact one.
    """
    if not (isfinite(found.low) and isfinite(found.high)):
        return "unknown"
    return "more" if found.low > 1 + ROUNDING else "less" if found.high < 1 - ROUNDING else "same"


def leader(cell: Cell, price: str) -> tuple[Row | None, list[Row]]:
    """Returns who is worth most under a price list, and those whose intervals reach into its own.

    None if nobody's interval lies above 1.
    """
    ranked = sorted(
        (row for row in cell.rivals if verdict(row.equivalents[price]) != "unknown"),
        key=lambda row: -row.equivalents[price].value,
    )
    if not ranked or verdict(ranked[0].equivalents[price]) != "more":
        return None, []
    low = ranked[0].equivalents[price].low
    return ranked[0], [row for row in ranked[1:] if row.equivalents[price].high >= low]


def tally(found: Sequence[Cell], price: str) -> dict[str, dict[str, int]]:
    """Counts, per estimator, the cells in which it is worth ``more`` than GRPO, the ``same``, ``less``, or ``unknown``."""
    out: dict[str, dict[str, int]] = {}
    for cell in found:
        for row in cell.rivals:
            kinds = out.setdefault(row.estimator, {"more": 0, "same": 0, "less": 0, "unknown": 0})
            kinds[verdict(row.equivalents[price])] += 1
    return out


def headline(found: Sequence[Cell]) -> list[str]:
    """Returns what holds over all cells: who is worth more than GRPO most often, per sampled and per trained step."""
    out: list[str] = []
    for price, unit in ((_SIMULATOR, "sampled"), (_DATA, "trained")):
        kinds = {name: kind for name, kind in tally(found, price).items() if kind["more"]}
        best = sorted(kinds, key=lambda name: kinds[name]["less"] - kinds[name]["more"])[:3]
        scope = f"of {len(found)} cells (environment × policy)" if not out else f"of {len(found)}"
        if not best:
            out.append(
                f"Per {unit} step, nothing is worth more than GRPO in any {scope} that {_seeds(found)} can show."
            )
            continue
        said = [f"{_spoken(name)} in {kinds[name]['more']}, less in {kinds[name]['less']}" for name in best]
        said[0] = said[0].replace(" in ", " is worth more than GRPO in ", 1).replace(", less", f" {scope}, less")
        out.append(f"Per {unit} step, {'; '.join(said)}.")
    return out


def sentence(here: Sequence[Cell]) -> str:
    """Says what one environment teaches.

    Args:
        here: its cells, one per policy.
    """
    leads = {cell.policy: leader(cell, _SIMULATOR) for cell in here}
    others = dict.fromkeys(row.estimator for cell in here for row in cell.rivals)
    told = [name for name in others if name == "gigpo" or known(name) is None]
    clauses = [_measured(here) + _lead(here, leads), *(_compared(name, here, leads) for name in told), _forking(here)]
    text = "; ".join(clause for clause in clauses if clause)
    return f"{text[0].upper()}{text[1:]}."


def _measured(here: Sequence[Cell]) -> str:
    """What the oracle measures there under uniform play: luck, revisits, length."""
    found = here[0].about.get("measured", {})
    luck, rho, steps = (found.get(name, float("nan")) for name in ("luck_share", "revisit_rate", "expected_steps"))
    parts = []
    if isfinite(luck):
        parts.append("no luck" if luck < 1e-9 else f"{percent(luck)} luck")
    if isfinite(rho):
        parts.append(f"ρ = {number(rho)}")
    if isfinite(steps):
        parts.append(f"{steps:.0f} steps per episode")
    return f"with {_listed(parts)}, " if parts else ""


def _lead(here: Sequence[Cell], leads: Leads) -> str:
    """Who is worth most per sampled step, and how much of the headroom that is."""
    parts: list[str] = []
    for name in dict.fromkeys(row.estimator for row, _ in leads.values() if row is not None):
        own = [(cell, r) for cell in here if (r := leads[cell.policy][0]) is not None and r.estimator == name]
        values = _listed(worth(r, _SIMULATOR) for _, r in own)
        share = [x.value for _, r in own if isfinite((x := r.headroom[_SIMULATOR]).value)]
        room = f"; {_span(share, percent)} of the headroom" if share else ""
        parts.append(f"{_spoken(name)}{{}} {_where([cell for cell, _ in own], here)} ({values}{room})")
    texts = [part.format("" if i else " is worth most per sampled step") for i, part in enumerate(parts)]
    text = _listed(texts) if texts else ""
    close: dict[str, list[Cell]] = {}
    for cell in here:
        for row in leads[cell.policy][1]:
            close.setdefault(row.estimator, []).append(cell)
    if close:
        text += (
            f", not clearly ahead of {_listed(f'{_spoken(name)} {_where(own, here)}' for name, own in close.items())}"
        )
    if none := [cell for cell in here if leads[cell.policy][0] is None]:
        nothing = f"nothing is worth more than GRPO per sampled step that {_seeds(here)} can show"
        text += f"{'; ' if text else ''}{nothing} {_where(none, here)}"
    return text


def _compared(name: str, here: Sequence[Cell], leads: Leads) -> str:
    """Whether an estimator differs from GRPO per sampled step, under the policies where it does not lead anyway."""
    groups: dict[str, list[tuple[Cell, Row]]] = {}
    for cell in here:
        row, (first, _) = cell.row(name), leads[cell.policy]
        if row is not None and (first is None or first.estimator != name):
            groups.setdefault(verdict(row.equivalents[_SIMULATOR]), []).append((cell, row))
    words = {
        "more": "is worth more than GRPO",
        "less": "is worth less than GRPO",
        "same": f"shows no difference from GRPO that {_seeds(here)} can show",
        "unknown": "has no figure",
    }
    parts: list[str] = []
    for kind, text in words.items():
        if kind in groups:
            text = text.removeprefix("is " if parts else "").removesuffix(
                " than GRPO" if parts and kind == "less" else ""
            )
            values = _span([row.equivalents[_SIMULATOR].value for _, row in groups[kind]], number)
            told = f" ({values})" if kind in ("more", "less") else ""
            parts.append(f"{text} {_where([cell for cell, _ in groups[kind]], here)}{told}")
    return f"{_spoken(name)} {_listed(parts)}" if parts else ""


def _forking(here: Sequence[Cell]) -> str:
    """Whether fresh continuations pay, per step sampled and per step trained on."""
    names = dict.fromkeys(row.estimator for cell in here for row in cell.rivals if row.steps_ratio > _FORKS)
    name = "vineppo" if "vineppo" in names else next(iter(names), None)
    if name is None:
        return ""
    subject = "Monte-Carlo values (vineppo)" if name == "vineppo" else f"the continuations of {name}"
    sampled, trained = _pays(name, here, _SIMULATOR), _pays(name, here, _DATA)
    link = "and" if sampled[0] == trained[0] else "but"
    return f"{subject} {sampled[0]} per sampled step{sampled[1]} {link} {trained[0]} per trained step{trained[1]}"


def _pays(name: str, here: Sequence[Cell], price: str) -> tuple[str, str]:
    """Returns whether an estimator pays under a price list, and under which policies with what values."""
    known = [(cell, row.equivalents[price]) for cell in here if (row := cell.row(name)) is not None]
    kinds = {cell.policy: verdict(found) for cell, found in known}
    won = [(cell, found) for cell, found in known if kinds[cell.policy] == "more"]
    told = won or known
    values = f" ({_span([found.value for _, found in told if isfinite(found.value)], number)})"
    if won:
        return "pay", (f" {_where([cell for cell, _ in won], here)}" if len(won) < len(known) else "") + values
    if set(kinds.values()) <= {"less", "unknown"}:
        return "do not pay", values
    return "show no gain", f" with {_seeds(here)}{values}"


def _where(some: Sequence[Cell], all_: Sequence[Cell]) -> str:
    if len(some) == len(all_):
        return "under every policy" if len(all_) > 1 else f"under the {_policy(some[0])} policy"
    return f"under the {_listed(_policy(cell) for cell in some)} {'policy' if len(some) == 1 else 'policies'}"


def _policy(cell: Cell) -> str:
    return "uniform" if cell.policy == "uniform" else cell.policy_name.split(" of ")[0]


def _seeds(here: Sequence[Cell]) -> str:
    return f"{here[0].rows[0].seeds} seeds"


def _spoken(name: str) -> str:
    return {"gigpo": "GiGPO", "grpo": "GRPO with its division by the deviation"}.get(name, name)


def _listed(parts: Iterable[str]) -> str:
    texts = list(parts)
    return texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} and {texts[-1]}"


def _span(values: Sequence[float], write: Callable[[float], str]) -> str:
    if not values:
        return "–"
    low, high = write(min(values)), write(max(values))
    return low if low == high else f"{low} to {high}"
