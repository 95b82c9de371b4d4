"""Where methods run: one fresh confined child per cell, and the limits that hold there."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from collections.abc import Iterator
from types import TracebackType
from typing import Any

from credit_envs.errors import CreditEnvsError
from credit_envs.leaderboard.confine import FULL
from credit_envs.leaderboard.wire import Line
from credit_envs.leaderboard.zygote import OFFERED, running

SECONDS = 120
"""Processor time of one cell."""

WALL = 4.0
"""Wall time of a cell, as a multiple of its processor time."""

MEMORY = 12 << 30
"""Address space of one cell (torch alone reserves several GiB)."""


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
        self._zygote = running(self.offered)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leaves the process running for the next room."""

    @contextlib.contextmanager
    def child(self) -> Iterator[Line]:
        """Yields a line to a fresh confined child, and ends it afterwards.

        Raises:
            CreditEnvsError: if the child cannot be confined and the code is not trusted.
        """
        here, there = socket.socketpair()
        number = self._zygote.fork(there)
        there.close()
        line = Line(here, WALL * self.seconds)
        try:
            line.send({"readable": self._zygote.readable, "seconds": self.seconds, "memory": self.memory})
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
            raise CreditEnvsError(f"method: no answer within {WALL * self.seconds:g} s") from error
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
