"""Rewards of whole rollouts that the environment verifies: Perception-R1, Search-P1, GC-RL's critiques and their plan."""

import functools
import itertools

import numpy as np
import pytest
import torch
from batches import batches, make_batch, padded
from hypothesis import given, settings
from hypothesis import strategies as st

from credit_envs import dials
from credit_envs.credit.grpo import dr_grpo, grpo
from credit_envs.errors import CreditEnvsError, unknown
from credit_envs.evaluation.providers import Provided
from credit_envs.families import FAMILIES
from credit_envs.families.sums import careless
from credit_envs.oracle import Policy, evaluate, uniform
from credit_envs.plans.gc_rl import gc_rl, mixed_cache, written
from credit_envs.rewards.critique import critique_reward, rejected
from credit_envs.rewards.perception import facts_found, perception_r1, repeated
from credit_envs.rewards.search_p1 import acted, planned, search_p1
from credit_envs.sampling import Sampler
from credit_envs.table import union

numbers = functools.partial(torch.tensor, dtype=torch.float64)
few = settings(max_examples=60, deadline=None)
close = functools.partial(torch.allclose, rtol=1e-9, atol=1e-9)


def told(**rows):
    """Labels by hand: name → one list per rollout, one value longer than the longest rollout."""
    table = {name: padded(values, torch.int64) for name, values in rows.items()}

    def labels(name):
        if name not in table:
            raise unknown("label", name, table)
        return table[name]

    return labels


def luck(seed=0):
    def noise(salt, *shape):
        return torch.from_numpy(np.random.default_rng([seed, salt]).random(shape))

    return noise


def scene(table, n=16, size=4, policy=None, seed=0, plan=None):
    policy = uniform(table) if policy is None else policy
    sampler = Sampler(table, policy, seed)
    sample = sampler.groups(n, size) if plan is None else plan(sampler, n, size)
    return sample, Provided(sampler, sample, evaluate(table, policy))


# -- Perception-R1 ---------------------------------------------------------------------------------------------------


def test_perception_by_hand():
    """Two of three facts stated; right; no repetition: 0.9 + 0.1 + 0.7·2/3. Wrong and nothing stated: 0.1."""
    batch = make_batch([[0, 1.0], [0, 0.0]])
    labels = told(stated=[[0, 1, 5], [0, 0, 0]], key_facts=[[3, 3, 3]] * 2)
    paid = perception_r1(batch, labels=labels, noise=luck())
    assert close(paid.reward, numbers([[0, 0.9 + 0.1 + 0.7 * 2 / 3], [0, 0.1]]))
    assert close(facts_found(labels, luck(), accuracy=0.0), numbers([1 / 3, 1]))  # each verdict turned round
    none = told(stated=[[0] * 3] * 2, key_facts=[[0] * 3] * 2)
    assert close(perception_r1(batch, labels=none, noise=luck(), accuracy=0.3).returns, numbers([1.0, 0.1]))
    mixed = told(stated=[[0, 0, 1], [0, 0, 1]], key_facts=[[1] * 3, [2] * 3])
    assert close(facts_found(mixed, luck()), numbers([1, 0.5]))


@few
@given(batches(max_steps=12), st.integers(1, 5))
def test_repetition_by_a_naive_loop(batch, n):
    got = repeated(batch, n)
    for i in range(batch.n_rollouts):
        actions = batch.action[i][batch.mask[i]].tolist()
        grams = [tuple(actions[j : j + n]) for j in range(len(actions) - n + 1)]
        expected = 1 - len(set(grams)) / len(grams) if grams else 0
        assert float(got[i]) == pytest.approx(expected)


def test_repetition_costs_two_times_its_share():
    batch = make_batch([[0.0] * 22], actions=[[0] * 22])
    labels = told(stated=[[0] * 23], key_facts=[[1] * 23])
    assert float(perception_r1(batch, labels=labels, noise=luck()).returns) == pytest.approx(0.1 - 2 * 2 / 3)
    assert float(repeated(batch, 23)) == 0


