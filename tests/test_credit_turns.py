"""Turns as units: their rewards from labels, where these are put, and MT-GRPO's credit from them."""

import functools

import numpy as np
import pytest
import torch
from batches import batches, make_batch, padded
from hypothesis import given, settings
from hypothesis import strategies as st

from credit_envs import dials
from credit_envs.credit.gae import gae
from credit_envs.credit.grpo import dr_grpo, grpo, rloo
from credit_envs.credit.igpo import igpo
from credit_envs.credit.mig import mig, mig_stepwise
from credit_envs.credit.mt_grpo import mt_grpo, mt_grpo_on, mt_grpo_released, turn_return_as_told
from credit_envs.errors import CreditEnvsError, unknown
from credit_envs.evaluation.providers import Provided
from credit_envs.families import FAMILIES
from credit_envs.oracle import evaluate, uniform
from credit_envs.plans.turn_forks import turn_forks
from credit_envs.rewards.information import mig_gain
from credit_envs.rewards.turns import TURN_PAYS, turn_reward, turn_rewards, turn_rewards_beside, turn_rewards_merged
from credit_envs.sampling import Sampler
from credit_envs.sampling.spans import spans
from credit_envs.sampling.statistics import returns_to_go
from credit_envs.table import from_outcomes

numbers = functools.partial(torch.tensor, dtype=torch.float64)
few = settings(max_examples=60, deadline=None)
close = functools.partial(torch.allclose, rtol=1e-9, atol=1e-9)


def told(**rows):
    """Labels by hand: name → one list per rollout, one value longer than the rollout."""
    table = {name: padded([[*row, *[row[-1]] * 9] for row in values], torch.int64) for name, values in rows.items()}

    def labels(name):
        if name not in table:
            raise unknown("label", name, table)
        return table[name]

    def cut(width):
        return lambda name: labels(name)[:, : width + 1]

    return cut


def with_turns(batch, seed, level="segment"):
    """A batch with random spans: numbers rise by 0 or 1 along each rollout."""
    rng = np.random.default_rng(seed)
    rise = torch.from_numpy(rng.integers(0, 2, batch.mask.shape))
    rise[:, 0] = 0
    return batch.replace(**{level: torch.where(batch.mask, rise.cumsum(dim=1), 0)})


def random_rewards(batch, seed):
    values = np.random.default_rng(seed).choice([0.0, 0.3, 0.5, -0.1], batch.mask.shape)
    return torch.where(batch.mask, torch.from_numpy(values), 0.0)


def scene(name="Lookup", n=16, size=4, seed=0, plan=None, **knobs):
    table = FAMILIES[name].build(0, **knobs)
    policy = uniform(table)
    sampler = Sampler(table, policy, seed)
    sample = sampler.groups(n, size) if plan is None else plan(sampler, n, size)
    return sample.trajectories, Provided(sampler, sample, evaluate(table, policy))


# -- spans -----------------------------------------------------------------------------------------------------------


@few
@given(batches(), st.integers(0, 99), st.sampled_from(["step", "turn", "segment"]), st.sampled_from([None, 1, 2]))
def test_spans_by_a_naive_loop(batch, seed, level, at_most):
    batch = with_turns(batch, seed)
    late = torch.from_numpy(np.random.default_rng(seed).integers(0, 2, batch.n_rollouts))
    start = torch.minimum(late, batch.lengths - 1)
    batch = batch.replace(mask=batch.mask & (torch.arange(batch.mask.shape[1]) >= start[:, None]))
    parts, values = spans(batch, level, at_most), random_rewards(batch, seed)
    number = {"step": torch.arange(batch.mask.shape[1]).expand(batch.mask.shape), "turn": batch.turn}
    number = number.get(level, batch.segment)
    total, ends = parts.total(values), parts.at_end(torch.ones_like(parts.present, dtype=torch.float64))
    for i in range(batch.n_rollouts):
        steps = [t for t in range(batch.mask.shape[1]) if batch.mask[i, t]]
        own = {t: int(number[i, t]) if at_most is None else min(int(number[i, t]), at_most - 1) for t in steps}
        assert set(torch.nonzero(parts.present[i]).flatten().tolist()) == set(own.values())
        for k in set(own.values()):
            inside = [t for t in steps if own[t] == k]
            assert (int(parts.start[i, k]), int(parts.end[i, k])) == (inside[0], inside[-1])
            assert float(total[i, k]) == pytest.approx(sum(float(values[i, t]) for t in inside))
            assert bool(parts.final[i, k]) == (k == max(own.values()))
        last = {max(t for t in steps if own[t] == k) for k in own.values()}
        assert set(torch.nonzero(ends[i]).flatten().tolist()) == last
        spread = parts.spread(total)
        assert all(spread[i, t] == total[i, own[t]] for t in steps)
    assert torch.all(parts.spread(total)[~batch.mask] == 0)


