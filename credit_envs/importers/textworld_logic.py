"""A TextWorld game's logic as a graph: breadth-first search over facts, without an interpreter.

A state is the set of facts that rules can change, and which quests are completed. Rules are joined with the facts here
rather than by TextWorld's own matcher, which is slow on games with hundreds of facts; a test compares the two.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from credit_envs.errors import CreditEnvsError, NotEnumerableError

Fact = tuple[str, ...]
"""A predicate's name, then the names of its arguments."""

Key = tuple[frozenset[Fact], tuple[bool, ...]]

GOES_ON, WON, LOST = 0, 1, 2

_CONSTANTS = ("P", "I")
"""Types with one thing each, named like its type: the player, and what is carried."""

PASSIVE = ("examine/*", "look", "inventory")
"""Rules that never change a state."""


@dataclass(frozen=True, eq=False)
class Graph:
    """States and admissible commands of a game; state 0 is the start.

    Attributes:
        facts: per state the facts that rules can change.
        completed: per state which quests are completed.
        status: per state :data:`GOES_ON`, :data:`WON` or :data:`LOST`.
        edges: per state its (command, successor) pairs, sorted by command.
        parent: per state the (state, command) from which it was first reached; None for the start.
        commands: all commands that are admissible somewhere, sorted.
        score: per state the score.
        max_score: score of a game in which all is done.
    """

    facts: list[frozenset[Fact]]
    completed: list[tuple[bool, ...]]
    status: list[int]
    edges: list[list[tuple[str, int]]]
    parent: list[tuple[int, str] | None]
    commands: list[str]
    score: list[int]
    max_score: int


class _Rule:
    """A rule as a join: preconditions in an order in which most variables are already bound."""

    def __init__(self, rule: Any, template: str, kinds: Mapping[str, set[str]]) -> None:
        def plain(predicate: Any) -> tuple[str, tuple[str, ...]]:
            return predicate.name, tuple(parameter.name for parameter in predicate.parameters)

        self.template = template
        # A fact that is needed and comes out unchanged is the logic's way to say that it is kept.
        needed = [plain(p) for p in rule.preconditions]
        made = [plain(p) for p in rule.postconditions]
        self.removed = [p for p in needed if p not in made]
        self.added = [p for p in made if p not in needed]
        self.kinds = {p.name: kinds[p.type] for predicate in rule.preconditions for p in predicate.parameters}
        self.signatures = {
            (p.name, tuple(q.type for q in p.parameters))
            for p in (*rule.preconditions, *rule.postconditions)
            if plain(p) in self.removed or plain(p) in self.added
        }
        self.needed: list[tuple[str, tuple[str, ...]]] = []
        self.constants = {p.name: p.type for p in rule.placeholders if p.type in _CONSTANTS}
        free = {v for _, variables in self.added for v in variables} - {*self.kinds, *self.constants}
        if free:
            raise NotEnumerableError(
                f"rule {rule.name!r} makes up {sorted(free)[0]!r}; expected rules about what is there"
            )
        bound = set(self.constants)
        while needed:
            best = max(needed, key=lambda p: (sum(a in bound for a in p[1]) / max(len(p[1]), 1), "P" in p[1]))
            needed.remove(best)
            self.needed.append(best)
            bound |= set(best[1])

    def matches(
        self, index: Mapping[Any, Iterable[tuple[str, ...]]], types: Mapping[str, str]
    ) -> Iterator[dict[str, str]]:
        """Yields all bindings of the variables; distinct variables stand for distinct things, as in TextWorld."""
        return self._join(0, self.constants, index, types)

    def _join(self, depth: int, bound: dict[str, str], index: Any, types: Any) -> Iterator[dict[str, str]]:
        if depth == len(self.needed):
            yield bound
            return
        name, variables = self.needed[depth]
        position = next((i for i, v in enumerate(variables) if v in bound), None)
        facts = index.get(name, ()) if position is None else index.get((name, position, bound[variables[position]]), ())
        for fact in facts:
            if len(fact) != len(variables):
                continue
            more = dict(bound)
            for variable, value in zip(variables, fact, strict=True):
                known = more.get(variable)
                if known is None:
                    if value in more.values() or types[value] not in self.kinds[variable]:
                        break
                    more[variable] = value
                elif known != value:
                    break
            else:
                yield from self._join(depth + 1, more, index, types)


