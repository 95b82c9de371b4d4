"""ORM, step verifier, PRM baseline, best of N and the self-labelling loop against exact values and enumeration."""

import functools
import itertools

import numpy as np
import pytest
import torch
from batches import batches, make_batch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_trees import make_tree
from strategies import make_random_table, random_policy

from credit_envs.credit.grpo import grpo
from credit_envs.credit.prm_baseline import fit_returns, prm_advantage, prm_baseline
from credit_envs.errors import CreditEnvsError
from credit_envs.evaluation.providers import Provided
from credit_envs.evaluation.replicate import Subject
from credit_envs.oracle import Policy, as_policy, evaluate, expected_return, uniform
from credit_envs.piece import PRIVILEGED
from credit_envs.recipes import compose, piece
from credit_envs.recipes.catalogue import DEFAULTS
from credit_envs.rewards.agent_prm import fit
from credit_envs.rewards.best_of_n import best_of_n
from credit_envs.rewards.bootstrap import bootstrap
from credit_envs.rewards.outcome import fit_outcome, outcome_model
from credit_envs.rewards.verifier import verifier
from credit_envs.sampling import Sampler
from credit_envs.sampling.tabular import IDENTITIES, expected, keys

few = settings(max_examples=60, deadline=None)
close = functools.partial(torch.allclose, rtol=1e-9, atol=1e-10)
DEPTH = np.searchsorted([1, 4, 13], np.arange(13), side="right")


def tree_scene(seed=0, groups=20, size=8, policy=None, certain=False):
    table = make_tree(seed, certain=certain)
    policy = random_policy(table, seed) if policy is None else policy
    sampler = Sampler(table, policy, seed)
    sample = sampler.groups(groups, size)
    return table, sampler, sample, Provided(sampler, sample, evaluate(table, policy))


# -- outcome reward model ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("identity", IDENTITIES)
def test_a_fixed_outcome_is_paid_back(identity):
    """Where the last step fixes the outcome and was seen, everything after the model is what it was."""
    _, sampler, sample, _ = tree_scene(certain=True)
    batch = sample.trajectories
    many = sampler.groups(400, 8).trajectories
    paid = outcome_model(batch, fresh=lambda _: many, identity=identity)
    assert close(paid.returns, batch.returns)
    assert torch.all(paid.reward[:, :-1] == 0)
    assert torch.allclose(grpo(paid), grpo(batch), atol=1e-6)


@few
@given(batches(), batches(), st.sampled_from(IDENTITIES))
def test_predicted_outcomes_by_a_naive_loop(batch, other, identity):
    paid = outcome_model(batch, fresh=lambda _: other, identity=identity)
    cells, rows, everything = {}, {}, other.returns.tolist()
    for b, store in ((other, True), (batch, False)):
        for i in range(b.n_rollouts):
            t = int(b.lengths[i]) - 1
            key, action = int(keys(b, identity)[i, t]), int(b.policy_action[i, t])
            if store:
                cells.setdefault((key, action), []).append(float(b.returns[i]))
                rows.setdefault(key, []).append(float(b.returns[i]))
            else:
                said = np.mean(cells.get((key, action)) or rows.get(key) or everything)
                assert float(paid.reward[i, t]) == pytest.approx(said)
                assert float(paid.returns[i]) == pytest.approx(said)


def test_outcome_model_learns_the_chance_of_success():
    table, sampler, _, provided = tree_scene(3)
    many = sampler.groups(500, 40).trajectories
    model = fit_outcome(many, "anchor")
    sample = provided.sample
    batch, truth = sample.trajectories, sample.truth
    q = provided.exact.q_at(np.full(batch.n_rollouts, 2), truth.edge[:, 2].numpy())
    got = model.at(keys(batch, "anchor")[:, 2], batch.policy_action[:, 2]).numpy()
    place = torch.searchsorted(model.key, keys(batch, "anchor")[:, 2].contiguous())
    count = model.count[place, batch.policy_action[:, 2]].numpy()
    z = (got - q) / np.sqrt(q * (1 - q) / count)
    assert np.abs(z).max() < 4.5
    assert table.horizon == 3


