"""Verification of estimators: records are replayed and scored anew, and the code gives the same records again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from credit_envs.errors import CreditEnvsError
from credit_envs.leaderboard import entry as entries
from credit_envs.leaderboard import hidden as hiding
from credit_envs.leaderboard import records, scoring
from credit_envs.leaderboard.case import Case
from credit_envs.leaderboard.entry import EPISODES, Run, Told
from credit_envs.leaderboard.manifest import SPENT, Manifest
from credit_envs.leaderboard.records import Episodes
from credit_envs.leaderboard.room import Room
from credit_envs.leaderboard.tracks import Board, Cell
from credit_envs.leaderboard.worker import POLICY
from credit_envs.table.mdp import TabularMDP

_MOST_ENTRIES = 1 << 24
"""Rollouts times steps of one cell; a replay holds them padded."""


def check(case: Case) -> None:
    """Checks an estimator's entry."""
    manifest = case.manifest
    with case.step("board") as say:
        rules, tables = case.rules()
        cells = _complete(case, rules, tables)
        say(f"all {len(cells)} cells, seeds 0 to {rules.seeds - 1}")
    case.same_tables(tables)
    with case.step("replay") as say:
        found = Run(cells, {cell: dict(manifest.spent[cell]) for cell in cells})
        scored = entries.score_all(rules, tables, found, case.told)
        say(f"{sum(int(one.steps[-1]) for one in cells.values()):,} actions, bit for bit")
    with case.step("spending") as say:
        _spending(manifest, cells)
        say("no less than what was drawn")
    case.same_scores(entries.summary(scored, rules))
    if not case.runs_code():
        return
    with Room(trusted=case.trusted) as room:
        with case.step("re-run") as say:
            method = entries.method_of(room, case.source(), manifest.function)
            _same_method(manifest, method)
            _same_run(cells, manifest, entries.run(room, method, rules, tables, case.told))
            say(f"same records again ({', '.join(room.inside)})")
        if POLICY in method.needs:
            with case.step("strayed") as say:
                say(case.keeps_up("simulator", on_strayed(room, method, rules, tables, case.told)))
        if case.season is not None:
            with case.step("hidden") as say:
                case.report.hidden = on_hidden(room, method, rules, case.season, case.told)
                say(f"season {case.season.name}: {case.keeps_up('simulator', case.report.hidden)}")


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
    return {**entries.summary(scored, rules), "season": season.name, "published": season.published}


def on_strayed(
    room: Room, method: entries.Method, rules: Board, tables: Mapping[str, TabularMDP], told: Told | None = None
) -> dict[str, Any]:
    """Runs a method under policies whose preferences say nothing, and returns its scores where rollouts show anything."""
    alike = replace(rules, strayed=True)
    scored = entries.score_all(alike, tables, entries.run(room, method, alike, tables, told))
    return entries.summary(scoring.informative(scored, alike) or scored, alike)


def _same_method(manifest: Manifest, method: entries.Method) -> None:
    stated = (manifest.sub_track, manifest.needs)
    if stated != (method.sub_track, method.needs):
        raise CreditEnvsError(f"the code is of {(method.sub_track, method.needs)}, not {stated} (sub-track, needs)")


def _complete(case: Case, rules: Board, tables: Mapping[str, TabularMDP]) -> dict[Cell, Episodes]:
    folder, manifest = case.folder, case.manifest
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
        if found.n_rollouts * int(found.lengths.max()) > _MOST_ENTRIES:
            raise CreditEnvsError(
                f"{cell}: {found.n_rollouts} rollouts of up to {found.lengths.max()} steps are too many"
            )
        cells[cell] = found
    if len(cells) < len(expected):
        gone = next(cell for cell in expected if cell not in cells)
        raise CreditEnvsError(f"{len(expected) - len(cells)} of {len(expected)} cells are missing, such as {gone}")
    if set(manifest.spent) != set(expected):
        raise CreditEnvsError("spending: stated for other cells than were played")
    return cells


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


def _same_run(cells: Mapping[Cell, Episodes], manifest: Manifest, again: Run) -> None:
    for cell, found in again.cells.items():
        if not found.same(cells[cell]):
            mine, claimed = found, cells[cell]
            what = "its credit" if np.array_equal(mine.action, claimed.action) else "its rollouts"
            raise CreditEnvsError(f"{cell}: the code does not give the records again ({what} differ)")
        for key in SPENT[:-1]:
            if again.spent[cell][key] != manifest.spent[cell][key]:
                raise CreditEnvsError(
                    f"{cell}: states {manifest.spent[cell][key]:.0f} {key}, but the code spends {again.spent[cell][key]:.0f}"
                )
