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
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gymnasium

from credit_envs import registry
from credit_envs.errors import CreditEnvsError
from credit_envs.export import card, minari_data, prm
from credit_envs.export.config import Export
from credit_envs.export.labels import Labelled, labelled, policy_of

_MOST_VALUES = 50_000_000

Part = tuple[Labelled, Sequence[int], int]
"""Labelled rollouts of one instance, which of them are meant, and the instance's seed."""


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


def _split(config: Export, found: Sequence[tuple[Labelled, int]]) -> Iterator[tuple[str, list[Part]]]:
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


def _write_lines(config: Export, place: Path, split: str, parts: Sequence[Part], about: str) -> None:
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
