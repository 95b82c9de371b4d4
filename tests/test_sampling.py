"""The sampler: bit for bit against a slow walker, in distribution against the oracle, and what it charges."""

import numpy as np
import pytest
import torch
from brute_force import executed, random_rows, rich_table
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import make_random_table, random_policy

from credit_envs.errors import CreditEnvsError
from credit_envs.oracle import Policy, evaluate, expected_return, occupancy, spread, uniform
from credit_envs.sampling import DevicePolicy, DeviceTable, Meter, Sampler
from credit_envs.sampling import device as device_module
from credit_envs.sampling import sampler as sampler_module
from credit_envs.sampling.trajectories import numbered
from credit_envs.table import Emission, Layer, TabularMDP, from_outcomes
from credit_envs.table.draws import EPISODE, ONE, Purpose, draw, mix_word, mix_words, stream, thresholds

FIELDS = ("obs", "action", "log_prob", "reward", "mask", "group", "context", "turn", "segment", "anchor")


def pick(probability, value):
    """Index of the interval that a draw falls in, by a linear search over rounded widths."""
    mass = np.rint(np.asarray(probability) * ONE).astype(np.int64).tolist()
    last = max(i for i, m in enumerate(mass) if m > 0)
    reached = 0
    for i, width in enumerate(mass):
        reached += width
        if value < reached or i == last:
            return i
    raise AssertionError


def reference_rollout(table, policy, seed, group, rollout):
    """One rollout in plain Python, from the documented order of random words."""
    context = pick(table.start_probability, draw(stream(seed, Purpose.START, 0, group), 0))
    state, steps = int(table.start_state[context]), []
    keys = {p: stream(seed, p, context, rollout, 0) for p in (Purpose.ACTION, Purpose.OUTCOME, Purpose.EMISSION)}
    for t in range(table.horizon):
        code = 0
        for i, layer in enumerate(table.emission.layers):
            word = mix_word(keys[Purpose.EMISSION], EPISODE if layer.per_episode else t)
            row = len(table.P[state]) if layer.state_class == "admissible" else 0
            code = code * layer.size + pick(layer.probability[row], draw(word, i))
        look = int(table.emission.base[state])
        obs = look * table.emission.n_codes + code
        row = policy.probability[{"state": state, "look": look, "obs": obs}[policy.kind]]
        choice = pick(row, draw(keys[Purpose.ACTION], t))
        if policy.kind == "obs":
            action, name = executed(table, state, choice, code), choice
        else:
            action = choice if choice in table.P[state] else None
            names = [n for n in table.P[state] if executed(table, state, n, code) == action]
            name = names[0] if action is not None else choice
        if action is None:
            nxt, reward, done, edge = state, table.inadmissible_reward, False, -1
        else:
            edge = int(table.find_edges(np.array(state), np.array(action)))
            outcomes = table.P[state][action]
            luck = draw(keys[Purpose.OUTCOME], t)
            _, nxt, reward, done = outcomes[0 if table.is_deterministic else pick([o[0] for o in outcomes], luck)]
        reward = float(table.reward_at(t, reward))
        if not done and t + 1 == table.horizon and table.cutoff_reward is not None:
            reward += float(table.cutoff_reward[nxt])
        anchor = look * table.emission.n_codes + int(table.emission.anchor_code[code])
        steps.append((obs, name, float(np.log(row[choice])), reward, anchor, state, edge, code, choice))
        if done:
            break
        state = nxt
    return context, steps


