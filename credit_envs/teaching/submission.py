"""A student's file: read, checked for what can be said without running it, and run confined, with limits.

The code runs in the leaderboard's room: a process of its own without network, files or the library's estimators, one fresh
child per batch, ended when its time or memory is up. Whatever goes wrong there is a sentence here.
"""

from __future__ import annotations

import ast
import difflib
import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from credit_envs.errors import CreditEnvsError
from credit_envs.leaderboard.room import Room, asked
from credit_envs.sampling.trajectories import Trajectories

OFFERED = ("leaderboard/worker", "sampling/statistics")
"""What of the library students' code may import: nothing that is an estimator."""

SECONDS = 20
"""Processor time of one call."""

_BYTES = 1 << 20
_FUNCTION = "estimate"


class Broken(CreditEnvsError):
    """A submission that cannot be graded; the message is for the student."""


@dataclass(frozen=True)
class Source:
    """A student's file.

    Attributes:
        path: the file.
        function: name of the function.
        text: the code.
        assignment: what the file itself says it answers (``ASSIGNMENT = "..."``), empty if it doesn't say.
    """

    path: Path
    function: str
    text: str
    assignment: str


def read(name: str) -> Source:
    """Reads ``FILE.py`` or ``FILE.py:FUNCTION`` without running it.

    Raises:
        CreditEnvsError: if there is no such file.
        Broken: if it is no Python, or has no such function.
    """
    file, colon, function = name.rpartition(":")
    path = Path(file if colon and file.endswith(".py") else name)
    function = function if path == Path(file) else _FUNCTION
    if not path.is_file():
        raise CreditEnvsError(f"submission={name!r}: no file {str(path)!r}")
    if path.stat().st_size > _BYTES:
        raise Broken(f"The file has {path.stat().st_size} bytes; an estimator needs a few hundred.")
    try:
        text = path.read_bytes().decode()
    except UnicodeDecodeError as error:
        raise Broken(
            f"The file is no text (byte {error.start} is not UTF-8). Did you hand in a notebook's archive?"
        ) from error
    try:
        tree = ast.parse(text)
    except SyntaxError as error:
        place = f"line {error.lineno}: {(error.text or '').strip()}"
        raise Broken(f"Python cannot read the file: {error.msg} ({place})") from error
    except (ValueError, RecursionError, MemoryError) as error:
        raise Broken(f"Python cannot read the file: {error}") from error
    functions = [n.name for n in tree.body if isinstance(n, ast.FunctionDef)]
    if function not in functions and not _assigned(tree, function):
        near = difflib.get_close_matches(function, functions, n=1)
        hint = f" Did you mean {near[0]}?" if near else f" It has: {', '.join(functions) or 'none'}."
        raise Broken(f"The file has no function {function!r}.{hint}")
    return Source(path, function, text, _assigned(tree, "ASSIGNMENT"))


def _assigned(tree: ast.Module, name: str) -> str:
    """Returns the text that a name is set to at the top of the file; the name itself where it is set to something else."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == name for t in node.targets):
            return (
                node.value.value if isinstance(node.value, ast.Constant) and isinstance(node.value.value, str) else name
            )
    return ""


class Submission:
    """A student's function, run confined.

    Args:
        source: the file.
        room: where it runs.
        allowed: needs that the assignment offers.

    Raises:
        Broken: if the file does not run, or asks for what the assignment does not offer.
    """

    def __init__(self, source: Source, room: Room, allowed: tuple[str, ...]) -> None:
        self._source, self._room = source, room
        found = self._ask({"what": "form"}, {})
        if found["form"] != "batch":
            raise Broken("The function's first parameter is called `sampler`; here it is given a `batch`.")
        self.needs = tuple(map(str, found["needs"]))
        for need in self.needs:
            if need not in allowed:
                offered = ", ".join(allowed) or "nothing but the batch"
                raise Broken(f"The function asks for `{need}`; this assignment offers {offered}.")

    def estimate(self, batch: Trajectories, needs: Mapping[str, Any]) -> Tensor:
        """Runs the function; returns what it returned as float64 ``[N, T]``, steps beyond the mask included.

        Raises:
            Broken: if it raises, takes too long, or returns something that is no credit.
        """
        task = {
            "what": "estimate",
            "form": "batch",
            "raw": True,
            "needs": list(self.needs),
            "given": {"batch": _shown(batch), "handle": 0},
        }
        [[_, credit]] = self._ask(task, needs)
        found = torch.from_numpy(credit)
        bad = ~torch.isfinite(found) & batch.mask
        if bad.any():
            i, t = (int(x) for x in torch.nonzero(bad)[0])
            raise Broken(
                f"The credit of rollout {i}, step {t} is {float(found[i, t])}: is something divided by 0 where a "
                "group has equal returns, or only one rollout?"
            )
        return found

    @property
    def function(self) -> Callable[..., Tensor]:
        """The function as the library calls estimators: ``function(batch, *, needs)``."""

        def estimate(batch: Trajectories, **needs: Any) -> Tensor:
            return self.estimate(batch, needs)

        kind = inspect.Parameter
        parameters = [kind("batch", kind.POSITIONAL_OR_KEYWORD), *(kind(n, kind.KEYWORD_ONLY) for n in self.needs)]
        estimate.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        return estimate

    def _ask(self, task: dict[str, Any], needs: Mapping[str, Any]) -> Any:
        def answer(what: str, arguments: list[Any]) -> Any:
            name = str(arguments[1]) if what == "need" and len(arguments) > 1 else what
            if name not in needs:
                raise CreditEnvsError(f"{name}: not offered here")
            return needs[name](*(torch.from_numpy(a) if hasattr(a, "dtype") else a for a in arguments[2:])).numpy()

        try:
            with self._room.child() as line:
                return asked(line, {**task, "source": self._source.text, "function": self._source.function}, answer)
        except CreditEnvsError as error:
            if "room:" in str(error):
                raise
            raise Broken(explained(str(error).removeprefix("method: "), self._source.text)) from error


def _shown(batch: Trajectories) -> dict[str, Any]:
    return {name: None if value is None else value.numpy() for name, value in vars(batch).items() if name[0] != "_"}


def explained(message: str, text: str) -> str:
    """Turns what went wrong in a student's code into a sentence with the line, and a hint where one is known."""
    line = re.search(r" in line (\d+)", message)
    code = ""
    if line is not None:
        lines = text.splitlines()
        number = int(line[1])
        code = f" The line is: `{lines[number - 1].strip()}`." if 0 < number <= len(lines) else ""
    for pattern, hint in _HINTS:
        if re.search(pattern, message):
            return f"{message.rstrip('.')}.{code} {hint}"
    return f"{message.rstrip('.')}.{code}"


_HINTS = (
    ("NotImplementedError", "The template isn't filled in yet."),
    (r"credit has shape", "Return one number for every rollout and step: shape [rollouts, steps], as batch.mask has."),
    ("No module named 'credit_envs", "The library's own estimators are out of reach here: write the formula yourself."),
    ("No module named", "Only torch, numpy and the standard library are there."),
    (r"Could not infer dtype of NoneType|NoneType", "Does the function return its result?"),
    (
        "no answer within|s of processor",
        "A loop over rollouts and steps in Python is slow, an endless one slower: use tensor operations.",
    ),
    ("cannot allocate|MemoryError|alloc", "That needs more memory than there is."),
    ("unexpected keyword|missing .* argument", "The function takes the batch, and by keyword what it asks for."),
)
