"""``python -m credit_envs`` is the ``credit-envs`` command."""

import sys

from credit_envs.cli import main

if __name__ == "__main__":
    sys.exit(main())
