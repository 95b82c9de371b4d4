"""docs/which-method.md: what was worth most where, what advice costs, and what nobody knows."""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, isfinite

import numpy as np

from credit_envs.advice.measured import Cell, cells
from credit_envs.advice.rule import BUDGET, CHOSEN_ON, Regret, Rule, regrets
from credit_envs.report.markdown import line
from credit_envs.report.reading import PRICES, number, short

_SHOWN = 2
_HALF = 0.5
_BIASED = 0.93


def page() -> str:
    """Returns the page as Markdown."""
    known = cells()
    families = list(dict.fromkeys(cell.family for cell in known))
    old = {name.partition("?")[0] for name in CHOSEN_ON}
    new = [family for family in families if family not in old]
    parts = [
        _HEAD.format(cells=len(known), environments=len({c.environment for c in known}), families=len(families)),
        _short(known),
        "## What decides",
        _DECIDES,
        *_split(known),
        "## What advice costs",
        _COSTS,
        *_regrets(new),
        "## The usual selection advice",
        _usual(known),
        "## What is not known",
        _LIMITS,
        "## Cell by cell",
        _BEST,
        *_best(known),
    ]
    return "\n\n".join(parts) + "\n"


def _short(known: Sequence[Cell]) -> str:
    """What to remember, with its numbers."""
    biased = [c for c in known if c.situation.graph_cosine < _BIASED and _shortage(c) < _HALF]
    others = [c for c in known if c not in biased]
    seldom = [c for c in known if c.situation.informative < _HALF]

    below = sum(c.worth["simulator"]["anchor_graph"].value < 1 for c in biased)

    def span(of: Sequence[Cell]) -> str:
        values = sorted(c.worth["simulator"]["anchor_graph"].value for c in of)
        return f"{number(values[0])} to {number(values[-1])}" if values else "–"

    said = [
        "In short (geometric means, GRPO = 1):",
        f"* **Per environment step** credit from shared states leads: anchor_graph_mix {_mean(known, 'anchor_graph_mix')}, "
        f"anchor_graph {_mean(known, 'anchor_graph')}, an actor-critic on fresh rollouts {_mean(known, 'actor_critic')}; GiGPO "
        f"{_mean(known, 'gigpo')}. VinePPO ({_mean(known, 'vineppo')}) and search lose.",
        f"* **Per trained step** VinePPO ({_mean(known, 'vineppo', 'data')}) leads, before an actor-critic "
        f"({_mean(known, 'actor_critic', 'data')}) and PPO with a learned critic ({_mean(known, 'ppo_learned', 'data')}).",
        f"* **Where fewer than half of the groups have returns that differ** ({len(seldom)} cells) little helps per "
        f"environment step (the best, an actor-critic: {_mean(seldom, 'actor_critic')}); per trained step filtering does "
        f"(RAGEN-2's top-p {_mean(seldom, 'ragen2_top_p', 'data')}). Larger groups, denser rewards or demonstrations come "
        "first.",
        f"* **Values of anchors fail where they are wrong and there is enough data for it to matter**: graph cosine below "
        f"{_BIASED} and the budget at least twice *noise*. In the {len(biased)} cells like that anchor_graph was worth "
        f"{span(biased)} ({below} of them below 1), in the other {len(others)} {span(others)}. (The two thresholds were "
        "chosen after looking at the first 45 cells.)",
    ]
    return "\n".join([said[0], "", *said[1:]])


def _mean(of: Sequence[Cell], method: str, price: str = "simulator") -> str:
    return number(exp(float(np.mean([c.worth[price][method].log for c in of])))) if of else "–"


def _shortage(cell: Cell) -> float:
    """Groups that GRPO needs for as much signal as noise, over those that the budget buys."""
    found = cell.situation
    return found.noise * found.group_size * found.steps / BUDGET


def _best(known: Sequence[Cell]) -> list[str]:
    """One table: the three best of each cell under each price list."""
    rule = Rule(known)
    head = ["environment", "policy", "noise", "graph cosine", "ceiling", *PRICES]
    rows = [line(head), line(["---"] * len(head))]
    for cell in known:
        found = cell.situation
        shown = [_number(found.noise), f"{found.graph_cosine:.2f}", _number(found.ceiling)]
        for price in PRICES:
            ranked = sorted(rule.methods, key=lambda name: -cell.worth[price][name].log)[:_SHOWN]
            shown.append(", ".join(f"{name} {number(cell.worth[price][name].value)}" for name in ranked))
        rows.append(line([short(cell.environment), _policy(cell), *shown]))
    return ["\n".join(rows)]


def _split(known: Sequence[Cell]) -> list[str]:
    """Geometric means of families of methods where one measured number is low and where it is high."""
    methods = ("anchor_graph", "anchor_graph_mix", "gigpo", "actor_critic", "ppo_learned", "vineppo", "dapo")
    cuts = (
        ("values of anchors stay right (graph cosine ≥ 0.99)", lambda c: c.situation.graph_cosine >= 0.99),
        ("values of anchors stay wrong (below 0.99)", lambda c: c.situation.graph_cosine < 0.99),
        ("groups inform (at least half)", lambda c: c.situation.informative >= _HALF),
        ("groups seldom inform", lambda c: c.situation.informative < _HALF),
        ("luck decides (more than half of Var R)", lambda c: c.situation.luck_share > _HALF),
        ("little luck", lambda c: not c.situation.luck_share > _HALF),
    )
    out = []
    for price in ("simulator", "data"):
        head = [f"{price}'s prices, where", "cells", *methods]
        rows = [line(head), line(["---"] * len(head))]
        for name, of in cuts:
            here = [cell for cell in known if of(cell)]
            means = [
                number(exp(float(np.mean([c.worth[price][m].log for c in here])))) if here else "–" for m in methods
            ]
            rows.append(line([name, str(len(here)), *means]))
        out.append("\n".join(rows))
    return out


