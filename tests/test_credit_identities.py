"""Identities of the estimators: exact relations that hold on any batch, and examples worked by hand."""

import functools
import itertools

import numpy as np
import pytest
import torch
from batches import batches, make_batch, rows_of
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import make_random_table

from credit_envs.credit import ADVANTAGES
from credit_envs.credit.gigpo import gigpo, gigpo_embedding, gigpo_key, gigpo_on, gigpo_similarity, gigpo_state
from credit_envs.credit.grpo import dr_grpo, grpo, rloo
from credit_envs.credit.monte_carlo import return_minus_value, value_minus_trajectory_mean, vineppo
from credit_envs.errors import CreditEnvsError
from credit_envs.evaluation.providers import Provided
from credit_envs.oracle import evaluate, uniform
from credit_envs.piece import NEEDS, Piece
from credit_envs.recipes import DEFAULT, PIECES, recipe
from credit_envs.sampling import Sample, Sampler, Truth
from credit_envs.sampling.anchors import embedded, hashing_encoder, similar, timed
from credit_envs.sampling.statistics import centred, compact, group_count, group_sum, recurrence, returns_to_go

METHODS = {piece.name: piece for piece in ADVANTAGES}

few = settings(max_examples=80, deadline=None)
close = functools.partial(torch.allclose, rtol=1e-9, atol=1e-10)


# -- statistics ------------------------------------------------------------------------------------------------------


@few
@given(batches(max_steps=12), st.sampled_from([0.0, 0.3, 0.95, 1.0]))
def test_returns_to_go(batch, gamma):
    got = returns_to_go(batch.reward, batch.mask, gamma)
    for i in range(batch.n_rollouts):
        later = 0.0
        for t in range(batch.mask.shape[1] - 1, -1, -1):
            later = float(batch.reward[i, t]) + gamma * later
            assert float(got[i, t]) == pytest.approx(later if batch.mask[i, t] else 0.0, abs=1e-12)


@few
@given(st.integers(1, 40), st.integers(0, 1000))
def test_recurrence(length, seed):
    rng = np.random.default_rng(seed)
    decay, drive = rng.normal(size=(3, length)), rng.normal(size=(3, length))
    x, expected = np.zeros(3), []
    for t in range(length):
        x = decay[:, t] * x + drive[:, t]
        expected.append(x)
    assert recurrence(torch.tensor(decay), torch.tensor(drive)).numpy() == pytest.approx(
        np.stack(expected, 1), rel=1e-9
    )


@few
@given(st.lists(st.tuples(st.integers(0, 4), st.floats(-5, 5)), min_size=1, max_size=20), st.booleans())
def test_centred(pairs, norm_by_std):
    ids, values = (torch.tensor(x) for x in zip(*pairs, strict=True))
    got = centred(values.double(), ids, 5, norm_by_std=norm_by_std)
    for g in range(5):
        own = values.double()[ids == g].numpy()
        if not own.size:
            continue
        expected = own - own.mean()
        if norm_by_std and own.size > 1:
            expected = expected / (own.std(ddof=1) + 1e-6)
        if np.all(own == own[0]):
            assert np.all(got[ids == g].numpy() == 0)
        else:
            assert got[ids == g].numpy() == pytest.approx(expected, abs=1e-9)


def test_compact_sums_and_counts():
    ids, n = compact(torch.tensor([70, 3, 70, 9]))
    assert (ids.tolist(), n) == ([2, 0, 2, 1], 3)
    assert group_sum(torch.tensor([1.0, 2, 4, 8]), ids, n).tolist() == [2, 8, 5]
    assert group_count(ids, n).tolist() == [1, 1, 2]
    assert compact(torch.zeros(0, dtype=torch.int64))[1] == 0


# -- GRPO, Dr.GRPO, RLOO ---------------------------------------------------------------------------------------------


def per_rollout(credit, batch):
    """The number that every step of a rollout was given."""
    first = credit[:, 0]
    assert torch.equal(credit, first[:, None] * batch.mask)
    return first


@few
@given(batches(max_size=6))
def test_grpo_by_a_naive_loop(batch):
    for estimate, std, loo in ((grpo, True, False), (dr_grpo, False, False), (rloo, False, True)):
        got = per_rollout(estimate(batch), batch)
        for g in range(batch.n_groups):
            r = batch.returns[batch.group == g].numpy()
            n = len(r)
            expected = r - r.mean()
            if loo:
                expected = np.array([x - np.delete(r, i).mean() if n > 1 else 0 for i, x in enumerate(r)])
            if std and n > 1:
                expected = expected / (r.std(ddof=1) + 1e-6)
            assert got[batch.group == g].numpy() == pytest.approx(expected, abs=1e-9)


