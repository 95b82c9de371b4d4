"""A page per registered environment: its docstring, a picture, what was measured, a transcript."""

import re
from collections.abc import Iterator
from math import isfinite
from pathlib import Path
from typing import NamedTuple

from credit_envs import registry
from credit_envs.advice import cells
from credit_envs.cli.inspection import transcript
from credit_envs.faces import render
from credit_envs.families import FAMILIES
from credit_envs.report.episode import Episode, cropped, episode_picture, optimal_episode
from credit_envs.report.reading import PRICES, number
from credit_envs.table.mdp import TabularMDP
from made.autodoc import markdown

ROOT = Path(__file__).parents[2]
MEASURED = ROOT / "docs" / "environments.md"
GOLDENS = ROOT / "tests" / "goldens"


class Imported(NamedTuple):
    """What no table says of an imported environment."""

    summary: str
    description: str
    rewards: str
    end: str
    references: str


IMPORTED = {
    "FrozenLake": Imported(
        "A walk over slippery ice: the chosen direction is taken one time in three. Paid 1 at the goal.",
        "A 4 × 4 lake with four holes. The chosen direction is taken with probability 1/3, and each of the two directions at "
        "right angles to it with 1/3. Nearly all of the return's variance is luck, so credit that follows the return mostly "
        "pays for luck; a value per place removes most of it.",
        "1 on reaching the goal, else 0.",
        "At the goal, in a hole, or after H steps.",
        "Gymnasium, toy-text; after a classic exercise in planning under uncertainty.",
    ),
    "CliffWalking": Imported(
        "A walk along a cliff: −1 per step, −100 and back to the start for a fall.",
        "A 4 × 12 grid with a cliff along its lower edge between start and goal. The shortest way leads along the cliff; a "
        "policy that still explores does better on the upper rows. Nothing is drawn by the dynamics, and every step is paid.",
        "−1 per step, −100 for stepping off the cliff, which leads back to the start.",
        "At the goal, or after H steps (Gymnasium sets no limit; 200 here).",
        "Sutton and Barto, *Reinforcement Learning*, 2nd edition, Example 6.6; Gymnasium, toy-text.",
    ),
    "Taxi": Imported(
        "Fetch a passenger and bring them where they want to go: −1 per step, +20 at the end, −10 for a wrong try.",
        "A 5 × 5 town with four stands. The passenger waits at one and wants to another; the taxi starts anywhere. Two "
        "subgoals (fetch, bring) and a cost at every step. Of the foundation's five environments the one where GiGPO gains "
        "most.",
        "−1 per step, −10 for picking up or dropping off in the wrong place, +20 for a passenger who has arrived.",
        "When the passenger has arrived, or after H steps.",
        "Dietterich 2000, *Hierarchical Reinforcement Learning with the MAXQ Value Function Decomposition*; Gymnasium.",
    ),
    "MiniGrid-DoorKey-5x5-v0": Imported(
        "Fetch a key, open a door, reach the goal, seen from the walker's place; the sooner the more.",
        "Two rooms with a locked door between them; the walker sees a 7 × 7 window in front of it, so places can look alike. "
        "The reward falls with the step on which the goal is reached. That is why values of anchors go wrong here: they mix "
        "early and late visits, and at a good policy speed is all that is left to learn.",
        "1 − 0.9 · t / H on reaching the goal at step t, else 0.",
        "At the goal, or after H steps.",
        "Chevalier-Boisvert et al. 2023, *Minigrid & Miniworld*, arXiv 2306.13831.",
    ),
}


