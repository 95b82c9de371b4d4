"""How an agent's file starts from a shell: options in, one line out for bad input, exit codes as ``credit-envs`` has them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from credit_envs.errors import CreditEnvsError, MissingExtraError, need
from credit_envs.training.options import Options

AnyOptions = TypeVar("AnyOptions", bound=Options)


def start(
    train: Callable[[AnyOptions], dict[str, Any]], options: type[AnyOptions], argv: Sequence[str] | None = None
) -> int:
    """Reads options, trains, says what came out, and returns the exit code.

    Args:
        train: an agent's loop; returns what :meth:`credit_envs.training.Run.finish` does.
        options: the class of its options.
        argv: arguments (default: those of the process).
    """
    name = options.__name__
    try:
        tyro = need("tyro", "train")
        import torch

        chosen = tyro.cli(options, args=argv)
        try:
            result = train(chosen)
        except torch.OutOfMemoryError as error:
            lower = f"learners={chosen.learners}, groups={chosen.groups} or group_size={chosen.group_size}"
            raise CreditEnvsError(f"{name}: out of memory on {chosen.device}; lower {lower} ({error})") from error
    except (CreditEnvsError, MissingExtraError) as error:
        print(f"{name}:", " ".join(str(error).split()), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"{name}: interrupted; the same command goes on from the last checkpoint", file=sys.stderr)
        return 130
    if not chosen.quiet:
        print(summary(result))
    return 0


def summary(result: dict[str, Any]) -> str:
    """Returns one line: where returns stand at the end, exact or (with memory) simulated."""
    last = result["curve"][-1]
    mean = sum(last["J"]) / len(last["J"])
    share = sum(last["normalised"]) / len(last["normalised"])
    steps = sum(last["steps"]) / len(last["steps"])
    found = f"exact return {mean:.4f}"
    if "error" in last:
        # Learners are simulated independently, so errors of their mean add up as squares do.
        error = sum(width**2 for width in last["error"]) ** 0.5 / len(last["error"])
        found = f"simulated return {mean:.4f} ± {error:.4f} (95 %)"
    return (
        f"{result['agent']} on {result['env']}: {found} after {steps:,.0f} environment steps, "
        f"{share:.1%} of the way from uniform ({result['J_uniform']:.4f}) to optimal ({result['J_optimal']:.4f}); "
        f"{result['folder']}"
    )
