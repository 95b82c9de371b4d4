"""Tree search: node for node against a slow searcher, unbiased or optimal in the limit, and what it charges."""

import math

import numpy as np
import pytest
import torch
from brute_force import codes, executed, random_rows, rich_table
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import make_random_table, random_policy

from credit_envs.errors import CreditEnvsError
from credit_envs.oracle import Policy, evaluate, optimal, uniform
from credit_envs.sampling import Sampler, search_trees
from credit_envs.sampling.search import RULES, search
from credit_envs.sampling.search_kernel import PROPOSE, RANK, ROUNDING
from credit_envs.table import from_outcomes
from credit_envs.table.draws import ONE, Purpose, draw, mix_word, stream


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


class SlowSearcher:
    """One tree in plain Python, from the documented rules and the documented order of random words."""

    def __init__(
        self, table, policy, rule, c, gamma, skin=(), proposals=0, critic=None, accuracy=1.0, alpha=1.0, leaf=None
    ):
        self.table, self.policy, self.rule, self.c, self.gamma, self.skin = table, policy, rule, c, gamma, skin
        self.proposals, self.critic, self.accuracy, self.alpha, self.leaf = proposals, critic, accuracy, alpha, leaf
        self.steps = self.calls = 0

    def row(self, state, code):
        look = int(self.table.emission.base[state])
        obs = look * self.table.emission.n_codes + code
        return self.policy.probability[{"state": state, "look": look, "obs": obs}[self.policy.kind]]

    def moves(self, state, code=None):
        """Executed actions (None: the inadmissible move) with the policy's probabilities, averaged over looks or at one."""
        table = self.table
        actions = sorted(table.P[state])
        chance = dict.fromkeys([*actions, None], 0.0)
        for p, shown in codes(table, state, self.skin) if code is None else [(1.0, code)]:
            for named, q in enumerate(self.row(state, shown)):
                if self.policy.kind == "obs":
                    action = executed(table, state, named, shown)
                else:
                    action = named if named in table.P[state] else None
                chance[action] += p * float(q)
        if chance[None] < 1e-6:
            del chance[None]
        return chance

    def happens(self, state, action, t, key):
        table = self.table
        outcomes = [(1.0, state, table.inadmissible_reward, False)] if action is None else table.P[state][action]
        i = pick([o[0] for o in outcomes], draw(key, 2 * t + 1)) if len(outcomes) > 1 else 0
        return (*self.paid(outcomes[i], t), outcomes[i][1])

    def paid(self, outcome, t):
        table = self.table
        _, successor, reward, ends = outcome
        reward = float(table.reward_at(t, reward))
        if not ends and t + 1 == table.horizon:
            reward += 0.0 if table.cutoff_reward is None else float(table.cutoff_reward[successor])
            ends = True
        return reward, bool(ends)

    def open(self, node, key, code=None):
        """Makes a node's branches when it is first left."""
        chance = self.moves(node["state"], code)
        chance = {action: chance.get(action, 0.0) for action in self.moves(node["state"])}
        if self.proposals:
            drawn = [pick(list(chance.values()), draw(key, PROPOSE + i)) for i in range(self.proposals)]
            kept = list(dict.fromkeys(list(chance)[i] for i in drawn))
        else:
            kept = [action for action in chance if action is not None or self.rule == "policy"]
        self.calls += max(self.proposals, int(self.rule == "puct"))
        node["branches"] |= {a: {"p": chance[a], "n": 0, "w": 0.0, "score": 0.0, "children": {}} for a in kept}
        if self.critic is not None:
            self.ranked(node["state"], node["t"], key, node["branches"])

    def node(self, state, t):
        return {"state": state, "t": t, "n": 0, "total": 0.0, "known": 0, "branches": {}}

    def ranked(self, state, t, key, branches):
        def worth(action):
            outcomes = [(1.0, state, self.table.inadmissible_reward, False)]
            outcomes = outcomes if action is None else self.table.P[state][action]
            total = 0.0
            for outcome in outcomes:
                reward, ends = self.paid(outcome, t)
                total += outcome[0] * (reward + (0.0 if ends else self.gamma * self.critic[t + 1, outcome[1]]))
            return total

        left, n = list(branches), len(branches)
        for position in range(n):
            right = draw(key, RANK + 2 * position) < self.accuracy * ONE
            equals = [a for a in left if not right or worth(a) >= max(map(worth, left)) - ROUNDING]
            chosen = equals[int(draw(key, RANK + 2 * position + 1) / ONE * len(equals))]
            left.remove(chosen)
            branches[chosen]["score"] = 1.0 if n == 1 else (n - 1 - position) / (n - 1)

    def choose(self, node, t, key):
        branches = node["branches"]
        if self.rule == "policy":
            self.calls += 1
            return list(branches)[pick([b["p"] for b in branches.values()], draw(key, 2 * t))]
        n = 1 + node["n"]

        def score(branch):
            tried, q = branch["n"], branch["w"] / max(branch["n"], 1)
            if self.rule == "uct":
                return q + self.c * math.sqrt(math.log(n)) * (1 / math.sqrt(tried)) if tried else math.inf
            if self.rule == "puct":
                q = q if tried else (node["total"] / node["known"] if node["known"] else 0.0)
                return q + self.c * math.sqrt(n) * branch["p"] / (1 + tried)
            blend = self.alpha * q + (1 - self.alpha) * branch["score"]
            return blend + self.c * math.sqrt(math.log(n)) * (1 / math.sqrt(1 + tried))

        return max(branches, key=lambda a: score(branches[a]))  # of equals, the first

    def roll(self, state, t, key):
        total, weight = 0.0, 1.0
        while True:
            chance = self.moves(state)
            action = list(chance)[pick(list(chance.values()), draw(key, 2 * t))]
            reward, ends, state = self.happens(state, action, t, key)
            total += weight * reward
            self.steps, self.calls, t, weight = self.steps + 1, self.calls + 1, t + 1, weight * self.gamma
            if ends:
                return total

    def run(self, state, t0, code, key, simulations):
        root = self.node(state, t0)
        nodes = [root]
        if self.leaf is not None:
            root["total"], root["known"] = float(self.leaf[t0, state]), 1
        for simulation in range(simulations):
            luck = mix_word(key, simulation)
            node, t, path, value = root, t0, [], 0.0
            while True:
                if not node["branches"]:
                    self.open(node, luck, code if node is root else None)
                action = self.choose(node, t, luck)
                reward, ends, successor = self.happens(node["state"], action, t, luck)
                path.append((node, action, reward))
                self.steps, t = self.steps + 1, t + 1
                if ends:
                    break
                children = node["branches"][action]["children"]
                if successor not in children:
                    children[successor] = self.node(successor, t)
                    nodes.append(children[successor])
                    value = self.roll(successor, t, luck) if self.leaf is None else float(self.leaf[t, successor])
                    nodes[-1]["total"], nodes[-1]["known"] = value, 1
                    break
                node = children[successor]
            for node, action, reward in reversed(path):
                value = reward + self.gamma * value
                node["n"], node["total"], node["known"] = node["n"] + 1, node["total"] + value, node["known"] + 1
                node["branches"][action]["n"] += 1
                node["branches"][action]["w"] += value
        return nodes


