"""HiPER: hierarchical advantages against a loop over turns, always and never switching, and exact critics."""

import functools

import numpy as np
import pytest
import torch
from batches import batches, make_batch
from gaps import with_gaps
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import make_random_table, random_policy
from test_credit_statistics import assert_biased, assert_zero_mean

from credit_envs.credit.critics import fitted, predicted
from credit_envs.credit.gae import gae
from credit_envs.credit.hae import Layout, boundaries_at, hierarchical
from credit_envs.credit.hiper import hiper, hiper_exact, hiper_on, read_plan, switch_term
from credit_envs.credit.segments import hiper_segments, segments_on
from credit_envs.dials.plan import ACTION, SUBGOAL, SWITCH, plan
from credit_envs.dials.spell import spell
from credit_envs.errors import CreditEnvsError
from credit_envs.evaluation.providers import Provided
from credit_envs.oracle import Policy, evaluate, uniform
from credit_envs.sampling import Sampler
from credit_envs.sampling.packing import Packing

few = settings(max_examples=60, deadline=None)
close = functools.partial(torch.allclose, rtol=1e-9, atol=1e-9)
unit = st.sampled_from([1.0, 0.9, 0.5, 0.0])


@functools.cache
def scene(seed, groups=40, size=3, switching=None, inadmissible=0.0):
    """A planned random table with segments, a policy (that switches always, never again or as it likes), and a sample."""
    tables = (make_random_table(s, 6, 2, 4, n_starts=2, cutoff=True) for s in range(seed * 100, 9999))
    table = next(t for t in tables if t.n_states >= 5)
    segment = np.random.default_rng(seed).integers(0, 2, table.n_states)
    table = plan(table.replace(labels={"segment": segment}), 2)
    weight = 0.3 * uniform(table) + 0.7 * random_policy(table, seed)
    if switching is not None:
        keep, switch = table.action_names.index("keep"), table.action_names.index("switch")
        free = weight[:, keep] > 0
        weight[free, switch], weight[free, keep] = switching, 1 - switching
    weight = (1 - inadmissible) * weight + inadmissible / weight.shape[1]
    policy = Policy("state", weight)
    sampler = Sampler(table, policy, seed)
    sample = sampler.groups(groups, size)
    return table, sampler, sample, evaluate(table, policy)


def given_values(batch, seed):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=batch.mask.shape))


def columns(batch, labels):
    """Per rollout: the turns as lists of (column, field), and whether each switched."""
    field, subgoal = labels("field"), labels("subgoal")
    out = []
    for i in range(batch.n_rollouts):
        turns = []
        for t in torch.nonzero(batch.mask[i]).flatten().tolist():
            f = int(field[i, t])
            if f == SWITCH and (not turns or turns[-1][-1][1] != SWITCH):
                turns.append([])
            turns[-1].append((t, f))
        switched = [any(f == SUBGOAL and subgoal[i, t] == 0 for t, f in turn) for turn in turns]
        out.append((turns, switched))
    return out


def reference(batch, labels, value, switch, gamma, lam, lam_segment, begins):
    """The equations turn by turn, with rewards and discounts counted in columns."""
    out = torch.zeros_like(batch.reward)
    for i, (turns, _) in enumerate(columns(batch, labels)):
        end = int(batch.lengths[i])
        row = of_rollout(turns, batch.reward[i].tolist(), value[i].tolist(), end, gamma, lam, lam_segment, begins[i])
        for turn, (low, high, rest) in zip(turns, row, strict=True):
            for t, f in turn:
                term = rest if switch is None else float(switch[i, turn[0][0]])
                out[i, t] = {SWITCH: term, SUBGOAL: high, ACTION: low}[f]
    return out