# -- step verifier --------------------------------------------------------------------------------------------------------


def noise(seed):
    return lambda salt, *shape: torch.rand(
        shape, generator=torch.Generator().manual_seed(1000 * seed + salt), dtype=torch.float64
    )


@pytest.mark.parametrize("identity", IDENTITIES)
def test_all_labels_and_no_errors_give_the_sign(identity):
    """On a tree every key is one state and step."""
    _, _, sample, provided = tree_scene()
    batch, advantage = sample.trajectories, provided["advantage"]
    got = verifier(batch, advantage=advantage, noise=noise(0), labels=10**6, flip=0, identity=identity)
    assert torch.equal(got.step_reward, advantage.sign())
    wrong = verifier(batch, advantage=advantage, noise=noise(0), labels=10**6, flip=1, identity=identity)
    assert torch.equal(wrong.step_reward, -advantage.sign())
    assert torch.equal(got.reward, batch.reward)


def test_labels_of_errors_have_the_mean_that_was_asked():
    """A pair judged n times by a judge who errs with chance p is scored (1 − 2p) sign A on average; z over 200 judges."""
    _, _, sample, provided = tree_scene()
    batch, advantage = sample.trajectories, provided["advantage"]
    for flip in (0.1, 0.5):
        scores = torch.stack(
            [
                (verifier(batch, advantage=advantage, noise=noise(s), flip=flip).step_reward * advantage.sign())[:, 0]
                for s in range(200)
            ]
        ).mean(dim=1)
        error = float(scores.mean()) - (1 - 2 * flip)
        assert abs(error) < 4 * float(scores.std()) / np.sqrt(200)


def test_few_labels_say_something_about_few_steps():
    _, _, sample, provided = tree_scene()
    batch, advantage = sample.trajectories, provided["advantage"]
    one = verifier(batch, advantage=advantage, noise=noise(0), labels=1, flip=0).step_reward
    assert len(torch.unique(one[batch.mask])) == 1  # the only label there is stands for everything
    share = []
    for labels in (10, 100, 480):
        got = verifier(batch, advantage=advantage, noise=noise(0), labels=labels, flip=0).step_reward
        share.append(float((got.sign() == advantage.sign())[batch.mask].double().mean()))
    assert share[0] < share[1] < share[2] == 1


def test_a_step_that_changes_nothing_is_neutral():
    batch = make_batch([[0.0], [1.0]], anchors=[[0], [1]])
    advantage = torch.tensor([[1e-16], [0.5]], dtype=torch.float64)
    got = verifier(batch, advantage=advantage, noise=noise(0), labels=2, flip=1).step_reward
    assert got.flatten().tolist() == [0, -1]


def test_the_verifier_is_declared_privileged():
    assert set(piece("verifier").needs) & PRIVILEGED == {"advantage"}
    for options in ({"labels": 0}, {"flip": 1.5}):
        with pytest.raises(CreditEnvsError, match=next(iter(options))):
            verifier(make_batch([[1.0]]), advantage=torch.zeros(1, 1), noise=noise(0), **options)


# -- PRM as VinePPO's baseline ---------------------------------------------------------------------------------------------


@few
@given(batches(), batches(), st.sampled_from(IDENTITIES))
def test_credit_sums_to_the_return_less_the_first_value(batch, other, identity):
    got = prm_baseline(batch, fresh=lambda _: other, identity=identity)
    first = expected(fit_returns(other, 1.0, identity), batch, keys(batch, identity))[:, 0]
    assert close(got.sum(dim=1), batch.returns - first)
    assert torch.all(got[~batch.mask] == 0)


@few
@given(batches(), st.sampled_from(IDENTITIES), st.sampled_from([1.0, 0.9]))
def test_values_and_credit_by_a_naive_loop(batch, identity, gamma):
    model, key = fit_returns(batch, gamma, identity), keys(batch, identity)
    got = prm_baseline(batch, fresh=lambda _: batch, identity=identity, gamma=gamma)
    own = prm_advantage(batch, fresh=lambda _: batch, identity=identity, gamma=gamma)

    def value(i, t):
        if t >= int(batch.lengths[i]):
            return 0.0
        chance = batch.policy_table[batch.policy_row[i, t]]
        return sum(float(chance[a] * model.at(key[i, t], torch.tensor(a))) for a in range(3))

    for i, t in torch.nonzero(batch.mask).tolist():
        expect = float(batch.reward[i, t]) + gamma * value(i, t + 1) - value(i, t)
        assert float(got[i, t]) == pytest.approx(expect, abs=1e-10)
        taken = float(model.at(key[i, t], batch.policy_action[i, t]))
        assert float(own[i, t]) == pytest.approx(taken - value(i, t), abs=1e-10)


