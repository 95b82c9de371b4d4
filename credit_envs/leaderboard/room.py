"""The folder in which methods run, the process that serves them, and the limits that hold there.

The room holds a copy of what estimators are made of (:data:`OFFERED` and what those files import) and nothing that builds an
environment or knows one: no families, importers, registry, dials, oracle or evaluation. ``import credit_envs.families``
fails there, and the real package lies outside what the process may read.
"""

from __future__ import annotations

import ast
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import credit_envs
from credit_envs.errors import CreditEnvsError
from credit_envs.leaderboard.confine import FULL
from credit_envs.leaderboard.wire import Line

OFFERED = (
    "credit",
    "weights",
    "losses",
    "rewards/agent_prm",
    "rewards/information",
    "rewards/mcts",
    "rewards/turns",
    "leaderboard/worker",
    "leaderboard/pupil",
)
"""Rooms and files that methods may import."""

FORBIDDEN = frozenset(
    {"families", "importers", "registry", "dials", "faces", "oracle", "evaluation", "recipes", "training", "cli"}
)
"""Rooms that must never be in reach of a method."""

SECONDS = 120
"""Processor time of one cell; the wall clock may take four times as long."""

MEMORY = 12 << 30
"""Address space of one cell (torch alone reserves several GiB)."""

_PACKAGE = Path(credit_envs.__file__).parent


def closure(offered: tuple[str, ...] = OFFERED) -> list[str]:
    """Returns the files of the room, relative to the package: those offered and all that they import.

    Args:
        offered: rooms and files.

    Raises:
        CreditEnvsError: if they import a room that must not be in reach.
    """
    todo = [
        found
        for name in offered
        for found in (
            sorted((_PACKAGE / name).glob("[!_]*.py")) if (_PACKAGE / name).is_dir() else [_PACKAGE / f"{name}.py"]
        )
    ]
    done: dict[Path, None] = {}
    while todo:
        path = todo.pop()
        if path in done:
            continue
        done[path] = None
        todo += [found for module in _imports(path) if (found := _file(module)) is not None]
    names = sorted(str(path.relative_to(_PACKAGE)) for path in done)
    for name in names:
        if Path(name).with_suffix("").parts[0] in FORBIDDEN:
            raise CreditEnvsError(f"room: {name} would be in reach of methods; keep estimators free of it")
    return names


