"""Entering: a method is run on a whole board, and one folder says everything about it.

manifest.json     who, what, with which versions, on which tables, what was spent, and the scores
method.py         the method's source
episodes.parquet  what was played and the credit that was claimed (estimators)
policies.npz      the policies that were learnt (learners)
"""

from __future__ import annotations

import hashlib
import re
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from credit_envs.errors import CreditEnvsError
from credit_envs.evaluation.config import provenance
from credit_envs.evaluation.providers import METERED
from credit_envs.leaderboard import scoring
from credit_envs.leaderboard.desk import BLIND, Desk, check_need
from credit_envs.leaderboard.records import Episodes
from credit_envs.leaderboard.room import Room, asked
from credit_envs.leaderboard.scoring import Stage
from credit_envs.leaderboard.tracks import GROUP_SIZE, Board, Cell
from credit_envs.leaderboard.worker import POLICY
from credit_envs.table.mdp import TabularMDP

SOURCE_BYTES = 1 << 16
"""A method is code, not a table: its file may be this long."""

MANIFEST, SOURCE, EPISODES, POLICIES = "manifest.json", "method.py", "episodes.parquet", "policies.npz"

_PROBE_SEED = 1 << 52
_MOST_MODEL_CALLS = 1000
_MOST_TIMES_BUDGET = 64
"""What a method that is given rollouts may spend at most: two groups are scored, whatever they cost."""

Told = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Method:
    """A method's source and how it wants to be called.

    Attributes:
        source: text of its file.
        function: name of its function.
        form: ``batch`` or ``sampler``.
        needs: what it asks for.
        model_calls: evaluations of a critic, a reward model or a judge per step, as its file states them.
    """

    source: str
    function: str
    form: str
    needs: tuple[str, ...]
    model_calls: float = 0.0

    @property
    def sub_track(self) -> str:
        """``fixed`` if it sees nothing but the rollouts it is given, else ``open``."""
        return "open" if self.form == "sampler" or METERED & set(self.needs) else "fixed"

    @property
    def sha256(self) -> str:
        """Hash of the source."""
        return hashlib.sha256(self.source.encode()).hexdigest()


@dataclass(frozen=True, eq=False)
class Run:
    """What a method did on a board.

    Attributes:
        cells: cell → its records.
        spent: cell → what it cost, see :data:`~credit_envs.leaderboard.manifest.SPENT`.
        inside: how its process was confined.
    """

    cells: dict[Cell, Episodes] = field(default_factory=dict)
    spent: dict[Cell, dict[str, float]] = field(default_factory=dict)
    inside: tuple[str, ...] = ()


def read_source(path: str | Path) -> str:
    """Reads a method's file.

    Raises:
        CreditEnvsError: if there is none, or it is too long.
    """
    path = Path(path)
    if not path.is_file():
        raise CreditEnvsError(f"method={str(path)!r}: no such file")
    if path.stat().st_size > SOURCE_BYTES:
        raise CreditEnvsError(
            f"method={str(path)!r}: {path.stat().st_size} bytes, expected at most {SOURCE_BYTES} (code, not tables)"
        )
    return path.read_text()


def method_of(room: Room, source: str, function: str) -> Method:
    """Loads a method in the room and asks how it wants to be called.

    Raises:
        CreditEnvsError: if it cannot be loaded, or asks for what entries may not have.
    """
    with room.child() as line:
        found = asked(line, {"what": "form", "source": source, "function": function}, _nothing)
    if not isinstance(found, dict) or found.get("form") not in ("batch", "sampler"):
        raise CreditEnvsError("method: has no form")
    needs, calls = tuple(str(name) for name in found.get("needs", ())), found.get("model_calls", 0)
    asked_for = [name for name in needs if name != POLICY]
    if found["form"] == "sampler" and asked_for:
        raise CreditEnvsError(f"method: estimate(sampler) asks its sampler; it cannot declare {', '.join(asked_for)}")
    for name in asked_for:
        check_need(name)
    if BLIND in needs and POLICY not in needs:
        raise CreditEnvsError(f"method: {BLIND} says what the policy's probabilities are; declare {POLICY} as well")
    if not isinstance(calls, int | float) or isinstance(calls, bool) or not 0 <= calls <= _MOST_MODEL_CALLS:
        raise CreditEnvsError(f"method: MODEL_CALLS={calls!r}, expected a number per step in [0, {_MOST_MODEL_CALLS}]")
    return Method(source, function, found["form"], needs, float(calls))


def _nothing(what: str, _: list[Any]) -> Any:
    raise CreditEnvsError(f"{what}: nothing can be asked here")


