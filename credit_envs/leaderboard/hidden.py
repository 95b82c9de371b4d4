"""Hidden test instances: the same families, but never these tables.

A season's secret is a few random bytes. Its SHA-256 is published before entries are made, so nobody, the maintainers included,
can choose instances afterwards; when the season is over the secret is published as well, and anyone can check both. From the
secret follow, per environment, an instance seed, a slip off every grid that anyone sweeps, the seeds of the samplers, a
permutation of the actions and of the looks, and new words for all words. A method that carries answers instead of computing
credit (a copied oracle, a table by observation and action) has nothing to look up there.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from credit_envs import registry
from credit_envs.arrays import AnyArray, Ints, ragged_ranges
from credit_envs.errors import CreditEnvsError
from credit_envs.table.emission import Emission
from credit_envs.table.mdp import TabularMDP
from credit_envs.table.storage import write_atomically
from credit_envs.table.view import MAX_TEXT, Rows, text_space

_BYTES = 32
_SLIP = (0.011, 0.097)
_CONSONANTS, _VOWELS = "bdfgklmnprstvz", "aeiou"


@dataclass(frozen=True)
class Season:
    """A season of hidden tests.

    Attributes:
        name: such as ``0``.
        sha256: hash of the secret, published ahead.
        secret: hexadecimal, None while it is one.
        published: whether everybody can read it, so that the instances hide nothing any more.
    """

    name: str
    sha256: str
    secret: str | None = None
    published: bool = False


def new_season(name: str, folder: Path, secret_file: Path) -> Season:
    """Draws a secret; writes its hash where it is published, and the secret where its owner alone can read it.

    Raises:
        CreditEnvsError: if the season exists already, or the secret cannot be kept there.
    """
    target = season_file(name, folder)
    for path in (target, secret_file):
        if path.exists():
            raise CreditEnvsError(f"season={name!r}: {path} exists already; a season has one secret")
    secret = secrets.token_hex(_BYTES)
    season = Season(name, commitment(secret))
    try:
        end = os.open(secret_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise CreditEnvsError(f"secret={str(secret_file)!r}: cannot be written ({error.strerror})") from error
    with os.fdopen(end, "w") as file:
        file.write(secret + "\n")
    _publish(target, {"name": season.name, "sha256": season.sha256})
    return season


def end_season(name: str, folder: Path, secret_file: Path) -> Season:
    """Publishes a season's secret beside its hash, so that anyone can check that instances were fixed ahead.

    Raises:
        CreditEnvsError: if the secret isn't the one that was committed to.
    """
    target = season_file(name, folder)
    season = open_season(target, secret_file)
    _publish(target, {**json.loads(target.read_text()), "secret": season.secret})
    return replace(season, published=True)


def season_file(name: str, folder: Path) -> Path:
    """Returns where a season is published.

    Raises:
        CreditEnvsError: for a name that is no part of a file's name.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,29}", name):
        raise CreditEnvsError(f"season={name!r}: expected 1 to 30 letters, digits, _ . or -, a letter or digit first")
    return folder / f"season-{name}.json"


def _publish(path: Path, stated: Mapping[str, Any]) -> None:
    write_atomically(path, (json.dumps(stated, indent=2) + "\n").encode())


def commitment(secret: str) -> str:
    """Returns the hash of a secret that is published ahead."""
    return hashlib.sha256(bytes.fromhex(secret)).hexdigest()


def open_season(published: Path, secret_file: Path | None = None) -> Season:
    """Reads a season, with the secret from its file or as published after the end.

    Raises:
        CreditEnvsError: if the secret isn't the one that was committed to.
    """
    try:
        stated = json.loads(published.read_text())
        given = secret_file.read_text().strip() if secret_file is not None else stated.get("secret")
        season = Season(str(stated["name"]), str(stated["sha256"]), given, "secret" in stated)
        right = given is not None and commitment(given) == season.sha256
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise CreditEnvsError(f"season {published}: unreadable ({type(error).__name__}: {error})") from error
    if given is None:
        raise CreditEnvsError(f"season {published}: its secret isn't published yet; give the file that holds it")
    if not right:
        raise CreditEnvsError(f"season {published}: the secret does not belong to the hash that was published")
    return season