def _imports(path: Path) -> Iterator[str]:
    """Yields the modules of this package that a file imports at run time."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("credit_envs"):
            yield str(node.module)
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _file(module: str) -> Path | None:
    path = _PACKAGE.joinpath(*module.split(".")[1:]).with_suffix(".py")
    return path if path.is_file() else None


def _furnish(folder: Path, offered: tuple[str, ...]) -> None:
    """Fills the room; packages get empty doors, so that nothing more is imported than asked for."""
    for name in closure(offered):
        target = folder / "credit_envs" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(_PACKAGE / name, target)
    for place in {folder / "credit_envs", *(p.parent for p in (folder / "credit_envs").rglob("*.py"))}:
        (place / "__init__.py").write_text(f'__version__ = "{credit_envs.__version__}"\n')


def _libraries() -> tuple[list[str], list[str]]:
    """Returns where modules are searched, and what of it may be read: everything but this package."""
    homes = [Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    homes = list(dict.fromkeys(home.resolve() for home in homes if home.is_dir()))
    inside = [entry for home in homes for entry in home.iterdir() if not _ours(entry.name)]
    system = ("/lib", "/lib64", "/usr/lib64", "/usr/local/lib", "/etc/ld.so.cache", "/dev/null", "/dev/urandom")
    readable = [str(path) for path in inside]
    for place in system:
        path = Path(place)
        # Folders that hold a Python of their own are opened library by library.
        readable += [str(p) for p in path.glob("*linux-gnu*")] if path.is_dir() else [place]
    readable += [str(p) for p in (Path(sys.base_prefix) / "lib").glob("*.so*")]
    return [str(home) for home in homes], readable


def _ours(name: str) -> bool:
    return name.startswith(("credit_envs", "_credit_envs", "__editable__", "site-packages", "dist-packages")) or (
        name.endswith(".pth")
    )


class Room:
    """A process that runs methods, one fresh confined child per cell. Use it as a context.

    Args:
        trusted: whether methods may run although this system cannot confine them (your own code).
        seconds: processor time of a cell.
        memory: bytes of a cell.
        offered: rooms and files that methods may import.
    """

    def __init__(
        self,
        *,
        trusted: bool = False,
        seconds: int = SECONDS,
        memory: int = MEMORY,
        offered: tuple[str, ...] = OFFERED,
    ) -> None:
        self.trusted, self.seconds, self.memory, self.offered = trusted, seconds, memory, offered
        self.inside: tuple[str, ...] = ()

    def __enter__(self) -> Room:
        self._folder = tempfile.TemporaryDirectory(prefix="credit-envs-room-")
        _furnish(Path(self._folder.name), self.offered)
        search, readable = _libraries()
        self._readable = [self._folder.name, *readable]
        here, there = socket.socketpair()
        code = (
            f"import sys; sys.path[:0] = {[self._folder.name, *search]!r}\n"
            f"from credit_envs.leaderboard.worker import main; main({there.fileno()})"
        )
        quiet = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", code],
            pass_fds=[there.fileno()],
            env=quiet,
            cwd=self._folder.name,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL if not os.environ.get("CREDIT_ENVS_ROOM_DEBUG") else None,
        )
        there.close()
        self._gate = here
        here.settimeout(120)
        if here.recv(1) != b"+":
            self.__exit__(None, None, None)
            raise CreditEnvsError("room: the process in which methods run could not start")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._gate.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._folder.cleanup()

    @contextlib.contextmanager
    def child(self) -> Iterator[Line]:
        """Yields a line to a fresh confined child, and ends it afterwards.

        Raises:
            CreditEnvsError: if the child cannot be confined and the code is not trusted.
        """
        here, there = socket.socketpair()
        socket.send_fds(self._gate, [b"."], [there.fileno()])
        there.close()
        number = int.from_bytes(self._gate.recv(8), "little")
        line = Line(here, 4 * self.seconds)
        try:
            line.send({"readable": self._readable, "seconds": self.seconds, "memory": self.memory})
            self.inside = tuple(line.receive()["inside"])
            missing = [layer for layer in FULL if layer not in self.inside]
            if missing and not self.trusted:
                raise CreditEnvsError(
                    f"room: this system cannot confine a stranger's code ({', '.join(missing)} missing); "
                    "verify without running it, or trust it"
                )
            yield line
        except EOFError as error:
            raise CreditEnvsError(
                f"method: its process ended (more than {self.seconds} s of processor time or {self.memory >> 30} GiB?)"
            ) from error
        except TimeoutError as error:
            raise CreditEnvsError(f"method: no answer within {4 * self.seconds} s") from error
        except OSError as error:
            raise CreditEnvsError(f"method: its process broke off ({error})") from error
        finally:
            here.close()
            with contextlib.suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)


def asked(line: Line, task: dict[str, Any], answer: Any) -> Any:
    """Gives a child its task and answers what it asks until it is done.

    Args:
        line: to the child.
        task: what to do, with ``source`` and ``function`` of the method.
        answer: function from (what, arguments) to a value; its CreditEnvsErrors are told to the method.

    Raises:
        CreditEnvsError: if the method failed or said something that makes no sense.
    """
    line.send(task)
    while True:
        said = line.receive()
        if not isinstance(said, dict):
            raise CreditEnvsError(f"method: said {type(said).__name__}, expected a question or an answer")
        if "answer" in said:
            return said["answer"]
        if "failed" in said:
            raise CreditEnvsError(f"method: {said['failed']}")
        if not isinstance(said.get("ask"), str) or not isinstance(said.get("arguments"), list):
            raise CreditEnvsError("method: asked a question that makes no sense")
        try:
            line.send({"value": answer(said["ask"], said["arguments"])})
        except CreditEnvsError as error:
            line.send({"error": str(error)})
        except (TypeError, ValueError, KeyError, IndexError, RuntimeError, AttributeError, MemoryError) as error:
            line.send({"error": f"{said['ask']}: {type(error).__name__}: {error}"})