def of_rollout(turns, r, v, end, gamma, lam, lam_segment, begins):
    """(A^low, A^high, A^term) of every turn; zero where a turn was cut off before the field."""
    heads = [[next((t for t, f in turn if f == kind), None) for kind in (SWITCH, SUBGOAL, ACTION)] for turn in turns]
    first = [k for k in range(len(turns)) if begins[k]]

    def worth(a, b):  # rewards of columns a … b − 1, discounted to a
        return sum(gamma ** (t - a) * r[t] for t in range(a, b))

    def opening(k):  # V_high of the segment that turn k begins, and where it stands; None: there is none
        at = None if k is None else heads[k][1]
        return (v[at], at) if at is not None else (0.0, end)

    def later(k):
        return next((j for j in first if j > k), None)

    above, out, below = {}, [], 0.0
    for k in reversed(first):
        a = heads[k][1]
        if a is not None:
            ahead, place = opening(later(k))
            carried = lam_segment * above.get(later(k), 0.0)
            above[k] = worth(a, place) + gamma ** (place - a) * (ahead + carried) - v[a]
    for k in reversed(range(len(turns))):
        decide, _, a = heads[k]
        ahead, place = opening(later(k))
        rest = worth(decide, place) + gamma ** (place - decide) * ahead - v[decide]
        if k + 1 == len(turns) or begins[k + 1]:
            below = 0.0
        elif heads[k + 1][2] is None:
            (ahead, place), below = (0.0, end), 0.0
        else:
            place = heads[k + 1][2]
            ahead = v[place]
        below = 0.0 if a is None else worth(a, place) + gamma ** (place - a) * (ahead + lam * below) - v[a]
        out.insert(0, (below, above.get(k, 0.0), rest))
    return out


def begins_by(batch, labels, kind, shift=0, every=0):
    boundary = labels("boundary")
    out = []
    for i, (turns, switched) in enumerate(columns(batch, labels)):
        marks = switched if kind == "policy" else [bool(boundary[i, turn[0][0]]) for turn in turns]
        if every:
            marks = [k % every == 0 for k in range(len(turns))]
        else:
            marks = [k == 0 or (k >= shift and marks[k - shift]) for k in range(len(turns))]
        out.append(marks)
    return out


@few
@given(
    st.integers(1, 4),
    unit,
    unit,
    unit,
    st.booleans(),
    st.sampled_from(["policy", "label"]),
    st.integers(0, 3),
    st.integers(0, 2),
)
def test_against_a_loop_over_turns(seed, gamma, lam, lam_segment, released, kind, every, shift):
    _, sampler, sample, values = scene(seed, 8)
    batch, labels = sample.trajectories, Provided(sampler, sample, values)["labels"]
    value = given_values(batch, seed)
    switch = None if released else given_values(batch, seed + 1)
    got = hiper_on(batch, labels, value, switch, gamma, lam, lam_segment, kind, shift, every)
    begins = begins_by(batch, labels, kind, shift, every)
    assert close(got, reference(batch, labels, value, switch, gamma, lam, lam_segment, begins))


@pytest.mark.parametrize("seed", [1, 2])
def test_inadmissible_words_leave_the_field_where_it_is(seed):
    """Fields then take several steps, all of which share their field's advantage; cut-off turns lack their later fields."""
    _, sampler, sample, values = scene(seed, 30, 3, None, 0.4)
    batch, labels = sample.trajectories, Provided(sampler, sample, values)["labels"]
    turns = columns(batch, labels)
    assert any(len(turn) > 3 for row, _ in turns for turn in row)
    value, switch = given_values(batch, seed), given_values(batch, seed + 1)
    begins = begins_by(batch, labels, "policy")
    got = hiper_on(batch, labels, value, switch, 0.9, 0.8, 0.7)
    expected = reference(batch, labels, value, switch, 0.9, 0.8, 0.7, begins)
    whole = torch.zeros_like(batch.mask)
    for i, (row, _) in enumerate(turns):
        for turn in row:
            whole[i, [t for t, _ in turn]] = {f for _, f in turn} == {SWITCH, SUBGOAL, ACTION}
    assert close(got[whole], expected[whole])
    assert torch.all(got.isfinite())