@pytest.mark.parametrize("identity", IDENTITIES)
def test_many_rollouts_give_the_advantage(identity):
    """prm_advantage becomes A^π, prm_baseline A^π plus the luck of what was paid, which a step's last action alone has."""
    _, sampler, sample, provided = tree_scene(5)
    batch, advantage = sample.trajectories, provided["advantage"]
    many = sampler.groups(4000, 20).trajectories
    own = prm_advantage(batch, fresh=lambda _: many, identity=identity)
    step = prm_baseline(batch, fresh=lambda _: many, identity=identity)
    assert float((own - advantage).abs().max()) < 0.05
    assert float((step - advantage)[:, :2].abs().max()) < 0.05
    value = expected(fit_returns(many, 1.0, identity), batch, keys(batch, identity))
    assert close(step[:, 2], batch.reward[:, 2] - value[:, 2])


def test_mean_credit_is_the_advantage():
    """Over 250 independent fits, at both steps before the last: unbiased where every key is seen."""
    table = make_tree(2, depth=2)
    policy = random_policy(table, 3) * 0.7 + 0.1
    exact = evaluate(table, policy)
    first, own = [], []
    for seed in range(250):
        sampler = Sampler(table, policy, seed)
        sample, fresh = sampler.groups(1, 30), sampler.groups(1, 150).trajectories
        batch = sample.trajectories
        for found, estimate in ((first, prm_baseline), (own, prm_advantage)):
            credit = estimate(batch, fresh=lambda _, fresh=fresh: fresh)[:, 0]
            found.append([credit[batch.action[:, 0] == a].mean() for a in range(3)])
    a = exact.q(0, 0) - exact.V[0, 0]
    for found in (first, own):
        seen = np.array(found, dtype=float)
        for k in range(3):
            x = seen[:, k][~np.isnan(seen[:, k])]
            assert len(x) > 200
            assert abs(x.mean() - a[k]) < 4 * x.std() / np.sqrt(len(x))


def test_targets_are_those_of_agent_prm():
    """With the reward at the end and γ = 1."""
    _, _, sample, _ = tree_scene(1)
    for identity in IDENTITIES:
        ours, theirs = fit_returns(sample.trajectories, 1.0, identity), fit(sample.trajectories, 1.0, identity)
        assert close(ours.value, theirs.value)
    with pytest.raises(CreditEnvsError, match="gamma=2"):
        fit_returns(sample.trajectories, 2)


# -- best of N -------------------------------------------------------------------------------------------------------------


def enumerated(chance, score, n, ties):
    """The law of the winner by all A^N ways to draw."""
    out = np.zeros(len(chance))
    for picks in itertools.product(np.flatnonzero(chance).tolist(), repeat=n):
        best = max(score[a] for a in picks)
        tied = [a for a in picks if score[a] == best]
        out[tied[0] if ties == "split" else min(tied)] += np.prod(chance[list(picks)])
    return out


@few
@given(st.integers(0, 10_000), st.integers(1, 5), st.sampled_from(["split", "lowest"]))
def test_law_of_the_winner_by_enumeration(seed, n, ties):
    rng = np.random.default_rng(seed)
    chance = rng.dirichlet(np.ones(4), size=3)
    chance[0] = [0.5, 0, 0.5, 0]
    score = rng.integers(0, 3, (3, 4)).astype(float)
    score[0, 1] = np.nan  # never drawn, never read
    got = best_of_n(Policy("state", chance), score, n, ties)
    for row in range(3):
        assert got.probability[row] == pytest.approx(enumerated(chance[row], score[row], n, ties), abs=1e-12)