def play(
    room: Room, method: Method, stage: Stage, seed: int, budget: int, groups: int
) -> tuple[Episodes, dict[str, float]]:
    """Runs a method on one cell.

    Returns:
        Its records, and what it spent.
    """
    most = budget if method.form == "sampler" else _MOST_TIMES_BUDGET * budget
    desk = Desk(stage.sampler(seed), most, stage.values, policy=POLICY in method.needs)
    task = {
        "what": "estimate",
        "source": method.source,
        "function": method.function,
        "form": method.form,
        "needs": list(method.needs),
        "budget": desk.budget,
    }
    if method.form == "batch":
        task["given"] = desk.deal(groups, GROUP_SIZE)
    began = time.perf_counter()
    with room.child() as line:
        found = desk.taken(asked(line, task, desk.answer))
    meter = desk.sampler.meter
    steps = int(found.steps[-1])
    calls = meter.policy_calls + (steps if BLIND in method.needs else 0)
    spent = {"env_steps": meter.env_steps, "policy_calls": calls, "model_calls": steps * method.model_calls}
    return found, {**{k: float(v) for k, v in spent.items()}, "seconds": time.perf_counter() - began}


def run(
    room: Room,
    method: Method,
    board: Board,
    tables: Mapping[str, TabularMDP],
    told: Told | None = None,
    seeds: Sequence[int] | None = None,
) -> Run:
    """Runs a method on all cells of a board.

    Args:
        room: where it runs.
        method: what runs.
        board: the rules.
        tables: environment → table.
        told: called with (cells done, cells in all, what is being worked on).
        seeds: seeds of the samplers (default: 0, 1, …); hidden instances have their own.
    """
    out = Run()
    chosen = list(range(board.seeds)) if seeds is None else list(seeds)
    total, done = len(board.environments) * (1 if board.strayed else len(board.levels)) * len(chosen), 0
    for environment in board.environments:
        for stage in scoring.stages(environment, tables[environment], board):
            groups, budget = stage.groups, stage.budget if method.form == "sampler" else board.budget
            if method.form == "batch" and method.sub_track == "open":
                _, cost = play(room, method, stage, _PROBE_SEED, board.budget, scoring.FEWEST_GROUPS)
                groups = max(scoring.FEWEST_GROUPS, int(board.budget * scoring.FEWEST_GROUPS // cost["env_steps"]))
            for seed in chosen:
                cell = Cell(environment, stage.rung.name, seed)
                out.cells[cell], out.spent[cell] = play(room, method, stage, seed, budget, groups)
                done += 1
                if told is not None:
                    told(done, total, environment)
    return Run(out.cells, out.spent, room.inside)


def score_all(
    board: Board, tables: Mapping[str, TabularMDP], run: Run, told: Told | None = None
) -> list[dict[str, Any]]:
    """Scores all cells; returns flat records.

    Raises:
        CreditEnvsError: if the replay disagrees with the records.
    """
    records: list[dict[str, Any]] = []
    for environment in board.environments:
        for stage in scoring.stages(environment, tables[environment], board):
            for cell, episodes in run.cells.items():
                if (cell.environment, cell.policy) == (environment, stage.rung.name):
                    try:
                        records += scoring.score(stage, cell.seed, episodes, run.spent[cell])
                    except CreditEnvsError as error:
                        raise CreditEnvsError(f"{environment}, {cell.policy}, seed {cell.seed}: {error}") from error
                    if told is not None:
                        told(len(records) // 3, len(run.cells), environment)
    return records


def summary(records: Sequence[Mapping[str, Any]], board: Board) -> dict[str, Any]:
    """Returns the scores that a manifest states: over all cells, and cell by cell."""
    found = {
        "overall": {name: asdict(found) for name, found in scoring.overall(records, board).items()},
        "cells": [asdict(row) for row in scoring.rows(records, board)],
    }
    return dict(shortened(found))


def shortened(value: Any) -> Any:
    """Returns scores with 8 significant digits, which is more than differs between machines."""
    if isinstance(value, Mapping):
        return {key: shortened(one) for key, one in value.items()}
    if isinstance(value, list):
        return [shortened(one) for one in value]
    return float(f"{value:.8g}") if isinstance(value, float) else value


def revision(path: Path) -> str:
    """Returns the revision of the repository that a file stands in, with a mark where it was changed since; empty outside."""
    try:
        said = subprocess.run(
            ["git", "-C", str(path.parent), "describe", "--always", "--dirty", "--abbrev=12"],
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return said.stdout.strip() if said.returncode == 0 else ""


def fingerprints(board: Board, tables: Mapping[str, TabularMDP]) -> dict[str, str]:
    """Returns the fingerprints of a board's tables."""
    return {name: tables[name].fingerprint for name in board.environments}


def checked_name(name: str) -> str:
    """Returns a name that can be a folder.

    Raises:
        CreditEnvsError: otherwise.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,59}", name):
        raise CreditEnvsError(f"name={name!r}: expected 1 to 60 letters, digits, _ . + or -, a letter or digit first")
    return name


def versions() -> dict[str, str]:
    """Returns the versions that made an entry."""
    return provenance()
