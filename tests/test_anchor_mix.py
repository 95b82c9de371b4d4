"""The mix of resolutions: weights, limits in which it must be RLOO, and what it is worth where single resolutions fail."""

import numpy as np
import pytest
import torch
from batches import batches, make_batch, rows_of
from hypothesis import given, settings

import credit_envs
from credit_envs.credit.anchor_graph import anchor_graph
from credit_envs.credit.anchor_mix import anchor_graph_mix, candidates, mixing_weights, rounded
from credit_envs.credit.grpo import rloo
from credit_envs.evaluation import evaluate
from credit_envs.table.build import from_outcomes, prune


def layered(width: int, depth: int, seed: int = 0):
    """A random layered graph: three actions lead to random places of the next layer; the last step pays 0 to 1."""
    rng = np.random.default_rng(seed)
    state = np.arange(width * depth).repeat(3)
    layer = state // width
    last = layer == depth - 1
    table = from_outcomes(
        f"layers {depth}x{width}",
        width * depth,
        3,
        {
            "state": state,
            "action": np.tile(np.arange(3), width * depth),
            "successor": np.where(last, state, (layer + 1) * width + rng.integers(0, width, state.size)),
            "probability": np.ones(state.size),
            "reward": np.where(last, rng.random(state.size), 0.0),
            "terminal": last,
        },
        start={0: 1.0},
        horizon=depth,
        validated=False,
    )
    return prune(table)[0]


@given(batches(min_size=2))
@settings(max_examples=40)
def test_weights_are_shares(batch):
    fold, found = mixing_weights(batch, candidates(batch, batch.anchor, 1.0, 1.0))
    assert float(found.min()) >= 0
    assert torch.allclose(found.sum(dim=1), torch.ones(len(found)).double())
    assert int(fold.max()) + 1 == len(found)
    assert len(fold) == batch.n_groups


@given(batches(min_size=2))
@settings(max_examples=20)
def test_the_second_candidate_is_rloo(batch):
    assert torch.allclose(candidates(batch, batch.anchor, 1.0, 1.0)[1], rloo(batch), atol=1e-9)


def test_nothing_shared_is_rloo():
    rng = np.random.default_rng(0)
    rewards = [[0.0, 0.0, float(rng.random())] for _ in range(20)]
    batch = make_batch(rewards, group=[i // 4 for i in range(20)])
    assert torch.allclose(anchor_graph_mix(batch), rloo(batch))


def test_the_order_of_rollouts_changes_nothing():
    rng = np.random.default_rng(1)
    anchors = [[0, *rng.integers(1, 4, 3).tolist()] for _ in range(24)]
    rewards = [[0.0, 0.0, 0.0, float(rng.random())] for _ in range(24)]
    batch = make_batch(rewards, anchors=anchors, group=[i // 4 for i in range(24)])
    order = torch.from_numpy(rng.permutation(24))
    assert torch.allclose(anchor_graph_mix(rows_of(batch, order)), anchor_graph_mix(batch)[order], atol=1e-8)


def test_few_groups_share_evenly():
    batch = make_batch([[0.0, 1.0], [0.0, 0.0]], anchors=[[0, 1], [0, 1]])
    found = candidates(batch, batch.anchor, 1.0, 1.0)
    assert torch.allclose(anchor_graph_mix(batch), found.mean(dim=0))


def test_rounding():
    anchor = torch.tensor([[3, 3, 3, 5]])
    assert rounded(anchor, None) is anchor
    assert len(rounded(anchor, 2).unique()) == 3
    assert len(rounded(anchor, 1).unique()) == 4


def test_one_resolution_everywhere_gives_that_resolution():
    """Where no state recurs at another step, rounding changes nothing: the mix is of RLOO, returns and one graph."""
    table = credit_envs.make_table("credit/Pivots-v0")
    results = evaluate(["anchor_graph", "anchor_graph_mix"], [table], budget=20_000, seeds=4, match_discount=False)
    for policy in {row.policy for row in results.rows}:
        worth = {r.estimator: r.equivalents["simulator"].value for r in results.rows if r.policy == policy}
        assert worth["anchor_graph_mix"] > 0.75 * worth["anchor_graph"], policy


@pytest.mark.parametrize(("width", "depth"), [(4, 8), (128, 8)])
def test_never_much_below_rloo_and_near_the_graph_where_that_is_good(width, depth):
    table = layered(width, depth)
    names = ["rloo", "anchor_graph", "anchor_graph_mix"]
    results = evaluate(names, [table], budget=20_000, seeds=6, levels=(0.0, 0.5), match_discount=False)
    for policy in {row.policy for row in results.rows}:
        worth = {r.estimator: r.equivalents["simulator"].value for r in results.rows if r.policy == policy}
        assert worth["anchor_graph_mix"] > 0.95 * worth["rloo"], (policy, worth)
        assert worth["anchor_graph_mix"] > 0.75 * worth["anchor_graph"], (policy, worth)


def test_time_limits_do_not_break_it():
    """DoorKey pays for speed: without the step in the anchor the graph is worth next to nothing there, the mix is not."""
    found = evaluate(
        ["anchor_graph", "anchor_graph_mix"],
        ["credit/DoorKey-v0"],
        budget=30_000,
        seeds=3,
        levels=(0.9,),
        match_discount=False,
    )
    worth = {row.estimator: row.equivalents["simulator"].value for row in found.rows}
    assert worth["anchor_graph"] < 0.3
    assert worth["anchor_graph_mix"] > 1.3


def test_the_graph_is_one_of_the_candidates():
    rng = np.random.default_rng(2)
    anchors = [[0, *rng.integers(1, 4, 3).tolist()] for _ in range(24)]
    batch = make_batch(rng.random((24, 4)).tolist(), anchors=anchors, group=[i // 4 for i in range(24)])
    found = candidates(batch, batch.anchor, 1.0, 1.0)
    assert any(torch.allclose(one, anchor_graph(batch)) for one in found)


def test_aliased_anchors_do_not_break_it():
    """Household's looks hide what was done: near the optimum the graph is worth a third of RLOO, the mix nearly all of it."""
    table = credit_envs.make_table("credit/Household-v0")
    found = evaluate(
        ["rloo", "anchor_graph", "anchor_graph_mix"],
        [table],
        budget=50_000,
        seeds=4,
        levels=(0.9,),
        match_discount=False,
    )
    worth = {row.estimator: row.equivalents["simulator"].value for row in found.rows}
    assert worth["anchor_graph"] < 0.6
    assert worth["anchor_graph_mix"] > 0.85 * worth["rloo"]
