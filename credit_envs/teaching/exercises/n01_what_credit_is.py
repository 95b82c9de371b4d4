"""Notebook 1: values, advantages and the policy gradient of one small KeyRooms."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from credit_envs import oracle, registry
from credit_envs.arrays import Floats
from credit_envs.teaching.check import Mistake, Question

SKILL, SLIP = 0.5, 0.2


@functools.cache
def _game(slip: float = 0.0) -> Any:
    return registry.make_table(
        "KeyRooms", instance=6, stages=1, distractors=0, horizon_factor=4, **({"slip": slip} if slip else {})
    )


@functools.cache
def _policy(skill: float = SKILL, slip: float = 0.0) -> oracle.Policy:
    return oracle.ladder(_game(slip), (skill,))[-1].policy


@functools.cache
def _values(skill: float = SKILL, slip: float = 0.0) -> oracle.Values:
    return oracle.evaluate(_game(slip), _policy(skill, slip))


def _start() -> int:
    return int(_game().start_state[0])


def _q(t: int, skill: float = SKILL) -> Floats:
    """Q_t of every state and action, float64 ``[S, A]``, 0 in the end."""
    values = _values(skill)
    return np.nan_to_num(np.stack([values.q(t, s) for s in range(_game().n_states)]))


@functools.cache
def _on_key() -> tuple[int, int]:
    """The state in which the walker stands on the key, and the action that takes it."""
    game = _game()
    use = game.action_names.index("use")
    gain = [_values().q(0, s)[use] - _values().q(0, s)[0] for s in range(game.n_states - 1)]
    first = game.labels["progress"][: game.n_states - 1] == 0
    return int(np.argmax(np.where(first & np.isfinite(gain), gain, -np.inf))), use


def _advantage_on_key(t: int = 0) -> float:
    state, use = _on_key()
    return float(_values().q(t, state)[use] - _values().V[t, state])


def _last_useful() -> int:
    return max(t for t in range(_game().horizon) if _advantage_on_key(t) > 0)


def _edge_values(term: Callable[[Any, Floats, int], Any], t: int = 3) -> Floats:
    """One number per edge of the slippery game: the sum over its outcomes of ``term(table, V, t)``."""
    table = _game(SLIP)
    weight = term(table, _values(SKILL, SLIP).V, t)
    return np.bincount(table.outcome_edge, weight, table.n_edges).astype(np.float64)


def _next(table: Any, V: Floats, t: int) -> Floats:
    return np.asarray(table.reward + V[t + 1, table.successor])


def _all_edges(answer: Callable[..., Any]) -> list[Any] | None:
    table = _game(SLIP)
    first = answer(table, _values(SKILL, SLIP).V, 3, 0)
    if first is None or first is ...:
        return None
    return [answer(table, _values(SKILL, SLIP).V, 3, edge) for edge in range(table.n_edges)]


@functools.cache
def _given() -> tuple[Floats, Floats, Floats]:
    """What the gradient is made of: d [H, S], π [S, A], A [H, S, A]."""
    game, values = _game(), _values()
    q = np.stack([_q(t) for t in range(game.horizon)])
    alive = (game.n_admissible > 0)[None, :, None]
    advantage = np.where(alive, q - values.V[:-1, :, None], 0)
    return oracle.occupancy(game, _policy())[:-1], _policy().probability, advantage


QUESTIONS = (
    Question(
        "1.1",
        truth=lambda: _values().V[0, _start()],
        mistakes=(
            Mistake(lambda: oracle.optimal(_game()).J, "That is what the best player earns. Which policy plays here?"),
            Mistake(
                lambda: _values().V[0].mean(),
                "That is the mean over all states, as if the episode began anywhere. It begins in one state.",
            ),
            Mistake(
                lambda: oracle.evaluate(_game(), oracle.uniform(_game())).J,
                "That is the value of uniform play, not of π.",
            ),
            Mistake(
                lambda: 0.0, "Row H of V is what is still earned when no step is left. The episode begins with row 0."
            ),
        ),
        explanation="V_0 of the start state is J, the expected return: here the chance to reach the goal in time.",
        hint="`values.V` has one row per step and one column per state; `start` is the state that the episode begins in.",
    ),
    Question(
        "1.2",
        truth=lambda: _edge_values(lambda table, V, t: table.probability * _next(table, V, t)),
        use=_all_edges,
        mistakes=(
            Mistake(
                lambda: _edge_values(lambda table, V, t: table.probability * (table.reward + V[t, table.successor])),
                "You used V_t of the next state. One step is gone by then: it has V_{t+1}.",
            ),
            Mistake(
                lambda: _edge_values(lambda table, V, t: table.probability * V[t + 1, table.successor]),
                "The reward of the step itself is missing.",
            ),
            Mistake(
                lambda: _edge_values(lambda table, V, t: _next(table, V, t)),
                "You summed over the outcomes without their probabilities.",
            ),
            Mistake(
                lambda: _edge_values(
                    lambda table, V, t: _next(table, V, t) / np.diff(table.outcome_start)[table.outcome_edge]
                ),
                "That is the plain mean over outcomes; they are not equally likely.",
            ),
        ),
        explanation="Q is an average over what the world may do next. The slip is the world's doing, not the walker's.",
        hint="Sum over the outcomes o of the edge: probability[o] · (reward[o] + V[t + 1, successor[o]]).",
    ),
    Question(
        "1.3",
        truth=_advantage_on_key,
        mistakes=(
            Mistake(
                lambda: _values().q(0, _on_key()[0])[_on_key()[1]],
                "That is Q, what the move is worth in all. Compare it with V.",
            ),
            Mistake(
                lambda: _values().q(0, _on_key()[0])[_on_key()[1]] - _values().q(0, _on_key()[0]).mean(),
                "You compared with the plain mean over actions. V weighs them by what the policy would have done.",
            ),
            Mistake(
                lambda: _values().q(0, _on_key()[0])[_on_key()[1]] - np.sort(_values().q(0, _on_key()[0]))[-2],
                "You compared with the best other action. V is what the policy would get on average here.",
            ),
            Mistake(
                lambda: _values().q(0, _on_key()[0])[_on_key()[1]] - _values().V[0, _start()],
                "You compared with the value of the start. The advantage compares with the value of the same state.",
            ),
        ),
        explanation="That much does picking up the key raise the chance to win.",
        hint="A = Q − V, both in the state on the key. `values.q(0, state)` gives Q_0 of its five actions.",
    ),
    Question(
        "1.4",
        truth=lambda: 1 - _values().V[0, _start()],
        mistakes=(
            Mistake(
                lambda: 1.0, "That is the return. The advantages say how much more it was than expected at the start."
            ),
            Mistake(
                lambda: _values().V[0, _start()], "That is what was expected at the start. What came out beyond it?"
            ),
        ),
        explanation="Nothing is random here but the policy, so V_t + A_t is V_{t+1} of the next state: it telescopes.",
        hint="Write A_t = r_t + V_{t+1}(s_{t+1}) − V_t(s_t), which holds where the world has no luck, and add up.",
    ),
    Question(
        "1.5",
        truth=lambda: float(_last_useful()),
        mistakes=(
            Mistake(lambda: float(_last_useful() + 1), "At that step it is already too late: A is 0 there."),
            Mistake(lambda: float(_game().horizon - 1), "Even the best player needs some steps from here to the goal."),
        ),
        explanation="Later than that even perfect play cannot reach the goal in time: all moves are worth the same, nothing.",
        hint="Compute A_t of the action `use` on the key for every t and look for the last one above 0.",
    ),
    Question(
        "1.6",
        truth=lambda: oracle.exact_gradient(_game(), _policy()),
        use=lambda answer: answer(*_given()),
        tolerance=1e-5,
        mistakes=(
            Mistake(
                lambda: np.einsum("ts,tsa->sa", _given()[0], _given()[2]),
                "The factor π(a|s) is missing: logits of actions that are hardly ever taken hardly matter.",
            ),
            Mistake(
                lambda: (
                    _given()[1]
                    * np.einsum(
                        "ts,tsa->sa",
                        _given()[0],
                        _given()[2] + _values().V[:-1, :, None] * (_game().n_admissible > 0)[None, :, None],
                    )
                ),
                "You used Q. Through the softmax every logit pulls the others down, which turns Q into A.",
            ),
            Mistake(
                lambda: _given()[1] * np.einsum("s,tsa->sa", _given()[0][0], _given()[2]),
                "You weighed all steps with d_0. Step t is taken in state s with probability d_t(s).",
            ),
            Mistake(
                lambda: _given()[1] * _given()[2].sum(axis=0),
                "States that are never visited cannot matter: weigh with d_t(s).",
            ),
        ),
        explanation="It agrees with the oracle: credit, weighted by visits and by the policy, is the gradient.",
        hint="∂J/∂θ(s, a) = Σ_t d_t(s) π(a|s) A_t(s, a); the result has shape [S, A].",
    ),
)