def digits(table, code):
    """Digits of the per-episode layers of a code, −1 for the others."""
    out = []
    for layer in reversed(table.emission.layers):
        code, digit = divmod(code, layer.size)
        out.append(digit if layer.per_episode else -1)
    return tuple(reversed(out))


def name_of(table, policy, state, action, code):
    """Column of the policy's table that executes an action."""
    if policy.kind != "obs" or action is None:
        return action
    return next(n for n in table.P[state] if executed(table, state, n, code) == action)


def at_every_step(sample):
    return torch.nonzero(sample.trajectories.mask, as_tuple=True)


@settings(max_examples=80, deadline=None)
@given(
    rich_table(max_states=6, max_horizon=5),
    st.integers(0, 2**60),
    st.sampled_from(["state", "look", "obs"]),
    st.sampled_from(RULES),
    st.sampled_from([0.0, 0.7, math.sqrt(2)]),
    st.sampled_from([1, 5, 40]),
    st.booleans(),
)
def test_trees_are_those_of_the_slow_searcher(table, seed, kind, rule, c, simulations, flag):
    rows = {"state": table.n_states, "look": table.emission.n_base, "obs": table.n_obs}[kind]
    policy = Policy(kind, random_rows(seed % 1000, rows, table.n_actions))
    sampler = Sampler(table, policy, seed)
    sample = sampler.groups(2, 2)
    rollout, step = at_every_step(sample)
    rng = np.random.default_rng(seed % 1000)
    values = rng.normal(size=(table.horizon + 1, table.n_states))
    options = {"leaf": values} if flag else {}
    if rule == "agent_q":
        options |= {"proposals": 1 + seed % 4, "critic": values, "accuracy": 0.6, "alpha": 0.5}
    before = sampler.meter.copy()
    result, truth = search(sampler, sample, rollout, step, simulations, c, rule, nodes=True, gamma=0.9, **options)
    inside, steps, calls = result.nodes, 0, 0
    for i, (r, t) in enumerate(zip(rollout.tolist(), step.tolist(), strict=True)):
        state, code = int(sample.truth.state[r, t]), int(sample.truth.code[r, t])
        slow = SlowSearcher(table, policy, rule, c, 0.9, digits(table, code), **options)
        key = stream(seed, Purpose.SEARCH, int(sample.trajectories.context[r]), int(sample.truth.rollout[r]), 1)
        nodes = slow.run(state, t, code, mix_word(mix_word(key, t), 0), simulations)
        steps, calls = steps + slow.steps, calls + slow.calls
        own = torch.nonzero(inside.root == i).squeeze(1).tolist()
        assert len(own) == len(nodes)
        for n, expected in zip(own, nodes, strict=True):
            assert int(truth.state[n]) == expected["state"]
            assert int(inside.step[n]) == expected["t"]
            assert int(inside.visits[n]) == expected["n"]
            branches = torch.nonzero(inside.node == n).squeeze(1)
            assert len(branches) == len(expected["branches"])
            shown = int(truth.code[n])
            for b, (action, branch) in zip(branches.tolist(), expected["branches"].items(), strict=True):
                column = name_of(table, policy, expected["state"], action, shown)
                assert int(inside.action[b]) == (-1 if column is None else column)
                assert int(inside.count[b]) == branch["n"]
                assert float(inside.score[b]) == pytest.approx(branch["score"])
                if branch["n"]:
                    assert float(inside.q[b]) == pytest.approx(branch["w"] / branch["n"], abs=1e-12)
                else:
                    assert math.isnan(inside.q[b])
        found = {name_of(table, policy, state, a, code): b for a, b in nodes[0]["branches"].items()}
        for action in range(table.n_actions):
            idle = action not in table.P[state]
            branch = found.get(None if idle else action)
            tried = branch["n"] if branch else 0
            assert int(result.visits[i, action]) == tried
            q = branch["w"] / tried if tried else math.nan
            assert float(result.q[i, action]) == pytest.approx(q, abs=1e-12, nan_ok=True)
        assert float(result.value[i]) == pytest.approx(
            sum(b["w"] for b in nodes[0]["branches"].values()) / simulations, abs=1e-12
        )
    spent = sampler.meter.since(before)
    assert (spent.env_steps, spent.policy_calls, spent.restores) == (steps, calls, simulations * len(rollout))


