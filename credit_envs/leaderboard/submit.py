"""Making an entry: the method is run on the whole board, scored, and written to one folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from credit_envs.errors import CreditEnvsError
from credit_envs.leaderboard import entry as entries
from credit_envs.leaderboard import records, scoring
from credit_envs.leaderboard.entry import EPISODES, MANIFEST, SOURCE, Told
from credit_envs.leaderboard.manifest import Manifest
from credit_envs.leaderboard.room import Room
from credit_envs.leaderboard.tracks import Board
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
    path, function = split(method)
    source, name = entries.read_source(path), entries.checked_name(folder.name)
    if folder.exists() and any(item.name not in (MANIFEST, SOURCE, EPISODES) for item in folder.iterdir()):
        raise CreditEnvsError(f"output={str(folder)!r}: holds other files; choose another folder")
    with Room(trusted=True) as room:
        found = entries.method_of(room, source, function)
        tables = {one: scoring.table_of(one) for one in rules.environments}
        run = entries.run(room, found, rules, tables, told)
    scored = entries.score_all(rules, tables, run)
    manifest = Manifest(
        name=name,
        track="estimator",
        sub_track=found.sub_track,
        suite=rules.suite,
        function=function,
        needs=found.needs,
        source_sha256=found.sha256,
        seeds=rules.seeds,
        budget=rules.budget,
        scores=entries.summary(scored, rules),
        tables=entries.fingerprints(rules, tables),
        spent=run.spent,
        revision=entries.revision(path.resolve()),
        command=command,
        provenance=entries.versions(),
        **(about or {}),
    )
    folder.mkdir(parents=True, exist_ok=True)
    records.write(folder / EPISODES, run.cells.items())
    write_atomically(folder / SOURCE, source.encode())
    write_atomically(folder / MANIFEST, manifest.as_json().encode())
    return manifest
