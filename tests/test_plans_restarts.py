"""Restarts where returns part, demonstrations in groups, and policies of stated skill."""

import numpy as np
import pytest
import torch
from brute_force import random_rows, rich_table
from group_gradients import everlasting_table, group_gradients, step_gradients, z_scores
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import make_random_table, random_policy, random_table

from credit_envs.credit.grpo import dr_grpo
from credit_envs.errors import CreditEnvsError
from credit_envs.oracle import Policy, evaluate, optimal, uniform
from credit_envs.oracle.skill import skilled_policy
from credit_envs.plans.demonstrations import with_demonstrations
from credit_envs.plans.restarts import restarts, where_returns_part
from credit_envs.registry import make_table
from credit_envs.sampling import Sampler
from credit_envs.sampling.trajectories import Sample
from credit_envs.table import Emission, Layer

few = settings(max_examples=40, deadline=None)


# -- restarts --------------------------------------------------------------------------------------------------------


@few
@given(random_table(max_horizon=5), st.integers(0, 1000), st.sampled_from(["free", "replay"]))
def test_what_a_restart_is(table, seed, how):
    sampler, plain = (Sampler(table, uniform(table), seed, restore=how) for _ in range(2))
    sample = restarts(sampler, 6, 4)
    batch, truth = sample.trajectories, sample.truth
    assert batch.group.tolist() == np.repeat(np.arange(6), 4).tolist()
    assert batch.tree.tolist() == list(range(24))
    first = plain.groups(3, 4)
    width = first.trajectories.mask.shape[1]
    assert torch.equal(batch.mask[:12, :width], first.trajectories.mask)
    assert torch.equal(batch.action[:12, :width], first.trajectories.action)
    start = batch.mask.long().argmax(dim=1)
    rows = torch.arange(24)
    state = truth.state[rows, start].view(6, 4)
    assert torch.equal(state, state[:, :1].expand_as(state))  # rollouts of a group start alike
    assert torch.equal(start.view(6, 4), start.view(6, 4)[:, :1].expand(6, 4))
    assert torch.equal(batch.context.view(6, 4), batch.context.view(6, 4)[:, :1].expand(6, 4))
    # Each step is played through to the end from where the row starts.
    assert torch.equal(batch.mask.long().sum(dim=1), (torch.nonzero(batch.mask)[:, 0].bincount(minlength=24)))
    # Exactly the steps that were taken are charged, and the prefix where it must be replayed.
    replayed = int(start[12:].sum()) if how == "replay" else 0
    assert sampler.meter.env_steps == int(batch.mask.sum()) + replayed
    assert sampler.meter.restores == 12


@few
@given(random_table(max_horizon=6), st.integers(0, 1000), st.integers(1, 9))
def test_the_states_chosen_by_a_naive_loop(table, seed, n):
    sample = Sampler(table, uniform(table), seed).groups(2, 5)
    batch = sample.trajectories
    rollout, step = where_returns_part(sample, n, seed)
    ranking = []
    for g in range(2):
        visits = {}
        for i in torch.nonzero(batch.group == g).squeeze(1).tolist():
            for t in range(int(batch.lengths[i])):
                visits.setdefault(int(batch.anchor[i, t]), []).append((i, t, float(batch.reward[i, t:].sum())))
        spread = {a: float(np.std([x[2] for x in v])) for a, v in visits.items() if any(t > 0 for _, t, _ in v)}
        ranking.append((sorted((s for s in spread.values() if s > 1e-9), reverse=True), spread))
    for k in range(n):
        g, rank = k % 2, k // 2
        i, t = int(rollout[k]), int(step[k])
        assert int(batch.group[i]) == g
        assert bool(batch.mask[i, t])
        best, spread = ranking[g]
        if rank >= len(best):
            assert (i, t) == (5 * g, 0)
        else:
            assert t > 0
            assert spread[int(batch.anchor[i, t])] == pytest.approx(best[rank])
    assert len(set(zip(rollout.tolist(), step.tolist(), strict=True))) >= min(n, sum(len(r[0]) for r in ranking))


