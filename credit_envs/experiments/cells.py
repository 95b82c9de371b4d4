"""A cell: several recipes on one environment under one policy, all seeds; a sweep: a list of cells."""

from __future__ import annotations

import functools
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Protocol

import credit_envs
from credit_envs import registry
from credit_envs.errors import CreditEnvsError, check_range, unknown
from credit_envs.evaluation.config import CEILING, UNIT, UNIT_GROUP
from credit_envs.evaluation.replicate import Subject
from credit_envs.experiments.names import named
from credit_envs.experiments.probes import PROBES
from credit_envs.oracle.control import ladder
from credit_envs.oracle.measure import spread
from credit_envs.oracle.policy import Policy
from credit_envs.oracle.visits import revisit_rate
from credit_envs.recipes import recipe
from credit_envs.table.mdp import TabularMDP

_SMALLEST = 4
"""Groups of the base sample at least."""


@dataclass(frozen=True)
class Cell:
    """One point of a sweep. Everything that changes its figures stands here.

    Attributes:
        environment: id with knobs.
        estimators: names as :func:`~credit_envs.experiments.names.named` reads them; unit and ceiling come by themselves.
        axes: what the sweep varies, as (name, value) pairs: coordinates of the cell in tables and pictures.
        level: normalised return of the policy.
        budget: environment steps of the base sample, per seed.
        seeds: number of replicates.
        first_seed: the first of them; further ones follow.
        group_size: rollouts per group.
        extra_steps: environment steps that one recipe may spend beyond the sample, per seed.
        staleness: σ of the noise on the logits of the policy that draws the rollouts.
        restore: what entering a stored state costs.
        probe: one of :data:`~credit_envs.experiments.probes.PROBES`, measured beside the estimators.
    """

    environment: str
    estimators: tuple[str, ...]
    axes: tuple[tuple[str, Any], ...] = ()
    level: float = 0.5
    budget: int = 8_000
    seeds: int = 10
    group_size: int = 8
    extra_steps: int = 400_000
    staleness: float = 0.0
    restore: str = "free"
    probe: str = ""
    first_seed: int = 0

    def check(self) -> Cell:
        """Returns itself, or raises.

        Raises:
            CreditEnvsError: naming the first field that is out of range or unknown.
        """
        registry.parse(self.environment)
        check_range("level", self.level, 0, 0.999)
        check_range("budget", self.budget, 100, 1e12, integer=True)
        check_range("seeds", self.seeds, 2, 1e6, integer=True)
        check_range("first_seed", self.first_seed, 0, 1 << 40, integer=True)
        check_range("group_size", self.group_size, 2, 1e6, integer=True)
        check_range("extra_steps", self.extra_steps, 1, 1e12, integer=True)
        check_range("staleness", self.staleness, 0, 10)
        for name in self.estimators:
            named(name)
        if self.probe and self.probe not in PROBES:
            raise unknown("probe", self.probe, PROBES)
        return self

    @property
    def slug(self) -> str:
        """Name of its file: readable, and with a digest of all fields that are set and the package's version."""
        # A field at its default leaves no trace, so that results outlive new fields.
        own = {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) != f.default}
        text = json.dumps(own, sort_keys=True, default=str)
        digest = hashlib.sha256(f"{credit_envs.__version__}{text}".encode()).hexdigest()[:10]
        words = re.sub(r"[^\w.=]+", "-", self.environment.removeprefix("credit/"))
        return f"{words[:80]}--{self.level:g}--{digest}"

    def work(self) -> dict[str, Any]:
        """Does it, see :func:`work`."""
        return work(self)


class Work(Protocol):
    """What a sweep is made of: a :class:`Cell`, or whatever else is plain data with these."""

    @property
    def environment(self) -> str:
        """What it is about, for the progress bar."""

    @property
    def axes(self) -> tuple[tuple[str, Any], ...]:
        """Coordinates in tables and pictures."""

    @property
    def slug(self) -> str:
        """Name of its file."""

    def check(self) -> Any:
        """Raises where a field is out of range."""

    def work(self) -> dict[str, Any]:
        """Does it."""


@dataclass(frozen=True)
class Sweep:
    """Cells that belong together.

    Attributes:
        name: as on the command line.
        about: one line.
        cells: the cells, without repetitions.
    """

    name: str
    about: str
    cells: tuple[Work, ...]

    def __post_init__(self) -> None:
        if len({cell.slug for cell in self.cells}) < len(self.cells):
            raise CreditEnvsError(f"sweep {self.name}: the same cell comes twice")


def work(cell: Cell) -> dict[str, Any]:
    """Does a cell.

    Returns:
        ``{"cell": …, "about": …, "records": […]}``: its fields, what the oracle measured, one flat record per seed and
        estimator (as :meth:`~credit_envs.evaluation.replicate.Subject.replicate` gives them), among them ``unit``; and
        ``"probe"``, one dictionary per seed, where the cell has a probe.
    """
    table, policy, about = _subject(cell.environment, cell.level, cell.group_size)
    subject = Subject(table, policy, restore=cell.restore, staleness=cell.staleness)
    recipes = {name: named(name) for name in dict.fromkeys((*cell.estimators, UNIT, CEILING))}

    def groups(size: int) -> int:
        return max(_SMALLEST, round(cell.budget / (size * float(about["expected_steps"]))))

    records = []
    seeds = range(cell.first_seed, cell.first_seed + cell.seeds)
    for seed in seeds:
        found = subject.replicate(recipes, seed, groups(cell.group_size), cell.group_size, cell.extra_steps)
        unit = next(record for record in found if record["estimator"] == UNIT)
        if cell.group_size != UNIT_GROUP:
            unit = subject.replicate({UNIT: recipe(UNIT)}, seed, groups(UNIT_GROUP), UNIT_GROUP, 1)[0]
        records += [*found, {**unit, "estimator": "unit"}]
    out = {"cell": asdict(cell), "about": about, "records": records}
    if cell.probe:
        probe, size = PROBES[cell.probe], cell.group_size
        out["probe"] = [probe(subject, seed, groups(size), size) for seed in seeds]
    return out


@functools.lru_cache(maxsize=2)
def _subject(environment: str, level: float, group_size: int) -> tuple[TabularMDP, Policy, Mapping[str, Any]]:
    table = registry.make_table(environment)
    rung = ladder(table, (level,))[-1]
    parts = spread(table, rung.policy)
    about = {
        "table": table.name,
        "fingerprint": table.fingerprint,
        "horizon": table.horizon,
        "expected_steps": parts.expected_steps,
        "effective_unit": parts.effective_unit,
        "luck_share": parts.luck_share,
        "J": rung.J,
        "normalised": rung.normalised,
        "revisit_rate": float(revisit_rate(table, rung.policy, group_size).value),
    }
    return table, rung.policy, about
