"""What code of others may do while it runs here: compute, and nothing else.

Three layers, each without special rights, each irrevocable for the process:

* limits on processor time, memory, open files and file sizes, and no rights of root;
* Landlock (Linux 5.13): files outside the given folders cannot be opened, so neither tables nor the package that builds them
  are in reach, nor the memory of other processes; no connections, no signals to others;
* a seccomp filter (x86-64 and ARM64): no sockets, no new programs, no forks, no looking into other processes, nothing that
  outlives the process (shared memory, queues, keys), and no changes to files that it cannot open (modes, owners, times).

:func:`confine` returns what is in force. Where the last two are missing, code of strangers must not be run.

Source: Linux manual pages landlock(7), seccomp(2), capabilities(7).
"""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import struct
from collections.abc import Iterable
from pathlib import Path

from credit_envs.leaderboard.syscalls import CLONE, CLONE3, MACHINES, PRLIMIT, denied

FULL = ("limits", "landlock", "seccomp")
"""What must be in force before a stranger's code runs."""

_READ = 0b1101  # execute (mapping of libraries), read files, list folders
_LANDLOCK_ACCESS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _PR_SET_DUMPABLE = 38, 22, 4
_CLONE_THREAD = 0x10000
_X32 = 0x40000000


def confine(readable: Iterable[str | Path], seconds: int, memory: int) -> tuple[str, ...]:
    """Confines this process and its threads for good.

    Args:
        readable: files and folders that may still be read.
        seconds: processor time.
        memory: bytes of address space.

    Returns:
        What is in force, among :data:`FULL`.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    _limits(seconds, memory)
    if platform.system() != "Linux":
        return ("limits",)
    libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    _drop_rights(libc)
    inside = ["limits"]
    if _landlock(libc, readable):
        inside.append("landlock")
    if _seccomp(libc):
        inside.append("seccomp")
    return tuple(inside)


def _limits(seconds: int, memory: int) -> None:
    bounds = {
        resource.RLIMIT_CPU: seconds,
        resource.RLIMIT_AS: memory,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NOFILE: 64,
    }
    for which, bound in bounds.items():
        resource.setrlimit(which, (bound, bound))


def _drop_rights(libc: ctypes.CDLL) -> None:
    """Gives up all capabilities, so that root is nobody special."""
    header = struct.pack("<Ii", 0x20080522, 0)
    libc.syscall(126 if platform.machine() == "x86_64" else 91, header, bytes(24))


def _landlock(libc: ctypes.CDLL, readable: Iterable[str | Path]) -> bool:
    version = libc.syscall(444, None, 0, 1)
    if version < 1:
        return False
    handled = (1 << _LANDLOCK_ACCESS.get(version, 16)) - 1
    attributes = struct.pack("<QQQ", handled, 0b11 if version >= 4 else 0, 0b11 if version >= 6 else 0)
    size = 8 if version < 4 else 16 if version < 6 else 24
    rules = libc.syscall(444, attributes, size, 0)
    if rules < 0:
        return False
    for path in map(str, readable):
        try:
            place = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except OSError:
            continue
        allowed = _READ if os.path.isdir(path) else _READ & ~0b1000
        libc.syscall(445, rules, 1, struct.pack("<Qi", allowed, place), 0)
        os.close(place)
    done: bool = libc.syscall(446, rules, 0) == 0
    os.close(rules)
    return done


def _seccomp(libc: ctypes.CDLL) -> bool:
    if platform.machine() not in MACHINES:
        return False
    audit, column = MACHINES[platform.machine()]
    numbers = [int(both[column]) for both in denied().values() if both[column] != "-"]
    load, equal, at_least, any_bit, answer = 0x20, 0x15, 0x35, 0x45, 0x06
    allow, kill, refuse = 0x7FFF0000, 0x80000000, 0x00050000
    filters = [
        (load, 0, 0, 4),  # the machine of the call
        (equal, 1, 0, audit),
        (answer, 0, 0, kill),
        (load, 0, 0, 0),  # its number
        (at_least, 0, 1, _X32),
        (answer, 0, 0, kill),
        (equal, 0, 1, CLONE3[column]),
        (answer, 0, 0, refuse | 38),  # "not there": the C library then uses clone
    ]
    for number in numbers:
        filters += [(equal, 0, 1, number), (answer, 0, 0, refuse | 1)]
    filters += [
        (equal, 0, 3, PRLIMIT[column]),
        (load, 0, 0, 16),  # whose limits: one's own may be read and lowered
        (equal, 5, 0, 0),
        (answer, 0, 0, refuse | 1),
        (equal, 0, 3, CLONE[column]),
        (load, 0, 0, 16),  # flags of clone: threads are allowed, processes are not
        (any_bit, 1, 0, _CLONE_THREAD),
        (answer, 0, 0, refuse | 1),
        (answer, 0, 0, allow),
    ]
    code = ctypes.create_string_buffer(b"".join(struct.pack("<HBBI", *line) for line in filters))
    program = struct.pack("<H6xQ", len(filters), ctypes.addressof(code))
    done: bool = libc.prctl(_PR_SET_SECCOMP, 2, ctypes.create_string_buffer(program), 0, 0) == 0
    return done
