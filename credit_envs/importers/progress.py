"""A progress line for long searches: only on terminals, only with rich, only after two seconds."""

from __future__ import annotations

import importlib.util
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_QUIET_SECONDS = 2.0
_REFRESH_SECONDS = 0.2


@contextmanager
def progress_line(label: str, wanted: bool = True) -> Iterator[Callable[[int, int], None]]:
    """Yields a function that is told (done, found) after every step of a search."""
    if not wanted or not sys.stderr.isatty() or importlib.util.find_spec("rich") is None:
        yield lambda _done, _found: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("states"),
        TimeElapsedColumn(),
    )
    bar = Progress(*columns, console=Console(stderr=True), transient=True)
    task = bar.add_task(label)
    due = time.monotonic() + _QUIET_SECONDS
    running = False

    def tell(done: int, found: int) -> None:
        nonlocal due, running
        now = time.monotonic()
        if now < due:
            return
        due = now + _REFRESH_SECONDS
        if not running:
            bar.start()
            running = True
        bar.update(task, completed=done, total=found)

    try:
        yield tell
    finally:
        if running:
            bar.stop()
