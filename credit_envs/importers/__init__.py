"""Tables of other people's environments, and the comparison that shows that they are the same."""

from credit_envs.importers.explore import import_gymnasium
from credit_envs.importers.lockstep import LockStep, lock_step
from credit_envs.importers.textworld_table import import_textworld
from credit_envs.importers.toy_text import import_toy_text

__all__ = ["LockStep", "import_gymnasium", "import_textworld", "import_toy_text", "lock_step"]