def test_masks_are_disjoint_and_complete():
    _, sampler, sample, values = scene(1)
    batch, labels = sample.trajectories, Provided(sampler, sample, values)["labels"]
    field, packing = labels("field")[:, :-1], Packing(batch.mask)
    one, nothing = torch.ones_like(batch.reward), torch.zeros_like(batch.reward)
    switched = read_plan(labels, packing).switched
    only_switch = hiper_on(batch.replace(reward=nothing), labels, nothing, one)
    assert torch.equal(only_switch != 0, batch.mask & (field == SWITCH))
    # V = 1 at subgoals only: the subgoals of turns that switched, and actions right before them, feel it.
    at_subgoal = torch.where(field == SUBGOAL, 1.0, nothing)
    got = hiper_on(batch.replace(reward=nothing), labels, at_subgoal, nothing, lam=0.0, lam_segment=0.0)
    last = torch.zeros_like(batch.mask)
    last[torch.arange(batch.n_rollouts), batch.lengths - 1] = True
    kept = batch.mask & (field == SUBGOAL) & ~switched
    assert bool(kept.any())
    assert torch.all(got[kept] == 0)
    assert torch.all(got[batch.mask & (field == SWITCH)] == 0)
    after = torch.zeros_like(switched)
    after[:, :-1] = switched[:, 1:]
    feels = batch.mask & (field == ACTION) & after & ~last
    assert torch.all(got[feels] == 1)
    assert torch.all(got[batch.mask & (field == ACTION) & ~feels] == 0)


def test_normalising_each_part():
    _, sampler, sample, values = scene(1)
    batch, labels = sample.trajectories, Provided(sampler, sample, values)["labels"]
    value, switch = given_values(batch, 0), given_values(batch, 1)
    plain = hiper_on(batch, labels, value, switch)
    normed = hiper_on(batch, labels, value, switch, normalise=True)
    field, switched = labels("field")[:, :-1], read_plan(labels, Packing(batch.mask)).switched
    for kind in (SWITCH, SUBGOAL, ACTION):
        at = batch.mask & (field == kind) & (switched | (field != SUBGOAL))
        expected = (plain[at] - plain[at].mean()) / (plain[at].std(correction=0) + 1e-6)
        assert close(normed[at], expected)


@pytest.mark.parametrize("seed", [1, 2])
def test_observation_tokens_change_nothing(seed):
    _, sampler, sample, values = scene(seed, 20)
    batch, labels = sample.trajectories, Provided(sampler, sample, values)["labels"]
    value, switch = given_values(batch, 0), given_values(batch, 1)
    wide, move = with_gaps(batch, seed)

    def wide_labels(name):
        rubbish = torch.from_numpy(
            np.random.default_rng(seed).integers(0, 3, (wide.n_rollouts, wide.mask.shape[1] + 1))
        )
        rubbish[:, :-1] = torch.where(wide.mask, move(labels(name)[:, :-1]), rubbish[:, :-1])
        return rubbish

    for term in (switch, None):
        got = hiper_on(wide, wide_labels, move(value), None if term is None else move(term), 0.9, 0.8, 0.7)
        assert close(got, move(hiper_on(batch, labels, value, term, 0.9, 0.8, 0.7)))
    data = sampler.groups(50, 3).trajectories
    assert close(switch_term(wide, wide_labels, data), move(switch_term(batch, labels, data)))


# -- identities of the paper -----------------------------------------------------------------------------------------


