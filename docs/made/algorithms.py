"""A page per file of algorithms: its equations, its pieces with what they need and cost, and what was measured."""

import functools
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from credit_envs.piece import NEEDS, PRIVILEGED, SLOTS, Piece
from credit_envs.recipes import PIECES, PRESETS
from credit_envs.recipes.catalogue import checks
from made.autodoc import markdown

FIGURES = Path(__file__).parents[1] / "foundation.md"
_LONGEST = 32
TITLES = {
    "plan": "Rollout plans",
    "reward": "Reward models",
    "advantage": "Advantage estimators",
    "weight": "Token weightings",
    "loss": "Policy losses",
}
SAYS = {
    "plan": "which rollouts are drawn",
    "reward": "what they are paid",
    "advantage": "credit of every step",
    "weight": "factors on the credit, mostly masks",
    "loss": "how credit becomes an update",
}


def files(_folder: Path) -> Iterator[tuple[str, str]]:
    """Yields names and contents of the pages."""
    for module, pieces in by_module().items():
        yield f"algorithms/{slug(module)}.md", page(module, pieces)
    yield "algorithms/index.md", index()


def by_module() -> dict[ModuleType, list[Piece]]:
    """Returns the pieces by the file that their function stands in, in the order of slots."""
    found: dict[ModuleType, list[Piece]] = {}
    for slot in SLOTS:
        for piece in PIECES.values():
            if piece.slot == slot:
                found.setdefault(module_of(piece), []).append(piece)
    return found


def function_of(piece: Piece):
    """Returns a piece's function and the arguments that it fixes."""
    function, fixed = piece.function, {}
    while isinstance(function, functools.partial):
        fixed = {**function.keywords, **fixed}
        function = function.func
    return function, fixed


def module_of(piece: Piece) -> ModuleType:
    """Returns the file that a piece's function stands in."""
    module = inspect.getmodule(function_of(piece)[0])
    assert module is not None
    return module


def slug(module: ModuleType) -> str:
    """Returns a page's name: room and file."""
    return "-".join(module.__name__.split(".")[1:])


def short(module: ModuleType) -> str:
    """Returns a page's title where it is short, else the file's name: what stands in the list beside the pages."""
    title = (inspect.getdoc(module) or "").partition("\n")[0].partition(":")[0].rstrip(".")
    return title if len(title) <= _LONGEST else module.__name__.rsplit(".", 1)[1].replace("_", " ").capitalize()


def index() -> str:
    """Returns the page of all pieces and recipes."""
    passed = checks()
    lines = [
        "# Algorithms",
        "",
        "An algorithm is a recipe of pieces in five slots: rollout plan → reward model → advantage estimator → token "
        "weighting → policy loss. Pieces of different slots combine: `credit-envs evaluate tree_grpo+vppo`. What a slot is "
        "not given: groups, the environment's reward, grpo, no weights, reinforce.",
        "",
        "*Status.* `verified`: follows paper or code and is checked against the oracle. `reconstruction`: the source leaves "
        "something open. `as told`: a distorted form that circulates, kept to be measured. `ours`. A number of tests stands "
        "beside it where it was counted.",
        "",
    ]
    for slot in SLOTS:
        lines += [f"## {TITLES[slot]}", "", f"{SAYS[slot].capitalize()}.", ""]
        lines += ["| piece | per | γ | needs and costs | status | source |", "| --- | --- | --- | --- | --- | --- |"]
        for piece in (one for one in PIECES.values() if one.slot == slot):
            status = f"{piece.status}, {passed[piece.name]} tests" if piece.name in passed else piece.status
            cells = [
                f"[{piece.name}]({slug(module_of(piece))}.md)",
                piece.granularity,
                gamma(piece),
                needs(piece),
                status,
                piece.source,
            ]
            lines.append("| " + " | ".join(map(cell, cells)) + " |")
        lines.append("")
    lines += ["## Recipes of several pieces", "", "| recipe | pieces |", "| --- | --- |"]
    for name, parts in PRESETS.items():
        linked = " + ".join(f"[{part}]({slug(module_of(PIECES[part]))}.md)" for part in parts.split("+"))
        lines.append(f"| `{name}` | {linked} |")
    lines += ["", "## What algorithms may ask for", "", "| need | what it is |", "| --- | --- |"]
    lines += [f"| `{name}` | {cell(markdown(said))} |" for name, said in NEEDS.items()]
    for slot in SLOTS:
        own = [f"{short(module)} <{slug(module)}>" for module, found in by_module().items() if found[0].slot == slot]
        lines += ["", f"```{{toctree}}\n:caption: {TITLES[slot]}\n:hidden:\n", *own, "```"]
    return "\n".join(lines) + "\n"


