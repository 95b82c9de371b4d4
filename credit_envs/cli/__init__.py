"""The ``credit-envs`` command: bad input ends in one line and exit code 2, Ctrl-C in one line and 130."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from credit_envs import __version__
from credit_envs.errors import CreditEnvsError, MissingExtraError, need


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit code.

    Args:
        argv: arguments (default: those of the process).
    """
    given = sys.argv[1:] if argv is None else list(argv)
    if given == ["--version"]:
        print(f"credit-envs {__version__}")
        return 0
    try:
        for module in ("tyro", "rich", "torch"):
            need(module, "eval")
        from credit_envs.cli import commands

        return commands.run(argv)
    except (CreditEnvsError, MissingExtraError) as error:
        print("credit-envs:", " ".join(str(error).split()), file=sys.stderr)
        return 2
    except KeyboardInterrupt as stopped:
        # Where something can be resumed, the interrupted command says how.
        print("credit-envs:", " ".join(str(stopped).split()) or "interrupted", file=sys.stderr)
        return 130
