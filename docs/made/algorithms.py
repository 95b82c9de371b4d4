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
from credit_envs.report.reading import number
from made import figures
from made.autodoc import markdown

FIGURES = Path(__file__).parents[1] / "foundation.md"
_LONGEST = 32
_MOST_CHARTS = 8
_NAMES = {
    "gae": "GAE and critics",
    "ppo": "PPO and GRPO losses",
    "prm_baseline": "PRM as a baseline",
    "tree_gigpo": "Tree-GiGPO",
    "gigpo_mig": "GiGPO with MIG",
    "anchor_mix": "Anchor graph, mixed",
    "information": "Information gain",
}
_STATUS = (
    "*verified*: follows paper or code, and is checked against the oracle; *reconstruction*: the source leaves something "
    "open; *as told*: a distorted form that circulates, kept to be measured; *ours*."
)
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
    for slot in SLOTS:
        yield f"algorithms/{slot}.md", slot_page(slot)
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
    file = module.__name__.rsplit(".", 1)[1]
    return title if len(title) <= _LONGEST else _NAMES.get(file, file.replace("_", " ").capitalize())


def index() -> str:
    """Returns the page of all pieces and recipes."""
    lines = [
        "# Algorithms",
        "",
        "An algorithm is a recipe of pieces in five slots: rollout plan → reward model → advantage estimator → token "
        "weighting → policy loss. Pieces of different slots combine: `credit-envs evaluate tree_grpo+vppo`. What a slot is "
        "not given: groups, the environment's reward, grpo, no weights, reinforce.",
        "",
        "Each piece has a page: idea, equations, departures from its paper, needs and costs, how far it was checked, what it "
        "was worth in every environment. Which one to try: [which method?](../../which-method.md). All in one table, best "
        "first: [what they are worth](../../algorithms.md).",
        "",
        f"*Status.* {_STATUS} A number of tests stands beside it where it was counted. *Worth*: GRPO-equivalents per "
        "environment step / per trained step, geometric mean over the cells of [one sweep of all](../../algorithms.md); of a "
        "plan or reward model that of the "
        "first recipe with it. – where it was not measured by itself.",
        "",
    ]
    for slot in SLOTS:
        lines += [f"## {TITLES[slot]}", "", f"{SAYS[slot].capitalize()}.", "", *_listing(slot), ""]
    lines += ["## Recipes of several pieces", "", "| recipe | pieces | worth |", "| --- | --- | --- |"]
    for name, parts in PRESETS.items():
        linked = " + ".join(f"[{part}]({slug(module_of(PIECES[part]))}.md)" for part in parts.split("+"))
        lines.append(f"| `{name}` | {linked} | {_worth(name)} |")
    lines += ["", "## What algorithms may ask for", "", "| need | what it is |", "| --- | --- |"]
    lines += [f"| `{name}` | {cell(markdown(said))} |" for name, said in NEEDS.items()]
    return "\n".join([*lines, "", "```{toctree}\n:hidden:\n", *SLOTS, "```"]) + "\n"


def slot_page(slot: str) -> str:
    """Returns the page of a slot: its pieces, and the pages below it."""
    own = [f"{short(module)} <{slug(module)}>" for module, found in by_module().items() if found[0].slot == slot]
    lines = [f"# {TITLES[slot]}", "", f"{SAYS[slot].capitalize()}. One of five slots: [algorithms](index.md).", ""]
    return "\n".join([*lines, *_listing(slot), "", "```{toctree}\n:hidden:\n", *own, "```"]) + "\n"


def _listing(slot: str) -> list[str]:
    passed = checks()
    lines = ["| piece | per | γ | needs and costs | status | worth | source |", "| --- " * 7 + "|"]
    for piece in (one for one in PIECES.values() if one.slot == slot):
        status = f"{piece.status}, {passed[piece.name]} tests" if piece.name in passed else piece.status
        link = f"[{piece.name}]({slug(module_of(piece))}.md)"
        worth = _worth(next(iter(recipes_of([piece])), ""))
        lines.append(
            "| "
            + " | ".join(map(cell, [link, piece.granularity, gamma(piece), needs(piece), status, worth, piece.source]))
            + " |"
        )
    return lines


