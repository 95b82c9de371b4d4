"""Makes ``tests/strategies.py`` importable from every test file, whether or not the repository is on the path."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
