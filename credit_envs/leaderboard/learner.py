"""The learner track: a method trains within a budget of environment steps; its policy is scored by its exact return.

The environment is stepped here, on the host: the method sees observations, rewards and admissible actions, and can neither
choose seeds nor look at the table. The score is (J − J_uniform) / (J* − J_uniform), J the exact expected return of the policy
that it hands over as probabilities per observation.
"""

from __future__ import annotations

import hashlib
import json
import time
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from credit_envs.arrays import AnyArray, Floats
from credit_envs.errors import CreditEnvsError, check_range
from credit_envs.evaluation.summary import Interval
from credit_envs.faces.vector import TabularVectorEnv
from credit_envs.leaderboard import entry as entries
from credit_envs.leaderboard import hidden as hiding
from credit_envs.leaderboard import scoring
from credit_envs.leaderboard.entry import MANIFEST, POLICIES, SOURCE, Told
from credit_envs.leaderboard.manifest import Manifest
from credit_envs.leaderboard.room import Room, asked
from credit_envs.leaderboard.tracks import Board, Cell
from credit_envs.leaderboard.verify import Check, Report, differing
from credit_envs.oracle.control import optimal
from credit_envs.oracle.evaluation import expected_return
from credit_envs.oracle.policy import Policy, uniform
from credit_envs.table.mdp import TabularMDP
from credit_envs.table.observer import Observer
from credit_envs.table.storage import write_atomically

SECONDS = 900
"""Processor time of one training run."""

LEARNT = "learnt"
"""What stands where estimators have the policy they were given."""

_MOST_ENVS = 1024
_MOST_CELLS = 1 << 26
_SEED_STEP = 1 << 20


@dataclass(frozen=True, eq=False)
class Learnt:
    """What a training run left.

    Attributes:
        probability: float32 ``[n_obs, A]``, rows sum to 1.
        spent: ``env_steps``, ``policy_calls``, ``seconds``.
    """

    probability: AnyArray
    spent: dict[str, float]


class School:
    """The host's side of a training run.

    Args:
        table: the environment.
        budget: environment steps.
        seed: seed of the run.
    """

    def __init__(self, table: TabularMDP, budget: int, seed: int) -> None:
        self.table, self.budget, self.seed, self.spent = table, budget, seed, 0
        self._envs: list[TabularVectorEnv] = []

    def answer(self, what: str, arguments: list[Any]) -> Any:
        """Answers ``make``, ``reset``, ``step`` and ``exam``.

        Raises:
            CreditEnvsError: for anything else, and when the budget is spent.
        """
        answers: dict[str, Callable[..., Any]] = {
            "make": self._make,
            "reset": self._reset,
            "step": self._step,
            "exam": self._exam,
        }
        if what not in answers:
            raise CreditEnvsError(f"{what!r}: expected one of {', '.join(answers)}")
        return answers[what](*arguments)

    def _make(self, num_envs: int, observation: str) -> dict[str, int]:
        check_range("num_envs", num_envs, 1, _MOST_ENVS, integer=True)
        if len(self._envs) >= _MOST_ENVS:
            raise CreditEnvsError(f"environments: {_MOST_ENVS} are enough")
        made = TabularVectorEnv(self.table, num_envs, _viewed(observation), "SameStep")
        first = self.seed * _SEED_STEP + len(self._envs) * _MOST_ENVS
        made.reset(seed=first)
        self._envs.append(made)
        sizes = {"n_actions": self.table.n_actions, "n_obs": self.table.n_obs, "horizon": self.table.horizon}
        return {"number": len(self._envs) - 1, **sizes}

    def _reset(self, number: int) -> list[Any]:
        obs, info = self._envs[number].reset()
        return [_sent(obs), self._mask(info, len(obs))]

    def _step(self, number: int, actions: AnyArray) -> list[Any]:
        env = self._envs[number]
        if self.spent + env.num_envs > self.budget:
            raise CreditEnvsError(f"budget: {self.spent} of {self.budget} environment steps are spent")
        if actions.shape != (env.num_envs,) or actions.min() < 0 or actions.max() >= self.table.n_actions:
            raise CreditEnvsError(f"actions: expected {env.num_envs} whole numbers in [0, {self.table.n_actions - 1}]")
        self.spent += env.num_envs
        obs, reward, ended, _, info = env.step(actions)
        return [_sent(obs), np.asarray(reward, np.float64), np.asarray(ended), self._mask(info, len(actions))]

    def _mask(self, info: Mapping[str, Any], n: int) -> AnyArray:
        full = np.ones((n, self.table.n_actions), dtype=np.int32)
        return np.asarray(info.get("action_mask", full)).astype(np.int32)

    def _exam(self, observation: str) -> dict[str, Any]:
        return {
            "obs": _sent(Observer(self.table, _viewed(observation)).rows(np.arange(self.table.n_obs))),
            "mask": masks(self.table),
        }


