"""Advice: what to try on a table and why a run may fail, from measured situations."""

from credit_envs.advice.measured import cells
from credit_envs.advice.reasons import Reason, reasons
from credit_envs.advice.rule import BUDGET, FAR, Advice, Choice, Rule
from credit_envs.advice.situation import Situation, situation

__all__ = [
    "BUDGET",
    "FAR",
    "Advice",
    "Choice",
    "Reason",
    "Rule",
    "Situation",
    "advise",
    "cells",
    "reasons",
    "situation",
]


def advise(found: Situation, best: int = 4) -> Advice:
    """Returns what to try in a situation, by all that was measured.

    Args:
        found: the situation, see :func:`situation`.
        best: how many methods to name under each price list.
    """
    return Rule(cells()).advise(found, best)