@few
@given(batches(min_size=2), st.sampled_from([0.0, 0.3, 1.0]))
def test_without_facts_and_repetitions_it_is_the_outcome(batch, offset):
    labels = told(stated=[[0] * 9] * batch.n_rollouts, key_facts=[[2] * 9] * batch.n_rollouts)
    paid = perception_r1(batch, labels=labels, noise=luck(), facts=0, repetition=0, form=offset)
    assert close(dr_grpo(paid), 0.9 * dr_grpo(batch))
    assert close(paid.returns, 0.9 * batch.returns + offset)


@pytest.mark.parametrize("accuracy", [0.5, 0.8, 1.0])
def test_a_judge_tells_as_much_as_it_is_accurate(accuracy):
    """E[r_v | share s] = (2a − 1) s + 1 − a: at a = 1/2 nothing; the slope is checked on Charts within 4 errors."""
    sample, provided = scene(FAMILIES["Charts"].build(0), n=500, size=8)
    labels = provided["labels"]
    share = labels("facts")[:, -1] / labels("key_facts")[:, -1].double()
    assert close(facts_found(labels, provided["noise"], 1.0), share)
    error = facts_found(labels, provided["noise"], accuracy) - ((2 * accuracy - 1) * share + 1 - accuracy)
    for value in torch.unique(share):
        own = error[share == value]
        assert abs(float(own.mean())) < 4 * float(own.std()) / len(own) ** 0.5 + 1e-12
    spread = share - share.mean()
    slope = float((spread * (error * spread)).sum() / (spread**2).sum())
    assert abs(slope) < 0.02
    paid = perception_r1(sample.trajectories, labels=labels, noise=provided["noise"], accuracy=accuracy)
    assert torch.all((paid.reward != 0).sum(dim=1) <= 1)


def test_judge_agrees_with_the_family_s_own():
    from credit_envs.families.charts_judge import judge

    sample, provided = scene(FAMILIES["Charts"].build(1), n=20)
    own = judge(provided.sampler.table, sample.truth.final.numpy()).share
    assert facts_found(provided["labels"], provided["noise"]).numpy() == pytest.approx(own)


# -- Search-P1 -------------------------------------------------------------------------------------------------------


def planned_batch(item_switches, symbols, segments, boundaries=None):
    """One rollout with three fields per step; per step: whether it switches, the symbol in force, segment before."""
    n = len(item_switches)
    field = [0, 1, 2] * n + [0]
    subgoal = []
    for i in range(n):
        before = symbols[i - 1] if i else 0
        subgoal += [before, 0 if item_switches[i] else symbols[i], symbols[i]]
    segment = [s for s in segments[:-1] for _ in range(3)] + [segments[-1]]
    true = boundaries or [1, *(int(a != b) for a, b in itertools.pairwise(segments[:-1]))]
    boundary = [x for b in true for x in (b, 0, 0)] + [0]
    labels = {"field": [field], "subgoal": [[*subgoal, symbols[-1]]], "segment": [segment], "boundary": [boundary]}
    return make_batch([[0.0] * (3 * n)]), labels


def test_a_perfect_plan_earns_what_the_planner_is_worth():
    """One action per subgoal, plan = execution = reference: R_path = r_planner = 1.2."""
    batch, labels = planned_batch([1, 1, 1], [1, 2, 3], [0, 1, 2, 3])
    labels["reference_left"] = [[3, 3, 3, 2, 2, 2, 1, 1, 1, 0]]
    found = planned(batch, told(**labels))
    assert (float(found.subgoals), float(found.executed), float(found.quality)) == (3, 3, 1.2)
    assert acted(batch, told(**labels)).sum() == 3
    paid = search_p1(batch, labels=told(**labels), path=1, outcome=0, form=0)
    assert float(paid.returns) == pytest.approx(1.2)
    del labels["reference_left"]  # no reference: the plan's track alone
    assert float(search_p1(batch, labels=told(**labels), path=1, outcome=0, form=0).returns) == pytest.approx(1.2)


