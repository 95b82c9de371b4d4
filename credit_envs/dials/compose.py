"""The door to the dials: apply them by keyword, and measure what came of it."""

from __future__ import annotations

from typing import Any

from credit_envs.dials.catalogue import GOALS, build, check, names, requested
from credit_envs.dials.dynamics import longest_play
from credit_envs.dials.inverse import solve
from credit_envs.dials.plan import symbols
from credit_envs.dials.spell import token_counts
from credit_envs.dials.stretch import unit_length
from credit_envs.oracle.measure import measure
from credit_envs.oracle.policy import PolicyLike, uniform
from credit_envs.table.mdp import TabularMDP


def apply(table: TabularMDP, **dials: Any) -> TabularMDP:
    """Turns dials on a table, in their fixed order whatever the order of the keywords.

    A quantity (``luck_share``, ``reward_time``, ``anchor_precision``, ``revisit_rate``, ``perception_gap``) stands for
    the setting of its dial that reaches it on the final table under the uniform policy.

    Args:
        table: the table; it stays as it is.
        **dials: settings, options and quantities, see :data:`DIALS`.

    Returns:
        A new table whose ``knobs`` hold what was asked for, and the settings that were found for quantities.

    Raises:
        CreditEnvsError: for unknown names (with the nearest known ones) and values out of range.
        UnreachableRequestError: if a quantity is out of reach; the message names the reachable range.
    """
    check(dials, names())
    extra = {option for dial in GOALS.values() for option in dial.goal_options}
    settings = {name: value for name, value in dials.items() if name not in GOALS and name not in extra}
    for quantity, dial in GOALS.items():
        if quantity in dials:
            options = {name: dials[name] for name in dial.goal_options if name in dials}
            settings |= solve(table, quantity, dials[quantity], **settings, **options).setting
    return requested(build(table, settings), {**dials, **settings}) if dials else table


def measured(table: TabularMDP, policy: PolicyLike | None = None) -> dict[str, dict[str, Any]]:
    """Returns what was requested of a table, and what the oracle measures on it.

    Args:
        table: the table, dials turned.
        policy: policy that is measured (default: uniform).

    Returns:
        ``requested``: the table's knobs; ``measured``: the quantity of every dial and the other measurements of
        :func:`credit_envs.oracle.measure`.
    """
    found = measure(table, policy, int(table.knobs.get("group_size", 8)))
    structure = {"unit": float(unit_length(table)), "longest_play": float(longest_play(table))}
    if "field" in table.labels:
        structure["symbols"] = float(symbols(table))
    if "token" in table.labels:
        counts = token_counts(table, uniform(table) if policy is None else policy)
        structure |= {"tokens_per_turn": counts.tokens, "branching_per_turn": counts.branching}
    return {"requested": dict(table.knobs), "measured": {**found, **structure}}