@settings(max_examples=60, deadline=None)
@given(rich_table(max_states=6, max_horizon=5), st.integers(0, 2**60), st.sampled_from(["state", "look", "obs"]))
def test_rollouts_are_those_of_the_reference_walker(table, seed, kind):
    rows = {"state": table.n_states, "look": table.emission.n_base, "obs": table.n_obs}[kind]
    policy = Policy(kind, random_rows(seed % 1000, rows, table.n_actions))
    sampler = Sampler(table, policy, seed)
    taken = 0
    for call in range(2):  # a second call goes on where the first one stopped
        sample = sampler.groups(3, 2)
        batch, truth = sample.trajectories, sample.truth
        assert batch.group.tolist() == [0, 0, 1, 1, 2, 2]
        for i in range(6):
            context, steps = reference_rollout(table, policy, seed, 3 * call + i // 2, 6 * call + i)
            length = len(steps)
            taken += length
            assert int(batch.context[i]) == context
            assert batch.mask[i].tolist() == [t < length for t in range(batch.mask.shape[1])]
            columns = (batch.obs, batch.action, batch.log_prob, batch.reward, batch.anchor)
            columns += (truth.state, truth.edge, truth.code, batch.policy_action)
            for column, expected in zip(columns, zip(*steps, strict=True), strict=True):
                if column.dtype == torch.float64:
                    assert column[i, :length].numpy() == pytest.approx(np.array(expected), rel=1e-14)
                else:
                    assert column[i, :length].tolist() == list(expected)
            assert torch.all(batch.reward[i, length:] == 0)
            assert torch.all(truth.edge[i, length:] == -1)
    assert sampler.meter == Meter(env_steps=taken, policy_calls=taken)


def same(a, b):
    return all(torch.equal(getattr(a.trajectories, f), getattr(b.trajectories, f)) for f in FIELDS)


def wanderer(seed=3, **changes):
    return make_random_table(seed, n_states=8, horizon=6, n_starts=3, **changes)


def test_equal_seeds_give_equal_samples():
    table = wanderer()
    one, two = (Sampler(table, uniform(table), seed=5) for _ in range(2))
    assert same(one.groups(20, 4), two.groups(20, 4))
    first, second = one.groups(20, 4), two.groups(20, 4)
    assert same(first, second)
    assert not same(first, Sampler(table, uniform(table), seed=5).groups(20, 4))
    assert not same(
        Sampler(table, uniform(table), seed=6).groups(20, 4), Sampler(table, uniform(table), seed=5).groups(20, 4)
    )
    step = torch.zeros(80, dtype=torch.int64)
    a = one.continuations(first, torch.arange(80), step, 3)
    assert torch.equal(a, two.continuations(second, torch.arange(80), step, 3))
    assert not torch.equal(a, one.continuations(first, torch.arange(80), step, 3))


def test_groups_share_their_context():
    table = wanderer()
    batch = Sampler(table, uniform(table), 1).groups(300, 5).trajectories
    context = batch.context.view(300, 5)
    assert torch.all(context == context[:, :1])
    count = np.bincount(context[:, 0].numpy(), minlength=3)
    z = (count - 300 * table.start_probability) / np.sqrt(300 * table.start_probability * (1 - table.start_probability))
    assert np.abs(z).max() < 4
    # Rollouts of a group have independent luck.
    assert not torch.equal(batch.action[0::5], batch.action[1::5])


def sample_many(table, policy, n, seed=0):
    return Sampler(table, policy, seed).groups(n, 1)


@pytest.mark.parametrize("seed", range(4))
def test_frequencies_are_the_occupancy(seed):
    table = wanderer(seed, cutoff=True)
    policy = Policy("state", random_policy(table, seed))
    n = 20_000
    sample = sample_many(table, policy, n)
    d = occupancy(table, policy)
    worst = []
    for t in range(sample.trajectories.mask.shape[1]):
        here = sample.truth.state[:, t][sample.trajectories.mask[:, t]].numpy()
        count = np.bincount(here, minlength=table.n_states)
        assert np.all(count[d[t] == 0] == 0)
        p = d[t][(d[t] > 1e-3) & (d[t] < 1 - 1e-9)]
        worst += ((count[(d[t] > 1e-3) & (d[t] < 1 - 1e-9)] - n * p) / np.sqrt(n * p * (1 - p))).tolist()
    worst = np.array(worst)
    assert np.abs(worst).max() < 4.5
    assert np.mean(worst**2) < 2


@pytest.mark.parametrize("seed", range(4))
def test_mean_and_variance_of_returns(seed):
    table = wanderer(seed, cutoff=True)
    policy = Policy("state", random_rows(seed, table.n_states, table.n_actions))
    returns = sample_many(table, policy, 20_000, seed).trajectories.returns.numpy()
    parts = spread(table, policy)
    mean = evaluate(table, policy).J
    assert abs(returns.mean() - mean) < 4 * np.sqrt(parts.variance / 20_000) + 1e-12
    error = np.std((returns - returns.mean()) ** 2) / np.sqrt(20_000)
    assert abs(returns.var() - parts.variance) < 4 * error + 1e-12


@settings(max_examples=10, deadline=None)
@given(rich_table(), st.integers(0, 100))
def test_mean_return_of_observation_policies(table, seed):
    policy = Policy("obs", random_rows(seed, table.n_obs, table.n_actions))
    batch = sample_many(table, policy, 4000, seed).trajectories
    weight = table.discount ** torch.arange(batch.mask.shape[1], dtype=torch.float64)
    returns = (batch.reward * weight).sum(dim=1).numpy()
    assert abs(returns.mean() - expected_return(table, policy)) < 5 * returns.std() / np.sqrt(4000) + 1e-9


@pytest.mark.parametrize("discount", [1.0, 0.8, 0.5])
def test_mean_of_continuations(discount):
    table = wanderer(4, cutoff=True)
    policy = Policy("state", random_policy(table, 1))
    sampler = Sampler(table, policy, 0)
    sample = sampler.groups(8, 1)
    rollout, step = torch.nonzero(sample.trajectories.mask, as_tuple=True)
    values = evaluate(table.replace(discount=discount), policy).V
    got = sampler.continuations(sample, rollout, step, 2000, discount)
    assert got.shape == (len(rollout), 2000)
    state = sample.truth.state[rollout, step]
    error = (got.mean(dim=1).numpy() - values[step, state]) / np.maximum(got.std(dim=1).numpy(), 1e-9) * np.sqrt(2000)
    error = error[got.std(dim=1).numpy() > 0]
    assert np.abs(error).max() < 4.5
    # By default, returns are discounted as the table says.
    half = table.replace(discount=discount)
    again = Sampler(half, policy, 0)
    assert torch.equal(again.continuations(again.groups(8, 1), rollout, step, 2000), got)


def test_continuations_have_their_own_luck():
    """A fork never replays its rollout's draws, and two forks of one state never share theirs."""
    rows = [(s, 0, min(s + 1, 19), 0.5, 2.0**s, s == 19) for s in range(20)]
    rows += [(s, 0, min(s + 1, 19), 0.5, 0.0, s == 19) for s in range(20)]
    table = listed(rows, 20, 1, start={0: 1.0}, horizon=20)
    sampler = Sampler(table, np.ones((20, 1)), 0)
    sample = sampler.groups(1, 50)
    zero = torch.zeros(50, dtype=torch.int64)
    forks = sampler.continuations(sample, torch.arange(50), zero, 20)
    everything = torch.cat([sample.trajectories.returns, forks.flatten()])
    assert len(torch.unique(everything)) > 1045  # 1,050 draws of 20 coins: about 0.5 coincidences are expected


def listed(rows, n_states, n_actions, *, start, horizon, **fields):
    names = ("state", "action", "successor", "probability", "reward", "terminal")
    columns = {name: np.array(column) for name, column in zip(names, zip(*rows, strict=True), strict=True)}
    return from_outcomes("listed", n_states, n_actions, columns, start=start, horizon=horizon, **fields)


def corridor(n, **fields):
    rows = [(s, a, min(s + 1, n - 1), 1.0, float(a), s == n - 1) for s in range(n) for a in range(2)]
    return listed(rows, n, 2, start={0: 1.0}, horizon=n, **fields)


@pytest.mark.parametrize(
    ("restore", "expected"),
    # Steps 0 … 4 of 5, 3 continuations each: 3·(5+4+3+2+1) steps, and a prefix of step length for each if replayed.
    [("free", 45), ("replay", 45 + 3 * (0 + 1 + 2 + 3 + 4))],
)
def test_what_continuations_cost(restore, expected):
    table = corridor(5)
    sampler = Sampler(table, uniform(table), 0, restore=restore)
    sample = sampler.groups(2, 3)
    assert sampler.meter == Meter(env_steps=30, policy_calls=30)
    before = sampler.meter.copy()
    sampler.continuations(sample, torch.zeros(5, dtype=torch.int64), torch.arange(5), 3)
    spent = sampler.meter.since(before)
    assert spent == Meter(env_steps=expected, policy_calls=45, restores=15)
    assert before == Meter(env_steps=30, policy_calls=30)


def test_no_restore_no_continuations():
    table = corridor(5)
    sampler = Sampler(table, uniform(table), restore="none")
    sample = sampler.groups(1, 2)
    with pytest.raises(CreditEnvsError, match="restore='none': this environment cannot be forked"):
        sampler.continuations(sample, torch.zeros(1, dtype=torch.int64), torch.zeros(1, dtype=torch.int64), 1)
    assert sampler.meter.env_steps == 10


def test_chunks_change_nothing(monkeypatch):
    table = wanderer(4)
    whole, parts = Sampler(table, uniform(table), 0), Sampler(table, uniform(table), 0)
    one, two = whole.groups(5, 4), parts.groups(5, 4)
    rollout, step = torch.nonzero(one.trajectories.mask, as_tuple=True)
    expected = whole.continuations(one, rollout, step, 3)
    monkeypatch.setattr(sampler_module, "_MAX_LANES", 8)
    assert torch.equal(parts.continuations(two, rollout, step, 3), expected)
    assert parts.meter == whole.meter
    empty = torch.zeros(0, dtype=torch.int64)
    assert parts.continuations(two, empty, empty, 3).shape == (0, 3)


def test_forks_wear_the_skin_of_their_rollout():
    """The policy plays the number of its skin; that number is what every step pays."""
    table = corridor(4).replace(emission=Emission(np.arange(4), (Layer("skin", True, [0.5, 0.5]),)))
    policy = Policy("obs", np.tile(np.eye(2), (4, 1)))
    sampler = Sampler(table, policy, 0)
    sample = sampler.groups(40, 2)
    skin = sample.truth.code[:, 0]
    assert 10 < int(skin.sum()) < 70
    assert torch.all(sample.truth.code == skin[:, None])
    assert torch.equal(sample.trajectories.reward, skin[:, None].expand(-1, 4).to(torch.float64))
    rollout = torch.arange(80)
    for t in range(4):
        forks = sampler.continuations(sample, rollout, torch.full((80,), t), 3)
        assert torch.equal(forks, (skin[:, None] * (4 - t)).expand(-1, 3).to(torch.float64))


def test_forks_redraw_what_is_drawn_at_every_step():
    table = corridor(4).replace(emission=Emission(np.arange(4), (Layer("paraphrase", False, [0.5, 0.5]),)))
    sampler = Sampler(table, Policy("obs", np.tile(np.eye(2), (4, 1))), 0)
    sample = sampler.groups(1, 1)
    forks = sampler.continuations(sample, torch.zeros(1, dtype=torch.int64), torch.zeros(1, dtype=torch.int64), 4000)
    share = np.bincount(forks[0].to(torch.int64).numpy(), minlength=5) / 4000
    expected = np.array([1, 4, 6, 4, 1]) / 16
    assert np.abs(share - expected).max() < 4 * np.sqrt(0.25 / 4000)


def test_turns_and_segments():
    table = corridor(6, labels={"turn": [0, 1, 2, 0, 1, 0], "segment": [4, 4, 4, 4, 9, 9]})
    batch = Sampler(table, uniform(table)).groups(1, 2).trajectories
    assert batch.turn.tolist() == [[0, 0, 0, 1, 1, 2]] * 2
    assert batch.segment.tolist() == [[0, 0, 0, 0, 1, 1]] * 2
    plain = Sampler(corridor(3), uniform(corridor(3))).groups(1, 1).trajectories
    assert plain.turn.tolist() == [[0, 1, 2]]  # without labels every step is a turn, and everything one segment
    assert plain.segment.tolist() == [[0, 0, 0]]
    mask = torch.tensor([[True, True, True, False]])
    assert numbered(torch.tensor([[0, 1, 0, 0]]), mask, starts=True).tolist() == [[0, 0, 1, 0]]


def test_policies_are_quantised_once():
    """Sampled frequencies are those of the integer thresholds, zero probabilities are never drawn."""
    p = np.array([[0.0, 1 / 3, 0.0, 2 / 3, 0.0]])
    table = listed([(0, a, 0, 1.0, 0.0, True) for a in range(5)], 1, 5, start={0: 1.0}, horizon=1)
    action = sample_many(table, p, 30_000).trajectories.action[:, 0]
    assert set(action.tolist()) == {1, 3}
    assert abs(float((action == 1).double().mean()) - 1 / 3) < 4 * np.sqrt(2 / 9 / 30_000)
    assert thresholds(p).tolist()[0][-1] == ONE


def test_a_draw_on_a_threshold_belongs_to_the_next_outcome(monkeypatch):
    one, two = (listed([(0, a, 0, 1.0, 0.0, True) for a in range(n)], 1, n, start={0: 1.0}, horizon=1) for n in (1, 2))
    zero = torch.zeros(1, dtype=torch.int64)
    for value, probability, expected in (
        (ONE // 4, [0.25, 0.75], 1),
        (ONE // 4 - 1, [0.25, 0.75], 0),
        (0, [0.0, 1.0], 1),
    ):
        monkeypatch.setattr(device_module, "draws", lambda key, t, v=value: torch.full_like(key, v))
        policy = DevicePolicy(DeviceTable(two), Policy("state", np.array([probability])))
        assert policy.act(zero, zero, zero, 0)[0].tolist() == [expected]
        layered = one.replace(emission=Emission([0], (Layer("skin", True, probability),)))
        assert DeviceTable(layered).emit(zero, zero, zero).tolist() == [expected]


def test_sparse_lookups_equal_dense_ones(monkeypatch):
    table = wanderer(2)
    policy = np.full((table.n_states, table.n_actions), 1 / table.n_actions)
    expected = Sampler(table, policy, 1).groups(10, 4)
    monkeypatch.setattr(device_module, "_DENSE_EDGES", 0)
    assert same(Sampler(table, policy, 1).groups(10, 4), expected)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda t: Sampler(t, uniform(t), restore="fre"),
            r"restore='fre': expected one of \('free', 'replay', 'none'\)",
        ),
        (lambda t: Sampler(t, uniform(t), device="gpu"), "device='gpu': expected 'cpu' or 'cuda'"),
        (lambda t: Sampler(t, np.ones((2, 2))), "policy: expected shape"),
        (lambda t: Sampler(t, uniform(t)).groups(0, 2), "n_groups=0: expected an integer in"),
        (lambda t: Sampler(t, uniform(t)).groups(2, 0), "group_size=0: expected an integer in"),
        (lambda t: Sampler(t, uniform(t)).groups(2, 2.5), r"group_size=2\.5: expected an integer in"),
        (
            lambda t: (s := Sampler(t, uniform(t))).continuations(
                s.groups(1, 1), torch.zeros(1).long(), torch.zeros(1).long(), 0
            ),
            "k=0: expected an integer in",
        ),
    ],
)
def test_malformed_arguments_are_refused(call, message):
    with pytest.raises(CreditEnvsError, match=message):
        call(corridor(3))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA card")
