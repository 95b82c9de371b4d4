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
from credit_envs.sampling.search_kernel import PROPOSE, RANK, ROOT
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

    def node(self, state, t, key, code=None):
        chance = self.moves(state, code)
        every = self.moves(state)
        chance = {action: chance.get(action, 0.0) for action in every}
        if self.proposals:
            drawn = [pick(list(chance.values()), draw(key, PROPOSE + i)) for i in range(self.proposals)]
            kept = list(dict.fromkeys(list(chance)[i] for i in drawn))
        else:
            kept = [action for action in chance if action is not None or self.rule == "policy"]
        self.calls += max(self.proposals, int(self.rule == "puct"))
        branches = {a: {"p": chance[a], "n": 0, "w": 0.0, "score": 0.0, "children": {}} for a in kept}
        if self.critic is not None:
            self.ranked(state, t, key, branches)
        return {"state": state, "t": t, "n": 0, "total": 0.0, "known": 0, "branches": branches}

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
            if draw(key, RANK + 2 * position) < self.accuracy * ONE:
                chosen = max(left, key=worth)  # of equals, the first
            else:
                chosen = left[int(draw(key, RANK + 2 * position + 1) / ONE * len(left))]
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
        root = self.node(state, t0, mix_word(key, ROOT), code)
        nodes = [root]
        if self.leaf is not None:
            root["total"], root["known"] = float(self.leaf[t0, state]), 1
        for simulation in range(simulations):
            luck = mix_word(key, simulation)
            node, t, path, value = root, t0, [], 0.0
            while True:
                action = self.choose(node, t, luck)
                reward, ends, successor = self.happens(node["state"], action, t, luck)
                path.append((node, action, reward))
                self.steps, t = self.steps + 1, t + 1
                if ends:
                    break
                children = node["branches"][action]["children"]
                if successor not in children:
                    children[successor] = self.node(successor, t, luck)
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


@settings(max_examples=120, deadline=None)
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