@few
@given(batches(max_size=6), st.sampled_from([0.5, 2.0, 100.0]), st.sampled_from([-3.0, 0.0, 7.0]))
def test_grpo_identities(batch, scale, shift):
    for estimate in (grpo, dr_grpo, rloo):
        total = group_sum(per_rollout(estimate(batch), batch), batch.group, batch.n_groups)
        assert close(total, torch.zeros_like(total))
    n = group_count(batch.group, batch.n_groups)[batch.group][:, None]
    assert close(rloo(batch) * (n - 1), n * dr_grpo(batch))
    moved = batch.reward * scale
    moved[:, 0] += shift
    moved = batch.replace(reward=moved)
    tiny = functools.partial(grpo, epsilon=0.0)
    assert torch.allclose(tiny(moved), tiny(batch), atol=1e-8)
    assert torch.allclose(dr_grpo(moved), scale * dr_grpo(batch), atol=1e-8)


def test_grpo_by_hand():
    two = make_batch([[1.0], [0.0]])
    assert grpo(two)[:, 0].tolist() == pytest.approx([0.70710678, -0.70710678], abs=2e-6)
    assert dr_grpo(two)[:, 0].tolist() == [0.5, -0.5]
    assert rloo(two)[:, 0].tolist() == [1.0, -1.0]
    lone = make_batch([[3.0, 1.0]])
    assert grpo(lone).tolist() == rloo(lone).tolist() == [[0.0, 0.0]]
    assert grpo(lone, lone="value").tolist() == [[4.0, 4.0]]  # the quirk of verl: mean 0, deviation 1


# `immediate` is what rewards say once they are shaped; it compares nobody with anybody.
@pytest.mark.parametrize("name", [n for n, m in METHODS.items() if not m.needs and not n.startswith("immediate")])
@pytest.mark.parametrize("length", [1, 7, 40])
def test_equal_rollouts_give_exactly_zero(name, length):
    rewards = [[0.0] * (length - 1) + [10.0 * 0.95**3]] * 64
    batch = make_batch(rewards, anchors=[list(range(length))] * 64)
    assert torch.all(METHODS[name].function(batch) == 0)


def test_equal_discounted_returns_give_exactly_zero():
    """The released float32 code divides rounding noise by 1e-6 here and returns up to 0.65."""
    for k, n in itertools.product(range(1, 50), (3, 7, 64)):
        values = torch.full((n,), 10 * 0.95**k, dtype=torch.float64)
        assert torch.all(centred(values, torch.zeros(n, dtype=torch.int64), 1, norm_by_std=True) == 0)
    # The same distance to the same reward gives bit-identical returns, wherever it lies in the rollout.
    lengths = [5, 9, 17, 30, 31, 64]
    batch = make_batch([[0.0] * (n - 1) + [10.0] for n in lengths])
    to_go = returns_to_go(batch.reward, batch.mask, 0.95)
    for k in range(5):
        assert len({float(to_go[i, n - 1 - k]) for i, n in enumerate(lengths)}) == 1
    # Anchors by distance to the goal: every anchor's returns are equal, so only the episode term (all equal) is left.
    anchors = [[n - t for t in range(n)] for n in lengths]
    batch = make_batch([[0.0] * (n - 1) + [10.0] for n in lengths], anchors)
    assert torch.all(gigpo(batch, norm_by_std=True) == 0)


# -- GiGPO -----------------------------------------------------------------------------------------------------------


def test_gigpo_by_hand():
    # Two rollouts, γ = 0.5. Anchors: A B C and A C. Rewards 0 0 1 and 0 0.
    batch = make_batch([[0, 0, 1.0], [0, 0]], anchors=[[0, 1, 2], [0, 2]])
    # Returns 1 and 0: episode term ±0.5. To go: .25 .5 1 and 0 0. A: mean .125; B: alone; C: mean .5.
    expected = [[0.5 + 0.125, 0.5, 0.5 + 0.5], [-0.5 - 0.125, -0.5 - 0.5, 0.0]]
    assert gigpo(batch, gamma=0.5).tolist() == expected
    half = [[0.5 + 0.0625, 0.5, 0.75], [-0.5 - 0.0625, -0.75, 0.0]]
    assert gigpo(batch, gamma=0.5, omega=0.5).tolist() == half
    # With deviations: the episode's is √0.5, A's √(0.25²/2), C's √0.5; each term becomes ±1/√2.
    std = gigpo(batch, gamma=0.5, norm_by_std=True)
    assert std.tolist()[0] == pytest.approx([np.sqrt(2), np.sqrt(0.5), np.sqrt(2)], abs=1e-5)
    # The penalty of an inadmissible action is taken from its own step only, after discounting.
    penalty = torch.tensor([[0.0, 0.0, 0.1], [0.0, 0.0, 0.0]], dtype=torch.float64)
    got = gigpo_on(batch, batch.anchor, gamma=0.5, inadmissible_penalty=penalty)
    assert got[0].tolist() == pytest.approx([0.625, 0.5, 0.5 + 0.45])
    assert got[1, 1] == pytest.approx(-0.5 - 0.45)


