"""Token weightings: where they look, what they leave alone, and what a policy without the image has to do with it."""

import functools
import math

import numpy as np
import pytest
import torch
from batches import batches, make_batch, rows_of
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import make_random_table

from credit_envs.credit.grpo import dr_grpo, grpo
from credit_envs.dials.perception import cue
from credit_envs.errors import CreditEnvsError
from credit_envs.evaluation.providers import Provided
from credit_envs.losses.ppo import ppo
from credit_envs.losses.surrogate import aggregate
from credit_envs.oracle import Policy, evaluate
from credit_envs.oracle.masked import image_free
from credit_envs.sampling import Sampler
from credit_envs.sampling.divergence import entropy
from credit_envs.sampling.statistics import compact
from credit_envs.sampling.trajectories import stack
from credit_envs.weights import WEIGHTS
from credit_envs.weights.at_rl import at_rl, connectivity
from credit_envs.weights.chance import random_mask
from credit_envs.weights.high_entropy import high_entropy
from credit_envs.weights.selection import row_mean, top
from credit_envs.weights.vppo import (
    MEASURES,
    exact_dependence,
    sampled_dependence,
    vppo,
    vppo_as_told,
    vppo_mask,
    vppo_shaping,
)

few = settings(max_examples=40, deadline=None)
close = functools.partial(torch.allclose, rtol=1e-9, atol=1e-10)


def luck(seed):
    """Noise of a fixed seed: equal salts, equal draws."""

    def noise(salt, *shape):
        return torch.from_numpy(np.random.default_rng([seed, salt]).random(shape))

    return noise


def blind_of(batch, seed, far=1.0):
    rng = torch.Generator().manual_seed(seed)
    return batch.log_prob + far * torch.randn(batch.mask.shape, generator=rng, dtype=torch.float64)


def cued(seed=0, hidden=0.5):
    """(table whose cue hides from the text half the time, a policy that reads it, its sampler)."""
    table = cue(make_random_table(seed, n_states=8, n_actions=3, horizon=5), hidden, 0.6)
    rng = np.random.default_rng(seed)
    mask = np.zeros((table.emission.n_base, table.n_actions), dtype=bool)
    mask[table.emission.base[table.edge_state], table.edge_action] = True
    weight = 0.3 + rng.exponential(size=(table.n_obs, table.n_actions))
    weight = weight * mask.repeat(table.emission.n_codes, axis=0)
    policy = Policy("obs", weight / weight.sum(axis=1, keepdims=True).clip(1e-300))
    return table, policy, Sampler(table, policy, seed)


# -- selection -------------------------------------------------------------------------------------------------------


@few
@given(batches(), st.integers(0, 1000), st.sampled_from([0.0, 0.07, 0.2, 0.4, 0.5, 1.0]))
def test_top_of_each_rollout(batch, seed, share):
    score = blind_of(batch, seed)
    chosen = top(score, batch.mask, share)
    assert not bool((chosen & ~batch.mask).any())
    for i in range(batch.n_rollouts):
        taken = score[i][batch.mask[i]]
        kept = chosen[i][batch.mask[i]]
        assert int(kept.sum()) == math.ceil(round(share * len(taken), 9))
        if 0 < kept.sum() < len(taken):
            assert taken[kept].min() > taken[~kept].max()


@few
@given(batches(), st.integers(0, 1000), st.sampled_from([0.1, 0.5]))
def test_top_of_the_batch(batch, seed, share):
    score = blind_of(batch, seed)
    chosen = top(score, batch.mask, share, "batch")
    taken, kept = score[batch.mask], chosen[batch.mask]
    assert int(kept.sum()) == math.ceil(round(share * len(taken), 9))
    assert bool(kept.all()) or taken[kept].min() > taken[~kept].max()