def test_spans_refuse_what_they_do_not_know():
    batch = make_batch([[1.0]])
    with pytest.raises(CreditEnvsError, match="level='token': expected one of step, turn, segment"):
        spans(batch, "token")
    with pytest.raises(CreditEnvsError, match="at_most=0"):
        spans(batch, "turn", 0)


# -- turn rewards ----------------------------------------------------------------------------------------------------


def test_turn_rewards_by_hand():
    batch = make_batch([[0, 0, 0, 1.0], [0, 0, 0, 0.0]])
    labels = told(answer_seen=[[0, 0, 1, 1, 1], [0, 0, 0, 1, 0]], gold_listed=[[0, 1, 0, 0, 0], [0, 1, 0, 1, 0]])(4)
    paid = turn_reward(batch, labels)
    assert close(paid, numbers([[0.1, 0.3, 0, 0], [0.1, 0, 0.4, 0]]))
    # Searches are charged by how many there were so far; the last turn has the outcome only.
    searching = told(
        answer_seen=[[0, 0, 1, 1, 1], [0] * 5], gold_listed=[[0] * 5] * 2, about=[[-1, 2, -1, 3, -1], [-1, 1, 1, 2, 2]]
    )(4)
    charged = turn_reward(batch, searching, search_penalty=0.1)
    assert close(charged, numbers([[-0.1, 0.3, -0.2, 0], [-0.1, -0.2, -0.3, 0]]))
    formed = turn_reward(batch, labels, valid=0.1, scale=0)
    assert close(formed, numbers([[0.1, 0.1, 0.1, 0]] * 2))
    with pytest.raises(CreditEnvsError, match="search_penalty=1: expected 0"):
        turn_reward(batch, labels, search_penalty=1)
    with pytest.raises(CreditEnvsError, match="turn rewards: expected a table with one of the labels answer_seen"):
        turn_reward(batch, told(mood=[[0] * 5] * 2)(4))


def test_a_closed_column_pays_only_while_all_is_right():
    batch = make_batch([[0.0] * 3]).replace(turn=torch.tensor([[0, 1, 2]]))
    rising = {"segment": [[0, 1, 2, 3]]}
    assert turn_reward(batch, told(**rising, right=[[1, 1, 0, 0]])(3)).tolist() == [[0.1, 0, 0]]


@few
@given(batches(min_size=2), st.integers(0, 99), st.floats(0.1, 2))
def test_potential_differences_add_up_to_minus_the_first_level(batch, seed, scale):
    level = torch.from_numpy(np.random.default_rng(seed).integers(0, 4, (batch.n_rollouts, batch.mask.shape[1] + 1)))
    level[:, 0] = 2

    def labels(name):
        if name != "progress":
            raise unknown("label", name, ["progress"])
        return level

    paid = turn_reward(batch, labels, potential=True, scale=scale)
    assert close(paid.sum(dim=1), torch.full_like(batch.returns, -0.1 * scale * 2))
    merged = turn_rewards_merged(batch, labels=labels, potential=True, scale=scale)
    assert close(rloo(merged), rloo(batch))


@few
@given(batches(), st.integers(0, 99), st.sampled_from([0.5, 1.0]))
def test_three_places_hold_the_same_rewards(batch, seed, gamma):
    batch = with_turns(batch, seed, "turn")
    level = torch.from_numpy(np.random.default_rng(seed).integers(0, 4, (batch.n_rollouts, batch.mask.shape[1] + 1)))

    def labels(name):
        if name != "progress":
            raise unknown("label", name, ["progress"])
        return level

    on, beside = turn_rewards(batch, labels=labels), turn_rewards_beside(batch, labels=labels)
    merged = turn_rewards_merged(batch, labels=labels, turn_gamma=gamma)
    assert torch.equal(on.reward, batch.reward + beside.step_reward)
    assert torch.equal(beside.reward, batch.reward)
    expected = (torch.where(batch.mask, on.reward, 0.0) * gamma ** batch.turn.double()).sum(dim=1)
    assert close(merged.returns, expected)
    last = torch.arange(batch.mask.shape[1]) == batch.lengths[:, None] - 1
    assert torch.all(merged.reward[~last] == 0)
    final = spans(batch).spread(spans(batch).final)
    assert torch.all(beside.step_reward[final] == 0)


