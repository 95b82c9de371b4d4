"""Words as actions: the admissible action that a player or a language model names, or the nearest ones."""

from __future__ import annotations

import difflib

from credit_envs.errors import CreditEnvsError
from credit_envs.table.mdp import TabularMDP

_MOST_NEAR = 3


def command(table: TabularMDP, state: int, said: str) -> int:
    """Returns the admissible action that words name in a state; case and blank space do not matter.

    Words come first; a number, with or without brackets, names the action of that number.

    Args:
        table: the table.
        state: the state.
        said: the words.

    Raises:
        CreditEnvsError: if they name none; the message lists the nearest ones.
    """
    actions = table.edge_action[table.edge_start[state] : table.edge_start[state + 1]].tolist()
    names = {" ".join(table.action_names[action].lower().split()): action for action in reversed(actions)}
    words = " ".join(said.lower().split())
    if words in names:
        return int(names[words])
    number = words.removeprefix("[").removesuffix("]")
    if number.isdecimal():
        if int(number) not in actions:
            raise CreditEnvsError(f"{said}: expected one of {', '.join(map(str, actions))}")
        return int(number)
    near = difflib.get_close_matches(words, names, n=_MOST_NEAR, cutoff=0.4)
    listed = [names[name] for name in near] or actions[:_MOST_NEAR]
    known = any(words == " ".join(name.lower().split()) for name in table.action_names)
    what = "is not possible here" if known else "is no move"
    raise CreditEnvsError(f"{said!r} {what}; nearest: {', '.join(repr(table.action_names[a]) for a in listed)}")
