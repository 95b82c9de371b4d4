"""What a search checks while it has a snapshot in hand; each refusal carries the evidence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from credit_envs.errors import NotEnumerableError
from credit_envs.importers.luck import OtherLuck

if TYPE_CHECKING:
    from credit_envs.importers.search import Search

_FIRST, _STRIDE = 25, 100
_REWARDS_CHECKED = 300
_REDRAWS = 32


@dataclass(frozen=True)
class Step:
    """What one step of the original did."""

    observation: Any
    reward: float
    terminated: bool
    truncated: bool

    @property
    def ends(self) -> bool:
        """Whether the episode ended."""
        return self.terminated or self.truncated

    @property
    def facts(self) -> tuple[float, bool]:
        """What the table stores of it, beside the successor."""
        return self.reward, self.ends


@dataclass(frozen=True)
class Edge:
    """One action in one state, as explored at count 0.

    Attributes:
        state, action: where and what.
        snapshot: bytes of the state.
        step: what happened.
        key: key of the state that followed.
        sampled: whether it belongs to the sample on which everything is checked.
    """

    state: int
    action: int
    snapshot: bytes
    step: Step
    key: bytes
    sampled: bool


def in_sample(number: int) -> bool:
    """Whether the state that is expanded as the given one is checked in full: the first 25, then every 100th."""
    return number < _FIRST or number % _STRIDE == 0


def check_repeatable(search: Search, edge: Edge) -> None:
    """Steps again with other random numbers everywhere."""
    with OtherLuck(search.shots.generators.values(), word=search.head + 1):
        other, key = search.again(edge.snapshot, edge.action)
    if (key, other.facts) != (edge.key, edge.step.facts) or search.looks_other(edge.step, other):
        refuse_randomness(search, edge.state, edge.snapshot, edge.action, (edge.key, edge.step), (key, other))


def refuse_randomness(
    search: Search,
    state: int,
    snapshot: bytes,
    action: int,
    *outcomes: tuple[bytes, Step],
    only_if_different: bool = False,
) -> None:
    """Redraws until two outcomes of one action are known, and raises with both.

    Raises:
        NotEnumerableError: always, or with ``only_if_different`` if there are two outcomes.
    """
    distinct = {(key, *step.facts): None for key, step in outcomes}
    for word in range(_REDRAWS):
        with OtherLuck(search.shots.generators.values(), word):
            step, key = search.again(snapshot, action)
        distinct[(key, *step.facts)] = None
    if len(distinct) < 2 and only_if_different:
        return
    hint = ""
    if hasattr(search.base, "P") and hasattr(search.base, "initial_state_distrib"):
        hint = "; this environment lists its probabilities in P: use import_toy_text"
    if len(distinct) > 1:
        one, other = (
            f"state {key.hex()[:8]} with reward {reward:g}{' (end)' * ends}" for key, reward, ends in list(distinct)[:2]
        )
        found = f"led to two outcomes: {one}, and {other}"
    elif outcomes:
        found = "showed two different observations of one state"
    else:
        found = f"drew random numbers, although {_REDRAWS} redraws gave one outcome, so that none can be ruled out"
    raise NotEnumerableError(f"{search.where(state, action)} {found}; hidden randomness cannot be enumerated{hint}")


def check_clock(search: Search, edge: Edge) -> None:
    """Compares the step at the middle and the last counts with the one at count 0.

    Raises:
        NotEnumerableError: if the successor, the end, the observation or more than a factor of the reward depends on
            it.
    """
    if search.clock is None:
        return
    paid = edge.step.reward != 0 and (
        search.rewards_checked < _REWARDS_CHECKED or edge.step.reward not in search.rewards_seen
    )
    if not paid and not edge.sampled:
        return
    rewards = {0: edge.step.reward}
    last = search.horizon - 1
    # Truncation is expected at the last count only; the last but one tells whether it comes too early.
    for count in sorted({search.horizon // 2, max(last - 1, 0), last} - {0}):
        other, key = search.again(edge.snapshot, edge.action, count)
        same_end = other.terminated == edge.step.terminated if count == last else other.ends == edge.step.ends
        if key != edge.key or not same_end or search.looks_other(edge.step, other):
            # Randomness that the repetition missed looks like an influence of the counter, so it is looked for first.
            refuse_randomness(search, edge.state, edge.snapshot, edge.action, only_if_different=True)
            part = "successor" if key != edge.key else "observation" if same_end else "end of the episode"
            raise NotEnumerableError(
                f"{search.where(edge.state, edge.action)} has another {part} at {search.clock}={search.zero + count} "
                f"than at {search.zero}; the step counter is part of the state: leave clock= out, or pass a shorter "
                "horizon="
            )
        rewards[count] = other.reward
    _check_factor(search, edge, rewards)
    if paid:
        search.rewards_checked += 1
        search.rewards_seen.add(edge.step.reward)


def _check_factor(search: Search, edge: Edge, rewards: dict[int, float]) -> None:
    """Requires rewards that are constant, or all proportional to one curve over the step count."""
    where = search.where(edge.state, edge.action)
    if len(set(rewards.values())) == 1:
        if rewards[0] == 0 or len(rewards) == 1:
            return
        search.steady = where
    elif search.scale is None:
        curve = [search.again(edge.snapshot, edge.action, count)[0].reward for count in range(search.horizon)]
        search.scale = curve
    if search.scale is None:
        return
    unit = rewards[0] / search.scale[0] if search.scale[0] else 0.0
    wrong = [count for count, reward in rewards.items() if search.scale[count] * unit != reward]
    if wrong or search.steady is not None:
        at = f"{rewards[wrong[0]]!r} at step {wrong[0]}" if wrong else f"a constant reward in {search.steady}"
        raise NotEnumerableError(f"{where}: rewards are not u[t]·r with one curve u for all of them ({at})")


def check_merge(search: Search, state: int, snapshot: bytes) -> None:
    """Requires that another snapshot with a state's key behaves as the state does.

    Raises:
        NotEnumerableError: if it does not.
    """
    first = search.queue.index(state) * search.n_actions
    for action in range(search.n_actions):
        step, key = search.again(snapshot, action)
        edge = first + action
        expected = (search.keys[search.successor[edge]], search.reward[edge], bool(search.ends[edge]))
        if (key, *step.facts) != expected:
            raise NotEnumerableError(
                f"{search.where(state, action)} does not always do the same: two snapshots with the same content "
                "differ in something that the key leaves out (the order of a dict, the kind of a number)"
            )