@pytest.mark.parametrize(
    ("name", "labels"),
    [
        ("Lookup", "answer_seen"),
        ("Charts", "facts"),
        ("Apps", "documented"),
        ("Shop", "met"),
        ("Household", "stage"),
        ("KeyRooms", "progress"),
        ("KeyToDoor", "key"),
        ("Sums", "segment"),
    ],
)
def test_every_family_pays_by_its_own_labels(name, labels):
    batch, provided = scene(name, n=8, **({"base": 4} if name == "Sums" else {}))
    paid = turn_reward(batch, provided["labels"])
    assert float(paid.max()) > 0
    assert float(paid.min()) == 0
    entry = next(entry for entry in TURN_PAYS if entry[0].label == labels)
    before = provided["labels"](labels).clamp(min=0)
    rises = (before[:, 1:] > before[:, :-1]) & batch.mask & ~spans(batch).spread(spans(batch).final)
    if entry[0].unless_0:
        rises &= provided["labels"](entry[0].unless_0)[:, 1:] > 0
    assert torch.all(paid[rises] > 0)


def test_families_without_such_labels_are_refused():
    batch, provided = scene("Chat", n=2)
    with pytest.raises(CreditEnvsError, match="turn rewards"):
        turn_reward(batch, provided["labels"])


@pytest.mark.parametrize("lam", [0.0, 1.0])
def test_mt_ppo_scores_the_game_with_turn_rewards(lam):
    """KeyRooms is deterministic: with the exact values of the game that pays turn rewards too, λ = 0 is its advantage."""
    table = FAMILIES["KeyRooms"].build(0, stages=1, distractors=0, horizon_factor=2)
    progress, source = table.labels["progress"], table.edge_state[table.outcome_edge]
    paid = table.reward + 0.1 * (progress[table.successor] - progress[source])
    shaped = evaluate(table.replace(reward=paid), uniform(table))
    sampler = Sampler(table, uniform(table), 3)
    sample = sampler.groups(40, 4)
    labels = Provided(sampler, sample, evaluate(table, uniform(table)))["labels"]
    batch, exact = turn_rewards(sample.trajectories, labels=labels), Provided(sampler, sample, shaped)
    credit = gae(batch.reward, exact["value"], batch.mask, 1.0, lam)
    # Where a rollout's last step makes progress, that is left to the outcome.
    same = (sample.trajectories.returns + 0.1 * (labels("progress")[:, -1])) == batch.returns
    assert int(same.sum()) > 100
    if lam == 0:
        assert close(credit[same], exact["advantage"][same])
    else:
        assert close(credit[same], (returns_to_go(batch.reward, batch.mask, 1.0) - exact["value"] * batch.mask)[same])


# -- MT-GRPO ---------------------------------------------------------------------------------------------------------


@few
@given(batches(max_size=6), st.integers(0, 99), st.sampled_from(["segment", "step"]), st.sampled_from([2, None]))
def test_without_turn_rewards_it_is_grpo(batch, seed, level, turns):
    batch = with_turns(batch, seed)
    none = torch.zeros_like(batch.reward)
    assert torch.equal(mt_grpo_on(batch, none, level=level, turns=turns), grpo(batch))
    assert torch.equal(mt_grpo_on(batch, none, level=level, turns=turns, norm_by_std=False), dr_grpo(batch))


