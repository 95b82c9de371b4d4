"""A page per registered environment: its docstring, a picture, what was measured, a transcript."""

import re
from collections.abc import Iterator
from pathlib import Path

from credit_envs import registry
from credit_envs.cli.inspection import transcript
from credit_envs.faces import render
from credit_envs.families import FAMILIES
from credit_envs.report.episode import Episode, episode_picture, optimal_episode
from made.autodoc import markdown

ROOT = Path(__file__).parents[2]
MEASURED = ROOT / "docs" / "environments.md"
GOLDENS = ROOT / "tests" / "goldens"

IMPORTED = {
    "FrozenLake": "A walk over slippery ice: the chosen direction is taken one time in three. Paid 1 at the goal.",
    "CliffWalking": "A walk along a cliff: −1 per step, −100 and back to the start for a fall.",
    "Taxi": "Fetch a passenger and bring them where they want to go: −1 per step, +20 at the end, −10 for a wrong try.",
    "MiniGrid-DoorKey-5x5-v0": "Fetch a key, open a door, reach the goal, seen from the walker's place; the sooner the more.",
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
    return FAMILIES[entry.target].summary if entry.source == "family" else IMPORTED[entry.target]


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

        imsave(folder / "images" / f"{short}_start.png", render.picture(table, int(table.start_state[0])))
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
        markdown(_body(family.page)) if family else _imported(entry),
        "## What knobs and dials reach",
        reach(entry, family is not None),
        "## Transcript",
        _transcript(entry, episode),
    ]
    return "\n\n".join(one for one in parts if one) + "\n"


def exact(entry: registry.Entry) -> str:
    """Returns the row of exact values, with its heads."""
    head, rule, *rows = part("All at their defaults").splitlines()
    row = next(line for line in rows if f"`{entry.id}`" in line)
    return f"## Exact values\n\nInstance 0, everything at its default.\n\n{head}\n{rule}\n{row}"


def reach(entry: registry.Entry, own: bool) -> str:
    """Returns the measured ranges."""
    if not own:
        return (
            "Imported environments have no knobs of their own; every dial turns them as it turns the others. Each dial alone, "
            "on an own and on an imported table, is the suite `dials-v0`."
        )
    return (
        "A row turns one knob or dial (in italics) alone from its low to its high end; a cell is blank where nothing differs "
        "from the default. What the columns mean: [what every dial reaches](../../environments.md).\n\n"
        + part(entry.target, after_summary=True)
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


def _imported(entry: registry.Entry) -> str:
    how = "its transition lists `P`" if entry.source == "toy_text" else "exploring every state from its start"
    fixed = ", ".join(f"{key}={value!r}" for key, value in entry.kwargs.items())
    return (
        f"## Description\n\nGymnasium's `{entry.target}`, imported through {how}"
        + (f" with {fixed}" if fixed else "")
        + ". The table is compared with the original in lock step by the tests: same observations, rewards and ends for the "
        "same actions, and the same frequencies of outcomes.\n\n"
        "## Version History\n\n- v0: first version."
    )


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