class Logic:
    """The rules, facts and quests of a game.

    Args:
        game: a ``textworld.generator.game.Game``.
        rules: patterns of the names of the rules that are used; those that only look are always left out.

    Attributes:
        start: facts at the start that rules can change.
        static: facts that no rule changes.
        types: type of each thing.
        names: what each thing is called in commands.
        quests: per quest its winning and failing conditions, its reward, and whether it is optional.
        max_score: score of a game in which all is done.

    Raises:
        CreditEnvsError: if no rule matches, or a quest can be repeated (its score has no bound).
    """

    def __init__(self, game: Any, rules: Iterable[str]) -> None:
        patterns = tuple(rules)
        kinds = {t.name: {s.name for s in t.subtypes} for t in game.kb.logic.types}
        templates = game.kb.inform7_commands
        chosen = [
            rule
            for name, rule in sorted(game.kb.logic.rules.items())
            if name in templates
            and any(fnmatchcase(name, p) for p in patterns)
            and not any(fnmatchcase(name, p) for p in PASSIVE)
        ]
        if not chosen:
            known = ", ".join(sorted(game.kb.logic.rules))
            raise CreditEnvsError(f"rules={list(patterns)!r}: no rule of the game matches; it has {known}")
        if any(quest.repeatable for quest in game.quests):
            raise CreditEnvsError(
                "game_file: a quest can be repeated, so its score has no bound; expected none that can"
            )
        self.rules = [_Rule(rule, templates[rule.name], kinds) for rule in chosen]
        self.types = {name: name for name in _CONSTANTS}
        for fact in game.world.facts:
            self.types |= {v.name: v.type for v in fact.arguments}
        self.names = {name: (game.infos[name].name if name in game.infos else name) for name in self.types}
        fluent = {signature for rule in self.rules for signature in rule.signatures}
        self.start = frozenset[Fact]()
        static: set[Fact] = set()
        for fact in game.world.facts:
            plain = (fact.name, *(v.name for v in fact.arguments))
            moving = any(
                name == fact.name
                and len(types) == len(fact.arguments)
                and all(v.type in kinds[t] for v, t in zip(fact.arguments, types, strict=True))
                for name, types in fluent
            )
            if moving:
                self.start |= {plain}
            else:
                static.add(plain)
        self.static = static
        self._index = _indexed(sorted(static))
        self.quests = [
            (
                [_condition(e) for e in quest.win_events],
                [_condition(e) for e in quest.fail_events],
                quest.reward,
                quest.optional,
            )
            for quest in game.quests
        ]
        self.max_score = int(game.max_score)

    def admissible(self, facts: frozenset[Fact]) -> dict[str, frozenset[Fact]]:
        """Returns the admissible commands of a state and the facts that each leads to.

        Raises:
            NotEnumerableError: if one command could mean two different things.
        """
        index = _indexed(sorted(facts), self._index)
        found: dict[str, frozenset[Fact]] = {}
        for rule in self.rules:
            for bound in rule.matches(index, self.types):
                command = rule.template.format(**{v: self.names[x] for v, x in bound.items()})
                gone = {(name, *(bound[v] for v in variables)) for name, variables in rule.removed}
                new = {(name, *(bound[v] for v in variables)) for name, variables in rule.added}
                after = (facts - gone) | new
                if found.setdefault(command, after) != after:
                    raise NotEnumerableError(f"command {command!r} could mean two things in one state; rename things")
        return found

    def judge(self, facts: frozenset[Fact], completed: tuple[bool, ...]) -> tuple[tuple[bool, ...], int, int]:
        """Returns which quests are completed now, the score that this turn brings, and how the game stands."""
        gained, lost, now = 0, False, []
        everything = facts | self.static
        for was, (wins, fails, reward, _) in zip(completed, self.quests, strict=True):
            failed = not was and any(condition <= everything for condition in fails)
            won = not was and not failed and any(condition <= everything for condition in wins)
            lost |= failed
            gained += reward * won
            now.append(was or won)
        needed = [done for done, (wins, _, _, optional) in zip(now, self.quests, strict=True) if wins and not optional]
        status = LOST if lost else WON if needed and all(needed) else GOES_ON
        return tuple(now), gained, status


