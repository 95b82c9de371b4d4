"""The numba kernel of tree search: one root after the other, so that a tree stays in the cache; compiled on first use.

Arrays of records are passed one by one: numba counts references to every array of a tuple at every access, which costs a
factor of twenty.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import njit

from credit_envs.table.draw_kernel import draw, mix
from credit_envs.table.draws import ONE

UCT, PUCT, POLICY, AGENT_Q = range(4)

PROPOSE, RANK = 1 << 40, 1 << 41
"""Step words of the draws that pick a node's proposals and that rank them, in the simulation that first leaves the node;
steps of play use 2t and 2t + 1."""

ROUNDING = 1e-9
"""Values that differ by less are equal sums in another order."""

STATE = np.dtype(
    [("cutoff", np.float64), ("first", np.int32), ("moves", np.int32), ("admissible", np.int32)], align=True
)
"""A state: what its cut-off pays, its first move, how many there are, and how many of them are edges (the first ones)."""

MOVE = np.dtype([("play", np.int64), ("prior", np.float64), ("outcome", np.int32), ("outcomes", np.int32)])
"""A move: the policy's threshold and probability, its first outcome and how many there are."""

OUTCOME = np.dtype(
    [
        ("threshold", np.int64),
        ("reward", np.float64),
        ("probability", np.float64),
        ("successor", np.int32),
        ("terminal", np.int32),
    ]
)
"""An outcome of a move."""

NODE = np.dtype(
    [
        ("total", np.float64),
        ("state", np.int32),
        ("step", np.int32),
        ("parent", np.int32),
        ("begin", np.int32),
        ("end", np.int32),
        ("visits", np.int32),
        ("sibling", np.int32),
    ],
    align=True,
)
"""A node: sum of the returns from it (its own evaluation included), where it stands, the branch that leads to it, its own
branches (made when a simulation first leaves; begin is −1 before), how many simulations left by them, and the node made
before it behind the same branch (−1 without)."""

BRANCH = np.dtype(
    [
        ("play", np.int64),
        ("prior", np.float64),
        ("gain", np.float64),
        ("q", np.float64),
        ("score", np.float64),
        ("move", np.int32),
        ("count", np.int32),
        ("child", np.int32),
    ],
    align=True,
)
"""A move at a node: the policy there, sum and mean of the returns through it, the critic's score, how many simulations went
through it, and the node last made behind it (−1 without)."""


class Rule(NamedTuple):
    """How a tree grows.

    Attributes:
        kind: one of the constants above.
        c: weight of exploration.
        gamma: discount of the returns.
        proposals: actions drawn from the policy that a node may branch to; 0 for all admissible ones.
        accuracy: probability that a pick of the critic is the best of what remains.
        alpha: weight of the mean return beside the critic's score.
        certain: whether every move has one outcome, which then has the move's number.
    """

    kind: int
    c: float
    gamma: float
    proposals: int
    accuracy: float
    alpha: float
    certain: bool


@njit(cache=True, nogil=True, inline="always")
def _chosen(rows: Any, low: Any, high: Any, value: Any) -> Any:
    """Returns the first row of ``[low, high]`` whose threshold ``play`` lies above the draw."""
    while low < high:
        middle = (low + high) >> 1
        if rows[middle].play <= value:
            low = middle + 1
        else:
            high = middle
    return low


@njit(cache=True, nogil=True, inline="always")
def _happens(moves: Any, outcomes: Any, move: Any, key: Any, t: Any, certain: Any) -> Any:
    """Draws the outcome of a move at step t."""
    low: Any = move
    n: Any = 1
    if not certain:
        low = np.int64(moves[move].outcome)
        n = np.int64(moves[move].outcomes)
    if n > 1:
        high, value = low + n - 1, draw(key, 2 * t + 1)
        while low < high:
            middle = (low + high) >> 1
            if outcomes[middle].threshold <= value:
                low = middle + 1
            else:
                high = middle
    return low


@njit(cache=True, nogil=True)
def _roll(
    states: Any, moves: Any, outcomes: Any, affine: Any, state: Any, t: Any, key: Any, rule: Any
) -> tuple[float, int]:
    """Plays the policy to the end; returns the discounted return and the number of steps."""
    total, weight, began, horizon = 0.0, 1.0, t, affine.shape[0]
    while True:
        low = np.int64(states[state].first)
        n = np.int64(states[state].moves)
        move = _chosen(moves, low, low + n - 1, draw(key, 2 * t)) if n > 1 else low
        o = _happens(moves, outcomes, move, key, t, rule.certain)
        reward, ends = affine[t, 0] * outcomes[o].reward + affine[t, 1], outcomes[o].terminal != 0
        state, t = np.int64(outcomes[o].successor), t + 1
        if not ends and t == horizon:
            reward, ends = reward + states[state].cutoff, True
        total += weight * reward
        if ends:
            return total, t - began
        weight *= rule.gamma