def masks(table: TabularMDP) -> AnyArray:
    """Returns which actions observations admit, int32 ``[n_obs, A]``."""
    looks = np.zeros((table.emission.n_base, table.n_actions), dtype=np.int32)
    looks[table.emission.base[table.edge_state], table.edge_action] = 1
    return np.repeat(looks, table.emission.n_codes, axis=0)


def _viewed(observation: str) -> str:
    if observation not in ("state", "text", "grid"):
        raise CreditEnvsError(f"observation={observation!r}: expected state, text or grid")
    return observation


def _sent(obs: Any) -> Any:
    return [str(one) for one in obs] if not isinstance(obs, np.ndarray) or obs.dtype.kind in "OU" else obs


def learn(room: Room, source: str, function: str, table: TabularMDP, budget: int, seed: int) -> Learnt:
    """Runs one training run.

    Raises:
        CreditEnvsError: if the method fails, or what it hands over is no policy.
    """
    if table.n_obs * table.n_actions > _MOST_CELLS:
        raise CreditEnvsError(f"{table.name}: too many observations for the learner track")
    school, began = School(table, budget, seed), time.perf_counter()
    with room.child() as line:
        task = {"what": "train", "source": source, "function": function, "budget": budget, "seed": seed}
        found = asked(line, task, school.answer)
    spent = {"env_steps": float(school.spent), "policy_calls": float(school.spent)}
    return Learnt(checked(table, found), {**spent, "seconds": time.perf_counter() - began})


def checked(table: TabularMDP, found: Any) -> AnyArray:
    """Returns probabilities, or raises if they are none.

    Raises:
        CreditEnvsError: naming the first row that is no distribution.
    """
    shape = (table.n_obs, table.n_actions)
    if not isinstance(found, np.ndarray) or found.shape != shape or found.dtype != np.float32:
        raise CreditEnvsError(f"policy: expected float32 probabilities of shape {shape}, got {np.shape(found)}")
    bad = ~np.isfinite(found).all(axis=1) | (found < 0).any(axis=1) | (np.abs(found.sum(axis=1) - 1) > 1e-3)
    bad &= masks(table).any(axis=1)
    if bad.any():
        raise CreditEnvsError(f"policy: row {int(np.flatnonzero(bad)[0])} is no distribution over {shape[1]} actions")
    return found


def exact(table: TabularMDP, probability: AnyArray) -> dict[str, float]:
    """Returns the exact return J of a policy, and J normalised."""
    rows = probability.astype(np.float64)
    rows = rows / np.maximum(rows.sum(axis=1, keepdims=True), 1e-12)
    best, low = optimal(table).J, expected_return(table, uniform(table))
    found = expected_return(table, Policy("obs", rows))
    gap = best - low
    return {"J": found, "normalised": (found - low) / gap if gap > 1e-12 else float("nan")}


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
        cells.append({**cell, "normalised": asdict(_interval(means[-1])), "env_steps": asdict(_interval(steps[-1]))})
    overall = {"normalised": np.mean(means, axis=0), "env_steps": np.mean(steps, axis=0)}
    return {"overall": {name: asdict(_interval(values)) for name, values in overall.items()}, "cells": cells}


def _seconds(found: Any) -> float:
    return float(np.mean([one.spent["seconds"] for one in found]))


def _interval(values: Floats) -> Interval:
    low, high = np.quantile(values[1:], [0.025, 0.975])
    return Interval(float(values[0]), float(low), float(high))


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
    from credit_envs.leaderboard.submit import split

    path, function = split(method)
    source, name = entries.read_source(path), entries.checked_name(folder.name)
    if folder.exists() and any(item.name not in (MANIFEST, SOURCE, POLICIES) for item in folder.iterdir()):
        raise CreditEnvsError(f"output={str(folder)!r}: holds other files; choose another folder")
    tables = {one: scoring.table_of(one) for one in rules.environments}
    with Room(trusted=True, seconds=SECONDS) as room:
        learnt = learn_all(room, source, function, rules, tables, told)
    manifest = Manifest(
        name=name,
        track="learner",
        sub_track="",
        suite=rules.suite,
        function=function,
        source_sha256=hashlib.sha256(source.encode()).hexdigest(),
        seeds=rules.seeds,
        budget=rules.learner_budget,
        scores=summary(learnt, tables, rules),
        tables=entries.fingerprints(rules, tables),
        spent={cell: one.spent for cell, one in learnt.items()},
        revision=entries.revision(path.resolve()),
        command=command,
        provenance=entries.versions(),
        **dict[str, Any](about or {}),
    )
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {f"{c.seed}|{c.environment}".replace("/", "|"): one.probability for c, one in learnt.items()}
    np.savez_compressed(folder / POLICIES, allow_pickle=False, **arrays)
    write_atomically(folder / SOURCE, source.encode())
    write_atomically(folder / MANIFEST, manifest.as_json().encode())
    return manifest


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