@few
@given(st.integers(0, 10_000), st.sampled_from(["split", "lowest"]))
def test_one_draw_and_endless_draws(seed, ties):
    rng = np.random.default_rng(seed)
    chance, score = rng.dirichlet(np.ones(5), size=4), rng.integers(0, 3, (4, 5)).astype(float)
    chance[:, 0] = 0
    chance /= chance.sum(axis=1, keepdims=True)
    policy = Policy("look", chance)
    assert best_of_n(policy, score, 1, ties).probability == pytest.approx(chance, abs=1e-12)
    top = np.where(chance > 0, score, -np.inf)
    winners = (top == top.max(axis=1, keepdims=True)) * (chance if ties == "split" else 1)
    if ties == "lowest":
        winners = np.eye(5)[np.argmax(winners, axis=1)]
    limit = winners / winners.sum(axis=1, keepdims=True)
    assert best_of_n(policy, score, 1 << 40, ties).probability == pytest.approx(limit, abs=1e-6)


def test_more_draws_earn_more_with_the_exact_score():
    table = make_random_table(8, n_states=20, horizon=4, layered=True)
    policy = random_policy(table, 1)
    values = evaluate(table, policy)
    # In a layered table a state has one step, the first one at which its value can be nonzero in play.
    level = np.argmax(np.stack([values.V[t] != values.V[t + 1] for t in range(table.horizon)])[::-1], axis=0)
    step = table.horizon - 1 - level
    score = np.full((table.n_states, table.n_actions), np.nan)
    for s in range(table.n_states):
        score[s] = values.q(int(step[s]), s)
    score = np.where(table.mask, score, np.nan)
    returns = [expected_return(table, best_of_n(Policy("state", policy), score, n)) for n in (1, 2, 4, 16, 256)]
    assert returns[0] == pytest.approx(values.J)
    assert returns == sorted(returns)
    assert returns[-1] > returns[0] + 0.05


def test_a_fitted_model_helps_at_inference():
    table, sampler, sample, _ = tree_scene(2, 100, 16)
    policy = sampler.policy.policy
    model = fit(sample.trajectories, 1.0, "row")
    score = model.rows(torch.arange(table.n_states)).numpy()
    assert expected_return(table, best_of_n(policy, score, 8)) > expected_return(table, policy) + 0.1


@pytest.mark.parametrize(
    ("score", "n", "ties", "message"),
    [
        (np.zeros((2, 3)), 0, "split", "n=0"),
        (np.zeros((2, 3)), 2, "first", "ties='first': expected one of split, lowest"),
        (np.zeros((3, 2)), 2, "split", r"score: expected shape \(2, 3\), got \(3, 2\)"),
        (np.full((2, 3), np.nan), 2, "split", "score: row 0 holds NaN"),
    ],
)
def test_best_of_n_out_of_range(score, n, ties, message):
    with pytest.raises(CreditEnvsError, match=message):
        best_of_n(Policy("state", np.full((2, 3), 1 / 3)), score, n, ties)


# -- the self-labelling loop -----------------------------------------------------------------------------------------------


def test_one_round_of_many_rollouts_is_the_exact_update():
    table = make_tree(3)
    policy, beta = np.full((13, 3), 1 / 3), 0.3
    exact = evaluate(table, policy)
    q = np.stack([exact.q(int(DEPTH[s]), s) for s in range(13)])
    weight = policy * np.exp(q / beta)
    found = bootstrap(table, policy, 1, groups=20_000, group_size=10, beta=beta)
    assert found.policies[1].probability == pytest.approx(weight / weight.sum(axis=1, keepdims=True), abs=0.02)
    assert found.J[0] == pytest.approx(expected_return(table, policy))
    assert found.J[1] == pytest.approx(expected_return(table, found.policies[1]))
    assert found.meters[0].env_steps == 20_000 * 10 * 3


def test_rounds_climb():
    table = make_tree(3)
    found = bootstrap(table, uniform(table), 6, groups=100, beta=0.2)
    assert np.all(np.diff(found.J) > 0)
    assert found.J[-1] > found.J[0] + 0.2
    again = bootstrap(table, uniform(table), 6, groups=100, beta=0.2)
    assert np.array_equal(found.J, again.J)
    other = bootstrap(table, uniform(table), 6, groups=100, beta=0.2, seed=1)
    assert not np.array_equal(found.J, other.J)


