"""Replays records: every action, state and reward again from (seed, policy, context, rollout, lineage), in NumPy.

This walks the table with the reference draws of :mod:`credit_envs.table.draws`, apart from the torch sampler that made the
rollouts, and finds the same actions bit for bit or says where not. What it returns is a sample with truth: scores are
computed from it, never from anything that an entry states.
"""

from __future__ import annotations

import numpy as np
import torch

from credit_envs.arrays import AnyArray, Ints, Words
from credit_envs.errors import CreditEnvsError
from credit_envs.leaderboard.records import Episodes
from credit_envs.oracle.policy import Policy
from credit_envs.sampling.trajectories import Sample, Trajectories, Truth
from credit_envs.table.draws import (
    EPISODE,
    Purpose,
    draws,
    mix_words,
    select_row,
    select_segment,
    streams,
    thresholds,
)
from credit_envs.table.mdp import TabularMDP

_MOST_ROLLOUTS = 1 << 22
_PURPOSES = (Purpose.ACTION, Purpose.OUTCOME, Purpose.EMISSION)


def replay(table: TabularMDP, policy: Policy, seed: int, episodes: Episodes) -> Sample:
    """Plays recorded rollouts again.

    Args:
        table: the environment.
        policy: the policy that was given.
        seed: seed of the cell.
        episodes: the records.

    Returns:
        The rollouts with the truth behind them. Turns, segments and anchors are left blank; scores don't read them.

    Raises:
        CreditEnvsError: if an action differs, a rollout ends elsewhere, or a record makes no sense.
    """
    _check(table, episodes)
    n, (count, action) = episodes.n_rollouts, (episodes.lengths, episodes.padded(episodes.action))
    width = action.shape[1]
    walk = _Walk(table, policy, seed, episodes)
    lane = np.arange(n)
    state = table.start_state[episodes.context].copy()
    fields = {name: np.zeros((n, width), np.int64) for name in ("state", "code", "obs", "row")}
    edges, reward = np.full((n, width), -1), np.zeros((n, width))
    for t in range(width):
        here = state[lane]
        code, choice, edge = walk.act(t, lane, here)
        wrong = np.flatnonzero(choice != action[lane, t])
        if wrong.size:
            i = int(lane[wrong[0]])
            raise CreditEnvsError(
                f"replay: rollout {i} of the cell plays {choice[wrong[0]]} at step {t}, the record says {action[i, t]}"
            )
        fields["state"][lane, t], fields["code"][lane, t] = here, code
        fields["obs"][lane, t] = table.emission.base[here].astype(np.int64) * table.emission.n_codes + code
        fields["row"][lane, t], edges[lane, t] = policy.rows(table, here, code), edge
        state[lane], reward[lane, t], ended = walk.outcome(t, lane, here, edge)
        odd = np.flatnonzero(ended != (count[lane] == t + 1))
        if odd.size:
            i = int(lane[odd[0]])
            raise CreditEnvsError(
                f"replay: rollout {i} of the cell does not end where the record says, {count[i]} steps"
            )
        lane = lane[~ended]
    return _sample(policy, episodes, fields, action, edges, reward, state)


