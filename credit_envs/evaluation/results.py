"""The door to evaluation: ``evaluate`` runs one, ``open_results`` reads one back."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from credit_envs import registry
from credit_envs.errors import CreditEnvsError
from credit_envs.evaluation.config import CEILING, UNIT, Config, load_recipe
from credit_envs.evaluation.run import Progress, evaluate_environment, gather, run
from credit_envs.evaluation.summary import Row, summarise
from credit_envs.recipes import DEFAULT, Recipe
from credit_envs.table.mdp import TabularMDP

EstimatorLike = str | Callable[..., Any] | Recipe


@dataclass(frozen=True, eq=False)
class Results:
    """A finished (or partly finished) evaluation.

    Attributes:
        config: what was asked.
        records: one flat record per environment, policy, seed and estimator.
        environments: measured dials and policies per environment.
        provenance: versions that made the records.
        folder: where it is kept.
    """

    config: Config
    records: Sequence[Mapping[str, Any]]
    environments: Sequence[Mapping[str, Any]]
    provenance: Mapping[str, str]
    folder: Path

    @cached_property
    def rows(self) -> list[Row]:
        """One summary row per environment, policy and estimator, in the order of the configuration."""
        order = {name: i for i, name in enumerate(self.config.environments)}
        rows = summarise(self.records, self.config.budget)
        return sorted(
            rows, key=lambda row: (order.get(row.environment, len(order)), row.policy != "uniform", row.policy)
        )


def evaluate(
    estimator: EstimatorLike | Sequence[EstimatorLike] = DEFAULT,
    environments: str | Sequence[str | TabularMDP] = "foundation-v0",
    *,
    output: str | Path | None = None,
    jobs: int = 1,
    progress: Progress | None = None,
    **options: Any,
) -> Results:
    """Scores credit estimators against the exact advantage and the exact policy gradient.

    Args:
        estimator: a function ``estimate(batch, **needs) → [N, T]``, a name, ``FILE.py:FUNCTION``, or several of those.
        environments: a suite, ids, or tables.
        output: folder of the results (default: a temporary one); the same call again resumes there.
        jobs: processes; functions and tables that exist only in memory are scored in this one.
        progress: called with (cells done, cells in all, what is being worked on).
        **options: fields of :class:`~credit_envs.evaluation.config.Config`, such as ``budget``, ``seeds``, ``group_size``.

    Raises:
        CreditEnvsError: for bad arguments, before any work starts.
    """
    wanted = [estimator] if isinstance(estimator, str | Recipe) or callable(estimator) else list(estimator)
    named = (
        registry.suite(environments)
        if isinstance(environments, str) and environments in registry.SUITES
        else environments
    )
    places: list[str | TabularMDP] = [named] if isinstance(named, str | TabularMDP) else list(named)
    in_memory = any(not isinstance(x, str) for x in [*wanted, *places])
    names = [x if isinstance(x, str) else load_recipe(x).name for x in wanted]
    labels = [x if isinstance(x, str) else x.name for x in places]
    if len(set(labels)) < len(labels):
        raise CreditEnvsError(f"environments={labels}: expected distinct names (TabularMDP.replace(name=...))")
    try:
        config = Config(tuple(labels), tuple(names), **options)
    except TypeError as error:
        raise CreditEnvsError(f"evaluate: {error}") from error
    folder = Path(output) if output is not None else Path(tempfile.mkdtemp(prefix="credit-envs-"))
    if not in_memory:
        return open_results(run(config, folder, jobs, progress))
    recipes = [load_recipe(x) for x in [*wanted, *(n for n in (UNIT, CEILING) if n not in names)]]
    replace(
        config,
        environments=tuple(x for x in places if isinstance(x, str)) or ("credit/Pivots-v0",),
        estimators=tuple(x for x in wanted if isinstance(x, str)) or (UNIT,),
    ).check()
    (folder / "cells").mkdir(parents=True, exist_ok=True)
    done, total = 0, len(places) * config.seeds * len(config.levels)
    for place, label in zip(places, labels, strict=True):
        table = place if isinstance(place, TabularMDP) else None
        for _ in evaluate_environment(config, label, folder, table, recipes):
            done += 1
            if progress is not None:
                progress(done, total, label)
    from credit_envs.evaluation.config import provenance

    gather(folder)
    return _read(config, folder, provenance())


def open_results(folder: str | Path) -> Results:
    """Reads results back from their folder.

    Raises:
        CreditEnvsError: if the folder holds none.
    """
    folder = Path(folder)
    try:
        stated = json.loads((folder / "config.json").read_text())
    except (OSError, ValueError) as error:
        raise CreditEnvsError(f"folder={str(folder)!r}: holds no readable results ({error})") from error
    provenance = stated.pop("provenance")
    stated.pop("digest")
    for key in ("environments", "estimators", "levels"):
        stated[key] = tuple(stated[key])
    return _read(Config(**stated), folder, provenance)


def _read(config: Config, folder: Path, provenance: Mapping[str, str]) -> Results:
    gather(folder)
    records = [json.loads(line) for line in (folder / "records.jsonl").read_text().splitlines()]
    return Results(config, records, json.loads((folder / "environments.json").read_text()), provenance, folder)