def verify(
    folder: Path,
    manifest: Manifest,
    report: Report,
    *,
    code: bool,
    trusted: bool,
    season: hiding.Season | None,
    told: Told | None,
) -> Report:
    """Verifies a learner's entry: exact returns of its policies again, and its training runs again."""
    from credit_envs.leaderboard.tracks import board

    step = "board"
    try:
        rules = board(manifest.suite)
        tables = {one: scoring.table_of(one) for one in rules.environments}
        learnt = _read(folder, manifest, rules, tables)
        report.checks.append(Check("board", "passed", f"all {len(learnt)} policies, seeds 0 to {rules.seeds - 1}"))
        step = "tables"
        for name, print_ in entries.fingerprints(rules, tables).items():
            if manifest.tables.get(name) != print_:
                raise CreditEnvsError(f"{name}: trained on another table than is built here")
        report.checks.append(Check("tables", "passed", f"{len(tables)} fingerprints agree"))
        step = "spending"
        over = [c for c, one in learnt.items() if one.spent["env_steps"] > rules.learner_budget]
        if over:
            raise CreditEnvsError(f"{over[0]}: more than {rules.learner_budget} environment steps")
        report.checks.append(Check("spending", "passed", f"at most {rules.learner_budget:,} environment steps"))
        step = "scores"
        found = summary(learnt, tables, rules)
        report = replace(report, scores=found)
        differing(manifest.scores, json.loads(json.dumps(found)))
        report.checks.append(Check("scores", "passed", "exact returns recomputed, and as stated"))
        if not code or not (folder / SOURCE).is_file():
            report.checks.append(Check("re-run", "skipped", "not asked for, or no code given"))
            return report
        step = "re-run"
        source = entries.read_source(folder / SOURCE)
        if hashlib.sha256(source.encode()).hexdigest() != manifest.source_sha256:
            raise CreditEnvsError("method.py is not the file whose hash the manifest states")
        with Room(trusted=trusted, seconds=SECONDS) as room:
            again = learn_all(room, source, manifest.function, rules, tables, told)
            for cell, one in again.items():
                if not np.array_equal(one.probability, learnt[cell].probability):
                    raise CreditEnvsError(f"{cell}: the code does not learn the same policy again")
                if one.spent["env_steps"] != learnt[cell].spent["env_steps"]:
                    raise CreditEnvsError(f"{cell}: the code spends other environment steps than stated")
            report.checks.append(Check("re-run", "passed", f"same policies again ({', '.join(room.inside)})"))
            if season is not None:
                step = "hidden"
                return _hidden(report, room, source, manifest, rules, season, told)
    except CreditEnvsError as error:
        report.checks.append(Check(step, "failed", " ".join(str(error).split())))
    return report


def _hidden(
    report: Report,
    room: Room,
    source: str,
    manifest: Manifest,
    rules: Board,
    season: hiding.Season,
    told: Told | None,
) -> Report:
    tables = {name: hiding.instance(season, name, rules.seeds).table for name in rules.environments}
    learnt = learn_all(room, source, manifest.function, rules, tables, told)
    found = {**summary(learnt, tables, rules), "season": season.name}
    assert report.scores is not None
    mine, theirs = (s["overall"]["normalised"] for s in (found, report.scores))
    report = replace(report, hidden=found)
    shown = f"{mine['value']:.2f} of the way to optimal play there, {theirs['value']:.2f} on the public instances"
    behind = mine["high"] < theirs["low"] and mine["value"] < theirs["value"] / 2
    report.checks.append(Check("hidden", "failed" if behind else "passed", f"season {season.name}: {shown}"))
    return report


def _read(folder: Path, manifest: Manifest, rules: Board, tables: Mapping[str, TabularMDP]) -> dict[Cell, Learnt]:
    expected = [Cell(name, LEARNT, seed) for name in rules.environments for seed in range(rules.seeds)]
    if manifest.seeds != rules.seeds or set(manifest.spent) != set(expected):
        raise CreditEnvsError(f"cells: expected seeds 0 to {rules.seeds - 1} on {len(rules.environments)} environments")
    out: dict[Cell, Learnt] = {}
    try:
        with zipfile.ZipFile(folder / POLICIES) as archive:
            if sum(info.file_size for info in archive.infolist()) > _MOST_CELLS * 4:
                raise CreditEnvsError(f"{POLICIES}: too large when unpacked")
        with np.load(folder / POLICIES, allow_pickle=False) as stored:
            for cell in expected:
                key = f"{cell.seed}|{cell.environment}".replace("/", "|")
                out[cell] = Learnt(checked(tables[cell.environment], stored[key]), dict(manifest.spent[cell]))
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise CreditEnvsError(f"{POLICIES}: missing or damaged ({type(error).__name__}: {error})") from error
    return out
