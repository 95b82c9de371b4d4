"""The ``spell`` dial: commands are uttered word by word, so that the policy's steps are tokens.

A command is an action name, its words are its tokens, and in each state the admissible words are those that go on with
an admissible command (the trie of the state's commands). The last word executes the command. Where a command is
complete but also begins a longer one, the word ``<end>`` executes it. Words before the last one change nothing, pay
nothing and know no luck; an inadmissible word takes a token and leaves the state as it is.

Equally likely words make no equally likely commands: :func:`spelled_policy` carries a policy over.
"""

from __future__ import annotations

import re
from typing import NamedTuple

import gymnasium
import numpy as np

from credit_envs.arrays import AnyArray, Floats, Ints
from credit_envs.dials.memory import MAX_STATES
from credit_envs.dials.settle import settle
from credit_envs.dials.spell_layout import PAD, Layout, Trie, lay_out
from credit_envs.dials.substeps import Moves, Runs, refined, splittable, with_substeps
from credit_envs.errors import CreditEnvsError, check_range
from credit_envs.oracle.evaluation import occupancy, playing
from credit_envs.oracle.policy import PolicyLike, as_policy, effective
from credit_envs.table.mdp import TabularMDP
from credit_envs.table.view import View, text_space


def spell(table: TabularMDP, on: bool = True, spell_pad: bool = False, max_states: int = MAX_STATES) -> TabularMDP:
    """Makes each token of a command a step of its own.

    State s of the table is state s of the result, and a turn starts there; the states inside turns follow.

    The horizon is counted in tokens: H times the longest command. So H turns always fit, and where commands differ in
    length, a player of short ones may take more. With ``spell_pad`` every turn takes as many tokens as the longest
    command: what is missing after a shorter one is filled with ``<pad>``, the only admissible word there. Then H turns
    are exactly H turns, J of every spelled policy is J of the policy, and rewards by the clock keep their turn (a
    ``reward_shift`` is paid with a turn's first token). A discount below 1 acts per token. A layer that renames actions
    becomes part of the state (:mod:`credit_envs.dials.settle`), since a turn's words must mean one thing.

    Args:
        table: the table; its action names are the commands.
        on: False leaves the table as it is.
        spell_pad: whether all turns take equally many tokens.
        max_states: largest number of states to build.

    Returns:
        The spelled table. Actions are words: the sorted words of all action names, then ``<end>`` if a name begins
        another one, then ``<pad>``. Labels: ``token`` is the position inside the command, ``turn`` the position inside
        the turn (``turn · longest + token`` where the table already had turns of several steps), ``unit_step`` what it
        was in steps, ``prefix`` numbers what was said (0: nothing); ``anchor`` tells prefixes apart, everything else is
        inherited. A pad has the labels of the state that comes next. The view ``text`` shows what was said after ``>``, and
        numbers no commands;
        ``tokens`` is MultiDiscrete ``[longest]``: look of the state in which the turn started, then what was said
        (1 + word, 0 for nothing yet). Planes and pictures stay as they are.

    Raises:
        CreditEnvsError: if names cannot be spelled, two commands of one state have the same words, the table is spelled
            already, grows too large, or commands differ in length without ``spell_pad`` where the number of turns matters.
    """
    check_range("spell", on, 0, 1, integer=True)
    check_range("spell_pad", spell_pad, 0, 1, integer=True)
    if not on:
        return table
    table = splittable(table, "spell", ("token", "prefix"), max_states)
    trie, layout = lay_out(table, bool(spell_pad), max_states)
    longest = trie.longest
    token = np.concatenate((trie.depth, longest - np.arange(1, longest)))[layout.prefix]
    turn = table.labels["turn"][layout.origin] if "turn" in table.labels else layout.origin * 0

    def landing(run: Ints, outcome: Ints) -> AnyArray:
        successor = table.successor[outcome].astype(np.int64)
        wait = np.where(table.terminal[outcome], 0, np.minimum(layout.spare[run], layout.pads[successor]))
        return np.where(wait == 0, successor, layout.pad_start[successor] + wait - 1)

    spelled = with_substeps(
        table,
        layout.origin,
        Moves(*layout.moves),
        Runs(*layout.runs),
        landing,
        n_actions=len(trie.vocabulary),
        action_names=trie.vocabulary,
        shown=layout.prefix,
        horizon=table.horizon * longest,
        reward_scale=None if table.reward_scale is None else np.repeat(table.reward_scale, longest),
        reward_shift=_first_tokens(table.reward_shift, longest),
        labels={
            **refined(table, layout.origin, layout.prefix),
            "turn": turn * longest + token,
            "unit_step": table.labels["unit_step"][layout.origin] if "unit_step" in table.labels else turn,
            "token": token,
            "prefix": layout.prefix,
        },
    )
    return spelled.replace(views={**spelled.views, **_views(spelled, table, trie, layout)})


