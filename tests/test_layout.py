"""The house: which way imports go, what an import costs, and what the wheel holds."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import credit_envs

PACKAGE = Path(credit_envs.__file__).parent
# Data flows one way: a room may import those to its left (and the shared files at the top of the package).
ORDER = (
    *("table", "oracle", "dials", "importers", "families", "faces", "sampling"),
    *(
        "plans",
        "rewards",
        "credit",
        "weights",
        "losses",
        "policies",
        "recipes",
        "evaluation",
        "training",
        "export",
        "report",
        "advice",
        "leaderboard",
        "experiments",
        "teaching",
    ),
)
SHARED = {"arrays", "errors", "piece"}
FRONT = {"__init__", "__main__", "cli", "registry", "testing"}


def imports(path: Path) -> set[str]:
    """Rooms that a file imports when it is loaded (imports inside functions are allowed to point anywhere)."""
    found = set()
    for node in ast.parse(path.read_text()).body:
        names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{a.name}" for a in node.names]
        found |= {name.split(".")[1] for name in names if name.startswith("credit_envs.")}
    return found


@pytest.mark.parametrize("room", ORDER)
def test_rooms_import_only_what_comes_before_them(room):
    allowed = {*ORDER[: ORDER.index(room) + 1], *SHARED}
    if room in (
        "faces",
        "evaluation",
        "training",
        "export",
        "report",
        "advice",
        "leaderboard",
        "experiments",
        "teaching",
    ):
        allowed |= {"registry"}
    for path in (PACKAGE / room).rglob("*.py"):
        assert imports(path) <= allowed, path


def test_every_room_is_on_the_map():
    rooms = {p.name for p in PACKAGE.iterdir() if p.is_dir() and (p / "__init__.py").is_file()}
    assert rooms - FRONT == set(ORDER)


@pytest.mark.smoke
def test_import_is_light():
    code = (
        "import sys, credit_envs; print(sorted({'torch', 'numba', 'textworld', 'jericho', 'scipy'} & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"


@pytest.mark.smoke
def test_public_names_load():
    for name in credit_envs.__all__:
        assert getattr(credit_envs, name) is not None
    with pytest.raises(AttributeError, match="nothing_here"):
        _ = credit_envs.nothing_here


def test_folders_of_runnable_files_are_no_packages():
    root = Path(__file__).parents[1]
    for folder in ("agents", "baselines", "leaderboard"):
        assert not (root / folder / "__init__.py").exists()
