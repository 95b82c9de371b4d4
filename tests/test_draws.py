"""Counter-based randomness: one reference in Python integers, and backends that agree with it bit for bit."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from credit_envs.sampling import draws as on_torch
from credit_envs.table import draws as d
from credit_envs.table.draws import EPISODE, ONE, Purpose

words = st.integers(0, 2**62)
seeds = st.integers(-(2**63), 2**64 - 1)


def test_mix_is_splitmix64():
    # The published test vector of splitmix64 with seed 1234567 (Vigna's reference code; also Java's SplittableRandom).
    expected = [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]
    assert [d.mix_word(1234567, i) for i in range(5)] == expected


GOLDEN = {
    "start": 9024882901509940785,
    "outcome": 8391637490468568352,
    "actions": [1609989237513435, 362902591296433, 3304831236043244],
    "episode": 592930894543786,
}


def test_golden_draws():
    # Changing one of these numbers changes every sample ever published: a new major version.
    assert d.stream(0, Purpose.START) == GOLDEN["start"]
    assert d.stream(7, Purpose.OUTCOME, 1, 2, 3) == GOLDEN["outcome"]
    assert [d.draw(d.stream(7, Purpose.ACTION, 0, 5), t) for t in range(3)] == GOLDEN["actions"]
    assert d.draw(d.stream(7, Purpose.EMISSION), EPISODE) == GOLDEN["episode"]


@given(seed=seeds, purpose=st.sampled_from(list(Purpose)), w=st.tuples(words, words, words), step=st.integers(0, 2**32))
def test_python_numpy_and_torch_agree(seed, purpose, w, step):
    reference = d.draw(d.stream(seed, purpose, *w), step)
    one = np.array([w], dtype=np.int64).T
    assert d.draws(d.streams(seed, purpose, *one), step).tolist() == [reference]
    assert d.draws(d.streams(seed, purpose, *w), np.array([step])).tolist() == [reference]
    tensors = [torch.tensor([x]) for x in w]
    key = on_torch.streams(seed, purpose, *tensors)
    assert int(key[0]) % 2**64 == d.stream(seed, purpose, *w)
    assert on_torch.draws(key, step).tolist() == [reference]
    assert on_torch.draws(key, torch.tensor([step])).tolist() == [reference]


def test_draws_are_uniform():
    key = d.streams(3, Purpose.OUTCOME, 0, np.arange(1000))
    value = d.draws(key[:, None], np.arange(200))
    assert value.min() >= 0
    assert value.max() < ONE
    for cells in (value // (ONE // 64), value % 64):  # high bits and low bits
        assert stats.chisquare(np.bincount(cells.ravel(), minlength=64)).pvalue > 1e-4
    assert stats.kstest(d.uniform_floats(value.ravel()[:20_000]), "uniform").pvalue > 1e-4


@pytest.mark.parametrize("axis", [0, 1])
def test_neighbouring_draws_are_independent(axis):
    value = d.draws(d.streams(3, Purpose.OUTCOME, 0, np.arange(400))[:, None], np.arange(400)) // (ONE // 16)
    before, after = (value[:-1], value[1:]) if axis == 0 else (value[:, :-1], value[:, 1:])
    pairs = np.bincount((before * 16 + after).ravel(), minlength=256)
    assert stats.chisquare(pairs).pvalue > 1e-4


def test_streams_of_different_words_do_not_collide():
    grid = np.stack(np.meshgrid(*[np.arange(n) for n in (6, 8, 20, 20)], indexing="ij"), axis=-1).reshape(-1, 4)
    keys = [d.streams(grid[:, 0], p, grid[:, 1], grid[:, 2], grid[:, 3]) for p in Purpose]
    assert len(np.unique(np.concatenate(keys))) == len(grid) * len(Purpose)
    # Words are mixed in turn, so swapping two of them, or adding to one and taking from another, gives other luck.
    assert (
        len({d.stream(1, Purpose.ACTION, 2, 3), d.stream(2, Purpose.ACTION, 1, 3), d.stream(1, Purpose.ACTION, 3, 2)})
        == 3
    )
    first = {d.draw(d.stream(s, Purpose.ACTION, 0, r), t) for s in range(5) for r in range(20) for t in range(50)}
    assert len(first) == 5 * 20 * 50


def chances(thresholds):
    """Width of each outcome's interval of draws."""
    return np.diff(np.concatenate([[0], thresholds]))


