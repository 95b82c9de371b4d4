"""Information gain: MIG's watermark and its telescoping, IGPO against the exact advantage, GiGPO + MIG."""

import functools

import numpy as np
import pytest
import torch
from batches import batches, make_batch, rows_of
from hypothesis import given, settings
from hypothesis import strategies as st

from credit_envs.credit.gigpo import gigpo
from credit_envs.credit.gigpo_mig import gigpo_mig
from credit_envs.credit.grpo import grpo
from credit_envs.credit.igpo import igpo, igpo_on
from credit_envs.credit.mig import gain_score, mig, mig_stepwise
from credit_envs.errors import CreditEnvsError
from credit_envs.evaluation.providers import Provided
from credit_envs.families import FAMILIES
from credit_envs.oracle import evaluate, uniform
from credit_envs.rewards.information import (
    FLOOR,
    answer_probability,
    gains,
    igpo_gain,
    igpo_gain_policy,
    mig_gain,
    mig_gain_policy,
    policy_probability,
)
from credit_envs.sampling import Sampler
from credit_envs.sampling.spans import spans

numbers = functools.partial(torch.tensor, dtype=torch.float64)
few = settings(max_examples=60, deadline=None)
close = functools.partial(torch.allclose, rtol=1e-9, atol=1e-9)


def one(levels):
    """One rollout whose log-probabilities are given, before each step and after the last."""
    return make_batch([[0.0] * (len(levels) - 1)]), numbers([levels]).exp()


def path(levels, **options):
    batch, probability = one(levels)
    return gains(batch, probability, answer=False, **options)[0].tolist()


def turned(batch, seed):
    rng = np.random.default_rng(seed)
    rise = torch.from_numpy(rng.integers(0, 2, batch.mask.shape))
    rise[:, 0] = 0
    return batch.replace(turn=torch.where(batch.mask, rise.cumsum(dim=1), 0))


def probabilities(batch, seed, zeros=True):
    rng = np.random.default_rng(seed)
    p = rng.random((batch.n_rollouts, batch.mask.shape[1] + 1))
    if zeros:
        p = p * (rng.random(p.shape) < 0.8)
    return torch.from_numpy(p)


def scene(name, n=16, size=4, policy=None, seed=0, **knobs):
    table = FAMILIES[name].build(0, **knobs)
    policy = uniform(table) if policy is None else policy(table)
    sampler = Sampler(table, policy, seed)
    sample = sampler.groups(n, size)
    return sample.trajectories, Provided(sampler, sample, evaluate(table, policy))


def answers(p):
    """Labels that tell these probabilities, in whole numbers of one part in 10^6."""
    share = (p * 1e6).round().long()
    return {"answer_share": share, "answer_whole": torch.full_like(share, 10**6)}.__getitem__


# -- gains -----------------------------------------------------------------------------------------------------------


def test_levels_and_increments_by_hand():
    """ℓ = 0, .3, .5: the paper pays (.3, .2), as told it is (.3, 0). ℓ shifted, for probabilities are below 1."""
    levels = [-1.0, -0.7, -0.5]
    assert path(levels) == pytest.approx([0.3, 0.2])
    assert path(levels, kind="increments") == pytest.approx([0.3, 0.0])
    assert path(levels, kind="log_difference") == pytest.approx([0.3, 0.2])
    assert path(levels, kind="difference") == pytest.approx([np.exp(-0.7) - np.exp(-1), np.exp(-0.5) - np.exp(-0.7)])
    # Up, down, up to the same level: nothing beyond the first rise. As told, the way back up pays.
    pumped = [-2.0, -1.0, -3.0, -1.0]
    assert path(pumped) == pytest.approx([1.0, 0.0, 0.0])
    assert path(pumped, kind="increments") == pytest.approx([1.0, 0.0, 1.0])
    assert path([-1.0, -1.0, -1.0]) == [0, 0]


@few
@given(batches(), st.integers(0, 99), st.booleans())
def test_gains_add_up_to_the_best_level_over_the_first(batch, seed, answer):
    batch, p = turned(batch, seed), probabilities(batch, seed)
    got = gains(batch, p, answer=answer)
    level = p.clamp(min=FLOOR).log()
    assert torch.all(got >= 0)
    parts = spans(batch)
    for i in range(batch.n_rollouts):
        ends = [int(parts.end[i, k]) for k in range(parts.present.shape[1]) if parts.present[i, k]]
        if answer:
            ends = ends[:-1]
        seen = [float(level[i, 0]), *(float(level[i, e + 1]) for e in ends)]
        assert float(got[i].sum()) == pytest.approx(max(seen) - seen[0], abs=1e-9)
        best, expected = seen[0], torch.zeros(batch.mask.shape[1], dtype=torch.float64)
        for e, now in zip(ends, seen[1:], strict=True):
            expected[e] = max(0.0, now - best)
            best = max(best, now)
        assert close(got[i], expected)


