"""Policies with memory: one step at a time and whole episodes agree, windows forget, forks go on, finite windows are exact."""

import numpy as np
import pytest
import torch

from credit_envs import oracle
from credit_envs.credit.grpo import grpo
from credit_envs.dials.remember import remember
from credit_envs.errors import CreditEnvsError
from credit_envs.losses.reinforce import reinforce
from credit_envs.oracle.policy import Policy as TabularPolicy
from credit_envs.piece import Piece
from credit_envs.policies import MemoryPolicy, make_policy
from credit_envs.policies.gru import Gru
from credit_envs.policies.memory import tabulated
from credit_envs.policies.phase import Phase
from credit_envs.policies.routing import switching
from credit_envs.policies.transformer import Transformer
from credit_envs.registry import make_table
from credit_envs.sampling.sampler import Sampler
from credit_envs.sampling.trajectories import stack
from credit_envs.table.build import from_outcomes
from credit_envs.table.emission import Emission
from credit_envs.training import Options, Run
from credit_envs.training.command import summary
from credit_envs.training.learners import Learners, simulate
from credit_envs.weights.at_rl import at_rl_attention

pytest.importorskip("transformers")

MAKERS = {
    "gru": lambda table, seed=0: Gru(table, seed=seed, width=8, hidden=8),
    "transformer": lambda table, seed=0: Transformer(table, seed=seed, width=16, heads=2),
    "context 1": lambda table, seed=0: Transformer(table, seed=seed, width=16, heads=2, context=1),
    "context 4": lambda table, seed=0: Transformer(table, seed=seed, width=16, heads=2, context=4),
    "fusion": lambda table, seed=0: Transformer(table, seed=seed, view="both", width=16, heads=2, context=3),
    "phase_moe": lambda table, seed=0: Phase(table, seed=seed, width=8, history=3),
}


def roughened(policy, scale=0.5):
    luck = torch.Generator().manual_seed(9)
    with torch.no_grad():
        for weight in policy.parameters():
            weight += scale * torch.randn(weight.shape, generator=luck)
    return policy


@pytest.fixture(scope="module")
def gallery():
    return make_table("credit/Gallery-v0", junctions=2)


@pytest.fixture(scope="module")
def recall():
    """A cue is shown first and asked for two steps later, when it is gone: 1 for naming it. Action 1 waits in between."""
    rows = []
    for cue in (0, 1):
        rows += [(cue, a, 2 + cue, 1.0, 0.0, False) for a in (0, 1)]
        rows += [(2 + cue, a, 4 + cue if a == 0 else 2 + cue, 1.0, 0.0, False) for a in (0, 1)]
        rows += [(4 + cue, a, 6, 1.0, float(a == cue), True) for a in (0, 1)]
    names = ("state", "action", "successor", "probability", "reward", "terminal")
    columns = dict(zip(names, map(np.array, zip(*rows, strict=True)), strict=True))
    table = from_outcomes("recall", 7, 2, columns, start={0: 0.5, 1: 0.5}, horizon=6)
    return table.replace(emission=Emission(np.array([0, 1, 2, 2, 3, 3, 4])))


