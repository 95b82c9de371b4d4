"""Shop: rewards and rankings recomputed from what the pages say, rules of the pages, and numbers derived by hand."""

import re

import gymnasium
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transcripts import check_golden, transcript

import credit_envs  # noqa: F401 (registers the ids)
from credit_envs import dials, oracle
from credit_envs.errors import CreditEnvsError
from credit_envs.families import FAMILIES
from credit_envs.families.shop_catalogue import Size, make_catalogue
from credit_envs.registry import make_table
from credit_envs.testing import check_table, check_vector_env

BUILD = FAMILIES["Shop"].build
SEARCH, RESULTS, PRODUCT, DESCRIPTION, FEATURES, BOUGHT = range(6)
KINDS = ("colour", "size", "pattern")
KNOBS = {
    "products": st.integers(2, 9),
    "page_size": st.integers(1, 5),
    "pages": st.integers(1, 3),
    "queries": st.integers(1, 5),
    "attributes": st.integers(1, 4),
    "options": st.integers(0, 2),
    "values": st.integers(1, 3),
    "near_misses": st.floats(0, 1),
}
SEEDS = st.integers(0, 2**53)


def texts(table):
    return table.view("text").rows(np.arange(table.n_states))


def successors(table):
    """(state, command) → (successor, reward)."""
    names = table.action_names
    columns = (table.edge_state, table.edge_action, table.successor, table.reward)
    return {(int(s), names[a]): (int(n), float(r)) for s, a, n, r in zip(*columns, strict=True)}


def wishes(text):
    """Reads the instruction: attributes, type, options, limit."""
    words, *rest, limit = re.search(r"Instruction: buy one (.+)\.\n", text).group(1).split(", ")
    *attributes, noun = words.split()
    return set(attributes), noun, dict(part.split(" ") for part in rest), int(limit.removeprefix("at most $"))


def shown(text):
    """Reads a product page: type, title words, price, options chosen."""
    words, price = re.search(r"Product B\w+: (.+), \$(\d+)\n", text).groups()
    *attributes, noun = words.split()
    chosen = {k: re.search(rf"^{k.capitalize()}: (.+)$", text, re.M) for k in KINDS}
    return noun, set(attributes), int(price), {k: found.group(1) for k, found in chosen.items() if found}


def told(text):
    """Reads the adjectives of a sub-page."""
    line = re.search(r"^(?:Features: (.+)|Description: this \w+ is (.+) and carefully made\.)$", text, re.M)
    return set(re.split(r", | and ", line.group(1) or line.group(2))) - {"none listed"} if line else set()


@settings(max_examples=30, deadline=None)
@given(knobs=st.fixed_dictionaries(KNOBS), seed=SEEDS)
def test_buying_pays_webshops_formula_of_what_the_pages_say(knobs, seed):
    table = BUILD(seed, **knobs)
    words, after = texts(table), successors(table)
    for s in np.flatnonzero(table.labels["page"] == PRODUCT).tolist():
        wanted, wanted_noun, options, limit = wishes(words[s])
        noun, attributes, price, chosen = shown(words[s])
        for sub in ("click description", "click features"):
            attributes = attributes | told(words[after[s, sub][0]])
        assert len(attributes) == knobs["attributes"] + 1
        met = len(wanted & attributes) + sum(chosen[k] == v for k, v in options.items()) + (price <= limit)
        reward = (noun == wanted_noun) * met / (len(wanted) + len(options) + 1)
        end, paid = after[s, "click buy now"]
        assert paid == pytest.approx(reward, abs=1e-15)
        assert table.labels["met"][s] == table.labels["met"][end] == round(reward * (len(wanted) + len(options) + 1))


@settings(max_examples=30, deadline=None)
@given(knobs=st.fixed_dictionaries(KNOBS), seed=SEEDS)
def test_every_page_shows_its_buttons_and_differs_from_all_others(knobs, seed):
    table = BUILD(seed, **knobs)
    words = texts(table)
    assert len(set(words)) == table.n_states
    for s, text in enumerate(words):
        first, last = table.edge_start[s : s + 2]
        admissible = {f"[{a}] {table.action_names[a]}" for a in table.edge_action[first:last]}
        assert {line.split(":")[0] for line in text.splitlines() if line.startswith("[")} == admissible
    assert len(set(table.action_names)) == table.n_actions


