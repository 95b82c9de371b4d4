"""The page of environments: what the knobs of each and all dials reach, as the oracle measures it.

Every knob and dial is turned alone, on instance 0, to both ends of its range; where a table is refused there, or has too
many states and steps to be measured in passing, the setting moves half of the way back to the default until it is not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import isfinite, sqrt
from typing import Any

from credit_envs import dials, registry
from credit_envs.dials.catalogue import DIALS, Dial
from credit_envs.errors import CreditEnvsError, NotEnumerableError
from credit_envs.families import FAMILIES, Family, Knob
from credit_envs.oracle import measure, uniform
from credit_envs.table.mdp import TabularMDP

MOST_VALUES = 1_000_000
"""Tables with more states × steps are not measured here."""

COLUMNS = {
    "states": "states",
    "horizon": "H",
    "expected_steps": "E[T]",
    "optimal_length": "steps",
    "revisit_rate": "ρ₈",
    "effective_unit": "k_eff",
    "luck_share": "luck",
    "J": "J uniform",
    "J_optimal": "J*",
}
"""Measured quantities and the heads of their columns."""

_INTRODUCTION = f"""# Environments: what every dial reaches

Made by `credit-envs list --docs docs`, from instance 0 of each family, and from each imported
environment, which has no knobs of its own. A row turns one knob or dial (in italics) alone from
its low end to its high end (`low … high`), or through its choices (`a · b · c`); a cell is blank where nothing differs from
the default. A row of blanks turns what these quantities do not see: looks, words, the order of actions, or when rewards are
paid that come at the end anyway.

| column | what it is |
| --- | --- |
| states, H | states of the table; steps after which an episode ends at the latest |
| E[T] | expected steps of uniform play |
| steps | expected steps of the optimal play that ends soonest |
| ρ₈ | revisit rate: share of steps at an anchor that another of 8 rollouts of uniform play visits, too |
| k_eff | effective causal unit: E[T] / participation ratio of E[A²] over the steps; – where no action matters |
| luck | share of the variance of the return that the dynamics' draws make; – where the return never varies |
| J uniform, J* | exact expected return of uniform and of optimal play |
| also | a quantity that only this row turns; *gap* is the return lost by the best player without the picture |