# -- what it estimates -----------------------------------------------------------------------------------------------


def same_root(n):
    return torch.zeros(n, dtype=torch.int64), torch.zeros(n, dtype=torch.int64)


@pytest.mark.parametrize("seed", [0, 2, 6])
def test_rollouts_of_the_policy_are_unbiased_everywhere_in_the_tree(seed):
    table = make_random_table(seed, n_states=8, horizon=5, n_starts=1, cutoff=True).replace(discount=0.9)
    policy = Policy("state", random_policy(table, seed))
    sampler = Sampler(table, policy, seed)
    result, truth = search(sampler, sampler.groups(1, 1), *same_root(3000), 24, rule="policy", nodes=True)
    values, inside = evaluate(table, policy), result.nodes
    tried = inside.count > 0
    # Sums per tree of (Q − Q^π) N: trees are independent, and have mean zero at every (step, state, action).
    step, edge, root = inside.step[inside.node][tried], truth.edge[tried], inside.root[inside.node][tried]
    exact = torch.from_numpy(values.q_at(step.numpy(), edge.numpy()))
    cell = step * table.n_edges + edge
    z = []
    for here in torch.unique(cell).tolist():
        own = cell == here
        error = torch.zeros(3000, dtype=torch.float64)
        error.index_add_(0, root[own], ((inside.q[tried] - exact) * inside.count[tried])[own])
        error[error.abs() < 1e-12] = 0  # certain returns differ by rounding
        if (error != 0).sum() > 30:
            z.append(float(error.mean() / error.std() * 3000**0.5))
        else:
            assert error.abs().max() < 30
    assert len(z) > 8
    assert max(map(abs, z)) < 4
    # The value is V^π, and visits are the policy's.
    v = float(values.V[0, table.start_state[0]])
    assert abs(float(result.value.mean()) - v) < 4 * float(result.value.std()) / 3000**0.5
    share = result.visits.to(torch.float64).mean(dim=0).numpy() / 24
    chance = policy.probability[table.start_state[0]]
    assert np.abs(share - chance).max() < 4 * np.sqrt(0.25 / 24 / 3000)


