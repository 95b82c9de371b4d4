"""Compiles Household games and packs them into the shipped files.

``python -m credit_envs.families.household_pack`` writes all of them again (about half an hour on one core);
``… household_pack place-hub-4 look-row-12`` only those named. The same plans always give the same files.
"""

from __future__ import annotations

import hashlib
import io
import json
import sys
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from credit_envs.arrays import AnyArray
from credit_envs.errors import CreditEnvsError, NotEnumerableError
from credit_envs.families.household import FOLDER, file_name
from credit_envs.families.household_author import author
from credit_envs.families.household_plan import (
    APPLIANCES,
    CLOSED,
    LAMPS,
    MAPS,
    STAGES,
    TASKS,
    TREATMENTS,
    Plan,
    draw_plan,
    tags,
)
from credit_envs.families.household_rules import USED
from credit_envs.families.household_words import SKINS, Words, draw_words
from credit_envs.importers.textworld_engine import narrate
from credit_envs.importers.textworld_logic import WON, Fact, Graph, Logic, search
from credit_envs.table.storage import canonical_bytes, write_atomically

GAMES = {4: 4, 12: 2, 60: 2}
"""Games per setting, by stages."""

_MAX_STATES = 20_000


@dataclass(frozen=True, eq=False)
class Packed:
    """A compiled game in all its skins.

    Attributes:
        admissible: uint8 ``[S]``, number of admissible commands.
        edges: uint16 ``[E, 2]``, command and successor.
        columns: uint8 ``[S, 8]``, the factors of :data:`credit_envs.families.household.COLUMNS`.
        looks: uint16 ``[S, 2]``, which description and which inventory is shown.
        texts: per skin its commands, descriptions and inventories.
        optimal: length of the shortest solution.
    """

    admissible: AnyArray
    edges: AnyArray
    columns: AnyArray
    looks: AnyArray
    texts: dict[str, tuple[list[str], list[str], list[str]]]
    optimal: int

    @property
    def digest(self) -> str:
        """sha256 of all arrays and words."""
        digest = hashlib.sha256()
        for array in (self.admissible, self.edges, self.columns, self.looks):
            digest.update(canonical_bytes(array))
        digest.update(json.dumps(self.texts, sort_keys=True).encode())
        return digest.hexdigest()


def commands(plan: Plan, words: Words) -> list[str]:
    """Lists the commands of a game; their number depends on task and stages alone, not on the plan's draws."""
    found = [f"go {way}" for way in ("north", "east", "south", "west")]
    found += [f"open {words.places[role]}" for role in plan.place_room if role in CLOSED]
    for thing in words.things:
        for role in plan.place_room:
            found.append(f"take {thing} from {words.places[role]}")
            found.append(f"put {thing} {'in' if role in CLOSED else 'on'} {words.places[role]}")
        if plan.task in ("prepare", "mixed"):
            found += [f"{verb} {thing}" for verb in TREATMENTS]
        if plan.task in ("look", "mixed"):
            found += [f"examine {thing} under {words.places[lamp]}" for lamp in LAMPS.values()]
    return found


def compile_plan(plan: Plan, every_edge: bool = True) -> Packed:
    """Compiles a plan in all skins: logic once, words by the interpreter.

    Args:
        plan: the game.
        every_edge: play every edge of the first skin (the others always play those that first reach a state).

    Raises:
        NotEnumerableError: if logic and interpreter disagree, or skins show different states alike.
        MissingExtraError: if TextWorld is not installed.
    """
    graph: Graph | None = None
    first: list[str] = []
    looks: AnyArray | None = None
    texts: dict[str, tuple[list[str], list[str], list[str]]] = {}
    for skin in SKINS:
        named = commands(plan, draw_words(plan, SKINS[skin]))
        game = author(plan, skin)
        if graph is None:
            graph, first = search(Logic(game, USED), _MAX_STATES), named
        shown = narrate(game, _renamed(graph, first, named), every_edge and skin == next(iter(SKINS)))
        descriptions, inventories = ([_squeezed(text) for text in column] for column in zip(*shown, strict=True))
        which = np.stack([_numbered(descriptions), _numbered(inventories)], axis=1).astype(np.uint16)
        if looks is None:
            looks = which
        elif not np.array_equal(looks, which):
            raise NotEnumerableError(f"{plan}: skin {skin!r} tells other states apart than the first skin")
        texts[skin] = (named, list(dict.fromkeys(descriptions)), list(dict.fromkeys(inventories)))
    assert graph is not None
    number = {command: i for i, command in enumerate(first)}
    pairs = [sorted((number[command], successor) for command, successor in edges) for edges in graph.edges]
    return Packed(
        admissible=np.array([len(p) for p in pairs], dtype=np.uint8),
        edges=np.array([pair for p in pairs for pair in p], dtype=np.uint16),
        columns=np.array([_columns(plan, facts) for facts in graph.facts], dtype=np.uint8),
        looks=np.asarray(looks),
        texts=texts,
        optimal=_shortest(graph),
    )