def test_gigpo_keeps_groups_apart():
    batch = make_batch([[1.0], [0.0], [5.0], [5.0]], anchors=[[0], [0], [0], [0]], group=[0, 0, 1, 1])
    assert gigpo(batch).tolist() == [[1.0], [-1.0], [0.0], [0.0]]


def test_gigpo_statistics_over_rows():
    # algorithms.md 0.6 (2): 2-step win, 10-step loss: mean 2/12 over rows instead of 1/2.
    batch = make_batch([[0, 1.0], [0.0] * 10])
    assert gigpo(batch)[:, 0].tolist() == [0.5, -0.5]
    assert gigpo(batch, rows=True)[:, 0].tolist() == pytest.approx([1 - 1 / 6, -1 / 6])
    # 4, read line by line: a 2-step success of 10 and an 8-step failure give +8 and −2.
    batch = make_batch([[0, 10.0], [0.0] * 8])
    assert gigpo(batch, rows=True)[:, 0].tolist() == pytest.approx([8, -2])
    assert gigpo(batch)[:, 0].tolist() == [5, -5]


@few
@given(batches(), st.sampled_from([0.5, 0.95, 1.0]), st.booleans())
def test_gigpo_by_a_naive_loop(batch, gamma, std):
    base = grpo(batch, norm_by_std=std)
    to_go = returns_to_go(batch.reward, batch.mask, gamma)
    got = gigpo(batch, gamma, norm_by_std=std)
    places = [(i, t) for i, t in np.ndindex(*batch.mask.shape) if batch.mask[i, t]]
    for i, t in places:
        mates = [
            float(to_go[j, u])
            for j, u in places
            if batch.group[j] == batch.group[i] and batch.anchor[j, u] == batch.anchor[i, t]
        ]
        step = float(to_go[i, t]) - np.mean(mates)
        if std and len(mates) > 1:
            step = step / (np.std(mates, ddof=1) + 1e-6) if len(set(mates)) > 1 else 0.0
        assert float(got[i, t]) == pytest.approx(float(base[i, t]) + step, abs=1e-9)
    assert torch.all(got[~batch.mask] == 0)


@few
@given(batches())
def test_gigpo_identities(batch):
    assert torch.equal(gigpo(batch, omega=0), dr_grpo(batch))
    # Σ over an anchor of the step term is zero.
    step = gigpo(batch) - dr_grpo(batch)
    key, n = compact((batch.group[:, None] * 100 + batch.anchor)[batch.mask])
    assert close(group_sum(step[batch.mask], key, n), torch.zeros(n, dtype=torch.float64))
    # Nothing shared: GRPO. Only the start shared: later steps as GRPO, the first step gets a term.
    places = torch.arange(batch.mask.numel()).view(batch.mask.shape)
    assert close(gigpo_on(batch, places + 1), dr_grpo(batch))
    assert torch.allclose(gigpo_on(batch, places + 1, norm_by_std=True), grpo(batch), atol=1e-12)
    only_start = (places + 1) * (torch.arange(batch.mask.shape[1]) > 0)
    got = gigpo_on(batch, only_start)
    assert close(got[:, 1:], dr_grpo(batch)[:, 1:])
    first = returns_to_go(batch.reward, batch.mask, 0.95)[:, 0]
    assert close(got[:, 0] - dr_grpo(batch)[:, 0], centred(first, batch.group, batch.n_groups))


@few
@given(batches(max_steps=1, n_anchors=1), st.sampled_from([0.0, 0.5, 1.0]))
def test_gigpo_of_a_bandit(batch, omega):
    assert close(gigpo(batch, omega=omega), (1 + omega) * dr_grpo(batch))