@few
@given(batches(max_size=6), st.integers(0, 99), st.sampled_from([0.0, 0.5, 1.0]), st.sampled_from([1.0, 2.0]))
def test_two_turns_are_the_two_turn_form(batch, seed, alpha, coef):
    batch = with_turns(batch, seed)
    earned = random_rewards(batch, seed)
    got = mt_grpo_on(batch, earned, alpha=alpha, coef=coef)
    first = (batch.segment == 0) & batch.mask
    two = batch.segment.max(dim=1).values > 0
    inner = torch.where(two, (earned * first).sum(dim=1), 0.0)
    outcome = batch.returns + earned.sum(dim=1) - inner
    for g in range(batch.n_groups):
        rows = torch.nonzero(batch.group == g).flatten()
        members = [i for i in rows.tolist() if two[i]]
        a_outcome = _z(outcome[rows].numpy())
        a_inner = dict(zip(members, _z(inner[members].numpy()), strict=True))
        for i, a in zip(rows.tolist(), a_outcome, strict=True):
            for t in range(int(batch.lengths[i])):
                expected = coef * a_inner[i] + alpha * a if two[i] and first[i, t] else a
                assert float(got[i, t]) == pytest.approx(expected, abs=1e-9)


def _z(values):
    values = np.asarray(values)
    if len(values) < 2 or np.all(values == values[0]):
        return np.zeros(len(values))
    return (values - values.mean()) / (values.std(ddof=1) + 1e-6)


def test_k_turns_by_hand():
    """Two rollouts, three turns each; z-scores of two values are ±1/√2 (up to ε)."""
    batch = make_batch([[0, 0, 1.0], [0, 0, 0.0]]).replace(segment=torch.tensor([[0, 1, 2]] * 2))
    earned = numbers([[1.0, 0, 0], [0, 2.0, 0]])
    z = 1 / np.sqrt(2)
    got = mt_grpo_on(batch, earned, alpha=0.5, turns=None)
    one = [z - 0.5 * z + 0.25 * z, -z + 0.5 * z, z]
    assert got[0].tolist() == pytest.approx(one, abs=1e-5)
    assert got[1].tolist() == pytest.approx([-x for x in one], abs=1e-5)
    # α = 0: each turn sees its own reward only.
    alone = mt_grpo_on(batch, earned, alpha=0, turns=None)
    assert alone[0].tolist() == pytest.approx([z, -z, z], abs=1e-5)


def test_released_code_by_hand():
    """Rollouts with a second turn get outcome + coef · turn before it; the one without gets both in one."""
    batch = make_batch([[0, 1.0], [0, 0.0], [1.0]]).replace(segment=torch.tensor([[0, 1], [0, 1], [0, 0]]))
    earned = numbers([[0.5, 0], [0, 0.2], [0.2, 0]])
    got = mt_grpo_released(batch.replace(step_reward=earned), labels=None, coef=2.0, epsilon=1e-6)
    inner, outcome, both = _z([0.5, 0.2, 0.2]), _z([1.0, 0.0, 1.0]), _z([1.5, 0.2, 1.2])
    expected = [[outcome[0] + 2 * inner[0], outcome[0]], [outcome[1] + 2 * inner[1], outcome[1]], [both[2], 0]]
    assert got.numpy() == pytest.approx(np.array(expected), abs=1e-9)


def test_as_told_is_a_return_without_baseline():
    batch = make_batch([[0, 0, 1.0], [0, 1.0]]).replace(step_reward=numbers([[0.5, 0, 0], [0, 0.5, 0]]))
    got = turn_return_as_told(batch, labels=None, gamma=0.5)
    assert got.tolist() == [[0.75, 0.5, 1.0], [0.75, 1.5, 0.0]]


def test_pieces_read_turn_rewards_off_the_labels():
    batch, provided = scene("Lookup")
    labels = provided["labels"]
    own = turn_reward(batch, labels)
    assert torch.equal(mt_grpo(batch, labels=labels), mt_grpo_on(batch, own))
    beside = turn_rewards_beside(batch, labels=labels, scale=3)
    assert torch.equal(mt_grpo(beside, labels=labels, turns=None), mt_grpo_on(batch, 3 * own, turns=None))
    assert close(turn_return_as_told(batch, labels=labels)[:, 0], batch.returns + own.sum(dim=1))


def test_options_out_of_range():
    batch = make_batch([[1.0]])
    with pytest.raises(CreditEnvsError, match="among='node': expected one of group, siblings"):
        mt_grpo_on(batch, batch.reward, among="node")
    with pytest.raises(CreditEnvsError, match="alpha=2"):
        mt_grpo_on(batch, batch.reward, alpha=2)


# -- forks -----------------------------------------------------------------------------------------------------------


