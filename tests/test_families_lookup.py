"""Lookup: the rules read off the texts, the posterior against brute force, and numbers derived by hand."""

import itertools
import re
from math import comb

import gymnasium
import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transcripts import check_golden, transcript

import credit_envs  # noqa: F401 (registers the ids)
from credit_envs import dials, oracle
from credit_envs.errors import CreditEnvsError, TableError
from credit_envs.families import FAMILIES
from credit_envs.families.lookup import answer_probability, knowledge_graph
from credit_envs.families.lookup_states import find_notes
from credit_envs.families.lookup_world import make_world
from credit_envs.registry import make_table
from credit_envs.testing import check_table, check_vector_env

BUILD = FAMILIES["Lookup"].build
KNOBS = {
    "hops": st.integers(1, 3),
    "entities": st.integers(5, 6),
    "distractors": st.integers(0, 3),
    "noise": st.sampled_from([0.0, 0.25, 0.9]),
    "spare_reads": st.integers(0, 1),
}
SEEDS = st.integers(0, 2**53)


def texts(table, view="text"):
    return table.view(view).rows(np.arange(table.n_states))


def commands(table, state):
    first, last = table.edge_start[state : state + 2]
    return {table.action_names[a]: int(e) for e, a in enumerate(table.edge_action[first:last], start=first)}


@settings(max_examples=20, deadline=None)
@given(knobs=st.fixed_dictionaries(KNOBS), seed=SEEDS)
def test_commands_follow_the_rules_from_what_the_text_says(knobs, seed):
    table = BUILD(seed, **knobs)
    graph = knowledge_graph(seed, **{k: knobs[k] for k in ("hops", "entities", "distractors")})
    layer, words = nx.get_node_attributes(graph, "layer"), texts(table)
    assert len(set(words)) == table.n_states
    for s, text in enumerate(words[: -(3 if "You gave no answer." in words[-1] else 2)]):
        question, *lines = text.splitlines()
        left = int(lines[0].removeprefix("Readings left: "))
        articles = [line.removeprefix("Read: ") for line in lines if line.startswith("Read: ")]
        seen = "\n".join([question, *articles])
        known = {name for name in layer if re.search(rf"\b{re.escape(name)}\b", seen)}
        read = {name for name in layer if any(article.startswith(f"{name} ") for article in articles)}
        assert left == knobs["hops"] + knobs["spare_reads"] - len(read)
        listed = re.findall(r"^\[\d+\] read (.+)$", text, re.M)
        expected = {f"search {n}" for n in known - read if layer[n] < knobs["hops"] and left}
        expected |= {f"answer {n}" for n in known if layer[n] == knobs["hops"]} | {f"read {n}" for n in listed}
        expected |= set() if left else {"answer unknown"}
        admissible = commands(table, s)
        assert set(admissible) == expected
        numbered = {f"[{table.edge_action[e]}] {name}" for name, e in admissible.items()}
        assert {line for line in lines if line.startswith("[")} == numbered
        assert not set(listed) & read
        about = re.search(r"^Results for (.+):$", text, re.M)
        if about:
            assert {layer[n] for n in listed} <= {layer[about.group(1)]}
            assert (about.group(1) in listed) == (table.labels["page"][s] == 1)
            assert len(listed) <= knobs["distractors"] + 1


@settings(max_examples=20, deadline=None)
@given(knobs=st.fixed_dictionaries(KNOBS), seed=SEEDS)
def test_the_plan_is_the_only_way(knobs, seed):
    """Removing any article of the question from the graph cuts the answer off; optimal play is the plan."""
    table = BUILD(seed, **knobs)
    best, reference = oracle.optimal(table), table.labels["reference_action"]
    found = 1 - knobs["noise"]
    steps = 2 * knobs["hops"] + 1
    # J*: the h-th search that finds its article comes after at most H − (2h + 1) misses.
    h, misses = knobs["hops"], range(table.horizon - steps + 1)
    assert pytest.approx(sum(comb(f + h - 1, f) * knobs["noise"] ** f * found**h for f in misses), abs=1e-12) == best.J
    even = oracle.evaluate(table, oracle.uniform(table))
    state, t, taken = int(table.start_state[0]), 0, []
    while reference[state] >= 0:
        name = table.action_names[reference[state]]
        edge = commands(table, state)[name]
        # In the first steps all time is left, and no other action is as good: it loses a reading, a step, or the answer.
        rivals = [e for e in commands(table, state).values() if e != edge]
        soon = best._edge_steps(t)
        worse = [best.q_edges(t)[e] < best.q_edges(t)[edge] - 1e-9 or soon[e] > soon[edge] + 1e-9 for e in rivals]
        assert all(worse), (name, t)
        assert np.isfinite(even.advantage_at(t, state, edge))
        assert table.labels["reference_left"][state] == steps - t
        taken.append(name.split()[0])
        state, t = int(table.successor[table.outcome_start[edge]]), t + 1
    assert taken == ["search", "read"] * h + ["answer"]
    ends = table.n_admissible == 0
    assert table.labels["reference_left"][state] == 0
    assert np.array_equal(table.labels["reference_left"] <= 0, ends)
    assert (
        table.labels["answer_share"].max() == table.labels["answer_whole"].max() == table.labels["answer_whole"].min()
    )
    assert t == steps
    assert texts(table)[state].endswith("Your answer was right.")