@settings(max_examples=60, deadline=None)
@given(knobs=st.fixed_dictionaries(KNOBS), seed=SEEDS)
def test_every_instance_can_be_solved_by_one_product_and_by_the_full_query(knobs, seed):
    table = BUILD(seed, **knobs)
    best = oracle.optimal(table)
    assert best.J == 1
    assert best.length <= knobs["pages"] + knobs["options"] + 2
    top = table.labels["met"] == knobs["attributes"] + knobs["options"] + 1
    assert set(table.labels["right"][top & (table.labels["page"] < BOUGHT)]) == {1}
    full = " ".join(re.search(r"buy one ([\w -]+)", texts(table)[0]).group(1).split())
    after = successors(table)
    for command in [name for name in table.action_names if name.startswith("search")]:
        if sorted(command.split()[1:]) == sorted(full.split()):
            query = table.labels["query"][after[0, command][0]]
            assert (table.labels["right"] == 1)[table.labels["query"] == query].any()
            return
    raise AssertionError("no query holds all wanted words")


def test_results_are_ranked_by_matching_words():
    for seed in range(5):
        table = BUILD(seed, products=12, pages=3)
        words, after = texts(table), successors(table)
        for command in [name for name in table.action_names if name.startswith("search")]:
            page, _ = after[0, command]
            scores = []
            while True:
                listed = re.findall(r"click (B\w+): ", words[page])
                for code in listed:
                    s, _ = after[page, f"click {code}"]
                    noun, attributes, *_ = shown(words[s])
                    for sub in ("click description", "click features"):
                        attributes = attributes | told(words[after[s, sub][0]])
                    scores.append(len(set(command.split()[1:]) & (attributes | {noun})))
                    assert after[s, "click prev"][0] == page
                if (page, "click next") not in after:
                    break
                following, _ = after[page, "click next"]
                assert after[following, "click prev"][0] == page
                page = following
            assert len(scores) == 12
            assert scores == sorted(scores, reverse=True)


def test_near_misses_fail_exactly_one_requirement():
    """Of the 7 other products that fit on two pages of four, the share 1 makes all near misses: worth 5 of 6 at most."""
    for seed in range(20):
        table = BUILD(seed, products=8, near_misses=1.0)
        labels = table.labels
        best = {p: int(labels["met"][labels["product"] == p].max()) for p in range(8)}
        assert sorted(best.values()) == [5] * 7 + [6]
        none = BUILD(seed, products=8, near_misses=0.0).labels
        assert sum(none["met"][none["product"] == p].max() == 6 for p in range(8)) == 1


def test_uniform_play_by_hand():
    """One query, two products, three steps: a search, one of three clicks (two products, back), one of five (buy).

    The near miss fails one of the two requirements, so J = 1/3 · 1/5 · (1 + 1/2) = 1/10.
    """
    tiny = {"products": 2, "pages": 1, "queries": 1, "attributes": 1, "options": 0, "near_misses": 1.0}
    for seed in range(10):
        table = BUILD(seed, **tiny, horizon_factor=1)
        assert table.horizon == 3
        even = oracle.evaluate(table, oracle.uniform(table))
        assert pytest.approx(1 / 10, abs=1e-15) == even.J
        page = int(np.flatnonzero((table.labels["page"] == PRODUCT) & (table.labels["right"] == 1))[0])
        buy = table.action_names.index("click buy now")
        assert even.q(2, page)[buy] - even.V[2, page] == pytest.approx(4 / 5)


def test_buying_too_early_by_hand():
    """Three attributes, two options, one price: without options 4 of 6, with one 5 of 6; so −1/3 and −1/6 at best."""
    table = BUILD(4)
    best = oracle.optimal(table)
    buy = table.action_names.index("click buy now")
    at = (table.labels["right"] == 1) & (table.labels["page"] == PRODUCT)
    for chosen, met, loss in ((0, 4, 1 / 3), (1, 5, 1 / 6), (2, 6, 0)):
        s = int(np.flatnonzero(at & (table.labels["chosen"] == chosen) & (table.labels["met"] == met))[0])
        assert best.q(0, s)[buy] - best.V[0, s] == pytest.approx(-loss)


