"""The manifest of an entry: what it states about itself, written and read strictly."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from credit_envs.errors import CreditEnvsError
from credit_envs.leaderboard.tracks import TRACKS, Cell

SCHEMA = 2
SPENT = ("env_steps", "policy_calls", "model_calls", "seconds")
"""What a cell may cost; see :class:`~credit_envs.evaluation.prices.Spending`."""

_MOST_WORDS = 2000


@dataclass(frozen=True, eq=False)
class Manifest:
    """What an entry states.

    Attributes:
        name: of the entry; also of its folder.
        track: ``estimator`` or ``learner``.
        sub_track: ``fixed`` or ``open``; empty for learners.
        suite: name of the board.
        authors: who made it.
        paper: where it is described.
        description: one sentence.
        revision: of the code it came from.
        function: name of the method's function.
        needs: what the method asks for.
        source_sha256: hash of ``method.py``.
        seeds: number of seeds, from 0.
        budget: environment steps per cell.
        command: what made the entry.
        provenance: versions.
        tables: environment → fingerprint.
        spent: cell → :data:`SPENT`.
        scores: what it states to have scored.
    """

    name: str
    track: str
    sub_track: str
    suite: str
    function: str
    source_sha256: str
    seeds: int
    budget: int
    scores: Mapping[str, Any]
    tables: Mapping[str, str]
    spent: Mapping[Cell, Mapping[str, float]]
    authors: str = ""
    paper: str = ""
    description: str = ""
    revision: str = ""
    needs: tuple[str, ...] = ()
    command: str = ""
    provenance: Mapping[str, str] = field(default_factory=dict)

    def as_json(self) -> str:
        """Returns the manifest as its file holds it."""
        spent = [[c.environment, c.policy, c.seed, *(one[k] for k in SPENT)] for c, one in self.spent.items()]
        stated = {**vars(self), "schema": SCHEMA, "spent": spent, "needs": list(self.needs)}
        return in_lines(stated)


def in_lines(stated: Mapping[str, Any]) -> str:
    """Returns JSON with one line per key: small, and a change shows where it is."""
    return "{\n" + ",\n".join(f"{json.dumps(k)}: {json.dumps(v, default=dict)}" for k, v in stated.items()) + "\n}\n"


def read_manifest(path: Path) -> Manifest:
    """Reads a manifest.

    Raises:
        CreditEnvsError: if it is missing, damaged, or states something of the wrong kind.
    """
    try:
        stated = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise CreditEnvsError(f"{path.name}: unreadable ({type(error).__name__}: {error})") from error
    if not isinstance(stated, dict) or stated.pop("schema", None) != SCHEMA:
        raise CreditEnvsError(f"{path.name}: expected an object of schema {SCHEMA}")
    fields = Manifest.__dataclass_fields__
    unknown = [key for key in stated if key not in fields]
    missing = [key for key in fields if key not in stated]
    if unknown or missing:
        raise CreditEnvsError(f"{path.name}: unknown {unknown or 'nothing'}, missing {missing or 'nothing'}")
    for key in fields:
        kind: type | tuple[type, ...] = str
        if key in ("seeds", "budget"):
            kind = int
        elif key in ("scores", "tables", "provenance"):
            kind = dict
        elif key in ("spent", "needs"):
            kind = list
        if not isinstance(stated[key], kind) or (kind is str and len(stated[key]) > _MOST_WORDS):
            raise CreditEnvsError(f"{path.name}: {key} is not what it should be")
    if stated["track"] not in TRACKS or stated["sub_track"] not in ("fixed", "open", ""):
        raise CreditEnvsError(f"{path.name}: track={stated['track']!r}, sub_track={stated['sub_track']!r}")
    spent = dict(_spent(path.name, line) for line in stated["spent"])
    needs = tuple(str(need) for need in stated["needs"])
    return Manifest(**{**stated, "spent": spent, "needs": needs})


def _spent(name: str, line: Any) -> tuple[Cell, dict[str, float]]:
    if not isinstance(line, list) or len(line) != 3 + len(SPENT):
        raise CreditEnvsError(f"{name}: a line of spent is not environment, policy, seed, {', '.join(SPENT)}")
    environment, policy, seed, *numbers = line
    right = isinstance(environment, str) and isinstance(policy, str) and isinstance(seed, int)
    if not right or not all(isinstance(x, int | float) and math.isfinite(x) and x >= 0 for x in numbers):
        raise CreditEnvsError(f"{name}: a line of spent holds something else than names and numbers from 0")
    return Cell(environment, policy, seed), dict(zip(SPENT, map(float, numbers), strict=True))