@few
@given(batches(max_steps=7), unit, unit, unit, st.integers(0, 99))
def test_always_and_never_switching_without_a_plan(batch, gamma, lam, lam_segment, seed):
    """On plain steps: a boundary everywhere gives one-step errors and flat GAE above; none gives flat GAE below."""
    high, low = given_values(batch, seed), given_values(batch, seed + 1)
    mask = batch.mask
    layout = Layout(mask, torch.where(mask, mask.cumsum(dim=1), 0), mask, mask, mask)
    low, high = torch.where(mask, low, 0.0), torch.where(mask, high, 0.0)
    later = torch.zeros_like(high)
    later[:, :-1] = high[:, 1:]
    always = hierarchical(batch.reward, layout, mask, high, low, gamma, lam, lam_segment)
    assert close(always.low, torch.where(mask, batch.reward + gamma * later - low, 0.0))
    assert close(always.high, gae(batch.reward, high, mask, gamma, lam_segment))
    first = mask & (layout.turn == 1)
    never = hierarchical(batch.reward, layout, first, high, low, gamma, lam, lam_segment)
    assert close(never.low, gae(batch.reward, low, mask, gamma, lam))
    whole = gae(batch.reward, torch.zeros_like(high), mask, gamma, 1.0)
    assert close(never.high, torch.where(first, whole - high, 0.0))
    assert close(never.rest, whole)


@pytest.mark.parametrize("switching", [0.0, 1.0])
def test_always_and_never_switching_with_a_plan(switching):
    _, sampler, sample, values = scene(1, 30, 3, switching)
    batch, labels = sample.trajectories, Provided(sampler, sample, values)["labels"]
    value = given_values(batch, 3)
    got = hiper_on(batch, labels, value, torch.zeros_like(value), 1.0, 0.6, 0.7)

    def every_third(tensor, f):
        return torch.where(batch.mask, tensor, 0.0)[:, f::3]

    reward, mask = every_third(batch.reward, ACTION), batch.mask[:, ACTION::3]
    assert torch.all(torch.where(batch.mask, batch.reward, 0.0)[:, SWITCH::3] == 0)
    high, low = every_third(value, SUBGOAL), every_third(value, ACTION)
    if switching:
        later = torch.zeros_like(high)
        later[:, :-1] = high[:, 1:]
        assert close(every_third(got, ACTION), torch.where(mask, reward + later - low, 0.0))
        assert close(every_third(got, SUBGOAL), gae(reward, high, mask, 1.0, 0.7))
    else:
        assert close(every_third(got, ACTION), gae(reward, low, mask, 1.0, 0.6))
        assert close(got[:, SUBGOAL], batch.returns - value[:, SUBGOAL])
        assert torch.all(every_third(got, SUBGOAL)[:, 1:] == 0)


# -- what it estimates -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [1, 3])
@pytest.mark.parametrize(("lam", "lam_segment"), [(1.0, 0.95), (0.0, 0.0), (0.5, 1.0)])
def test_exact_critics_give_the_advantage_of_all_three_fields(seed, lam, lam_segment):
    table, sampler, sample, values = scene(seed, 12_000)
    provided = Provided(sampler, sample, values)
    batch, labels, advantage = sample.trajectories, provided["labels"], provided["advantage"]
    for released in (False, True):
        got = hiper_exact(
            batch, labels=labels, value=provided["value"], lam=lam, lam_segment=lam_segment, released=released
        )
        assert_zero_mean(table, sample, got - advantage)
        assert_biased(table, sample, got - 1.5 * advantage)
    field = labels("field")[:, :-1]
    exact = hiper_exact(batch, labels=labels, value=provided["value"])
    at = batch.mask & (field == SWITCH)
    assert close(exact[at], advantage[at])  # no luck is left in the paper's switch term


def test_the_switch_term_is_learned():
    """(q − β)(V_switch − V_keep) from 12,000 fresh groups, against its exact value."""
    _, sampler, sample, values = scene(1, 2000)
    provided = Provided(sampler, sample, values)
    batch, labels = sample.trajectories, provided["labels"]
    data = provided["fresh"](12_000)
    got = switch_term(batch, labels, data)
    at = batch.mask & (labels("field")[:, :-1] == SWITCH)
    exact = provided["advantage"][at]
    assert torch.all(got[~at] == 0)
    assert torch.all(got[:, 0] == 0)  # the first turn must switch
    # Looks of a plan don't tell the step, so the learned term mixes remaining horizons; where they agree it is close.
    assert float(torch.corrcoef(torch.stack([got[at], exact]))[0, 1]) > 0.8


