"""What is played for: tracks, and boards, which fix a suite's environments, budgets, policies and seeds.

estimator  policies are given, and the method says how much each action changed the return. Two sub-tracks: ``fixed`` methods
           get rollouts in groups of 8 and nothing else; ``open`` ones spend the same budget as they like (continuations,
           search, fresh groups, forks, or rollouts of their own).
learner    the method trains a policy within a budget of environment steps; the policy is scored by its exact return.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from credit_envs import registry
from credit_envs.errors import unknown

TRACKS = ("estimator", "learner")

GROUP_SIZE = 8
"""Rollouts per group that fixed methods are given."""

FEWEST_SEEDS = 10


@dataclass(frozen=True)
class Board:
    """The rules of one suite.

    Attributes:
        suite: name.
        environments: canonical ids.
        budget: environment steps per (environment, policy, seed) of the estimator track.
        learner_budget: environment steps per (environment, seed) of the learner track.
        levels: policies whose credit is scored, as shares of the way from uniform to optimal play.
        seeds: all of them are mandatory, numbered from 0.
        strayed: play a policy of random preferences instead of those levels (a check, never a score).
    """

    suite: str
    environments: tuple[str, ...]
    budget: int = 3_000
    learner_budget: int = 100_000
    levels: tuple[float, ...] = (0.0, 0.5, 0.9)
    seeds: int = FEWEST_SEEDS
    strayed: bool = False


SMALL: Mapping[str, Board] = {
    "board-v0": Board(
        "board-v0",
        (
            "credit/Pivots-v0",
            "credit/Gallery-v0",
            "credit/Lookup-v0",
            "credit/Apps-v0",
            "credit/Household-v0",
            "credit/FrozenLake-v0",
        ),
        budget=1_000,
        learner_budget=20_000,
    ),
}
"""Boards that are not simply a suite of the registry: small enough for a laptop and for the tests."""


def board(suite: str) -> Board:
    """Returns the rules of a suite.

    Raises:
        CreditEnvsError: if there is none of that name.
    """
    if suite in SMALL:
        return SMALL[suite]
    if suite in registry.SUITES:
        return Board(suite, registry.SUITES[suite])
    raise unknown("suite", suite, (*SMALL, *registry.SUITES))


@dataclass(frozen=True)
class Cell:
    """One (environment, policy, seed) of a board; learners have no policy."""

    environment: str
    policy: str
    seed: int
