"""How often trajectories meet: against enumeration of all groups of two and three rollouts, and closed forms."""

import numpy as np
import pytest
from brute_force import by_state, meeting_share, random_rows, rich_table, walks
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from strategies import make_random_table, random_policy, random_table

from credit_envs.errors import CreditEnvsError
from credit_envs.oracle import Policy, anchor_ids, anchor_quality, revisit_rate, uniform, visit_probability
from credit_envs.oracle import visits as visits_module
from credit_envs.oracle.visits import crossings, meeting_rate
from credit_envs.table import Emission, Layer, from_outcomes, prune

small = random_table(max_states=4, max_actions=2, max_horizon=3)
few = settings(max_examples=40, deadline=None)


@few
@given(rich_table(layers=False), st.integers(0, 1000))
def test_visit_probability(table, seed):
    policy = random_rows(seed, table.n_states, table.n_actions)
    anchor = anchor_ids(table)
    h = visit_probability(table, Policy("state", policy), anchor)
    for state in np.flatnonzero(table.played()).tolist():
        met = np.zeros(h.shape[1])
        for walk in walks(table, by_state(policy), state=state):
            for a in {int(anchor[step.state]) for step in walk.steps}:
                met[a] += walk.chance
        assert np.allclose(h[state], met, atol=1e-12)


@few
@given(small, st.integers(0, 1000), st.floats(0, 1))
def test_visits_that_count_only_sometimes(table, seed, keep):
    policy = random_policy(table, seed)
    h = visit_probability(table, Policy("state", policy), np.arange(table.n_states), keep)
    for state in np.flatnonzero(table.played()).tolist():
        met = np.zeros(table.n_states)
        for walk in walks(table, by_state(policy), state=state):
            count = np.bincount([step.state for step in walk.steps], minlength=table.n_states)
            met += walk.chance * (1 - (1 - keep) ** count)
        assert np.allclose(h[state], met, atol=1e-12)


def rates(table, policy, group_size, key):
    """ρ_G per context by enumeration, averaged over contexts."""
    total = 0.0
    for context, weight in enumerate(table.start_probability):
        paths = [w for w in walks(table, by_state(policy)) if w.context == context]
        assume(len(paths) ** group_size <= 30_000)
        total += float(weight) * meeting_share(paths, key, group_size)
    return total


@settings(max_examples=30, deadline=None)
@given(small, st.integers(0, 1000), st.sampled_from([2, 3]), st.booleans())
def test_revisit_rate(table, seed, group_size, alias):
    if alias:
        looks = np.random.default_rng(seed).integers(0, 2, table.n_states)
        table = table.replace(emission=Emission(np.unique(looks, return_inverse=True)[1]))
    policy, base = random_policy(table, seed), table.emission.base
    exact = rates(table, policy, group_size, lambda step: int(base[step.state]))
    got = revisit_rate(table, Policy("state", policy), group_size)
    assert got.value == pytest.approx(exact, abs=1e-10)
    assert got.standard_error == 0


@settings(max_examples=20, deadline=None)
@given(random_table(max_states=3, max_actions=2, max_horizon=2), st.integers(0, 1000), st.booleans())
def test_revisit_rate_with_layers_in_the_anchor(table, seed, recur):
    layers = (Layer("skin", True, [0.3, 0.7]), Layer("paraphrase", False, [0.4, 0.6]), Layer("cue", False, [0.5, 0.5]))
    hidden = Layer("cue", False, [0.5, 0.5], shows_in_anchor=False)
    table = table.replace(emission=Emission(table.emission.base, (*layers[: 1 + seed % 2], hidden)))
    policy, emission = random_policy(table, seed), table.emission
    exact = rates(table, policy, 2, lambda step: (step.state, int(emission.anchor_code[step.code])))
    assert revisit_rate(table, Policy("state", policy), 2).value == pytest.approx(exact, abs=1e-10)
    # A rule on states does not see the layers.
    by_state_only = rates(table, policy, 2, lambda step: step.state)
    assert revisit_rate(table, Policy("state", policy), 2, rule="state").value == pytest.approx(
        by_state_only, abs=1e-10
    )


def test_closed_forms():
    # Two arms, then one step: the start is always shared, an arm's state with probability 1/2.
    rows = {
        "state": [0, 0, 1, 2],
        "action": [0, 1, 0, 0],
        "successor": [1, 2, 1, 2],
        "probability": [1.0] * 4,
        "reward": [0.0] * 4,
        "terminal": [False, False, True, True],
    }
    columns = {name: np.array(column) for name, column in rows.items()}
    table = from_outcomes("fork", 3, 2, columns, start={0: 1.0}, horizon=9, labels={"anchor": [4, 7, 7]})
    policy = uniform(table)
    assert revisit_rate(table, policy, 1).value == 0
    assert revisit_rate(table, policy, 2).value == pytest.approx((1 + 0.5) / 2)
    assert revisit_rate(table, policy, 8).value == pytest.approx((1 + 1 - 0.5**7) / 2)
    assert revisit_rate(table, policy, 2, rule="anchor").value == 1
    # With m equally likely skins, the other rollout must wear the same one.
    skinned = table.replace(emission=Emission([0, 1, 2], (Layer("skin", True, np.full(4, 0.25)),)))
    assert revisit_rate(skinned, policy, 2).value == pytest.approx((1 + 0.5) / 8)


