"""All entries of a folder with what verification found, in the order in which they stand."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

from credit_envs.errors import CreditEnvsError
from credit_envs.evaluation.prices import PRICE_LISTS
from credit_envs.leaderboard.case import Report
from credit_envs.leaderboard.entry import MANIFEST, checked_name
from credit_envs.leaderboard.form import digest
from credit_envs.leaderboard.manifest import Manifest, read_manifest
from credit_envs.table.storage import write_atomically

_SUFFIX = ".verified.json"
MAIN = {"estimator": "simulator", "learner": "normalised"}
"""What entries of a track are ordered by unless a reader asks for something else."""

NAMES = {
    "estimator": (*PRICE_LISTS, "headroom", "cosine", "pearson", "cost"),
    "learner": ("normalised", "env_steps"),
}
"""Scores over all cells."""


@dataclass(frozen=True, eq=False)
class Standing:
    """One entry.

    Attributes:
        manifest: what it states.
        level: ``re-run``, ``replayed``, ``refused``, or ``unverified``.
        scores: recomputed where verified, else as stated.
        hidden: scores on hidden instances, None where there are none.
        checks: what was checked: name, status and detail.
    """

    manifest: Manifest
    level: str
    scores: Mapping[str, Any]
    hidden: Mapping[str, Any] | None
    checks: tuple[Mapping[str, str], ...]

    @property
    def name(self) -> str:
        """Its name."""
        return self.manifest.name

    def overall(self, score: str) -> Mapping[str, float]:
        """Returns ``value``, ``low`` and ``high`` of a score over all cells."""
        found: Mapping[str, float] = self.scores["overall"][score]
        return found


def report_file(folder: Path) -> Path:
    """Returns where the report of an entry is kept: beside its folder."""
    return folder.with_name(folder.name + _SUFFIX)


def keep(report: Report, folder: Path) -> Path:
    """Writes a report beside the entry."""
    path = report_file(folder)
    write_atomically(path, report.as_json().encode())
    return path


def stand(folder: Path) -> Standing:
    """Reads one entry and its report; a report of other files counts for nothing.

    Raises:
        CreditEnvsError: if the manifest is unreadable.
    """
    manifest, path = read_manifest(folder / MANIFEST), report_file(folder)
    if manifest.name != checked_name(folder.name):
        raise CreditEnvsError(f"{folder}: its manifest is of {manifest.name!r:.70}; an entry's folder has its name")
    unverified = Standing(manifest, "unverified", _stated(manifest), None, ())
    if not path.is_file():
        return unverified
    try:
        report = json.loads(path.read_text())
        if report["digest"] != digest(folder):
            return unverified
        scores = report["scores"] or manifest.scores
        return Standing(manifest, report["level"], scores, report["hidden"], tuple(report["checks"]))
    except (ValueError, KeyError, TypeError) as error:
        raise CreditEnvsError(f"{path}: unreadable ({type(error).__name__}: {error})") from error


def _stated(manifest: Manifest) -> Mapping[str, Any]:
    """Returns stated scores over all cells, undefined where they are no numbers: nobody has looked at them yet."""
    overall = manifest.scores.get("overall")
    overall = overall if isinstance(overall, dict) else {}
    return {"overall": {name: _interval(overall.get(name)) for name in NAMES[manifest.track]}, "cells": []}


def _interval(stated: Any) -> dict[str, float]:
    found = stated if isinstance(stated, dict) else {}
    numbers = {key: found.get(key) for key in ("value", "low", "high")}
    return {key: float(x) if isinstance(x, int | float) else float("nan") for key, x in numbers.items()}


def standings(folder: Path) -> list[Standing]:
    """Reads all entries of a folder, best first, refused ones left out.

    Raises:
        CreditEnvsError: if there are none.
    """
    found = [stand(path.parent) for path in sorted(folder.glob(f"*/{MANIFEST}"))]
    if not found:
        raise CreditEnvsError(f"entries={str(folder)!r}: holds no entries")
    kept = [one for one in found if one.level != "refused"]
    return sorted(kept, key=lambda one: (one.manifest.track, one.manifest.suite, -_worth(one)))


def _worth(one: Standing) -> float:
    value = one.overall(MAIN[one.manifest.track])["value"]
    return value if isfinite(value) else float("-inf")
