"""What a run shows meanwhile: a progress bar, TensorBoard event files, Weights & Biases; each only where it is there."""

from __future__ import annotations

import dataclasses
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from credit_envs.errors import need
from credit_envs.training.options import Options

_SHOWN = ("normalised", "return", "entropy", "spread", "revisits", "grad_norm")
_LINE_EVERY_SECONDS = 15.0


class Reporters:
    """Reports to whatever is asked for and there.

    Args:
        name: name of the agent.
        folder: folder of the run.
        options: options of the run.
    """

    def __init__(self, name: str, folder: Path, options: Options) -> None:
        self.name, self._quiet = name, options.quiet
        self._bar: Any = None
        self._board: Any = None
        self._wandb: Any = None
        self._line_at = time.monotonic()
        if not options.quiet and sys.stderr.isatty():
            self._bar, self._task = _bar(name)
        if options.tensorboard:
            self._board = _board(folder)
        if options.wandb:
            wandb = need("wandb", "train")
            self._wandb = wandb.init(project="credit-envs", name=folder.name, config=dataclasses.asdict(options))

    def tell(self, share: float, steps: float, now: Mapping[str, float]) -> None:
        """Reports the state after an update.

        Args:
            share: share of the budget that is spent.
            steps: environment steps per learner.
            now: vitals by name.
        """
        text = " ".join(f"{name} {now[name]:.3g}" for name in _SHOWN if name in now)
        if self._bar is not None:
            self._bar.update(self._task, completed=share, description=text)
        elif not self._quiet and (time.monotonic() - self._line_at > _LINE_EVERY_SECONDS or share >= 1):
            self._line_at = time.monotonic()
            self.say(f"{share:.0%} {text}")
        if self._board is not None:
            for name, value in now.items():
                self._board.add_scalar(name, value, int(steps))
        if self._wandb is not None:
            self._wandb.log(dict(now), step=int(steps))

    def say(self, text: str) -> None:
        """Prints a line above the bar."""
        if self._quiet:
            return
        if self._bar is not None:
            self._bar.console.print(f"{self.name}: {text}", markup=False)
        else:
            print(f"{self.name}: {text}", file=sys.stderr, flush=True)

    def close(self) -> None:
        """Ends the bar and flushes files."""
        if self._bar is not None:
            self._bar.stop()
        if self._board is not None:
            self._board.close()
        if self._wandb is not None:
            self._wandb.finish()


def _bar(name: str) -> tuple[Any, Any]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (TextColumn(name), BarColumn(30), TaskProgressColumn(), TimeRemainingColumn())
    bar = Progress(*columns, TextColumn("{task.description}"), console=Console(stderr=True), transient=True)
    bar.start()
    return bar, bar.add_task("", total=1.0)


def _board(folder: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder / "tensorboard"))
