"""What estimators are given: exact and projected advantages, texts, keys and continuations."""

import numpy as np
import pytest
import torch
from brute_force import action_value, by_look, by_state, random_rows, rich_table, state_values, walks
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import make_random_table, random_policy

from credit_envs.evaluation.providers import Provided
from credit_envs.oracle import Policy, evaluate, uniform
from credit_envs.piece import NEEDS
from credit_envs.sampling import Sampler
from credit_envs.table import Emission, from_outcomes

few = settings(max_examples=40, deadline=None)


def provided(table, policy, seed=0, n=12):
    sampler = Sampler(table, policy, seed)
    return Provided(sampler, sampler.groups(n, 2), evaluate(table, policy))


def taken(scene):
    """(rollout, step, state, executed action or None) of every step."""
    table, truth = scene.exact.table, scene.sample.truth
    for i, t in torch.nonzero(scene.sample.trajectories.mask).tolist():
        edge = int(truth.edge[i, t])
        yield i, t, int(truth.state[i, t]), None if edge < 0 else int(table.edge_action[edge])


@few
@given(rich_table(layers=False), st.integers(0, 1000))
def test_advantage(table, seed):
    """Also of steps that name an inadmissible action: they pay the penalty and stay."""
    policy = Policy("state", random_rows(seed, table.n_states, table.n_actions))
    scene, choose = provided(table, policy, seed), by_state(policy.probability)
    for i, t, state, action in taken(scene):
        value = state_values(table, choose, t, state)
        if action is not None:
            q = action_value(table, choose, t, state, action)
        else:
            q = float(table.reward_at(t, np.float64(table.inadmissible_reward)))
            if t + 1 < table.horizon:
                q += table.discount * state_values(table, choose, t + 1, state)
            elif table.cutoff_reward is not None:
                q += float(table.cutoff_reward[state])
        assert float(scene["advantage"][i, t]) == pytest.approx(q - value, abs=1e-10)
    assert torch.all(scene["advantage"][~scene.sample.trajectories.mask] == 0)


@few
@given(rich_table(max_horizon=3), st.integers(0, 1000), st.sampled_from(["state", "look"]))
def test_projected_advantage(table, seed, kind):
    """E[A | step, look, executed action] over all trajectories, also where states that look alike choose differently."""
    if kind == "state":
        policy = Policy("state", random_policy(table, seed))
    else:
        policy = Policy("look", random_rows(seed, table.emission.n_base, table.n_actions))
    choose = by_state(policy.probability) if kind == "state" else by_look(table, policy.probability)
    values, scene = evaluate(table, policy), provided(table, policy, seed)
    total, weight = {}, {}
    for walk in walks(table, choose):
        for step in walk.steps:
            if step.action is not None:
                cell = (step.t, int(table.emission.base[step.state]), step.action)
                advantage = values.q(step.t, step.state)[step.action] - values.V[step.t, step.state]
                total[cell] = total.get(cell, 0.0) + walk.chance * advantage
                weight[cell] = weight.get(cell, 0.0) + walk.chance
    for i, t, state, action in taken(scene):
        if action is not None:
            cell = (t, int(table.emission.base[state]), action)
            assert float(scene["projected_advantage"][i, t]) == pytest.approx(total[cell] / weight[cell], abs=1e-10)


def test_without_aliasing_the_projection_is_the_advantage():
    table = make_random_table(1, n_states=7)
    scene = provided(table, uniform(table))
    assert torch.equal(scene["projected_advantage"], scene["advantage"])


def test_texts_keys_and_states():
    table = next(t for t in map(make_random_table, range(99)) if t.n_states >= 4)
    n = table.n_states
    table = table.replace(labels={"anchor": np.arange(n) // 2}, emission=Emission(np.arange(n) % 2))
    scene = provided(table, uniform(table))
    assert torch.equal(scene["state"], scene.sample.truth.state)
    mask = scene.sample.trajectories.mask
    assert torch.equal(scene["key"][mask], scene.sample.truth.state[mask] // 2)
    # Without an anchor label the key is the look; texts are those of the look's first state.
    bare = provided(table.replace(labels={}), uniform(table))
    assert torch.equal(bare["key"][mask], bare.sample.truth.state[mask] % 2)
    assert bare["text"](torch.tensor([1, 0, 1])) == ["State 1.", "State 0.", "State 1."]


def test_continuations_are_charged_to_the_sampler():
    table = make_random_table(2, n_states=8)
    scene = provided(table, uniform(table))
    before = scene.sampler.meter.copy()
    one = torch.zeros(5, dtype=torch.int64)
    assert scene["continuations"](one, one, 7, 0.9).shape == (5, 7)
    spent = scene.sampler.meter.since(before)
    assert spent.restores == 35
    assert spent.env_steps == spent.policy_calls >= 35


def test_it_is_a_mapping_of_the_declared_needs():
    table = make_random_table(2, n_states=8)
    scene = provided(table, uniform(table))
    assert set(scene) == set(NEEDS)
    assert len(scene) == len(NEEDS)
    assert scene["advantage"] is scene["advantage"]  # made once
    with pytest.raises(KeyError):
        scene["nonsense"]


def test_projection_weighs_states_by_how_often_they_choose_the_action():
    # Two starts that look alike: in one, action 0 is chosen with 0.9 and pays 1; in the other with 0.1 and pays 0.
    rows = {
        "state": np.array([0, 0, 1, 1]),
        "action": np.array([0, 1, 0, 1]),
        "successor": np.zeros(4, dtype=int),
        "probability": np.ones(4),
        "reward": np.array([1.0, 0.0, 0.0, 0.0]),
        "terminal": np.ones(4, dtype=bool),
    }
    table = from_outcomes("two", 2, 2, rows, start={0: 0.5, 1: 0.5}, horizon=1, emission=Emission([0, 0]))
    scene = provided(table, Policy("state", np.array([[0.9, 0.1], [0.1, 0.9]])), n=200)
    action = scene.sample.trajectories.action[:, 0]
    # A(s=0, 0) = 0.1, A(s=0, 1) = −0.9, A(s=1, ·) = 0; P(s=0 | action 0) = 0.9, P(s=0 | action 1) = 0.1.
    expected = torch.where(action == 0, 0.9 * 0.1, 0.1 * -0.9)
    assert torch.allclose(scene["projected_advantage"][:, 0], expected.double())
