"""One-line errors that name the argument, its value and what would be allowed."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable, Mapping
from types import ModuleType


class CreditEnvsError(ValueError):
    """Bad input: the message names the argument, the value and the allowed range."""


class TableError(CreditEnvsError):
    """A table's arrays contradict each other, or a stored table cannot be trusted."""


class NotEnumerableError(CreditEnvsError):
    """An environment cannot be turned into a finite table; the message carries the evidence."""


class UnreachableRequestError(CreditEnvsError):
    """A dial was asked for a value outside the range that it can reach on this table."""


class UnexpectedArgumentError(CreditEnvsError, TypeError):
    """A keyword that an environment has not: a ``TypeError`` too, as callers that try out keywords expect."""


class MissingExtraError(ImportError):
    """An optional dependency is needed; the message names the extra to install."""


def unknown(kind: str, name: str, known: Iterable[str], full_names: Mapping[str, str] | None = None) -> CreditEnvsError:
    """Returns the error for a name that is not registered, with the nearest known names.

    Args:
        kind: what the name should be.
        name: what was given.
        known: the names.
        full_names: for short forms among them, the name to suggest instead.
    """
    ways, full = sorted(known), full_names or {}
    near = list(dict.fromkeys(full.get(n, n) for n in difflib.get_close_matches(name, ways, n=3, cutoff=0.4)))
    listed = ", ".join(sorted({full.get(n, n) for n in ways}))
    hint = f"did you mean {' or '.join(repr(n) for n in near)}?" if near else f"known: {listed}"
    return CreditEnvsError(f"unknown {kind} {name!r}; {hint}")


def check_range(
    name: str, value: float, low: float, high: float, *, integer: bool = False, open_low: bool = False
) -> None:
    """Raises unless ``low <= value <= high`` (``low < value`` with ``open_low``) and, if asked, value is whole."""
    bracket = "(" if open_low else "["
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = float("nan")
    ok = low <= number <= high and not (open_low and number == low)
    if not ok or (integer and number != int(number)):
        kind = "an integer" if integer else "a number"
        raise CreditEnvsError(f"{name}={value!r}: expected {kind} in {bracket}{low:g}, {high:g}]")


def need(module: str, extra: str) -> ModuleType:
    """Imports ``module`` or raises an error that names the extra which brings it.

    Raises:
        MissingExtraError: if the module is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != module.split(".")[0]:
            raise
        raise MissingExtraError(f"{module} is not installed: pip install 'credit-envs[{extra}]'") from error