def page(module: ModuleType, pieces: list[Piece]) -> str:
    """Returns the page of one file."""
    document = inspect.getdoc(module) or ""
    first, _, rest = document.partition("\n")
    title, colon, said = first.partition(": ")
    passed = checks()
    lines = [f"# {title if colon else first.rstrip('.')}", ""]
    if colon:
        lines += [markdown(said[:1].upper() + said[1:]), ""]
    lines += [markdown(rest.strip("\n")), "", "## Pieces", ""]
    lines += ["| piece | slot | per | γ | settings | needs and costs | status | tests |", "| --- " * 8 + "|"]
    for piece in pieces:
        fixed = ", ".join(f"`{key}={value!r}`" for key, value in function_of(piece)[1].items() if key != "gamma")
        cells = [
            f"`{piece.name}`",
            piece.slot,
            piece.granularity,
            gamma(piece),
            fixed or "–",
            needs(piece),
            piece.status,
        ]
        cells.append(str(passed.get(piece.name, "not counted")))
        lines.append("| " + " | ".join(map(cell, cells)) + " |")
    sources = dict.fromkeys(piece.source for piece in pieces if piece.source)
    lines += ["", "Sources: " + "; ".join(markdown(one) for one in sources) + "." if sources else ""]
    own = {piece.name for piece in pieces}
    using = [name for name, parts in PRESETS.items() if own & set(parts.split("+"))]
    run = next((name for name in using), pieces[0].name) if pieces[0].slot in ("plan", "reward") else pieces[0].name
    lines += ["", "```bash", f"credit-envs evaluate {run}   # scored against the exact credit", "```"]
    if using:
        lines += ["", "Recipes that use them: " + ", ".join(f"`{name}` = {PRESETS[name]}" for name in using) + "."]
    lines += ["", *measured(pieces)]
    lines += ["## Functions", ""]
    for function in dict.fromkeys(function_of(piece)[0] for piece in pieces):
        lines += [f"```{{eval-rst}}\n.. autofunction:: {function.__module__}.{function.__qualname__}\n```", ""]
    return "\n".join(lines)


def measured(pieces: list[Piece]) -> list[str]:
    """Returns what `credit-envs evaluate` measured on the suite foundation-v0, as docs/foundation.md holds it."""
    names, place, rows = {piece.name for piece in pieces}, "", []
    for line in FIGURES.read_text().splitlines():
        if line.startswith("### "):
            place = line[4:]
        cells = [part.strip() for part in line.strip("|").split("|")]
        if len(cells) == 10 and cells[1] in names:
            rows.append(f"| {place} | {' | '.join([cells[1], cells[0], *cells[2:6], cells[9]])} |")
    if not rows:
        return []
    return [
        "## Measured",
        "",
        "GRPO-equivalents with 95 % intervals under three price lists (1: worth as much as GRPO at the same cost), and the "
        "share of the headroom between GRPO and the exact advantage. How it was measured: [findings](../../findings.md).",
        "",
        "| environment | piece | policy | simulator | language model | data | headroom | steps |",
        "| --- " * 8 + "|",
        *rows,
        "",
    ]


def gamma(piece: Piece) -> str:
    """Returns the discount."""
    return "–" if piece.gamma is None else f"{piece.gamma:g}"


def needs(piece: Piece) -> str:
    """Returns what a piece asks for and costs, truth marked."""
    parts = [f"{need} (truth)" if need in PRIVILEGED else need for need in piece.needs]
    parts += [f"label {wanted.replace('|', ' or ')}" for wanted in piece.requires]
    if piece.model_calls:
        parts.append(f"{piece.model_calls:g} model calls per step")
    if piece.note:
        parts.append(piece.note)
    return ", ".join(parts) or "–"


def cell(text: str) -> str:
    """Returns text that can stand in a table."""
    return re.sub(r"(?<!\\)\|", r"\\|", text)