def test_endless_beta_changes_nothing():
    table = make_tree(1)
    found = bootstrap(table, random_policy(table, 1), 3, beta=1e12)
    for each in found.policies[1:]:
        assert each.probability == pytest.approx(found.policies[0].probability, abs=1e-10)
    assert bootstrap(table, uniform(table), 0).J.tolist() == [expected_return(table, uniform(table))]


def test_own_labels_repeat_the_first_verdict():
    """On a bandit the model's own verdicts are its labels: it never changes, and the policy goes where it points."""
    table = make_tree(6, depth=1)
    found = bootstrap(table, uniform(table), 5, groups=40, group_size=8, beta=5.0, outcome_rounds=1)
    ratio = [np.log(p.probability[0]) - np.log(1 / 3) for p in found.policies]
    step = ratio[1] - ratio[1][0]
    for i in range(2, 6):
        assert ratio[i] - ratio[i][0] == pytest.approx(i * step, abs=1e-9)


def test_own_labels_cannot_correct_a_mistake():
    """Averaged over 30 seeds, two rounds with outcomes beat one with and one with the model's own verdicts."""
    table = make_tree(3)
    seen, own = (
        np.array([bootstrap(table, uniform(table), 6, 4, 8, 0.1, outcome_rounds=n, seed=s).J[-1] for s in range(30)])
        for n in (6, 1)
    )
    gap = seen - own
    assert gap.mean() > 4 * gap.std() / np.sqrt(30)


def test_rows_never_visited_keep_their_policy():
    table = make_tree(1)
    found = bootstrap(table, uniform(table), 1, groups=1, group_size=1, beta=0.1)
    changed = np.abs(found.policies[1].probability - 1 / 3).max(axis=1) > 1e-9
    assert changed.sum() == 0  # a single return per row: all actions tie


@pytest.mark.parametrize("options", [{"rounds": -1}, {"beta": 0}, {"gamma": 2}, {"outcome_rounds": 0}])
def test_loop_options_out_of_range(options):
    table = make_tree(0, depth=1)
    with pytest.raises(CreditEnvsError, match=next(iter(options))):
        bootstrap(table, uniform(table), **options)


# -- whole recipes -----------------------------------------------------------------------------------------------------------

RECIPES = (
    *("istar", "istar_rloo", "implicit+istar", "implicit_soft+istar_rloo", "verifier+istar", "agent_prm_q+istar"),
    *("agent_prm_q_anchor+istar", "agent_prm_q_shaped+istar", "inverse_prm_q+istar", "inverse_prm_dense+rloo"),
    *("outcome_model+rloo", "outcome_model_anchor+rloo", "prm_baseline", "prm_baseline_anchor", "prm_advantage"),
    *("prm_advantage_anchor", "agent_prm_pairs+dpo", "agent_prm_pairs_anchor+dpo", "inverse_prm_pairs+dpo"),
)


@functools.cache
def subject():
    table = make_tree(3)
    return Subject(table, as_policy(table, random_policy(table, 0) * 0.7 + 0.1))


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_climb_on_a_tree(name):
    """All of them point uphill here, where reward comes at the end and every look is one state."""
    found = compose(name, [piece(part) for part in name.split("+")], DEFAULTS)
    (record,) = subject().replicate({name: found}, 0, 100, 8, 10**6)
    assert record["projection"] > 0
    assert np.isfinite([record["variance"], record["mean_square"], record["ca"]]).all()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA card")
@pytest.mark.parametrize("name", RECIPES)
def test_cuda_gives_the_same_scores(name):
    table, policy = subject().table, subject().policy
    found = compose(name, [piece(part) for part in name.split("+")], DEFAULTS)
    (there,) = Subject(table, policy, device="cuda").replicate({name: found}, 0, 20, 8, 10**6)
    (here,) = subject().replicate({name: found}, 0, 20, 8, 10**6)
    assert there["projection"] == pytest.approx(here["projection"], rel=1e-6)