def test_the_switch_term_by_hand():
    """One decision look; P(switch) = 1/4 there; switching is worth 1, keeping 0."""
    # Columns: decide, subgoal, act. Looks: 0 first decision, 1 free subgoal, 2 act, 3 decision under a subgoal, 4 kept subgoal.
    policy = np.zeros((5, 4))
    policy[0, 1], policy[1, 2], policy[2, 3], policy[4, 2] = 1, 1, 1, 1
    policy[3, 0], policy[3, 1] = 0.75, 0.25
    turn, anchors = [1, 2, 3], [0, 1, 2, 3, 1, 2]
    rows = {
        "switch": (anchors, [1, *turn[1:], 1, *turn[1:]], 1.0),
        "keep": ([0, 1, 2, 3, 4, 2], [1, *turn[1:], 0, *turn[1:]], 0.0),
    }
    names = ["switch", "keep", "keep"]
    batch = make_batch(
        [[0.0] * 5 + [rows[n][2]] for n in names],
        anchors=[rows[n][0] for n in names],
        actions=[rows[n][1] for n in names],
        policy=policy,
    )
    field = torch.tensor([0, 1, 2, 0, 1, 2, 2]).expand(3, 7)
    subgoal = torch.tensor([[0, 0, 1, 1, 0, 1, 1], [0, 0, 1, 1, 1, 1, 1], [0, 0, 1, 1, 1, 1, 1]])
    labels = {"field": field, "subgoal": subgoal}.__getitem__
    got = switch_term(batch, labels, batch)
    assert got[:, 0].tolist() == [0, 0, 0]
    assert got[:, 3].tolist() == pytest.approx([(1 - 0.25) * 1, -0.25, -0.25])
    # Fresh rollouts that never kept there say nothing about keeping.
    alone = make_batch([[0.0] * 5 + [1.0]], [anchors], actions=[rows["switch"][1]], policy=policy)
    assert torch.all(switch_term(batch, labels, alone) == 0)


def test_learned_critics_and_their_needs():
    _, sampler, sample, values = scene(2, 60)
    provided = Provided(sampler, sample, values)
    batch, labels = sample.trajectories, provided["labels"]
    data = provided["fresh"](60)
    asked = []
    got = hiper(batch, labels=labels, fresh=lambda groups: asked.append(groups) or data)
    assert asked == [60]
    value = predicted(fitted(data, data.anchor, 1.0), batch.anchor)
    assert close(got, hiper_on(batch, labels, value, switch_term(batch, labels, data)))
    third = hiper(batch, labels=labels, fresh=lambda groups: data, released=True)
    assert close(third, hiper_on(batch, labels, value, None))
    at = batch.mask & (labels("field")[:, :-1] == SWITCH)
    assert torch.equal(third[~at], got[~at])
    wrong = hiper(batch, labels=labels, fresh=lambda groups: data, boundaries="label", shift=1)
    assert not torch.equal(wrong, hiper(batch, labels=labels, fresh=lambda groups: data, boundaries="label"))


def test_spelled_plans():
    """Words of one field share its advantage."""
    table = spell(plan(make_random_table(3, 5, 2, 3, n_starts=1, cutoff=True), 2), spell_pad=True)
    sampler = Sampler(table, uniform(table), 0)
    sample = sampler.groups(10, 4)
    provided = Provided(sampler, sample, evaluate(table, uniform(table)))
    batch, labels = sample.trajectories, provided["labels"]
    got = hiper_exact(batch, labels=labels, value=provided["value"])
    field = labels("field")[:, :-1]
    spoken = 0
    for i in range(batch.n_rollouts):
        for t in range(1, int(batch.lengths[i])):
            if field[i, t] == field[i, t - 1]:
                assert got[i, t] == got[i, t - 1]
                spoken += 1
    assert spoken > 20
    assert float(got.abs().sum()) > 0


