"""Search as a reward model: what the labels are, what shaping keeps, and what raw values do."""

import numpy as np
import pytest
import torch
from batches import batches, make_batch
from hypothesis import given
from hypothesis import strategies as st
from strategies import make_random_table, random_policy

from credit_envs.credit.grpo import dr_grpo, grpo
from credit_envs.credit.immediate import immediate
from credit_envs.errors import CreditEnvsError
from credit_envs.evaluation.providers import Provided
from credit_envs.oracle import Policy, evaluate, optimal, uniform
from credit_envs.rewards.mcts import _roots, fit, mcts_raw_q, mcts_shaped, shaped
from credit_envs.sampling import Sampler
from credit_envs.sampling.statistics import returns_to_go
from credit_envs.sampling.tabular import fit_means, keys
from credit_envs.table import from_outcomes


def scene(table, policy=None, groups=10, size=4, seed=0):
    policy = uniform(table) if policy is None else policy
    sampler = Sampler(table, policy, seed)
    sample = sampler.groups(groups, size)
    return sampler, sample, Provided(sampler, sample, evaluate(table, policy))


def close(a, b, tolerance=1e-9):
    return torch.allclose(a, b, rtol=0, atol=tolerance)


@given(batches(), st.integers(0, 100), st.sampled_from([1.0, 0.9]))
def test_shaping_telescopes_whatever_the_values(batch, seed, gamma):
    value = torch.from_numpy(np.random.default_rng(seed).normal(size=batch.mask.shape))
    paid = shaped(batch, value, gamma)
    weight = gamma ** torch.arange(batch.mask.shape[1], dtype=torch.float64)
    assert close((paid.reward * weight).sum(1), (batch.reward * weight).sum(1) - value[:, 0])
    assert torch.equal(paid.reward[~batch.mask], batch.reward[~batch.mask])
    # λ = 1 over shaped rewards is the return to go minus the value, λ = 0 the shaped reward itself.
    whole = torch.where(batch.mask, returns_to_go(batch.reward, batch.mask, gamma) - value, 0.0)
    assert close(immediate(paid, gamma, 1.0), whole)
    assert torch.equal(immediate(paid, gamma), torch.where(batch.mask, paid.reward, 0.0))
    # A potential that only knows the start's group changes no group-relative credit.
    same = shaped(batch, batch.group[:, None].expand_as(batch.reward).to(torch.float64), 1.0)
    assert close(dr_grpo(same), dr_grpo(batch))


def test_exact_values_give_the_exact_advantage():
    for seed in range(3):
        table = make_random_table(seed, n_states=8, horizon=5, n_outcomes=1, n_starts=2)
        _, sample, provided = scene(table, random_policy(table, seed), seed=seed)
        paid = shaped(sample.trajectories, provided["value"])
        assert close(immediate(paid), provided["advantage"])  # without luck, exactly
    table = make_random_table(3, n_states=8, horizon=5, n_outcomes=2, n_starts=1)
    _, sample, provided = scene(table, groups=4000)
    paid = shaped(sample.trajectories, provided["value"])
    mask = sample.trajectories.mask
    error = (immediate(paid) - provided["advantage"])[mask]
    cell = (torch.arange(mask.shape[1]) * table.n_edges + sample.truth.edge)[mask]
    for here in torch.unique(cell).tolist():
        own = error[cell == here]
        if len(own) > 300 and own.std() > 1e-12:
            assert abs(float(own.mean() / own.std())) * len(own) ** 0.5 < 4


def test_labels_go_to_the_policys_values():
    """Searched by the policy's own rollouts from every anchor, Q̂ is Q^π (a state of this table belongs to one step)."""
    table = make_random_table(2, n_states=10, horizon=4, layered=True, n_starts=1, n_outcomes=2)
    policy = Policy("state", random_policy(table, 2))
    _, sample, provided = scene(table, policy, groups=40)
    batch = sample.trajectories
    model = fit(batch, provided["search"], simulations=3000, roots=1.0, rule="policy", n_min=50)
    values, worst = evaluate(table, policy), 0.0
    key = keys(batch, "anchor")
    for i, t in torch.nonzero(batch.mask).tolist():
        exact = values.q(t, int(sample.truth.state[i, t]))
        got = model.rows(key[i, t]).numpy()
        seen = model.count[torch.searchsorted(model.key, key[i, t])].numpy() > 0
        worst = max(worst, np.abs(got - exact)[seen].max())
    assert worst < 0.12
    # UCT's labels are those of better play: at the start, of nearly the best.
    best = fit(batch, provided["search"], simulations=3000, c=1.0).rows(key[0, 0]).max()
    start = int(table.start_state[0])
    assert float(best) == pytest.approx(optimal(table).V[0, start], abs=0.1)
    assert optimal(table).V[0, start] > values.V[0, start] + 0.2


