"""Dials on what states look like: aliasing, paraphrases, skins and the cue."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import make_random_table, random_policy, random_table, toy_text

from credit_envs import dials, oracle
from credit_envs.errors import CreditEnvsError, UnreachableRequestError
from credit_envs.oracle.policy import named_actions
from credit_envs.registry import make_table
from credit_envs.table import from_outcomes
from credit_envs.table.observer import Observer
from credit_envs.table.storage import load

DYNAMICS = ("edge_start", "edge_action", "outcome_start", "successor", "probability", "reward", "terminal")


def bandit(n):
    """One step, n actions, action 0 pays 1."""
    outcomes = {
        "state": np.zeros(n, int),
        "action": np.arange(n),
        "successor": np.zeros(n, int),
        "probability": np.ones(n),
        "reward": np.eye(1, n)[0],
        "terminal": np.ones(n, bool),
    }
    return from_outcomes("bandit", 1, n, outcomes, start={0: 1.0}, horizon=1)


@settings(max_examples=25, deadline=None)
@given(random_table(), st.floats(0, 1), st.floats(0, 1), st.integers(0, 5))
def test_looks_never_touch_the_dynamics(table, q, hidden, seed):
    dressed = dials.apply(table, skin_rate=q, skins=3, paraphrases=2, cue=hidden)
    for field in DYNAMICS:
        assert np.array_equal(getattr(table, field), getattr(dressed, field))
    policy = random_policy(table, seed)
    assert oracle.expected_return(dressed, policy) == pytest.approx(oracle.expected_return(table, policy))


# Aliasing


@settings(max_examples=60, deadline=None)
@given(random_table(max_states=12), st.floats(0, 1), st.integers(0, 99))
def test_aliasing_merges_that_share_of_the_looks(table, share, seed):
    reachable = dials.DIALS["aliasing"].steps(table)
    alive = table.played()
    try:
        merged = dials.apply(table, aliasing=share, aliasing_seed=seed)
    except UnreachableRequestError:
        assert share > reachable[-1]
        return
    looks = merged.emission.base[alive]
    shared = np.bincount(looks)[looks] > 1
    wanted = np.floor(share * alive.sum() / 2 + 1e-9) * 2 / alive.sum()
    assert shared.mean() == pytest.approx(wanted)
    assert np.bincount(looks).max() <= 2
    assert np.array_equal(np.unique(merged.emission.base), np.arange(merged.emission.n_base))
    for look in np.unique(looks):
        masks = table.mask[alive & (merged.emission.base == look)]
        assert np.all(masks == masks[0])  # so that policies on looks stay admissible
    policy = random_policy(merged, seed, rows="look")
    assert not oracle.policy.effective(merged, oracle.as_policy(merged, oracle.Policy("look", policy))).stay.any()


def test_a_larger_share_keeps_the_pairs_of_a_smaller_one():
    table = toy_text("Taxi", 10)
    some, more = (dials.apply(table, aliasing=x, aliasing_seed=3).emission.base for x in (0.3, 0.6))
    for look in np.unique(some):
        assert np.unique(more[some == look]).size == 1
    other = dials.apply(table, aliasing=0.3, aliasing_seed=4).emission.base
    assert not np.array_equal(some, other)


def test_precision_of_a_fully_aliased_chain():
    # Four states visited once each, one action each: all pairs merged, two states behind every look.
    rows = {"state": np.arange(4), "action": np.zeros(4, int), "successor": np.array([1, 2, 3, 3])}
    rows |= {"probability": np.ones(4), "reward": np.zeros(4), "terminal": np.arange(4) == 3}
    table = from_outcomes("chain", 4, 1, rows, start={0: 1.0}, horizon=4)
    for share, precision in ((0, 1), (0.5, 4 / 6), (1, 1 / 2)):
        merged = dials.apply(table, aliasing=share)
        assert oracle.anchor_quality(merged, oracle.uniform(merged)).precision == pytest.approx(precision)
    solved = dials.solve(table, "anchor_precision", 0.7)
    assert solved.setting == {"aliasing": 0.5}
    assert solved.measured == pytest.approx(4 / 6)


# Paraphrases and skins


@pytest.mark.parametrize("m", [1, 2, 7])
@pytest.mark.parametrize("name", ["FrozenLake", "CliffWalking", "random"])
def test_paraphrases_leave_a_recall_of_one_in_m(name, m):
    table = make_random_table(5) if name == "random" else toy_text(name, 20)
    said = dials.apply(table, paraphrases=m)
    assert said.n_obs == m * table.emission.n_base
    assert oracle.anchor_quality(said, oracle.uniform(said)).recall == pytest.approx(1 / m)


@pytest.mark.parametrize("name", ["FrozenLake", "CliffWalking", "random", "layered"])
@pytest.mark.parametrize("share", [0.99, 0.6, 0.2, 0.03])
def test_revisit_rate_is_what_was_asked_for(name, share):
    table = toy_text(name, 20) if name[0] in "FC" else make_random_table(4, 20, 3, 5, layered=name == "layered")
    bare = oracle.revisit_rate(table, oracle.uniform(table)).value
    dressed = dials.apply(table, revisit_rate=share * bare)
    found = oracle.revisit_rate(dressed, oracle.uniform(dressed)).value
    assert found == pytest.approx(share * bare, abs=1e-9)
    assert dressed.knobs["revisit_rate"] == share * bare
    assert dressed.emission.layers[0].size == dressed.knobs["skins"] + 1
    other = dials.apply(table, paraphrases=2, slip=0.1)
    wanted = share * oracle.revisit_rate(other, oracle.uniform(other), 4).value
    groups = dials.apply(table, revisit_rate=wanted, group_size=4, paraphrases=2, slip=0.1, skins=512)
    assert oracle.revisit_rate(groups, oracle.uniform(groups), 4).value == pytest.approx(wanted, abs=1e-9)


def test_revisit_rate_by_hand():
    # Two rollouts of a one-step table always meet, unless their skins differ: (1 − q)² + q²/m.
    for q, m in itertools.product((0.0, 0.3, 1.0), (1, 4)):
        dressed = dials.apply(bandit(2), skin_rate=q, skins=m)
        met = oracle.revisit_rate(dressed, oracle.uniform(dressed), group_size=2).value
        assert met == pytest.approx((1 - q) ** 2 + q**2 / m)


def test_a_revisit_rate_above_the_bare_one_is_structural():
    table = toy_text("FrozenLake", 20)
    bare = oracle.revisit_rate(table, oracle.uniform(table)).value
    with pytest.raises(UnreachableRequestError, match=f"{bare:.6g}"):
        dials.apply(table, revisit_rate=bare + 0.01)
    with pytest.raises(UnreachableRequestError, match="revisit_rate=0"):
        dials.apply(table, revisit_rate=0.0)
    with pytest.raises(UnreachableRequestError, match=r"revisit_rate=0\.01"):
        dials.apply(table, revisit_rate=0.01, skins=2)


def test_many_equal_skins_measure_like_one_loop_over_all():
    table = dials.apply(make_random_table(4), skin_rate=0.7, skins=5, paraphrases=3)
    h = oracle.visit_probability(table, oracle.uniform(table), oracle.anchor_ids(table), 1 / 3)
    total = 0.0
    for start, weight in zip(table.start_state, table.start_probability, strict=True):
        d = oracle.occupancy(table, oracle.uniform(table), np.eye(table.n_states)[start])[:-1].sum(axis=0)
        visits = np.bincount(table.emission.base, d * (table.n_admissible > 0))
        parts = [c * (visits @ (1 - (1 - c * h[start]) ** 7)) for c in [0.3, *[0.7 / 5] * 5] for _ in range(3)]
        total += weight * sum(parts) / 3 / visits.sum()
    assert oracle.revisit_rate(table, oracle.uniform(table)).value == pytest.approx(total)


# The cue


@settings(max_examples=40, deadline=None)
@given(random_table(max_actions=4), st.floats(0, 1))
def test_naming_and_executing_are_inverse(table, hidden):
    shown = dials.apply(table, cue=hidden, guess=1.0)
    edges = np.arange(table.n_edges)
    for code in range(shown.emission.n_codes):
        codes = np.full(table.n_edges, code)
        names = named_actions(shown, edges, code)
        assert np.array_equal(shown.executed_edges(shown.edge_state, names, codes), edges)
        executed = shown.executed_edges(shown.edge_state, shown.edge_action, codes)
        assert np.array_equal(named_actions(shown, executed, code), shown.edge_action)


@pytest.mark.parametrize("n", [1, 2, 3, 5])
@pytest.mark.parametrize(("hidden", "guess"), [(0, 1.0), (1, 1.0), (0.4, 0.7), (1.0, 0.6), (0.5, None)])
def test_what_the_picture_is_worth_on_a_bandit(n, hidden, guess):
    if n == 1 and guess is not None:
        guess = 1.0  # one action: nothing to guess
    shown = dials.apply(bandit(n), cue=hidden, guess=guess)
    right = 1 / n if guess is None else guess
    best = np.eye(1, n)
    seen = oracle.perception(shown, best)
    p = 1.0 if n == 1 else right
    assert seen.with_image == pytest.approx(1)
    assert seen.without_image == pytest.approx((1 - hidden) + hidden * p)
    # The image-free policy names actions by the posterior of the shift; KL from the name that is right is −log of it.
    wrong = (1 - p) / max(n - 1, 1)
    entropy = -p * np.log(p) - (n - 1) * (wrong * np.log(wrong) if wrong else 0)
    assert seen.divergence == pytest.approx(hidden * entropy, abs=1e-12)


@settings(max_examples=40, deadline=None)
@given(random_table(max_actions=4), st.floats(0, 1), st.floats(0, 1), st.integers(0, 9))
def test_distributions_of_the_cue(table, hidden, accuracy, seed):
    top = int(table.n_admissible.max())
    guess = 1 / top + accuracy * (1 - 1 / top)
    shown = dials.apply(table, cue=hidden, guess=guess)
    layer = shown.emission.layers[0]
    width = table.n_actions + 1
    shift, part = np.divmod(np.arange(layer.size), width)
    assert np.array_equal(layer.shift, shift)
    for n in range(1, top + 1):
        row = layer.probability[n]
        np.testing.assert_allclose(np.bincount(shift, row)[:n], 1 / n)
        assert row[part == 0].sum() == pytest.approx(1 - hidden)
        hit = row[(part > 0) & (part - 1 == shift)].sum()
        assert hit == pytest.approx(hidden * (max(guess, 1 / n) if n > 1 else 1))
    # Blind digits keep what the text tells and nothing of the shift behind a hidden sign.
    assert np.array_equal(layer.blind[part == 0], np.flatnonzero(part == 0))
    assert np.all(layer.blind[part > 0] == part[part > 0])
    assert not set(layer.blind[part > 0]) & set(np.flatnonzero(part == 0))


@settings(max_examples=15, deadline=None)
@given(random_table(max_states=4, max_horizon=3), st.floats(0, 1), st.integers(0, 99))
def test_policies_on_observations_by_brute_force_over_digits(table, hidden, seed):
    shown = dials.apply(table, skin_rate=0.5, skins=1, paraphrases=2, cue=hidden)
    emission, rng = shown.emission, np.random.default_rng(seed)
    policy = rng.dirichlet(np.ones(table.n_actions), size=shown.n_obs)  # names inadmissible actions too
    layers = emission.layers

    def value(t, state, skin):
        actions = list(table.P[state]) if t < table.horizon else []
        if not actions:
            extra = 0.0 if table.cutoff_reward is None else table.cutoff_reward[state]
            return extra if t == table.horizon else 0.0
        total = 0.0
        for say, digit in itertools.product(range(2), range(layers[2].size)):
            weight = layers[0].probability[0, say] * layers[2].probability[len(actions), digit]
            if weight == 0:
                continue
            row = policy[
                int(emission.base[state]) * emission.n_codes + int(emission.pack(np.array([say, skin, digit])))
            ]
            for name in range(table.n_actions):
                if name in actions:
                    rank = (actions.index(name) - digit // (table.n_actions + 1)) % len(actions)
                    onward = [
                        q * (r + (0.0 if end else value(t + 1, nxt, skin)))
                        for q, nxt, r, end in table.P[state][actions[rank]]
                    ]
                    total += weight * row[name] * sum(onward)
                else:
                    total += weight * row[name] * value(t + 1, state, skin)
        return total

    assert [layer.name for layer in layers] == ["paraphrase", "skin", "cue"]
    expected = sum(
        p * 0.5 * value(0, int(s), skin)
        for s, p in zip(table.start_state, table.start_probability, strict=True)
        for skin in range(2)
    )
    assert oracle.expected_return(shown, lambda obs: policy[obs]) == pytest.approx(expected)


def test_a_policy_that_reads_the_sign_plays_like_one_that_needs_none():
    table = toy_text("FrozenLake", 12)
    shown = dials.apply(table, cue=0.7, guess=0.5)
    policy = random_policy(table, 0)
    base, code = np.divmod(np.arange(shown.n_obs), shown.emission.n_codes)
    named = np.zeros((shown.n_obs, 4))
    for a in range(4):
        named[np.arange(shown.n_obs), (a + shown.emission.shift[code]) % 4] = policy[base, a]
    assert oracle.expected_return(shown, named) == pytest.approx(oracle.expected_return(table, policy))


def test_words_name_only_what_the_text_shows():
    shown = dials.apply(bandit(3), cue=0.5, guess=0.5)
    lines = Observer(shown, "text").rows(np.arange(shown.n_obs))
    digits = np.arange(shown.n_obs)
    for digit, line in zip(digits, lines, strict=True):
        turn, hint = divmod(int(digit), 4)
        assert line.endswith(f"set to {turn}." if hint == 0 else f"perhaps it is set to {hint - 1}.")


def test_views_that_draw_a_layer_keep_drawing_it(tmp_path):
    """Stored and read back, and with more steps per decision: the sign of a Gallery stays in words and planes."""
    table = make_table("Gallery", junctions=2, dependence=0.5, hall=0, frames=2)
    table.save(tmp_path / "gallery.npz")
    back, obs = load(tmp_path / "gallery.npz"), np.arange(table.n_obs)
    for name in ("text", "grid", "grid_patches"):
        np.testing.assert_array_equal(Observer(back, name).rows(obs), Observer(table, name).rows(obs))
    stretched = dials.apply(table, unit=2)
    words = Observer(stretched, "text").rows(np.arange(stretched.n_obs))
    assert any("The sign points left. (step 2 of 2)" in row for row in words)
    assert not any("dial is" in row for row in words)
    told = {row.split(" (step")[0] for row in words}
    assert told == set(Observer(table, "text").rows(obs))


def test_layered_tables_are_stored_and_read_back(tmp_path):
    table = dials.apply(toy_text("FrozenLake", 9), unit=2, aliasing=0.2, paraphrases=2, revisit_rate=0.3, cue=0.5)
    table.save(tmp_path / "table.npz")
    again = load(tmp_path / "table.npz")
    assert again.fingerprint == table.fingerprint
    assert dict(again.knobs) == dict(table.knobs)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"cue": 1.2}, r"cue=1\.2: expected a number in \[0, 1\]"),
        ({"cue": 0.5, "guess": 0.1}, r"guess=0\.1: expected a number in \[0\.25, 1\]"),
        ({"guess": 0.5}, r"guess=0\.5: expected with cue or perception_gap"),
        ({"paraphrases": 0}, "paraphrases=0: expected an integer"),
        ({"skin_rate": 2}, "skin_rate=2: expected a number"),
        ({"skins": -1}, "skins=-1: expected an integer"),
        ({"aliasing": -0.5}, r"aliasing=-0\.5"),
        ({"aliasing": 0.5, "aliasing_seed": -1}, "aliasing_seed=-1"),
        ({"revisit_rate": 0.3, "skin_rate": 0.3}, "expected one of them, got both"),
        ({"revisit_rate": 0.3, "group_size": 0}, "group_size=0: expected an integer"),
        ({"paraphrases": 1 << 22, "cue": 0.5}, "too many observations"),
    ],
)
def test_bad_settings_are_refused(setting, message):
    with pytest.raises(CreditEnvsError, match=message):
        dials.apply(toy_text("FrozenLake", 5), **setting)


def test_a_layer_goes_on_only_once():
    with pytest.raises(CreditEnvsError, match="already has a 'skin' layer"):
        dials.apply(dials.apply(toy_text("FrozenLake", 5), skins=2), skins=2)