@pytest.mark.parametrize(
    ("switches", "segments", "n_plan", "n_exec", "quality"),
    [
        ([1, 0, 1], [0, 0, 1, 2], 2, 2, 1.2),  # two steps for the first subgoal; the last one reached at the end
        ([1, 1, 1], [0, 0, 1, 2], 3, 2, 1.0),  # one switch too many
        ([1, 0, 0, 1], [0, 1, 2, 2, 3], 2, 2, 0.2),  # none of the boundaries is switched at
        ([1, 1, 0], [0, 1, 2, 3], 2, 2, 0.6),  # one of two
        ([1, 0, 0], [0, 0, 0, 0], 1, 0, 1.2),  # nothing reached, nothing said beside
        ([1, 1, 0], [0, 0, 0, 0], 2, 0, 0.2),
    ],
)
def test_plans_by_hand(switches, segments, n_plan, n_exec, quality):
    symbols = np.cumsum(switches).tolist()
    batch, labels = planned_batch(switches, symbols, segments)
    found = planned(batch, told(**labels))
    assert (float(found.subgoals), float(found.executed), float(found.quality)) == (n_plan, n_exec, quality)
    paid = search_p1(batch, labels=told(**labels), path=1, outcome=0, form=0)
    n = len(switches)
    assert float(paid.returns) == pytest.approx(quality * n_exec / n_plan * n_exec / n)
    crude = search_p1(batch, labels=told(**labels), path=1, outcome=0, form=0, efficiency=False)
    assert float(crude.returns) == pytest.approx(quality * n_exec / n_plan)


def test_reference_track_by_hand():
    """Five steps to cover, three covered in six actions; then an answer that is wrong, or right."""
    batch = make_batch([[0.0] * 6, [0, 0, 0, 0, 1.0]])
    labels = told(reference_left=[[5, 4, 4, 3, 4, 2, -1], [5, 4, 3, 2, 1, 0, 0]])
    path = search_p1(batch, labels=labels, path=1, outcome=0, form=0)
    assert close(path.returns, numbers([3 / 5 * 3 / 6, 1.0]))
    whole = search_p1(batch, labels=labels)
    # Soft: 0.2 of the share covered, as the table knows no posterior.
    assert close(whole.returns, numbers([0.3 * 0.3 + 0.6 * 0.2 * 0.6 + 0.01, 0.3 + 0.6 + 0.01]))
    assert close(search_p1(batch, labels=labels, soft=False).returns, numbers([0.3 * 0.3 + 0.01, 0.91]))
    cut = told(reference_left=[[5, 4, 4, 3, 4, 2, 3], [5, 4, 3, 2, 1, 0, 0]])
    assert close(search_p1(batch, labels=cut).returns, numbers([0.09 + 0.072 + 0.005, 0.91]))
    assert close(search_p1(batch, labels=cut, strict=True).returns, numbers([0.0, 0.91]))
    last = torch.arange(6) == batch.lengths[:, None] - 1
    assert torch.all(whole.reward[~last] == 0)


@few
@given(batches(min_size=2))
def test_weights_off_is_the_outcome(batch):
    batch = batch.replace(reward=(batch.reward > 0).double())  # at least 1 where anything was paid
    labels = told(reference_left=[[3] * (batch.mask.shape[1] + 1)] * batch.n_rollouts)
    paid = search_p1(batch, labels=labels, path=0, form=0, soft=False)
    solved = batch.replace(reward=paid.reward / 0.6)
    assert torch.equal(solved.returns, (batch.returns >= 1).double())
    constant = search_p1(batch, labels=labels, form=0.5, soft=False)
    assert close(dr_grpo(constant), dr_grpo(paid))  # the same path and format for all


def test_repeating_actions_lowers_both_tracks():
    batch, labels = planned_batch([1, 1], [1, 2], [0, 1, 2])
    labels["reference_left"] = [[2, 2, 2, 1, 1, 1, 0]]
    longer, again = planned_batch([1, 0, 1, 0], [1, 1, 2, 2], [0, 0, 1, 1, 2])
    again["reference_left"] = [[2] * 6 + [1] * 6 + [0]]
    both = [search_p1(b, labels=told(**x), path=1, outcome=0, form=0) for b, x in ((batch, labels), (longer, again))]
    assert float(both[0].returns) == pytest.approx(1.2)
    assert float(both[1].returns) == pytest.approx(0.6)
    for x in (labels, again):
        del x["field"]
    both = [search_p1(b, labels=told(**x), path=1, outcome=0, form=0) for b, x in ((batch, labels), (longer, again))]
    assert [float(b.returns) for b in both] == pytest.approx([2 / 6, 2 / 12])


