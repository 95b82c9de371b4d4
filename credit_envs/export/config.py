"""What to export: a frozen configuration that checks itself, names its tables and writes its command line."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shlex
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from credit_envs import registry
from credit_envs.errors import CreditEnvsError, check_range, need, unknown
from credit_envs.table.mdp import TabularMDP
from credit_envs.table.storage import load

FORMATS = ("processbench", "prm800k", "minari")
_MOST_ROLLOUTS = 1_000_000


@dataclass(frozen=True)
class Export:
    """What to export.

    Attributes:
        environment: id with or without knobs, or the path of a stored table.
        knobs: knobs and dials, ``NAME=VALUE``.
        policy: who plays; see :func:`~credit_envs.export.labels.policy_of`.
        groups: groups per instance.
        group_size: rollouts per group.
        instances: instance seeds of a family, ``instance`` … ``instance + instances − 1``.
        instance: the first of them.
        seed: seed of all luck.
        splits: ``NAME=SHARE``; shares add up to 1. Instances are never divided, and of a single one no group is.
        formats: some of :data:`FORMATS`.
        observation: view of the Minari data (default: the registered one).
        tolerance: regret above which a step is an error.
    """

    environment: str
    knobs: tuple[str, ...] = ()
    policy: str = "0.5"
    groups: int = 64
    group_size: int = 8
    instances: int = 1
    instance: int = 0
    seed: int = 0
    splits: tuple[str, ...] = ("train=0.8", "test=0.2")
    formats: tuple[str, ...] = FORMATS
    observation: str | None = None
    tolerance: float = 0.0

    def check(self) -> Export:
        """Returns itself, with the environment's canonical name.

        Raises:
            CreditEnvsError: for a value out of range, an unknown format, or splits that do not add up.
        """
        for name, low in (("groups", 1), ("group_size", 1), ("instances", 1), ("instance", 0), ("seed", 0)):
            check_range(name, getattr(self, name), low, 1 << 40, integer=True)
        check_range("tolerance", self.tolerance, 0, 1e300)
        rollouts = self.instances * self.groups * self.group_size
        if rollouts > _MOST_ROLLOUTS:
            raise CreditEnvsError(
                f"instances · groups · group_size = {rollouts:,}: expected at most {_MOST_ROLLOUTS:,} rollouts"
            )
        for name in self.formats:
            if name not in FORMATS:
                raise unknown("format", name, FORMATS)
        if not self.formats:
            raise CreditEnvsError(f"formats=(): expected some of {', '.join(FORMATS)}")
        if "minari" in self.formats:
            need("minari", "export")
            need("h5py", "export")
        if self.environment.endswith(".npz"):
            if (self.instance, self.instances) != (0, 1):
                raise CreditEnvsError(f"instances={self.instances}: a stored table has one layout, expected 1")
        elif registry.entry(self.environment).source != "family" and (self.instance, self.instances) != (0, 1):
            raise CreditEnvsError(
                f"instances={self.instances}: {self.environment} is one fixed environment, expected 1"
            )
        self.shares()
        if self.environment.endswith(".npz"):
            return self
        return dataclasses.replace(self, environment=registry.canonical(self.environment))

    def shares(self) -> dict[str, int]:
        """Returns how many units (instances, or groups of a single one) each split gets.

        Raises:
            CreditEnvsError: for malformed splits, and for one that would stay empty.
        """
        units = self.instances if self.instances > 1 else self.groups
        named = registry.settings(self.splits)
        for name, share in named.items():
            if not name.isidentifier():
                raise CreditEnvsError(f"splits={name!r}: expected a name of letters, digits and underscores")
            check_range(f"splits: {name}", share, 0, 1, open_low=True)
        if not named or abs(sum(named.values()) - 1) > 1e-9:
            raise CreditEnvsError(f"splits={' '.join(self.splits)!r}: expected shares that add up to 1")
        bounds = np.round(np.cumsum([0.0, *named.values()]) * units).astype(int).tolist()
        counts = {name: last - first for name, first, last in zip(named, bounds, bounds[1:], strict=False)}
        for name, count in counts.items():
            if count == 0:
                what = "instances" if self.instances > 1 else "groups"
                raise CreditEnvsError(f"splits: {name} would be empty; expected more than {units} {what}")
        return counts

    def table(self, instance: int) -> TabularMDP:
        """Returns the table of an instance."""
        knobs = registry.settings(self.knobs)
        if self.environment.endswith(".npz"):
            from credit_envs import dials

            return dials.apply(load(self.environment), **knobs)
        return registry.make_table(self.environment, instance=instance, **knobs)

    @property
    def digest(self) -> str:
        """Short hash of the configuration and the package's version."""
        from credit_envs import __version__

        text = json.dumps(dataclasses.asdict(self), sort_keys=True)
        return hashlib.sha256(f"{__version__}{text}".encode()).hexdigest()[:10]

    def command(self, folder: Path) -> str:
        """Returns the command line of this export; what is usual is left out."""
        parts = ["credit-envs", "export", self.environment, *self.knobs]
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.name not in ("environment", "knobs") and value != field.default:
                values = value if isinstance(value, tuple) else (value,)
                parts += [f"--{field.name.replace('_', '-')}", *map(str, values)]
        return shlex.join([*parts, "--output", str(folder)])
