"""The process in which a method runs: it gets observations, asks for what it declared, and returns credit.

It holds no table and no truth: it is started in a folder that lacks the rooms which build environments (:mod:`.room`), and
before a method is loaded the process gives up files, network and other processes (:mod:`.confine`). For every cell of a
suite a fresh child runs the method from its source, so nothing is carried from one seed to the next.

A method has one of two forms:

    estimate(batch, *, needs) → credit [N, T]       on rollouts that it is given
    estimate(sampler) → (batch, credit [N, T])      on rollouts that it draws itself, or a list of such pairs

The policy's own probabilities (``policy_table``, ``log_prob``) are NaN unless the method asks for ``policy``, in either form:
a trained policy prefers what was good, so they are half an answer. A method that evaluates critics, reward models or judges
says how many per step in a constant of its file, ``MODEL_CALLS``.
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
import os
import socket
import sys
import traceback
import types
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from credit_envs.leaderboard.confine import confine
from credit_envs.leaderboard.wire import Line
from credit_envs.sampling.trajectories import Trajectories

CALLABLE = ("continuations", "fresh", "demonstrations", "search", "text", "labels", "noise")
"""Needs that are functions; the others are values."""

POLICY = "policy"
"""What a method asks for that reads the given policy's own probabilities, float64 ``[rows, A]``."""

_HANDLE = "_handle"


def plain(value: Any) -> Any:
    """Turns tensors inside a value into arrays."""
    if isinstance(value, Tensor):
        return value.detach().cpu().numpy()
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items()}
    return value


def _rich(value: Any) -> Any:
    """Turns arrays inside a value into tensors, and what says that it is a batch or a search into one."""
    if isinstance(value, np.ndarray):
        return torch.from_numpy(value)
    if isinstance(value, list):
        return [_rich(one) for one in value]
    if isinstance(value, dict):
        if set(value) == {"batch", "handle"}:
            batch = Trajectories(**{key: _rich(one) for key, one in value["batch"].items()})
            object.__setattr__(batch, _HANDLE, value["handle"])
            return batch
        return SimpleNamespace(**{key: _rich(one) for key, one in value.items()})
    return value


class Asking:
    """Asks the host."""

    def __init__(self, line: Line) -> None:
        self._line = line

    def _ask(self, what: str, *arguments: Any) -> Any:
        self._line.send({"ask": what, "arguments": plain(arguments)})
        answer = self._line.receive()
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return _rich(answer["value"])


class Sampler(Asking):
    """Draws rollouts of the given policy; every step is charged against the budget, and only observations are handed out."""

    def __init__(self, line: Line, budget: int) -> None:
        super().__init__(line)
        self.budget = budget

    @property
    def left(self) -> int:
        """Environment steps that are left; the move that uses up the budget is the last."""
        return int(self._ask("left"))

    def groups(self, n_groups: int, group_size: int) -> Trajectories:
        """Draws groups of independent rollouts from one start each."""
        return self._ask("groups", n_groups, group_size)  # type: ignore[no-any-return]

    def branches(self, batch: Trajectories, rollout: Tensor, step: Tensor) -> Trajectories:
        """Forks rollouts of a batch at steps int64 ``[M]``: whole new rollouts that share what comes before."""
        return self._ask("branches", _handle(batch), rollout, step)  # type: ignore[no-any-return]

    def rows(self, batch: Trajectories, index: Tensor) -> Trajectories:
        """Returns some rollouts of a batch, int64 ``[n]``."""
        return self._ask("rows", _handle(batch), index)  # type: ignore[no-any-return]

    def join(self, batches: Sequence[Trajectories]) -> Trajectories:
        """Puts batches below each other."""
        return self._ask("join", [_handle(batch) for batch in batches])  # type: ignore[no-any-return]

    def ask(self, batch: Trajectories, need: str, *arguments: Any) -> Any:
        """Returns a need of a batch: a value, or the answer of a function such as ``continuations``."""
        return self._ask("need", _handle(batch), need, *arguments)


class _Needs(Asking):
    """The needs of one batch, as functions and values."""

    def __init__(self, line: Line, batch: Trajectories) -> None:
        super().__init__(line)
        self._batch = batch

    def given(self, names: Sequence[str]) -> dict[str, Any]:
        """Returns what a method asked for."""
        values = {
            name: self._ask(name) if name == POLICY else self._need(name) for name in names if name not in CALLABLE
        }
        return {name: values[name] if name in values else getattr(self, name) for name in names}

    def _need(self, name: str, *arguments: Any) -> Any:
        return self._ask("need", _handle(self._batch), name, *arguments)

    def continuations(self, rollout: Tensor, step: Tensor, k: int, gamma: float) -> Any:
        return self._need("continuations", rollout, step, k, gamma)

    def fresh(self, groups: int) -> Any:
        return self._need("fresh", groups)

    def demonstrations(self, rollouts: int, skill: float) -> Any:
        return self._need("demonstrations", rollouts, skill)

    def search(
        self, rollout: Tensor, step: Tensor, simulations: int, c: float = 2**0.5, rule: str = "uct", nodes: bool = False
    ) -> Any:
        return self._need("search", rollout, step, simulations, c, rule, nodes)

    def text(self, obs: Tensor) -> Any:
        return self._need("text", obs)

    def labels(self, name: str) -> Any:
        return self._need("labels", name)

    def noise(self, salt: int, *shape: int) -> Any:
        return self._need("noise", salt, *shape)