@few
@given(batches(), st.integers(0, 1000), st.sampled_from([0.0, 0.15, 0.5, 1.0]), st.booleans())
def test_the_batch_is_one_long_row(batch, seed, share, ties):
    """Selection in one pass agrees with sorting, equal scores included."""
    score = torch.from_numpy(np.random.default_rng(seed).integers(0, 3, batch.mask.shape).astype(float))
    row = top(score[batch.mask][None], torch.ones_like(batch.mask)[batch.mask][None], share, ties=ties)
    assert torch.equal(top(score, batch.mask, share, "batch", ties=ties)[batch.mask], row[0])


def test_shares_are_not_rounded_up_by_binary_noise():
    batch = make_batch([[0.0] * 100])
    score = torch.arange(100, dtype=torch.float64)[None]
    for percent in range(101):
        assert int(top(score, batch.mask, percent / 100).sum()) == percent


def test_ties():
    mask = torch.ones(1, 5, dtype=torch.bool)
    score = torch.tensor([[1.0, 2.0, 1.0, 1.0, 0.0]], dtype=torch.float64)
    assert top(score, mask, 0.4).tolist() == [[True, True, False, False, False]]
    assert top(score, mask, 0.4, ties=True).tolist() == [[True, True, True, True, False]]
    assert not bool(top(score, mask, 0.0, ties=True).any())
    assert top(score[:, :0], mask[:, :0], 0.4, "batch").shape == (1, 0)


# -- VPPO ------------------------------------------------------------------------------------------------------------


@few
@given(batches(), st.integers(0, 1000))
def test_vppo_keeps_everything_at_k_one_and_beta_one(batch, seed):
    blind = blind_of(batch, seed)
    assert torch.all(vppo(batch, 1.0, 1.0, blind_log_prob=blind)[batch.mask] == 1)


@few
@given(batches(), st.integers(0, 1000), st.sampled_from([0.0, 0.5, 0.9]))
def test_shaping_has_mean_one_and_a_floor(batch, seed, low):
    blind = blind_of(batch, seed)
    alpha = vppo_shaping(batch, low, blind_log_prob=blind)
    assert torch.all(alpha == alpha[:, :1])
    assert float(alpha[:, 0].mean()) == pytest.approx(1, abs=1e-6)
    mean = row_mean(sampled_dependence(batch, blind), batch.mask)
    if float(mean.max() - mean.min()) > 1e-6:
        n = (mean - mean.min()) / (mean.max() - mean.min())
        assert close(alpha[:, 0], low + n * (1 - low) / (n.mean() + 1e-8))
        assert float(alpha.min()) == pytest.approx(low)
    if low == 0:
        assert float(alpha.min()) >= 0


@few
@given(batches(), st.integers(0, 100))
def test_an_image_that_says_nothing(batch, seed):
    """Equal policies: S ≡ 0, α ≡ 1, and the mask still keeps ⌈k n⌉ steps of each rollout."""
    same = batch.log_prob
    assert torch.all(sampled_dependence(batch, same) == 0)
    assert torch.all(vppo_shaping(batch, blind_log_prob=same) == 1)
    kept = vppo_mask(batch, blind_log_prob=same).sum(1)
    assert kept.tolist() == [math.ceil(0.4 * n) for n in batch.lengths.tolist()]
    assert torch.all(vppo_as_told(batch, blind_log_prob=same) == 0)
    alone = rows_of(batch, torch.tensor([0]))
    assert torch.all(vppo_shaping(alone, blind_log_prob=blind_of(alone, seed)) == 1)
    still = vppo_shaping(batch, dependence=torch.full_like(same, 0.3), blind_log_prob=same)
    assert torch.all(still == 1)  # all rollouts depend alike


@few
@given(batches(), st.integers(0, 1000))
def test_a_small_share_keeps_one_step(batch, seed):
    blind = blind_of(batch, seed)
    kept = vppo_mask(batch, 1e-6, blind_log_prob=blind)
    assert kept.sum(1).tolist() == [1.0] * batch.n_rollouts
    score = torch.where(batch.mask, sampled_dependence(batch, blind), -1.0)
    assert torch.equal(kept.argmax(1), score.argmax(1))


