"""What an evaluation is asked to do, checked before any work starts, and the provenance that its results carry."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import platform
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

import credit_envs
from credit_envs import registry
from credit_envs.errors import CreditEnvsError, check_range
from credit_envs.piece import Piece
from credit_envs.recipes import DEFAULT, Recipe, recipe
from credit_envs.recipes.catalogue import around
from credit_envs.sampling.device import checked_device
from credit_envs.sampling.sampler import RESTORE

UNIT = "dr_grpo"
"""The unit of GRPO-equivalents: mean-centred GRPO without division by the deviation."""

UNIT_GROUP = 8
"""Rollouts per group of the unit."""

CEILING = "exact"
"""The exact advantage on the same trajectories."""


@dataclass(frozen=True)
class Config:
    """One evaluation.

    Attributes:
        environments: ids, with or without knobs (``ID?NAME=VALUE&NAME=VALUE``), or paths of saved tables.
        estimators: recipes by name, such as ``gigpo`` or ``tree_grpo+vppo``, or ``FILE.py:FUNCTION``.
        budget: environment steps of the base sample per replicate; also the B at which GRPO-equivalents are given.
        seeds: number of replicates, numbered from ``first_seed``.
        first_seed: seed of the first replicate.
        group_size: rollouts per group.
        levels: normalised returns of the policy ladder.
        match_discount: score methods once more with γ matched to the environment's.
        extra_steps: environment steps that one method may spend per replicate beyond the sample.
        device: ``cpu`` or ``cuda``.
        restore: what entering a stored state costs: ``free``, ``replay`` or ``none``.
        staleness: σ of the normal noise on the logits by which the policy that draws the rollouts is older than the one to be
            updated; 0 is on-policy, where importance ratios are 1.
        knobs: knobs and dials of every environment.
    """

    environments: tuple[str, ...] = registry.SUITES["foundation-v0"]
    estimators: tuple[str, ...] = DEFAULT
    budget: int = 100_000
    seeds: int = 10
    first_seed: int = 0
    group_size: int = 8
    levels: tuple[float, ...] = (0.0, 0.5, 0.9)
    match_discount: bool = True
    extra_steps: int = 1_000_000
    device: str = "cpu"
    restore: str = "free"
    staleness: float = 0.0
    knobs: Mapping[str, Any] = field(default_factory=dict)

    def check(self) -> Config:
        """Returns itself, or raises before any work starts.

        Raises:
            CreditEnvsError: naming the first argument that is out of range or unknown.
        """
        check_range("budget", self.budget, 100, 1e12, integer=True)
        check_range("seeds", self.seeds, 2, 1e6, integer=True)
        check_range("first_seed", self.first_seed, 0, 1 << 62, integer=True)
        check_range("group_size", self.group_size, 2, 1e6, integer=True)
        check_range("extra_steps", self.extra_steps, 1, 1e12, integer=True)
        check_range("staleness", self.staleness, 0, 10)
        for level in self.levels:
            check_range("levels", level, 0, 0.999)
        if list(self.levels) != sorted(set(self.levels)) or not self.levels:
            raise CreditEnvsError(f"levels={self.levels}: expected increasing numbers in [0, 0.999]")
        if self.restore not in RESTORE:
            raise CreditEnvsError(f"restore={self.restore!r}: expected one of {RESTORE}")
        checked_device(self.device)
        if not self.environments:
            raise CreditEnvsError("environments=(): expected at least one id")
        for name in self.environments:
            if not name.endswith(".npz"):
                registry.parse(name)
        for found in self.recipes():
            if self.restore == "none" and found.forks:
                raise CreditEnvsError(
                    f"restore='none': {found.name} forks trajectories, which is impossible then; leave it out"
                )
        return self

    def recipes(self) -> list[Recipe]:
        """Returns the recipes to score, the unit and the ceiling always among them."""
        names = [*self.estimators, *(name for name in (UNIT, CEILING) if name not in self.estimators)]
        return [load_recipe(name) for name in dict.fromkeys(names)]

    @property
    def digest(self) -> str:
        """Short hash of the configuration and of the code of estimators given as files; names the results folder."""
        text = json.dumps(asdict(self), sort_keys=True, default=str)
        for name in self.estimators:
            path = Path(name.rpartition(":")[0])
            text += path.read_text() if path.suffix == ".py" and path.is_file() else ""
        return hashlib.sha256(f"{credit_envs.__version__}{text}".encode()).hexdigest()[:10]


def load_recipe(name: str | Callable[..., Any] | Recipe) -> Recipe:
    """Returns a recipe from its name, from ``FILE.py:FUNCTION``, or around an advantage estimator given as a function.

    Raises:
        CreditEnvsError: if there is no such recipe, file or function.
    """
    if isinstance(name, Recipe):
        return name
    if callable(name):
        return around(Piece(getattr(name, "__name__", "estimator"), name, "step", "user", "user"))
    path, colon, function = name.rpartition(":")
    if not colon or not path.endswith(".py"):
        return recipe(name)
    if not Path(path).is_file():
        raise CreditEnvsError(f"estimator={name!r}: no file {path!r}")
    spec = importlib.util.spec_from_file_location(f"credit_envs_user_{Path(path).stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise CreditEnvsError(
            f"estimator={name!r}: {path} cannot be imported ({type(error).__name__}: {error})"
        ) from error
    found = getattr(module, function, None)
    if not callable(found):
        functions = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        raise CreditEnvsError(
            f"estimator={name!r}: {path} has no function {function!r}; it has {', '.join(functions) or 'none'}"
        )
    return around(Piece(f"{Path(path).stem}:{function}", found, "step", name, "user"))


def provenance() -> dict[str, str]:
    """Returns the versions that results carry."""
    return {
        "credit_envs": credit_envs.__version__,
        "numpy": np.__version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
    }