# -- identity rules --------------------------------------------------------------------------------------------------

SENTENCES = ["You open the drawer 1.", "You open the drawer 2.", "You are in the cellar.", "It is dark."]


def text(obs):
    return [SENTENCES[int(o)] for o in obs]


def test_similarity_merges_sentences_that_differ_in_a_number():
    # 21 of 22 characters agree: 0.9545 is above the released threshold of 0.95.
    batch = make_batch([[0.0], [1.0], [0.0], [1.0]], anchors=[[0], [1], [2], [3]])
    assert similar(batch, text).tolist() == [[0], [0], [1], [2]]
    assert similar(batch, text, threshold=0.96).tolist() == [[0], [1], [2], [3]]
    assert gigpo_similarity(batch, text=text)[:, 0].tolist() == [-1.0, 1.0, -0.5, 0.5]
    assert gigpo(batch)[:, 0].tolist() == [-0.5, 0.5, -0.5, 0.5]


def test_similarity_is_greedy_and_depends_on_the_order():
    words = ["abcdefgh", "abcdefgX", "abcdefXX"]  # neighbours share 7 of 8 characters, the ends 6
    show = lambda obs: [words[int(o)] for o in obs]  # noqa: E731
    forward = make_batch([[0.0]] * 3, anchors=[[0], [1], [2]])
    assert similar(forward, show, 0.85).tolist() == [[0], [0], [1]]
    middle_first = make_batch([[0.0]] * 3, anchors=[[1], [0], [2]])
    assert similar(middle_first, show, 0.85).tolist() == [[0], [0], [0]]


def test_similarity_of_a_padded_batch():
    batch = make_batch([[0.0], [1.0, 1.0], [0.0]], anchors=[[1], [2, 0], [1]])
    assert similar(batch, text).tolist() == [[0, 0], [1, 0], [0, 0]]


def test_embedding_merges_by_cosine():
    batch = make_batch([[0.0], [1.0], [0.0], [1.0]], anchors=[[0], [1], [2], [3]])
    vectors = {0: [1.0, 0], 1: [2.0, 0.1], 2: [0.0, 1], 3: [1.0, 1]}
    seen = []

    def encoder(texts):
        seen.append(list(texts))
        return np.array([vectors[SENTENCES.index(words)] for words in texts])

    assert embedded(batch, text, 0.95, encoder).tolist() == [[0], [0], [1], [2]]
    assert embedded(batch, text, 0.7, encoder).tolist() == [[0], [0], [1], [0]]
    assert seen[0] == SENTENCES  # each distinct text once
    got = gigpo_embedding(batch, text=text, encoder=encoder)
    assert got[:, 0].tolist() == [-1.0, 1.0, -0.5, 0.5]


def test_the_shipped_encoder():
    a, b, c = hashing_encoder(["You open the drawer.", "you OPEN the drawer.", "It is dark."])
    assert np.array_equal(a, b)
    cosine = a @ c / np.linalg.norm(a) / np.linalg.norm(c)
    assert 0 <= cosine < 0.6
    assert hashing_encoder([""]).shape == (1, 256)
    batch = make_batch([[0.0], [1.0]], anchors=[[0], [3]])
    assert torch.equal(gigpo_embedding(batch, text=text), gigpo(batch))


def test_keys_states_and_time():
    batch = make_batch([[0, 1.0], [0, 0.0]], anchors=[[0, 0], [0, 0]])
    key = torch.tensor([[0, 1], [1, 0]])
    assert torch.equal(gigpo_key(batch, key=key), gigpo_on(batch, key))
    assert torch.equal(gigpo_state(batch, state=key), gigpo_on(batch, key))
    by_time = torch.tensor([[0, 3], [2, 1]])  # (state, step): nothing is shared
    assert torch.equal(gigpo_state(batch, state=key, time=True), gigpo_on(batch, by_time))
    assert timed(torch.tensor([[5, 5], [6, 5]])).tolist() == [[10, 11], [12, 11]]


# -- Monte-Carlo values ----------------------------------------------------------------------------------------------


def fake_continuations(batch, seed, calls=None):
    """Continuations whose values are a fixed random number per (rollout, step)."""
    value = torch.from_numpy(np.random.default_rng(seed).normal(size=batch.mask.shape))

    def continuations(rollout, step, k, gamma):
        if calls is not None:
            calls.append((rollout.tolist(), step.tolist(), k, gamma))
        noise = torch.linspace(-1, 1, k, dtype=torch.float64) if k > 1 else torch.zeros(1, dtype=torch.float64)
        return value[rollout, step][:, None] + noise

    return continuations, torch.where(batch.mask, value, 0.0)