Where a table has more than {MOST_VALUES:,} states × steps, or is refused, the setting goes back half of the way to the
default until it can be measured; what was refused stands below the table, with what the family says.
"""

Measured = Mapping[str, float]


@dataclass(frozen=True)
class Row:
    """One knob or dial, turned alone.

    Attributes:
        name: of the knob or dial.
        settings: the settings that were measured.
        measured: what the oracle measured there.
        joint: what stands between them.
        also: head and key of a further quantity.
        refused: sentences on settings that were not measured.
    """

    name: str
    settings: tuple[Any, ...]
    measured: tuple[Measured, ...]
    joint: str
    also: tuple[str, str] | None
    refused: tuple[str, ...]


def environments_page(tell: Callable[[str], None] = lambda _: None) -> str:
    """Returns the page of all environments as Markdown; takes some minutes.

    Args:
        tell: is told each id before it is measured.
    """
    sections = []
    for entry in registry.ENTRIES:
        tell(entry.id)
        sections.append(section(entry))
    return "\n".join([_INTRODUCTION, overview(), *sections])


def overview() -> str:
    """Returns the table of all registered environments at their defaults."""
    lines = ["## All at their defaults", "", _line(["environment", *COLUMNS.values()]), _rule(len(COLUMNS) + 1)]
    for entry in registry.ENTRIES:
        found = measure(registry.make_table(entry.id))
        lines.append(_line([f"`{entry.id}`", *(_number(found[key]) for key in COLUMNS)]))
    return "\n".join([*lines, ""])


def section(entry: registry.Entry) -> str:
    """Returns the table of a family or of an imported environment, and what was refused."""
    family = FAMILIES[entry.target] if entry.source == "family" else None
    table = registry.make_table(entry.id)
    default = measure(table)
    knobs = family.knobs.items() if family is not None else ()
    rows = [
        *(_knob_row(family, key, knob) for key, knob in knobs if family is not None),
        *(_dial_row(table, dial) for dial in DIALS.values()),
    ]
    gap = f"gap {_number(default['perception_gap'])}" if "perception_gap" in default else ""
    lines = [
        f"## {entry.id.removeprefix('credit/').rsplit('-v', 1)[0]}",
        "",
        family.summary if family is not None else f"`{entry.target}`, imported.",
        "",
        _line(["turned", "from … to", *COLUMNS.values(), "also"]),
        _rule(len(COLUMNS) + 3),
        _line(["**default**", "", *(f"**{_number(default[key])}**" for key in COLUMNS), gap]),
        *(_written(row, default) for row in rows if row.settings),
        "",
    ]
    refused = [f"- {sentence}" for row in rows for sentence in dict.fromkeys(row.refused)]
    return "\n".join([*lines, *([*refused, ""] if refused else [])])


def _knob_row(family: Family, name: str, knob: Knob) -> Row:
    def build(value: Any) -> TabularMDP:
        return family.build(**{name: value})

    if knob.choices is not None:
        found = [_turned(build, name, choice, None, True) for choice in knob.choices]
        return _row(name, found, " · ", ("gap", "perception_gap"))
    back = knob.low if knob.default is None else knob.default
    ends = dict.fromkeys([knob.low, knob.high])
    return _row(
        name,
        [_turned(build, name, end, back, knob.integer) for end in ends],
        " … ",
        ("gap", "perception_gap"),
    )


def _dial_row(table: TabularMDP, dial: Dial) -> Row:
    """Turns a dial on a table; its own quantity is measured where the columns lack it."""
    steps = None if dial.steps is None else dial.steps(table)
    low, high = (dial.low, dial.high) if steps is None else (float(steps[0]), float(steps[-1]))
    neutral = {"density": 1.0, "horizon": float(table.horizon)}.get(dial.name, low)

    def build(value: Any) -> TabularMDP:
        return dials.apply(table, **{dial.name: value})

    def own(turned: TabularMDP) -> Measured:
        return {dial.quantity: float(dial.measure(turned, uniform(turned)))}

    further = None if dial.quantity in COLUMNS else own
    found = [_turned(build, dial.name, end, neutral, dial.integer, further) for end in dict.fromkeys([low, high])]
    word = "gap" if dial.quantity == "perception_gap" else dial.quantity.replace("_", " ")
    return _row(f"*{dial.name}*", found, " … ", (word, dial.quantity) if further else None)


@dataclass(frozen=True)
class _Setting:
    """A setting that was measured (or None was), and a sentence if it is not the one that was asked for."""

    value: Any
    measured: Measured | None
    refused: str | None


def _turned(
    build: Callable[[Any], TabularMDP],
    name: str,
    value: Any,
    back: float | None,
    integer: bool,
    further: Callable[[TabularMDP], Measured] | None = None,
) -> _Setting:
    """Measures a setting, or the nearest one on the way back to the default that can be measured."""
    refused = None
    for tried in _way_back(value, back, integer):
        try:
            table = build(tried)
            size = table.n_states * (table.horizon + 1)
            if size <= MOST_VALUES:
                return _Setting(tried, {**measure(table), **(further(table) if further else {})}, refused)
            reason = f"{table.n_states:,} states × {table.horizon:,} steps, not measured here"
        except (CreditEnvsError, NotEnumerableError) as error:
            reason = " ".join(str(error).split())
        given = "" if f"{name}=" in reason or reason.startswith("the table already") else f"={_setting(tried)}"
        refused = refused or f"`{name}{given}`: {reason}"
    return _Setting(value, None, refused)


def _way_back(value: Any, back: float | None, integer: bool) -> Iterator[Any]:
    """Yields a setting, then settings half of the way back to another (by factors where they are far apart)."""
    while True:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        yield int(value) if number and integer else value
        if back is None or not number:
            return
        far = back > 0 and max(value, back) > 4 * min(value, back) > 0
        nearer = sqrt(value * back) if far else (value + back) / 2
        nearer = float(f"{nearer:.2g}")
        if integer:
            nearer = float(round(nearer))
        if abs(nearer - back) < 1e-3 * max(abs(back), 1) or nearer == value:
            return
        value = nearer


def _row(name: str, found: list[_Setting], joint: str, also: tuple[str, str] | None) -> Row:
    kept = [setting for setting in found if setting.measured is not None]
    return Row(
        name=name,
        settings=tuple(setting.value for setting in kept),
        measured=tuple(setting.measured for setting in kept if setting.measured is not None),
        joint=joint,
        also=also,
        refused=tuple(setting.refused for setting in found if setting.refused is not None),
    )


def _written(row: Row, default: Measured) -> str:
    def cell(key: str) -> str:
        values = [_number(measured[key]) for measured in row.measured]
        if all(value == _number(default[key]) for value in values):
            return ""
        return values[0] if len(set(values)) == 1 else row.joint.join(values)

    also = ""
    if row.also is not None and all(row.also[1] in measured for measured in row.measured):
        word, key = row.also
        values = [_number(measured[key]) for measured in row.measured]
        if key not in default or any(value != _number(default[key]) for value in values):
            also = f"{word} " + (values[0] if len(set(values)) == 1 else row.joint.join(values))
    settings = row.joint.join(map(_setting, row.settings))
    return _line([row.name, settings, *(cell(key) for key in COLUMNS), also])


def _setting(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _number(value: float) -> str:
    if not isfinite(value):
        return "–"
    if abs(value) < 1e-14:
        return "0"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _rule(columns: int) -> str:
    return _line(["---"] * columns)