class _Walk:
    """The luck of rollouts, step by step."""

    def __init__(self, table: TabularMDP, policy: Policy, seed: int, episodes: Episodes) -> None:
        self.table, self.policy, self.seed, self.episodes = table, policy, seed, episodes
        self._threshold = thresholds(policy.probability)
        self._branch = np.zeros(episodes.n_rollouts, dtype=np.int64)
        self._owner = np.repeat(np.arange(episodes.n_rollouts), np.diff(episodes.forks))
        self._keys: dict[Purpose, Words] = {}
        zero = streams(seed, Purpose.EMISSION, episodes.context, episodes.rollout, 0)
        self._episode = mix_words(zero, EPISODE)

    def _advance(self, t: int) -> None:
        """Changes to the branches that hold from step t on."""
        now = np.flatnonzero(self.episodes.start == t)
        if now.size or not self._keys:
            self._branch[self._owner[now]] = self.episodes.branch[now]
            context, rollout = self.episodes.context, self.episodes.rollout
            self._keys = {p: streams(self.seed, p, context, rollout, self._branch) for p in _PURPOSES}

    def act(self, t: int, lane: Ints, state: Ints) -> tuple[Ints, Ints, Ints]:
        """Returns what the lanes see, the action they take, and the edge that it executes (−1 if inadmissible)."""
        self._advance(t)
        table = self.table
        code = np.zeros(len(lane), dtype=np.int64)
        if table.emission.layers:
            step = mix_words(self._keys[Purpose.EMISSION][lane], t)
            code = table.emission.sample(table.n_admissible[state], step, self._episode[lane])
        row = self.policy.rows(table, state, code)
        choice = select_row(self._threshold[row], draws(self._keys[Purpose.ACTION][lane], t))
        edge = table.find_edges(state, choice)
        if self.policy.names_actions and table.emission.renames:
            first, n = table.edge_start[state], np.maximum(table.n_admissible[state], 1)
            edge = np.where(edge < 0, edge, first + (edge - first - table.emission.shift[code]) % n)
        return code, choice, edge

    def outcome(self, t: int, lane: Ints, state: Ints, edge: Ints) -> tuple[Ints, AnyArray, AnyArray]:
        """Returns where the lanes go, what they are paid, and whether that is the end."""
        table, valid, at = self.table, edge >= 0, np.maximum(edge, 0)
        if table.is_deterministic:
            chosen = at
        else:
            luck = draws(self._keys[Purpose.OUTCOME][lane], t)
            first, last = table.outcome_start[at], table.outcome_start[at + 1] - 1
            chosen = select_segment(table.outcome_threshold, first, last, luck)
        following = np.where(valid, table.successor[chosen], state).astype(np.int64)
        paid = table.reward_at(t, np.where(valid, table.reward[chosen], table.inadmissible_reward))
        ended = valid & table.terminal[chosen]
        if t + 1 >= table.horizon:
            if table.cutoff_reward is not None:
                paid = paid + np.where(ended, 0.0, table.cutoff_reward[following])
            ended = np.ones_like(ended)
        return following, paid, ended


def _check(table: TabularMDP, episodes: Episodes) -> None:
    n = episodes.n_rollouts
    if not 0 < n <= _MOST_ROLLOUTS:
        raise CreditEnvsError(f"records: {n} rollouts in a cell, expected 1 to {_MOST_ROLLOUTS}")
    if episodes.context.min() < 0 or episodes.context.max() >= table.n_contexts:
        raise CreditEnvsError(f"records: context outside [0, {table.n_contexts - 1}]")
    if episodes.action.min() < 0 or episodes.action.max() >= table.n_actions:
        raise CreditEnvsError(f"records: action outside [0, {table.n_actions - 1}]")
    if int(episodes.lengths.max()) > table.horizon:
        raise CreditEnvsError(
            f"records: a rollout of {episodes.lengths.max()} steps, but the horizon is {table.horizon}"
        )
    first = episodes.forks[:-1]
    inner = np.ones(len(episodes.start), dtype=bool)
    inner[first] = False
    rising = np.diff(episodes.start, prepend=-1) > 0
    if np.any(episodes.start[first] != 0) or not np.all(rising[inner]):
        raise CreditEnvsError("records: a lineage does not begin at step 0 or does not rise")
    if min(episodes.group.min(), episodes.rollout.min(), episodes.branch.min()) < 0:
        raise CreditEnvsError("records: group, rollout and branch are numbers from 0")


def _sample(
    policy: Policy,
    episodes: Episodes,
    fields: dict[str, Ints],
    action: AnyArray,
    edges: AnyArray,
    reward: AnyArray,
    final: AnyArray,
) -> Sample:
    put = torch.from_numpy
    mask, row = put(episodes.mask), put(fields["row"])
    blank = torch.zeros_like(row)
    probability = put(np.array(policy.probability))
    chosen = put(action.astype(np.int64))
    batch = Trajectories(
        obs=put(fields["obs"]),
        action=chosen,
        log_prob=torch.where(mask, probability[row, chosen].log(), 0.0),
        reward=put(reward),
        mask=mask,
        group=put(np.array(episodes.group)),
        context=put(np.array(episodes.context)),
        turn=blank,
        segment=blank,
        anchor=blank,
        policy_row=row,
        policy_action=chosen,
        policy_table=probability,
    )
    truth = Truth(put(fields["state"]), put(edges), put(fields["code"]), put(np.array(episodes.rollout)), put(final))
    return Sample(batch, truth)
