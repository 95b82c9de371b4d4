"""The dials as one table of data in their fixed order.

Slip, delay, density, unit, horizon; then plan and spell, which split steps into sub-steps; then dials on looks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from math import ceil
from typing import Any

import numpy as np

from credit_envs.arrays import AnyArray
from credit_envs.dials import dynamics, observation, perception, stretch, timing
from credit_envs.dials.memory import MAX_STATES
from credit_envs.dials.plan import MAX_SUBGOALS, plan, symbols
from credit_envs.dials.spell import spell, token_counts
from credit_envs.errors import CreditEnvsError, check_range, unknown
from credit_envs.oracle.measure import anchor_quality, reward_timing, spread
from credit_envs.oracle.measure import perception as perceive
from credit_envs.oracle.policy import PolicyLike
from credit_envs.oracle.visits import revisit_rate
from credit_envs.table.mdp import TabularMDP

_MOST = float(np.iinfo(np.int32).max)


@dataclass(frozen=True)
class Dial:
    """One dial.

    Attributes:
        name: keyword that sets it.
        apply: function (table, value, **options) → table.
        quantity: what its measurement is called, in :func:`credit_envs.oracle.measure` where that has it.
        measure: function (table, policy) → the quantity.
        low: smallest setting.
        high: largest setting (some tables allow less, and say so).
        doc: one line.
        integer: whether settings are whole numbers.
        options: further keywords of ``apply`` and their defaults.
        default: setting where only options are given; None if the dial must be named.
        goal: whether ``quantity`` is a keyword too: it asks for the setting that reaches it under the uniform policy.
        goal_options: further keywords of the goal and their defaults.
        exogenous: whether it touches only what states look like.
        steps: for dials that measure in jumps, function from a table to the settings to choose from.
    """

    name: str
    apply: Callable[..., TabularMDP]
    quantity: str
    measure: Callable[[TabularMDP, PolicyLike], float]
    low: float
    high: float
    doc: str
    integer: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)
    default: float | None = None
    goal: bool = False
    goal_options: Mapping[str, Any] = field(default_factory=dict)
    exogenous: bool = False
    steps: Callable[[TabularMDP], AnyArray] | None = None


DIALS: dict[str, Dial] = {
    dial.name: dial
    for dial in (
        Dial(
            "slip",
            dynamics.slip,
            "luck_share",
            lambda table, policy: spread(table, policy).luck_share,
            0,
            1,
            "probability that a random admissible action executes instead",
            goal=True,
        ),
        Dial(
            "delay",
            timing.delay,
            "reward_time",
            lambda table, policy: reward_timing(table, policy)["reward_time"],
            0,
            _MOST,
            "steps by which each reward is paid later",
            integer=True,
            options={"max_states": MAX_STATES},
            steps=lambda table: np.arange(dynamics.longest_play(table)),
        ),
        Dial(
            "density",
            timing.density,
            "reward_time",
            lambda table, policy: reward_timing(table, policy)["reward_time"],
            0,
            1,
            "share of each reward that is paid at once, the rest at the end",
            options={"max_states": MAX_STATES},
            goal=True,
        ),
        Dial(
            "unit",
            stretch.unit,
            "unit",
            lambda table, _: stretch.unit_length(table),
            1,
            1 << 16,
            "steps per decision (the causal unit)",
            integer=True,
            options={"unit_kind": "first", "max_states": MAX_STATES},
            steps=lambda _: np.arange(1, 257),
        ),
        Dial(
            "horizon",
            dynamics.horizon,
            "longest_play",
            lambda table, _: dynamics.longest_play(table),
            1,
            _MOST,
            "steps after which episodes are cut off",
            integer=True,
            steps=lambda table: np.arange(1, table.horizon + 1),
        ),
        Dial(
            "plan",
            plan,
            "symbols",
            lambda table, _: symbols(table),
            0,
            MAX_SUBGOALS,
            "subgoal symbols of the plan that the policy states at every step (0: no plan)",
            integer=True,
            options={"max_states": MAX_STATES},
            steps=lambda _: np.arange(MAX_SUBGOALS + 1),
        ),
        Dial(
            "spell",
            spell,
            "tokens_per_turn",
            lambda table, policy: token_counts(table, policy).tokens,
            0,
            1,
            "whether commands are uttered word by word",
            integer=True,
            options={"spell_pad": False, "max_states": MAX_STATES},
            steps=lambda _: np.arange(2),
        ),
        Dial(
            "aliasing",
            observation.aliasing,
            "anchor_precision",
            lambda table, policy: anchor_quality(table, policy).precision,
            0,
            1,
            "share of looks that two kinds of states share",
            options={"aliasing_seed": 0},
            goal=True,
            exogenous=True,
            steps=observation.aliasing_steps,
        ),
        Dial(
            "paraphrases",
            observation.paraphrases,
            "anchor_recall",
            lambda table, policy: anchor_quality(table, policy).recall,
            1,
            observation.MAX_CODES,
            "wordings of each look, drawn at every step",
            integer=True,
            exogenous=True,
            steps=lambda _: np.arange(1, 1025),
        ),
        Dial(
            "skin_rate",
            observation.skins,
            "revisit_rate",
            lambda table, policy: revisit_rate(table, policy).value,
            0,
            1,
            "probability that an episode wears one of the skins",
            options={"skins": 64},
            default=1.0,
            goal=True,
            goal_options={"group_size": 8},
            exogenous=True,
        ),
        Dial(
            "cue",
            perception.cue,
            "perception_gap",
            lambda table, policy: perceive(table, policy).gap,
            0,
            1,
            "probability that only the picture shows the shift of the action names",
            options={"guess": None},
            goal=True,
            exogenous=True,
        ),
    )
}
"""Every dial, in the order in which they are applied."""

GOALS: dict[str, Dial] = {dial.quantity: dial for dial in DIALS.values() if dial.goal}
"""Quantities that can be asked for instead of settings."""


def names() -> set[str]:
    """Returns all keywords that :func:`apply` takes: dials, their options, and quantities that can be asked for."""
    return {
        name
        for dial in DIALS.values()
        for name in (dial.name, *dial.options, *([dial.quantity, *dial.goal_options] if dial.goal else ()))
    }


def check(keywords: Mapping[str, Any], known: Iterable[str]) -> None:
    """Raises unless every keyword is known, in range, and an option only where its dial is set.

    Raises:
        CreditEnvsError: naming the keyword.
    """
    known = set(known)
    for name in keywords:
        if name not in known:
            raise unknown("dial", name, known)
    for dial in DIALS.values():
        if dial.name in keywords:
            check_range(dial.name, keywords[dial.name], dial.low, dial.high, integer=dial.integer)
        if dial.name in keywords and dial.goal and dial.quantity in keywords:
            raise CreditEnvsError(f"{dial.name} and {dial.quantity}: expected one of them, got both")
    for name, value in keywords.items():
        owners = [dial for dial in DIALS.values() if name in dial.options]
        words = {dial.name for dial in owners} | {dial.quantity for dial in owners if dial.goal}
        words |= {word for dial in DIALS.values() if name in dial.goal_options for word in (dial.name, dial.quantity)}
        free = any(dial.default is not None for dial in owners)
        if words and not free and not words & set(keywords):
            raise CreditEnvsError(f"{name}={value!r}: expected with {' or '.join(sorted(words))}")


def build(table: TabularMDP, settings: Mapping[str, Any], *, exogenous: bool | None = None) -> TabularMDP:
    """Applies settings (no goals) that were checked, in the fixed order.

    Args:
        table: the table.
        settings: keywords of dials and their options.
        exogenous: apply only the dials on looks (True) or only those on dynamics (False).
    """
    if "horizon" in settings and exogenous is not True:
        # Cutting first gives the same table with fewer states, and tells delay and density how far play can go.
        table = dynamics.horizon(table, ceil(settings["horizon"] / settings.get("unit", 1)))
    for dial in DIALS.values():
        if exogenous in (None, dial.exogenous):
            options = {name: settings[name] for name in dial.options if name in settings}
            value = settings.get(dial.name, dial.default if options else None)
            if value is not None:
                table = dial.apply(table, value, **options)
    return table


def requested(table: TabularMDP, keywords: Mapping[str, Any]) -> TabularMDP:
    """Notes keywords in a table's ``knobs``."""
    plain = {name: value.item() if isinstance(value, np.generic) else value for name, value in keywords.items()}
    return table.replace(knobs={**table.knobs, **plain})