@given(st.lists(st.sampled_from([0.0, 0.0, 1.0, 1e-3, 0.37, 2.0, 1e-12]), min_size=1, max_size=9).filter(any))
def test_thresholds_of_a_row(weight):
    p = np.array(weight) / np.sum(weight)
    threshold = d.thresholds(p)
    width = chances(threshold)
    assert threshold.dtype == np.int64
    assert threshold[-1] == ONE
    assert np.all(width >= 0)
    assert np.all(width[p == 0] == 0)
    assert np.abs(width / ONE - p).max() < 2.0**-50
    # Each is rounded to 53 bits; the last possible one takes the remainder.
    last = np.flatnonzero(p)[-1]
    assert np.abs(width[:last] / ONE - p[:last]).max(initial=0) <= 2.0**-54
    # A certain outcome has every draw.
    if np.count_nonzero(p) == 1:
        assert width[p > 0] == ONE


@given(st.data(), st.integers(1, 12), st.integers(0, 1000))
def test_ragged_thresholds_are_the_rows_one_by_one(data, segments, seed):
    rng = np.random.default_rng(seed)
    rows = [
        np.append(rng.exponential(size=n - 1) * (rng.random(n - 1) < 0.6), 1.0) for n in rng.integers(1, 7, segments)
    ]
    rows = [rng.permutation(row / row.sum()) for row in rows]
    start = np.concatenate([[0], np.cumsum([len(row) for row in rows])])
    ragged = d.thresholds(np.concatenate(rows), start)
    for row, first, last in zip(rows, start[:-1], start[1:], strict=True):
        assert np.array_equal(ragged[first:last], d.thresholds(row))


def test_ragged_thresholds_survive_wrapping_sums():
    # 4,096 segments of mass 2**53 wrap the running sum of int64.
    n = 5000
    p = np.tile([0.25, 0.75], n)
    assert d.thresholds(p, np.arange(0, 2 * n + 1, 2)).reshape(n, 2).tolist() == [[ONE // 4, ONE]] * n


def test_quantisation_error_of_many_distributions():
    p = np.random.default_rng(0).dirichlet(np.ones(3), size=20_000)
    error = np.abs(np.diff(d.thresholds(p), axis=1, prepend=0) / ONE - p)
    assert error[:, :-1].max() <= 2.0**-54
    assert error[:, -1].max() < 2.0**-51  # the last one takes the remainder, and what p itself lacks to one


@settings(deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 12), min_size=1, max_size=9), min_size=1, max_size=6),
    st.lists(st.integers(0, ONE - 1) | st.integers(0, 12), min_size=1, max_size=8),
    st.randoms(use_true_random=False),
)
def test_select_segment_is_a_linear_search(segments, values, rnd):
    """Also with equal thresholds, which stand for outcomes of zero probability."""
    rows = [[*sorted(row)[:-1], ONE] for row in segments]
    flat = np.array([x for row in rows for x in row])
    bounds = np.concatenate([[0], np.cumsum([len(row) for row in rows])])
    which = np.array([rnd.randrange(len(rows)) for _ in values])
    value = np.array(values)
    found = d.select_segment(flat, bounds[which], bounds[which + 1] - 1, value)
    naive = [
        int(bounds[w]) + next(i for i, x in enumerate(rows[w]) if x > v) for w, v in zip(which, values, strict=True)
    ]
    assert found.tolist() == naive
    tensors = [torch.from_numpy(x) for x in (flat, bounds[which], bounds[which + 1] - 1, value)]
    assert on_torch.select_segment(*tensors, max(map(len, rows))).tolist() == naive
    first = np.array([rows[0]] * len(values))
    assert d.select_row(first, value).tolist() == [next(i for i, x in enumerate(rows[0]) if x > v) for v in values]


def test_impossible_outcomes_are_never_drawn():
    p = np.array([0.0, 0.3, 0.0, 0.7, 0.0])
    edge = [0, ONE - 1, int(0.3 * ONE) - 1, int(0.3 * ONE), int(0.3 * ONE) + 1]
    value = np.concatenate([edge, d.draws(d.streams(0, Purpose.OUTCOME, 0, np.arange(20_000)), 0)])
    chosen = d.select_row(np.tile(d.thresholds(p), (len(value), 1)), value)
    assert set(chosen.tolist()) == {1, 3}
    assert stats.binomtest(int((chosen[5:] == 1).sum()), 20_000, 0.3).pvalue > 1e-4


def test_thresholds_of_rows_are_the_reference_in_torch():
    rng = np.random.default_rng(0)
    rows = rng.dirichlet(np.full(7, 0.3), 500)
    rows[:100, 3:] = 0
    rows /= rows.sum(axis=1, keepdims=True)
    assert np.array_equal(on_torch.row_thresholds(torch.from_numpy(rows)).numpy(), d.thresholds(rows))