# -- segments --------------------------------------------------------------------------------------------------------


@few
@given(batches(max_steps=7), unit, unit, st.integers(0, 2**20))
def test_segments_without_a_plan(batch, gamma, lam, seed):
    rng = np.random.default_rng(seed)
    segment = torch.from_numpy(rng.integers(0, 2, batch.mask.shape).cumsum(axis=1))
    batch = batch.replace(segment=torch.where(batch.mask, segment, 0))
    value = given_values(batch, seed)
    got = segments_on(batch, value, gamma, lam)
    for i, n in enumerate(batch.lengths.tolist()):
        for t in range(n):
            end = next((u for u in range(t + 1, n) if batch.segment[i, u] != batch.segment[i, t]), n)
            total = 0.0
            for u in range(t, end):
                ahead = float(value[i, u + 1]) if u + 1 < n else 0.0
                total += (gamma * lam) ** (u - t) * (float(batch.reward[i, u]) + gamma * ahead - float(value[i, u]))
            assert float(got[i, t]) == pytest.approx(total, abs=1e-9)
    assert close(segments_on(batch, value, gamma, lam, every=1), gae(batch.reward, value, batch.mask, gamma, 0.0))
    assert close(segments_on(batch, value, gamma, lam, every=50), gae(batch.reward, value, batch.mask, gamma, lam))
    wide, move = with_gaps(batch, seed)
    assert close(segments_on(wide, move(value), gamma, lam), move(got))


def test_boundaries_shifted_and_every_k():
    mask = torch.ones(1, 7, dtype=torch.bool)
    layout = Layout(mask, mask.cumsum(dim=1), mask, mask, mask)
    marked = torch.tensor([[0, 0, 1, 0, 0, 1, 0]]).bool()
    assert boundaries_at(marked, layout).int().tolist() == [[1, 0, 1, 0, 0, 1, 0]]
    assert boundaries_at(marked, layout, shift=1).int().tolist() == [[1, 0, 0, 1, 0, 0, 1]]
    assert boundaries_at(marked, layout, shift=3).int().tolist() == [[1, 0, 0, 0, 0, 1, 0]]
    assert boundaries_at(marked, layout, every=3).int().tolist() == [[1, 0, 0, 1, 0, 0, 1]]


def test_hiper_segments():
    batch = make_batch([[0, 1.0], [0.0]], anchors=[[1, 2], [1]]).replace(segment=torch.tensor([[0, 1], [0, 0]]))
    data = make_batch([[1.0, 1.0], [0.0]], anchors=[[1, 2], [1]])
    got = hiper_segments(batch, fresh=lambda groups: data)
    assert got.tolist() == [[0 + 1 - 1, 1 - 1.0], [0 - 1.0, 0.0]]
    joined = hiper_segments(batch, fresh=lambda groups: data, every=9)
    assert joined.tolist() == [[1 - 1.0, 1 - 1.0], [0 - 1.0, 0.0]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"gamma": 2}, "gamma=2"),
        ({"lam": -1}, "lam=-1"),
        ({"lam_segment": 3}, "lam_segment=3"),
        ({"boundaries": "right"}, r"boundaries='right': expected one of \('policy', 'label'\)"),
        ({"shift": -1}, "shift=-1"),
        ({"every": 1.5}, "every=1.5: expected an integer"),
    ],
)
def test_arguments_out_of_range(arguments, message):
    _, sampler, sample, values = scene(1)
    provided = Provided(sampler, sample, values)
    batch = sample.trajectories
    with pytest.raises(CreditEnvsError, match=message):
        hiper(batch, labels=provided["labels"], fresh=lambda groups: batch, **arguments)