def test_every_anchor_is_searched_before_any_is_searched_twice():
    batch = make_batch([[0, 0, 0.0], [0, 0], [0.0]], anchors=[[0, 1, 0], [0, 2], [0]])
    rollout, step = _roots(batch, 100)
    picked = batch.anchor[rollout, step].tolist()
    assert picked[:3] == [0, 1, 2]
    assert sorted(picked) == [0, 0, 0, 0, 1, 2]
    assert len(set(zip(rollout.tolist(), step.tolist(), strict=True))) == 6
    two = make_batch([[0, 0.0], [0, 0.0], [0.0]], anchors=[[3, 5], [1, 5], [5]])
    assert two.anchor[_roots(two, 2)].tolist() == [5, 3]  # the most visited first, then as they come


def test_shaped_by_search_keeps_group_credit():
    table = make_random_table(5, n_states=10, horizon=6, n_starts=3)
    sampler, sample, provided = scene(table)
    batch, before = sample.trajectories, sampler.meter.copy()
    paid = mcts_shaped(batch, search=provided["search"])
    spent = sampler.meter.since(before)
    assert spent.restores == 40 * 16
    assert spent.env_steps > spent.restores
    # Rollouts of a group share their start, so its potential cancels.
    assert close(grpo(paid), grpo(batch), 1e-6)
    assert not close(immediate(paid), immediate(batch), 1e-3)
    again = scene(table)
    assert torch.equal(mcts_shaped(batch, search=again[2]["search"]).reward, paid.reward)


def waiting(horizon=8):
    """One state: leave at once for 1, or wait; waiting costs nothing but the chance to leave ends with the horizon."""
    rows = [(0, 0, 0, 1.0, 1.0, True), (0, 1, 0, 1.0, 0.0, False)]
    names = ("state", "action", "successor", "probability", "reward", "terminal")
    columns = {name: np.array(column) for name, column in zip(names, zip(*rows, strict=True), strict=True)}
    return from_outcomes("waiting", 1, 2, columns, start={0: 1.0}, horizon=horizon)


def test_raw_values_pay_for_dawdling():
    _, sample, provided = scene(waiting(), groups=60, size=8)
    batch = sample.trajectories
    long, win = batch.lengths.to(torch.float64), batch.returns
    raw = mcts_raw_q(batch, search=provided["search"]).returns
    kept = mcts_shaped(batch, search=provided["search"]).returns
    together = torch.corrcoef(torch.stack([long, raw]))[0, 1]
    assert together > 0.95
    assert close(kept - kept[0], win - win[0])
    # Leaving at once is as good as it gets, and is paid least.
    assert raw[long == 1].max() < raw[long >= 4].min()


def test_few_simulations_and_no_steps():
    table = make_random_table(5, n_states=10, horizon=6, n_actions=5, n_starts=3)
    _, sample, provided = scene(table, groups=2)
    one = mcts_shaped(sample.trajectories, search=provided["search"], simulations=1)  # no label rests on two
    assert bool(torch.isfinite(one.reward).all())
    nothing = sample.trajectories.replace(mask=torch.zeros_like(sample.trajectories.mask))
    for pay in (mcts_shaped, mcts_raw_q):
        assert pay(nothing, search=provided["search"]) is nothing
    for options, message in (({"roots": 0}, "roots=0"), ({"n_min": 0}, "n_min=0"), ({"gamma": 2.0}, "gamma=2")):
        with pytest.raises(CreditEnvsError, match=message):
            mcts_shaped(sample.trajectories, search=provided["search"], **options)
    for options in ({"gamma": -1.0}, {"lam": 1.5}):
        with pytest.raises(CreditEnvsError, match="expected a number"):
            immediate(sample.trajectories, **options)


def test_weighted_means():
    key, action = torch.tensor([4, 4, 4, 9]), torch.tensor([0, 0, 1, 1])
    target, times = torch.tensor([1.0, 0.0, 5.0, 7.0], dtype=torch.float64), torch.tensor([3, 1, 2, 2])
    model = fit_means(key, action, target, 3, times.to(torch.float64))
    repeated = fit_means(*(column.repeat_interleave(times) for column in (key, action, target)), 3)
    for name, column in vars(repeated).items():
        assert torch.allclose(getattr(model, name), column), name
    assert model.value[0].tolist() == pytest.approx([0.75, 5.0, 13 / 6])
