"""Trials: cells that train. One arm of an experiment on one environment, all seeds, as plain data and one function.

Adding one: a function in a ``trials_*.py``, from an environment and a range of seeds to figures with one number per seed, and
a line in :data:`KINDS`. Arms that share their axes are compared seed by seed, see :mod:`credit_envs.experiments.contrasts`.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import import_module
from typing import Any

import credit_envs
from credit_envs import registry
from credit_envs.errors import CreditEnvsError, check_range, unknown

Figures = Mapping[str, Sequence[float]]
"""What a trial found: name → one number per seed."""

KINDS: Mapping[str, str] = {
    "learn": "trials_learn",
    "grained": "trials_grain",
    **dict.fromkeys(("bootstrapped", "curriculum", "overhead", "watched", "watermark", "windows"), "trials_loops"),
    **dict.fromkeys(("critique", "dependence", "experts", "sized"), "trials_networks"),
}
"""Kind → the module of this room that has the function of this name; modules are loaded when a trial runs."""


@dataclass(frozen=True)
class Trial:
    """One arm on one environment. Everything that changes its figures stands here.

    Attributes:
        kind: one of :data:`KINDS`.
        environment: id with knobs.
        arm: what is compared with the other arms of the same axes.
        settings: further arguments of the kind's function, as (name, value) pairs.
        axes: what the sweep varies, as (name, value) pairs.
        seeds: number of seeds.
        first_seed: the first of them.
    """

    kind: str
    environment: str
    arm: str
    settings: tuple[tuple[str, Any], ...] = ()
    axes: tuple[tuple[str, Any], ...] = ()
    seeds: int = 10
    first_seed: int = 0

    def check(self) -> Trial:
        """Returns itself, or raises.

        Raises:
            CreditEnvsError: naming the first field that is out of range or unknown.
        """
        if self.kind not in KINDS:
            raise unknown("kind", self.kind, KINDS)
        registry.parse(self.environment)
        check_range("seeds", self.seeds, 1, 4096, integer=True)
        check_range("first_seed", self.first_seed, 0, 1 << 32, integer=True)
        return self

    @property
    def slug(self) -> str:
        """Name of its file: readable, and with a digest of all fields and the package's version."""
        text = json.dumps(asdict(self), sort_keys=True, default=str)
        digest = hashlib.sha256(f"{credit_envs.__version__}{text}".encode()).hexdigest()[:10]
        words = re.sub(r"[^\w.=]+", "-", f"{self.kind}-{self.environment.removeprefix('credit/')}-{self.arm}")
        return f"{words[:90]}--{digest}"

    def work(self) -> dict[str, Any]:
        """Does it.

        Returns:
            ``{"trial": …, "about": {}, "records": […]}``: its fields, and one flat record per seed with ``estimator`` (the
            arm), ``seed`` and the figures.

        Raises:
            CreditEnvsError: if a figure has not one number per seed.
        """
        function: Callable[..., Figures] = getattr(import_module(f"{__package__}.{KINDS[self.kind]}"), self.kind)
        seeds = range(self.first_seed, self.first_seed + self.seeds)
        figures = function(self.environment, seeds, **dict(self.settings))
        for name, values in figures.items():
            if len(values) != self.seeds:
                raise CreditEnvsError(f"trial {self.slug}: {name} has {len(values)} numbers for {self.seeds} seeds")
        records = [
            {"estimator": self.arm, "seed": seed, **{name: float(values[i]) for name, values in figures.items()}}
            for i, seed in enumerate(seeds)
        ]
        return {"trial": asdict(self), "about": {}, "records": records}


def arms(
    kind: str,
    environments: Mapping[str, str],
    named: Mapping[str, Mapping[str, Any]],
    dial: str = "",
    values: Sequence[Any] = (),
    seeds: int = 10,
    full: Mapping[str, Any] | None = None,
    full_seeds: int = 20,
    chunk: int = 4096,
    **settings: Any,
) -> Callable[[bool], list[Trial]]:
    """Returns the trials of a claim as a function of ``quick``: every arm on every environment.

    Args:
        kind: one of :data:`KINDS`.
        environments: task → environment.
        named: arm → its own settings.
        dial: setting that becomes an axis.
        values: its values.
        seeds: per arm in the quick sweep.
        full: settings that differ in the full sweep, such as a larger budget.
        full_seeds: per arm there; they begin where the quick ones end, so that the full sweep has luck of its own.
        chunk: seeds per trial, where all of an arm take too long at once.
        **settings: of all arms.
    """

    def trials(quick: bool) -> list[Trial]:
        out = []
        for task, environment in environments.items():
            for value in values if dial else (None,):
                for arm, own in named.items():
                    given = {**settings, **({} if quick else full or {}), **({dial: value} if dial else {}), **own}
                    axes = (("task", task), *(((dial, value),) if dial else ()))
                    many, first = (seeds, 0) if quick else (full_seeds, 1_000)
                    for done in range(0, many, chunk):
                        part = (min(chunk, many - done), first + done)
                        out.append(Trial(kind, environment, arm, tuple(sorted(given.items())), axes, *part))
        return out

    return trials
