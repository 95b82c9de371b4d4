"""The export: what to play and how to split it, in; a folder with data and a card, out.

    FOLDER/README.md              the card
    FOLDER/export.json            configuration, versions, statistics
    FOLDER/processbench/SPLIT.jsonl
    FOLDER/prm800k/SPLIT.jsonl
    FOLDER/minari/…               MINARI_DATASETS_PATH=FOLDER/minari

The folder appears when it is complete; the same export again finds it there and does nothing.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shlex
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from credit_envs import registry
from credit_envs.errors import CreditEnvsError, check_range, need, unknown
from credit_envs.export import card, minari_data, prm
from credit_envs.export.labels import Labelled, labelled, policy_of
from credit_envs.table.mdp import TabularMDP
from credit_envs.table.storage import load

FORMATS = ("processbench", "prm800k", "minari")
_MOST_VALUES = 50_000_000
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


def export(config: Export, folder: Path, progress: Callable[[int, int, str], None] | None = None) -> dict[str, Any]:
    """Writes the folder and returns what ``export.json`` says.

    Args:
        config: what to export.
        folder: the folder; if it holds this export already, nothing is done.
        progress: is told (done, in all, what).

    Raises:
        CreditEnvsError: for a malformed configuration, a folder that holds something else, or a table too large to solve.
    """
    config = config.check()
    there = folder / "export.json"
    if folder.exists():
        about: dict[str, Any] = json.loads(there.read_text()) if there.is_file() else {}
        if about.get("digest") != config.digest:
            raise CreditEnvsError(f"output={str(folder)!r}: holds something else; name another folder")
        return about
    with _appearing(folder) as place:
        about = _write(config, place, config.command(folder), progress or (lambda *_: None))
        (place / "README.md").write_text(card.text(about), encoding="utf-8")
        (place / "export.json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    return about


@contextmanager
def _appearing(folder: Path) -> Iterator[Path]:
    """Yields a folder that takes its name when it is complete."""
    place = folder.with_name(f".{folder.name}.partial-{os.getpid()}")
    try:
        place.mkdir(parents=True)
    except OSError as error:
        raise CreditEnvsError(f"output={str(folder)!r}: cannot write there ({error.strerror})") from error
    try:
        yield place
        os.replace(place, folder)
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _write(config: Export, place: Path, command: str, tell: Callable[[int, int, str], None]) -> dict[str, Any]:
    from credit_envs.evaluation.config import provenance

    about = _about(config.environment)
    found: list[tuple[Labelled, int]] = []
    for i in range(config.instances):
        instance = config.instance + i
        tell(i, config.instances, f"instance {instance}")
        table = config.table(instance)
        if table.n_states * (table.horizon + 1) > _MOST_VALUES:
            raise CreditEnvsError(
                f"{table.name}: too large to solve in passing ({table.n_states:,} states × {table.horizon:,} steps)"
            )
        policy = policy_of(table, config.policy, config.environment)
        own = labelled(table, policy, config.groups, config.group_size, config.seed, config.tolerance)
        found.append((own, instance))
    tell(config.instances, config.instances, "writing")
    statistics = {}
    for split, parts in _split(config, found):
        _write_lines(config, place, split, parts, about)
        if "minari" in config.formats:
            minari_data.write(place / "minari", _minari(config, split, found), parts, _view(config))
        statistics[split] = card.statistics(parts)
    return {
        "digest": config.digest,
        "command": command,
        "config": dataclasses.asdict(config),
        "environment": about,
        "instances": {
            str(instance): {"fingerprint": own.table.fingerprint, "name": own.table.name, "J": own.J}
            for own, instance in found
        },
        "splits": statistics,
        "versions": provenance(),
    }


def _split(
    config: Export, found: Sequence[tuple[Labelled, int]]
) -> Iterator[tuple[str, list[tuple[Labelled, Sequence[int], int]]]]:
    """Yields each split's rollouts: labelled instance, indices, instance seed."""
    first = 0
    for split, count in config.shares().items():
        if config.instances > 1:
            own = found[first : first + count]
            yield split, [(part, range(len(part.won)), instance) for part, instance in own]
        else:
            part, instance = found[0]
            yield split, [(part, range(first * config.group_size, (first + count) * config.group_size), instance)]
        first += count


def _write_lines(
    config: Export, place: Path, split: str, parts: Sequence[tuple[Labelled, Sequence[int], int]], about: str
) -> None:
    for layout in ("processbench", "prm800k"):
        if layout not in config.formats:
            continue
        (place / layout).mkdir(exist_ok=True)
        with (place / layout / f"{split}.jsonl").open("w", encoding="utf-8") as file:
            for found, chosen, instance in parts:
                seen = prm.texts(found)
                for i in chosen:
                    name = f"{_slug(config.environment)}-{instance}-{i}"
                    who = config.policy if config.policy in ("uniform", "optimal") else f"policy {config.policy}"
                    if layout == "prm800k":
                        line = prm.prm800k(found, i, seen[i], about, name, who)
                    else:
                        line = prm.processbench(found, i, seen[i], about, name, who, instance=instance, split=split)
                    file.write(json.dumps(line, ensure_ascii=False) + "\n")


def _minari(config: Export, split: str, found: Sequence[tuple[Labelled, int]]) -> minari_data.About:
    spec, returns = None, None
    if config.instances == 1:
        returns = (found[0][0].J[1], found[0][0].J[2])
        if not config.environment.endswith(".npz"):
            entry, named = registry.parse(config.environment)
            kwargs: dict[str, Any] = {**named, **registry.settings(config.knobs)}
            if config.instance:
                kwargs["instance"] = config.instance
            if config.observation is not None:
                kwargs["observation"] = config.observation
            spec = gymnasium.make(entry.id, **kwargs).spec
    return minari_data.About(
        f"{_slug(config.environment)}/{split}-v0",
        f"Trajectories of {config.environment} with exact step labels; played by {config.policy}.",
        config.policy,
        spec,
        returns,
    )


def _view(config: Export) -> str:
    if config.observation is not None:
        return config.observation
    return "state" if config.environment.endswith(".npz") else registry.entry(config.environment).observation


def _about(environment: str) -> str:
    """Returns one line on what is played."""
    if environment.endswith(".npz"):
        return f"{Path(environment).stem}."
    entry = registry.entry(environment)
    if entry.source != "family":
        return f"{entry.target}, imported."
    from credit_envs.families import FAMILIES

    return FAMILIES[entry.target].summary


def _slug(environment: str) -> str:
    if environment.endswith(".npz"):
        return Path(environment).stem.lower()
    return registry.entry(environment).id.removeprefix("credit/").rpartition("-v")[0].lower()
