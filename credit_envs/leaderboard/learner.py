"""The learner track: a method trains within a budget of environment steps; its policy is scored by its exact return."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from credit_envs.errors import CreditEnvsError
from credit_envs.evaluation.summary import interval
from credit_envs.leaderboard import entry as entries
from credit_envs.leaderboard import hidden as hiding
from credit_envs.leaderboard import scoring
from credit_envs.leaderboard.case import Case
from credit_envs.leaderboard.entry import POLICIES, Told
from credit_envs.leaderboard.manifest import Manifest
from credit_envs.leaderboard.records import agrees
from credit_envs.leaderboard.room import Room
from credit_envs.leaderboard.school import MOST_CELLS, Learnt, checked, exact, learn
from credit_envs.leaderboard.submit import Draft
from credit_envs.leaderboard.tracks import Board, Cell
from credit_envs.table.mdp import TabularMDP

SECONDS = 900
"""Processor time of one training run."""

LEARNT = "learnt"
"""What stands where estimators have the policy they were given."""


def summary(learnt: Mapping[Cell, Learnt], tables: Mapping[str, TabularMDP], rules: Board) -> dict[str, Any]:
    """Returns the scores that a manifest states."""
    draw = np.random.default_rng(0).integers(0, rules.seeds, (1000, rules.seeds))
    draw = np.concatenate([np.arange(rules.seeds)[None], draw])
    cells, means, steps = [], [], []
    for name in rules.environments:
        own = sorted((c.seed, one) for c, one in learnt.items() if c.environment == name)
        scores = np.array([exact(tables[name], one.probability)["normalised"] for _, one in own])
        spent = np.array([one.spent["env_steps"] for _, one in own])
        means.append(scores[draw].mean(axis=1))
        steps.append(spent[draw].mean(axis=1))
        cell = {"environment": name, "policy": LEARNT, "seeds": len(own), "seconds": _seconds(one for _, one in own)}
        cells.append({**cell, "normalised": asdict(interval(means[-1])), "env_steps": asdict(interval(steps[-1]))})
    overall = {"normalised": np.mean(means, axis=0), "env_steps": np.mean(steps, axis=0)}
    found = {"overall": {name: asdict(interval(values)) for name, values in overall.items()}, "cells": cells}
    return dict(entries.shortened(found))


def _seconds(found: Any) -> float:
    return float(np.mean([one.spent["seconds"] for one in found]))


def submit(
    method: str,
    rules: Board,
    folder: Path,
    *,
    told: Told | None = None,
    command: str = "",
    about: Mapping[str, Any] | None = None,
) -> Manifest:
    """Enters a learner; arguments as for :func:`credit_envs.leaderboard.submit.submit`."""
    draft = Draft(method, folder, POLICIES)
    tables = {one: scoring.table_of(one) for one in rules.environments}
    with Room(trusted=True, seconds=SECONDS) as room:
        learnt = learn_all(room, draft.source, draft.function, rules, tables, told)
    manifest = draft.manifest(
        rules,
        tables,
        track="learner",
        sub_track="",
        budget=rules.learner_budget,
        scores=summary(learnt, tables, rules),
        spent={cell: one.spent for cell, one in learnt.items()},
        command=command,
        **(about or {}),
    )
    arrays = {f"{c.seed}|{c.environment}".replace("/", "|"): one.probability for c, one in learnt.items()}
    return draft.write(manifest, lambda path: np.savez_compressed(path, allow_pickle=False, **arrays))


def learn_all(
    room: Room,
    source: str,
    function: str,
    rules: Board,
    tables: Mapping[str, TabularMDP],
    told: Told | None = None,
) -> dict[Cell, Learnt]:
    """Runs all training runs of a board."""
    out: dict[Cell, Learnt] = {}
    total = len(rules.environments) * rules.seeds
    for name in rules.environments:
        for seed in range(rules.seeds):
            out[Cell(name, LEARNT, seed)] = learn(room, source, function, tables[name], rules.learner_budget, seed)
            if told is not None:
                told(len(out), total, name)
    return out


def check(case: Case) -> None:
    """Checks a learner's entry: exact returns of its policies again, and its training runs again."""
    manifest = case.manifest
    with case.step("board") as say:
        rules, tables = case.rules()
        learnt = _read(case, rules, tables)
        say(f"all {len(learnt)} policies, seeds 0 to {rules.seeds - 1}")
    case.same_tables(tables)
    with case.step("spending") as say:
        over = [c for c, one in learnt.items() if one.spent["env_steps"] > rules.learner_budget]
        if over:
            raise CreditEnvsError(f"{over[0]}: more than {rules.learner_budget} environment steps")
        say(f"at most {rules.learner_budget:,} environment steps")
    case.same_scores(summary(learnt, tables, rules))
    if not case.runs_code():
        return
    with Room(trusted=case.trusted, seconds=SECONDS) as room:
        with case.step("re-run") as say:
            source = case.source()
            for cell, one in learn_all(room, source, manifest.function, rules, tables, case.told).items():
                if not agrees(one.probability, learnt[cell].probability):
                    raise CreditEnvsError(f"{cell}: the code does not learn the same policy again")
                if one.spent["env_steps"] != learnt[cell].spent["env_steps"]:
                    raise CreditEnvsError(f"{cell}: the code spends other environment steps than stated")
            say(f"same policies again ({', '.join(room.inside)})")
        if case.season is not None:
            with case.step("hidden") as say:
                case.report.hidden = on_hidden(room, source, manifest.function, rules, case.season, case.told)
                say(f"season {case.season.name}: {case.keeps_up('normalised', case.report.hidden)}")


def on_hidden(
    room: Room, source: str, function: str, rules: Board, season: hiding.Season, told: Told | None = None
) -> dict[str, Any]:
    """Trains on a season's hidden instances and returns the scores there."""
    made = {name: hiding.instance(season, name, rules.seeds) for name in rules.environments}
    tables = {name: one.table for name, one in made.items()}
    learnt = learn_all(room, source, function, rules, tables, told)
    return {**summary(learnt, tables, rules), "season": season.name, "published": season.published}


def _read(case: Case, rules: Board, tables: Mapping[str, TabularMDP]) -> dict[Cell, Learnt]:
    folder, manifest = case.folder, case.manifest
    expected = [Cell(name, LEARNT, seed) for name in rules.environments for seed in range(rules.seeds)]
    if manifest.seeds != rules.seeds or set(manifest.spent) != set(expected):
        raise CreditEnvsError(f"cells: expected seeds 0 to {rules.seeds - 1} on {len(rules.environments)} environments")
    out: dict[Cell, Learnt] = {}
    try:
        with zipfile.ZipFile(folder / POLICIES) as archive:
            if sum(info.file_size for info in archive.infolist()) > MOST_CELLS * 4:
                raise CreditEnvsError(f"{POLICIES}: too large when unpacked")
        with np.load(folder / POLICIES, allow_pickle=False) as stored:
            for cell in expected:
                key = f"{cell.seed}|{cell.environment}".replace("/", "|")
                out[cell] = Learnt(checked(tables[cell.environment], stored[key]), dict(manifest.spent[cell]))
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise CreditEnvsError(f"{POLICIES}: missing or damaged ({type(error).__name__}: {error})") from error
    return out