@njit(cache=True, nogil=True, inline="always")
def _make(nodes: Any, node: Any, state: Any, t: Any, parent: Any, value: Any) -> None:
    """Makes a node without branches."""
    nodes[node].state, nodes[node].step, nodes[node].parent = state, t, parent
    nodes[node].total, nodes[node].visits, nodes[node].begin, nodes[node].sibling = value, 0, -1, -1


@njit(cache=True, nogil=True)
def _open(
    states: Any, moves: Any, offset: Any, nodes: Any, node: Any, branches: Any, begin: Any, key: Any, rule: Any
) -> Any:
    """Makes a node's branches; returns where the next node's begin. Move m of the table stands in ``moves[m - offset]``."""
    state = np.int64(nodes[node].state)
    low, n = np.int64(states[state].first), np.int64(states[state].moves)
    end = begin
    if rule.proposals:
        for i in range(rule.proposals):
            move = offset + _chosen(moves, low - offset, low - offset + n - 1, draw(key, PROPOSE + i))
            known = False
            for j in range(begin, end):
                known |= branches[j].move == move
            if not known:
                branches[end].move = move
                end += 1
    else:
        end += n if rule.kind == POLICY else np.int64(states[state].admissible)
        for i in range(end - begin):
            branches[begin + i].move = low + i
    for j in range(begin, end):
        if rule.kind == PUCT or rule.kind == POLICY:
            row = np.int64(branches[j].move) - offset
            branches[j].play, branches[j].prior = moves[row].play, moves[row].prior
        branches[j].gain = branches[j].q = branches[j].score = 0.0
        branches[j].count, branches[j].child = 0, -1
    nodes[node].begin, nodes[node].end = begin, end
    return end


@njit(cache=True, nogil=True)
def _rank(
    states: Any,
    moves: Any,
    outcomes: Any,
    affine: Any,
    branches: Any,
    begin: Any,
    end: Any,
    t: Any,
    key: Any,
    rule: Any,
    V: Any,
) -> None:
    """Lets the critic pick the best remaining branch again and again, of equals any; the k-th of n scores (n − k)/(n − 1).

    Luck parts equals because the policy would do it otherwise: it draws its likelier actions first, and would be told that
    they are the better ones.
    """
    n = end - begin
    value = np.empty(n)
    for i in range(n):
        move, q = np.int64(branches[begin + i].move), 0.0
        first = np.int64(moves[move].outcome)
        for o in range(first, first + np.int64(moves[move].outcomes)):
            reward, after = affine[t, 0] * outcomes[o].reward + affine[t, 1], 0.0
            successor = np.int64(outcomes[o].successor)
            if outcomes[o].terminal == 0:
                after = states[successor].cutoff if t + 1 == affine.shape[0] else rule.gamma * V[t + 1, successor]
            q += outcomes[o].probability * (reward + after)
        value[i] = q
        branches[begin + i].score = -1.0
    for position in range(n):
        top = -np.inf
        if draw(key, RANK + 2 * position) < rule.accuracy * ONE:
            for i in range(n):
                if branches[begin + i].score < 0:
                    top = max(top, value[i] - ROUNDING)
        equals = 0
        for i in range(n):
            equals += branches[begin + i].score < 0 and value[i] >= top
        skip = np.int64(draw(key, RANK + 2 * position + 1) / ONE * equals)
        best: Any = -1
        while skip >= 0:
            best += 1
            skip -= branches[begin + best].score < 0 and value[best] >= top
        branches[begin + best].score = 1.0 if n == 1 else (n - 1 - position) / (n - 1)


@njit(cache=True, nogil=True, inline="always")
def _best(nodes: Any, branches: Any, node: Any, known: Any, rule: Any, log: Any, inverse: Any) -> Any:
    """Returns the branch that a searching rule takes; of equals, the first."""
    begin, end = np.int64(nodes[node].begin), np.int64(nodes[node].end)
    n = np.int64(nodes[node].visits) + 1
    best: Any = begin
    top = -np.inf
    if rule.kind == UCT:
        if n <= end - begin:
            return begin + n - 1  # untried ones are tried in turn
        width = rule.c * log[n]
        for j in range(begin, end):
            score = branches[j].q + width * inverse[np.int64(branches[j].count)]
            if score > top:
                best, top = j, score
    elif rule.kind == PUCT:
        mean, width = nodes[node].total / known if known else 0.0, rule.c * np.sqrt(n)
        for j in range(begin, end):
            count = np.int64(branches[j].count)
            score = (branches[j].q if count else mean) + width * branches[j].prior / (1 + count)
            if score > top:
                best, top = j, score
    else:
        width = rule.c * log[n]
        for j in range(begin, end):
            blend = rule.alpha * branches[j].q + (1 - rule.alpha) * branches[j].score
            score = blend + width * inverse[1 + np.int64(branches[j].count)]
            if score > top:
                best, top = j, score
    return best