def _worth(recipe: str) -> str:
    found = [one for one in figures.figures().get(recipe, ()) if one.environment in figures.common()]
    if not found:
        return "–"
    each = [number(figures.mean(found, price)) for price in ("simulator", "data")]
    return each[0] if each[0] == each[1] else " / ".join(each)


def recipes_of(pieces: list[Piece]) -> list[str]:
    """Returns the measured recipes that show what pieces are worth: themselves, else presets that they are part of."""
    known = figures.figures()
    own = [piece.name for piece in pieces if piece.name in known]
    if own:
        return own
    names = {piece.name for piece in pieces}
    return [name for name, parts in PRESETS.items() if names & set(parts.split("+")) and name in known]


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
    lines += ["| piece | slot | one number per | γ | settings | needs and costs | status | tests |", "| --- " * 8 + "|"]
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
    asked = dict.fromkeys(need for piece in pieces for need in piece.needs)
    lines += ["", _STATUS, ""]
    lines += [f"- *{need}*: {markdown(NEEDS[need])}" for need in asked if need in NEEDS]
    sources = dict.fromkeys(part for piece in pieces for part in piece.source.split("; ") if part)
    lines += ["", "Sources: " + "; ".join(markdown(one) for one in sources) + "." if sources else ""]
    own = {piece.name for piece in pieces}
    using = [name for name, parts in PRESETS.items() if own & set(parts.split("+"))]
    run = next((name for name in using), pieces[0].name) if pieces[0].slot in ("plan", "reward") else pieces[0].name
    lines += ["", "```bash", f"credit-envs evaluate {run}   # scored against the exact credit", "```"]
    if using:
        lines += ["", "Recipes that use them: " + ", ".join(f"`{name}` = {PRESETS[name]}" for name in using) + "."]
    lines += ["", *worth(pieces), *measured(pieces)]
    lines += ["## Functions", ""]
    for function in dict.fromkeys(function_of(piece)[0] for piece in pieces):
        lines += [f"```{{eval-rst}}\n.. autofunction:: {function.__module__}.{function.__qualname__}\n```", ""]
    return "\n".join(lines)


def worth(pieces: list[Piece]) -> list[str]:
    """Returns what the measured recipes with some pieces were worth: sentences, charts, and every figure."""
    shown = recipes_of(pieces)
    if not shown:
        return ["## What it is worth", "", "Not measured by itself: `credit-envs evaluate` does.", ""]
    lines = [
        "## What it is worth",
        "",
        "GRPO-equivalents by geometric mean over the measured cells: 2 is the gradient signal that GRPO gets from twice the "
        "resources. Charts: a line per environment; a mark per policy with its 95 % interval over 10 seeds, from pale (uniform "
        "play) over half to dark (90 % of the way to optimal play); hollow: worth nothing that can be shown.",
        "",
        *(f"- {figures.sentence(name)}" for name in shown),
        "",
    ]
    lines += [figures.charts(shown[:_MOST_CHARTS]), ""]
    every = [row for name in shown for row in figures.rows(name)]
    lines += [
        "<details><summary>Every figure</summary>",
        "",
        figures.HEAD,
        "| --- " * 10 + "|",
        *every,
        "",
        "</details>",
        "",
    ]
    return lines


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
        "<details><summary>With more data: 100,000 steps on five environments</summary>",
        "",
        "The same, and the share of the headroom between GRPO and the exact advantage; how it was measured: "
        "[findings](../../findings.md).",
        "",
        "| environment | piece | policy | simulator | language model | data | headroom | steps |",
        "| --- " * 8 + "|",
        *rows,
        "",
        "</details>",
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
