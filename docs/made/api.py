"""A page of the API per room, from what its ``__init__`` lists in ``__all__``; what else has a door is named here."""

import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import credit_envs
from made.autodoc import markdown

PACKAGE = Path(credit_envs.__file__).parent
ROOMS = (
    *(
        "table",
        "oracle",
        "dials",
        "importers",
        "families",
        "faces",
        "sampling",
        "plans",
        "rewards",
        "credit",
        "weights",
    ),
    *("losses", "policies", "recipes", "evaluation", "training", "report", "advice", "leaderboard", "experiments"),
    *("export", "teaching", "registry", "piece", "testing", "errors"),
)
FURTHER = {
    "dials": ("dials.remember.remember",),
    "faces": ("faces.sb3.NativeVecEnv",),
    "registry": ("registry.make_table", "registry.parse", "registry.suite", "registry.Entry", "registry.canonical"),
    "piece": ("piece.Piece", "piece.Continuations", "piece.Search"),
    "testing": ("testing.check_table", "testing.check_vector_env"),
    "errors": ("errors.CreditEnvsError", "errors.TableError", "errors.NotEnumerableError", "errors.MissingExtraError"),
    "report": ("report.viewed.viewed", "report.viewed.groups", "report.viewed.Viewed", "report.viewer.write_viewer"),
    "training": ("training.trained.load_agent",),
}
"""What has a door beside ``__all__``."""


def files(_folder: Path) -> Iterator[tuple[str, str]]:
    """Yields names and contents of the pages."""
    found = {name: room(name) for name in ROOMS if (PACKAGE / name).is_dir() or (PACKAGE / f"{name}.py").is_file()}
    for name, (said, things, constants) in found.items():
        yield f"api/{name}.md", page(name, said, things, constants)
    yield "api/index.md", index(found)


def room(name: str) -> tuple[str, list[Any], dict[str, str]]:
    """Returns a room's first sentence, its classes and functions, and its constants with what is said of them."""
    module = importlib.import_module(f"credit_envs.{name}")
    listed = {one: getattr(module, one) for one in getattr(module, "__all__", ())}
    for path in FURTHER.get(name, ()):
        where, _, what = path.rpartition(".")
        found = getattr(importlib.import_module(f"credit_envs.{where}"), what, None)
        if found is not None:
            listed[what] = found
    things = [one for one in listed.values() if _made(one) and _home(one) == name]
    constants = {key: _said(module, key) for key, one in listed.items() if not _made(one)}
    return (inspect.getdoc(module) or "").partition("\n")[0], things, constants


def _made(thing: Any) -> bool:
    """Whether a thing is a class or a function, also one that keeps its results."""
    return inspect.isclass(thing) or inspect.isfunction(inspect.unwrap(thing) if callable(thing) else thing)


def _home(thing: Any) -> str:
    """The room that a thing is made in: it is documented there, wherever else it can be imported from."""
    return thing.__module__.split(".")[1] if thing.__module__.startswith("credit_envs.") else ""


def _said(module: ModuleType, name: str) -> str:
    """What the string below a constant's definition says."""
    file = Path(module.__file__ or "")
    for path in sorted(file.parent.glob("*.py")) if file.name == "__init__.py" else (file,):
        found = re.search(
            rf'^{name}\b[^\n]* = .*?^"""(.*?)"""', path.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
        )
        if found and not re.search(r"^(?:def|class) ", found[0], re.MULTILINE):
            return " ".join(found[1].split())
    return ""


def page(name: str, said: str, things: list[Any], constants: dict[str, str]) -> str:
    """Returns the page of a room."""
    lines = [f"# credit_envs.{name}", "", markdown(said), ""]
    if things or constants:
        lines += ["| name | what it is |", "| --- | --- |"]
        lines += [f"| {_link(one)} | {_first(one)} |" for one in things]
        lines += [f"| `{key}` | {markdown(about).replace('|', chr(92) + '|')} |" for key, about in constants.items()]
        lines.append("")
    for one in things:
        kind = "autoclass" if inspect.isclass(one) else "autofunction"
        members = "\n   :members:" if inspect.isclass(one) else ""
        lines += [f"```{{eval-rst}}\n.. {kind}:: {_path(one)}{members}\n```", ""]
    return "\n".join(lines)


def index(found: dict[str, tuple[str, list[Any], dict[str, str]]]) -> str:
    """Returns the page that lists all rooms with their names."""
    front = ", ".join(f"`{name}`" for name in credit_envs.__all__)
    lines = [
        "# API",
        "",
        "Room by room, in the order in which data flows ([architecture](../../architecture.md)); what algorithms offer is on "
        "[their own pages](../algorithms/index.md), commands say what they do with `--help`. Shapes stand in brackets: N "
        "rollouts, T steps, S states, A actions, H horizon.",
        "",
        f"At the top of the package: {front}.",
        "",
        "| room | what it is | names |",
        "| --- | --- | --- |",
    ]
    for name, (said, things, constants) in found.items():
        names = [*map(_link, things), *(f"`{key}`" for key in constants)]
        lines.append(f"| [{name}]({name}.md) | {markdown(said)} | {', '.join(names) or '–'} |")
    return "\n".join([*lines, "", "```{toctree}\n:hidden:\n", *found, "```"]) + "\n"


def _path(thing: Any) -> str:
    return f"{thing.__module__}.{thing.__qualname__}"


def _link(thing: Any) -> str:
    return f"{{py:obj}}`{thing.__name__} <{_path(thing)}>`"


def _first(thing: Any) -> str:
    text = (inspect.getdoc(thing) or "").split("\n\n")[0]
    return markdown(" ".join(text.split())).replace("|", "\\|")