def files(folder: Path) -> Iterator[tuple[str, str]]:
    """Yields names and contents of the pages; pictures are written as PNG at once."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    names = [name(entry) for entry in registry.ENTRIES]
    for entry in registry.ENTRIES:
        yield f"environments/{name(entry)}.md", page(entry, folder)
    yield "environments/index.md", index(names)


def name(entry: registry.Entry) -> str:
    """Returns an id without namespace and version."""
    return entry.id.removeprefix("credit/").rsplit("-v", 1)[0]


def about(entry: registry.Entry) -> str:
    """Returns one sentence on an environment."""
    return FAMILIES[entry.target].summary if entry.source == "family" else IMPORTED[entry.target].summary


def index(names: list[str]) -> str:
    """Returns the page that lists them."""
    rows = "\n".join(
        f"| [{short}]({short}.md) | {about(entry)} | {entry.source.replace('_', ' ')} |"
        for short, entry in zip(names, registry.ENTRIES, strict=True)
    )
    suites = "\n".join(
        f"- **{suite}** ({len(ids)}): " + ", ".join(f"`{one}`" for one in ids[:6]) + (" …" if len(ids) > 6 else "")
        for suite, ids in registry.SUITES.items()
    )
    listed = "\n".join(names)
    return f"""# Environments

Every environment is a finite decision process compiled to arrays; the exact advantage of every action is known. Each page
shows optimal play with its exact credit, says what the environment's own knobs and all dials reach, and gives exact values.

| environment | what it is | made by |
| --- | --- | --- |
{rows}

Names take knobs and dials: `credit/KeyRooms-v0?map=hub&stages=8`, or keyword arguments of `gymnasium.make`.

## All at their defaults

{part("All at their defaults")}

What the columns mean: [what every dial reaches](../../environments.md).

## Suites

Named lists of environments for `credit-envs evaluate --environments SUITE`.

{suites}

```{{toctree}}
:hidden:

{listed}
```
"""


def page(entry: registry.Entry, folder: Path) -> str:
    """Returns the page of one environment."""
    short = name(entry)
    table = registry.make_table(entry.id)
    episode = optimal_episode(table)
    image = folder / "images" / f"{short}.png"
    if not image.exists():
        episode_picture(episode, image)
    start = ""
    if "rgb" in table.views:
        from matplotlib.image import imsave

        imsave(folder / "images" / f"{short}_start.png", cropped(render.picture(table, int(table.start_state[0]))))
        start = f"![{short} at its start](../images/{short}_start.png)"
    family = FAMILIES.get(entry.target) if entry.source == "family" else None
    views = ", ".join(f"`{view}`" for view in dict.fromkeys([entry.observation, *table.views]))
    parts = [
        f"# {short}",
        about(entry),
        start,
        f'```python\nenv = gymnasium.make("{entry.id}")  # after: import gymnasium, credit_envs\n```',
        f"```bash\ncredit-envs play {entry.id}   # by hand, with each move's exact credit\n"
        f"credit-envs view {entry.id}   # a group of rollouts and their credit\n```",
        f"Views: {views} (default `{entry.observation}`).",
        "## Optimal play and its exact credit",
        f"![Optimal play of {short} with the exact advantage of its steps](../images/{short}.png)",
        exact(entry),
        *learner(entry),
        markdown(_body(family.page)) if family else _imported(entry, table),
        "## What knobs and dials reach",
        reach(entry),
        "## Transcript",
        _transcript(entry, episode),
    ]
    return "\n\n".join(one for one in parts if one) + "\n"


def exact(entry: registry.Entry) -> str:
    """Returns the row of exact values, with its heads."""
    head, rule, *rows = part("All at their defaults").splitlines()
    row = next(line for line in rows if f"`{entry.id}`" in line)
    return f"## Exact values\n\nInstance 0, everything at its default.\n\n{head}\n{rule}\n{row}"


def learner(entry: registry.Entry) -> list[str]:
    """Returns what a learner meets on an environment, and which methods were worth most there, where it was measured."""
    found = [cell for cell in cells() if cell.environment == entry.id]
    if not found:
        return []
    head = ["policy", "groups that differ", "noise", "ceiling", "graph cosine", "step cosine", *PRICES]
    rows = ["| " + " | ".join(head) + " |", "| --- " * len(head) + "|"]
    for cell in found:
        here = cell.situation
        shown = [
            "uniform" if cell.skill == 0 else f"{cell.skill:.0%}",
            f"{here.informative:.0%}",
            f"{here.noise:,.3g}" if isfinite(here.noise) else "–",
            f"{here.ceiling:.3g}" if isfinite(here.ceiling) else "–",
            f"{here.graph_cosine:.2f}",
            f"{here.step_cosine:.2f}",
        ]
        for price in PRICES:
            best = sorted(cell.worth[price].items(), key=lambda item: -item[1].log)[:2]
            shown.append(", ".join(f"{method} {number(worth.value)}" for method, worth in best))
        rows.append("| " + " | ".join(shown) + " |")
    return [
        "## What a learner meets here",
        "Measured with groups of 8 at 20,000 steps. *Noise*: groups at which GRPO's signal equals its noise; *ceiling*: what "
        "the exact advantage is worth; the cosines: how right values of anchors and GiGPO's step term stay with unlimited "
        "rollouts; then the two methods worth most under each price list (GRPO-equivalents). "
        f"More, and why a run may fail: `credit-envs advise {entry.id}`, and [which method?](../../which-method.md)",
        "\n".join(rows),
    ]


def reach(entry: registry.Entry) -> str:
    """Returns the measured ranges."""
    own = entry.source == "family"
    return (
        ("A row turns one knob or dial (in italics)" if own else "No knobs of its own. A row turns one dial")
        + " alone from its low to its high end; a cell is blank where nothing differs from the default. What the columns mean: "
        "[what every dial reaches](../../environments.md).\n\n" + part(name(entry), after_summary=True)
    )


def part(title: str, after_summary: bool = False) -> str:
    """Returns a section of environments.md without its title (and without its first sentence)."""
    found = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", MEASURED.read_text(), re.DOTALL | re.MULTILINE)
    if found is None:
        return "Not measured yet: `credit-envs list --docs docs` does."
    body = found[1].strip()
    return body.split("\n\n", 1)[1] if after_summary else body


def _body(page: str) -> str:
    """Returns a family's docstring; its first line already stands above."""
    return page.split("\n", 1)[1].strip() if "\n" in page else page


