"""One list of environments: ids, where each table comes from, and how knobs reach families and dials.

Adding a family is one file in ``credit_envs/families`` plus one line in ``families/__init__.py`` and one here.
"""

from __future__ import annotations

import ast
import functools
import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from credit_envs.errors import CreditEnvsError, unknown
from credit_envs.table.mdp import TabularMDP


@dataclass(frozen=True)
class Entry:
    """One registered environment.

    Attributes:
        id: Gymnasium id.
        source: ``family``, ``toy_text`` or ``gymnasium``: which builder makes the table.
        target: family name, or the id of the Gymnasium environment that is imported.
        observation: default view.
        kwargs: fixed arguments of the builder.
    """

    id: str
    source: str
    target: str
    observation: str = "state"
    kwargs: dict[str, Any] = field(default_factory=dict)


ENTRIES: tuple[Entry, ...] = (
    Entry("credit/Pivots-v0", "family", "Pivots"),
    Entry("credit/KeyRooms-v0", "family", "KeyRooms", observation="grid"),
    Entry("credit/KeyToDoor-v0", "family", "KeyToDoor", observation="grid"),
    Entry("credit/Gallery-v0", "family", "Gallery", observation="both"),
    Entry("credit/Team-v0", "family", "Team", observation="grid"),
    Entry("credit/Shop-v0", "family", "Shop", observation="text"),
    Entry("credit/Household-v0", "family", "Household", observation="text"),
    Entry("credit/Lookup-v0", "family", "Lookup", observation="text"),
    Entry("credit/Apps-v0", "family", "Apps", observation="text"),
    Entry("credit/Sums-v0", "family", "Sums", observation="text"),
    Entry("credit/Charts-v0", "family", "Charts", observation="both"),
    Entry("credit/Chat-v0", "family", "Chat", observation="text"),
    Entry("credit/FrozenLake-v0", "toy_text", "FrozenLake"),
    Entry("credit/CliffWalking-v0", "toy_text", "CliffWalking"),
    Entry("credit/Taxi-v0", "toy_text", "Taxi"),
    Entry("credit/DoorKey-v0", "gymnasium", "MiniGrid-DoorKey-5x5-v0"),
)

_IMPORTERS = {
    "toy_text": "credit_envs.importers.toy_text:import_toy_text",
    "gymnasium": "credit_envs.importers.explore:import_gymnasium",
}


def entry(name: str) -> Entry:
    """Returns the entry of a name, with or without the ``credit/`` namespace, version and knobs.

    Raises:
        CreditEnvsError: if the id is unknown; the message names the nearest ones.
    """
    env_id = name.partition("?")[0]
    known = {e.id: e for e in ENTRIES}
    short = {e.id.removeprefix("credit/"): e for e in ENTRIES}
    unversioned = {name.rsplit("-v", 1)[0]: e for name, e in short.items()}
    found = known.get(env_id) or short.get(env_id) or unversioned.get(env_id)
    if found is None:
        names = {n: e.id for n, e in {**known, **unversioned}.items()}
        raise unknown("environment id", env_id, names, full_names=names)
    return found


def parse(name: str) -> tuple[Entry, dict[str, Any]]:
    """Reads a name: an id, or an id and knobs such as ``credit/KeyRooms-v0?map=hub&stages=8``.

    Returns:
        The entry, and the knobs (among them ``instance``, where the name sets it).

    Raises:
        CreditEnvsError: for unknown ids and knobs, with the nearest known names.
    """
    found, query = entry(name), name.partition("?")[2]
    knobs = settings(query.split("&")) if query else {}
    _check_names(found, knobs)
    return found, knobs


def settings(pairs: Sequence[str]) -> dict[str, Any]:
    """Reads ``NAME=VALUE`` pairs; values are Python literals, anything else is a word.

    Raises:
        CreditEnvsError: for a pair of another form, and for a name that comes twice.
    """
    out: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise CreditEnvsError(f"knob {pair!r}: expected NAME=VALUE, such as slip=0.1")
        if name in out:
            raise CreditEnvsError(f"knob {pair!r}: {name} is set twice, expected once")
        out[name] = _literal(value)
    return out


