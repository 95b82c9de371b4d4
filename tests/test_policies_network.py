"""Networks over single observations: gradients, several learners at once, views, and the pass without the picture."""

import math

import numpy as np
import pytest
import torch

from credit_envs import oracle
from credit_envs.errors import CreditEnvsError
from credit_envs.losses.reinforce import reinforce
from credit_envs.oracle.policy import Policy as TabularPolicy
from credit_envs.policies import KINDS, features, make_policy, network
from credit_envs.policies.network import MASKINGS, NOISE
from credit_envs.policies.stacked import Sorted
from credit_envs.policies.tabular import Tabular
from credit_envs.registry import make_table
from credit_envs.sampling.sampler import Sampler
from credit_envs.training import checkpoint

VIEWS = {
    "credit/KeyRooms-v0": ("mlp", "cnn", "text", "fusion"),
    "credit/Gallery-v0": ("mlp", "cnn", "text", "fusion"),
    "credit/Lookup-v0": ("mlp", "text"),
    "credit/Chat-v0?spell=1": ("mlp",),
    "credit/KeyRooms-v0?plan=2": ("planner",),
}
PAIRS = [(env, kind) for env, kinds in VIEWS.items() for kind in kinds]


@pytest.fixture(scope="module")
def tables():
    return {env: make_table(env) for env in VIEWS}


def roughened(policy):
    """Weights far from the nearly uniform start, so that nothing is equal by accident."""
    luck = torch.Generator().manual_seed(9)
    with torch.no_grad():
        for weight in policy.parameters():
            weight += 0.2 * torch.randn(weight.shape[1:], generator=luck)
    return policy


def sampled(table, policy, groups=4, size=4, seed=0):
    return Sampler(table, TabularPolicy("obs", policy.table().numpy()), seed).groups(groups, size).trajectories


@pytest.mark.parametrize(("env", "kind"), PAIRS)
def test_learners_at_once_are_those_trained_one_at_a_time(tables, env, kind):
    table = tables[env]
    together = make_policy(kind, table, learners=3, seed=5)
    alone = [make_policy(kind, table, seed=5 + k) for k in range(3)]
    batch = sampled(table, alone[0])
    wish = torch.linspace(-1, 1, batch.mask.numel(), dtype=torch.float64).view(batch.mask.shape)
    for policy in (together, *alone):
        optimizer = torch.optim.SGD(policy.parameters(), lr=0.01)
        for _ in range(3):
            rows = [batch.replace(policy_row=batch.policy_row + k * table.n_obs) for k in range(policy.learners)]
            loss = sum(-(policy.log_prob(part) * wish).sum() / batch.n_rollouts for part in rows)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    found = together.table().view(3, table.n_obs, -1)
    start = make_policy(kind, table, learners=3, seed=5).table().view(3, table.n_obs, -1)
    for k in range(3):
        torch.testing.assert_close(found[k], alone[k].table(), atol=2e-5, rtol=1e-4)
        assert (found[k] - start[k]).abs().max() > 1e-3
    assert (found[0] - found[1]).abs().max() > 1e-3


@pytest.mark.parametrize(("env", "kind"), PAIRS)
def test_gradient_is_the_tabular_one_pulled_back(tables, env, kind):
    """∂loss/∂weights = Σ_rows ∂loss/∂logits · ∂logits/∂weights, with the first factor from the tabular policy."""
    table = tables[env]
    policy = roughened(make_policy(kind, table, seed=1))
    batch = sampled(table, policy)
    credit = batch.returns[:, None] - batch.returns.mean() + 0.1 * torch.arange(batch.mask.shape[1])
    weights = list(policy.parameters())
    reinforce(policy.log_prob(batch), batch, credit).backward()
    direct = [weight.grad.clone() for weight in weights]

    rows = torch.arange(table.n_obs)
    logits = policy.scores(rows)
    tabular = Tabular(table)
    with torch.no_grad():
        tabular.logits.copy_(logits)
    torch.testing.assert_close(tabular.table(), policy.table(), atol=1e-6, rtol=1e-5)
    reinforce(tabular.log_prob(batch), batch, credit).backward()
    pulled = torch.autograd.grad(logits, weights, tabular.logits.grad.to(logits.dtype), allow_unused=True)
    for one, other in zip(direct, pulled, strict=True):
        other = torch.zeros_like(one) if other is None else other
        torch.testing.assert_close(one, other, atol=1e-4 * float(one.abs().max()) + 1e-7, rtol=1e-3)