def _handle(batch: Trajectories) -> int:
    found = getattr(batch, _HANDLE, None)
    if found is None:
        raise ValueError("batch: not one that the sampler returned (a changed copy has no rollouts behind it)")
    return int(found)


def load(source: str, function: str) -> Callable[..., Any]:
    """Runs a method's source as a module and returns its function."""
    module = types.ModuleType("method")
    module.__file__ = "method.py"
    sys.modules["method"] = module
    exec(compile(source, "method.py", "exec"), module.__dict__)
    found = getattr(module, function, None)
    if not callable(found):
        raise ValueError(f"method.py has no function {function!r}")
    return found  # type: ignore[no-any-return]


def form(function: Callable[..., Any]) -> dict[str, Any]:
    """Returns the form of a method, its needs (keyword-only parameters without default), and its stated model calls."""
    parameters = inspect.signature(function).parameters.values()
    needs = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY and p.default is p.empty]
    first = next(iter(parameters), None)
    kind = "sampler" if first is not None and first.name == "sampler" else "batch"
    return {"form": kind, "needs": needs, "model_calls": getattr(sys.modules["method"], "MODEL_CALLS", 0)}


def _estimate(line: Line, function: Callable[..., Any], task: dict[str, Any]) -> Any:
    if task["form"] == "sampler":
        sampler = Sampler(line, task["budget"])
        found = function(sampler, **{name: sampler._ask(name) for name in task["needs"]})
        pairs = found if isinstance(found, list) else [found]
        return [[_handle(batch), _credit(credit, batch.mask)] for batch, credit in pairs]
    batch = _rich(task["given"])
    given = _Needs(line, batch).given(task["needs"])
    return [[_handle(batch), _credit(function(batch, **given), batch.mask, raw=task.get("raw", False))]]


def _credit(credit: Any, mask: Tensor, *, raw: bool = False) -> Any:
    """Checks credit and cuts it to the steps that were taken; ``raw`` leaves it as it was returned (for grading)."""
    found = torch.as_tensor(credit).detach().to(torch.float64 if raw else torch.float32).cpu()
    if found.shape != mask.shape:
        raise ValueError(f"credit has shape {tuple(found.shape)}, expected {tuple(mask.shape)}")
    return found.numpy() if raw else torch.where(mask, found, 0.0).numpy()


def _child(line: Line, task: dict[str, Any]) -> None:
    """Runs one cell."""
    inside = confine(task["readable"], int(task["seconds"]), int(task["memory"]))
    line.send({"inside": list(inside)})
    task = line.receive()  # from here on confined; the source comes only now
    try:
        function = load(task["source"], task["function"])
        answer: Any
        if task["what"] == "form":
            answer = form(function)
        elif task["what"] == "train":
            from credit_envs.leaderboard.pupil import train

            answer = train(line, function, task)
        else:
            with torch.random.fork_rng():
                torch.manual_seed(0)
                answer = _estimate(line, function, task)
        line.send({"answer": answer})
    except BaseException as error:  # whatever a stranger's code raises is an answer
        frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == "method.py"]
        place = f" in line {frames[-1].lineno}" if frames else ""
        line.send({"failed": f"{type(error).__name__}{place}: {error}"[:2000]})


def main(descriptor: int, modules: Sequence[str] = ()) -> None:
    """Waits for ends of connections and forks a child for each, until the host closes its end.

    Args:
        descriptor: of the connection to the host.
        modules: imported beforehand, so that children need not.

    Children that are over are waited for only when the host asks for the next one: until then their numbers stay taken, so
    that the host cannot end a stranger by mistake.
    """
    torch.set_num_threads(1)
    for name in modules:
        importlib.import_module(name)
    gate = socket.socket(fileno=descriptor)
    gate.sendall(b"+")
    over: list[int] = []
    while True:
        data, ends, _, _ = socket.recv_fds(gate, 1, 1)
        if not data:
            return
        over = [child for child in over if os.waitpid(child, os.WNOHANG)[0] == 0]
        child = os.fork()
        if child:
            over.append(child)
            os.close(ends[0])
            gate.sendall(child.to_bytes(8, "little"))
            continue
        gate.close()
        with contextlib.suppress(BaseException):
            line = Line(socket.socket(fileno=ends[0]))
            _child(line, line.receive())
        os._exit(0)