def canonical(name: str) -> str:
    """Returns the one full way to write a name: namespace, version, knobs in alphabetical order.

    Raises:
        CreditEnvsError: as :func:`parse`.
    """
    found, knobs = parse(name)
    pairs = [f"{knob}={_written(value)}" for knob, value in sorted(knobs.items())]
    return found.id + ("?" + "&".join(pairs) if pairs else "")


def make_table(env_id: str, instance: int = 0, **knobs: Any) -> TabularMDP:
    """Builds the table of a registered environment.

    Args:
        env_id: an id such as ``credit/KeyRooms-v0``, with or without knobs; see :func:`parse`.
        instance: instance seed of a family (families only).
        **knobs: family knobs, importer arguments and dials (``slip``, ``unit``, ``revisit_rate``, …) by name.

    Raises:
        CreditEnvsError: for unknown ids and knobs (with the nearest known names), values out of range, and knobs that
            the id sets already.
    """
    from credit_envs import dials

    found, named = parse(env_id)
    given = {**knobs, **({"instance": instance} if instance != 0 else {})}
    for name in named:
        if name in given:
            raise CreditEnvsError(f"{name}={given[name]!r}: {env_id!r} sets it already, expected one of them")
    _check_names(found, knobs)
    knobs = {**named, **knobs}
    instance = knobs.pop("instance", instance)
    if found.source == "family":
        from credit_envs.families import FAMILIES

        family = FAMILIES[found.target]
        own = {name: value for name, value in knobs.items() if name in family.knobs}
        build: Callable[..., TabularMDP] = functools.partial(family.build, instance)
    else:
        if instance != 0:
            raise CreditEnvsError(f"instance={instance}: {found.id} is one fixed environment, expected 0")
        module, function = _IMPORTERS[found.source].split(":")
        importer = getattr(importlib.import_module(module), function)
        own = {name: value for name, value in knobs.items() if name not in dials.names()}
        build = functools.partial(importer, found.target)
    try:
        table = build(**{**found.kwargs, **own})
    except CreditEnvsError as error:
        stranger = next((name for name in own if f"unexpected keyword argument '{name}'" in str(error)), None)
        if found.source == "family" or stranger is None:
            raise
        raise unknown(f"knob of {found.id}", stranger, dials.names()) from error
    return dials.apply(table, **{name: value for name, value in knobs.items() if name not in own})


def _check_names(found: Entry, knobs: Mapping[str, Any]) -> None:
    """Raises for a knob that a family has not; importers check their own arguments."""
    if found.source != "family" or not knobs:
        return
    from credit_envs import dials
    from credit_envs.families import FAMILIES

    known = {*FAMILIES[found.target].knobs, *dials.names(), "instance"}
    for name in knobs:
        if name not in known:
            raise unknown(f"knob of {found.id}", name, known)


def _literal(value: str) -> Any:
    try:
        return ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return value


def _written(value: Any) -> str:
    """Writes a value so that it reads back as itself: words bare, everything else as Python does."""
    return value if isinstance(value, str) and _literal(value) == value else repr(value)


def _swept(base: str, **dials: Sequence[Any]) -> tuple[str, ...]:
    """Returns names in which each dial alone takes each of its values."""
    env_id, _, query = base.partition("?")
    fixed = query.split("&") if query else []
    pairs = [f"{dial}={_written(value)}" for dial, values in dials.items() for value in values]
    return tuple(f"{env_id}?{'&'.join(sorted([*fixed, pair]))}" for pair in pairs)


_SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)