def test_neither_track():
    with pytest.raises(CreditEnvsError, match="expected a table with one of the labels reference_left, field"):
        search_p1(make_batch([[1.0]]), labels=told(mood=[[0, 0]]))


def test_the_reference_of_lookup_scores_full():
    table = FAMILIES["Lookup"].build(0, noise=0)
    reference = table.labels["reference_action"]
    rows = np.where((reference >= 0)[:, None], np.eye(table.n_actions)[reference], uniform(table))
    sample, provided = scene(table, policy=Policy("state", rows))
    paid = search_p1(sample.trajectories, labels=provided["labels"])
    assert close(paid.returns, torch.full_like(paid.returns, 0.3 + 0.6 + 0.01))
    sample, provided = scene(table, n=100)
    paid = search_p1(sample.trajectories, labels=provided["labels"])
    won = sample.trajectories.returns == 1
    assert float(paid.returns[won].min()) >= 0.61
    # At best all but the answer in five actions: 0.3·(4/5)² for the path, 0.6·0.2 as the answer was known, the format.
    assert float(paid.returns[~won].max()) == pytest.approx(0.3 * 0.64 + 0.12 + 0.01)
    assert float(paid.returns.min()) > 0


@pytest.mark.parametrize("dial", [{}, {"spell": 1}, {"plan": 2}, {"plan": 2, "spell": 1}])
def test_levels_below_the_action_by_a_naive_loop(dial):
    """However an action is uttered, it counts once; plans are read off step by step."""
    table = dials.apply(FAMILIES["Lookup"].build(0), **dial)
    sample, provided = scene(table, n=40)
    batch, labels = sample.trajectories, provided["labels"]
    got = search_p1(batch, labels=labels, outcome=0, form=0)
    count = acted(batch, labels).sum(dim=1)
    names = {"reference_left", "segment", "field", "subgoal", "boundary", "token"} & set(table.labels)
    told = {name: labels(name).tolist() for name in names}
    best = 0.0
    for i in range(batch.n_rollouts):
        own = {name: rows[i] for name, rows in told.items()}
        steps = range(int(batch.lengths[i]))
        begun = [t for t in steps if own.get("token", [0] * 999)[t] == 0 and own.get("field", [2] * 999)[t] == 2]
        assert int(count[i]) == len(begun)
        left = [5 if x < 0 else x for x in own["reference_left"][: len(steps) + 1]]
        covered = 5 - min(left)
        score = covered / 5 * covered / max(len(begun), 1)
        if "plan" in dial:
            items, executed, hits, spare, missed = 0, set(), 0, 0, 0
            for t in steps:
                if own["field"][t] == 0 and own["field"][t + 1] == 1:
                    switch, first, true = own["subgoal"][t + 1] == 0, own["subgoal"][t] == 0, own["boundary"][t]
                    items += switch
                    hits += (not first) and switch and true
                    spare += (not first) and switch and not true
                    missed += (not first) and (not switch) and true
                if own["segment"][t + 1] > own["segment"][t]:
                    executed.add(items)
            quality = 1.2 if not (spare or missed) else 1.0 if hits and not missed else 0.6 if hits else 0.2
            score = max(score, quality * len(executed) / max(items, 1) * len(executed) / max(len(begun), 1))
        assert float(got.returns[i]) == pytest.approx(0.3 * score)
        best = max(best, score)
    assert best > 0.1


# -- GC-RL -----------------------------------------------------------------------------------------------------------


def both(seed=3, **knobs):
    return FAMILIES["Sums"].build(seed, **{"task": "both", "base": 4, "columns": 2, **knobs})


def judging(table, slip, verdict):
    """Careless at solving; always the same verdict in a critique."""
    rows = careless(table, slip)
    token = next(a for a, name in enumerate(table.action_names) if name.endswith(f"|{verdict}"))
    rows[table.labels["task"] == 1] = np.eye(table.n_actions)[token]
    return Policy("state", rows)


def lines(table, state):
    """What stands in each column of a solution that is given."""
    return [line.partition("= ")[2] for line in table.view("text").rows(np.array([state]))[0].splitlines()[1:-1]]