@settings(max_examples=40, deadline=None)
@given(seed=SEEDS, hops=st.integers(1, 4), entities=st.integers(5, 6))
def test_graph(seed, hops, entities):
    graph = knowledge_graph(seed, hops=hops, entities=entities)
    chain = graph.graph["chain"]
    assert graph.number_of_nodes() == (hops + 1) * entities
    asked = nx.DiGraph([(a, b) for a, b, data in graph.edges(data=True) if data["asked"]])
    assert nx.shortest_path(asked, chain[0], chain[-1]) == chain
    assert set(dict(asked.degree()).values()) <= {1, 2}  # one to one from layer to layer
    assert list(nx.all_simple_paths(nx.DiGraph(graph), chain[0], chain[-1])) == [chain]
    for a, b, data in graph.edges(data=True):
        assert graph.nodes[b]["layer"] == graph.nodes[a]["layer"] + 1
        assert data["asked"] or (b not in chain and not asked.has_edge(a, b))
    question = graph.graph["question"]
    assert chain[0] in question
    assert not any(name in question for name in chain[1:])


def test_probability_of_the_answer_is_the_posterior_by_enumeration():
    """All 120 × 120 pairs of permutations that agree with the asked facts read, for every set of articles read."""
    m, every = 5, np.array(list(itertools.permutations(range(5))))
    for seed in range(3):
        world, table = make_world(seed, 2, m, 2), BUILD(seed, spare_reads=2)
        notes, shares = find_notes(world, 4), answer_probability(table)
        at_notes = {tuple(notes.read[n].tolist()): n for n in range(notes.code.size)}
        assert len(at_notes) == notes.code.size
        desks = np.flatnonzero(table.labels["page"] == 0)
        assert desks.size == notes.code.size
        for n, desk in enumerate(desks):
            agree = []
            for layer in range(2):
                read = notes.read[n, layer * m : (layer + 1) * m]
                agree.append(every[(every[:, read] == world.fact[layer, read]).all(axis=1)])
            middle = agree[0][:, world.start]
            answers = agree[1][:, middle]
            expected = np.mean(answers == world.chain[-1] - 2 * m)
            assert shares[desk] == pytest.approx(expected, abs=1e-14)


def test_probability_of_the_answer_by_hand():
    """Nothing read: 1/5. A wrong person of the last layer but one read: 1/4. All hops resolved: 1."""
    table = BUILD(0)
    shares, labels = answer_probability(table), table.labels
    assert shares[table.start_state] == pytest.approx(1 / 5)
    open_ = labels["page"] < 3
    assert np.all(shares[open_ & (labels["segment"] == 2)] == 1)
    one = open_ & (labels["reads"] == 1) & (labels["segment"] == 1)
    assert np.allclose(shares[one], 1 / 5)
    two = open_ & (labels["reads"] == 2) & (labels["segment"] == 1)
    assert {round(4 * x) / 4 for x in shares[two]} | {1 / 5} >= {1 / 4}
    ends = [text.splitlines()[-1] for text in texts(table)[-3:]]
    assert dict(zip(ends, shares[-3:].tolist(), strict=True)) == {
        "Your answer was right.": 1.0,
        "Your answer was wrong.": 0.0,
        "You gave no answer.": 0.0,
    }


def test_uniform_play_by_hand():
    """One hop, three steps: search; read or search again; then one of answer, decoy, unknown: J = 1/2 · 1/3."""
    for seed in range(10):
        table = BUILD(seed, hops=1, distractors=0, noise=0.0, spare_reads=0, horizon_factor=1)
        assert table.horizon == 3
        even = oracle.evaluate(table, oracle.uniform(table))
        assert pytest.approx(1 / 6, abs=1e-15) == even.J
        results = int(np.flatnonzero(table.labels["page"] == 1)[0])
        read = next(e for name, e in commands(table, results).items() if name.startswith("read"))
        assert even.advantage_at(1, results, read) == pytest.approx(1 / 3 - 1 / 6)