@few
@given(st.lists(st.floats(0.001, 1), min_size=2, max_size=8))
def test_rising_levels_gain_all_of_the_rise_however_it_is_cut(p):
    p = sorted(p)
    batch = make_batch([[0.0] * (len(p) - 1)])
    whole = batch.replace(turn=torch.zeros_like(batch.turn))
    fine, coarse = (gains(b, numbers([p]), answer=False) for b in (batch, whole))
    assert float(fine.sum()) == pytest.approx(float(coarse.sum())) == pytest.approx(np.log(p[-1] / p[0]))
    assert close(fine, gains(batch, numbers([p]), "log_difference", answer=False))


def test_the_answer_turn_has_no_gain():
    batch, p = one([-3.0, -2.0, -1.0, -0.5])
    assert gains(batch, p)[0].tolist() == pytest.approx([1.0, 1.0, 0.0])
    assert gains(batch, p, level="segment")[0].tolist() == [0, 0, 0]  # one segment: all of it is the answer


def test_zero_probability_is_the_floor():
    batch, p = make_batch([[0.0] * 3]), numbers([[0.5, 0.0, 0.25, 0.5]])
    assert gains(batch, p, answer=False)[0].tolist() == [0, 0, 0]
    back = gains(batch, p, "log_difference", answer=False, floor=0.01)
    assert back[0].tolist() == pytest.approx([np.log(0.02), np.log(25), np.log(2)])
    for wrong in ({"kind": "entropy"}, {"floor": 0.0}, {"level": "token"}):
        with pytest.raises(CreditEnvsError, match=next(iter(wrong))):
            gains(batch, p, **wrong)


def test_lookup_gains_by_hand():
    """Two hops, five names: 1/5 at first; reading the plan's first article tells one name of five, its second the answer."""
    batch, provided = scene("Lookup", n=60)
    labels = provided["labels"]
    p, left = answer_probability(labels), labels("reference_left")
    assert torch.all(p[:, 0] == 0.2)
    got = mig_gain(batch, labels=labels).step_reward
    # Straight on: search, read, search, read, answer. Only the second reading tells the answer.
    straight = (left[:, 0] == 5) & (left[:, 1] == 4) & (left[:, 2] == 3) & (left[:, 3] == 2) & (left[:, 4] == 1)
    assert int(straight.sum()) > 0
    for row in got[straight].tolist():
        assert row[:4] == pytest.approx([0, 0, 0, np.log(5)])
    assert torch.all(got.sum(dim=1) <= np.log(5) + 1e-9)
    assert torch.all(got[~batch.mask] == 0)


def test_sums_gain_the_logarithm_of_the_base():
    """Of base ways to write a digit one is right; the marker tells nothing new."""
    from credit_envs.families.sums import careless

    batch, provided = scene("Sums", base=4, columns=2, repairs=0, policy=lambda t: careless(t, 0.3))
    labels = provided["labels"]
    got = gains(batch, answer_probability(labels), level="step", answer=False)
    ref = labels("reference_action")[:, :-1]
    right = (labels("right")[:, :-1] == 1) & (batch.action == ref)
    token = torch.arange(batch.mask.shape[1]) % 3
    fine = right.long().cumprod(dim=1) > 0
    told = numbers([np.log(4), np.log(2), 0])[token]
    assert close(got, told * fine)


# -- MIG -------------------------------------------------------------------------------------------------------------


@few
@given(batches(max_size=5), st.integers(0, 99), st.booleans())
def test_without_its_weight_mig_is_grpo(batch, seed, answer):
    batch, labels = turned(batch, seed), answers(probabilities(batch, seed))
    assert torch.equal(mig(batch, labels=labels, alpha=0, answer=answer), grpo(batch))
    assert torch.equal(mig_stepwise(batch, labels=labels, alpha=0), grpo(batch))


