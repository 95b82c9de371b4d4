"""Makes the helpers beside the tests importable, hypothesis repeatable, and counts which algorithms the tests call."""

from __future__ import annotations

import functools
import json
import sys
from pathlib import Path

import pytest
from hypothesis import settings

sys.path.insert(0, str(Path(__file__).parent))

# The same examples on every run: what passed here passes in CI, and nothing there depends on luck.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")


def pytest_addoption(parser):
    parser.addoption(
        "--record-checks",
        action="store_true",
        help="write down how many passed tests call each algorithm (credit_envs/recipes/checks.json); without -n",
    )


def pytest_configure(config):
    if config.getoption("--record-checks"):
        config.pluginmanager.register(Checks(), "checks")


class Checks:
    """Counts the passed tests that name a piece's function, or look it up by name, themselves or through a helper."""

    def __init__(self):
        self.called = {}
        self.passed = {}

    def pytest_collection_modifyitems(self, items):
        from credit_envs.recipes import PIECES

        pieces = {}
        for name, piece in PIECES.items():
            function = piece.function
            while isinstance(function, functools.partial):
                function = function.func
            pieces.setdefault(function, []).append(name)
        for item in items:
            function = getattr(item, "function", None)
            inner = getattr(getattr(function, "hypothesis", None), "inner_test", function)
            if inner is not None:
                names = reached(inner, getattr(item.module, "__dict__", {}))
                found = (item.module.__dict__.get(name) for name in names)
                self.called[item.nodeid] = {n for f in found if callable(f) for n in pieces.get(f, ())} | {
                    name for name in names if name in PIECES and names & {"recipe", "PIECES", "METHODS"}
                }

    def pytest_runtest_logreport(self, report):
        if report.when == "call" and report.passed:
            for name in self.called.get(report.nodeid, ()):
                self.passed[name] = self.passed.get(name, 0) + 1

    def pytest_sessionfinish(self):
        import credit_envs

        path = Path(credit_envs.__file__).parent / "recipes" / "checks.json"
        earlier = json.loads(path.read_text()) if path.is_file() else {}
        path.write_text(json.dumps(dict(sorted({**earlier, **self.passed}.items())), indent=1) + "\n")


def reached(function, module, depth=3):
    """Names that a test's code mentions, and those that functions of its own module mention in turn."""
    names, stack = set(), [getattr(function, "__code__", None)]
    while stack:
        code = stack.pop()
        if code is not None:
            names |= set(code.co_names) | {constant for constant in code.co_consts if isinstance(constant, str)}
            stack += [constant for constant in code.co_consts if hasattr(constant, "co_names")]
    if depth:
        for name in list(names):
            other = module.get(name)
            if getattr(other, "__module__", None) == module.get("__name__") and hasattr(other, "__code__"):
                names |= reached(other, module, depth - 1)
    return names


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    """Many small tensors: threads cost more than they bring, and workers run beside each other."""
    import torch

    torch.set_num_threads(1)
