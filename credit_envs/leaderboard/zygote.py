"""The process that children are forked from, and the folder that it starts in.

The folder holds a copy of what estimators are made of (:data:`OFFERED` and what those files import) and nothing that builds
an environment or knows one: no families, importers, registry, dials, oracle or evaluation. ``import credit_envs.families``
fails there, and the real package lies outside what children may read. Starting takes seconds, because torch is imported, and
forking milliseconds, so one such process serves all rooms until this one ends.
"""

from __future__ import annotations

import ast
import atexit
import os
import shutil
import socket
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path

import credit_envs
from credit_envs.errors import CreditEnvsError

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


class Zygote:
    """A running process that children are forked from.

    Args:
        offered: rooms and files that methods may import.

    Attributes:
        readable: what its children may read.

    Raises:
        CreditEnvsError: if it could not start.
    """

    def __init__(self, offered: tuple[str, ...]) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="credit-envs-room-")
        _furnish(Path(self._folder.name), offered)
        search, readable = _libraries()
        self.readable = [self._folder.name, *readable]
        self._gate, there = socket.socketpair()
        code = (
            f"import sys; sys.path[:0] = {[self._folder.name, *search]!r}\n"
            f"from credit_envs.leaderboard.worker import main; main({there.fileno()}, {_modules(offered)!r})"
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
        self._gate.settimeout(120)
        atexit.register(self.close)
        if self._gate.recv(1) != b"+":
            self.close()
            raise CreditEnvsError(
                "room: the process in which methods run could not start; CREDIT_ENVS_ROOM_DEBUG=1 shows why (packages must lie "
                "in the environment of this Python, not on a path of PYTHONPATH or of a .pth file)"
            )

    @property
    def alive(self) -> bool:
        """Whether it still runs."""
        return self._process.poll() is None

    def fork(self, end: socket.socket) -> int:
        """Forks a child that listens at the end of a connection; returns its number. Earlier children are over by then."""
        socket.send_fds(self._gate, [b"."], [end.fileno()])
        return int.from_bytes(self._gate.recv(8), "little")

    def close(self) -> None:
        """Ends it."""
        self._gate.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._folder.cleanup()


_running: dict[tuple[int, tuple[str, ...]], Zygote] = {}


def running(offered: tuple[str, ...] = OFFERED) -> Zygote:
    """Returns the process that serves this one, started where there is none yet."""
    key = (os.getpid(), offered)
    if key not in _running or not _running[key].alive:
        _running[key] = Zygote(offered)
    return _running[key]


def _modules(offered: tuple[str, ...]) -> list[str]:
    """Names of all modules of the room, imported once before children are forked."""
    return [".".join(("credit_envs", *Path(name).with_suffix("").parts)) for name in closure(offered)]