def three_turns(seed=0):
    """Three turns of one step; the first leads to one of two states, where the second is paid, then the third."""
    rng = np.random.default_rng(seed)
    rows = [(0, a, 1 + a, 1.0, 0.0, False) for a in range(2)]
    rows += [(s, a, 3 + 2 * (s - 1) + a, 1.0, 0.0, False) for s in (1, 2) for a in range(2)]
    rows += [(s, a, 7, 1.0, float(rng.integers(0, 2)), True) for s in range(3, 7) for a in range(2)]
    names = ("state", "action", "successor", "probability", "reward", "terminal")
    columns = {name: np.array(column) for name, column in zip(names, zip(*rows, strict=True), strict=True)}
    labels = {"segment": np.array([0, 1, 1, 2, 2, 2, 2, 3])}
    return from_outcomes("three", 8, 2, columns, start={0: 1.0}, horizon=3, labels=labels)


def test_forks_make_a_full_tree_of_turns():
    table = three_turns()
    sampler = Sampler(table, uniform(table), 0)
    sample = turn_forks(sampler, 5, 3, turns=3)
    batch = sample.trajectories
    assert batch.n_rollouts == 5 * 9
    assert torch.equal(batch.group, torch.arange(5).repeat_interleave(9))
    for g in range(5):
        node = batch.node[batch.group == g]
        first, count = torch.unique(node[:, 0], return_counts=True)
        assert (len(first), count.tolist()) == (3, [3, 3, 3])
        assert len(torch.unique(node[:, 1])) == 9
    assert sampler.meter.env_steps == 5 * (3 * 3 + 6 * 2)  # the fork follows the first step, which was paid for once
    assert sampler.meter.restores == 5 * 6
    plain = turn_forks(Sampler(table, uniform(table), 0), 5, 3, turns=2).trajectories
    assert torch.equal(plain.action, Sampler(table, uniform(table), 0).groups(5, 3).trajectories.action)
    with pytest.raises(CreditEnvsError, match="turns=1"):
        turn_forks(sampler, 5, 3, turns=1)


def test_siblings_are_compared_in_their_own_state_and_counted_once():
    table = three_turns()
    batch = turn_forks(Sampler(table, uniform(table), 1), 4, 3, turns=3).trajectories
    earned = torch.from_numpy(np.random.default_rng(0).normal(size=8))
    # What a step earns is a function of its node, as for any verifiable reward.
    earned = torch.where(batch.mask, earned[batch.node % 8], 0.0)
    got = mt_grpo_on(batch, earned, alpha=0, turns=3, among="siblings")
    for g in range(4):
        rows = torch.nonzero(batch.group == g).flatten()
        first = {int(batch.node[i, 0]): float(earned[i, 0]) for i in rows}
        z_first = dict(zip(first, _z(list(first.values())), strict=True))
        for i in rows.tolist():
            assert float(got[i, 0]) == pytest.approx(z_first[int(batch.node[i, 0])], abs=1e-9)
            siblings = [j for j in rows.tolist() if batch.node[j, 0] == batch.node[i, 0]]
            z_second = _z([float(earned[j, 1]) for j in siblings])
            assert float(got[i, 1]) == pytest.approx(z_second[siblings.index(i)], abs=1e-9)


def test_siblings_of_independent_rollouts_meet_at_the_start_only():
    batch, provided = scene("Lookup")
    earned = turn_reward(batch, provided["labels"])
    got = mt_grpo_on(batch, earned, alpha=0, level="turn", turns=None, among="siblings")
    parts = spans(batch)
    inner = parts.spread(~parts.final)
    assert torch.all(got[:, 1:][inner[:, 1:]] == 0)
    assert torch.any(got[:, 0] != 0)


def test_only_siblings_leave_out_the_luck_so_far():
    """What the second turn of one rollout shares with the turns that it is compared with.

    Second-turn reward = 1 after first action 1, whatever the second action: its credit should be 0. Siblings say so
    exactly; among the turns of other rollouts the first turn's luck passes for the second turn's merit.
    """
    table = three_turns()
    batch = turn_forks(Sampler(table, uniform(table), 2), 200, 4, turns=3).trajectories
    earned = torch.zeros_like(batch.reward)
    earned[:, 1] = batch.action[:, 0].double()
    siblings = mt_grpo_on(batch, earned, alpha=0, turns=3, among="siblings")[:, 1]
    group = mt_grpo_on(batch, earned, alpha=0, turns=3, among="group")[:, 1]
    assert torch.all(siblings == 0)
    lucky = batch.action[:, 0] == 1
    assert float(group[lucky].mean()) > 0.5
    assert float(group[~lucky].mean()) < -0.5


