"""A case of verification: what is checked, step by step, and what was found."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from credit_envs.errors import CreditEnvsError
from credit_envs.leaderboard import entry as entries
from credit_envs.leaderboard import scoring
from credit_envs.leaderboard.entry import SOURCE, Told
from credit_envs.leaderboard.hidden import Season
from credit_envs.leaderboard.manifest import Manifest, in_lines
from credit_envs.leaderboard.tracks import Board, board
from credit_envs.table.mdp import TabularMDP

_CLOSE = 1e-6
_BEHIND = 2.0
"""A method whose score elsewhere is worse than its public one by this factor, intervals apart, is not believed."""


@dataclass(frozen=True)
class Check:
    """One check: ``passed``, ``failed`` or ``skipped``, and why."""

    name: str
    status: str
    detail: str


@dataclass(eq=False)
class Report:
    """What verification found.

    Attributes:
        name: of the entry.
        digest: hash of the entry's files.
        checks: in order; after a failure that leaves nothing to check, the rest is missing.
        scores: recomputed scores, None where that was not reached.
        hidden: scores on hidden instances, None where they were not asked for; with ``season``, its name, and ``published``,
            whether its secret was known to everybody.
    """

    name: str
    digest: str
    checks: list[Check] = field(default_factory=list)
    scores: dict[str, Any] | None = None
    hidden: dict[str, Any] | None = None

    @property
    def passed(self) -> bool:
        """Whether no check failed."""
        return bool(self.checks) and all(check.status != "failed" for check in self.checks)

    @property
    def level(self) -> str:
        """``re-run`` where the code gave the same again, ``replayed`` where only the records were checked, or ``refused``."""
        if not self.passed:
            return "refused"
        return "re-run" if any(c.name == "re-run" and c.status == "passed" for c in self.checks) else "replayed"

    def as_json(self) -> str:
        """Returns the report as it is kept beside the entry."""
        return in_lines({**asdict(self), "level": self.level})


class Refused(Exception):
    """A check failed; the report says which."""


@dataclass(frozen=True, eq=False)
class Case:
    """An entry under verification.

    Attributes:
        folder: its files.
        manifest: what it states.
        report: what was found so far.
        code: whether to run the method again.
        trusted: whether to run it even where this system cannot confine it.
        season: hidden instances to try it on.
        told: progress.
    """

    folder: Path
    manifest: Manifest
    report: Report
    code: bool = True
    trusted: bool = False
    season: Season | None = None
    told: Told | None = None

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[Callable[[str], None]]:
        """Records one check: passed with what the block says, failed where it raises.

        Raises:
            Refused: where the block raised a CreditEnvsError.
        """
        said: list[str] = []
        try:
            yield said.append
        except CreditEnvsError as error:
            self.report.checks.append(Check(name, "failed", " ".join(str(error).split())))
            raise Refused from error
        self.report.checks.append(Check(name, "passed", "; ".join(said)))

    def rules(self) -> tuple[Board, dict[str, TabularMDP]]:
        """Returns the board that the entry names, and its tables."""
        rules = board(self.manifest.suite)
        return rules, {name: scoring.table_of(name) for name in rules.environments}

    def same_tables(self, tables: Mapping[str, TabularMDP]) -> None:
        """Checks that the entry was made on the tables that are built here."""
        with self.step("tables") as say:
            for name, table in tables.items():
                stated = str(self.manifest.tables.get(name))
                if stated != table.fingerprint:
                    raise CreditEnvsError(
                        f"{name}: played on the table {stated[:12]}…, but here it is {table.fingerprint[:12]}…"
                    )
            say(f"{len(tables)} fingerprints agree")

    def same_scores(self, found: dict[str, Any]) -> None:
        """Checks recomputed scores against the stated ones."""
        self.report.scores = found
        with self.step("scores") as say:
            differing(self.manifest.scores, json.loads(json.dumps(found)))
            say("recomputed, and as stated")

    def runs_code(self) -> bool:
        """Whether there is code to run again; says why not."""
        if self.code and (self.folder / SOURCE).is_file():
            return True
        why = "no code given" if self.code else "not asked for"
        self.report.checks.append(Check("re-run", "skipped", why))
        return False

    def source(self) -> str:
        """Returns the method's source.

        Raises:
            CreditEnvsError: if it is not the one whose hash is stated.
        """
        source = entries.read_source(self.folder / SOURCE)
        if hashlib.sha256(source.encode()).hexdigest() != self.manifest.source_sha256:
            raise CreditEnvsError("method.py is not the file whose hash the manifest states")
        return source

    def keeps_up(self, score: str, found: Mapping[str, Any]) -> str:
        """Compares a score elsewhere with the public one.

        Returns:
            Both, in words.

        Raises:
            CreditEnvsError: if it falls behind by more than a factor of two, intervals apart.
        """
        assert self.report.scores is not None
        there, here = (scores["overall"][score] for scores in (found, self.report.scores))
        shown = f"{there['value']:.2f} there, {here['value']:.2f} on the public instances"
        if there["value"] < here["value"] / _BEHIND and there["high"] < here["low"]:
            raise CreditEnvsError(f"{shown}: it falls behind")
        return shown


def differing(stated: Any, found: Any, where: str = "scores") -> None:
    """Raises where stated scores are not the ones that were found, up to rounding; wall times may differ.

    Raises:
        CreditEnvsError: naming the first place.
    """
    if isinstance(found, dict) and isinstance(stated, dict):
        for key in {*found, *stated} - {"seconds"}:
            if key not in found or key not in stated:
                raise CreditEnvsError(f"{where}: {key} is not on both sides")
            differing(stated[key], found[key], f"{where}, {key}")
    elif isinstance(found, list) and isinstance(stated, list) and len(found) == len(stated):
        for i, (a, b) in enumerate(zip(stated, found, strict=True)):
            name = b.get("environment", i) if isinstance(b, dict) else i
            differing(a, b, f"{where}, {name}")
    elif isinstance(found, int | float) and isinstance(stated, int | float):
        same = math.isclose(found, stated, rel_tol=_CLOSE, abs_tol=_CLOSE) or (math.isnan(found) and math.isnan(stated))
        if not same:
            raise CreditEnvsError(f"{where}: states {stated:.6g}, but it is {found:.6g}")
    elif found != stated:
        raise CreditEnvsError(f"{where}: states {stated!r:.60}, but it is {found!r:.60}")