@pytest.mark.parametrize("kind", ["mlp", "cnn", "text", "fusion"])
def test_networks_can_tell_what_optimal_play_needs(tables, kind):
    table = tables["credit/KeyRooms-v0"]
    best = oracle.optimal(table)
    action = torch.from_numpy(table.edge_action[np.maximum(best.greedy(0), 0)].astype(np.int64))
    alive = torch.from_numpy(table.n_admissible > 0)
    policy = make_policy(kind, table, seed=0)
    optimizer = torch.optim.Adam(policy.parameters(), lr=0.01)
    rows = torch.arange(table.n_obs)
    for _ in range(120):
        loss = -policy.log_probs(rows)[rows, action][alive].mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    reached = oracle.evaluate(table, policy.table().numpy()).J
    base = oracle.evaluate(table, oracle.uniform(table)).J
    assert (reached - base) / (best.J - base) > 0.95


def test_inadmissible_actions_have_no_probability(tables):
    for env, kind in PAIRS:
        policy = roughened(make_policy(kind, tables[env]))
        assert float(policy.table()[~policy.allowed].sum()) == 0


def test_saved_weights_come_back(tables, tmp_path):
    table = tables["credit/Gallery-v0"]
    policy = roughened(make_policy("fusion", table, learners=2, seed=3))
    checkpoint.save(tmp_path / "policy.safetensors", policy.state_dict(), {"kind": "fusion"})
    tensors, state = checkpoint.load(tmp_path / "policy.safetensors")
    again = make_policy(state["kind"], table, learners=2, seed=77)
    again.load_state_dict(tensors)
    assert torch.equal(again.table(), policy.table())
    assert not any("rows" in name or "index" in name for name in tensors)


def test_nothing_touches_the_global_generator(tables):
    torch.manual_seed(4)
    before = torch.get_rng_state()
    make_policy("fusion", tables["credit/Gallery-v0"], learners=2).table()
    assert torch.equal(torch.get_rng_state(), before)


# -- without the picture -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def charts():
    table = make_table("credit/Charts-v0")
    policy = roughened(make_policy("fusion", table, seed=2))
    return table, policy, sampled(table, policy, 8, 4)


def picture_reader(policy):
    return next(reader for reader in policy.encoder.readers if reader.kind == "planes")


def test_the_blind_pass_does_not_depend_on_the_picture(charts):
    _, policy, batch = charts
    blind, seeing = policy.blind_log_prob(batch).detach(), policy.log_prob(batch).detach()
    assert float((blind - seeing).abs().max()) > 0.01
    rows = picture_reader(policy).rows
    kept = rows.clone()
    try:
        rows.copy_(rows.roll(3, 0))
        assert torch.equal(policy.blind_log_prob(batch), blind)
        assert not torch.allclose(policy.log_prob(batch), seeing)
    finally:
        rows.copy_(kept)
    assert not blind[~batch.mask].any()


def test_the_blind_pass_reads_the_words(charts):
    table, policy, batch = charts
    blind = policy.blind_log_prob(batch).detach()
    look = torch.tensor(table.labels["blind"])[batch.obs]
    for value in look[batch.mask].unique()[:20]:
        for action in batch.action[batch.mask & (look == value)].unique():
            same = blind[batch.mask & (look == value) & (batch.action == action)]
            torch.testing.assert_close(same, same[:1].expand_as(same), atol=1e-6, rtol=0)
    assert len(blind[batch.mask].unique()) > 20