SUITES: dict[str, tuple[str, ...]] = {
    "foundation-v0": (
        "credit/FrozenLake-v0",
        "credit/Taxi-v0",
        "credit/DoorKey-v0",
        "credit/Pivots-v0",
        "credit/KeyRooms-v0",
    ),
    "core-v0": (
        "credit/Pivots-v0",
        "credit/KeyRooms-v0",
        "credit/KeyToDoor-v0",
        "credit/Gallery-v0",
        "credit/Team-v0",
        "credit/Shop-v0",
        "credit/Household-v0",
        "credit/Lookup-v0",
        "credit/Apps-v0",
        "credit/Sums-v0",
        "credit/Charts-v0",
        "credit/Chat-v0",
        "credit/FrozenLake-v0",
        "credit/Taxi-v0",
    ),
    "long-v0": (
        "credit/Pivots-v0?credit=each&fillers=5&length=40",
        "credit/KeyRooms-v0?horizon_factor=4.0&map=tree&stages=4",
        "credit/KeyRooms-v0?horizon_factor=2.0&stage_reward=0.05&stages=16",
        "credit/KeyRooms-v0?horizon_factor=4.0&map=tree&stage_reward=0.05&stages=8",
        "credit/KeyRooms-v0?horizon_factor=2.0&map=hub&stage_reward=0.05&stages=12",
        "credit/KeyToDoor-v0?orchard=150",
        "credit/Gallery-v0?junctions=40&step_cost=0.0",
        "credit/Team-v0?agents=2&keys=2",
        "credit/Household-v0?stages=60&task=place",
        "credit/FrozenLake-v0?unit=8",
        "credit/Taxi-v0?unit=4",
    ),
    "perception-v0": (
        *_swept("credit/KeyRooms-v0", cue=_SHARES),
        *_swept("credit/FrozenLake-v0", cue=_SHARES),
        *_swept("credit/Gallery-v0", dependence=_SHARES),
        *_swept("credit/Charts-v0", printed=_SHARES, prior=(0.25, 0.5, 0.75, 1.0)),
    ),
    "text-v0": (
        "credit/Shop-v0",
        "credit/Lookup-v0",
        "credit/Household-v0",
        "credit/Household-v0?task=two",
        "credit/Household-v0?stages=12&task=mixed",
        "credit/Apps-v0",
        "credit/Sums-v0",
        "credit/Chat-v0",
        "credit/KeyRooms-v0",
    ),
    "tokens-v0": (
        "credit/Shop-v0?spell=1",
        "credit/Lookup-v0?spell=1",
        "credit/Household-v0?spell=1",
        "credit/Apps-v0?spell=1",
        "credit/Sums-v0?spell=1",
        "credit/Charts-v0?spell=1",
        "credit/Chat-v0?spell=1",
    ),
    "team-v0": (
        "credit/Team-v0",
        "credit/Team-v0?moves=at once",
        "credit/Team-v0?goal=any",
        "credit/Team-v0?agents=3",
    ),
    "dials-v0": (
        "credit/KeyRooms-v0?stage_reward=0.2",
        *_swept(
            "credit/KeyRooms-v0?stage_reward=0.2",
            slip=(0.05, 0.1, 0.2, 0.4),
            delay=(2, 4, 8, 16),
            density=(0.0, 0.5),
            unit=(2, 4, 8),
            horizon=(30, 60, 120),
            plan=(1, 4),
            aliasing=(0.25, 0.5, 1.0),
            paraphrases=(2, 8, 32),
            revisit_rate=(0.05, 0.1, 0.2),
            cue=_SHARES,
        ),
        "credit/CliffWalking-v0",
        *_swept(
            "credit/CliffWalking-v0",
            slip=(0.05, 0.1, 0.2, 0.4),
            delay=(2, 4, 8),
            unit=(2, 4, 8),
            horizon=(25, 50, 100),
            plan=(1, 4),
            aliasing=(0.25, 0.5, 1.0),
            paraphrases=(2, 8, 32),
            revisit_rate=(0.05, 0.1, 0.2),
            cue=_SHARES,
        ),
        "credit/Lookup-v0",
        *_swept("credit/Lookup-v0", spell=(1,)),
    ),
}
"""Named lists of environments, each written as :func:`canonical` writes it. What none of them fixes has its default.

``perception-v0`` turns how much only the picture says; ``tokens-v0`` utters commands word by word; ``dials-v0`` turns each
dial alone on an own and on an imported table, which stand first, untouched, and spelling on one whose commands have several
words. Density has no sweep on the imported one: there every step is paid, and a table would have to remember all sums.
"""


def suite(name: str) -> tuple[str, ...]:
    """Returns the ids of a suite.

    Raises:
        CreditEnvsError: if there is none of that name.
    """
    if name not in SUITES:
        raise unknown("suite", name, SUITES)
    return SUITES[name]
