"""Agents' files: where they lie, in a checkout or in an installed wheel, and how one is run by its path."""

from __future__ import annotations

import re
import runpy
import sys
from collections.abc import Sequence
from pathlib import Path

import credit_envs
from credit_envs.errors import CreditEnvsError, unknown
from credit_envs.recipes import known

RECIPE = "recipe"
"""The agent that trains any recipe."""

TABULAR = "tabular"
"""The policy that files are not named after."""


def folder() -> Path:
    """Returns the folder of agents: beside the package in a checkout, inside it in an installed wheel.

    Raises:
        CreditEnvsError: if it is in neither place.
    """
    package = Path(credit_envs.__file__).parent
    for place in (package / "_agents", package.parent / "agents"):
        if (place / f"{RECIPE}.py").is_file():
            return place
    raise CreditEnvsError(f"agents: neither {package / '_agents'} nor {package.parent / 'agents'} holds them")


def agents() -> tuple[str, ...]:
    """Returns the names of agents that have a file of their own."""
    return tuple(sorted(path.stem for path in folder().glob("*.py")))


def command(name: str) -> tuple[Path, list[str]]:
    """Returns the file of an agent, and the arguments that it takes to be that agent.

    Args:
        name: an agent, or any recipe (``gigpo+vppo``), which the file ``recipe.py`` trains.

    Raises:
        CreditEnvsError: if there is neither; the message names the nearest ones.
    """
    names = agents()
    if name in names:
        return folder() / f"{name}.py", []
    if known(name) is not None:
        return folder() / f"{RECIPE}.py", ["--recipe", name]
    raise unknown("agent", name, names)


def run(name: str, arguments: Sequence[str]) -> int:
    """Runs an agent's file in this process as ``python FILE ARGUMENTS`` would; returns its exit code.

    Raises:
        CreditEnvsError: for an unknown agent.
    """
    path, own = command(name)
    before = sys.argv
    sys.argv = [str(path), *own, *arguments]
    try:
        runpy.run_path(str(path), run_name="__main__")
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    finally:
        sys.argv = before
    return 0


def slug(agent: str, environment: str, policy: str = TABULAR) -> str:
    """Returns the name, without extension, of the files of an agent with a kind of policy on an environment."""
    place = re.sub(r"[^A-Za-z0-9_.=+-]", "-", environment.removeprefix("credit/"))
    return f"{agent}-{place}" + (f"@{policy}" if policy != TABULAR else "")
