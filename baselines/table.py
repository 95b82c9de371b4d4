"""Writes README.md from the results beside it.

    python baselines/table.py

Where agents' results lie in ``agents/results`` for the same table, GRPO and the best agent stand beside the baselines.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from credit_envs import registry
from credit_envs.arrays import Floats
from credit_envs.errors import CreditEnvsError
from credit_envs.table.storage import write_atomically
from credit_envs.training.files import TABULAR
from credit_envs.training.results import Learning, bootstrapped, interquartile_mean, load

HERE = Path(__file__).parent
ORDER = ("uniform", "imitation", "optimal", "ppo", "maskable_ppo", "recurrent_ppo", "a2c", "dqn")

HEAD = """# Baselines

Stable-Baselines3's PPO, A2C and DQN, sb3-contrib's MaskablePPO and RecurrentPPO, uniform play, optimal play, and imitation of
optimal play, on the registered environments. `run.py` says what each is; it makes and keeps the results, `table.py` writes this
page from them.

```bash
pip install 'credit-envs[baselines]'
python baselines/run.py --baseline ppo a2c dqn --env credit/KeyRooms-v0 --seeds 10
python baselines/table.py
```

Numbers are normalised returns, exact for the policies that were learnt (0: uniform over admissible actions; 1: optimal), at the
number of environment steps in the heading, over seeds with 95 % bootstrap intervals. PPO and A2C are measured as the
distributions that they sample from, DQN as its greedy policy; *mode* holds everyone's greedy policies. *Whole budget* is the
mean over all steps of training. Steps to 50 % and 90 % are medians over seeds, and seconds too, on two cores shared with
other work.

SB3 sees observation ids, as tabular agents do, but only MaskablePPO is told which actions are admissible: an inadmissible one
costs a step (in Gallery a fine, too), so uniform play over all names, where SB3 begins, can lie below 0. Where what is
admissible changes from state to state, MaskablePPO is the one to compare with. Imitation sees 64 demonstrations, a few hundred
steps, however many the heading says.

**How the settings were chosen.** They are the same everywhere (`SETTINGS` in `run.py`), picked by hand on seed 0 of FrozenLake
and KeyRooms so that runs end within an hour of two cores. No environment had a search of its own. Seed 0 is among the reported
seeds, so those two flatter SB3 a little; the others may do it an injustice. n is below 10 where time ran out.
"""


def page(found: Sequence[Learning], agents: Sequence[Learning] = ()) -> str:
    """Returns the page.

    Args:
        found: results of baselines.
        agents: results of agents.
    """
    order = {registry.canonical(name): i for i, name in enumerate(registry.suite("core-v0"))}
    places = sorted({one.environment for one in found}, key=lambda name: (order.get(name, len(order)), name))
    lines = [HEAD]
    there = {(one.environment, one.agent) for one in found}
    lacking = [place for place in places if not {(place, "ppo"), (place, "maskable_ppo")} & there]
    if lacking:
        names = ", ".join(place.removeprefix("credit/") for place in lacking)
        lines += [f"**Not run yet.** Neither PPO nor MaskablePPO on {names}.", ""]
    if not any(agent == "recurrent_ppo" for _, agent in there):
        lines += ["No results of RecurrentPPO are kept yet; `run.py` trains it.", ""]
    for place in places:
        here = [one for one in found if one.environment == place]
        lines += [*_environment(here, [one for one in agents if one.environment == place]), ""]
    lines += ["## Commands", "", "Each result again:", "", "```bash"]
    lines += [str(one.about["command"]) for one in found if one.agent in ORDER[3:]]
    lines += ["python baselines/run.py --baseline uniform optimal imitation --suite core-v0", "```", ""]
    return "\n".join(lines)


def _environment(here: Sequence[Learning], agents: Sequence[Learning]) -> list[str]:
    first = here[0]
    fingerprint = first.about["fingerprint"]
    beside = [one for one in agents if one.about["fingerprint"] == fingerprint and one.budget == first.budget]
    best = sorted(beside, key=lambda one: -float(one.final.mean()))[:1]
    shown = [one for one in beside if one.agent == "grpo" or one in best]
    lines = [
        f"## {first.environment.removeprefix('credit/')}: {first.budget:,} steps",
        "",
        f"Uniform play returns {first.about['J_uniform']:.4g}, optimal play {first.about['J_optimal']:.4g}. Table fingerprint "
        f"`{fingerprint[:12]}…`.",
        "",
        "| baseline | n | final: mean | final: IQM | mode | whole budget | steps to 50 % | to 90 % | s per seed |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    lines += [_row(one, one.agent) for one in sorted(here, key=lambda one: ORDER.index(one.agent))]
    return lines + [_row(one, f"*agent* {_named(one)}") for one in shown]


def _named(one: Learning) -> str:
    return one.agent if one.policy == TABULAR else f"{one.agent}, {one.policy}"


def _row(one: Learning, name: str) -> str:
    flat = one.agent in ("uniform", "optimal")
    numbers = [f"{one.final.mean():.3f}", "–", "–", "–", "–", "–"]
    if not flat:
        numbers = [
            f"{bootstrapped([one.final], _mean):.3f}",
            f"{bootstrapped([one.final], interquartile_mean):.3f}",
            _mode(one),
            "–" if one.agent == "imitation" else f"{bootstrapped([one.speed], _mean):.3f}",
            *((_steps(one.steps_to(share)) if one.agent != "imitation" else "–") for share in (0.5, 0.9)),
        ]
    seconds = one.about.get("seconds")
    spent = f"{np.median(seconds):.1f}" if seconds and not flat else "–"
    return "| " + " | ".join([name, str(one.seeds), *numbers, spent]) + " |"


def _mode(one: Learning) -> str:
    greedy = one.about.get("greedy")
    if greedy is None:
        return "–"
    base, best = float(one.about["J_uniform"]), float(one.about["J_optimal"])
    return f"{(np.mean(greedy) - base) / (best - base):.3f}"


def _mean(values: Floats) -> Floats:
    return np.asarray(values.mean(axis=-1))


def _steps(steps: Floats) -> str:
    """Median over seeds; how many got there, where not all did."""
    there = int(np.isfinite(steps).sum())
    if not there:
        return "never"
    middle = np.sort(steps)[len(steps) // 2]
    share = "" if there == len(steps) else f" ({there} of {len(steps)})"
    return f"{middle:,.0f}{share}" if np.isfinite(middle) else f"more{share}"


def main() -> int:
    """Writes the page and returns the exit code."""
    try:
        found = load(HERE / "results")
        agents = HERE.parent / "agents" / "results"
        beside = load(agents) if any(agents.glob("[!_]*.json")) else []
        write_atomically(HERE / "README.md", page(found, beside).encode())
    except CreditEnvsError as error:
        print("baselines:", " ".join(str(error).split()), file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