def _first_tokens(shift: Floats | None, longest: int) -> Floats | None:
    if shift is None:
        return None
    spread = np.zeros(shift.size * longest)
    spread[::longest] = shift
    return spread


def _views(spelled: TabularMDP, table: TabularMDP, trie: Trie, layout: Layout) -> dict[str, View]:
    """The state's words with what was said so far, in words and in numbers."""
    n_nodes, slots = trie.parent.size, trie.longest - 1
    said = np.zeros((n_nodes + slots, slots), dtype=np.int64)
    for i in range(1, n_nodes):
        if trie.depth[i] <= slots:
            said[i] = said[trie.parent[i]]
            said[i, trie.depth[i] - 1] = 1 + trie.word[i]
    said[n_nodes:] = np.tri(slots, dtype=np.int64) * len(trie.vocabulary)
    words = ["".join(trie.vocabulary[i - 1] + " " for i in row if i) for row in said.tolist()]
    text, look = spelled.view("text"), table.emission.base[layout.origin]

    def sentences(states: AnyArray, rows: list[str]) -> list[str]:
        prefixes = layout.prefix[states].tolist()
        parts = zip(rows, prefixes, strict=True)
        return [f"{_unnumbered(row, table.action_names)}\n> {words[prefix]}_" for row, prefix in parts]

    def numbers(states: AnyArray) -> AnyArray:
        return np.concatenate((look[states, None], said[layout.prefix[states]]), axis=1)

    sizes = np.array([table.emission.n_base, *[len(trie.vocabulary) + 1] * slots])
    length = getattr(text.space, "max_length", 0) + max(map(len, words)) + 4
    return {
        "text": text.reworded(text_space(length), sentences),
        "tokens": View(gymnasium.spaces.MultiDiscrete(sizes), numbers),
    }


def _unnumbered(text: str, commands: tuple[str, ...]) -> str:
    """Drops the numbers of commands that a text lists, such as ``[7] go north``: words have numbers of their own."""

    def bare(found: re.Match[str]) -> str:
        number = int(found[1])
        listed = number < len(commands) and text.startswith(commands[number], found.end())
        return "" if listed else found[0]

    return re.sub(r"\[(\d+)\] ", bare, text)


def spelled_policy(table: TabularMDP, spelled: TabularMDP, policy: PolicyLike) -> Floats:
    """Spells a policy: the same commands with the same probabilities, word by word.

    A word's probability is the probability of the commands that go on with it, among those that are still possible.
    After words that the policy never says, all admissible words are equally likely.

    Args:
        table: the table.
        spelled: what :func:`spell` made of it.
        policy: policy on ``table``, over admissible actions.

    Returns:
        float64 ``[S', W]``.

    Raises:
        CreditEnvsError: if ``spelled`` is not the table spelled, or the policy names inadmissible actions.
    """
    pad = PAD in spelled.action_names
    table = settle(table, "spell", spelled.n_states)
    trie, layout = lay_out(table, pad, spelled.n_states)
    if trie.vocabulary != spelled.action_names or not np.array_equal(layout.prefix, spelled.labels.get("prefix", ())):
        raise CreditEnvsError(f"spelled: expected {table.name} as spell left it, got {spelled.name}")
    edges = effective(table, as_policy(table, policy))
    if edges.stay.any():
        raise CreditEnvsError("policy: expected admissible actions only; inadmissible ones cannot be spelled")
    mass = np.bincount(layout.cell, edges.edge[layout.passing])
    moving = np.where(layout.move_cell < 0, 1.0, mass[layout.move_cell])
    running = edges.edge[layout.runs[2]]
    source, word = (np.concatenate((layout.moves[i], layout.runs[i])) for i in (0, 1))
    weight = np.concatenate((moving, running))
    total = np.bincount(source, weight, minlength=spelled.n_states)
    never = total[source] == 0
    out = np.zeros((spelled.n_states, spelled.n_actions))
    out[source, word] = np.where(never, 1, weight) / np.where(never, spelled.n_admissible[source], total[source])
    return out


class TokenCounts(NamedTuple):
    """Expected tokens per turn.

    Attributes:
        tokens: tokens (steps) per turn, pads included.
        branching: tokens per turn at which more than one word is admissible.
    """

    tokens: float
    branching: float


def token_counts(table: TabularMDP, policy: PolicyLike) -> TokenCounts:
    """Counts tokens exactly: E[tokens] / E[turns], a turn starting wherever the label ``turn`` is 0."""
    visits = occupancy(table, policy)[:-1].sum(axis=0) * playing(table)
    turns = visits[table.labels["turn"] == 0].sum() if "turn" in table.labels else visits.sum()
    return TokenCounts(float(visits.sum() / turns), float(visits[table.n_admissible > 1].sum() / turns))
