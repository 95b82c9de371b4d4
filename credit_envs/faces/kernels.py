"""The numba kernel of the vector environment; imported (and compiled, once per machine) on first use."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from credit_envs.table.draws import BITS, GOLDEN, MIX_1, MIX_2

NEXT_STEP, SAME_STEP, DISABLED = 0, 1, 2

_GOLDEN, _MIX_1, _MIX_2 = np.uint64(GOLDEN), np.uint64(MIX_1), np.uint64(MIX_2)
_ONE, _S27, _S30, _S31, _TOP = np.uint64(1), np.uint64(27), np.uint64(30), np.uint64(31), np.uint64(64 - BITS)

LANE = np.dtype(
    [
        ("starts", np.uint64),
        ("outcomes", np.uint64),
        ("key", np.uint64),
        ("rollout", np.int64),
        ("state", np.int32),
        ("t", np.int32),
        ("shift", np.int32),
        ("over", np.int32),
    ]
)
"""One environment: keys of its seed's start and outcome draws, key of this episode's outcome draws, episode number,
state, step, shift of the action names, and whether the episode has ended."""

OUTCOME = np.dtype([("reward", np.float64), ("threshold", np.int64), ("successor", np.int32), ("terminal", np.int32)])
"""One outcome of an edge."""


@njit(cache=True, nogil=True, inline="always")
def _mix(key: Any, word: Any) -> Any:
    z = key + _GOLDEN * (np.uint64(word) + _ONE)
    z = (z ^ (z >> _S30)) * _MIX_1
    z = (z ^ (z >> _S27)) * _MIX_2
    return z ^ (z >> _S31)


@njit(cache=True, nogil=True, inline="always")
def _draw(key: Any, step: Any) -> Any:
    return np.int64(_mix(key, step) >> _TOP)


@njit(cache=True, nogil=True, inline="always")
def _begin(lanes: Any, i: int, start_state: Any, start_threshold: Any, certain: bool) -> None:
    rollout = lanes[i].rollout + 1
    lanes[i].rollout = rollout
    context = 0
    if start_state.size > 1:
        value = _draw(_mix(_mix(lanes[i].starts, rollout), 0), 0)
        context = np.searchsorted(start_threshold, value, side="right")
    if not certain:
        lanes[i].key = _mix(_mix(lanes[i].outcomes, rollout), 0)
    lanes[i].state = start_state[context]
    lanes[i].t = 0
    lanes[i].over = 0


@njit(cache=True, nogil=True)
def begin(chosen: Any, lanes: Any, start_state: Any, start_threshold: Any, certain: bool) -> None:
    """Starts the next episode of the chosen environments, bool ``[N]``."""
    for i in range(lanes.size):
        if chosen[i]:
            _begin(lanes, i, start_state, start_threshold, certain)


@njit(cache=True, nogil=True)
def step(
    mode: int,
    actions: Any,
    lanes: Any,
    edge_start: Any,
    edge_action: Any,
    outcome_start: Any,
    outcomes: Any,
    start_state: Any,
    start_threshold: Any,
    affine: Any,
    cutoff: Any,
    look: Any,
    rows: Any,
    numbers: Any,
    rewards: Any,
    terminated: Any,
    truncated: Any,
    shown: Any,
    final: Any,
) -> int:
    """Steps all environments once: lookup, draw, next state, reward, end, autoreset and observation row in one pass.

    Args:
        mode: ``NEXT_STEP``, ``SAME_STEP`` or ``DISABLED``.
        actions: int64 ``[N]``.
        lanes: ``LANE`` ``[N]``, changed in place.
        edge_start, edge_action, outcome_start: as in the table.
        outcomes: ``OUTCOME`` ``[O]``.
        start_state, start_threshold: as in the table.
        affine: float64 ``[H, 2]``, scale and shift of the rewards by step, or ``[0, 2]``.
        cutoff: float64 ``[S]``, or ``[0]``.
        look: int32 ``[S]``, row of each state's observation, or ``[0]``.
        rows: uint8 ``[n, B]``, observation rows; ``[n, 0]`` copies none.
        numbers: int64 ``[3]``: actions A, horizon, step limit (truncation).
        rewards: float64 ``[N]``, written; ``rewards[-1]`` holds the inadmissible reward on entry.
        terminated, truncated: bool ``[N]``, written.
        shown: uint8 ``[N, B]``, written.
        final: int32 ``[N]``, written in ``SAME_STEP``: last state of the episodes that ended, −1 elsewhere.

    Returns:
        The number of episodes that ended; or −1 − i if action i is out of range, −1 − N − i if episode i is already over
        (``DISABLED``), with nothing changed.
    """
    n, n_actions, horizon, limit = lanes.size, numbers[0], numbers[1], numbers[2]
    width = rows.shape[1]
    certain = outcomes.size == edge_action.size
    inadmissible = rewards[n - 1]
    ended = 0
    for i in range(n):
        if actions[i] < 0 or actions[i] >= n_actions:
            return -1 - i
    if mode == DISABLED:
        for i in range(n):
            if lanes[i].over:
                return -1 - n - i
    for i in range(n):
        lane = lanes[i]
        if lane.over:
            _begin(lanes, i, start_state, start_threshold, certain)
            rewards[i], terminated[i], truncated[i] = 0.0, False, False
            following = lane.state
        else:
            state, t, action = lane.state, lane.t, actions[i]
            first, last = edge_start[state], edge_start[state + 1]
            edge = first + action
            if last - first < n_actions:
                low, high = first, last
                while low < high:
                    middle = (low + high) >> 1
                    if edge_action[middle] < action:
                        low = middle + 1
                    else:
                        high = middle
                edge = low if low < last and edge_action[low] == action else -1
            if edge < 0:
                following, reward, done = state, inadmissible, False
            else:
                if lane.shift:
                    edge = first + (edge - first - lane.shift) % (last - first)
                o = edge
                if not certain:
                    o, stop = outcome_start[edge], outcome_start[edge + 1] - 1
                    if o < stop:
                        value = _draw(lane.key, t)
                        while o < stop and outcomes[o].threshold <= value:
                            o += 1
                following, reward, done = outcomes[o].successor, outcomes[o].reward, outcomes[o].terminal != 0
            if affine.shape[0]:
                reward = affine[t, 0] * reward + affine[t, 1]
            t += 1
            if t == horizon and not done:
                done = True
                if cutoff.size:
                    reward += cutoff[following]
            over = done or t >= limit
            rewards[i], terminated[i], truncated[i] = reward, done, t >= limit
            lane.state, lane.t, lane.over = following, t, over
            ended += over
            if mode == SAME_STEP:
                final[i] = -1
                if over:
                    final[i] = following
                    _begin(lanes, i, start_state, start_threshold, certain)
                    following = lane.state
        if width:
            row = look[following]
            for j in range(width):
                shown[i, j] = rows[row, j]
    return ended