@few
@given(batches(), st.integers(0, 1000))
def test_the_denominator(batch, seed):
    """Credit times mask: a mean over steps counts all of them; as told it counts those of the mask."""
    blind, credit = blind_of(batch, seed), dr_grpo(batch)
    kept = vppo_mask(batch, 0.2, blind_log_prob=blind)
    told = vppo_as_told(batch, raw=False, blind_log_prob=blind)
    own = ppo(batch.log_prob, batch, kept * credit)
    assert close(own, -(kept * credit)[batch.mask].sum() / batch.mask.sum())
    assert close(ppo(batch.log_prob, batch, told * credit), aggregate(-credit, kept))
    raw = vppo_as_told(batch, masked_mean=False, blind_log_prob=blind)
    mean = row_mean(sampled_dependence(batch, blind), batch.mask)
    assert close(raw, kept * mean[:, None])
    assert close(vppo_as_told(batch, blind_log_prob=blind), told * mean[:, None])


@few
@given(batches(), st.integers(0, 1000))
def test_signs_are_never_changed(batch, seed):
    blind = blind_of(batch, seed)
    for weight in (vppo, vppo_mask, vppo_shaping, vppo_as_told):
        assert bool((weight(batch, blind_log_prob=blind) >= 0).all())


def test_vppo_by_hand():
    batch = make_batch([[0.0] * 5, [0.0] * 2])
    score = torch.tensor([[0.1, 0.5, 0.0, 0.3, 0.1], [1.0, 0.0, 9.0, 9.0, 9.0]], dtype=torch.float64)  # 9: masked
    got = vppo(batch, dependence=score, blind_log_prob=batch.log_prob)
    # Means 0.2 and 0.5: n = (0, 1), β_max = 0.9 + 0.1/0.5 = 1.1.
    expected = [[0, 0.9, 0, 0.9, 0], [1.1, 0, 0, 0, 0]]
    assert torch.allclose(got, torch.tensor(expected, dtype=torch.float64), atol=1e-7)


def test_dependence_is_bounded():
    batch = make_batch([[0.0, 0.0]])
    blind = torch.tensor([[-900.0, 5.0]], dtype=torch.float64)
    assert sampled_dependence(batch, blind).tolist() == [[10.0, 10.0]]


# -- on tables whose image says more than the text -------------------------------------------------------------------


def provided(table, policy, sampler, n=200):
    return Provided(sampler, sampler.groups(n, 2), evaluate(table, policy))


def blind_rows(table, policy, sample):
    """Probabilities with the image masked, one row per step, in the columns of the policy (names of actions)."""
    masked = image_free(table, policy)
    rows = masked.rows(sample.truth.state.numpy(), sample.truth.code.numpy())
    return torch.from_numpy(masked.probability[rows])


@pytest.mark.parametrize("seed", [0, 1])
def test_sampled_dependence_is_unbiased_for_the_exact_one(seed):
    table, policy, sampler = cued(seed)
    scene = provided(table, policy, sampler, 3000)
    batch = scene.sample.trajectories
    exact = exact_dependence(batch, blind_rows(table, policy, scene.sample))
    sampled = sampled_dependence(batch, scene["blind_log_prob"])
    assert float(sampled.max()) < 10  # the ceiling is out of reach, so nothing bends the mean
    gap = (sampled - exact)[batch.mask]
    z = float(gap.mean()) / (float(gap.std()) / math.sqrt(len(gap)))
    assert abs(z) < 4
    assert float(exact[batch.mask].max()) > 0.05


