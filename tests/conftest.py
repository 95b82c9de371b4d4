"""Makes the helpers beside the tests importable from every test file, and hypothesis repeatable."""

import sys
from pathlib import Path

from hypothesis import settings

sys.path.insert(0, str(Path(__file__).parent))

# The same examples on every run: what passed here passes in CI, and nothing there depends on luck.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")