def test_patches_lie_between_seeing_and_blank(charts):
    _, policy, batch = charts
    seeing, blank = policy.log_prob(batch), policy.blind_log_prob(batch)
    nothing = policy.blind_log_prob(batch, "patches", share=0.0)
    everything = policy.blind_log_prob(batch, "patches", share=1.0)
    torch.testing.assert_close(nothing, seeing, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(everything, blank, atol=1e-5, rtol=1e-5)
    half, again = policy.blind_log_prob(batch, "patches"), policy.blind_log_prob(batch, "patches")
    other = policy.blind_log_prob(batch, "patches", salt=1)
    assert torch.equal(half, again)
    assert not torch.equal(half, other)


@pytest.mark.parametrize("masking", ["patches", "noise"])
def test_one_draw_spoils_all_pictures_of_a_rollout(charts, masking):
    """Equal observations of one rollout look alike, those of two rollouts don't."""
    _, policy, batch = charts
    every = policy.blind(batch.replace(policy_row=batch.policy_row[:, :1].expand(batch.mask.shape)), masking).detach()
    spread = (every - every[:, :1]).abs().amax(dim=(1, 2))
    assert float(spread.max()) < 1e-6
    first = batch.policy_row[:, 0]
    same = [every[first == row, 0] for row in first.unique() if (first == row).sum() > 1]
    assert same
    assert all(float((rows - rows[:1]).abs().max()) > 1e-3 for rows in same)


def test_half_of_the_patches_are_black(charts):
    _, policy, _ = charts
    rows = torch.zeros(4000, dtype=torch.int64)
    shown = policy.encoder.pictures(rows)
    patched = policy._patched(rows, torch.arange(4000), 0.5, 0)
    there = (shown > 0).sum(0)
    kept = (patched > 0).sum(0)[there > 0] / there[there > 0]
    assert kept.sub(0.5).abs().max() < 4 * 0.5 / 4000**0.5
    assert torch.equal(patched[patched > 0], shown[patched > 0])


def test_noise_lies_between_seeing_and_nothing_left_to_see(charts):
    _, policy, batch = charts
    nothing = policy.blind_log_prob(batch, "noise", noise=0.0).detach()
    torch.testing.assert_close(nothing, policy.log_prob(batch), atol=1e-5, rtol=1e-5)
    some, again = policy.blind_log_prob(batch, "noise"), policy.blind_log_prob(batch, "noise")
    assert torch.equal(some, again)
    assert not torch.equal(some, policy.blind_log_prob(batch, "noise", salt=1))
    spoilt = [policy.blind_log_prob(batch, "noise", noise=n).detach() for n in (0.01, 0.1, 1)]
    missed = [float((log - nothing).abs().mean()) for log in spoilt]
    assert missed[0] < missed[1] < missed[2]


def test_noise_is_gaussian_and_cut_to_the_range(charts):
    """Of a cell that is 0, half stay there and Φ(−255/189) = 0.0886 come to 1; mean ∫ min(x, 1) φ."""
    _, policy, _ = charts
    rows = torch.zeros(4000, dtype=torch.int64)
    shown = policy.encoder.eye.cells(policy.encoder.pictures(rows))
    spoilt = policy._noisy(rows, torch.arange(4000), NOISE, 0)
    assert set(shown.unique().tolist()) == {0, 1}
    assert spoilt.shape == shown.shape
    dark = spoilt[shown == 0].double()
    n, d = len(dark), 189 / 255
    cut = math.erfc(1 / d / 2**0.5) / 2
    mean = d * (1 - math.exp(-1 / d**2 / 2)) / (2 * math.pi) ** 0.5 + cut
    for found, wanted in ((dark == 0, 0.5), (dark == 1, cut), (dark, mean)):
        assert abs(float(found.double().mean()) - wanted) < 4 * 0.5 / n**0.5
    # What is lit is the mirror image, and cells have luck of their own.
    assert abs(float((1 - spoilt[shown == 1].double()).mean()) - mean) < 4 * 0.5 / float((shown == 1).sum()) ** 0.5
    assert abs(float(torch.corrcoef(spoilt[:, 0, :2, 0].T.double())[0, 1])) < 4 / 4000**0.5


@pytest.mark.parametrize("masking", MASKINGS)
def test_all_probabilities_without_the_picture_hold_that_of_the_action(charts, masking):
    _, policy, batch = charts
    every = policy.blind(batch, masking)
    action = every.gather(2, batch.policy_action[..., None]).squeeze(2)[batch.mask]
    torch.testing.assert_close(action, policy.blind_log_prob(batch, masking)[batch.mask].exp())
    torch.testing.assert_close(every.sum(2), batch.mask.double())
    assert not every[~policy.allowed[batch.obs] & batch.mask[..., None]].any()


def test_spoilt_in_parts_of_any_size_is_spoilt_alike(charts, monkeypatch):
    _, policy, batch = charts
    whole = {kind: policy.blind_log_prob(batch, kind) for kind in ("patches", "noise")}
    monkeypatch.setattr(network, "_CELLS", 1 << 12)
    for kind, log in whole.items():
        torch.testing.assert_close(policy.blind_log_prob(batch, kind), log, atol=1e-5, rtol=1e-5)


def test_a_policy_that_never_looks_does_not_miss_the_picture():
    table = make_table("credit/Charts-v0")
    policy = roughened(make_policy("fusion", table))
    with torch.no_grad():
        policy.encoder.trunk[0].weight[:, : policy.encoder.readers[0].linear.weight.shape[-1]] = 0
    names = [reader.kind for reader in policy.encoder.readers]
    batch = sampled(table, policy)
    assert names[0] == "planes"
    torch.testing.assert_close(policy.blind_log_prob(batch), policy.log_prob(batch), atol=1e-6, rtol=1e-6)


# -- views and refusals --------------------------------------------------------------------------------------------------


def test_default_views():
    named = {env: make_policy("mlp", make_table(env), preferred="grid").encoder.view for env in ("credit/KeyRooms-v0",)}
    assert named == {"credit/KeyRooms-v0": "grid"}
    assert make_policy("mlp", make_table("credit/KeyRooms-v0?plan=2"), preferred="grid").encoder.view == "text"
    assert make_policy("mlp", make_table("credit/Chat-v0?spell=1"), preferred="text").encoder.view == "tokens"
    assert make_policy("mlp", make_table("credit/Taxi-v0")).encoder.view == "state"
    assert make_policy("mlp", make_table("credit/KeyRooms-v0"), view="state").encoder.view == "state"


def test_pictures_in_pixels_are_read_by_more_convolutions():
    policy = make_policy("cnn", make_table("credit/FrozenLake-v0"), view="rgb")
    assert len(policy.encoder.readers[0].convolutions) > 2
    assert float((policy.table().sum(1) - 1).abs().max()) < 1e-12


def test_a_planner_s_heads_share_only_the_trunk(tables):
    policy = roughened(make_policy("planner", tables["credit/KeyRooms-v0?plan=2"]))
    scores = policy.scores(torch.arange(5))
    own = len(policy.head.out[2].bias[0])
    scores[:, :own].sum().backward()
    assert policy.head.hidden[2].weight.grad.abs().max() > 0
    assert not policy.head.hidden[0].weight.grad.any()
    assert policy.encoder.trunk[0].weight.grad.abs().max() > 0
    assert scores.shape[1] == own + 2 + 2


def test_rows_of_learners_sorted_and_back():
    owner = torch.tensor([2, 0, 0, 2, 1, 2])
    x = torch.arange(12.0).view(6, 2)
    rows = Sorted(owner, 4)
    apart = rows.apart(x)
    assert apart.shape == (4, 3, 2)
    assert apart[2, :, 0].tolist() == [0, 6, 10]
    assert apart[3].abs().sum() == 0
    assert torch.equal(rows.together(apart), x)


def test_refusals(tables, monkeypatch):
    keyrooms, lookup = tables["credit/KeyRooms-v0"], tables["credit/Lookup-v0"]
    for arguments, message in (
        (("mpl", keyrooms), "unknown policy 'mpl'; did you mean 'mlp'"),
        (("fusion", lookup), "grid"),
        (("cnn", lookup), "unknown view 'grid'"),
        (("planner", keyrooms), "has no plan; ask for one"),
    ):
        with pytest.raises(CreditEnvsError, match=message):
            make_policy(*arguments)
    with pytest.raises(CreditEnvsError, match="no picture there"):
        make_policy("cnn", lookup, view="text")
    looking, reading = make_policy("fusion", tables["credit/Gallery-v0"]), make_policy("text", keyrooms)
    batches = sampled(tables["credit/Gallery-v0"], looking), sampled(keyrooms, reading)
    with pytest.raises(CreditEnvsError, match=r"masking='black': expected one of blank, patches, noise"):
        looking.blind_log_prob(batches[0], "black")
    with pytest.raises(CreditEnvsError, match=r"noise=-1: expected a number in \[0, 100\]"):
        looking.blind_log_prob(batches[0], "noise", noise=-1)
    with pytest.raises(CreditEnvsError, match="there is no picture in it"):
        reading.blind_log_prob(batches[1])
    with pytest.raises(CreditEnvsError, match=r"width=0: expected an integer in \[1"):
        KINDS["mlp"](keyrooms, width=0)
    monkeypatch.setattr(features, "MAX_CELLS", 1000)
    with pytest.raises(CreditEnvsError, match="more than 1000; choose a smaller view"):
        make_policy("mlp", keyrooms)


def test_a_policy_that_has_learnt_to_look_is_found_out():
    """Taught optimal play, its own blind pass misses the picture on the visual tokens and hardly on the others."""
    table = make_table("credit/Charts-v0", values=2)
    best = oracle.optimal(table)
    action = torch.from_numpy(table.edge_action[np.maximum(best.greedy(0), 0)].astype(np.int64))
    visits = oracle.occupancy(table, oracle.Policy("state", np.eye(table.n_actions)[action.numpy()]))[:-1].sum(0)
    seen = torch.from_numpy(np.flatnonzero((visits > 0) & (table.n_admissible > 0)))
    policy = make_policy("fusion", table)
    optimizer = torch.optim.Adam(policy.parameters(), lr=0.005)
    for _ in range(200):
        loss = -policy.log_probs(seen)[torch.arange(len(seen)), action[seen]].mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    batch = sampled(table, policy, 20, 8)
    assert float(batch.returns.mean()) > 0.95
    with torch.no_grad():
        missed = (batch.log_prob - policy.blind_log_prob(batch))[batch.mask]
    visual = torch.tensor(table.labels["visual"] > 0)[batch.obs[batch.mask]]
    assert float(missed[visual].mean()) > 10 * abs(float(missed[~visual].mean()))