def _regrets(new: Sequence[str]) -> list[str]:
    out = []
    if new:
        out.append(
            f"**Held out**: fitted to the {len(CHOSEN_ON)} environments on which the rule was chosen, tested on "
            f"{len(new)} families that were measured afterwards ({', '.join(short(name) for name in new)})."
        )
        out.append(_table([(price, regrets(price, lambda family: family in new, held_out=True)) for price in PRICES]))
    out.append("**Leaving one family out**: fitted to all others, tested on it, over all families.")
    out.append(_table([(price, regrets(price)) for price in PRICES]))
    return out


def _table(found: Sequence[tuple[str, list[Regret]]]) -> str:
    names = [regret.rule for regret in found[0][1]]
    head = ["prices", *names]
    rows = [line(head), line(["---"] * len(head))]
    for price, each in found:
        rows.append(line([price, *(f"{r.factor:.2f} (worst {number(r.worst)}; {r.hits:.0%})" for r in each)]))
    return "\n".join(rows)


def _usual(known: Sequence[Cell]) -> str:
    many = [c for c in known if c.situation.revisit_rate >= _HALF]
    few = [c for c in known if c.situation.revisit_rate < _HALF]

    long = [c for c in known if c.situation.steps >= 100]
    said = [
        f"* *Many repeats → GiGPO.* Where ρ₈ ≥ 0.5 ({len(many)} cells) GiGPO was worth {_mean(many, 'gigpo', 'simulator')}, "
        f"elsewhere ({len(few)} cells) {_mean(few, 'gigpo', 'simulator')}; anchor-graph backup mixed over time resolutions "
        f"{_mean(many, 'anchor_graph_mix', 'simulator')} and {_mean(few, 'anchor_graph_mix', 'simulator')}.",
        f"* *Compute to spare → AgentPRM.* Where only trained steps cost, its reward was worth "
        f"{_mean(known, 'agent_prm_reward', 'data')} over all cells, VinePPO {_mean(known, 'vineppo', 'data')}, an "
        f"actor-critic {_mean(known, 'actor_critic', 'data')}.",
        f"* *Very long tasks → LOOP.* Where E[T] ≥ 100 ({len(long)} cells) LOOP was worth {_mean(long, 'loop', 'simulator')}, "
        f"ratios by turn {_mean(long, 'loop_by_turn', 'simulator')}. (On-policy; its ratios are for old data.)",
        "* *Natural turns → turn rewards.* Needs rewards per turn, which most environments here do not pay; on those that do "
        "see [all algorithms](algorithms.md): as potential differences they do no harm, normalised by turn they mislead.",
    ]
    return "\n".join(said)


def _policy(cell: Cell) -> str:
    return "uniform" if cell.skill == 0 else f"{cell.skill:.0%}"


def _number(value: float) -> str:
    return f"{value:,.3g}" if isfinite(value) else "–"


_HEAD = """# Which method?

Made by `credit-envs advise --docs docs` from {cells} measured cells: {environments} environments of {families}
families under three policies (uniform play, and 50 % and 90 % of the way to optimal play), 10 seeds, 20,000
environment steps, groups of 8. Worth is in GRPO-equivalents: 2 means the gradient signal that GRPO gets from twice
the resources.

```bash
credit-envs advise credit/KeyRooms-v0               # under uniform play
credit-envs advise credit/KeyRooms-v0 --skill 0.5   # half of the way to optimal play
credit-envs advise my_table.npz                     # a saved table: credit-envs compile
```

The command measures a table's dials and four numbers more, says what to try under each price list, and why a run may
fail, each reason with its number. **If you have the table, measuring is better than advice**: `credit-envs evaluate`
on one environment takes about a minute, and `advise` ends with that command. Advice is for the time before, and for
real tasks whose dials you can estimate."""

_BEST = """*Noise*: groups at which GRPO's signal equals its noise. *Ceiling*: what the exact advantage is worth on the same
rollouts. Then the two best under each price list. –: no group that was drawn had returns that differ."""

_DECIDES = "Geometric means over cells, split by one measured number at a time."

_COSTS = """How many times more the best measured method was worth than the one that a rule chose, by geometric mean over cells
(1 would be perfect); in brackets the worst cell, and how often the choice was worth at least 0.8 of the best. The best
is picked after the fact from measured figures with noise of their own, so even a perfect rule would not get 1.

*This advice* averages over measured situations that are alike in four numbers: how wrong values of anchors and
discounted returns stay without noise, GRPO's noise at the budget, and how often groups inform. *Best on average*
takes the method with the best mean in the families it was fitted to. The usual dials (E[T], ρ, luck) in place of the
four numbers did no better than *anchor_graph_mix* among the seven families on which the rule was chosen. *Usual
advice*: AgentPRM where only trained steps cost, LOOP for long tasks with few repeats, GiGPO with many repeats, else GRPO.

So the advice is worth following per environment step and under a language model's prices; where only trained steps
cost, it is no better than always taking VinePPO."""

_LIMITS = """* Gradient quality for one update of a tabular policy, on-policy; learning speed agrees with it inside an
  environment (rank correlation 0.50, [findings](findings.md)), and across environments hardly.
* Few environments, all small. A situation far from all measured ones gets little more than an average, and the
  command says so.
* Methods that need labels (HiPER, turn rewards, MIG, Search-P1, VPPO) are not among the candidates; [all
  algorithms](algorithms.md) has them.
* Everything holds at B = 20,000 and groups of 8. Bias matters more with more data: the larger your batches, the more
  *graph cosine* and *step cosine* decide.
* The rule's numbers and width were chosen by looking at seven families; only the held-out table is a clean test."""
