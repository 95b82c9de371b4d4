"""The question of a Sums instance: numbers to add, digit symbols, and the order of the actions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from credit_envs.arrays import AnyArray, Ints
from credit_envs.families.family import below, instance_draws

_DIGITS = "0123456789abcdef"
_LETTERS = "abcdefghijkmnpqrstuvwxyz"


@dataclass(frozen=True, eq=False)
class Question:
    """One addition; n columns, the rightmost first.

    Attributes:
        base: base of the number system.
        terms: int64 ``[terms, n]``, digits of the numbers.
        digit: int64 ``[n]``, digit of the sum in each column.
        carry: int64 ``[n]``, carry out of each column; the last one is the sum's leading digit.
        symbols: how the digits are written, from zero up.
        renamed: whether the symbols are not the usual ones.
        order: int64 ``[A]``, number of each action: digits from zero up, then the two other tokens.
    """

    base: int
    terms: Ints
    digit: Ints
    carry: Ints
    symbols: str
    renamed: bool
    order: Ints

    @property
    def columns(self) -> int:
        """Number of columns n."""
        return int(self.terms.shape[1])

    def total(self, column: AnyArray | int, carry: AnyArray) -> Ints:
        """Returns the sum of a column and the carry into it; broadcast."""
        return np.asarray(self.terms.sum(axis=0)[column] + carry)

    def heading(self) -> str:
        """The question in words."""
        numbers = " + ".join("".join(self.symbols[d] for d in number[::-1]) for number in self.terms.tolist())
        lines = [f"Add {numbers} in base {self.base}, column by column from the right."]
        if self.renamed:
            lines.append(f"Digits from zero up: {' '.join(self.symbols)}")
        return "\n".join(lines)

    def line(self, column: int, carry: int, digit: int | None = None, out: int | None = None) -> str:
        """One column with what is written in it, ``?`` for what comes next."""
        summands = " + ".join(self.symbols[d] for d in self.terms[:, column].tolist())
        given = f" + carry {self.symbols[carry]}" if column else ""
        first = "?" if digit is None else self.symbols[digit]
        second = "" if digit is None else f", carry {'?' if out is None else self.symbols[out]}"
        return f"Column {column + 1} of {self.columns}: {summands}{given} = {first}{second}"


def make_question(instance_seed: int, terms: int, columns: int, base: int, permute: bool, extra: int) -> Question:
    """Draws one instance; ``extra`` is the number of tokens beside the digits."""
    draws = instance_draws("Sums", instance_seed, terms * columns + len(_LETTERS) + base + extra)
    cells, letters, order = np.split(draws, [terms * columns, terms * columns + len(_LETTERS)])
    cells = cells.reshape(terms, columns)
    numbers = below(cells, base)
    numbers[:, -1] = 1 + below(cells[:, -1], base - 1)  # no leading zeros
    sums, carry = np.zeros(columns, dtype=np.int64), 0
    for i in range(columns):
        sums[i] = numbers[:, i].sum() + carry
        carry = int(sums[i]) // base
    shuffled = "".join(_LETTERS[i] for i in np.argsort(letters, kind="stable")[:base].tolist())
    return Question(
        base=base,
        terms=numbers,
        digit=sums % base,
        carry=sums // base,
        symbols=shuffled if permute else _DIGITS[:base],
        renamed=permute,
        order=np.argsort(order, kind="stable"),
    )


def numbered(question: Question, names: tuple[str, ...], count: int) -> str:
    """The first ``count`` digits as tokens with the numbers of their actions."""
    return "Tokens: " + " ".join(f"[{question.order[i]}] {names[question.order[i]]}" for i in range(count))