def test_cuda_where_there_is_none():
    with pytest.raises(CreditEnvsError, match="device='cuda': torch sees no CUDA card here; use device='cpu'"):
        Sampler(corridor(3), uniform(corridor(3)), device="cuda")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA card")
@pytest.mark.parametrize("seed", range(3))
def test_cuda_gives_the_same_episodes(seed):
    table = wanderer(seed, cutoff=True)
    table = table.replace(emission=Emission(table.emission.base, (Layer("skin", True, [0.2, 0.5, 0.3]),)))
    here, there = Sampler(table, uniform(table), seed), Sampler(table, uniform(table), seed, "cuda")
    one, two = here.groups(200, 8), there.groups(200, 8)
    for f in FIELDS:
        a, b = getattr(one.trajectories, f), getattr(two.trajectories, f).cpu()
        assert torch.allclose(a, b, rtol=1e-15) if f == "log_prob" else torch.equal(a, b), f
    rollout, step = torch.nonzero(one.trajectories.mask, as_tuple=True)
    a = here.continuations(one, rollout, step, 4)
    assert torch.equal(a, there.continuations(two, rollout.cuda(), step.cuda(), 4).cpu())
    assert here.meter == there.meter


def test_emission_keys_are_those_of_the_faces():
    """The order of random words is part of the contract: (seed, purpose, context, rollout, branch, step, layer)."""
    table: TabularMDP = corridor(3).replace(emission=Emission(np.arange(3), (Layer("skin", True, np.full(8, 1 / 8)),)))
    code = Sampler(table, uniform(table), 9).groups(1, 3).truth.code[:, 0].tolist()
    key = [mix_words(stream(9, Purpose.EMISSION, 0, r, 0), EPISODE) for r in range(3)]
    assert code == [draw(int(k), 0) * 8 // ONE for k in key]
