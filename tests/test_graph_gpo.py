"""GraphGPO: distances against a breadth-first search, its identities, and where shortest paths misjudge."""

import functools
from collections import deque

import numpy as np
import pytest
import torch
from batches import batches, make_batch, rows_of
from gaps import with_gaps
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import random_policy

from credit_envs.credit.graph_gpo import graph_gpo, graph_gpo_on, succeeded
from credit_envs.credit.grpo import dr_grpo, grpo
from credit_envs.errors import CreditEnvsError
from credit_envs.evaluation.providers import Provided
from credit_envs.oracle import Policy, evaluate
from credit_envs.sampling import Sampler
from credit_envs.sampling.statistics import group_sum
from credit_envs.table import from_outcomes

few = settings(max_examples=60, deadline=None)
close = functools.partial(torch.allclose, rtol=1e-9, atol=1e-9)


def reference(batch, decay, won, progress, weight, std):
    """One graph per group, breadth first from the goal backwards, then means per anchor."""
    out = torch.zeros_like(batch.reward)
    episode = grpo(batch, norm_by_std=std)
    for g in range(batch.n_groups):
        rows = [i for i in range(batch.n_rollouts) if batch.group[i] == g]
        walks = {i: [("at", a) for a in batch.anchor[i, : batch.lengths[i]].tolist()] for i in rows}
        steps = [
            (i, t, node, walk[t + 1] if t + 1 < len(walk) else ("won",) if won[i] else ("lost", i))
            for i, walk in walks.items()
            for t, node in enumerate(walk)
        ]
        into = {}
        for _, _, a, b in steps:
            into.setdefault(b, set()).add(a)
        distance, queue = {("won",): 0}, deque([("won",)])
        while queue:
            node = queue.popleft()
            for before in into.get(node, ()):
                if before not in distance:
                    distance[before] = distance[node] + 1
                    queue.append(before)
        far = max(distance.values()) + 1
        score = {}
        for i, t, a, b in steps:
            there, here = distance.get(b, far), distance.get(a, far)
            score[i, t] = (a, 10 * decay ** (there - here + 1 if progress else there))
        for (i, t), (a, s) in score.items():
            mates = [x for b, x in score.values() if b == a]
            step = 0.0
            if max(mates) > min(mates):
                step = (s - np.mean(mates)) / (np.std(mates, ddof=1) + 1e-6 if std else 1.0)
            out[i, t] = step + weight * float(episode[i, t])
    return out


@few
@given(
    batches(max_steps=7, n_anchors=5),
    st.sampled_from([0.1, 0.8, 1.0]),
    st.sampled_from(["positive", "best"]),
    st.booleans(),
    st.sampled_from([0.0, 1.0, 0.5]),
    st.booleans(),
    st.integers(0, 99),
)
def test_against_a_breadth_first_search(batch, decay, success, progress, weight, std, seed):
    got = graph_gpo(batch, decay, success, progress, weight, std)
    assert close(got, reference(batch, decay, succeeded(batch, success), progress, weight, std))
    wide, move = with_gaps(batch, seed)
    assert close(graph_gpo(wide, decay, success, progress, weight, std), move(got))


@few
@given(batches(max_steps=6), st.randoms(use_true_random=False))
def test_identities(batch, rnd):
    step = graph_gpo(batch, episode_weight=0.0, norm_by_std=False)
    key = (batch.group[:, None] * 100 + batch.anchor)[batch.mask]
    assert float(group_sum(step[batch.mask], key, int(key.max()) + 1).abs().max()) < 1e-9
    # Where nobody succeeds, or nothing is shared, or the decay is 1, only the episode is left.
    assert close(
        graph_gpo_on(batch, batch.anchor, success=torch.zeros(batch.n_rollouts, dtype=torch.bool)), grpo(batch)
    )
    places = torch.arange(batch.mask.numel()).view(batch.mask.shape)
    assert close(graph_gpo_on(batch, places, norm_by_std=False), dr_grpo(batch))
    assert close(graph_gpo(batch, decay=1.0), grpo(batch))
    # The step term asks only who succeeded, not how much was paid.
    assert torch.equal(
        graph_gpo(batch.replace(reward=batch.reward * 3), episode_weight=0.0), graph_gpo(batch, episode_weight=0.0)
    )
    order = list(range(batch.n_rollouts))
    rnd.shuffle(order)
    assert torch.allclose(graph_gpo(rows_of(batch, torch.tensor(order))), graph_gpo(batch)[order], atol=1e-9)