@pytest.mark.parametrize("knobs", [{}, {"repairs": 0, "terms": 3}, {"paid": "answer"}])
def test_a_solution_becomes_the_critique_that_shows_it(knobs):
    table = both(**knobs)
    sample, _ = scene(
        table, n=100, policy=careless(table, 0.4), plan=lambda s, n, g: s.groups(n, g, torch.zeros(n).long())
    )
    context = written(sample, table)
    batch, names, labels = sample.trajectories, table.action_names, table.labels
    plain = [name.split("|")[0] for name in names]
    shown = {tuple(lines(table, s)): c for c, s in enumerate(table.start_state) if labels["task"][s] == 1}
    seen = set()
    for i in range(batch.n_rollouts):
        columns = {}
        for t in range(int(batch.lengths[i])):
            state, token = int(sample.truth.state[i, t]), plain[int(batch.action[i, t])]
            column, turn = int(labels["segment"][state]), int(labels["turn"][state])
            if turn < 2:
                columns[column, turn] = token
        solution = tuple(f"{columns[c, 0]}, carry {columns[c, 1]}" for c in range(2))
        expected = shown.get(solution, -1)
        assert int(context[i]) == expected
        seen.add(expected >= 0)
        if expected >= 0:
            assert (labels["error"][table.start_state[expected]] == 2) == (batch.returns[i] > 0)
    assert seen == {True, False}


def test_the_cache_holds_one_right_and_one_wrong_solution_of_each_mixed_group():
    table = both()
    sampler = Sampler(table, careless(table, 0.3), 0)
    sample = gc_rl(sampler, 30, 6)
    batch = sample.trajectories
    task = torch.from_numpy(table.labels["task"].copy())[sample.truth.state[:, 0]]
    first = sample.rows(torch.nonzero(task == 0).squeeze(1))
    assert torch.equal(first.trajectories.group, torch.arange(30).repeat_interleave(6))
    cache = mixed_cache(first, table)
    paid = first.trajectories.returns.view(30, 6)
    mixed = (paid.amax(dim=1) > 0) & (paid.amin(dim=1) == 0)
    assert cache.mixed == int(mixed.sum()) > 10
    context = written(first, table).view(30, 6)
    usable = [g for g in range(30) if mixed[g] and ((context[g] >= 0) & (paid[g] == 0)).any()]
    assert len(cache.context) == 2 * len(usable)
    assert cache.skipped == int(((context < 0) & mixed[:, None]).sum()) > 0
    pairs = cache.rollout.view(-1, 2)
    assert torch.all(first.trajectories.returns[pairs] == numbers([1, 0]))
    assert torch.equal(first.trajectories.group[pairs[:, 0]], torch.tensor(usable))
    assert torch.equal(first.trajectories.group[pairs[:, 1]], torch.tensor(usable))
    # Critiques: a group of six for each, numbered on, of the solution itself.
    second = batch.group >= 30
    assert torch.equal(task == 1, second)
    assert batch.n_groups == 30 + len(cache.context)
    assert torch.equal(batch.context[second], cache.context.repeat_interleave(6))
    assert len(torch.unique(batch.tree)) == batch.n_rollouts
    assert int(batch.mask.sum()) == sampler.meter.env_steps


def test_without_mixed_groups_it_is_plain_groups():
    table = both()
    sample = gc_rl(Sampler(table, careless(table, 0.0), 0), 10, 4)  # never wrong
    batch = sample.trajectories
    assert (batch.n_groups, float(batch.returns.min())) == (10, 1.0)
    plain = Sampler(table, careless(table, 0.0), 0).groups(10, 4, torch.zeros(10).long()).trajectories
    assert torch.equal(batch.action, plain.action)


def test_pools_keep_critiques_with_their_own_question():
    table = union([both(1), both(2)])
    sample = gc_rl(Sampler(table, careless(table, 0.3), 0), 40, 6)
    batch, start = sample.trajectories, table.start_state
    instance = torch.from_numpy(table.labels["instance"][start[batch.context]])
    assert set(instance[batch.group < 40].tolist()) == {0, 1}
    first = sample.rows(torch.nonzero(batch.group < 40).squeeze(1))
    cache = mixed_cache(first, table)
    assert torch.equal(
        torch.from_numpy(table.labels["instance"][start[cache.context]]),
        torch.from_numpy(table.labels["instance"][start[first.trajectories.context[cache.rollout]]]),
    )
    sampler = Sampler(table, careless(table, 0.3), 0)
    drawn = [gc_rl(sampler, 40, 1).trajectories.context.tolist() for _ in range(2)]
    assert drawn[0] != drawn[1]


