"""The numba kernel of the vector environment; imported (and compiled, once per machine) on first use."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, typeof

from credit_envs.table.draw_kernel import draw, mix

LANE = np.dtype([("state", np.int32), ("t", np.int32), ("shift", np.int32), ("over", np.int32)])
"""Where one environment stands: state, step, shift of the action names, whether its episode has ended."""

SEED = np.dtype([("starts", np.uint64), ("outcomes", np.uint64), ("key", np.uint64), ("rollout", np.int64)])
"""Luck of one environment: keys of its seed's start and outcome draws, of this episode's, and the episode's number."""

EDGE = np.dtype([("action", np.int32), ("outcome", np.int32)])
"""One edge: its action and its first outcome; one more edge closes the last."""

OUTCOME = np.dtype([("reward", np.float64), ("successor", np.int32), ("terminal", np.int32)])
"""One outcome of an edge."""


@njit(cache=True, nogil=True)
def _begin(lanes: Any, seeds: Any, i: int, starts: Any, certain: bool) -> None:
    rollout = seeds[i].rollout + 1
    seeds[i].rollout = rollout
    context = 0
    if starts.shape[1] > 1:
        value = draw(mix(mix(seeds[i].starts, rollout), 0), 0)
        context = np.searchsorted(starts[1], value, side="right")
    if not certain:
        seeds[i].key = mix(mix(seeds[i].outcomes, rollout), 0)
    lanes[i].state = starts[0, context]
    lanes[i].t = 0
    lanes[i].over = 0


@njit(cache=True, nogil=True)
def begin(chosen: Any, lanes: Any, seeds: Any, starts: Any, certain: bool) -> None:
    """Starts the next episode of the chosen environments, bool ``[N]``."""
    for i in range(lanes.size):
        if chosen[i]:
            _begin(lanes, seeds, i, starts, certain)


@njit(cache=True, nogil=True)
def step(
    lanes: Any,
    seeds: Any,
    edge_start: Any,
    edges: Any,
    outcomes: Any,
    threshold: Any,
    starts: Any,
    affine: Any,
    cutoff: Any,
    look: Any,
    rows: Any,
    n_actions: int,
    horizon: int,
    limit: Any,
    inadmissible: float,
    actions: Any,
    rewards: Any,
    terminated: Any,
    truncated: Any,
    final: Any,
    shown: Any,
) -> int:
    """Steps all environments once: lookup, draw, next state, reward, end, autoreset and observation row in one pass.

    Arguments that a table does not need are None, and numba leaves their branches out.

    Args:
        lanes: ``LANE`` ``[N]``, changed in place; those whose episode has ended start the next one.
        seeds: ``SEED`` ``[N]``, changed in place.
        edge_start: int64 ``[S + 1]``; None where every state admits every action.
        edges: ``EDGE`` ``[E + 1]``; None where edges and outcomes are the same.
        outcomes: ``OUTCOME`` ``[O]``.
        threshold: int64 ``[O]``; None where every edge has one outcome.
        starts: int64 ``[2, C]``, start states and their thresholds.
        affine: float64 ``[H, 2]``, scale and shift of the rewards by step, or None.
        cutoff: float64 ``[S]``, or None.
        look: int32 ``[S]``, row of each state's observation; None where it is the state.
        rows: records ``[n]``, observation rows, or None; being of known size, they are copied in a few instructions.
        n_actions: A.
        horizon: step at which episodes terminate.
        limit: step from which on they are truncated, or None.
        inadmissible: reward of an inadmissible action.
        actions: int64 ``[N]``.
        rewards: float64 ``[N]``, written.
        terminated: bool ``[N]``, written.
        truncated: bool ``[N]``, written; None without a limit.
        final: int32 ``[N, 2]``, written: last state and step of the episodes that ended; these restart at once. None
            unless autoreset happens in the same step.
        shown: records ``[N]``, written; None without rows.

    Returns:
        The number of episodes that ended; −1 if an action is out of range, and then nothing has changed.
    """
    wrong: Any = False
    for i in range(lanes.size):
        wrong |= np.uint64(actions[i]) >= np.uint64(n_actions)
    if wrong:
        return -1
    ended = 0
    for i in range(lanes.size):
        if lanes[i].over:
            _begin(lanes, seeds, i, starts, threshold is None)
            rewards[i], terminated[i] = 0.0, False
            if limit is not None:
                truncated[i] = False
        else:
            state, t, action = np.int64(lanes[i].state), np.int64(lanes[i].t), actions[i]
            first, count = state * n_actions, n_actions
            edge = first + action
            if edge_start is not None:
                first = edge_start[state]
                count = edge_start[state + 1] - first
                edge = first + action if count == n_actions else _find(edges, first, count, action)
            following, reward, done = state, inadmissible, False
            if edge_start is None or edge >= 0:
                if lanes[i].shift:
                    edge = first + (edge - first - lanes[i].shift) % count
                o = np.uintp(edge)
                if threshold is not None:
                    o, stop = np.uintp(edges[edge].outcome), np.uintp(edges[edge + 1].outcome - 1)
                    if o < stop:
                        value = draw(seeds[i].key, t)
                        while threshold[o] <= value:
                            o += np.uintp(1)
                following, reward, done = np.int64(outcomes[o].successor), outcomes[o].reward, outcomes[o].terminal != 0
            if affine is not None:
                reward = affine[t, 0] * reward + affine[t, 1]
            t += 1
            if cutoff is not None and t == horizon and not done:
                reward += cutoff[following]
            done |= t == horizon
            rewards[i], terminated[i] = reward, done
            over = done
            if limit is not None:
                truncated[i] = t >= limit
                over |= t >= limit
            lanes[i].state, lanes[i].t, lanes[i].over = following, t, over
            if over:
                ended += 1
                if final is not None:
                    final[i, 0], final[i, 1] = following, t
                    _begin(lanes, seeds, i, starts, threshold is None)
    if rows is not None:
        for i in range(lanes.size):
            row = np.uintp(lanes[i].state)
            if look is not None:
                row = np.uintp(look[row])
            shown[i] = rows[row]
    return ended


def compiled(function: Any, *arguments: Any) -> Any:
    """Returns a kernel's machine code for arguments of these types: calls skip the dispatcher's look at every argument.

    That look is a third of the time of a step of 64 environments. The caller vouches for the types from then on.
    """
    signature = tuple(typeof(argument) for argument in arguments)  # type: ignore[no-untyped-call]
    function.compile(signature)
    return function.overloads[signature].entry_point


@njit(cache=True, nogil=True)
def _find(edges: Any, first: int, count: int, action: int) -> int:
    """Returns the edge of an action among a state's edges, −1 if there is none."""
    low, high = first, first + count
    while low < high:
        middle = (low + high) >> 1
        if edges[middle].action < action:
            low = middle + 1
        else:
            high = middle
    return low if low < first + count and edges[low].action == action else -1