@few
@given(batches(max_size=5), st.integers(0, 99), st.sampled_from([0.0, 0.5]))
def test_mig_by_a_naive_loop(batch, seed, sft):
    batch, labels = turned(batch, seed), answers(probabilities(batch, seed))
    total = gains(batch, answer_probability(labels)).sum(dim=1)
    got = mig(batch, labels=labels, alpha=2.0, beta=0.5, sft=sft)
    final = spans(batch).spread(spans(batch).final)
    for i in range(batch.n_rollouts):
        own = [j for j in range(batch.n_rollouts) if batch.group[j] == batch.group[i]]
        z = 0.0
        if len({float(total[j]) for j in own}) > 1:
            values = total[own].numpy()
            z = (float(total[i]) - values.mean()) / (values.std(ddof=1) + 1e-6)
        gate = sft * bool(batch.returns[i] >= 1 and total[i] > 0)
        for t in range(int(batch.lengths[i])):
            expected = 2 * z * (not final[i, t]) + 0.5 * float(grpo(batch)[i, t]) + gate
            assert float(got[i, t]) == pytest.approx(float(expected), abs=1e-7)
    assert torch.all(got[~batch.mask] == 0)


@few
@given(batches(max_size=5), st.integers(0, 99))
def test_the_reward_model_and_the_estimator_agree(batch, seed):
    batch, labels = turned(batch, seed), answers(probabilities(batch, seed))
    for estimate in (mig, mig_stepwise, gigpo_mig):
        assert torch.equal(estimate(mig_gain(batch, labels=labels), labels=None), estimate(batch, labels=labels))
    told = mig_gain(batch, labels=labels, kind="increments")
    assert torch.equal(mig_stepwise(told, labels=None), mig_stepwise(batch, labels=labels, kind="increments"))
    assert torch.equal(igpo(igpo_gain(batch, labels=labels), labels=None), igpo(batch, labels=labels))


@few
@given(batches(max_size=5, min_size=2), st.integers(0, 99))
def test_stepwise_scores_have_mean_zero_among_the_turns_of_a_group(batch, seed):
    batch, labels = turned(batch, seed), answers(probabilities(batch, seed))
    score, parts = gain_score(batch, labels), spans(batch)
    per_turn = torch.zeros_like(parts.total(score))
    per_turn[parts.present] = parts.total(score)[parts.present] / parts.total(torch.ones_like(score))[parts.present]
    inner = parts.present & ~parts.final
    for g in range(batch.n_groups):
        assert float((per_turn * inner)[batch.group == g].sum()) == pytest.approx(0, abs=1e-9)
    assert torch.all(parts.spread(parts.final.double()) * score == 0)


def test_weights_below_zero_are_refused():
    batch = make_batch([[1.0]])
    for name in ("alpha", "beta", "sft"):
        with pytest.raises(CreditEnvsError, match=f"{name}=-1"):
            mig(batch, labels=answers(numbers([[0.5, 1.0]])), **{name: -1})


# -- IGPO ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("slip", [0.2, 1.0])
def test_gain_by_the_policy_is_the_exact_advantage_where_nothing_is_drawn(slip):
    """Sums is deterministic, paid 0 or 1 at the end: V(s') − V(s) = A, and the sum forward is R − V."""
    from credit_envs.families.sums import careless

    batch, provided = scene("Sums", base=4, columns=2, n=8, policy=lambda t: careless(t, slip))
    gained = igpo_gain_policy(batch, value=provided["value"], level="step").step_reward
    inner = torch.arange(batch.mask.shape[1]) < batch.lengths[:, None] - 1
    assert close(gained[inner], provided["advantage"][inner])
    assert torch.all(gained[~inner] == 0)
    credit = igpo_on(batch, gained, level="step", normalise=False)
    # The last step has the outcome itself; those before telescope to the value before the last step.
    last = torch.gather(provided["value"], 1, batch.lengths[:, None] - 1)
    assert close(credit[inner], (last + batch.returns[:, None] - provided["value"])[inner])


def test_gain_by_the_policy_is_skill_plus_luck_where_something_is_drawn():
    """Lookup's searches miss by chance: the gain's mean at (s, a) is A, checked over many rollouts of one action."""
    batch, provided = scene("Lookup", n=500, size=8, noise=0.4)
    gained = igpo_gain_policy(batch, value=provided["value"]).step_reward[:, 0]
    advantage = provided["advantage"][:, 0]
    assert not close(gained, advantage)
    for action in torch.unique(batch.action[:, 0]):
        rows = (batch.action[:, 0] == action) & (batch.lengths > 1)
        error = gained[rows] - advantage[rows]
        assert abs(float(error.mean())) < 4 * float(error.std()) / int(rows.sum()) ** 0.5 + 1e-12


