"""credit_envs: environments in which the true credit of every action is known.

import gymnasium, credit_envs
env = gymnasium.make("credit/KeyRooms-v0", stages=2, slip=0.1)

table = credit_envs.make_table("credit/KeyRooms-v0")
values = credit_envs.oracle.evaluate(table, credit_envs.oracle.uniform(table))
results = credit_envs.evaluate(my_credit_function, "foundation-v0")     # needs the extra `eval`
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from credit_envs import dials, importers, oracle
    from credit_envs.evaluation import evaluate
    from credit_envs.registry import make_table
    from credit_envs.table import TabularMDP, from_outcomes, load, union
    from credit_envs.training.trained import load_agent

_LAZY = {
    "dials": "credit_envs.dials",
    "evaluate": "credit_envs.evaluation:evaluate",
    "from_outcomes": "credit_envs.table:from_outcomes",
    "importers": "credit_envs.importers",
    "load": "credit_envs.table:load",
    "load_agent": "credit_envs.training.trained:load_agent",
    "make_table": "credit_envs.registry:make_table",
    "oracle": "credit_envs.oracle",
    "TabularMDP": "credit_envs.table:TabularMDP",
    "union": "credit_envs.table:union",
}

__all__ = [
    "TabularMDP",
    "dials",
    "evaluate",
    "from_outcomes",
    "importers",
    "load",
    "load_agent",
    "make_table",
    "oracle",
    "union",
]


def __getattr__(name: str) -> Any:
    """Imports public names on first use, so that ``import credit_envs`` stays quick and never needs an extra."""
    if name not in _LAZY:
        raise AttributeError(f"module 'credit_envs' has no attribute {name!r}")
    module, _, member = _LAZY[name].partition(":")
    if name in ("evaluate", "load_agent"):
        from credit_envs.errors import need

        need("torch", "eval" if name == "evaluate" else "train")
    loaded = importlib.import_module(module)
    return getattr(loaded, member) if member else loaded


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])


def _register() -> None:
    from credit_envs.faces.registration import register_all

    register_all()


_register()
