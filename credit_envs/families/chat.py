"""Chat: compose a reply phrase by phrase; paid once per reply, by how well the user likes it as a whole.

## Description

A miniature of alignment from human feedback. A user complains, and a reply of `length` phrases is composed, one phrase
per slot (opening, empathy, advice, detail, closing), each from `choices` candidates. Users have a hidden utility over
replies: in each slot, the phrases are ranked and their liking is spread evenly from 0 to the slot's weight (1, 2 or 3).
Besides, each phrase has one partner in the next slot that suits it, worth `interaction`. The sum is scaled such that the
best reply has utility 1 and the worst 0.

With `turns=2` the user answers: pleased with probability `noise/2 + (1 − noise)·u` after a reply of utility u, else
annoyed. A second reply is composed. Pleased and annoyed users have utilities of their own, and an annoyed user's is halved.

This is the control of the suite. With one turn nothing is stochastic, all phrases are admissible whatever was said, and
without interaction a phrase is worth the same in every reply: credit for the whole reply should suffice. Then the
advantage of a phrase under uniform play is its liking minus the mean of its slot, over the sum of the weights, and
J_uniform = 1/2. :func:`preference_pairs` draws pairs of replies with Bradley-Terry labels for methods that learn from those.

Phrases, utilities, partners and messages differ between instances, and actions are shuffled per instance.

## Action Space

`Discrete(length·choices)`: the phrases. Admissible are those of the slot that is due.

## Observation Space

- `text`: the user's message, the reply so far, and the phrases of the slot with the numbers of their actions.
- `state`: the number of the state (turn, mood of the user, phrases chosen in this reply).

Different states have different texts; only the utility is hidden. Labels: `turn` (slot), `segment` (reply, the number of
replies in the end), `mood` (0 annoyed, 1 pleased, −1 before the user has reacted and in the end), `anchor` (the state).

## Rewards

With the last phrase of a reply, its utility over the number of turns, halved for an annoyed user. Returns lie in [0, 1].

## Starting State

The user's first message, nothing said.

## Episode End

After `turns·length` phrases, which is also the horizon.

## Arguments

- `length` (default 4): phrases of a reply.
- `choices` (default 3): phrases to choose from in each slot.
- `turns` (default 1): replies.
- `interaction` (default 1.0): what a phrase that suits the one before it is worth; a slot is worth 1 to 3.
- `noise` (default 0.2): share of the user's reaction that has nothing to do with the reply (`turns=2`).

## References

Rewards for whole replies and preference pairs follow Ouyang et al., "Training language models to follow instructions with
human feedback", NeurIPS 2022; Bradley and Terry, "Rank Analysis of Incomplete Block Designs", Biometrika 1952.

## Version History

- v0: first version.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from credit_envs.arrays import AnyArray, Floats, Ints
from credit_envs.errors import TableError, check_range
from credit_envs.families.chat_words import BY_LENGTH, COMPLAINTS, REACTIONS, SLOTS, TOPICS
from credit_envs.families.family import Knob, below, instance_draws
from credit_envs.table.build import from_outcomes
from credit_envs.table.mdp import TabularMDP
from credit_envs.table.view import View, text_space

if TYPE_CHECKING:
    from credit_envs.oracle.policy import PolicyLike

KNOBS = {
    "length": Knob(4, 2, 5, "phrases of a reply"),
    "choices": Knob(3, 2, 5, "phrases to choose from in each slot"),
    "turns": Knob(1, 1, 2, "replies"),
    "interaction": Knob(1.0, 0, 10, "what a phrase that suits the one before it is worth", integer=False),
    "noise": Knob(0.2, 0, 1, "share of the user's reaction that has nothing to do with the reply", integer=False),
}

_PHRASES = 8


@dataclass(frozen=True, eq=False)
class Preferences:
    """Pairs of first replies, with which of the two was preferred.

    Attributes:
        replies: int64 ``[n, 2, length]``, actions.
        utility: float64 ``[n, 2]``, hidden utility of each reply.
        probability: float64 ``[n]``, exact probability that the first of the two is preferred.
        preferred: int64 ``[n]``, 0 or 1.
    """

    replies: Ints
    utility: Floats
    probability: Floats
    preferred: Ints


def build(instance_seed: int, *, length: int, choices: int, turns: int, interaction: float, noise: float) -> TabularMDP:
    """Builds one instance; states are numbered by reply, mood, and the phrases chosen as digits, shorter replies first."""
    knobs = {name: value for name, value in locals().items() if name in KNOBS}
    drawn = _draw(instance_seed, length, choices, interaction)

    # One tree of replies for the first turn and, with two turns, one for each mood.
    level = np.repeat(np.arange(length), choices ** np.arange(length))
    size, trees = level.size, 1 if turns == 1 else 3
    slot, tree = np.tile(level, trees), np.repeat(np.arange(trees), size)
    first = (choices ** np.arange(length + 1) - 1) // (choices - 1)
    said = np.tile(np.arange(size) - first[level], trees)
    over = size * trees

    state, choice = np.repeat(np.arange(over), choices), np.tile(np.arange(choices), over)
    done, in_tree, saying = slot[state] == length - 1, tree[state], said[state] * choices + choice
    liking = np.where(done, drawn.utility[in_tree, np.where(done, saying, 0)], 0.0)
    reward = liking / turns * np.where(in_tree == 1, 0.5, 1.0)
    successor = np.where(done, over, in_tree * size + first[slot[state] + 1] + saying)
    probability = np.ones(state.size)
    if turns == 2:
        reacted = np.flatnonzero(done & (in_tree == 0))
        pleased = noise / 2 + (1 - noise) * liking[reacted]
        successor[reacted], probability[reacted] = size, 1 - pleased
        rows = np.append(np.arange(state.size), reacted)
        state, choice, reward = state[rows], choice[rows], reward[rows]
        successor, probability = np.append(successor, np.full(reacted.size, 2 * size)), np.append(probability, pleased)

    possible = probability > 0
    columns = {
        "state": state,
        "action": drawn.order[slot[state] * choices + choice],
        "successor": successor,
        "probability": probability,
        "reward": reward,
        "terminal": successor == over,
    }
    return from_outcomes(
        "Chat",
        over + 1,
        length * choices,
        {name: column[possible] for name, column in columns.items()},
        start={0: 1.0},
        horizon=turns * length,
        action_names=tuple(np.array(drawn.phrases)[np.argsort(drawn.order)].tolist()),
        labels={
            "turn": np.append(slot, 0),
            "segment": np.append(tree > 0, turns),
            "anchor": np.arange(over + 1),
            "mood": np.append(tree - 1, 0) - (np.arange(over + 1) == over),
        },
        views={"text": View(text_space(), _printer(drawn, slot, tree, said, choices))},
        knobs=knobs,
        validated=False,
    )


def preference_pairs(
    table: TabularMDP, policy: PolicyLike, n: int, seed: int = 0, temperature: float = 0.1
) -> Preferences:
    """Draws pairs of first replies from a policy and lets the user prefer one of each: P = σ((u₁ − u₂) / temperature).

    Bradley and Terry's model with strengths exp(u / temperature); the same seed gives the same pairs.

    Args:
        table: a Chat table as the family builds it (emissions may have been added).
        policy: see :data:`~credit_envs.oracle.policy.PolicyLike`.
        n: number of pairs.
        seed: seed of the pairs and of the preferences.
        temperature: how noisy preferences are, in units of utility, > 0.

    Raises:
        TableError: if the table is no Chat table, or a dial has changed its dynamics.
        CreditEnvsError: for an argument out of its range.
    """
    check_range("n", n, 1, 10_000_000, integer=True)
    check_range("temperature", temperature, 0, 1e6, open_low=True)
    replies, utility, probability = reply_distribution(table, policy)
    rng = np.random.default_rng([seed, n])
    drawn = rng.choice(len(replies), size=(n, 2), p=probability / probability.sum())
    gap = (utility[drawn[:, 0]] - utility[drawn[:, 1]]) / temperature
    first = np.exp(-np.logaddexp(0, -gap))
    return Preferences(replies[drawn], utility[drawn], first, (rng.random(n) >= first).astype(np.int64))


def reply_distribution(table: TabularMDP, policy: PolicyLike) -> tuple[Ints, Floats, Floats]:
    """Returns all first replies, their hidden utilities, and how probable a policy makes them.

    Args:
        table: a Chat table as the family builds it (emissions may have been added).
        policy: see :data:`~credit_envs.oracle.policy.PolicyLike`.

    Returns:
        int64 ``[R, length]`` (actions), float64 ``[R]``, float64 ``[R]``, where R = choices**length.

    Raises:
        TableError: if the table is no Chat table, or a dial has changed its dynamics.
    """
    from credit_envs.oracle.policy import as_policy, effective

    length, choices, turns = (int(table.knobs.get(name, 0)) for name in ("length", "choices", "turns"))
    trees = 1 if turns == 1 else 3
    if choices < 2 or table.n_states != trees * (choices**length - 1) // (choices - 1) + 1:
        raise TableError(f"table={table.name!r}: expected a table as the family Chat builds it")
    weight = effective(table, as_policy(table, policy)).edge
    state, probability, replies = np.zeros(1, dtype=np.int64), np.ones(1), np.zeros((1, 0), dtype=np.int64)
    for _ in range(length):
        edge = (table.edge_start[state][:, None] + np.arange(choices)).ravel()
        probability = np.repeat(probability, choices) * weight[edge]
        replies = np.column_stack([np.repeat(replies, choices, axis=0), table.edge_action[edge]])
        state = table.successor[table.outcome_start[edge]]
    return replies, turns * table.edge_reward[edge], probability


@dataclass(frozen=True, eq=False)
class _Drawn:
    """One instance: utilities ``[3, R]`` (first reply, to annoyed, to pleased users), phrases, their actions, messages."""

    utility: Floats
    phrases: list[str]
    order: Ints
    messages: tuple[str, str, str]


def _draw(instance_seed: int, length: int, choices: int, interaction: float) -> _Drawn:
    shapes = ((3, length, 2 * choices + 1), (length * choices,), (length, _PHRASES), (len(TOPICS),), (len(COMPLAINTS),))
    ends = np.cumsum([math.prod(shape) for shape in shapes])
    cut = np.split(instance_draws("Chat", instance_seed, int(ends[-1])), ends[:-1])
    tastes, order, phrases, topics, complaints = map(np.reshape, cut, shapes)
    picked = np.argsort(phrases, axis=1, kind="stable")[:, :choices].tolist()
    topic, other = (TOPICS[i] for i in np.argsort(topics, kind="stable")[:2].tolist())
    complaint, next_one = (COMPLAINTS[i] for i in np.argsort(complaints, kind="stable")[:2].tolist())
    asked = [f"User: {said} Now {other} {next_one}." for said in REACTIONS]
    return _Drawn(
        utility=np.stack([_utility(part, choices, interaction) for part in tastes]),
        phrases=[SLOTS[name][i] for name, row in zip(BY_LENGTH[length], picked, strict=True) for i in row],
        order=np.argsort(order, kind="stable"),
        messages=(f"User: Help, {topic} {complaint}.", asked[0], asked[1]),
    )


def _utility(draws: Ints, choices: int, interaction: float) -> Floats:
    """Returns the utility of every reply, float64 ``[choices**length]``; the first slot is the leading digit."""
    length = len(draws)
    digits = np.indices((choices,) * length).reshape(length, -1)
    raw = np.zeros(digits.shape[1])
    for i, draw in enumerate(draws):
        liking = np.argsort(draw[:choices], kind="stable") / (choices - 1)
        raw += (1 + int(below(draw[-1:], 3)[0])) * liking[digits[i]]
        if i:
            partner = np.argsort(draw[choices:-1], kind="stable")
            raw += interaction * (partner[digits[i - 1]] == digits[i])
    return np.asarray((raw - raw.min()) / (raw.max() - raw.min()))


def _printer(drawn: _Drawn, slot: Ints, tree: Ints, said: Ints, choices: int) -> Callable[[AnyArray], list[str]]:
    """Returns the function from states to texts."""
    names = BY_LENGTH[int(slot.max()) + 1]

    def text(state: int) -> str:
        if state == slot.size:
            return "The conversation is over."
        at = int(slot[state])
        chosen = [int(said[state]) // choices ** (at - 1 - i) % choices for i in range(at)]
        reply = " ".join(["You:", *(drawn.phrases[i * choices + c] for i, c in enumerate(chosen)), "..."])
        offered = range(at * choices, (at + 1) * choices)
        lines = [f"[{drawn.order[i]}] {drawn.phrases[i]}" for i in offered]
        return "\n".join([drawn.messages[int(tree[state])], reply, f"Next, the {names[at]}:", *lines])

    return lambda states: [text(int(s)) for s in states]
