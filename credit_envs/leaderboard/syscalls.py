"""System calls that a stranger's code may not make, with their numbers on x86-64 and ARM64 ("-": there is none).

Source: the tables of the Linux kernel, arch/x86/entry/syscalls/syscall_64.tbl and include/uapi/asm-generic/unistd.h.
"""

from __future__ import annotations

from collections.abc import Mapping

_CALLS = """
# Network, programs, other processes.
socket 41 198   connect 42 203   accept 43 202   bind 49 200
listen 50 201   execve 59 221   execveat 322 281   fork 57 -
vfork 58 -   ptrace 101 117   process_vm_readv 310 270   process_vm_writev 311 271
kcmp 312 272   process_madvise 440 440   pidfd_open 434 434   pidfd_getfd 438 438
setpriority 141 140   sched_setaffinity 203 122   sched_setscheduler 144 119   sched_setparam 142 118
ioprio_set 251 30   migrate_pages 256 238   move_pages 279 239   kill 62 129
tkill 200 130   tgkill 234 131   pidfd_send_signal 424 424   rt_sigqueueinfo 129 138
rt_tgsigqueueinfo 297 240
# The kernel's own doors.
mount 165 40   unshare 272 97   setns 308 268   chroot 161 51
bpf 321 280   io_uring_setup 425 425   open_by_handle_at 304 265   perf_event_open 298 241
userfaultfd 323 282   inotify_init 253 -   inotify_init1 294 26   fanotify_init 300 262
# What outlives the process, and so could carry answers from one cell to the next: shared memory, queues, keys.
shmget 29 194   shmat 30 196   shmctl 31 195   semget 64 190
semop 65 193   semctl 66 191   msgget 68 186   msgsnd 69 189
msgrcv 70 188   msgctl 71 187   mq_open 240 180   mq_unlink 241 181
keyctl 250 219   add_key 248 217   request_key 249 218
# Files that cannot be opened could still be marked or locked away: Landlock leaves modes, owners and times alone.
chmod 90 -   fchmod 91 52   fchmodat 268 53   fchmodat2 452 452
chown 92 -   lchown 94 -   fchown 93 55   fchownat 260 54
utime 132 -   utimes 235 -   futimesat 261 -   utimensat 280 88
setxattr 188 5   lsetxattr 189 6   fsetxattr 190 7   setxattrat 463 463
removexattr 197 14   lremovexattr 198 15   fremovexattr 199 16   removexattrat 466 466
"""

MACHINES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}
"""Machine → its audit number, and the column of its numbers."""

CLONE, CLONE3, PRLIMIT = (56, 220), (435, 435), (302, 261)
"""Calls whose arguments decide: processes and threads, and limits."""


def denied() -> Mapping[str, tuple[str, str]]:
    """Returns name → its number on each machine, ``-`` where it has none."""
    words = " ".join(line for line in _CALLS.splitlines() if not line.startswith("#")).split()
    return {words[i]: (words[i + 1], words[i + 2]) for i in range(0, len(words), 3)}