def _renamed(graph: Graph, old: list[str], new: list[str]) -> Graph:
    """The same graph with other words for its commands."""
    name = dict(zip(old, new, strict=True))
    return Graph(
        facts=graph.facts,
        completed=graph.completed,
        status=graph.status,
        edges=[[(name[command], successor) for command, successor in edges] for edges in graph.edges],
        parent=[None if p is None else (p[0], name[p[1]]) for p in graph.parent],
        commands=sorted(name[command] for command in graph.commands),
        score=graph.score,
        max_score=graph.max_score,
    )


def _columns(plan: Plan, facts: frozenset[Fact]) -> tuple[int, ...]:
    """Reads the factors of a state off its facts."""
    role_of = {tag: role for role, tag in tags(plan).items()}
    roles = list(plan.place_room)
    room = step = carrying = manner = opened = 0
    place: dict[int, int] = {}
    for name, *arguments in facts:
        numbers = [int(a.split("_")[1]) if "_" in a else -1 for a in arguments]
        if name == "at":
            room = numbers[1]
        elif name == "now":
            step = numbers[0]
        elif name == "is":
            manner = max(manner, numbers[1])
        elif name == "open":
            opened |= 1 << numbers[0]
        elif name in ("in", "on"):
            held = arguments[1] == "I"
            carrying = 1 + numbers[0] if held else carrying
            place[numbers[0]] = 0 if held else 1 + roles.index(role_of[arguments[1]])
    now = plan.steps[step]
    where = [place[thing] for thing in now.things] + [0, 0]
    stage = now.stage
    if now.kind in TREATMENTS:
        ready = manner == 1 + TREATMENTS.index(now.kind)
        near = where[0] == 1 + roles.index(APPLIANCES[now.kind])
        stage += 2 + (carrying > 0) if ready else carrying > 0 or near
    else:
        stage += carrying > 0
    return step, int(stage), room, carrying, manner, opened, where[0], where[1]


def _shortest(graph: Graph) -> int:
    steps, queue = {0: 0}, deque([0])
    while queue:
        state = queue.popleft()
        if graph.status[state] == WON:
            return steps[state]
        for _, successor in graph.edges[state]:
            if successor not in steps:
                steps[successor] = steps[state] + 1
                queue.append(successor)
    raise CreditEnvsError("the game can't be won")


def _squeezed(text: str) -> str:
    """Drops empty lines and characters beyond ASCII's printable ones."""
    return "\n".join(line.strip() for line in text.splitlines() if line.strip())


def _numbered(words: list[str]) -> AnyArray:
    index = {word: i for i, word in enumerate(dict.fromkeys(words))}
    return np.array([index[word] for word in words])


def pack(task: str, map: str, stages: int, folder: Path = FOLDER) -> Path:
    """Compiles the games of a setting and writes their file."""
    games = [compile_plan(draw_plan(task, map, stages, seed)) for seed in range(GAMES[stages])]
    header = {
        "schema": 1,
        "longest": max(game.optimal for game in games),
        "games": [{"optimal": game.optimal, "digest": game.digest} for game in games],
    }
    arrays: dict[str, Any] = {"header": np.frombuffer(json.dumps(header).encode(), dtype=np.uint8)}
    for i, game in enumerate(games):
        for name in ("admissible", "edges", "columns", "looks"):
            arrays[f"{i}:{name}"] = getattr(game, name)
        for skin, texts in game.texts.items():
            arrays[f"{i}:{skin}"] = np.frombuffer("\x1e".join("\x00".join(t) for t in texts).encode(), dtype=np.uint8)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    write_atomically(folder / file_name(task, map, stages), buffer.getvalue())
    return folder / file_name(task, map, stages)


def main(names: list[str]) -> None:
    """Packs the named settings, or all."""
    every = [(task, map, stages) for stages in STAGES for task in TASKS for map in MAPS]
    for task, map, stages in every:
        if not names or f"{task}-{map}-{stages}" in names:
            began = time.perf_counter()
            path = pack(task, map, stages)
            print(f"{path.name}: {path.stat().st_size:,} bytes, {time.perf_counter() - began:.0f} s", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