@pytest.mark.parametrize("name", MAKERS)
def test_one_step_at_a_time_is_the_whole_episode(gallery, name):
    policy = roughened(MAKERS[name](gallery))
    sampler = Sampler(gallery, policy, seed=1)
    batch = sampler.groups(6, 4).trajectories
    found = policy.log_prob(batch)
    torch.testing.assert_close(found.detach(), batch.log_prob, atol=1e-5, rtol=1e-5)
    assert int((batch.lengths != batch.lengths[0]).sum()) > 0
    said = batch.policy_table[batch.policy_row[batch.mask]]
    assert len(batch.policy_table) == int(batch.mask.sum()) == sampler.meter.env_steps == sampler.meter.policy_calls
    torch.testing.assert_close(said.sum(1), torch.ones(len(said), dtype=torch.float64))
    allowed = policy.allowed[batch.obs[batch.mask]]
    assert float(said[~allowed].sum()) == 0
    whole = policy.log_probs(batch.obs, batch.action)[batch.mask].exp()
    torch.testing.assert_close(whole.detach(), said, atol=1e-5, rtol=1e-4)
    entropy = -(said * said.clamp(min=1e-300).log()).sum(1)
    torch.testing.assert_close(policy.entropy(batch)[batch.mask].detach(), entropy, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", MAKERS)
def test_forks_go_on_from_what_they_remember(gallery, name):
    policy = roughened(MAKERS[name](gallery))
    sampler = Sampler(gallery, policy, seed=2)
    sample = sampler.groups(4, 4)
    rollout = torch.arange(16).repeat(2)
    step = (sample.trajectories.lengths[rollout] - 1) * torch.arange(32) // 31
    spent = sampler.meter.copy()
    forks = sampler.branches(sample, rollout, step)
    batch = stack([sample, forks]).trajectories
    torch.testing.assert_close(policy.log_prob(batch).detach(), batch.log_prob, atol=1e-5, rtol=1e-5)
    rows = batch.policy_table[batch.policy_row, batch.policy_action].log()
    assert torch.equal(rows[batch.mask], batch.log_prob[batch.mask])
    taken = forks.trajectories.lengths - step
    assert sampler.meter.since(spent).policy_calls == int(taken.sum())
    for i in (0, 9, 21):
        same = slice(0, int(step[i]))
        assert torch.equal(forks.trajectories.obs[i, same], sample.trajectories.obs[rollout[i], same])
    again = sampler.branches(forks, torch.arange(32), torch.zeros(32, dtype=torch.int64))
    twice = stack([sample, forks, again]).trajectories
    torch.testing.assert_close(policy.log_prob(twice).detach(), twice.log_prob, atol=1e-5, rtol=1e-5)


def test_continuations_are_those_of_the_tabulated_policy(recall):
    """From a state and a history, the mean return is V of the remembering table (|z| < 4)."""
    policy = roughened(Transformer(recall, width=16, heads=2, context=3), 0.3)
    found, table = tabulated(policy, recall)
    values = oracle.evaluate(found.table, table)
    sampler = Sampler(recall, policy, seed=3)
    sample = sampler.groups(20, 1)
    batch = sample.trajectories
    long = torch.nonzero(batch.lengths >= 3).squeeze(1)
    returns = sampler.continuations(sample, long, torch.full_like(long, 2), 400)
    base = found.table.emission.base
    seen, done, look = batch.obs[long, :2].numpy(), batch.action[long, :2].numpy(), batch.obs[long, 2].numpy()
    for i in range(len(long)):
        rows = np.flatnonzero((found.look == look[i]) & (found.seen == seen[i]).all(1) & (found.done == done[i]).all(1))
        states = np.flatnonzero(base == rows[0])
        exact = values.V[2, states]
        assert len(rows) == 1
        # The look and the two steps before it tell the cue, so that one state is left.
        assert np.ptp(exact) < 1e-12
        z = (float(returns[i].mean()) - exact[0]) / (float(returns[i].std()) / 20)
        assert abs(z) < 4


# -- windows -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("context", [1, 2, 3, 5, 8])
def test_the_far_past_changes_nothing_and_the_near_past_does(gallery, context, layers):
    policy = roughened(Transformer(gallery, view="state", width=8, heads=2, layers=layers, context=context))
    luck = torch.Generator().manual_seed(context)
    obs = torch.randint(gallery.n_obs, (3, 12), generator=luck)
    action = torch.randint(gallery.n_actions, (3, 12), generator=luck)
    before = policy.logits(obs, action)
    t = 11
    first = t - context + 1  # oldest step of the window
    far_obs, far_action = obs.clone(), action.clone()
    far_obs[:, :first] = torch.randint(gallery.n_obs, (3, first), generator=luck)
    far_action[:, :first] = torch.randint(gallery.n_actions, (3, first), generator=luck)
    after = policy.logits(far_obs, far_action)
    assert torch.equal(after[:, t], before[:, t])
    if first > 0:
        assert not torch.equal(after[:, first], before[:, first]) or context == 1
    near = obs.clone()
    near[:, first] = (near[:, first] + 1) % gallery.n_obs
    assert not torch.equal(policy.logits(near, action)[:, t], before[:, t])
    future = obs.clone()
    future[:, t] = (future[:, t] + 1) % gallery.n_obs
    assert torch.equal(policy.logits(future, action)[:, :t], before[:, :t])
    # One step at a time, with a cache that drops what is out of sight.
    carry, last = policy.replay(obs, action, torch.full((3,), t))
    assert context == 1 or carry.step.shape[1] <= (max(policy.windows) + 1) * 2
    torch.testing.assert_close(policy.act(obs[:, t], last, carry)[0], before[:, t].detach(), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ["gru", "transformer", "phase_moe", "fusion"])
def test_episodes_of_different_ages_side_by_side(gallery, name):
    """Replay aligns them at their ends; each goes on as if it were alone."""
    policy = roughened(MAKERS[name](gallery))
    luck = torch.Generator().manual_seed(0)
    obs = torch.randint(gallery.n_obs, (5, 6), generator=luck)
    action = torch.randint(gallery.n_actions, (5, 6), generator=luck)
    steps = torch.tensor([0, 2, 5, 1, 3])
    carry, last = policy.replay(obs, action, steps)
    together = policy.act(obs[torch.arange(5), steps], last, carry)[0]
    whole = policy.logits(obs, action).detach()[torch.arange(5), steps]
    allowed = policy.allowed[obs[torch.arange(5), steps]]
    alike = torch.log_softmax(together.masked_fill(~allowed, -1e9), 1)
    torch.testing.assert_close(alike, torch.log_softmax(whole.masked_fill(~allowed, -1e9), 1), atol=1e-5, rtol=1e-5)


def test_a_context_of_one_is_its_table(recall):
    """J by the oracle of the tabulated policy, by simulation of the policy, and step by step the same draws."""
    policy = roughened(Transformer(recall, width=16, heads=2, context=1), 0.3)
    found, table = tabulated(policy, recall)
    assert found.table.n_states == recall.n_states
    stepped = Sampler(recall, policy, seed=5).groups(500, 4)
    looked = Sampler(recall, TabularPolicy("obs", table.probability), seed=5).groups(500, 4)
    for name in ("obs", "action", "reward", "mask"):
        assert torch.equal(getattr(stepped.trajectories, name), getattr(looked.trajectories, name))
    exact = oracle.evaluate(recall, table).J
    mean, error = simulate(recall, policy, 1, 4000, seed=8)
    assert abs(float(mean) - exact) < 2 * float(error)


@pytest.mark.parametrize(
    "make", [lambda t: Transformer(t, width=16, heads=2, context=3), lambda t: Phase(t, history=2)]
)
def test_a_finite_window_is_exact(recall, make):
    policy = roughened(make(recall), 0.3)
    found, table = tabulated(policy, recall)
    exact = oracle.evaluate(found.table, table).J
    mean, error = simulate(recall, policy, 1, 6000, seed=4)
    assert abs(float(mean) - exact) < 2 * float(error)
    assert found.table.n_states > recall.n_states
    # What it says step by step is what the table says.
    batch = Sampler(recall, policy, seed=1).groups(50, 2).trajectories
    stepped = batch.policy_table[batch.policy_row]
    for i, t in torch.nonzero(batch.mask).tolist():
        first = max(0, t - policy.context + 1)
        seen, done = batch.obs[i, first:t].numpy(), batch.action[i, first:t].numpy()
        pad = policy.context - 1 - len(seen)
        seen, done = np.concatenate((np.full(pad, -1), seen)), np.concatenate((np.full(pad, -1), done))
        row = (found.look == int(batch.obs[i, t])) & (found.seen == seen).all(1) & (found.done == done).all(1)
        assert row.sum() == 1
        assert np.abs(table.probability[row][0] - stepped[i, t].numpy()).max() < 1e-5


def test_simulation_covers_the_exact_return_as_often_as_it_says(recall):
    policy = roughened(Transformer(recall, width=16, heads=2, context=1), 0.3)
    exact = oracle.evaluate(recall, tabulated(policy, recall)[1]).J
    inside = [
        abs(float(m) - exact) <= float(e) for m, e in (simulate(recall, policy, 1, 200, seed=s) for s in range(60))
    ]
    assert 0.85 <= np.mean(inside) <= 1


# -- tables that remember --------------------------------------------------------------------------------------------------


def test_remembering_changes_no_value():
    table = make_table("credit/FrozenLake-v0", horizon=12)
    found = remember(table, 2)
    assert found.table.n_states > 5 * table.n_states
    assert pytest.approx(oracle.optimal(table).J) == oracle.optimal(found.table).J
    even = oracle.evaluate(table, oracle.uniform(table)).J
    assert pytest.approx(even) == oracle.evaluate(found.table, oracle.uniform(found.table)).J
    luck = np.random.default_rng(0)
    policy = oracle.uniform(table) * luck.uniform(0.1, 1, (table.n_states, table.n_actions))
    policy /= np.maximum(policy.sum(1, keepdims=True), 1e-300)
    lifted = oracle.Policy("look", policy[found.look])
    assert pytest.approx(oracle.evaluate(table, policy).J) == oracle.evaluate(found.table, lifted).J
    assert "remembered state" not in found.table.labels


def test_memory_pays_where_the_cue_is_gone(recall):
    for k, best in ((0, 0.5), (1, 0.5), (2, 1.0), (3, 1.0)):
        found = remember(recall, k)
        looks = oracle.ladder(found.table, (0.0, 0.99))[-1] if best == 1 else None
        # Histories of two steps tell the cue apart; a slower walk needs more, so the best walk is the quick one.
        assert looks is None or looks.J > 0.95
        if best < 1:
            assert all(best + 1e-9 >= rung.J for rung in oracle.ladder(found.table, (0.0, 0.9), max_updates=20))


def test_remembering_refuses(recall):
    with pytest.raises(CreditEnvsError, match=r"what .* shows is drawn anew \(cue\)"):
        remember(make_table("credit/Gallery-v0"), 1)
    with pytest.raises(CreditEnvsError, match="memories are too many"):
        remember(recall, 62)
    with pytest.raises(CreditEnvsError, match="no finite window"):
        tabulated(Gru(recall), recall)
    assert np.array_equal(remember(recall, 0).look[remember(recall, 0).table.emission.base], recall.emission.base)


# -- each architecture ---------------------------------------------------------------------------------------------------


def test_the_gru_is_torchs(gallery):
    policy = roughened(Gru(gallery, width=8, hidden=6))
    cell = torch.nn.GRUCell(policy.inward.weight.shape[1], 6)
    with torch.no_grad():
        cell.weight_ih.copy_(policy.inward.weight[0].T)
        cell.weight_hh.copy_(policy.onward.weight[0].T)
        cell.bias_ih.copy_(policy.inward.bias[0])
        cell.bias_hh.copy_(policy.onward.bias[0])
    luck = torch.Generator().manual_seed(1)
    obs = torch.randint(gallery.n_obs, (4, 7), generator=luck)
    action = torch.randint(gallery.n_actions, (4, 7), generator=luck)
    h, last = torch.zeros(4, 6), torch.full((4,), -1)
    every = []
    for t in range(7):
        x = torch.cat([policy.encoder(obs[:, t])[0], policy.code.weight[0, last + 1]], 1)
        h, last = cell(x, h), action[:, t]
        every.append(policy.head(h)[0])
    torch.testing.assert_close(policy.logits(obs, action), torch.stack(every, 1), atol=1e-5, rtol=1e-5)


def test_learners_at_once_are_those_one_at_a_time(gallery):
    together = Gru(gallery, learners=3, seed=4, width=8, hidden=8)
    sampler = Learners(gallery, together, 3, 0, "cpu")
    batch = sampler.groups(6, 2).trajectories
    owner = sampler.owner(batch.context)
    found = together.log_prob(batch)
    torch.testing.assert_close(found.detach(), batch.log_prob, atol=1e-6, rtol=1e-6)
    reinforce(found, batch, grpo(batch) + 1.0).backward()
    for k in range(3):
        alone = Gru(gallery, seed=4 + k, width=8, hidden=8)
        index = torch.nonzero(owner == k).squeeze(1)
        rows = {n: v[index] for n, v in vars(batch).items() if n != "policy_table" and v is not None}
        own = batch.replace(**rows)
        own = own.replace(obs=torch.where(own.mask, own.obs - k * gallery.n_obs, 0))
        log = alone.log_prob(own)
        torch.testing.assert_close(log.detach(), found[index].detach(), atol=1e-5, rtol=1e-5)
        credit = (grpo(batch) + 1.0)[index]
        (reinforce(log, own, credit) * len(index) / batch.n_rollouts).backward()
        for (name, one), (_, other) in zip(alone.named_parameters(), together.named_parameters(), strict=True):
            torch.testing.assert_close(
                one.grad[0], other.grad[k], atol=1e-5, rtol=1e-3, msg=lambda m, n=name: f"{n}: {m}"
            )


def test_attention_sums_to_one_and_finds_the_picture(gallery):
    policy = roughened(MAKERS["fusion"](gallery))
    batch = Sampler(gallery, policy, seed=1).groups(4, 4).trajectories
    steps = policy.attention(batch)
    width = batch.mask.shape[1]
    torch.testing.assert_close(steps.sum(-1)[batch.mask], torch.ones(int(batch.mask.sum()), dtype=torch.float64))
    assert float(steps[:, torch.ones(width, width).triu(1).bool()].abs().max()) == 0
    back = torch.arange(width)[:, None] - torch.arange(width)
    assert float(steps[:, back > max(policy.windows)].sum()) == 0
    looks = policy.attention(batch, "picture")
    assert float(looks[batch.mask].min()) > 0
    assert float(looks.max()) < 1
    assert not looks[~batch.mask].any()
    assert policy.body.config._attn_implementation == "sdpa"
    torch.testing.assert_close(policy.log_prob(batch).detach(), batch.log_prob, atol=1e-5, rtol=1e-5)
    with pytest.raises(CreditEnvsError, match="to='image'"):
        policy.attention(batch, "image")


def test_gradients_of_a_memoryless_window_are_the_tabular_ones(recall):
    """With context 1 the gradient is the tabular one pulled back through the logits of single steps."""
    policy = roughened(Transformer(recall, width=8, heads=2, context=1))
    sample = Sampler(recall, policy, seed=3).groups(10, 4)
    batch = sample.trajectories
    credit = grpo(batch) + 0.3
    weights = [weight for weight in policy.parameters() if weight.requires_grad]
    loss = reinforce(policy.log_prob(batch), batch, credit)
    direct = torch.autograd.grad(loss, weights, allow_unused=True)
    rows = torch.arange(recall.n_obs)
    logits = policy.logits(rows[:, None], torch.zeros_like(rows)[:, None])[:, 0]
    free = logits.detach().double().requires_grad_()
    log = torch.log_softmax(free.masked_fill(~policy.allowed, -1e9), 1)[batch.obs, batch.action]
    reinforce(torch.where(batch.mask, log, 0.0), batch, credit).backward()
    pulled = torch.autograd.grad(logits, weights, free.grad.to(logits.dtype), allow_unused=True)
    for one, other in zip(direct, pulled, strict=True):
        one, other = (torch.zeros(1) if g is None else g for g in (one, other))
        torch.testing.assert_close(one, other.expand_as(one), atol=1e-5, rtol=1e-3)


def test_pa_moe_steps_and_losses(gallery):
    policy = roughened(Phase(gallery, width=8, history=3))
    batch = Sampler(gallery, policy, seed=0).groups(4, 4).trajectories
    said = policy.outputs(batch)
    torch.testing.assert_close(
        said.log_prob.gather(2, batch.action[..., None]).squeeze(2)[batch.mask].double(),
        batch.log_prob[batch.mask],
        atol=1e-5,
        rtol=1e-5,
    )
    switching(said.routed, batch.mask).backward()
    assert policy.model.classifier[0].weight.grad.abs().max() > 0
    assert policy.context == 4


@pytest.mark.parametrize("name", ["gru", "transformer", "phase_moe"])
def test_saved_weights_come_back_and_nothing_global_is_drawn(gallery, name):
    torch.manual_seed(4)
    before = torch.get_rng_state()
    policy = make_policy(name, gallery, seed=1)
    again = make_policy(name, gallery, seed=1)
    other = make_policy(name, gallery, seed=2)
    assert torch.equal(torch.get_rng_state(), before)
    obs = torch.arange(12).view(3, 4)
    action = torch.zeros_like(obs)
    assert torch.equal(policy.logits(obs, action), again.logits(obs, action))
    assert not torch.equal(policy.logits(obs, action), other.logits(obs, action))
    other.load_state_dict(policy.state_dict())
    assert torch.equal(policy.logits(obs, action), other.logits(obs, action))
    assert isinstance(policy, MemoryPolicy)


# -- learning, and what is refused -----------------------------------------------------------------------------------------


def train(table, kind, folder, budget=6000, **changes):
    options = Options(
        policy=kind,
        lr=0.02,
        budget=budget,
        points=2,
        rollouts=300,
        groups=8,
        output=folder,
        quiet=True,
        tensorboard=False,
    )
    for name, value in changes.items():
        setattr(options, name, value)
    run = Run("test", options, table)
    while run.going():
        batch = run.groups().trajectories
        run.update(run.loss(reinforce, batch, grpo(batch)))
        run.next(batch)
    return run.finish()


def test_memory_is_learnt_where_it_is_needed(recall, tmp_path):
    """Without memory ½ is the most that can be had; with it nearly 1."""
    result = train(recall, "gru", tmp_path / "gru", budget=10000, lr=0.003, learners=2)
    assert min(result["curve"][-1]["J"]) > 0.9
    assert len(result["curve"][-1]["error"]) == 2
    assert max(result["curve"][0]["error"]) < 0.07
    assert max(train(recall, "tabular", tmp_path / "tabular", lr=0.1)["curve"][-1]["J"]) < 0.51


def test_killed_runs_with_memory_go_on_alike(recall, tmp_path):
    whole = train(recall, "gru", tmp_path / "whole", budget=3000)
    options = Options(
        policy="gru",
        lr=0.02,
        budget=3000,
        points=2,
        rollouts=300,
        groups=8,
        output=tmp_path / "half",
        quiet=True,
        tensorboard=False,
    )
    run = Run("test", options, recall)
    for _ in range(3):
        assert run.going()
        batch = run.groups().trajectories
        run.update(run.loss(reinforce, batch, grpo(batch)))
        run.next(batch)
    run._keep()
    again = train(recall, "gru", tmp_path / "half", budget=3000)
    assert again["curve"] == whole["curve"]


def test_what_memory_rules_out(recall, tmp_path):
    policy = Gru(recall, width=8, hidden=8)
    sampler = Sampler(recall, policy)
    sample = sampler.groups(2, 2)
    zero = torch.zeros(1, dtype=torch.int64)
    with pytest.raises(CreditEnvsError, match="a policy with memory can't be asked there"):
        sampler.search(sample, zero, zero, 4)
    with pytest.raises(CreditEnvsError, match="no exact values here"):
        _ = sampler.policy.policy
    with pytest.raises(CreditEnvsError, match="learners=2, expected 1"):
        make_policy("transformer", recall, learners=2)
    with pytest.raises(CreditEnvsError, match=r"width=10: expected a multiple of 2 · heads = 8"):
        Transformer(recall, width=10)
    with pytest.raises(CreditEnvsError, match=r"context=0: expected an integer in \[1"):
        Transformer(recall, context=0)
    with pytest.raises(CreditEnvsError, match="it knows 5 observations and 2 actions"):
        Sampler(make_table("credit/Chat-v0"), policy)
    piece = Piece("needs truth", lambda batch, *, value: value)
    run = Run("test", Options(policy="gru", output=tmp_path, quiet=True, tensorboard=False), recall)
    with pytest.raises(CreditEnvsError, match="it remembers, so it is no table"):
        piece.steps(run.groups().trajectories, run.provided(run.groups()))


def test_attention_is_a_token_weighting(gallery):
    policy = roughened(MAKERS["fusion"](gallery))
    batch = Sampler(gallery, policy, seed=1).groups(4, 4).trajectories
    looks = policy.attention(batch, "picture")
    weight = at_rl_attention(batch, looks, share=0.25, low=0.5)
    chosen = weight[batch.mask] == 1
    assert set(weight[batch.mask].tolist()) == {0.5, 1.0}
    assert looks[batch.mask][chosen].min() >= looks[batch.mask][~chosen].max()
    assert int(chosen.sum()) == -(-int(batch.mask.sum()) // 4)
    with pytest.raises(CreditEnvsError, match="attention: expected shape"):
        at_rl_attention(batch, looks[:, 1:])


def test_the_summary_says_what_is_simulated(recall, tmp_path):
    told = summary({**train(recall, "gru", tmp_path / "gru", budget=200), "folder": "there"})
    assert "simulated return" in told
    assert "± 0.0" in told
    assert "exact return" in summary({**train(recall, "tabular", tmp_path / "table", budget=200), "folder": "there"})
