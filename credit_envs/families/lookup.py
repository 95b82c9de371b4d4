"""Lookup: answer a question of several hops by searching and reading articles; paid for the right answer.

## Description

A miniature of multi-hop question answering with a search engine: "Who is the mayor of the city where Fenta Junban was
born?" A generated knowledge graph has `hops + 1` layers of `entities` people, cities or companies each. Every entity
before the last layer has an article with two facts: one of the relation that the question asks for, which pairs the
layer with the next one to one, and a decoy of another relation ("lives in" beside "was born in").

A name can be searched for once it has been read, in the question or in an article. A search lists the article of that
name and `distractors` others of the same layer; with probability `noise` it misses the article and lists the others
only. Reading a listed article takes one of `hops + spare_reads` readings and puts the article into the notes, which
stay in sight. Every name of the last layer that has been read can be given as the answer. Those names have no articles.

Decoys and distractors are entities that the question does not lead through, and neither do theirs come back to it: one
way leads to the answer, the plan. It searches and reads once per hop, `2·hops + 1` steps if no search misses. Wrong turns
are reading a distractor, following a decoy, and giving a decoy as the answer.

Graph, names, relations, distractors and the order in which articles tell their facts differ between instances, and the
actions are shuffled per instance.

## Action Space

`Discrete(2·hops·entities + entities + 1)`: `search NAME`, `read NAME`, `answer NAME`, `answer unknown`. Admissible are
searches for known names whose article is unread while readings are left, readings of listed articles that are unread,
answers with known names of the last layer, and `answer unknown` once the readings are used up.

## Observation Space

- `text`: the question, the articles read so far (in no telling order), the search results, and every command with the
  number of its action.
- `plan`: the hops in words, what the resolved ones lead to, and the plan's next command.
- `state`: the number of the state (set of articles read, search results).

Different states have different texts, so nothing is hidden from a reader of `text`. Labels: `segment` (hops resolved,
the subgoal being the next one, and the answer after the last), `reads` (articles read), `page` (0 notes only, 1 results,
2 results that miss the article, 3 over), `about` (entity searched for, −1 for none). `anchor` is (hops resolved,
articles read, results shown), whichever useless articles were read.

For process rewards there are `gold_listed` (the results list the article that the plan needs next), `answer_seen` (the
right answer's name has been read; in the end, whether it was given), `answer_share` (see :func:`answer_probability`; its
unit is one over `answer_whole`), `reference_action` (the plan's next action; −1 when readings are used up and in the end)
and `reference_left` (steps of the plan that are still to be taken; in the end 0 if none are, else −1). A verifiable reward
of a turn is the change of such a label; the change of :func:`answer_probability` is the turn's information gain.

## Rewards

1 for the right answer, else 0.

## Starting State

Nothing read, no results.

## Episode End

With an answer, or at the horizon: `horizon_factor` times `2·hops + 1`.

## Arguments

- `hops` (default 2): relations to follow.
- `entities` (default 5): entities per layer, as many as there might be answers.
- `distractors` (default 2): other articles on a result page.
- `noise` (default 0.1): probability that a search misses the article.
- `spare_reads` (default 1): readings beyond one per hop.
- `horizon_factor` (default 2): see Episode End.

## References

Questions and tools follow Yang et al., "HotpotQA: A Dataset for Diverse, Explainable Multi-hop Question Answering",
EMNLP 2018, and Jin et al., "Search-R1: Training LLMs to Reason and Leverage Search Engines with Reinforcement Learning",
COLM 2025.

## Version History

- v0: first version.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from credit_envs.arrays import AnyArray, Floats
from credit_envs.errors import TableError
from credit_envs.families.family import Knob
from credit_envs.families.lookup_pages import Printer
from credit_envs.families.lookup_states import SHARES, find_notes, labels, number_states
from credit_envs.families.lookup_world import World, make_world
from credit_envs.table.build import from_outcomes
from credit_envs.table.mdp import TabularMDP
from credit_envs.table.view import View, text_space

if TYPE_CHECKING:
    import networkx

KNOBS = {
    "hops": Knob(2, 1, 4, "relations to follow"),
    "entities": Knob(5, 5, 6, "entities per layer"),
    "distractors": Knob(2, 0, 3, "other articles on a result page"),
    "noise": Knob(0.1, 0, 0.9, "probability that a search misses the article", integer=False),
    "spare_reads": Knob(1, 0, 2, "readings beyond one per hop"),
    "horizon_factor": Knob(2.0, 1, 1000, "horizon in steps of the plan", integer=False),
}

_TEXT = text_space()


def build(
    instance_seed: int,
    *,
    hops: int,
    entities: int,
    distractors: int,
    noise: float,
    spare_reads: int,
    horizon_factor: float,
) -> TabularMDP:
    """Builds one instance."""
    knobs = {name: value for name, value in locals().items() if name in KNOBS}
    world = make_world(instance_seed, hops, entities, distractors)
    return _compile(world, hops + spare_reads, noise, round(horizon_factor * (2 * hops + 1)), knobs)


def answer_probability(table: TabularMDP) -> Floats:
    """Returns the exact probability of the right answer given what has been read, float64 ``[S]``.

    The posterior of a reader who knows that the asked relations are independent uniform permutations from layer to layer,
    and who takes no heed of decoys and of which articles are listed together: an entity whose article is unread leads
    to each entity that no read article of its layer has claimed with equal probability. Without anything read it is 1 /
    entities. In the end 1 if the right answer was given, else 0. Works on Lookup tables and on what dials make of them.

    Raises:
        TableError: if the table has no ``answer_share`` label.
    """
    if "answer_share" not in table.labels:
        raise TableError(f"table={table.name!r}: expected a Lookup table, with the label answer_share")
    return np.asarray(table.labels["answer_share"] / SHARES)


def knowledge_graph(
    instance_seed: int = 0, *, hops: int = 2, entities: int = 5, distractors: int = 2
) -> networkx.MultiDiGraph:
    """Returns an instance's facts as a graph.

    Nodes are names with ``kind`` and ``layer``; edges carry ``relation`` and ``asked``; the graph carries ``question``
    and ``chain``, the names that the question leads through.

    Raises:
        CreditEnvsError: for a knob out of its range.
    """
    knobs = {"hops": hops, "entities": entities, "distractors": distractors}
    return make_world(instance_seed, **{name: KNOBS[name].check(name, value) for name, value in knobs.items()}).graph()


def _compile(world: World, most: int, noise: float, horizon: int, knobs: dict[str, Any]) -> TabularMDP:
    notes = find_notes(world, most)
    at = number_states(world, notes, 2 if noise > 0 else 1)
    n, articles, answer = at.notes.size, world.hops * world.size, world.chain[-1]
    right, wrong, unknown = n, n + 1, n + 2

    s, a = np.nonzero(notes.open[at.notes])
    found = at.page[at.notes[s], a]
    rows: list[tuple[AnyArray | float, ...]] = [(s, a, found, 1 - noise, 0)]
    if noise > 0:
        rows.append((s, a, found + 1, noise, 0))
    s, a = np.nonzero(at.listed & ~notes.read[at.notes])
    rows.append((s, articles + a, at.first[notes.find(notes.code[at.notes[s]] | np.int64(1) << a)], 1, 0))
    s, a = np.nonzero(notes.known[at.notes, articles:])
    is_right = a == answer - articles
    rows.append((s, 2 * articles + a, np.where(is_right, right, wrong), 1, is_right))
    s = np.flatnonzero(notes.count[at.notes] == most)
    rows.append((s, 2 * articles + world.size, unknown, 1, 0))

    columns = [np.concatenate(part) for part in zip(*(np.broadcast_arrays(*row) for row in rows), strict=True)]
    state, action, successor, probability, reward = columns
    named = labels(world, notes, at, most, bool(s.size))
    printer = Printer(world, notes, at, most, named["reference_action"])
    return from_outcomes(
        "Lookup",
        n + (3 if s.size else 2),
        world.order.size,
        {
            "state": state,
            "action": world.order[action.astype(np.int64)],
            "successor": successor,
            "probability": probability,
            "reward": reward,
            "terminal": successor >= n,
        },
        start={int(at.first[0]): 1.0},
        horizon=horizon,
        action_names=tuple(printer.commands),
        labels=named,
        views={"text": View(_TEXT, printer.rows), "plan": View(_TEXT, printer.plans)},
        knobs=knobs,
        validated=False,
    )
