"""Sweeps as plain data: a TOML file lists tables, and each stands for all combinations of what varies in it.

    name = "mine"
    about = "GiGPO against GRPO as rooms get slippery"

    [fields]                        # of every cell; see Cell, or for [[trials]] Trial
    seeds = 10

    [[cells]]
    environment = "credit/KeyRooms-v0?slip={slip}"
    estimators = ["gigpo", "mc@{grain}(k=1)"]
    axes = { slip = "{slip}" }
    let = { grain = [1, 4] }
    vary = [[{ slip = 0.0 }, { slip = 0.2 }], [{ level = 0.5 }, { level = 0.9 }]]

``vary`` is a list of factors, each a list of settings; one cell comes of each way to take one setting per factor, after
``let``. ``{name}`` stands for a setting's value; a text that is nothing else becomes the value itself; an estimator that
names a list becomes one for each entry. Settings that are fields of a cell set these as well.
"""

from __future__ import annotations

import dataclasses
import itertools
import re
import string
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from credit_envs.errors import CreditEnvsError, unknown
from credit_envs.experiments.cells import Cell, Sweep, Work
from credit_envs.experiments.trials import Trial

FOLDER = Path(__file__).with_name("sweeps")
"""Sweeps that come with the package."""

KINDS: Mapping[str, Any] = {"cells": Cell, "trials": Trial}
"""What a table of a sweep file can be."""

_TABLE = ("let", "vary")
_PAIRS = {"axes", "settings"}
_WHOLE = re.compile(r"\{(\w+)\}")


def shipped() -> tuple[str, ...]:
    """Returns the names of the sweeps that come with the package."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.toml")))


def load_sweep(source: str | Path) -> Sweep:
    """Reads a sweep.

    Args:
        source: a TOML file, or the name of a sweep that comes with the package.

    Raises:
        CreditEnvsError: for a file that is not there or not TOML, unknown tables and fields, and settings that lack a value.
    """
    path = Path(source) if str(source).endswith(".toml") else FOLDER / f"{source}.toml"
    if not path.is_file():
        raise CreditEnvsError(
            f"sweep={str(source)!r}: no such file; expected a TOML file or one of {', '.join(shipped())}"
        )
    try:
        told = tomllib.loads(path.read_text())
    except tomllib.TOMLDecodeError as error:
        raise CreditEnvsError(f"sweep={path.name!r}: not TOML: {error}") from None
    common = told.pop("fields", {})
    for field in common:
        if not any(field in _fields(kind) for kind in KINDS.values()):
            raise unknown(
                f"sweep={path.name!r}: field", field, [name for kind in KINDS.values() for name in _fields(kind)]
            )
    name, about = str(told.pop("name", path.stem)), str(told.pop("about", ""))
    cells: list[Work] = []
    for kind, tables in told.items():
        if kind not in KINDS:
            raise unknown(f"sweep={path.name!r}: table", kind, KINDS)
        for table in tables:
            shared = {name: value for name, value in common.items() if name in _fields(KINDS[kind])}
            cells += _expanded(path.name, KINDS[kind], {**shared, **table})
    if not cells:
        raise CreditEnvsError(
            f"sweep={path.name!r}: holds no cells, expected tables {', '.join(f'[[{k}]]' for k in KINDS)}"
        )
    return Sweep(name, about, tuple(cells))


def _fields(kind: Any) -> list[str]:
    return [field.name for field in dataclasses.fields(kind)]


def _expanded(file: str, kind: Any, table: Mapping[str, Any]) -> Iterator[Work]:
    known = _fields(kind)
    for name in table:
        if name not in known and name not in _TABLE:
            raise unknown(f"sweep={file!r}: field", name, [*known, *_TABLE])
    for chosen in itertools.product(*table.get("vary", ())):
        values: dict[str, Any] = dict(table.get("let", {}))
        for setting in chosen:
            values |= setting
        fields = {name: value for name, value in table.items() if name in known}
        fields |= {name: value for name, value in values.items() if name in known}
        filled = {name: _filled(file, value, values) for name, value in fields.items()}
        for name in _PAIRS & set(filled):
            if not isinstance(filled[name], Mapping):
                raise CreditEnvsError(
                    f"sweep={file!r}: {name}={filled[name]!r}, expected a table such as {{ slip = 0.2 }}"
                )
            filled[name] = tuple(filled[name].items())
        if "estimators" in filled:
            each = [one for form in fields["estimators"] for one in _each(file, form, values)]
            filled["estimators"] = tuple(dict.fromkeys(each))
        try:
            yield kind(**filled)
        except TypeError as error:
            raise CreditEnvsError(f"sweep={file!r}: {error}") from None


def _filled(file: str, value: Any, values: Mapping[str, Any]) -> Any:
    if isinstance(value, Mapping):
        return {name: _filled(file, one, values) for name, one in value.items()}
    if not isinstance(value, str):
        return value
    whole = _WHOLE.fullmatch(value)
    try:
        return values[whole[1]] if whole else value.format_map(values)
    except KeyError as error:
        raise CreditEnvsError(
            f"sweep={file!r}: {value!r} names {error.args[0]}, which `let` and `vary` don't set"
        ) from None


def _each(file: str, form: str, values: Mapping[str, Any]) -> Iterator[str]:
    names = [name for _, name, _, _ in string.Formatter().parse(form) if name]
    lists = [[(name, one) for one in values[name]] for name in names if isinstance(values.get(name), list)]
    for chosen in itertools.product(*lists):
        yield _filled(file, form, {**values, **dict(chosen)})