def test_the_decisive_state_is_found():
    """Pivots pays 1 if every pivot was right: the last state at which nothing was wrong yet is where returns part."""
    table = make_table("credit/Pivots-v0?length=2&fillers=1&actions=2")
    sampler = Sampler(table, uniform(table), 1)
    sample = restarts(sampler, 40, 16)
    batch = sample.trajectories
    start = batch.mask.long().argmax(dim=1).view(40, 16)[20:, 0]
    wrong = torch.from_numpy(np.array(table.labels["wrong"]))
    assert set(start.tolist()) <= {0, 1, 2}
    assert float((start == 2).double().mean() + (start == 1).double().mean()) > 0.9
    inside = start.repeat_interleave(16) > 0
    state = sample.truth.state[torch.arange(320, 640), start.repeat_interleave(16)]
    assert bool((wrong[state][inside] == 0).all())


def test_a_restarted_group_gives_the_gradient_of_its_state():
    """E of a restarted group's mean-centred gradient is (n−1)/n ∇V_t(s), given where it starts."""
    table = everlasting_table(6, horizon=4)
    policy = Policy("state", random_policy(table, 3))
    sampler, n = Sampler(table, policy, 1), 4
    sample = restarts(sampler, 8000, n)
    batch, truth = sample.trajectories, sample.truth
    got = group_gradients(batch, dr_grpo(batch))[4000:] / n
    start = batch.mask.long().argmax(dim=1)[4000 * n :: n]
    state = truth.state[torch.arange(4000 * n, 8000 * n, n), start]
    assert len(set(zip(start.tolist(), state.tolist(), strict=True))) > 4
    exact = torch.zeros_like(got)
    for t in range(4):
        for s in range(table.n_states):
            moved = table.replace(start_state=np.array([s]), start_probability=np.ones(1), horizon=4 - t)
            here = (start == t) & (state == s)
            exact[here] = step_gradients(moved, policy).sum(dim=0) * (n - 1) / n
    z = z_scores(got - exact, torch.zeros(exact.shape[1], dtype=torch.float64))
    assert float(z.abs().max()) < 4
    # Which is not the gradient of J.
    plain = step_gradients(table, policy).sum(dim=0) * (n - 1) / n
    assert float(z_scores(got, plain).abs().max()) > 6


def test_restarts_can_be_left_out_and_refused():
    table = everlasting_table(1)
    sampler, plain = (Sampler(table, uniform(table), 0) for _ in range(2))
    assert torch.equal(restarts(sampler, 3, 4, share=0).trajectories.action, plain.groups(3, 4).trajectories.action)
    assert sampler.meter == plain.meter
    assert restarts(sampler, 1, 4).trajectories.n_groups == 1
    assert restarts(sampler, 5, 2, share=1).trajectories.mask[:, 0].view(5, 2)[0].all()
    with pytest.raises(CreditEnvsError, match=r"share=1\.1"):
        restarts(sampler, 3, 4, share=1.1)
    with pytest.raises(CreditEnvsError, match="cannot be forked"):
        restarts(Sampler(table, uniform(table), restore="none"), 4, 4)


# -- demonstrations --------------------------------------------------------------------------------------------------


@few
@given(rich_table(max_states=6, max_horizon=4), st.integers(0, 1000), st.sampled_from(["state", "look", "obs"]))
def test_demonstrations_speak_the_policys_language(table, seed, kind):
    """Rows and actions index the policy's own table, whatever it sees; log-probabilities are the demonstrator's."""
    rows = {"state": table.n_states, "look": table.emission.n_base, "obs": table.n_obs}[kind]
    policy = Policy(kind, random_rows(seed, rows, table.n_actions))
    sampler = Sampler(table, policy, seed)
    sample = with_demonstrations(sampler, 3, 3, demonstrations=2, skill=0.5)
    batch, truth = sample.trajectories, sample.truth
    expert = skilled_policy(table, 0.5)
    assert sampler.policy.policy is policy or np.array_equal(sampler.policy.policy.probability, policy.probability)
    assert torch.equal(batch.policy_table, sampler.policy.probability)
    assert batch.group.tolist() == np.repeat(np.arange(3), 3).tolist()
    assert torch.equal(batch.context.view(3, 3), batch.context.view(3, 3)[:, :1].expand(3, 3))
    assert len(torch.unique(batch.node[batch.mask])) == int(batch.mask.sum())
    assert sampler.meter.env_steps == int(batch.mask.sum())
    shown = torch.arange(9) % 3 > 0
    assert sampler.meter.policy_calls == int(batch.mask[~shown].sum())
    on = batch.mask
    assert torch.equal(batch.policy_row[on], sampler.policy.rows(truth.state, truth.code)[on])
    look = torch.from_numpy(table.emission.base.astype(np.int64))[truth.state]
    executed = torch.from_numpy(table.edge_action.astype(np.int64))[truth.edge.clamp(min=0)]
    played = on & shown[:, None] & (truth.edge >= 0)
    chance = torch.from_numpy(expert.probability)[look, executed].clamp(min=1e-300).log()
    assert torch.allclose(batch.log_prob[played], chance[played], atol=1e-9)
    wanted = batch.action if kind == "obs" else executed
    assert torch.equal(batch.policy_action[played], wanted[played])
    own = on & ~shown[:, None]
    chosen = sampler.policy.probability[batch.policy_row, batch.policy_action].log()
    assert torch.allclose(batch.log_prob[own], chosen[own])


