"""Making an entry: the method is run on the whole board, scored, and written to one folder."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from credit_envs.errors import CreditEnvsError
from credit_envs.leaderboard import entry as entries
from credit_envs.leaderboard import records, scoring
from credit_envs.leaderboard.entry import EPISODES, MANIFEST, SOURCE, Told
from credit_envs.leaderboard.manifest import Manifest
from credit_envs.leaderboard.room import Room
from credit_envs.leaderboard.tracks import Board
from credit_envs.table.mdp import TabularMDP
from credit_envs.table.storage import write_atomically


def split(method: str) -> tuple[Path, str]:
    """Splits ``FILE.py:FUNCTION``.

    Raises:
        CreditEnvsError: for another form.
    """
    path, colon, function = method.rpartition(":")
    if not colon or not path.endswith(".py") or not function.isidentifier():
        raise CreditEnvsError(f"method={method!r}: expected FILE.py:FUNCTION, such as my_method.py:estimate")
    return Path(path), function


@dataclass(frozen=True)
class Draft:
    """A method about to be entered, checked before any work starts.

    Args:
        method: ``FILE.py:FUNCTION``.
        folder: where the entry will be written; its name is the entry's.
        results: the file of results beside manifest and source.

    Raises:
        CreditEnvsError: for a method that cannot be read, a bad name, or a folder that holds other files.
    """

    method: str
    folder: Path
    results: str

    def __post_init__(self) -> None:
        entries.checked_name(self.folder.name)
        ours = (MANIFEST, SOURCE, self.results)
        if self.folder.exists() and any(item.name not in ours for item in self.folder.iterdir()):
            raise CreditEnvsError(f"output={str(self.folder)!r}: holds other files; choose another folder")
        entries.read_source(split(self.method)[0])

    @functools.cached_property
    def source(self) -> str:
        """The method's source."""
        return entries.read_source(split(self.method)[0])

    @property
    def function(self) -> str:
        """Name of its function."""
        return split(self.method)[1]

    def manifest(self, rules: Board, tables: Mapping[str, TabularMDP], **stated: Any) -> Manifest:
        """Returns the manifest, with what is stated beside what follows from method and board."""
        return Manifest(
            name=self.folder.name,
            suite=rules.suite,
            function=self.function,
            source_sha256=hashlib.sha256(self.source.encode()).hexdigest(),
            seeds=rules.seeds,
            tables=entries.fingerprints(rules, tables),
            revision=entries.revision(split(self.method)[0].resolve()),
            provenance=entries.versions(),
            **stated,
        )

    def write(self, manifest: Manifest, results: Callable[[Path], None]) -> Manifest:
        """Writes the folder: results first, the manifest last."""
        self.folder.mkdir(parents=True, exist_ok=True)
        results(self.folder / self.results)
        write_atomically(self.folder / SOURCE, self.source.encode())
        write_atomically(self.folder / MANIFEST, manifest.as_json().encode())
        return manifest


def submit(
    method: str,
    rules: Board,
    folder: Path,
    *,
    told: Told | None = None,
    command: str = "",
    about: Mapping[str, Any] | None = None,
) -> Manifest:
    """Enters an estimator.

    Args:
        method: ``FILE.py:FUNCTION``.
        rules: the board.
        folder: where the entry is written; its name is the entry's.
        told: progress.
        command: what was typed.
        about: ``authors``, ``paper`` and ``description``.

    Raises:
        CreditEnvsError: for bad arguments before any work starts, or if the method fails.
    """
    draft = Draft(method, folder, EPISODES)
    with Room(trusted=True) as room:
        found = entries.method_of(room, draft.source, draft.function)
        tables = {one: scoring.table_of(one) for one in rules.environments}
        run = entries.run(room, found, rules, tables, told)
    manifest = draft.manifest(
        rules,
        tables,
        track="estimator",
        sub_track=found.sub_track,
        needs=found.needs,
        budget=rules.budget,
        scores=entries.summary(entries.score_all(rules, tables, run), rules),
        spent=run.spent,
        command=command,
        **(about or {}),
    )
    return draft.write(manifest, lambda path: records.write(path, run.cells.items()))
