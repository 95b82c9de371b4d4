"""What a long run shows meanwhile: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from credit_envs.evaluation.run import Progress

_LINE_EVERY_SECONDS = 15.0


@contextmanager
def progress(title: str) -> Iterator[Progress]:
    """Yields a function that is told (done, in all, what) and shows it on stderr."""
    if not sys.stderr.isatty():
        yield _lines(title)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn(title),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TextColumn("cells"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.description}"),
    )
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None)

        def tell(done: int, total: int, what: str) -> None:
            bar.update(task, completed=done, total=total, description=what.replace("credit/", ""))

        yield tell


def _lines(title: str) -> Progress:
    last = -_LINE_EVERY_SECONDS

    def tell(done: int, total: int, what: str) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= _LINE_EVERY_SECONDS or done == total:
            last = now
            print(f"{title}: {done} of {total} cells, {what.replace('credit/', '')}", file=sys.stderr, flush=True)

    return tell
