"""Readings: what is measured of a policy before and after training, from rollouts of its own.

Each is a function of a table, the policy before, the policy after and a seed; both policies meet the same starts. Adding one:
a function here and a line in :data:`READINGS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from scipy import stats

from credit_envs.families.apps import habits as good_habits
from credit_envs.oracle.policy import Policy
from credit_envs.sampling.divergence import entropy
from credit_envs.sampling.sampler import Sampler
from credit_envs.sampling.trajectories import Sample
from credit_envs.table.mdp import TabularMDP
from credit_envs.training.alarms import vitals

_GROUPS, _SIZE = 64, 8
_LUCK = 1 << 46
_PROBLEMS = 50


def anchors(table: TabularMDP, before: Policy, after: Policy, seed: int) -> dict[str, float]:
    """Sizes of anchor groups (steps at a step's anchor), and shares of steps whose anchor recurs."""
    out: dict[str, float] = {}
    for ending, policy in (("_before", before), ("", after)):
        found = vitals(_sample(table, policy, seed).trajectories)
        out |= {f"{name}{ending}": found[name] for name in ("anchor_group", "revisits")}
    return out


def health(table: TabularMDP, before: Policy, after: Policy, seed: int) -> dict[str, float]:
    """Share of groups whose returns are all equal, and the entropy of the visited choices."""
    out: dict[str, float] = {}
    for ending, policy in (("_before", before), ("", after)):
        batch = _sample(table, policy, seed).trajectories
        undecided = entropy(batch.policy_table)[batch.policy_row][batch.mask]
        out |= {f"degenerate{ending}": vitals(batch)["degenerate"], f"entropy{ending}": float(undecided.mean())}
    return out


def habits(table: TabularMDP, before: Policy, after: Policy, seed: int) -> dict[str, float]:
    """Rates of LOOP's habits in Apps: how often a documentation unread is read next, a record checked, a call repeated."""
    out: dict[str, float] = {}
    good = good_habits(table)
    for ending, policy in (("_before", before), ("", after)):
        sample = _sample(table, policy, seed)
        taken = sample.trajectories.mask.numpy()
        state, edge = sample.truth.state.numpy()[taken], sample.truth.edge.numpy()[taken]
        for name, flags in good.items():
            due = table.labels[f"{name}_action"][state] >= 0
            done = flags[edge[due]] & (edge[due] >= 0)
            out[f"{name}{ending}"] = float(done.mean()) if due.any() else float("nan")
    return out


def perception(table: TabularMDP, before: Policy, after: Policy, seed: int) -> dict[str, float]:
    """Charts: whether all key facts are stated right and the answer is, and McNemar's exact test of the former.

    The test runs over 50 problems that both policies solve once, as Perception-R1's authors do (arXiv 2506.07218):
    ``perception_shown`` is 1 where perception got better with p < 0.05.
    """
    out: dict[str, float] = {}
    right = []
    for ending, policy in (("_before", before), ("", after)):
        sample = _sample(table, policy, seed, groups=_PROBLEMS * _SIZE, size=1)
        final = sample.truth.final.numpy()
        number = table.labels["key_facts"][final]
        stated = table.labels["stated"][final] == (1 << number) - 1
        paid = sample.trajectories.returns.numpy() > 0.5
        right.append(stated[:_PROBLEMS])
        out |= {f"facts{ending}": float(stated.mean()), f"answers{ending}": float(paid.mean())}
        out[f"blind_answers{ending}"] = float(paid[~stated].mean()) if (~stated).any() else float("nan")
    gained, lost = int((right[1] & ~right[0]).sum()), int((right[0] & ~right[1]).sum())
    p = float(stats.binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0
    return out | {"p": p, "perception_shown": float(p < 0.05 and gained > lost)}


def repeats(table: TabularMDP, before: Policy, after: Policy, seed: int) -> dict[str, float]:
    """Steps of a rollout."""
    out: dict[str, float] = {}
    for ending, policy in (("_before", before), ("", after)):
        batch = _sample(table, policy, seed).trajectories
        out[f"length{ending}"] = float(batch.lengths.double().mean())
    return out


READINGS: Mapping[str, Callable[[TabularMDP, Policy, Policy, int], dict[str, float]]] = {
    "anchors": anchors,
    "habits": habits,
    "health": health,
    "perception": perception,
    "repeats": repeats,
}
"""Readings by name."""


def _sample(table: TabularMDP, policy: Policy, seed: int, groups: int = _GROUPS, size: int = _SIZE) -> Sample:
    return Sampler(table, policy, _LUCK + seed).groups(groups, size)