@few
@given(batches(), st.integers(0, 100), st.sampled_from([1.0, 0.9]))
def test_vineppo_telescopes(batch, seed, gamma):
    continuations, value = fake_continuations(batch, seed)
    credit = vineppo(batch, continuations=continuations, k=3, gamma=gamma)
    weight = gamma ** torch.arange(batch.mask.shape[1], dtype=torch.float64)
    # Σ_t γ^t Â_t = Σ_t γ^t r_t − V̂(s_0).
    assert close((credit * weight).sum(1), (batch.reward * weight).sum(1) - value[:, 0])
    for i, t in np.ndindex(*batch.mask.shape):
        if not batch.mask[i, t]:
            assert credit[i, t] == 0
            continue
        last = t + 1 == int(batch.lengths[i])
        after = 0.0 if last else float(value[i, t + 1])
        assert float(credit[i, t]) == pytest.approx(
            float(batch.reward[i, t]) + gamma * after - float(value[i, t]), abs=1e-9
        )


@few
@given(batches(), st.integers(0, 100))
def test_other_monte_carlo_credits(batch, seed):
    continuations, value = fake_continuations(batch, seed)
    told = value_minus_trajectory_mean(batch, continuations=continuations, k=2)
    assert close(told.sum(1), torch.zeros(batch.n_rollouts, dtype=torch.float64))
    mine = return_minus_value(batch, continuations=continuations, k=2, gamma=0.9)
    expected = returns_to_go(batch.reward, batch.mask, 0.9) - value
    assert close(mine, expected)


def test_continuations_are_asked_for_once_per_step():
    batch, calls = make_batch([[0, 1.0], [0.0]]), []
    continuations, _ = fake_continuations(batch, 0, calls)
    vineppo(batch, continuations=continuations)
    assert calls == [([0, 0, 1], [0, 1, 0], 9, 1.0)]
    assert METHODS["vineppo_k1"].function(batch, continuations=continuations).shape == (2, 2)
    assert calls[1][2] == 1


# -- what every method satisfies -------------------------------------------------------------------------------------


def plain_methods():
    return [name for name, m in METHODS.items() if not m.needs]


@settings(max_examples=25, deadline=None)
@given(batches(max_groups=2), st.randoms(use_true_random=False))
def test_permuting_rollouts_permutes_credit(batch, rnd):
    order = list(range(batch.n_rollouts))
    rnd.shuffle(order)
    shuffled = rows_of(batch, torch.tensor(order))
    for name in plain_methods():
        credit = METHODS[name].function(batch)
        assert torch.allclose(METHODS[name].function(shuffled), credit[order], atol=1e-9), name


@settings(max_examples=25, deadline=None)
@given(batches(), st.integers(0, 100))
def test_what_stands_behind_the_mask_does_not_matter(batch, seed):
    rng = torch.Generator().manual_seed(seed)
    changes = {}
    for field in ("obs", "anchor", "action", "policy_row", "turn"):
        values = getattr(batch, field)
        noise = torch.randint(0, 3, values.shape, generator=rng)
        changes[field] = torch.where(batch.mask, values, noise)
    garbled = batch.replace(**changes)
    for name in plain_methods():
        assert torch.equal(METHODS[name].function(garbled), METHODS[name].function(batch)), name


@settings(max_examples=25, deadline=None)
@given(batches())
def test_groups_do_not_touch_each_other(batch):
    for name in plain_methods():
        if "over the batch" in METHODS[name].note or name.startswith("istar"):
            continue  # statistics of the batch, or a model trained on it
        whole = METHODS[name].function(batch)
        for g in range(batch.n_groups):
            alone = rows_of(batch, torch.nonzero(batch.group == g).squeeze(1))
            alone = alone.replace(group=torch.zeros_like(alone.group))
            assert torch.allclose(METHODS[name].function(alone), whole[batch.group == g], atol=1e-9), name


