"""Play without the image on tables with the label blind: the gap, the policy's own dependence, and where it isn't known."""

import numpy as np
import pytest

from credit_envs import oracle
from credit_envs.errors import TableError
from credit_envs.oracle.masked import image_free, without_image
from credit_envs.registry import make_table
from credit_envs.table.build import from_outcomes
from credit_envs.table.emission import Emission


def coin(bias=0.5, peek=False):
    """Heads or tails is in the picture; say which. With ``peek``, one way to the guess is likelier after heads."""
    rows = []

    def edge(state, action, *outcomes):
        rows.extend((state, action, *outcome) for outcome in outcomes)

    # 0, 1: heads, tails before the question; 2, 3: at the question; 4: over.
    for side in (0, 1):
        edge(side, 0, (2 + side, 1.0, 0.0, False))
        edge(side, 1, *(((2, 0.9, 0.0, False), (3, 0.1, 0.0, False)) if peek else ((2 + side, 1.0, 0.0, False),)))
        for said in (0, 1):
            edge(2 + side, said, (4, 1.0, float(said == side), True))
    names = ("state", "action", "successor", "probability", "reward", "terminal")
    columns = dict(zip(names, map(np.array, zip(*rows, strict=True)), strict=True))
    start = {0: bias, 1: 1 - bias}
    labels = {"blind": np.array([0, 0, 1, 1, 2])}
    return from_outcomes("coin", 5, 2, columns, start=start, horizon=3, labels=labels)


@pytest.mark.parametrize("bias", [0.5, 0.7])
def test_gap_and_divergence_by_hand(bias):
    table = coin(bias)
    found = oracle.measure(table)
    assert found["perception_gap"] == pytest.approx(1 - max(bias, 1 - bias))
    assert found["perception_divergence"] == pytest.approx(0)
    sure = np.array([[0.5, 0.5], [0.5, 0.5], [0.9, 0.1], [0.1, 0.9], [0.5, 0.5]])
    mixed = bias * 0.9 + (1 - bias) * 0.1
    kl = [p * np.log(p / m) + (1 - p) * np.log((1 - p) / (1 - m)) for p, m in ((0.9, mixed), (0.1, mixed))]
    free = image_free(table, sure)
    assert free.dependence == pytest.approx([0, 0, *kl, 0])
    assert free.divergence == pytest.approx((bias * kl[0] + (1 - bias) * kl[1]) / 2)
    assert free.probability[1] == pytest.approx([mixed, 1 - mixed])


def test_where_beliefs_depend_on_the_way_the_gap_is_not_known():
    table = coin(peek=True)
    with pytest.raises(TableError, match="depends on the way to it"):
        without_image(table)
    found = oracle.measure(table)
    assert np.isnan(found["perception_gap"])
    assert found["perception_divergence"] == pytest.approx(0)


def test_charts_lose_what_the_picture_is_worth():
    gaps = [oracle.measure(make_table("credit/Charts-v0", printed=p))["perception_gap"] for p in (0.0, 0.5, 1.0)]
    assert gaps[0] > gaps[1] > gaps[2]
    assert gaps[2] == pytest.approx(0, abs=1e-12)
    table = make_table("credit/Charts-v0")
    assert gaps[0] == pytest.approx(oracle.optimal(table).J - oracle.optimal(without_image(table)).J)


def test_a_policy_on_observations_reads_as_much_as_the_same_one_on_states():
    table = make_table("credit/Charts-v0")
    luck = np.random.default_rng(0)
    policy = oracle.uniform(table) * luck.uniform(0.2, 1, (table.n_states, table.n_actions))
    policy /= np.maximum(policy.sum(axis=1, keepdims=True), 1e-300)
    by_state = image_free(table, oracle.Policy("state", policy))
    by_obs = image_free(table, oracle.Policy("obs", policy))
    assert by_obs.divergence == pytest.approx(by_state.divergence)
    assert by_obs.divergence > 0.01
    assert by_obs.dependence == pytest.approx(by_state.dependence)


def test_texts_nobody_comes_to_are_read_as_uniform_play_would_write_them():
    table = coin(0.7)
    never = np.array([[1.0, 0.0]] * 5)
    far = table.replace(emission=Emission(np.arange(5)))
    free = image_free(far, never)
    assert free.probability[:2] == pytest.approx(np.array([[1.0, 0.0]] * 2))
    assert np.isfinite(free.dependence).all()
    rows = free.rows(np.array([0, 1, 2, 3]), np.zeros(4, dtype=np.int64))
    assert rows.tolist() == [0, 0, 1, 1]


def test_a_cue_on_charts_is_measured_alone():
    table = make_table("credit/Charts-v0", values=2, cue=0.5)
    found = oracle.measure(table)
    assert 0 < found["perception_gap"] < 1
    assert found["perception_gap"] < oracle.measure(make_table("credit/Charts-v0", values=2, cue=1.0))["perception_gap"]