def test_measures_of_dependence_by_hand():
    p, q = torch.tensor([[0.9, 0.1, 0.0]]).double(), torch.tensor([[0.5, 0.25, 0.25]]).double()
    by_hand = {
        "kl": 0.9 * math.log(0.9 / 0.5) + 0.1 * math.log(0.1 / 0.25),
        "reverse_kl": math.inf,  # a third action, which p never takes
        "total_variation": 0.4,
        "jensen_shannon": 0.5
        * (
            0.9 * math.log(0.9 / 0.7)
            + 0.1 * math.log(0.1 / 0.175)
            + 0.5 * math.log(0.5 / 0.7)
            + 0.25 * math.log(0.25 / 0.175)
            + 0.25 * math.log(2)
        ),
    }
    assert set(by_hand) == set(MEASURES)
    for name, wanted in by_hand.items():
        assert float(MEASURES[name](p, q)) == pytest.approx(wanted), name
        assert float(MEASURES[name](p, p)) == pytest.approx(0, abs=1e-15), name
    apart = torch.eye(2).double()
    assert float(MEASURES["jensen_shannon"](apart[0], apart[1])) == pytest.approx(math.log(2))
    assert float(MEASURES["total_variation"](apart[0], apart[1])) == 1


def test_exact_dependence_by_every_measure():
    """Zero where the image changes nothing; total variation² ≤ KL/2, whichever way round."""
    table, policy, sampler = cued(1)
    sample = sampler.groups(200, 2)
    batch, blind = sample.trajectories, blind_rows(table, policy, sample)
    found = {name: exact_dependence(batch, blind, name) for name in MEASURES}
    for score in found.values():
        assert torch.all(score >= 0)
        assert torch.all(score[~batch.mask] == 0)
    for name in ("kl", "reverse_kl"):
        assert torch.all(found["total_variation"] ** 2 <= found[name] / 2 + 1e-12)
        assert float(found[name].max()) > 0.01
    assert torch.equal(found["kl"], exact_dependence(batch, blind))
    with pytest.raises(CreditEnvsError, match="unknown measure 'js'"):
        exact_dependence(batch, blind, "js")


def test_exact_dependence_finds_the_steps_that_need_the_image():
    """A policy that follows the cue: steps whose text names the shift depend on nothing else."""
    table, policy, sampler = cued(3)
    sample = sampler.groups(100, 2)
    batch = sample.trajectories
    exact = exact_dependence(batch, blind_rows(table, policy, sample))
    masked = image_free(table, policy)
    members = np.bincount(masked.code, minlength=masked.code.size)[masked.code]
    alone = torch.from_numpy(members == 1)[sample.truth.code] & batch.mask
    assert bool(alone.any())
    assert float(exact[alone].max()) < 1e-12
    assert float(exact[batch.mask & ~alone].mean()) > 0.01


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_trees_agree_on_shared_steps(seed):
    """Tree-GRPO + VPPO: equal nodes have equal S and equal connectivity; masks may differ from row to row."""
    table, policy, sampler = cued(seed)
    sample = sampler.groups(100, 2)
    batch = sample.trajectories
    long = torch.nonzero(batch.lengths >= 3).squeeze(1)
    whole = stack([sample, sampler.branches(sample, long, torch.full_like(long, 2))])
    scene = Provided(sampler, whole, evaluate(table, policy))
    batch = whole.trajectories
    score = sampled_dependence(batch, scene["blind_log_prob"])
    exact = exact_dependence(batch, blind_rows(table, policy, whole))
    linked = connectivity(batch, scene["visual"], scene["noise"], 0.8)
    node, n = compact(batch.node[batch.mask])
    assert int((torch.bincount(node) > 1).sum()) == 2 * len(long)  # the two steps that each fork shares

    def spread(values):
        ends = [
            torch.zeros(n, dtype=torch.float64).scatter_reduce(0, node, values[batch.mask], how, include_self=False)
            for how in ("amin", "amax")
        ]
        return ends[1] - ends[0]

    for values in (score, exact, linked):
        assert torch.all(spread(values) == 0)
    assert len(linked[batch.mask].unique()) == n
    kept = vppo_mask(batch, blind_log_prob=scene["blind_log_prob"])
    assert kept.sum(1).tolist() == [math.ceil(round(0.4 * n, 9)) for n in batch.lengths.tolist()]
    # Somewhere a shared step is kept in one leaf and dropped in another.
    assert float(spread(kept).max()) == 1


