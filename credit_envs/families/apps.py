"""Apps: work through a task with the calls of several apps; paid by the share of its checks that pass.

## Description

A miniature of AppWorld. A task is a list of subtasks ("in calendar, move the meeting with Dalia to the day they asked
for"), shown one after the other. A subtask takes calls of one app: log in, look up what is wanted, write it into the
record, check the record. `next_subtask` goes on for good; `complete_task` ends the episode at any time. Nothing enforces
that order:

- Look-up, write and check answer 401 before the login, and 409 where they make no sense yet: a write before the look-up,
  a check of an empty record, a call of another app than the subtask's.
- Before an app's documentation has been read, arguments are made up: each of these calls is understood with probability
  `guess`, otherwise it answers 400. With `guess` = 1 nobody needs documentation.
- A call that would have done something is unavailable with probability `flaky` and answers 503; one tries again.
- The value that a look-up shows is drawn uniformly, anew in each episode. Any value can be written, and overwritten.
- A write that is accepted is lost with probability `lost`. Only a check shows it: the record is then confirmed for good,
  or gone and to be written again. Records that nobody checked are settled when the task is complete.

Every error leaves all else unchanged. An app is open from the first subtask about it to the last, and so long do login
and documentation last: reading up pays off later too, in many instances after another app in between. At most two apps
are open at once. Reading documentation and moving on never fail.

Apps, their turns, people, values and the order of the actions differ between instances.

## Action Space

`Discrete(apps·(values + 4) + 2)`: for each app `read_docs APP`, `APP.login`, a call that looks up, a write per value, a
call that checks; `next_subtask`, `complete_task`. Admissible are all calls of open apps, errors included,
`complete_task`, and `next_subtask` before the last subtask. Calls that would change nothing answer 200.

## Observation Space

- `text`: the subtask, how those before were left, logins and documentation of the open apps, what was found and written,
  the last response, and every admissible call with the number of its action.
- `state`: the number of the state.

Different states have different texts. Whether an unconfirmed write was lost is no part of the state: it is drawn when
one looks. Labels: `segment` (present subtask, and their number in the end), `sure` and `unsure` (subtasks left behind
with a right record, confirmed or not; in the end `sure` counts the checks passed), `docs` (open apps whose documentation
was read), `documented` and `logged_in` (the subtask's app), `stage` (0 nothing, 1 looked up, 2 written wrong, 3 written
right, 4 written right and confirmed) and `error` (0 none, 1 for 401, 2 for 400, 3 for 409, 4 for 503). `anchor` is all but
documentation and last response.

For habits, `docs_action`, `check_action` and `retry_action` name the action that reads the documentation of the
subtask's app while it is unread, the one that checks its record while it is unconfirmed, and the one that the last 503
asks to repeat; −1 where there is none. :func:`habits` turns them into flags of edges.

## Rewards

On `complete_task` the share of subtasks whose record is as wanted, the present one included. Whoever never calls it gets
0.

## Starting State

The first subtask; nothing read, no login.

## Episode End

With `complete_task`, or at the horizon: `horizon_factor` times `2·min(apps, subtasks) + 4·subtasks`, the length of play by
the book without errors (documentation and login once per app; look up, write, check and go on once per subtask).

## Arguments

- `apps` (default 2): apps that the task needs, or one per subtask if those are fewer.
- `subtasks` (default 3): subtasks of the task, one check each.
- `values` (default 2): values that a record can take.
- `guess` (default 0.2): probability that a call is understood without documentation.
- `flaky` (default 0.1): probability that a call is unavailable.
- `lost` (default 0.2): probability that an accepted write is lost.
- `horizon_factor` (default 2.0): see Episode End.

## References

Trivedi et al., "AppWorld: A Controllable World of Apps and People for Benchmarking Interactive Coding Agents", ACL 2024.

## Version History

- v0: first version.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from credit_envs.arrays import AnyArray, Bools, Ints
from credit_envs.errors import TableError
from credit_envs.families.apps_pages import Printer
from credit_envs.families.apps_states import UNAVAILABLE, Place, Places, States, all_outcomes, number_states
from credit_envs.families.apps_task import Task, make_task
from credit_envs.families.family import Knob
from credit_envs.table.build import from_outcomes
from credit_envs.table.mdp import TabularMDP
from credit_envs.table.view import View, text_space

KNOBS = {
    "apps": Knob(2, 1, 4, "apps that the task may need"),
    "subtasks": Knob(3, 1, 8, "subtasks of the task, one check each"),
    "values": Knob(2, 1, 3, "values that a record can take"),
    "guess": Knob(0.2, 0, 1, "probability that a call is understood without documentation", integer=False),
    "flaky": Knob(0.1, 0, 0.9, "probability that a call is unavailable", integer=False),
    "lost": Knob(0.2, 0, 0.9, "probability that an accepted write is lost", integer=False),
    "horizon_factor": Knob(2.0, 1, 1000, "horizon in steps of play by the book", integer=False),
}

_TEXT = text_space()


def build(
    instance_seed: int,
    *,
    apps: int,
    subtasks: int,
    values: int,
    guess: float,
    flaky: float,
    lost: float,
    horizon_factor: float,
) -> TabularMDP:
    """Builds one instance."""
    knobs: dict[str, Any] = {name: value for name, value in locals().items() if name in KNOBS}
    task = make_task(instance_seed, apps, subtasks, values)
    places = Places(task)
    states = number_states(places, all_outcomes(places, guess, flaky, lost))
    printer, outcomes = Printer(places, states), states.outcomes
    over = states.place >= places.n
    passed = np.where(over, states.place - places.n, 0)
    return from_outcomes(
        "Apps",
        states.place.size,
        task.order.size,
        {
            "state": outcomes.place,
            "action": task.order[outcomes.call],
            "successor": outcomes.successor,
            "probability": outcomes.probability,
            "reward": passed[outcomes.successor] / subtasks,
            "terminal": over[outcomes.successor],
        },
        start={0: 1.0},
        horizon=round(horizon_factor * (2 * min(apps, subtasks) + 4 * subtasks)),
        action_names=tuple(printer.commands),
        labels=_labels(task, places, states, over, passed),
        views={"text": View(_TEXT, printer.rows)},
        knobs=knobs,
        validated=False,
    )


def habits(table: TabularMDP) -> dict[str, Bools]:
    """Returns which edges are good habits: ``docs``, ``check`` and ``retry``, bool ``[E]`` each.

    ``docs`` reads the documentation of the subtask's app while it is unread, ``check`` checks a record that is written but not
    confirmed, ``retry`` repeats the call that was unavailable. Works on Apps tables and on what keeps their labels and
    action numbers.

    Raises:
        TableError: if the table has no such labels.
    """
    if "retry_action" not in table.labels:
        raise TableError(f"table={table.name!r}: expected an Apps table, with the label retry_action")
    names = ("docs", "check", "retry")
    return {name: table.labels[f"{name}_action"][table.edge_state] == table.edge_action for name in names}


def _labels(task: Task, places: Places, states: States, over: Bools, passed: Ints) -> dict[str, Ints]:
    """Labels of all states; what an end has no value for is −1."""
    at = Place(*(part[np.where(over, 0, states.place)] for part in places.at))
    app = task.app[at.subtask]
    first, failed = app * task.per_app, states.last - UNAVAILABLE
    documented, logged_in = at.docs >> app & 1, at.tokens >> app & 1
    stage = np.select([at.found == 0, at.record == 0, ~at.right, at.confirmed == 0], [0, 1, 2, 3], 4)
    anchor = np.where(over, places.codes[-1] + 1 + passed, places.encode(at._replace(docs=0 * at.docs)))

    def action(there: Bools, call: AnyArray) -> Ints:
        return np.where(there & ~over, task.order[np.where(there, call, 0)], -1)

    before = {
        "segment": at.subtask,
        "sure": at.sure,
        "unsure": at.unsure,
        "docs": (at.docs[:, None] >> np.arange(task.apps) & 1).sum(axis=1),
        "documented": documented,
        "logged_in": logged_in,
        "stage": stage,
        "error": np.minimum(states.last, UNAVAILABLE),
    }
    after: dict[str, AnyArray | int] = {"segment": task.subtasks, "sure": passed}
    named = {name: np.where(over, after.get(name, -1), part) for name, part in before.items()}
    return named | {
        "turn": 0 * app,
        "anchor": np.unique(anchor, return_inverse=True)[1],
        "docs_action": action(documented == 0, first),
        "check_action": action((at.record > 0) & (at.confirmed == 0), first + task.per_app - 1),
        "retry_action": action(failed >= 0, failed),
    }