def search(logic: Logic, max_states: int) -> Graph:
    """Explores a game breadth-first from its start.

    Args:
        logic: the game.
        max_states: most states.

    Raises:
        NotEnumerableError: if there are more states, with what was reached and what to leave out.
        CreditEnvsError: if the game is over at its start, or cannot be won.
    """
    completed, _, status = logic.judge(logic.start, tuple(False for _ in logic.quests))
    if status != GOES_ON:
        raise CreditEnvsError("game_file: the game is over before the first command")
    keys: dict[Key, int] = {(logic.start, completed): 0}
    graph = Graph([logic.start], [completed], [GOES_ON], [[]], [None], [], [0], logic.max_score)
    depth, queue = [0], deque([0])
    while queue:
        state = queue.popleft()
        if graph.status[state] != GOES_ON:
            continue
        for command, facts in sorted(logic.admissible(graph.facts[state]).items()):
            completed, gained, status = logic.judge(facts, graph.completed[state])
            # The quests that a lost game completed do not matter any more, the facts do: they are what is shown.
            key = (facts, completed)
            successor = keys.setdefault(key, len(keys))
            if successor == len(graph.facts):
                if len(keys) > max_states:
                    raise NotEnumerableError(_too_many(logic, graph, max_states, depth[state]))
                graph.facts.append(facts)
                graph.completed.append(completed)
                graph.status.append(status)
                graph.edges.append([])
                graph.parent.append((state, command))
                graph.score.append(graph.score[state] + gained)
                depth.append(depth[state] + 1)
                queue.append(successor)
            graph.edges[state].append((command, successor))
    graph.commands.extend(sorted({command for edges in graph.edges for command, _ in edges}))
    if WON not in graph.status:
        raise CreditEnvsError(
            f"game_file: the game can't be won: {len(graph.facts)} states reached with {len(graph.commands)} commands, "
            f"best score {max(graph.score)} of {logic.max_score}; are the rules that its quests need left out?"
        )
    return graph


def _too_many(logic: Logic, graph: Graph, max_states: int, depth: int) -> str:
    places: dict[str, set[str]] = defaultdict(set)
    for facts in graph.facts:
        for fact in facts:
            if fact[0] in ("in", "on", "at") and fact[1] != "P":
                places[logic.names[fact[1]]].add(fact[2])
    worst = sorted(places, key=lambda name: -len(places[name]))[:4]
    moving = ", ".join(f"{name} ({len(places[name])} places)" for name in worst) or "nothing"
    return (
        f"game_file: more than max_states={max_states} states, reached {depth} commands from the start; things that move "
        f"most: {moving}. Make fewer things portable, or leave out rules such as drop, insert, put and close"
    )


def _condition(event: Any) -> frozenset[Fact]:
    return frozenset((p.name, *(v.name for v in p.arguments)) for p in event.condition.preconditions)


def _indexed(facts: Iterable[Fact], base: Mapping[Any, list[Any]] | None = None) -> dict[Any, list[Any]]:
    """Lists facts by predicate, and by predicate, position and value."""
    index: dict[Any, list[Any]] = {} if base is None else dict(base)
    own: set[Any] = set()
    for name, *arguments in facts:
        for key in (name, *((name, i, value) for i, value in enumerate(arguments))):
            if base is not None and key in base and key not in own:
                index[key] = list(base[key])
            own.add(key)
            index.setdefault(key, []).append(tuple(arguments))
    return index