@pytest.mark.parametrize(("verdict", "earned"), [("right", 0), ("wrong", 1)])
def test_a_constant_judge_earns_a_half_of_0_7_and_no_advantage(verdict, earned):
    table = both()
    sample, provided = scene(table, n=40, size=6, policy=judging(table, 0.3, verdict), plan=gc_rl)
    paid = critique_reward(sample.trajectories, labels=provided["labels"])
    second = provided["labels"]("task")[:, 0] == 1
    returns = paid.returns[second].view(-1, 2, 6)
    assert torch.all(returns[:, earned] == 0.7)
    assert torch.all(returns[:, 1 - earned] == 0)
    assert float(returns.mean()) == pytest.approx(0.35)
    assert torch.all(grpo(paid)[second] == 0)
    assert torch.equal(paid.reward[~second], sample.trajectories.reward[~second])


def test_critique_verdicts_by_a_naive_loop():
    table = both(columns=3)
    sample, provided = scene(table, n=200, size=2)
    batch, labels = sample.trajectories, provided["labels"]
    judged = rejected(batch, labels)
    paid, exact = (critique_reward(batch, labels=labels, place=place) for place in (False, True))
    balanced = critique_reward(batch, labels=labels, balanced=True)
    nothing = critique_reward(batch, labels=labels, weight=0)
    sound = torch.from_numpy(table.labels["error"][table.start_state[batch.context]] == 3)
    critique = torch.from_numpy(table.labels["task"][table.start_state[batch.context]] == 1)
    share = float(sound[critique].double().mean())
    for i in range(batch.n_rollouts):
        if not critique[i]:
            assert torch.equal(paid.reward[i], batch.reward[i])
            continue
        said = [table.action_names[a].split("|")[1] for a in batch.action[i][batch.mask[i]].tolist()]
        verdict = said[-1] == "right"
        assert bool(judged[i]) != verdict
        assert float(paid.returns[i]) == pytest.approx(0.7 * (verdict == bool(sound[i])))
        assert float(exact.returns[i]) == pytest.approx(0.7 * float(batch.returns[i]))
        weight = 0.35 / (share if sound[i] else 1 - share)
        assert float(balanced.returns[i]) == pytest.approx(weight * (verdict == bool(sound[i])))
    assert torch.all(nothing.returns[critique] == 0)
    # A right verdict at the wrong column scores; the task itself does not pay it.
    assert int(((paid.returns > 0) & (batch.returns == 0) & critique).sum()) > 0


def test_search_p1_and_critiques_commute():
    table = both()
    sample, provided = scene(table, n=30, size=4, policy=careless(table, 0.4), plan=gc_rl)
    batch, labels = sample.trajectories, provided["labels"]
    one = critique_reward(search_p1(batch, labels=labels), labels=labels)
    other = search_p1(critique_reward(batch, labels=labels), labels=labels)
    assert torch.equal(one.reward, other.reward)
    critique = labels("task")[:, 0] == 1
    assert torch.equal(one.reward[critique], critique_reward(batch, labels=labels).reward[critique])
    assert torch.equal(one.reward[~critique], search_p1(batch, labels=labels).reward[~critique])


def test_tables_without_both_tasks_are_refused():
    solve = FAMILIES["Sums"].build(0)
    with pytest.raises(
        CreditEnvsError, match="gc_rl: Sums lacks a critique of what it solves; expected Sums with task='both'"
    ):
        gc_rl(Sampler(solve, uniform(solve), 0), 2, 2)
    spelled = dials.apply(both(), spell=1)
    with pytest.raises(CreditEnvsError, match="without the label token"):
        gc_rl(Sampler(spelled, uniform(spelled), 0), 2, 2)
    sample, provided = scene(spelled, n=2)
    with pytest.raises(CreditEnvsError, match="without the label token"):
        critique_reward(sample.trajectories, labels=provided["labels"])