def test_by_hand():
    # 0: A B C win. 1: A C win. 2: A B lose. d(C) = 1, d(B) = 2, d(A) = 2.
    batch = make_batch([[0, 0, 1.0], [0, 1.0], [0, 0.0]], anchors=[[0, 1, 2], [0, 2], [0, 1]])
    step = graph_gpo(batch, 0.5, episode_weight=0.0, norm_by_std=False)
    # A: to B, to C, to B: 10/4, 10/2, 10/4. B: to C 10/2, lost at d_max + 1 = 3: 10/8. C: both win.
    assert step[:, 0].tolist() == pytest.approx([2.5 - 10 / 3, 5 - 10 / 3, 2.5 - 10 / 3])
    assert step[:, 1].tolist() == pytest.approx([(5 - 1.25) / 2, 0.0, (1.25 - 5) / 2])
    assert float(step[0, 2]) == 0
    progress = graph_gpo(batch, 0.5, progress=True, episode_weight=0.0, norm_by_std=False)
    # d(next) − d + 1 at A: 1, 0, 1; at B: 0 and 2.
    assert progress[:, 0].tolist() == pytest.approx([5 - 20 / 3, 10 - 20 / 3, 5 - 20 / 3])
    assert progress[:, 1].tolist() == pytest.approx([(10 - 2.5) / 2, 0.0, (2.5 - 10) / 2])


def test_a_failed_rollout_is_praised_for_a_step_in_the_right_direction():
    batch = make_batch([[0, 1.0], [0, 0.0], [0, 0.0]], anchors=[[0, 1], [0, 1], [0, 2]])
    got = graph_gpo(batch, episode_weight=0.0)
    assert float(got[1, 0]) > 0 > float(got[2, 0])


def test_what_counts_as_success():
    batch = make_batch([[1.0], [-0.5], [-0.1], [-0.5], [2.0], [2.0]], group=[0, 0, 1, 1, 2, 2])
    assert succeeded(batch, "positive").tolist() == [True, False, False, False, True, True]
    assert succeeded(batch, "best").tolist() == [True, False, True, False, False, False]
    given_ones = torch.tensor([False, True, False, True, False, True])
    assert torch.equal(succeeded(batch, given_ones), given_ones)


def test_luck_passes_for_a_way():
    """One shortest path that hardly ever works beats a detour that always does: the credit has the wrong sign."""
    # 0: action 0 leads to 1 (which wins with probability 1/20), action 1 to 2, then 3, which wins for certain.
    table = from_outcomes(
        "gamble",
        4,
        2,
        {
            "state": [0, 0, 1, 1, 2, 3],
            "action": [0, 1, 0, 0, 0, 0],
            "successor": [1, 2, 1, 1, 3, 3],
            "probability": [1, 1, 0.05, 0.95, 1, 1],
            "reward": [0, 0, 1, 0, 0, 1],
            "terminal": [False, False, True, True, False, True],
        },
        start={0: 1.0},
        horizon=3,
    )
    policy = Policy("state", np.where(random_policy(table, 0) > 0, np.array([[0.5, 0.5], [1, 0], [1, 0], [1, 0]]), 0))
    sampler = Sampler(table, policy, 0)
    sample = sampler.groups(1, 2000)
    exact = Provided(sampler, sample, evaluate(table, policy))["advantage"]
    got = graph_gpo(sample.trajectories, episode_weight=0.0)
    gamble = sample.trajectories.policy_action[:, 0] == 0
    assert torch.all(exact[gamble, 0] < -0.4)
    assert torch.all(got[gamble, 0] > 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"decay": 0}, r"decay=0: expected a number in \(0, 1\]"),
        ({"episode_weight": -1}, "episode_weight=-1"),
        ({"success": "won"}, r"success='won': expected one of \('positive', 'best'\)"),
    ],
)
def test_arguments_out_of_range(arguments, message):
    with pytest.raises(CreditEnvsError, match=message):
        graph_gpo(make_batch([[1.0], [0.0]]), **arguments)
