"""The world of a Lookup instance: entities in layers, two facts per article, and a question that follows one of them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from credit_envs.arrays import Ints
from credit_envs.families.family import below, instance_draws

if TYPE_CHECKING:
    import networkx

_HEADS = (
    "Bra",
    "Cel",
    "Dor",
    "Eli",
    "Fen",
    "Gar",
    "Hol",
    "Ista",
    "Jun",
    "Kar",
    "Lem",
    "Mor",
    "Nal",
    "Per",
    "Rus",
    "Tol",
)
_TAILS = (
    "ban",
    "dell",
    "dine",
    "gor",
    "kin",
    "la",
    "mont",
    "nor",
    "ra",
    "rik",
    "sen",
    "ta",
    "ven",
    "wick",
    "zo",
    "mir",
)
_SUFFIXES = ("Works", "Lines", "Press", "Mills", "Motors", "Foods")

# From kind to kind: two relations, each as a description and as a sentence; the question asks for one of the two.
_RELATIONS = {
    ("person", "city"): (
        ("the city where {} was born", "{} was born in {}."),
        ("the city where {} lives", "{} lives in {}."),
    ),
    ("person", "company"): (
        ("the company that {} works for", "{} works for {}."),
        ("the company that {} left", "{} left {}."),
    ),
    ("person", "person"): (
        ("the teacher of {}", "{} studied under {}."),
        ("the rival of {}", "{} competes with {}."),
    ),
    ("city", "person"): (
        ("the mayor of {}", "{} has the mayor {}."),
        ("the patron of {}", "{} has the patron {}."),
    ),
    ("city", "company"): (
        ("the largest employer of {}", "{} has the largest employer {}."),
        ("the oldest company of {}", "{} has the oldest company {}."),
    ),
    ("company", "person"): (
        ("the founder of {}", "{} was founded by {}."),
        ("the head of {}", "{} is led by {}."),
    ),
    ("company", "city"): (
        ("the city where {} has its seat", "{} has its seat in {}."),
        ("the city where {} has its plant", "{} has its plant in {}."),
    ),
}


@dataclass(frozen=True, eq=False)
class World:
    """One instance; h hops, m entities per layer. Entity j of layer i has number i·m + j, and so has its article.

    Attributes:
        kinds: kind of each layer, h + 1 words.
        asked: int64 ``[h]``, which of the two relations of a layer the question follows.
        fact: int64 ``[h, m]``, entity of the next layer that the asked relation leads to; one-to-one.
        decoy: int64 ``[h, m]``, the same for the other relation; another entity, and none that the question leads to.
        similar: int64 ``[h, m, d]``, entities of the same layer whose articles a search also lists; none of the question's.
        start: entity of layer 0 that the question names.
        asked_first: int64 ``[h, m]``, 1 if an article tells the asked fact before the other.
        order: int64 ``[A]``, number of each action: searches, readings, answers, ``answer unknown``.
        words: int64 ``[256]``, draws for names.
    """

    kinds: tuple[str, ...]
    asked: Ints
    fact: Ints
    decoy: Ints
    similar: Ints
    start: int
    asked_first: Ints
    order: Ints
    words: Ints

    @property
    def hops(self) -> int:
        """Hops h."""
        return int(self.fact.shape[0])

    @property
    def size(self) -> int:
        """Entities per layer m."""
        return int(self.fact.shape[1])

    @cached_property
    def chain(self) -> list[int]:
        """Numbers of the entities that the question leads through, the answer last."""
        entity, chain = self.start, [self.start]
        for i in range(self.hops):
            entity = int(self.fact[i, entity])
            chain.append((i + 1) * self.size + entity)
        return chain

    @cached_property
    def names(self) -> list[str]:
        """Name of every entity; all words differ."""
        order = np.argsort(self.words, kind="stable").tolist()
        words = iter([_HEADS[w // len(_TAILS)] + _TAILS[w % len(_TAILS)] for w in order])
        names = []
        for kind in self.kinds:
            for j in range(self.size):
                extra = {"person": f" {next(words)}", "company": f" {_SUFFIXES[j]}", "city": ""}[kind]
                names.append(next(words) + extra)
        return names

    @cached_property
    def articles(self) -> list[str]:
        """Text of every article."""
        texts = []
        for n in range(self.hops * self.size):
            i, j = divmod(n, self.size)
            values = (int(self.fact[i, j]), int(self.decoy[i, j]))
            told = [
                self._relation(i, other)[1].format(self.names[n], self.names[(i + 1) * self.size + value])
                for other, value in enumerate(values)
            ]
            texts.append(" ".join(told if self.asked_first[i, j] else told[::-1]))
        return texts

    @cached_property
    def question(self) -> str:
        """The question in words."""
        phrase = self.names[self.start]
        for i in range(self.hops):
            phrase = self._relation(i, 0)[0].format(phrase)
        return f"{'Who' if self.kinds[-1] == 'person' else 'Which'} is {phrase}?"

    def plan(self, known: int) -> list[str]:
        """Returns the hops in words, with what the first ``known`` of them lead to."""
        lines = []
        for i, found in enumerate(self.chain[1:]):
            subject = self.names[self.chain[i]] if i <= known else f"that {self.kinds[i]}"
            step = f"{i + 1}. {self._relation(i, 0)[0].format(subject)}"
            lines.append(f"{step}: {self.names[found]}" if i < known else step)
        return lines

    def graph(self) -> networkx.MultiDiGraph:
        """Returns the facts as a graph: nodes are names with ``kind`` and ``layer``, edges carry ``relation``, ``asked``."""
        import networkx

        graph = networkx.MultiDiGraph(question=self.question, chain=[self.names[n] for n in self.chain])
        for n, name in enumerate(self.names):
            graph.add_node(name, kind=self.kinds[n // self.size], layer=n // self.size)
        for other, values in enumerate((self.fact, self.decoy)):
            for (i, j), value in np.ndenumerate(values):
                ends = self.names[i * self.size + j], self.names[(i + 1) * self.size + int(value)]
                graph.add_edge(*ends, relation=self._relation(i, other)[0].format("X"), asked=other == 0)
        return graph

    def _relation(self, layer: int, other: int) -> tuple[str, str]:
        """Returns description and sentence of a layer's asked relation, or of the other one."""
        return _RELATIONS[self.kinds[layer], self.kinds[layer + 1]][int(self.asked[layer]) ^ other]