# -- expected credit -------------------------------------------------------------------------------------------------

FIRST, SECOND = numbers([0.5, 0.0]), numbers([[0.0, 1.0], [0.7, 0.2]])
"""Turn rewards of the first action, and of the second after the first."""


def drawn(groups, size, seed, plan=None):
    """Rollouts of three turns with the turn rewards above, and what is expected of each turn's own reward."""
    table = three_turns()
    sampler = Sampler(table, uniform(table), seed)
    batch = (sampler.groups(groups, size) if plan is None else plan(sampler, groups, size)).trajectories
    one, two = batch.action[:, 0], batch.action[:, 1]
    earned = torch.stack([FIRST[one], SECOND[one, two], torch.zeros_like(FIRST[one])], dim=1)
    values = evaluate(table, uniform(table))
    return batch, earned, numbers(values.V[1, 1:3]) - values.V[0, 0], one, two


def z_scores(credit, cells, expected, group):
    """|z| of the mean credit of each cell against its expectation; groups are the independent units."""
    out = []
    for cell, mean in expected.items():
        error = torch.where(cells == cell, credit - mean, 0.0)
        per_group = torch.zeros(int(group.max()) + 1, dtype=torch.float64).index_add_(0, group, error)
        out.append(abs(float(per_group.mean())) / (float(per_group.std()) / len(per_group) ** 0.5 + 1e-12))
    return out


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0])
def test_expected_credit_of_the_first_turn(alpha):
    """Without division, (n−1)/n times what each turn's reward has over its mean, later ones weighed with α."""
    n = 4
    batch, earned, later, one, _ = drawn(4000, n, 5)
    got = mt_grpo_on(batch, earned, alpha, turns=None, norm_by_std=False)[:, 0]
    own, second = FIRST - FIRST.mean(), SECOND.mean(dim=1) - SECOND.mean()
    expected = (n - 1) / n * (own + alpha * second + alpha**2 * later)
    assert max(z_scores(got, one, dict(enumerate(expected.tolist())), batch.group)) < 4


def test_expected_credit_of_a_forked_turn_is_its_advantage():
    """Siblings: (G−1)/G times the advantage of the turn's reward in its own state; the group's turns mix in the state's."""
    n = 3
    plan = functools.partial(turn_forks, turns=3)
    batch, earned, _, one, two = drawn(2000, n, 6, plan)
    advantage = SECOND - SECOND.mean(dim=1, keepdim=True)
    expected = {int(2 * i + j): (n - 1) / n * float(advantage[i, j]) for i in range(2) for j in range(2)}
    siblings, group = (
        mt_grpo_on(batch, earned, 0.0, turns=3, among=among, norm_by_std=False)[:, 1] for among in ("siblings", "group")
    )
    assert max(z_scores(siblings, 2 * one + two, expected, batch.group)) < 4
    assert max(z_scores(group, 2 * one + two, expected, batch.group)) > 10


def test_tokens_of_a_turn_share_its_credit():
    table = dials.apply(FAMILIES["Lookup"].build(0), spell=1)
    sampler = Sampler(table, uniform(table), 0)
    sample = sampler.groups(30, 4)
    batch, labels = sample.trajectories, Provided(sampler, sample, evaluate(table, uniform(table)))["labels"]
    parts = spans(batch)
    assert int(batch.lengths.max()) > int(batch.turn.max()) + 1
    last = parts.at_end(torch.ones_like(parts.present, dtype=torch.float64)) > 0
    assert torch.all(turn_reward(batch, labels)[~last] == 0)
    assert torch.all(mig_gain(batch, labels=labels).step_reward[~last] == 0)
    for estimate in (mt_grpo, functools.partial(mt_grpo, level="turn", turns=None), mig, mig_stepwise, igpo):
        credit = estimate(batch, labels=labels)
        assert torch.equal(parts.spread(credit.gather(1, parts.end)), credit)
        assert torch.any(credit != 0)