@njit(cache=True, nogil=True)
def grow(
    states: Any,
    moves: Any,
    outcomes: Any,
    affine: Any,
    roots: Any,
    keys: Any,
    rooted: Any,
    arena: Any,
    twigs: Any,
    rule: Any,
    simulations: int,
    log: Any,
    inverse: Any,
    leaf: Any,
    critic: Any,
    path: Any,
    rewards: Any,
    spent: Any,
    count: Any,
    gain: Any,
) -> None:
    """Grows one tree per root.

    Args:
        states: ``STATE`` ``[S]``.
        moves: ``MOVE`` ``[moves]``.
        outcomes: ``OUTCOME`` ``[outcomes]``.
        affine: float64 ``[H, 2]``, scale and shift of the rewards by step.
        roots: int64 ``[R, 2]``, state and step of each root.
        keys: uint64 ``[R]``, one key per root.
        rooted: ``MOVE`` ``[R, W]``, the moves of each root, with the policy at what it is seen as.
        arena: ``NODE`` ``[R, B + 1]``, written; ``[1, B + 1]`` if trees aren't kept.
        twigs: ``BRANCH`` ``[R, (B + 1) W]`` or ``[1, (B + 1) W]``, written.
        rule: how a node is left.
        simulations: B.
        log: float64 ``[B + 2]``, square roots of the natural logarithms of 0 (never read) to B + 1.
        inverse: float64 ``[B + 2]``, 1 over the square roots of 0 (never read) to B + 1.
        leaf: float64 ``[H + 1, S]``, values of new nodes; None to play the policy to the end instead.
        critic: float64 ``[H + 1, S]``, values that the critic ranks branches by, or None.
        path: int64 ``[H, 2]``, scratch.
        rewards: float64 ``[H]``, scratch.
        spent: int64 ``[R, 5]``, written: steps of the environment, of them those that the policy chose, nodes that were left
            at least once, nodes, branches.
        count: int64 ``[R, W]``, written where a root branches: simulations through a move.
        gain: float64 ``[R, W]``, likewise the sum of their returns.
    """
    horizon = affine.shape[0]
    for r in range(keys.size):
        nodes, branches = arena[r % arena.shape[0]], twigs[r % arena.shape[0]]
        here = roots[r, 0]
        offset = np.int64(states[here].first)
        _make(nodes, 0, here, roots[r, 1], -1, 0.0 if leaf is None else leaf[roots[r, 1], here])
        used, made, steps, chosen, opened = 0, 1, 0, 0, 0
        for simulation in range(simulations):
            key = mix(keys[r], simulation)
            node: Any = 0
            depth, value = 0, 0.0
            t = roots[r, 1]
            while True:
                if nodes[node].begin < 0:
                    first, opened = used, opened + 1
                    if node == 0:
                        used = _open(states, rooted[r], offset, nodes, 0, branches, first, key, rule)
                    else:
                        used = _open(states, moves, 0, nodes, node, branches, first, key, rule)
                    if critic is not None:
                        _rank(states, moves, outcomes, affine, branches, first, used, t, key, rule, critic)
                if rule.kind == POLICY:
                    low, high = np.int64(nodes[node].begin), np.int64(nodes[node].end) - 1
                    j = _chosen(branches, low, high, draw(key, 2 * t))
                    chosen += 1
                else:
                    known = nodes[node].visits + (1 if node or leaf is not None else 0)
                    j = _best(nodes, branches, node, known, rule, log, inverse)
                o = _happens(moves, outcomes, np.int64(branches[j].move), key, t, rule.certain)
                state, ends = np.int64(outcomes[o].successor), outcomes[o].terminal != 0
                reward = affine[t, 0] * outcomes[o].reward + affine[t, 1]
                t += 1
                if not ends and t == horizon:
                    reward, ends = reward + states[state].cutoff, True
                path[depth, 0], path[depth, 1], rewards[depth] = node, j, reward
                depth, steps = depth + 1, steps + 1
                if ends:
                    break
                child = np.int64(branches[j].child)
                while child >= 0 and nodes[child].state != state:
                    child = np.int64(nodes[child].sibling)
                if child < 0:
                    if leaf is not None:
                        value = leaf[t, state]
                    else:
                        value, more = _roll(states, moves, outcomes, affine, state, t, key, rule)
                        steps, chosen = steps + more, chosen + more
                    _make(nodes, made, state, t, j, value)
                    nodes[made].sibling = branches[j].child
                    branches[j].child = made
                    made += 1
                    break
                node = child
            for d in range(depth - 1, -1, -1):
                value = rewards[d] + rule.gamma * value
                node, j = path[d, 0], path[d, 1]
                nodes[node].visits += 1
                nodes[node].total += value
                branches[j].count += 1
                branches[j].gain += value
                branches[j].q = branches[j].gain / branches[j].count
        spent[r, 0], spent[r, 1], spent[r, 2] = steps, chosen, opened
        spent[r, 3], spent[r, 4] = made, used
        for j in range(nodes[0].end):
            move = np.int64(branches[j].move) - offset
            count[r, move], gain[r, move] = branches[j].count, branches[j].gain


__all__ = ["BRANCH", "MOVE", "NODE", "OUTCOME", "PROPOSE", "RANK", "ROUNDING", "STATE", "Rule", "grow"]