def test_policy_probability_reads_values_then_the_outcome():
    batch = make_batch([[0, 0, 1.0], [0.0]])
    value = numbers([[0.2, 0.4, 0.6], [0.3, 0, 0]])
    got = policy_probability(batch, value)
    assert close(got, numbers([[0.2, 0.4, 0.6, 1.0], [0.3, 0, 0, 0]]))
    assert close(mig_gain_policy(batch, value=value).step_reward, numbers([[np.log(2), np.log(1.5), 0], [0, 0, 0]]))


@few
@given(
    batches(max_size=5), st.integers(0, 99), st.sampled_from([0.7, 1.0]), st.booleans(), st.booleans(), st.booleans()
)
def test_igpo_by_a_naive_loop(batch, seed, gamma, normalise, separate, skip_zeros):
    batch = turned(batch, seed)
    gain = gains(batch, probabilities(batch, seed).round(decimals=0), "difference")
    got = igpo_on(batch, gain, gamma, normalise=normalise, separate=separate, skip_zeros=skip_zeros)
    parts = spans(batch)
    total = parts.total(gain)
    pools, paid = {}, {}
    for i in range(batch.n_rollouts):
        turns = torch.nonzero(parts.present[i]).flatten().tolist()
        for k in turns:
            last = k == turns[-1]
            r = float(batch.returns[i]) if last else float(total[i, k])
            if last or r != 0 or not skip_zeros:
                pool = (int(batch.group[i]), last and separate)
                pools.setdefault(pool, []).append(r)
                paid[i, k] = (r, pool)
    for i in range(batch.n_rollouts):
        later = 0.0
        for k in reversed(torch.nonzero(parts.present[i]).flatten().tolist()):
            if (i, k) in paid:
                r, pool = paid[i, k]
                if normalise:
                    values = np.array(pools[pool])
                    flat = np.all(values == values[0])
                    r = 0.0 if flat else (r - values.mean()) / (values.std(ddof=1) + 1e-6)
                later = r + gamma * later
            for t in range(batch.mask.shape[1]):
                if batch.mask[i, t] and batch.turn[i, t] == k:
                    assert float(got[i, t]) == pytest.approx(later, abs=1e-8)


@few
@given(batches(max_size=5), st.integers(0, 99))
def test_without_gains_separate_igpo_is_grpo(batch, seed):
    batch = turned(batch, seed)
    none = torch.zeros_like(batch.reward)
    assert close(igpo_on(batch, none, separate=True), grpo(batch))
    assert close(igpo_on(batch, none, skip_zeros=True), grpo(batch))


@few
@given(batches(max_size=5), st.integers(0, 99))
def test_order_of_rollouts_and_offsets_change_nothing(batch, seed):
    batch, p = turned(batch, seed), probabilities(batch, seed, zeros=False)
    order = torch.from_numpy(np.random.default_rng(seed).permutation(batch.n_rollouts))
    for estimate in (mig, mig_stepwise, igpo, gigpo_mig):
        straight = estimate(batch, labels=answers(p))
        shuffled = estimate(rows_of(batch, order), labels=answers(p[order]))
        assert close(shuffled, straight[order])
    scaled = mig(batch, labels=lambda name: answers(p)(name) * (7 if name == "answer_share" else 14))
    assert close(scaled, mig(batch, labels=answers(p)))  # halved probabilities are levels shifted by a constant


# -- GiGPO + MIG -----------------------------------------------------------------------------------------------------


@few
@given(batches(max_size=5), st.integers(0, 99), st.booleans(), st.sampled_from([0.0, 1.0, 0.5]))
def test_anchors_decide_which_term_a_step_gets(batch, seed, norm_by_std, omega):
    batch, labels = turned(batch, seed), answers(probabilities(batch, seed))
    got = gigpo_mig(batch, labels=labels, omega=omega, norm_by_std=norm_by_std)
    met = gigpo(batch, omega=omega, norm_by_std=norm_by_std)
    score = gain_score(batch, labels)
    seen = {}
    for i, t in torch.nonzero(batch.mask).tolist():
        seen.setdefault((int(batch.group[i]), int(batch.anchor[i, t])), []).append((i, t))
    for members in seen.values():
        for i, t in members:
            extra = omega * float(score[i, t]) if len(members) < 2 else 0.0
            assert float(got[i, t]) == pytest.approx(float(met[i, t]) + extra, abs=1e-9)


def test_gigpo_mig_on_lookup_and_sums():
    for name in ("Lookup", "Sums"):
        batch, provided = scene(name, **({"base": 4} if name == "Sums" else {}))
        credit = gigpo_mig(batch, labels=provided["labels"])
        assert torch.all(torch.isfinite(credit))
        assert not close(credit, gigpo(batch, norm_by_std=True))