def test_counts_labels_and_anchors():
    table = BUILD(2)
    # 1 + 4 queries · 2 pages + 3 · 4 queries · 8 products · 4² choices of options, and an end for each reward paid.
    pages = 1 + 4 * 2 + 3 * 4 * 8 * 16
    labels = table.labels
    ends = labels["page"] == BOUGHT
    assert table.n_states == pages + ends.sum()
    assert table.n_actions == 4 + 12 + 2 * 4 + 6
    assert table.horizon == round(2.5 * (2 + 2 + 2))
    assert np.unique(labels["anchor"]).size == 1 + 4 * 2 + 3 * 4 * 8 + ends.sum()
    # An anchor is a page: options chosen are all that states of one anchor differ in.
    stripped = [re.sub(r"(Colour|Size|Chosen): .+", "", text) for text in texts(table)]
    assert len(set(zip(labels["anchor"].tolist(), stripped, strict=True))) == np.unique(labels["anchor"]).size
    assert np.array_equal(labels["segment"] == 3, ends | (labels["chosen"] == 2) & (labels["page"] >= PRODUCT))


def test_instances_differ_in_layout_words_and_actions():
    tables = [BUILD(seed) for seed in range(12)]
    assert len({tuple(table.action_names) for table in tables}) == 12
    assert len({table.action_names.index("click buy now") for table in tables}) > 5
    assert len({texts(table)[0].splitlines()[0] for table in tables}) == 12
    size = Size(12, page_size=4, pages=2, queries=4, attributes=3, options=2, values=3, near_misses=1.0)
    catalogues = [make_catalogue(seed, size, n_actions=30) for seed in range(40)]
    rank = [np.argmax(c.ranking[0] == c.target) for c in catalogues]
    assert len(set(rank)) > 2  # the product that fits is not always listed first


def test_shortest_solution_over_pages():
    """With one product per page, the way leads over result pages: its length is 3 + options + rank."""
    lengths = {
        oracle.optimal(BUILD(s, products=6, page_size=1, pages=5, queries=1, near_misses=1.0)).length for s in range(40)
    }
    assert lengths <= {5.0, 6.0, 7.0, 8.0, 9.0}
    assert len(lengths) >= 3


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"products": 1}, "products=1: expected an integer in [2, 30]"),
        ({"near_misses": 1.5}, "near_misses=1.5: expected a number in [0, 1]"),
        ({"price": 3}, "unknown knob of Shop 'price'"),
        ({"pagesize": 3}, "unknown knob of Shop 'pagesize'; did you mean 'page_size'"),
    ],
)
def test_wrong_knobs_are_named(knobs, message):
    with pytest.raises(CreditEnvsError, match=re.escape(message)):
        BUILD(0, **knobs)


def test_largest_shop_stays_bounded():
    largest = {name: int(knob.high) for name, knob in FAMILIES["Shop"].knobs.items() if name != "horizon_factor"}
    assert BUILD(0, **largest).n_states < 100_000


def test_dials_and_faces_apply():
    table = make_table("credit/Shop-v0", instance=3, slip=0.1, horizon=9)
    assert table.horizon == 9
    spelled = dials.apply(BUILD(3, products=4, pages=1), spell=True)
    assert {"search", "click", "buy", "now"} <= set(spelled.action_names)
    assert oracle.optimal(spelled).J == 1
    env = gymnasium.make("credit/Shop-v0", instance=3)
    text, info = env.reset(seed=0)
    assert text.startswith("Instruction: buy one")
    assert info["action_mask"].sum() == 4
    check_vector_env("credit/Shop-v0", steps=40)
    check_table(BUILD(1))


def test_known_instance():
    assert BUILD(7).fingerprint == "f589a189be56799e5d3dcbae84072a54626e288ff5ace8cbda493ad126d3febc"


def test_golden_transcript():
    check_golden("shop", transcript(BUILD(11)))