@pytest.mark.parametrize(("rule", "c"), [("uct", 1.0), ("puct", 1.0)])
@pytest.mark.parametrize("seed", [0, 1, 5])
def test_search_goes_to_the_optimum(rule, c, seed):
    """The value of the most visited action, over roots: from near V^π to V*."""
    table = make_random_table(seed, n_states=8, horizon=4, n_starts=1)
    sampler = Sampler(table, uniform(table), seed)
    sample = sampler.groups(1, 1)
    start = int(table.start_state[0])
    best = float(optimal(table).V[0, start])
    gaps = []
    for budget, n in ((8, 100), (100, 40), (1500, 20), (20_000, 6)):
        found = sampler.search(sample, *same_root(n), budget, c, rule)
        gaps.append(abs(float(found.value.mean()) - best))
    assert gaps[-1] < 0.03 * max(1, abs(best))
    assert gaps[-1] < gaps[0] or gaps[0] < 0.03
    # Its visits are the greedy policy's in the end, and their mean return is Q*.
    top = found.visits.sum(dim=0).argmax()
    exact = optimal(table).q(0, start)
    assert exact[top] == pytest.approx(np.nanmax(exact))
    assert float(found.q[:, top].mean()) == pytest.approx(best, abs=0.03 * max(1, abs(best)))