@dataclass(frozen=True, eq=False)
class Instance:
    """A hidden instance.

    Attributes:
        table: the environment.
        seeds: seeds of its samplers.
    """

    table: TabularMDP
    seeds: tuple[int, ...]


def instance(season: Season, environment: str, n_seeds: int) -> Instance:
    """Makes the hidden instance of an environment."""
    assert season.secret is not None
    word = hashlib.sha256(bytes.fromhex(season.secret) + environment.encode()).digest()
    luck = np.random.default_rng(np.frombuffer(word, dtype=np.uint32))
    found, knobs = registry.parse(environment)
    slip = round(float(luck.uniform(*_SLIP)), 6)
    new: dict[str, Any] = {} if "slip" in knobs else {"slip": slip}
    if found.source == "family" and "instance" not in knobs:
        new["instance"] = int(luck.integers(1, 1 << 31))
    quiet = {"progress": False} if found.source == "gymnasium" else {}
    table = registry.make_table(environment, **new, **quiet)
    table = permuted(table, luck.permutation(table.n_actions), luck.permutation(table.emission.n_base))
    table = renamed(table, speech(int(luck.integers(1 << 62))))
    return Instance(table, tuple(int(s) for s in luck.integers(1 << 40, 1 << 41, n_seeds)))


def permuted(table: TabularMDP, actions: AnyArray, looks: AnyArray) -> TabularMDP:
    """Returns the same decision process with other numbers for its actions and looks.

    Args:
        table: the table.
        actions: int ``[A]``, action a becomes ``actions[a]``.
        looks: int ``[n_base]``, look b becomes ``looks[b]``.
    """
    action = np.asarray(actions)[table.edge_action]
    order = np.lexsort((action, table.edge_state))
    count = np.diff(table.outcome_start)[order]
    outcome: Ints = ragged_ranges(table.outcome_start[:-1][order], count)
    names = np.empty(table.n_actions, dtype=object)
    names[np.asarray(actions)] = table.action_names
    labels = {name: _relabelled(name, value, np.asarray(actions)) for name, value in table.labels.items()}
    return table.replace(
        edge_action=action[order].astype(np.int32),
        outcome_start=np.concatenate([[0], np.cumsum(count)]),
        successor=table.successor[outcome],
        probability=table.probability[outcome],
        reward=table.reward[outcome],
        terminal=table.terminal[outcome],
        action_names=tuple(names.tolist()),
        labels=labels,
        emission=Emission(np.asarray(looks)[table.emission.base].astype(np.int32), table.emission.layers),
    )


def _relabelled(name: str, value: Ints, actions: AnyArray) -> Ints:
    """Labels that name actions follow them."""
    if name != "default" and not name.endswith("_action"):
        return value
    return np.where(value >= 0, actions[np.maximum(value, 0)], value)


def speech(seed: int) -> Callable[[str], str]:
    """Returns a translation into words that nobody has seen: one new word per word, numbers and signs as they are."""
    known: dict[str, str] = {}
    taken: set[str] = set()

    def word(old: str) -> str:
        if old not in known:
            for salt in range(1 << 20):
                digest = hashlib.sha256(f"{seed}:{salt}:{old}".encode()).digest()
                pairs = zip(digest[0::2], digest[1::2], strict=True)
                new = "".join(_CONSONANTS[a % 14] + _VOWELS[b % 5] for a, b in list(pairs)[: 2 + salt % 3])
                if new not in taken:
                    break
            taken.add(new)
            known[old] = new
        return known[old]

    def said(text: str) -> str:
        return re.sub(r"[A-Za-z]+", lambda m: _cased(m[0], word(m[0].lower())), text)

    return said


def _cased(old: str, new: str) -> str:
    return new.capitalize() if old[0].isupper() else new


def renamed(table: TabularMDP, said: Callable[[str], str]) -> TabularMDP:
    """Returns a table that speaks other words: names of actions, and the text view."""
    names = tuple(dict.fromkeys(map(said, table.action_names)))
    if len(names) < table.n_actions:
        names = tuple(f"{said(name)} {i}" for i, name in enumerate(table.action_names))

    def change(_: AnyArray, rows: Rows) -> Rows:
        return [said(row)[:MAX_TEXT] for row in rows]

    view = table.view("text").reworded(text_space(), change)
    return table.replace(action_names=names, views={**table.views, "text": view})