def test_nothing_peeks():
    """Shuffling true states and edges changes nothing for estimators that did not ask for them."""
    noticed = 0
    for seed in range(5):
        table = make_random_table(seed, n_states=12, horizon=6)
        sampler = Sampler(table, uniform(table), seed)
        sample = sampler.groups(6, 4)
        values, truth = evaluate(table, uniform(table)), sample.truth
        order = torch.randperm(truth.state.numel(), generator=torch.Generator().manual_seed(seed))
        mixed = {n: getattr(truth, n).flatten()[order].view(truth.state.shape) for n in ("state", "edge", "code")}
        garbled = Sample(sample.trajectories, Truth(**mixed, rollout=truth.rollout.flip(0), final=truth.final.flip(0)))
        honest = 0
        for m in METHODS.values():
            if set(m.needs) <= {"text"}:
                honest += 1
                here, there = Provided(sampler, sample, values), Provided(sampler, garbled, values)
                assert torch.equal(m.steps(sample.trajectories, here), m.steps(sample.trajectories, there)), m.name
        assert honest >= 8
        # The check can fail: a privileged method does notice.
        key = METHODS["gigpo_state"]
        seen = [key.steps(sample.trajectories, Provided(sampler, s, values)) for s in (sample, garbled)]
        noticed += not torch.equal(*seen)
    assert noticed >= 3


def test_estimators_cannot_reach_the_truth():
    fields = set(vars(make_batch([[1.0]])))
    assert not fields & {"state", "edge", "code", "rollout", "truth"}


# -- Piece -----------------------------------------------------------------------------------------------------------


def test_method_checks_what_comes_back():
    batch = make_batch([[1.0, 2.0], [0.0]])
    with pytest.raises(CreditEnvsError, match=r"mine: credit has shape \(2,\), expected \(2, 2\)"):
        Piece("mine", lambda batch: batch.returns).steps(batch, {})

    def nan_at(row, step):
        def estimate(batch):
            out = torch.zeros(2, 2, dtype=torch.float64)
            out[row, step] = torch.nan
            return out

        return Piece("mine", estimate)

    with pytest.raises(CreditEnvsError, match=r"mine: credit is nan at \[rollout, step\] = \[0, 1\], expected numbers"):
        nan_at(0, 1).steps(batch, {})
    # Masked steps are ignored, arrays and lists are accepted, and numbers come back in double precision.
    assert nan_at(1, 1).steps(batch, {}).tolist() == [[0, 0], [0, 0]]
    got = Piece("mine", lambda batch: np.ones((2, 2), dtype=np.float32)).steps(batch, {})
    assert got.tolist() == [[1, 1], [1, 0]]
    assert got.dtype == torch.float64
    assert Piece("mine", lambda batch: [[1, 2], [3, 4]]).steps(batch, {}).tolist() == [[1, 2], [3, 0]]


def test_methods_say_what_they_need():
    assert METHODS["grpo"].needs == ()
    assert METHODS["vineppo"].needs == ("continuations",)
    assert METHODS["vineppo_k1"].needs == ("continuations",)
    assert METHODS["gigpo_similarity"].needs == ("text",)
    assert METHODS["gigpo_state_time"].needs == ("state",)
    assert METHODS["exact"].needs == ("advantage",)
    assert set(itertools.chain(*(m.needs for m in METHODS.values()))) <= set(NEEDS)
    with pytest.raises(CreditEnvsError, match="unknown need of an estimator 'stat'; did you mean 'state'"):
        Piece("mine", lambda batch, *, stat: stat)


def test_names():
    assert all(name == m.name for name, m in METHODS.items())
    assert set(DEFAULT) <= set(PIECES)
    assert recipe("rloo").advantage is METHODS["rloo"]
    with pytest.raises(CreditEnvsError, match="unknown estimator 'gigp'; did you mean 'gigpo'"):
        recipe("gigp")


def test_another_discount():
    batch = make_batch([[0, 1.0], [0, 0.0]], anchors=[[0, 1], [0, 2]])
    half = METHODS["gigpo"].with_gamma(0.5)
    assert (half.gamma, half.needs, half.name) == (0.5, (), "gigpo")
    assert torch.equal(half.steps(batch, {}), gigpo(batch, gamma=0.5))
    assert METHODS["grpo"].with_gamma(0.5) is METHODS["grpo"]
    assert METHODS["gigpo"].with_gamma(0.95) is METHODS["gigpo"]
    std = METHODS["gigpo_std"].with_gamma(0.5)
    assert torch.equal(std.steps(batch, {}), gigpo(batch, gamma=0.5, norm_by_std=True))


@pytest.mark.parametrize("gamma", [-0.1, 1.5, float("nan")])
def test_gigpo_refuses_a_discount_out_of_range(gamma):
    with pytest.raises(CreditEnvsError, match=r"gamma=.*: expected a number in \[0, 1\]"):
        gigpo(make_batch([[1.0]]), gamma=gamma)