def make_world(instance_seed: int, hops: int, entities: int, distractors: int) -> World:
    """Draws one instance.

    The asked relations join the layers to m chains; chain 0 is the one that the question follows. Which entity of a layer
    belongs to which chain is a uniform permutation, so the asked relations are independent uniform permutations. Decoys and
    similar entities are drawn from the chains that are neither the own one nor chain 0.
    """
    h, m = hops, entities
    shapes = ((h + 1, m), (h, m, m), (h, m, m), (h, m), (h,), (h + 1,), (2 * h * m + m + 1,), (256,))
    ends = np.cumsum([math.prod(shape) for shape in shapes])
    cut = np.split(instance_draws("Lookup", instance_seed, int(ends[-1])), ends[:-1])
    who, astray, alike, first, asked, kinds, order, words = map(np.reshape, cut, shapes)

    who = np.argsort(who, axis=1, kind="stable")
    chain, layer = np.argsort(who, axis=1), np.arange(h)[:, None]
    for draw in (astray, alike):
        draw[:, np.arange(m), np.arange(m)] = 1 << 54
        draw[:, :, 0] |= 1 << 53
    other = np.argmin(astray, axis=2)[layer, chain[:-1]]
    near = np.argsort(alike, axis=2, kind="stable")[layer, chain[:-1], :distractors]
    return World(
        kinds=_walk(kinds),
        asked=below(asked, 2),
        fact=who[layer + 1, chain[:-1]],
        decoy=who[layer + 1, other],
        similar=who[layer[..., None], near],
        start=int(who[0, 0]),
        asked_first=below(first, 2),
        order=np.argsort(order, kind="stable"),
        words=words,
    )


def _walk(draw: Ints) -> tuple[str, ...]:
    """Draws a kind for every layer such that each kind has relations to the next."""
    kinds = [("person", "city", "company")[int(below(draw[:1], 3)[0])]]
    for value in draw[1:]:
        following = [to for of, to in _RELATIONS if of == kinds[-1]]
        kinds.append(following[int(below(np.array([value]), len(following))[0])])
    return tuple(kinds)