@few
@given(random_table(), st.integers(2, 12))
def test_rates_lie_between_their_bounds(table, group_size):
    policy = uniform(table)
    rate = revisit_rate(table, policy, group_size).value
    assert 0 < rate <= 1 + 1e-12
    assert rate <= revisit_rate(table, policy, group_size + 1).value + 1e-12
    states = revisit_rate(table, policy, group_size, rule="state").value
    assert rate == pytest.approx(states, abs=1e-12)  # looks are states here


def test_sampled_rates_agree_with_exact_ones(monkeypatch):
    """The fallback for large tables, on tables small enough for the exact rate, several contexts and layers."""
    layers = (Layer("skin", True, [0.3, 0.7]), Layer("paraphrase", False, [0.4, 0.6]))
    scores = []
    for seed in range(12):
        table = make_random_table(seed, n_states=8, horizon=6, n_starts=3)
        table = table.replace(emission=Emission(table.emission.base, layers[: seed % 3]))
        exact = revisit_rate(table, uniform(table), 4)
        assert exact.standard_error == 0
        with monkeypatch.context() as patch:
            patch.setattr(visits_module, "EXACT_WORK", 0)
            sampled = revisit_rate(table, uniform(table), 4, seed=seed)
            assert revisit_rate(table, uniform(table), 4, seed=seed) == sampled
        if sampled.standard_error == 0:  # no anchor can recur: always exact
            assert sampled.value == exact.value
            continue
        assert 0 < sampled.standard_error < 0.05
        scores.append((sampled.value - exact.value) / sampled.standard_error)
    assert len(scores) >= 6
    assert np.abs(scores).max() < 4
    assert np.mean(np.square(scores)) < 3


def test_sampled_rates_weigh_contexts_like_exact_ones(monkeypatch):
    """A context of one step (always shared) and one that wanders for 30 steps among 40 states."""
    n = 40
    rows = [(0, 0, 0, 1.0, 0.0, True)]
    rows += [(s, a, 1 + (7 * s + 13 * a) % n, 1.0, 0.0, False) for s in range(1, n + 1) for a in range(2)]
    names = ("state", "action", "successor", "probability", "reward", "terminal")
    columns = {name: np.array(column) for name, column in zip(names, zip(*rows, strict=True), strict=True)}
    table = prune(from_outcomes("two", n + 1, 2, columns, start={0: 0.5, 1: 0.5}, horizon=30, allow_unreachable=True))[
        0
    ]
    exact = revisit_rate(table, uniform(table), 2)
    assert 0.6 < exact.value < 0.9
    monkeypatch.setattr(visits_module, "EXACT_WORK", 0)
    sampled = [revisit_rate(table, uniform(table), 2, seed=seed) for seed in range(8)]
    pooled = np.sqrt(np.mean([s.standard_error**2 for s in sampled]) / len(sampled))
    assert abs(np.mean([s.value for s in sampled]) - exact.value) < 4 * pooled
    assert np.std([s.value for s in sampled]) < 2.5 * sampled[0].standard_error


@few
@given(random_table(), st.integers(1, 6), st.integers(1, 5))
def test_crossings_predict_the_rate_under_any_skin(table, group_size, skins):
    found = crossings(table, uniform(table))
    assert found is not None
    contexts, _, step = found
    dressed = table.replace(emission=Emission(table.emission.base, (Layer("skin", True, np.full(skins, 1 / skins)),)))
    predicted = meeting_rate(contexts, group_size, np.full(skins, 1 / skins), step)
    assert predicted == pytest.approx(revisit_rate(dressed, uniform(dressed), group_size).value, abs=1e-12)


def test_anchor_rules():
    table = make_random_table(0, n_states=5).replace()
    n = table.n_states
    table = table.replace(labels={"anchor": np.arange(n) * 10}, emission=Emission(np.zeros(n, dtype=int)))
    assert anchor_ids(table, "state").tolist() == list(range(n))
    assert anchor_ids(table, "look").tolist() == [0] * n
    assert anchor_ids(table, "anchor").tolist() == list(range(n))
    with pytest.raises(CreditEnvsError, match=r"rule='key': expected 'look', 'state' or a label in \['anchor'\]"):
        anchor_ids(table, "key")
    with pytest.raises(CreditEnvsError, match="group_size=0"):
        revisit_rate(table, uniform(table), 0)


@few
@given(rich_table(max_horizon=2), st.integers(0, 1000))
def test_anchor_quality(table, seed):
    """Precision and recall over pairs of steps of two independent rollouts, by enumeration."""
    policy, emission = random_policy(table, seed), table.emission
    weight: dict[tuple[int, int], float] = {}
    for walk in walks(table, by_state(policy)):
        for step in walk.steps:
            shown = step.code if emission.layers else 0
            key = (step.state, int(emission.base[step.state]) * emission.n_codes + int(emission.anchor_code[shown]))
            weight[key] = weight.get(key, 0.0) + walk.chance
    pairs = [(a, b, p * q) for a, p in weight.items() for b, q in weight.items()]
    same_state = sum(w for a, b, w in pairs if a[0] == b[0])
    same_anchor = sum(w for a, b, w in pairs if a[1] == b[1])
    both = sum(w for a, b, w in pairs if a == b)
    got = anchor_quality(table, Policy("state", policy))
    assert got.precision == pytest.approx(both / same_anchor, abs=1e-10)
    assert got.recall == pytest.approx(both / same_state, abs=1e-10)
    exact = anchor_quality(table, Policy("state", policy), rule="state")
    assert (exact.precision, exact.recall) == (pytest.approx(1), pytest.approx(1))
