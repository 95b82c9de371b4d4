"""Makes exam sheets from the bank in ``exam.md``: questions without answers, and a key.

python docs/course/exam.py sheet.md --key key.md --count 12 --seed 1
"""

from __future__ import annotations

import argparse
import random
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from credit_envs.errors import CreditEnvsError, check_range
from credit_envs.table.storage import write_atomically

BANK = Path(__file__).with_name("exam.md")
KINDS = ("number", "choice", "derivation")

_QUESTION = re.compile(
    r"### (?P<number>\d+)\. (?P<title>[^\n]+)\n\n\*(?P<kind>\w+), (?P<points>\d+) points?\*\n\n(?P<text>.*?)\n\n"
    r"<details>\n<summary>Answer</summary>\n\n\*\*(?P<answer>[^*]+)\*\* (?P<why>.*?)\n\n</details>",
    re.DOTALL,
)


@dataclass(frozen=True)
class Item:
    """One question of the bank; ``answer`` is a letter for a choice and a number otherwise, ``why`` says how to find it."""

    number: int
    title: str
    kind: str
    points: int
    text: str
    answer: str
    why: str


def bank(path: Path = BANK) -> list[Item]:
    """Reads the bank.

    Raises:
        CreditEnvsError: if a heading is not followed by what a question has.
    """
    page = path.read_text(encoding="utf-8")
    found = [m.groupdict() for m in _QUESTION.finditer(page)]
    items = [Item(**{**m, "number": int(m["number"]), "points": int(m["points"])}) for m in found]
    if len(items) != page.count("\n### "):
        known = {item.number for item in items}
        odd = [
            line for line in page.splitlines() if line.startswith("### ") and int(line[4:].split(".")[0]) not in known
        ]
        raise CreditEnvsError(
            f"{path.name}: cannot read the question {odd}; expected kind and points, text, and an answer"
        )
    return items


def chosen(items: Sequence[Item], numbers: Sequence[int] | None, count: int | None, seed: int) -> list[Item]:
    """Picks questions by number, or draws some at random (in the bank's order), or takes all.

    Raises:
        CreditEnvsError: for a number that is not there, or more than there are.
    """
    if numbers:
        by_number = {item.number: item for item in items}
        for number in numbers:
            if number not in by_number:
                raise CreditEnvsError(f"questions: {number} is not in the bank, which has 1 to {len(items)}")
        return [by_number[number] for number in numbers]
    if count is None:
        return list(items)
    check_range("count", count, 1, len(items), integer=True)
    return sorted(random.Random(seed).sample(list(items), count), key=lambda item: item.number)


def sheet(items: Sequence[Item]) -> str:
    """Returns the questions without answers, numbered anew, with room to write."""
    out = [
        f"# Exam: credit assignment\n\nName: ______________________   Points: ____ of {sum(i.points for i in items)}\n"
    ]
    for n, item in enumerate(items, 1):
        room = {"choice": "Answer (one letter): ____", "number": "Answer: ____________"}.get(item.kind, "\n" * 10)
        out.append(f"## {n}. {item.title} ({_points(item)})\n\n{item.text}\n\n{room}\n")
    return "\n".join(out)


def key(items: Sequence[Item]) -> str:
    """Returns the answers to a sheet."""
    lines = [
        f"{n}. **{i.answer}** ({_points(i)}; no. {i.number} of the bank) {i.why}\n" for n, i in enumerate(items, 1)
    ]
    return "# Key\n\n" + "\n".join(lines)


def _points(item: Item) -> str:
    return f"{item.points} point{'s' if item.points > 1 else ''}"


def main(argv: Sequence[str] | None = None) -> int:
    """Writes a sheet, and its key if asked; bad input ends in one line and exit code 2."""
    parser = argparse.ArgumentParser(description="Exam sheets from docs/course/exam.md.")
    parser.add_argument("sheet", type=Path, help="file for the questions")
    parser.add_argument("--key", type=Path, help="file for the answers")
    parser.add_argument("--questions", type=int, nargs="+", help="numbers in the bank, in the order wanted")
    parser.add_argument("--count", type=int, help="so many, drawn at random")
    parser.add_argument("--seed", type=int, default=0, help="of the draw")
    given = parser.parse_args(argv)
    try:
        items = chosen(bank(), given.questions, given.count, given.seed)
    except CreditEnvsError as error:
        print(f"exam: {error}", file=sys.stderr)
        return 2
    write_atomically(given.sheet, sheet(items).encode())
    if given.key is not None:
        write_atomically(given.key, key(items).encode())
    print(f"{given.sheet}: {len(items)} questions, {sum(item.points for item in items)} points")
    return 0


if __name__ == "__main__":
    sys.exit(main())
