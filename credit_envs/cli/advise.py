"""``credit-envs advise``: what to try on an environment, and why a run may fail."""

from __future__ import annotations

import functools
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from credit_envs.cli.tables import table_of
from credit_envs.errors import CreditEnvsError, check_range
from credit_envs.table.mdp import TabularMDP

if TYPE_CHECKING:
    from credit_envs.advice import Situation

Names = tyro.conf.Positional[tuple[str, ...]]
Name = tyro.conf.Positional[str]


def advise(
    env_id: Name = "",
    knobs: Names = (),
    skill: float = 0.0,
    group_size: int = 8,
    budget: int = 20_000,
    instance: int = 0,
    docs: Path | None = None,
) -> int:
    """Say what to try on an environment under each price list, and why a run may fail, each with its measured number.

    Args:
        env_id: Id, or path of a saved table (.npz).
        knobs: Knobs and dials, as NAME=VALUE.
        skill: The policy, as share of the way from uniform (0) to optimal play (1).
        group_size: Rollouts per group.
        budget: Environment steps per update.
        instance: Instance seed of a family.
        docs: Measure every situation of DOCS/data/algorithms*.csv again and write DOCS/which-method.md instead.
    """
    check_range("budget", budget, 100, 1e12, integer=True)
    if docs is not None:
        from credit_envs.advice.measured import learn
        from credit_envs.advice.page import page
        from credit_envs.table.storage import write_atomically

        learn(docs, lambda name: print(f"advise: measuring {name}", file=sys.stderr, flush=True))
        write_atomically(docs / "which-method.md", page().encode())
        print(f"page: {docs / 'which-method.md'}")
        return 0
    if not env_id:
        raise CreditEnvsError("advise: expected an environment's id or a saved table (credit-envs list shows ids)")
    again = functools.partial(_again, env_id, knobs, skill)
    _print(table_of(env_id, knobs, instance), skill, group_size, budget, again)
    return 0


def _again(env_id: str, knobs: tuple[str, ...], skill: float, methods: Sequence[str]) -> str:
    parts = ["credit-envs", "evaluate", *methods, "--environments", env_id, "--levels", f"{skill:g}"]
    return shlex.join([*parts, *(("--knobs", *knobs) if knobs else ())])


def _print(
    table: TabularMDP, skill: float, group_size: int, budget: int, again: Callable[[Sequence[str]], str]
) -> None:
    from credit_envs import advice
    from credit_envs.report.reading import PRICES, number, short
    from credit_envs.report.terminal import listing, terminal

    console = terminal()
    found = advice.situation(table, skill, group_size)
    best, against = advice.advise(found), advice.reasons(found, budget)
    policy = "uniform play" if skill == 0 else f"a policy {skill:.0%} of the way to optimal play"
    console.print(f"{table.name} under {policy}, groups of {group_size}", style="bold", markup=False)
    grid = listing("", "measured", "", "what it is")
    grid.columns[1].justify = "right"
    for row in _rows(found, budget):
        grid.add_row(*row)
    console.print(grid)

    console.print()
    tries = listing("What to try", "what is scarce", "first", "then")
    for price in PRICES:
        first, *then = (f"{one.method} {number(one.worth)}" for one in best.choices[price])
        tries.add_row(price, first, ", ".join(then))
    console.print(tries)
    near = "; ".join(f"{short(cell.environment)} at {cell.skill:.0%} ({share:.0%})" for cell, share in best.like)
    if best.measured is not None:
        console.print(
            "Numbers: GRPO-equivalents as measured here, at 20,000 steps and groups of 8 (docs/algorithms.md)."
        )
    else:
        console.print(f"Numbers: GRPO-equivalents expected, mostly from {near}.", markup=False)
    if best.far > advice.FAR:
        console.print(
            f"Nothing like this was measured (distance {best.far:.1f}): the advice is little more than an average."
        )

    console.print()
    console.print("Why a run may fail" if against else "Nothing measured here speaks against a run.", style="bold")
    for reason in against:
        console.print(f"- {reason.name}: {reason.number}. {reason.says[:1].upper()}{reason.says[1:]}.", markup=False)
        console.print(f"  What may help: {reason.helps}.", style="dim", markup=False)

    methods = dict.fromkeys(one.method for price in PRICES for one in best.choices[price][:2])
    console.print("\nAdvice is a guess; this measures:", style="bold")
    console.print(again([*methods]), markup=False, soft_wrap=True)


def _rows(found: Situation, budget: int) -> list[tuple[str, str, str]]:
    groups = budget / (found.group_size * found.steps)
    shown = [
        ("return", f"{found.J:.4g}", f"uniform play {found.J_uniform:.4g}, optimal play {found.J_optimal:.4g}"),
        (
            "E[T]",
            f"{found.steps:.4g}",
            f"steps of a rollout (at most {found.horizon}): {budget:,} steps are {groups:.0f} groups",
        ),
        ("ρ", f"{found.revisit_rate:.3g}", "revisit rate: steps at an anchor that another rollout of the group visits"),
        ("luck", f"{found.luck_share:.3g}", "share of the return's variance that the dynamics draw"),
        ("k_eff", f"{found.unit:.3g}", "effective causal unit, in steps"),
        (
            "informative",
            f"{found.informative:.3g}",
            f"share of groups whose returns differ (±{2 * found.informative_error:.2g})",
        ),
        ("noise", f"{found.noise:.3g}", "groups at which GRPO's signal equals its noise"),
        ("ceiling", f"{found.ceiling:.3g}", "GRPO-equivalents of the exact advantage on the same rollouts"),
        ("seen", f"{found.seen:.3g}", "share of the advantage's size that look and step show"),
        ("anchored", f"{found.anchored:.3g}", "share of it that the look alone keeps"),
        ("graph cosine", f"{found.graph_cosine:.3g}", "values of anchors: cosine to the exact gradient without noise"),
        ("step cosine", f"{found.step_cosine:.3g}", "GiGPO's step term: the same"),
        ("picture", f"{found.perception_gap:.3g}", "return that the best player loses without the picture"),
    ]
    return [row for row in shown if row[1] not in ("nan", "inf")]