def test_every_weight_on_a_table():
    table, policy, sampler = cued(4)
    scene = provided(table, policy, sampler, 20)
    batch = scene.sample.trajectories
    for piece in WEIGHTS:
        weight = piece.steps(batch, scene)
        assert weight.shape == batch.mask.shape
        assert torch.all(weight[~batch.mask] == 0)
        assert float(weight.sum()) > 0
        assert torch.equal(weight, piece.steps(batch, scene))


# -- AT-RL, entropy, chance ------------------------------------------------------------------------------------------


@few
@given(batches(), st.integers(0, 1000))
def test_at_rl_with_weight_one_everywhere(batch, seed):
    visual = blind_of(batch, seed) > batch.log_prob
    options = {"visual": visual, "noise": luck(seed)}
    for weight in (at_rl(batch, low=1.0, **options), at_rl(batch, share=1.0, **options)):
        assert torch.equal(weight * grpo(batch), grpo(batch) * torch.ones_like(weight))
    dropped = at_rl(batch, share=1.0, complement=True, **options)
    assert torch.all(dropped[batch.mask] == 0)


@few
@given(batches(), st.integers(0, 1000), st.sampled_from([0.0, 0.5]), st.sampled_from([0.6, 1.0]))
def test_at_rl(batch, seed, low, accuracy):
    visual = (blind_of(batch, seed) > batch.log_prob) & batch.mask
    options = {"low": low, "visual": visual, "noise": luck(seed), "accuracy": accuracy}
    weight = at_rl(batch, **options)
    n = int(batch.mask.sum())
    anchors = (weight == 1) & batch.mask
    assert int(anchors.sum()) == math.ceil(round(0.15 * n, 9))
    assert torch.all(weight[batch.mask & ~anchors] == low)
    other = at_rl(batch, complement=True, **options)
    assert torch.all((weight + other)[batch.mask] == 1 + low)
    mean = at_rl(batch, renormalise=True, **options)[batch.mask].mean()
    assert float(mean) == pytest.approx(1)
    if accuracy == 1 and visual.sum() >= anchors.sum():
        assert not bool((anchors & ~visual).any())
    if accuracy == 1 and visual.sum() <= anchors.sum():
        assert not bool((visual & ~anchors).any())


def test_accuracy_of_the_channel():
    n = 40_000
    batch = make_batch([[0.0] * n])
    visual = torch.arange(n)[None] % 3 == 0
    for accuracy in (0.5, 0.8, 1.0):
        seen = connectivity(batch, visual, luck(0), accuracy) >= 1
        right = float((seen == visual).double().mean())
        assert abs(right - accuracy) <= 4 * math.sqrt(accuracy * (1 - accuracy) / n)


def test_training_on_the_others_moves_no_decisive_step():
    """Complement: where the outcome hangs on visual steps alone, those get no gradient at all."""
    batch = make_batch([[0.0, 0.0, 1.0], [0.0, 0.0, 0.0]] * 10)
    visual = torch.zeros_like(batch.mask)
    visual[:, 1] = True
    weight = at_rl(batch, 1.0, 1 / 3, complement=True, visual=visual, noise=luck(1))
    log_prob = batch.log_prob.clone().requires_grad_()
    ppo(log_prob, batch, weight * grpo(batch)).backward()
    assert torch.all(log_prob.grad[:, 1] == 0)
    assert torch.all(log_prob.grad[:, 0] != 0)


