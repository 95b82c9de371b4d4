"""The kernel of sampling: one lane after the other from its state to its end, by the keys and thresholds of the house.

One source for both devices: numba compiles it for the CPU, and numba-cuda recompiles the same function for a card, where
every thread takes a lane. Arrays are passed one by one for the reason that the search kernel gives.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from credit_envs.table.draw_kernel import draw, mix
from credit_envs.table.draws import EPISODE, Purpose

STATE_ROWS, LOOK_ROWS, OBS_ROWS = range(3)
"""Which rows a policy's table has: one per state, per look, per observation."""

PER_EPISODE, BY_ADMISSIBLE, SIZE, OFFSET = range(4)
"""Columns of the array that describes layers of an emission."""

_EPISODE, _NO_KEY, _NO_BRANCH = np.uint64(EPISODE), np.uint64(0), np.int64(0)
_ACTION, _OUTCOME, _EMISSION = (np.uint64(p) for p in (Purpose.ACTION, Purpose.OUTCOME, Purpose.EMISSION))


@njit(cache=True, nogil=True)
def _stream(seed: Any, purpose: Any, context: Any, rollout: Any, branch: Any) -> Any:
    return mix(mix(mix(mix(mix(_NO_KEY, seed), purpose), context), rollout), branch)


@njit(cache=True, nogil=True)
def _select(threshold: Any, first: Any, last: Any, value: Any) -> Any:
    """Returns the first place in [first, last] whose threshold lies above the draw, by bisection."""
    while first < last:
        middle = (first + last) >> 1
        if threshold[middle] <= value:
            first = middle + 1
        else:
            last = middle
    return first


@njit(cache=True, nogil=True)
def _emit(
    layers: Any, layer_threshold: Any, admissible: Any, emission_key: Any, episode_key: Any, per_step: Any, t: Any
) -> Any:
    code = np.int64(0)
    step_key = mix(emission_key, t) if per_step else emission_key
    for i in range(layers.shape[0]):
        size = layers[i, SIZE]
        first = layers[i, OFFSET]
        if layers[i, BY_ADMISSIBLE]:
            first += size * admissible
        value = draw(episode_key if layers[i, PER_EPISODE] else step_key, i)
        code = code * size + _select(layer_threshold, first, first + size - 1, value) - first
    return code


@njit(cache=True, nogil=True)
def _find(edge_of: Any, edge_action: Any, dense: Any, state: Any, first: Any, admissible: Any, action: Any) -> Any:
    """Returns the edge of an action, −1 where it is inadmissible; edges of a state are sorted by action."""
    if dense:
        return edge_of[state, action]
    end = first + admissible
    last = end
    while first < last:
        middle = (first + last) >> 1
        if edge_action[middle] < action:
            first = middle + 1
        else:
            last = middle
    return first if first < end and edge_action[first] == action else np.int64(-1)


@njit(cache=True, nogil=True)
def walk_lane(
    i: Any,
    # where lanes stand and what luck is theirs, int64 [N]
    seed: Any,
    context: Any,
    rollout: Any,
    branch: Any,
    begin_state: Any,
    begin_step: Any,
    # the table
    horizon: Any,
    edge_start: Any,
    admissible: Any,
    edge_action: Any,
    edge_of: Any,
    dense: Any,
    outcome_start: Any,
    outcome_threshold: Any,
    certain: Any,
    successor: Any,
    reward: Any,
    terminal: Any,
    inadmissible_reward: Any,
    reward_scale: Any,
    reward_shift: Any,
    cutoff_reward: Any,
    base: Any,
    n_codes: Any,
    shift: Any,
    anchor_code: Any,
    layers: Any,
    layer_threshold: Any,
    per_step: Any,
    # the policy
    kind: Any,
    threshold: Any,
    n_actions: Any,
    # what is returned: per step [N, T] where recorded (what isn't walked stays as it is), per lane [N]
    record: Any,
    discount: Any,
    out_state: Any,
    out_code: Any,
    out_obs: Any,
    out_anchor: Any,
    out_choice: Any,
    out_edge: Any,
    out_reward: Any,
    final: Any,
    stop: Any,
    total: Any,
) -> None:
    """Walks lane i to its end; arrays that a table lacks have length 0."""
    words = context[i], rollout[i], branch[i]
    action_key = _stream(seed, _ACTION, words[0], words[1], words[2])
    outcome_key = _stream(seed, _OUTCOME, words[0], words[1], words[2])
    emission_key, episode_key = _NO_KEY, _NO_KEY
    if layers.shape[0]:
        emission_key = _stream(seed, _EMISSION, words[0], words[1], words[2])
        # a fork wears the skin of its rollout, so what is drawn once per episode ignores the branch
        episode_key = mix(_stream(seed, _EMISSION, words[0], words[1], _NO_BRANCH), _EPISODE)
    state, t = begin_state[i], begin_step[i]
    earned, weight, ended = 0.0, 1.0, False
    while not ended:
        first, count = edge_start[state], admissible[state]
        code = np.int64(0)
        if layers.shape[0]:
            code = _emit(layers, layer_threshold, count, emission_key, episode_key, per_step, t)
        row = state
        if kind != STATE_ROWS:
            row = base[state]
            if kind == OBS_ROWS:
                row = row * n_codes + code
        row = row * n_actions
        choice = _select(threshold, row, row + n_actions - 1, draw(action_key, t)) - row
        edge = _find(edge_of, edge_action, dense, state, first, count, choice)
        if edge >= 0 and kind == OBS_ROWS and shift.shape[0]:
            moved = (edge - first - shift[code]) % count  # C's remainder on a card: it may be negative there
            edge = first + (moved + count if moved < 0 else moved)
        paid, done, after = inadmissible_reward, False, state
        if edge >= 0:
            chosen = edge
            if not certain:
                last = outcome_start[edge + 1] - 1
                chosen = _select(outcome_threshold, outcome_start[edge], last, draw(outcome_key, t))
            paid, done, after = reward[chosen], terminal[chosen], successor[chosen]
        if reward_scale.shape[0]:
            paid = reward_scale[t] * paid
        if reward_shift.shape[0]:
            paid = paid + reward_shift[t]
        ended = done or t + 1 >= horizon
        if cutoff_reward.shape[0] and ended and not done:
            paid = paid + cutoff_reward[after]
        if record:
            out_state[i, t] = state
            out_code[i, t] = code
            look = base[state] * n_codes
            out_obs[i, t] = look + code
            out_anchor[i, t] = look + anchor_code[code]
            out_choice[i, t] = choice
            out_edge[i, t] = edge
            out_reward[i, t] = paid
        earned += weight * paid
        weight *= discount
        state = after
        t += 1
    final[i], stop[i], total[i] = state, t, earned


@njit(cache=True, nogil=True)
def walk_lanes(first: Any, last: Any, *arguments: Any) -> None:
    """Walks lanes first … last − 1 one after the other, which keeps the table in the cache."""
    for i in range(first, last):
        walk_lane(i, *arguments)