def three_ary(depth=3, winners=()):
    """A tree with 3 actions per node; leaves (paths) named in ``winners`` pay 1."""
    first = [sum(3**k for k in range(d)) for d in range(depth + 1)]
    rows = []
    for d in range(depth):
        for i in range(3**d):
            for a in range(3):
                last = d + 1 == depth
                to = 0 if last else first[d + 1] + 3 * i + a
                path = tuple((3 * i + a) // 3**k % 3 for k in reversed(range(depth)))
                rows.append((first[d] + i, a, to, 1.0, float(last and path in winners), last))
    names = ("state", "action", "successor", "probability", "reward", "terminal")
    columns = {name: np.array(column) for name, column in zip(names, zip(*rows, strict=True), strict=True)}
    return from_outcomes("three-ary", first[depth], 3, columns, start={0: 1.0}, horizon=depth)


def test_uct_is_neither_the_policys_value_nor_the_best():
    """A tree as in algorithms.md 0.4: Q^π = (.05, .00, .59), Q* = (1, 1, 1). Means go from near Q^π to Q*.

    At small budgets they may lie below both: before it knows better, UCT spends as much on actions that the policy avoids.
    """
    table = three_ary(winners={(0, 1, 2), (1, 2, 2), (2, 0, 0)})
    policy = np.full((13, 3), 1 / 3)
    for state, chance, action in (
        *((1, 0.25, 1), (5, 0.2, 2)),
        *((2, 0.08, 2), (9, 0.05, 2)),
        *((3, 0.8, 0), (10, 0.7375, 0)),
    ):
        policy[state] = (1 - chance) / 2
        policy[state, action] = chance
    exact = evaluate(table, policy).q(0, 0)
    assert np.round(exact, 2) == pytest.approx([0.05, 0.0, 0.59])
    assert optimal(table).q(0, 0) == pytest.approx([1, 1, 1])
    sampler = Sampler(table, policy, 0)
    sample = sampler.groups(1, 1)
    means = []
    for budget, n in ((30, 2000), (200, 1000), (3000, 100), (30_000, 20)):
        found = sampler.search(sample, *same_root(n), budget).q
        assert (found.std(dim=0) / n**0.5).max() < 0.02
        means.append(found.mean(dim=0).numpy())
    assert np.all(np.diff(means, axis=0)[:2] > 0)
    assert np.all(np.abs(means[0][:2] - exact[:2]) < 0.05)
    assert means[0][2] < exact[2] - 0.1
    assert np.all((means[2] > 0.9) & (means[2] < 1))
    assert np.all(means[3] > 0.99)
    # The policy's own rollouts stay where they are.
    mean = sampler.search(sample, *same_root(2000), 200, rule="policy").q.nanmean(dim=0)
    assert mean.numpy() == pytest.approx(exact, abs=0.02)


# -- luck, parts and threads -------------------------------------------------------------------------------------------


def equal(a, b, rows=slice(None)):
    return torch.equal(a.visits[rows], b.visits) and torch.equal(a.q[rows].nan_to_num(), b.q.nan_to_num())


def wandering(seed=0):
    table = make_random_table(seed, n_states=12, n_actions=4, horizon=8, n_starts=2)
    sampler = Sampler(table, uniform(table), seed)
    sample = sampler.groups(6, 4)
    return sampler, sample, *at_every_step(sample)


@pytest.mark.parametrize("rule", RULES)
def test_a_root_does_not_notice_the_others(rule):
    (one, sample, rollout, step), (two, other, *_) = wandering(), wandering()
    whole = one.search(sample, rollout, step, 50, 0.5, rule)
    some = torch.arange(len(step) - 1, 0, -3)
    assert equal(whole, two.search(other, rollout[some], step[some], 50, 0.5, rule), some)


def test_parts_and_threads_change_nothing(monkeypatch):
    (one, sample, rollout, step), (two, other, *_) = wandering(), wandering()
    whole = one.search(sample, rollout, step, 50, nodes=True)
    monkeypatch.setattr(search_trees, "_SERIAL", 0)
    monkeypatch.setattr(search_trees, "_BYTES", 1 << 16)
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        parts = two.search(other, rollout, step, 50, nodes=True)
    finally:
        torch.set_num_threads(threads)
    assert equal(whole, parts)
    for name, column in vars(whole.nodes).items():
        assert torch.equal(getattr(parts.nodes, name).nan_to_num(), column.nan_to_num()), name
    assert one.meter == two.meter


def test_equal_roots_and_later_calls_have_luck_of_their_own():
    sampler, sample, *_ = wandering(3)
    zero = torch.zeros(2, dtype=torch.int64)
    first = sampler.search(sample, zero, zero, 200, rule="policy")
    again = sampler.search(sample, zero, zero, 200, rule="policy")
    values = torch.cat([first.value, again.value])
    assert len(torch.unique(values)) == 4


def test_nodes_hang_together():
    sampler, sample, rollout, step = wandering(1)
    found = sampler.search(sample, rollout, step, 64, nodes=True)
    inside = found.nodes
    roots = inside.parent < 0
    assert torch.equal(inside.root[roots], torch.arange(len(step)))
    assert torch.equal(inside.step[roots], step)
    assert torch.equal(inside.visits[roots], torch.full_like(step, 64))
    above = inside.node[inside.parent[~roots]]
    assert torch.equal(inside.step[above] + 1, inside.step[~roots])
    assert torch.equal(inside.root[above], inside.root[~roots])
    left = torch.zeros_like(inside.visits).index_add_(0, inside.node, inside.count)
    assert torch.equal(left, inside.visits)
    assert torch.equal(inside.anchor[roots], sample.trajectories.anchor[rollout, step])
    assert torch.equal(inside.policy_row[roots], sample.trajectories.policy_row[rollout, step])
    none = torch.zeros(0, dtype=torch.int64)
    empty = sampler.search(sample, none, none, 3, nodes=True)
    assert empty.q.shape == (0, 4)
    assert len(empty.nodes.root) == len(empty.nodes.q) == 0


# -- special cases and prices ------------------------------------------------------------------------------------------


def bandit(rewards):
    rows = [(0, a, 0, 1.0, float(r), True) for a, r in enumerate(rewards)]
    names = ("state", "action", "successor", "probability", "reward", "terminal")
    columns = {name: np.array(column) for name, column in zip(names, zip(*rows, strict=True), strict=True)}
    return from_outcomes("bandit", 1, len(rewards), columns, start={0: 1.0}, horizon=1)


def test_greedy_search_of_a_bandit():
    table = bandit([0.2, 1.0, 0.5])
    sampler = Sampler(table, np.array([[0.5, 0.3, 0.2]]), 0)
    sample = sampler.groups(1, 1)
    one = torch.zeros(1, dtype=torch.int64)  # one root, the start
    assert sampler.search(sample, one, one, 100, 0.0).visits.tolist() == [[1, 98, 1]]  # each once, then the best
    # Untried actions count as the node's mean, which the first one keeps up with: ties go to the first.
    assert sampler.search(sample, one, one, 100, 0.0, "puct").visits.tolist() == [[100, 0, 0]]
    assert sampler.search(sample, one, one, 10, 100.0, "puct").visits.tolist() == [[5, 3, 2]]  # in the prior's shares
    found = sampler.search(sample, one, one, 4000, 2.0, "uct")
    assert found.q.tolist() == [[pytest.approx(0.2), pytest.approx(1.0), pytest.approx(0.5)]]
    assert found.visits[0].argmax() == 1
    assert int(found.visits.sum()) == 4000


def test_the_critic_of_agent_q():
    table = bandit([0.2, 1.0, 0.5, 0.0])
    sampler = Sampler(table, uniform(table), 0)
    sample, values = sampler.groups(1, 1), np.zeros((2, 1))
    options = {"rule": "agent_q", "critic": values, "nodes": True}
    sure, _ = search(sampler, sample, *same_root(1), 10, 0.0, alpha=0.0, **options)
    assert sure.nodes.score.tolist() == pytest.approx([1 / 3, 1, 2 / 3, 0])
    assert sure.visits.tolist() == [[0, 10, 0, 0]]
    # The first pick is right with probability accuracy + (1 − accuracy)/n.
    noisy, _ = search(sampler, sample, *same_root(4000), 1, 0.0, alpha=0.0, accuracy=0.4, **options)
    share = float(noisy.visits[:, 1].to(torch.float64).mean())
    assert abs(share - (0.4 + 0.6 / 4)) < 4 * (0.25 / 4000) ** 0.5
    # One proposal has no rival; many propose everything.
    lone, _ = search(sampler, sample, *same_root(50), 10, proposals=1, alpha=0.5, **options)
    assert torch.all((lone.visits > 0).sum(dim=1) == 1)
    assert len(torch.unique(lone.visits.argmax(dim=1))) == 4
    many, _ = search(sampler, sample, *same_root(50), 40, proposals=60, alpha=0.5, **options)
    assert torch.all(many.visits > 0)


@pytest.mark.parametrize("restore", ["free", "replay"])
def test_what_search_costs(restore):
    rows = [(s, a, min(s + 1, 4), 1.0, float(a), s == 4) for s in range(5) for a in range(2)]
    names = ("state", "action", "successor", "probability", "reward", "terminal")
    columns = {name: np.array(column) for name, column in zip(names, zip(*rows, strict=True), strict=True)}
    table = from_outcomes("corridor", 5, 2, columns, start={0: 1.0}, horizon=5)
    sampler = Sampler(table, uniform(table), 0, restore=restore)
    sample, step = sampler.groups(1, 1), torch.arange(5)
    before = sampler.meter.copy()
    sampler.search(sample, torch.zeros(5, dtype=torch.int64), step, 6, rule="policy")
    spent = sampler.meter.since(before)
    # 6 simulations from step t take 5 − t steps each, and t more where the prefix is replayed.
    played = 6 * (5 + 4 + 3 + 2 + 1)
    assert spent.env_steps == (played if restore == "free" else 6 * 25)
    assert (spent.policy_calls, spent.restores) == (played, 30)


def test_bad_arguments():
    sampler, sample, rollout, step = wandering()
    for arguments, message in (
        ((0,), "simulations=0"),
        ((5, -1.0), "c=-1"),
        ((5, 1.0, "utc"), "unknown rule 'utc'; did you mean 'uct'"),
    ):
        with pytest.raises(CreditEnvsError, match=message):
            sampler.search(sample, rollout, step, *arguments)
    with pytest.raises(CreditEnvsError, match=r"proposals=3: expected an integer in \[0, 0\]"):
        search(sampler, sample, rollout, step, 5, rule="policy", proposals=3)
    for name in ("accuracy", "alpha"):
        with pytest.raises(CreditEnvsError, match=f"{name}=1.5"):
            search(sampler, sample, rollout, step, 5, rule="agent_q", **{name: 1.5})
    with pytest.raises(CreditEnvsError, match=r"leaf: expected shape \(9, .*, got \(2, 2\)"):
        search(sampler, sample, rollout, step, 5, leaf=np.zeros((2, 2)))
    closed = Sampler(sampler.table, uniform(sampler.table), restore="none")
    with pytest.raises(
        CreditEnvsError, match="restore='none': this environment cannot be forked, so tree searches are"
    ):
        closed.search(sample, rollout, step, 5)
    assert closed.meter.env_steps == 0