def test_high_entropy_by_hand():
    policy = np.array([[0.5, 0.5], [0.9, 0.1], [1.0, 0.0]])
    batch = make_batch([[0.0] * 3, [0.0] * 2], anchors=[[0, 1, 2], [1, 2]], policy=policy)
    assert high_entropy(batch).tolist() == [[1, 0, 0], [0, 0, 0]]
    assert high_entropy(batch, scope="rollout").tolist() == [[1, 0, 0], [1, 0, 0]]
    assert high_entropy(batch, 0.4).tolist() == [[1, 1, 0], [1, 0, 0]]  # equal entropies stay together
    assert entropy(batch.policy_table).tolist() == pytest.approx([math.log(2), 0.3250829733914482, 0])


def test_a_uniform_policy_has_no_minority():
    batch = make_batch([[0.0] * 4, [0.0] * 2])
    assert torch.equal(high_entropy(batch), batch.mask.double())


@few
@given(batches(), st.integers(0, 1000))
def test_masks_intersect_by_multiplying(batch, seed):
    blind = blind_of(batch, seed)
    undecided, visual = high_entropy(batch, 0.5), vppo_mask(batch, 0.5, blind_log_prob=blind)
    both = undecided * visual
    assert torch.equal(both == 1, (undecided == 1) & (visual == 1))


def test_random_masks():
    """⌈k n⌉ steps each, every step equally often, and equal luck gives equal masks."""
    batch = make_batch([[0.0] * 5, [0.0] * 3])
    assert torch.equal(random_mask(batch, noise=luck(0)), random_mask(batch, noise=luck(0)))
    draws = torch.stack([random_mask(batch, 0.4, noise=luck(seed)) for seed in range(2000)])
    assert torch.all(draws.sum(2) == torch.tensor([2.0, 2.0]))
    for row, p in ((0, 0.4), (1, 2 / 3)):
        share = draws[:, row][:, batch.mask[row]].mean(0)
        assert torch.all((share - p).abs() < 4 * math.sqrt(p * (1 - p) / 2000))


# -- devices and bad input -------------------------------------------------------------------------------------------


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA card")
def test_cuda():
    batch = make_batch([[0.0] * 5, [0.0] * 3])
    there = batch.replace(**{k: v.cuda() for k, v in vars(batch).items() if v is not None})
    blind = blind_of(batch, 0)
    noise = luck(0)

    def noise_there(salt, *shape):
        return noise(salt, *shape).cuda()

    visual = batch.mask.clone()
    needs = {"blind_log_prob": blind, "visual": visual, "noise": noise}
    needs_there = {"blind_log_prob": blind.cuda(), "visual": visual.cuda(), "noise": noise_there}
    for piece in WEIGHTS:
        assert close(piece.steps(batch, needs), piece.steps(there, needs_there).cpu())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (functools.partial(vppo_mask, share=1.2), r"share=1.2: expected a number in \[0, 1\]"),
        (functools.partial(vppo_shaping, low=-0.1), "low=-0.1"),
        (functools.partial(vppo_as_told, share=-1), "share=-1"),
    ],
)
def test_bad_options_of_vppo(call, message):
    batch = make_batch([[1.0]])
    with pytest.raises(CreditEnvsError, match=message):
        call(batch, blind_log_prob=batch.log_prob)


def test_bad_options():
    batch = make_batch([[1.0]])
    needs = {"visual": batch.mask, "noise": luck(0)}
    with pytest.raises(CreditEnvsError, match=r"accuracy=0.3: expected a number in \[0.5, 1\]"):
        at_rl(batch, accuracy=0.3, **needs)
    with pytest.raises(CreditEnvsError, match="low=2"):
        at_rl(batch, low=2, **needs)
    with pytest.raises(CreditEnvsError, match="scope='row': expected one of rollout, batch"):
        high_entropy(batch, scope="row")
    with pytest.raises(CreditEnvsError, match="share=7"):
        random_mask(batch, 7, noise=luck(0))
    with pytest.raises(CreditEnvsError, match=r"blind: expected shape \(1, 1, 2\), got \(1, 1, 3\)"):
        exact_dependence(batch, torch.ones(1, 1, 3))
