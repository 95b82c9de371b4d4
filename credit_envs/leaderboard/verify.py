"""Verification: nothing that an entry states is believed.

form          the folder or archive holds the files it should, of bounded size, and nothing else
board         suite, track, seeds and cells are complete, each exactly once
tables        the fingerprints are those of the tables that are built here
replay        every action is found again, bit for bit, and rollouts end where the records say
spending      what was spent is no less than what the records show to have been drawn
scores        every score is computed anew from the oracle and is what the manifest states
re-run        the code, in a confined process without an oracle, gives the same records again
hidden        the code, on instances that nobody has seen, does not fall behind its public score
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import stat
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from credit_envs.errors import CreditEnvsError
from credit_envs.leaderboard import entry as entries
from credit_envs.leaderboard import hidden as hiding
from credit_envs.leaderboard import records, scoring
from credit_envs.leaderboard.entry import EPISODES, MANIFEST, POLICIES, SOURCE, Run, Told
from credit_envs.leaderboard.manifest import Manifest, read_manifest
from credit_envs.leaderboard.records import Episodes
from credit_envs.leaderboard.room import Room
from credit_envs.leaderboard.tracks import Board, Cell, board
from credit_envs.table.mdp import TabularMDP

_SIZES = {MANIFEST: 1 << 24, SOURCE: entries.SOURCE_BYTES, EPISODES: records.FILE_BYTES, POLICIES: 1 << 28}
_CLOSE = 1e-6
_BEHIND = 2.0
"""A method whose hidden score is worse than its public one by this factor, intervals apart, is not believed."""


@dataclass(frozen=True)
class Check:
    """One check: ``passed``, ``failed`` or ``skipped``, and why."""

    name: str
    status: str
    detail: str


@dataclass(frozen=True, eq=False)
class Report:
    """What verification found.

    Attributes:
        name: of the entry.
        digest: hash of the entry's files.
        checks: in order; after a failure that leaves nothing to check, the rest is missing.
        scores: recomputed scores, None where that was not reached.
        hidden: scores on hidden instances, None where they were not asked for.
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
        return json.dumps({**asdict(self), "level": self.level}, indent=1)


def verify(
    path: str | Path,
    *,
    code: bool = True,
    trusted: bool = False,
    season: hiding.Season | None = None,
    told: Told | None = None,
) -> Report:
    """Verifies an entry.

    Args:
        path: its folder, or a zip archive of it.
        code: whether to run the method again.
        trusted: whether to run it even where this system cannot confine it.
        season: hidden instances to try it on.
        told: progress.

    Returns:
        The report; bad entries end in a failed check, never in an exception.
    """
    path = Path(path)
    with contextlib.ExitStack() as stack:
        report = Report(path.stem if path.suffix == ".zip" else path.name, "")
        try:
            folder = stack.enter_context(opened(path))
            report = Report(report.name, digest(folder))
            manifest = read_manifest(folder / MANIFEST)
        except CreditEnvsError as error:
            return _failed(report, "form", error)
        report.checks.append(Check("form", "passed", f"{manifest.track} track, {manifest.suite}"))
        if manifest.track == "learner":
            from credit_envs.leaderboard import learner

            return learner.verify(folder, manifest, report, code=code, trusted=trusted, season=season, told=told)
        return _estimator(folder, manifest, report, code, trusted, season, told)


def _estimator(
    folder: Path,
    manifest: Manifest,
    report: Report,
    code: bool,
    trusted: bool,
    season: hiding.Season | None,
    told: Told | None,
) -> Report:
    step = "board"
    try:
        rules = board(manifest.suite)
        tables = {name: scoring.table_of(name) for name in rules.environments}
        cells = _complete(folder, manifest, rules, tables)
        report.checks.append(Check("board", "passed", f"all {len(cells)} cells, seeds 0 to {rules.seeds - 1}"))
        step = "tables"
        _same_tables(manifest, entries.fingerprints(rules, tables))
        report.checks.append(Check("tables", "passed", f"{len(tables)} fingerprints agree"))
        step = "replay"
        found = Run(cells, {cell: dict(manifest.spent[cell]) for cell in cells})
        scored = entries.score_all(rules, tables, found, told)
        steps = sum(int(one.steps[-1]) for one in cells.values())
        report.checks.append(Check("replay", "passed", f"{steps:,} actions, bit for bit"))
        step = "spending"
        _spending(manifest, cells)
        report.checks.append(Check("spending", "passed", "no less than what was drawn"))
        step = "scores"
        summary = entries.summary(scored, rules)
        report = replace(report, scores=summary)
        differing(manifest.scores, json.loads(json.dumps(summary)))
        report.checks.append(Check("scores", "passed", "recomputed, and as stated"))
        if not code or not (folder / SOURCE).is_file():
            why = "not asked for" if (folder / SOURCE).is_file() else "no code given"
            report.checks.append(Check("re-run", "skipped", why))
            return report
        step = "re-run"
        with Room(trusted=trusted) as room:
            source = _source(folder, manifest)
            method = entries.method_of(room, source, manifest.function)
            if method.sub_track != manifest.sub_track:
                raise CreditEnvsError(f"the code is of the sub-track {method.sub_track}, not {manifest.sub_track}")
            again = entries.run(room, method, rules, tables, told)
            _same_run(cells, manifest, again)
            inside = ", ".join(room.inside)
            report.checks.append(Check("re-run", "passed", f"same records again ({inside})"))
            if season is not None:
                step = "hidden"
                report = _hidden(report, room, method, rules, season, told)
    except CreditEnvsError as error:
        return _failed(report, step, error)
    return report