def test_demonstrations_are_as_good_as_stated():
    table = everlasting_table(8, horizon=5)
    base, best = evaluate(table, uniform(table)).J, optimal(table).J
    for skill in (0.2, 0.9):
        sampler = Sampler(table, uniform(table), 1)
        returns = with_demonstrations(sampler, 4000, 2, skill=skill).trajectories.returns.view(4000, 2)
        expected = torch.tensor([base, base + skill * (best - base)])
        error = returns.std(dim=0) / 4000**0.5
        assert float(((returns.mean(dim=0) - expected) / error).abs().max()) < 4


def test_nothing_but_demonstrations_or_none():
    table = everlasting_table(8)
    sampler = Sampler(table, uniform(table), 1)
    everything = with_demonstrations(sampler, 3, 2, demonstrations=2, skill=0.9).trajectories
    assert everything.n_rollouts == 6
    assert sampler.meter.policy_calls == 0
    assert sampler.meter.env_steps == int(everything.mask.sum())
    again = with_demonstrations(sampler, 3, 2, demonstrations=2, skill=0.9).trajectories
    assert not torch.equal(again.action, everything.action)  # fresh luck
    a, b = Sampler(table, uniform(table), 1), Sampler(table, uniform(table), 1)
    assert torch.equal(with_demonstrations(a, 3, 2, 0).trajectories.action, b.groups(3, 2).trajectories.action)
    with pytest.raises(CreditEnvsError, match="demonstrations=3: expected an integer in"):
        with_demonstrations(a, 3, 2, 3)
    with pytest.raises(CreditEnvsError, match="skill=2"):
        with_demonstrations(a, 3, 2, skill=2)
    assert a.policy.policy.kind == "state"


def test_forks_of_demonstrations_wear_their_skin():
    """What is drawn once per episode stays with a demonstration that is forked."""
    table = everlasting_table(8, horizon=4)
    table = table.replace(emission=Emission(np.arange(4), (Layer("skin", True, [0.5, 0.5]),)))
    policy = Policy("obs", np.full((8, 2), 0.5))
    sampler = Sampler(table, policy, 2)
    sample = with_demonstrations(sampler, 20, 2, 2)
    everyone = torch.arange(40)
    fork = sampler.branches(sample, everyone, torch.ones(40, dtype=torch.int64))
    assert isinstance(fork, Sample)
    assert 5 < int(sample.truth.code[:, 0].sum()) < 35
    assert torch.equal(fork.truth.code, sample.truth.code[:, :1].expand_as(fork.truth.code))


# -- skill -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("skill", [0.0, 0.25, 0.7, 0.95, 1.0])
def test_skill_is_the_normalised_return(skill):
    table = make_table("credit/KeyRooms-v0")
    base, best = evaluate(table, uniform(table)).J, optimal(table).J
    reached = (evaluate(table, skilled_policy(table, skill)).J - base) / (best - base)
    assert reached == pytest.approx(skill, abs=2e-3)
    assert skilled_policy(table, skill) is skilled_policy(table, skill)


def test_skill_out_of_reach_and_out_of_range():
    blind = make_random_table(3, n_states=6, horizon=3)
    blind = blind.replace(emission=Emission(np.zeros(blind.n_states, dtype=np.int32)))
    base, best = evaluate(blind, uniform(blind)).J, optimal(blind).J
    reached = (evaluate(blind, skilled_policy(blind, 1.0)).J - base) / (best - base)
    assert 0 <= reached < 1
    for skill in (-0.1, 1.1):
        with pytest.raises(CreditEnvsError, match=f"skill={skill}: expected a number in"):
            skilled_policy(blind, skill)
