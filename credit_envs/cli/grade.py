"""``credit-envs grade``."""

from __future__ import annotations

import csv
import io
import json
import math
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import tyro

from credit_envs.cli.progress import progress
from credit_envs.errors import CreditEnvsError, check_range, unknown
from credit_envs.table.storage import write_atomically

_TEMPLATES = Path(__file__).parents[1] / "teaching" / "templates"


def grade(
    submissions: Annotated[tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="SUBMISSION")] = (),
    assignment: str | None = None,
    template: str | None = None,
    json_: Annotated[bool, tyro.conf.arg(name="json")] = False,
    csv_: Annotated[Path | None, tyro.conf.arg(name="csv")] = None,
    seed: int = 0,
    seeds: int = 8,
    seconds: int = 20,
    unconfined: bool = False,
) -> int:
    """Grade students' estimators against the formula that was asked for and against the exact credit, with feedback.

    One submission: its rubric and feedback, exit code 0 for full marks and 1 otherwise. Several, or a folder of files: one line
    each, exit code 0.

    Args:
        submissions: FILE.py, FILE.py:FUNCTION (default function: estimate), or folders of such files.
        assignment: rloo, step_returns, gigpo or vineppo (default: what the file says in its line ASSIGNMENT = "...").
        template: Write the file that students fill in for this assignment into the present folder.
        json_: Print everything as JSON.
        csv_: Write one row per submission to this file.
        seed: Seed of all rollouts; grade all students of a course with one.
        seeds: Replicates for what a batch is worth.
        seconds: Processor time of one call of a student's function.
        unconfined: Run code even where this system cannot confine it (for code that you trust).
    """
    from credit_envs.leaderboard.room import Room
    from credit_envs.teaching import grade as grading
    from credit_envs.teaching import submission as handed
    from credit_envs.teaching.assignments import ASSIGNMENTS

    if template is not None:
        return _write_template(template)
    check_range("seeds", seeds, 2, 1000, integer=True)
    check_range("seconds", seconds, 1, 3600, integer=True)
    if not submissions:
        raise CreditEnvsError("grade: name a file, or a folder of files (or --template NAME to begin one)")
    if assignment is not None and assignment not in ASSIGNMENTS:
        raise unknown("assignment", assignment, ASSIGNMENTS)
    names = _files(submissions)
    rules: dict[str, Any] = {
        "trusted": unconfined,
        "seconds": seconds,
        "memory": grading.MEMORY,
        "offered": handed.OFFERED,
    }
    with progress("grade") as tell, Room(**rules) as room:
        grades = []
        for i, name in enumerate(names):

            def told(done: int, steps: int, what: str, before: int = i) -> None:
                tell(before * steps + done, len(names) * steps, what)

            grades.append(grading.grade(name, assignment, room=room, seed=seed, seeds=seeds, told=told))
    if csv_ is not None:
        write_atomically(csv_, _table(grades).encode())
    if json_:
        shown = [_plain({**asdict(one), "points": one.points, "of": one.of}) for one in grades]
        print(json.dumps(shown, indent=2, allow_nan=False))
    elif len(grades) == 1:
        _print(grades[0])
    else:
        for one in grades:
            print(
                f"{one.points:5.2f}/{one.of}  {one.submission}  ({one.assignment or 'no assignment'}: {one.recognised})"
            )
    if csv_ is not None:
        print(f"table: {csv_}", file=sys.stderr)
    return 0 if len(grades) > 1 or grades[0].points == grades[0].of else 1


def _files(names: Sequence[str]) -> list[str]:
    """Returns files, and for folders the Python files in them and one level below (one folder per student)."""
    out: list[str] = []
    for name in names:
        path = Path(name)
        if path.is_dir():
            found = sorted([*path.glob("*.py"), *path.glob("*/*.py")])
            if not found:
                raise CreditEnvsError(f"submission={name!r}: the folder holds no .py files")
            out += map(str, found)
            continue
        if not Path(name.partition(".py:")[0] + ".py" if ".py:" in name else name).is_file():
            raise CreditEnvsError(f"submission={name!r}: there is no such file")
        out.append(name)
    return out


def _write_template(name: str) -> int:
    known = sorted(path.stem for path in _TEMPLATES.glob("*.py"))
    if name not in known:
        raise unknown("template", name, known)
    target = Path(f"{name}.py")
    if target.exists():
        raise CreditEnvsError(f"template={name!r}: {target} is already there")
    write_atomically(target, (_TEMPLATES / f"{name}.py").read_bytes())
    print(f"{target}: fill in `estimate`, then credit-envs grade {target}")
    return 0


def _plain(value: Any) -> Any:
    """Turns numbers that JSON does not have (what is worth nothing has no figure) into null."""
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _table(grades: Sequence[Any]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    keys = [line.name for line in grades[0].lines]
    writer.writerow(["submission", "assignment", "points", "of", *keys, "recognised", "feedback"])
    for one in grades:
        parts = [line.points for line in one.lines]
        writer.writerow(
            [one.submission, one.assignment, one.points, one.of, *parts, one.recognised, " ".join(one.feedback)]
        )
    return out.getvalue()


def _print(one: Any) -> None:
    from rich.markup import escape

    from credit_envs.report.terminal import terminal

    console = terminal()
    console.print(
        f"[bold]{escape(one.submission)}[/bold]: {one.points:g} of {one.of} points "
        f"({one.assignment or 'no assignment'})"
    )
    for line in one.lines:
        console.print(f"  {line.name:9} {line.points:g} of {line.of}  {escape(line.why)}")
    for text in one.feedback:
        console.print(f"\n{escape(text)}")