def test_a_wrong_reading_is_fatal_without_spare_ones():
    for spare, worth in ((0, 0.0), (1, 1.0)):
        table = BUILD(3, noise=0.0, spare_reads=spare)
        best = oracle.optimal(table)
        state = int(np.flatnonzero(table.labels["gold_listed"] & (table.labels["reads"] == 0))[0])
        reads = {name: e for name, e in commands(table, state).items() if name.startswith("read")}
        gold = table.action_names[table.labels["reference_action"][state]]
        q = best.q_edges(1)
        assert len(reads) == 3
        assert {name: q[e] for name, e in reads.items()} == {name: 1.0 if name == gold else worth for name in reads}


def test_turn_labels():
    """Seen answers are where its name stands in the notes; the next article is listed where it can be read."""
    table = BUILD(5)
    answer = knowledge_graph(5).graph["chain"][-1]
    for s, text in enumerate(texts(table)[:-3]):
        notes = "\n".join(line for line in text.splitlines() if line.startswith("Read"))
        assert table.labels["answer_seen"][s] == (answer in notes)
        assert (f"answer {answer}" in commands(table, s)) == (answer in notes)
        plan = table.labels["reference_action"][s]
        assert plan < 0 or table.action_names[plan] in commands(table, s)
        if table.labels["gold_listed"][s]:
            assert table.action_names[plan] == f"read {knowledge_graph(5).graph['chain'][table.labels['segment'][s]]}"
    # Answer seen, hops resolved and certainty are one and the same on Lookup, where only the plan leads to the answer.
    assert np.array_equal(table.labels["answer_seen"] == 1, answer_probability(table) == 1)


def test_plan_view():
    table = BUILD(1)
    words = texts(table, "plan")
    chain = knowledge_graph(1).graph["chain"]
    assert words[table.start_state[0]].splitlines()[-1] == f"next: search {chain[0]}"
    known = np.flatnonzero(table.labels["segment"] == 2)[0]
    assert words[known].splitlines()[1].endswith(f": {chain[1]}")
    assert words[known].splitlines()[-1] == f"next: answer {chain[2]}"
    assert words[-1].endswith("over")
    spent = (table.labels["reads"] == 3) & (table.labels["segment"] < 2)
    assert {words[s].splitlines()[-1] for s in np.flatnonzero(spent)} == {"out of readings"}


def test_instances_differ_in_names_relations_and_actions():
    worlds = [make_world(seed, 3, 5, 2) for seed in range(60)]
    assert len({world.question for world in worlds}) == 60
    assert len({world.kinds for world in worlds}) > 8
    assert len({int(np.argmin(world.order)) for world in worlds}) > 10
    assert len({world.chain[0] for world in worlds}) == 5
    assert all(len(set(world.names)) == 20 for world in worlds)


def test_largest_table_stays_bounded():
    assert BUILD(0, hops=4, entities=6, distractors=3, spare_reads=2).n_states < 150_000


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"hops": 5}, "hops=5: expected an integer in [1, 4]"),
        ({"noise": 1.0}, "noise=1.0: expected a number in [0, 0.9]"),
        ({"hop": 2}, "unknown knob of Lookup 'hop'; did you mean 'hops'"),
    ],
)
def test_wrong_knobs_are_named(knobs, message):
    with pytest.raises(CreditEnvsError, match=re.escape(message)):
        BUILD(0, **knobs)
    with pytest.raises(CreditEnvsError, match="distractors=9"):
        knowledge_graph(0, distractors=9)


def test_dials_and_faces_apply():
    table = make_table("credit/Lookup-v0", instance=3, unit=2)
    assert np.array_equal(np.unique(answer_probability(table)), np.unique(answer_probability(BUILD(3))))
    spelled = dials.apply(BUILD(3), spell=True)
    assert {"search", "read", "answer", "unknown"} <= set(spelled.action_names)
    with pytest.raises(TableError, match="expected a Lookup table"):
        answer_probability(FAMILIES["Pivots"].build(0))
    env = gymnasium.make("credit/Lookup-v0", instance=3)
    text, info = env.reset(seed=0)
    assert text.startswith("Question: Wh")
    assert info["action_mask"].sum() == 1
    check_vector_env("credit/Lookup-v0", steps=40)
    check_table(BUILD(1))


def test_known_instance():
    assert BUILD(7).fingerprint == "3c2f26abf01228d1311adfa3a06da0d2e91ea233d8c5559e40b15f6a2f4cd3bc"


def test_golden_transcript():
    check_golden("lookup", transcript(BUILD(11), seed=5))