def _imported(entry: registry.Entry, table: TabularMDP) -> str:
    """Returns what a family's docstring would say."""
    about, how = (
        IMPORTED[entry.target],
        "its transition lists `P`" if entry.source == "toy_text" else "exploring every state",
    )
    fixed = ", ".join(f"{key}={value!r}" for key, value in entry.kwargs.items())
    actions = ", ".join(f"{i} {word}" for i, word in enumerate(table.action_names))
    starts, views = table.start_state.size, ", ".join(f"`{view}`" for view in table.views)
    words = "the same" if starts == 1 else f"one of {starts:,}"
    sections = {
        "Description": about.description
        + f"\n\nGymnasium's `{entry.target}`, imported through {how}"
        + (f" with {fixed}" if fixed else "")
        + ". The tests compare the table with the original in lock step: same observations, rewards and ends for the same "
        "actions, and the same frequencies of outcomes. Any other enumerable environment comes in the same way: "
        f"`credit-envs compile {entry.target} --output table.npz`.",
        "Action Space": f"`Discrete({table.n_actions})`: {actions}.",
        "Observation Space": f"`Discrete({table.n_states})`, the number of the state; other views by `observation=`: {views}.",
        "Rewards": about.rewards,
        "Starting State": f"{words[:1].upper()}{words[1:]}"
        + (" in every episode." if starts == 1 else " starts, by the original's chances."),
        "Episode End": about.end + f" H = {table.horizon}. Reaching it ends the episode, it does not truncate it.",
        "References": about.references,
        "Version History": "- v0: first version.",
    }
    return "\n\n".join(f"## {title}\n\n{said}" for title, said in sections.items())


def _transcript(entry: registry.Entry, episode: Episode) -> str:
    module = FAMILIES[entry.target].compile.__module__.rsplit(".", 1)[1] if entry.source == "family" else ""
    golden = GOLDENS / f"{module}.txt"
    now = "\n".join(transcript(episode))
    shown = f"The episode in the picture, as `credit-envs show {entry.id}` prints it.\n\n```text\n{now}\n```"
    if not golden.exists():
        return shown
    return (
        f"{shown}\n\nThe tests compare another episode word for word (`tests/goldens/{golden.name}`; its knobs stand in "
        f"`tests/test_families_{module}.py`):\n\n<details><summary>The golden transcript</summary>\n\n"
        f"```{{literalinclude}} ../../../tests/goldens/{golden.name}\n:language: text\n```\n\n</details>"
    )