def _failed(report: Report, name: str, error: CreditEnvsError) -> Report:
    report.checks.append(Check(name, "failed", " ".join(str(error).split())))
    return report


# -- form ----------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Path]:
    """Yields the folder of an entry, unpacked from its archive if it is one.

    Raises:
        CreditEnvsError: for links, strange names, and files beyond their size.
    """
    if path.is_dir() and not path.is_symlink():
        for item in path.iterdir():
            mode = item.lstat().st_mode
            if not stat.S_ISREG(mode) or item.name not in _SIZES:
                raise CreditEnvsError(f"{item.name!r}: an entry holds the files {', '.join(_SIZES)} and nothing else")
            if item.lstat().st_size > _SIZES[item.name]:
                raise CreditEnvsError(
                    f"{item.name}: {item.lstat().st_size} bytes, expected at most {_SIZES[item.name]}"
                )
        yield path
        return
    if path.suffix != ".zip" or not path.is_file():
        raise CreditEnvsError(f"{str(path)!r}: expected the folder of an entry, or a .zip of its files")
    with tempfile.TemporaryDirectory(prefix="credit-envs-entry-") as place:
        _unpack(path, Path(place))
        yield Path(place)


def _unpack(path: Path, place: Path) -> None:
    """Copies the known files of an archive, counting what really comes out: an archive's own sizes may lie."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = [info.filename for info in archive.infolist()]
            if len(names) > len(_SIZES) or len(set(names)) < len(names) or not set(names) <= set(_SIZES):
                raise CreditEnvsError(f"{path.name}: holds {names[:5]}, expected {', '.join(_SIZES)} at its top")
            for info in archive.infolist():
                if stat.S_ISLNK(info.external_attr >> 16):
                    raise CreditEnvsError(f"{info.filename}: is a link")
                left = _SIZES[info.filename]
                with archive.open(info) as source, (place / info.filename).open("wb") as target:
                    while part := source.read(1 << 16):
                        left -= len(part)
                        if left < 0:
                            raise CreditEnvsError(f"{info.filename}: more than {_SIZES[info.filename]} bytes unpacked")
                        target.write(part)
    except (zipfile.BadZipFile, OSError, NotImplementedError, RuntimeError, EOFError, ValueError) as error:
        raise CreditEnvsError(f"{path.name}: no readable archive ({error})") from error


def digest(folder: Path) -> str:
    """Returns the hash of an entry's files, which a report belongs to."""
    total = hashlib.sha256()
    for name in sorted(_SIZES):
        if (folder / name).is_file():
            with (folder / name).open("rb") as file:
                total.update(name.encode() + hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()


def _source(folder: Path, manifest: Manifest) -> str:
    source = entries.read_source(folder / SOURCE)
    if hashlib.sha256(source.encode()).hexdigest() != manifest.source_sha256:
        raise CreditEnvsError("method.py is not the file whose hash the manifest states")
    return source


# -- board, tables, spending, scores --------------------------------------------------------------------------------


def _complete(folder: Path, manifest: Manifest, rules: Board, tables: Mapping[str, TabularMDP]) -> dict[Cell, Episodes]:
    if not (folder / EPISODES).is_file():
        raise CreditEnvsError(f"{EPISODES} is missing")
    if manifest.seeds != rules.seeds:
        raise CreditEnvsError(f"seeds={manifest.seeds}: {rules.suite} has {rules.seeds}, all mandatory")
    expected = {
        Cell(environment, stage.rung.name, seed): stage.groups
        for environment in rules.environments
        for stage in scoring.stages(environment, tables[environment], rules)
        for seed in range(rules.seeds)
    }
    cells: dict[Cell, Episodes] = {}
    for cell, found in records.read(folder / EPISODES):
        if cell not in expected:
            raise CreditEnvsError(f"{cell}: not a cell of {rules.suite} (environments, policies and seeds are fixed)")
        if cell in cells:
            raise CreditEnvsError(f"{cell}: is there twice")
        if manifest.sub_track == "fixed" and not scoring.is_fixed(found, expected[cell]):
            raise CreditEnvsError(f"{cell}: not the rollouts that methods of the fixed sub-track are given")
        cells[cell] = found
    if len(cells) < len(expected):
        gone = next(cell for cell in expected if cell not in cells)
        raise CreditEnvsError(f"{len(expected) - len(cells)} of {len(expected)} cells are missing, such as {gone}")
    if set(manifest.spent) != set(expected):
        raise CreditEnvsError("spending: stated for other cells than were played")
    return cells


def _same_tables(manifest: Manifest, known: Mapping[str, str]) -> None:
    for name, print_ in known.items():
        if manifest.tables.get(name) != print_:
            stated = str(manifest.tables.get(name))[:12]
            raise CreditEnvsError(f"{name}: played on the table {stated}…, but here it is {print_[:12]}…")


def _spending(manifest: Manifest, cells: Mapping[Cell, Episodes]) -> None:
    for cell, found in cells.items():
        spent, least = manifest.spent[cell], drawn_at_least(found)
        if spent["env_steps"] < least or spent["policy_calls"] < least:
            raise CreditEnvsError(f"{cell}: states {spent['env_steps']:.0f} environment steps, but {least} were drawn")
        if manifest.sub_track == "fixed" and spent["env_steps"] != least:
            raise CreditEnvsError(f"{cell}: states {spent['env_steps']:.0f} environment steps, expected {least}")


def drawn_at_least(episodes: Episodes) -> int:
    """Returns how many environment steps records show to have been taken at least.

    Steps that rollouts share count once; rollouts and branches whose numbers were skipped took one step each at least.
    """
    row = np.repeat(np.arange(episodes.n_rollouts), episodes.lengths)
    step = np.arange(int(episodes.steps[-1])) - episodes.steps[:-1][row]
    owner = np.repeat(np.arange(episodes.n_rollouts), np.diff(episodes.forks))
    width = int(episodes.lengths.max()) + 1
    place = owner * width + np.minimum(episodes.start, width - 1)
    branch = episodes.branch[np.searchsorted(place, row * width + step, side="right") - 1]
    taken = len(np.unique(np.stack([episodes.rollout[row], branch, step]), axis=1).T)
    forks = np.unique(episodes.branch[episodes.branch > 0])
    skipped = int(episodes.rollout.max()) + 1 - len(np.unique(episodes.rollout))
    return taken + skipped + (int(forks.max()) - len(forks) if len(forks) else 0)


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


# -- code ----------------------------------------------------------------------------------------------------------


def _same_run(cells: Mapping[Cell, Episodes], manifest: Manifest, again: Run) -> None:
    for cell, found in again.cells.items():
        if not found.same(cells[cell]):
            mine, claimed = found, cells[cell]
            what = "its credit" if np.array_equal(mine.action, claimed.action) else "its rollouts"
            raise CreditEnvsError(f"{cell}: the code does not give the records again ({what} differ)")
        for key in ("env_steps", "policy_calls"):
            if again.spent[cell][key] != manifest.spent[cell][key]:
                raise CreditEnvsError(
                    f"{cell}: states {manifest.spent[cell][key]:.0f} {key}, but the code spends {again.spent[cell][key]:.0f}"
                )


def on_hidden(
    room: Room, method: entries.Method, rules: Board, season: hiding.Season, told: Told | None = None
) -> dict[str, Any]:
    """Runs a method on a season's hidden instances and returns its scores there."""
    scored: list[dict[str, Any]] = []
    for name in rules.environments:
        instance = hiding.instance(season, name, rules.seeds)
        alone = replace(rules, environments=(name,))
        found = entries.run(room, method, alone, {name: instance.table}, told, instance.seeds)
        scored += entries.score_all(alone, {name: instance.table}, found)
    return {**entries.summary(scored, rules), "season": season.name}


def _hidden(
    report: Report,
    room: Room,
    method: entries.Method,
    rules: Board,
    season: hiding.Season,
    told: Told | None,
) -> Report:
    found = on_hidden(room, method, rules, season, told)
    report = replace(report, hidden=found)
    assert report.scores is not None
    mine, theirs = (s["overall"]["simulator"] for s in (found, report.scores))
    behind = theirs["value"] / mine["value"]
    shown = f"{mine['value']:.2f} GRPO-equivalents there, {theirs['value']:.2f} on the public instances"
    if behind > _BEHIND and mine["high"] < theirs["low"]:
        report.checks.append(Check("hidden", "failed", f"{shown}: it knows the public instances rather than credit"))
        return report
    report.checks.append(Check("hidden", "passed", f"season {season.name}: {shown}"))
    return report
