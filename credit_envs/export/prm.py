"""JSON lines for process reward models, in the layouts of ProcessBench and of PRM800K.

A problem is what the player was shown first; a step is what it did then, after what it saw, so that no step tells its own
outcome.

ProcessBench (Zheng et al. 2024, arXiv:2412.06559; README of QwenLM/ProcessBench): ``id``, ``generator``, ``problem``,
``steps``, ``final_answer_correct`` and ``label``, the first step with an error, −1 if there is none.

PRM800K (Lightman et al. 2023, arXiv:2305.20050; README of openai/prm800k at 00811d6d): ``question.problem`` and, per step,
``completions``, each with a ``rating`` in −1, 0, 1, and which was chosen.

There people rated, here the oracle did; beside the fields of the layout stand the exact numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from credit_envs.export.labels import Labelled
from credit_envs.table.mdp import TabularMDP
from credit_envs.table.observer import Observer

_MOST_NAMES = 12


def texts(found: Labelled) -> list[list[str]]:
    """Returns what was seen at each step in words, by rollout."""
    batch = found.sample.trajectories
    obs = batch.obs.cpu().numpy()[found.mask]
    distinct, back = np.unique(obs, return_inverse=True)
    words = Observer(found.table, "text").rows(distinct)
    seen = iter(back.tolist())
    return [[str(words[next(seen)]) for _ in range(length)] for length in batch.lengths.tolist()]


def problem(table: TabularMDP, about: str, first: str) -> str:
    """Returns the problem: what it is about, how long it may last, and what is seen first."""
    lines = [about, f"At most {table.horizon} steps."]
    if table.n_actions <= _MOST_NAMES:
        lines.append(f"Actions: {', '.join(table.action_names)}.")
    return "\n".join([*(line for line in lines if line), first])


def steps(found: Labelled, rollout: int, seen: Sequence[str]) -> list[str]:
    """Returns the steps of a rollout in words."""
    actions = found.sample.trajectories.action[rollout].tolist()
    return [_step(found.table, t, words, actions[t]) for t, words in enumerate(seen)]


def _step(table: TabularMDP, t: int, seen: str, action: int) -> str:
    did = f"Action: {table.action_names[action]}"
    return did if t == 0 else f"{seen}\n{did}"


def processbench(
    found: Labelled, rollout: int, seen: Sequence[str], about: str, name: str, generator: str, **extra: Any
) -> dict[str, Any]:
    """Returns one rollout as a line of ProcessBench, with the exact labels of its steps.

    Args:
        found: the rollouts.
        rollout: which one.
        seen: its observations in words.
        about: the task in words.
        name: its id.
        generator: the policy that played.
        **extra: further fields.
    """
    batch, table, n = found.sample.trajectories, found.table, len(seen)

    def row(values: Any) -> list[Any]:
        return list(np.asarray(values)[rollout, :n].tolist())

    choices, number = found.choices, found.step_number[rollout, :n].tolist()
    best = [
        [
            table.action_names[choices.action[k]]
            for k in range(choices.start[i], choices.start[i + 1])
            if choices.regret[k] == 0
        ]
        for i in number
    ]
    return {
        "id": name,
        "generator": generator,
        "problem": problem(table, about, seen[0]),
        "steps": steps(found, rollout, seen),
        "final_answer_correct": bool(found.won[rollout]),
        "label": int(found.first_error[rollout]),
        "correct": [not error for error in row(found.error)],
        "rating": row(found.rating),
        "advantage": row(found.advantage),
        "value": row(found.value),
        "q": row(found.q),
        "luck": row(found.luck),
        "regret": row(found.regret),
        "optimal_value": row(found.optimal_value),
        "optimal_actions": best,
        "action": [table.action_names[a] for a in row(batch.action.cpu())],
        "anchor": row(batch.anchor.cpu()),
        "reward": row(batch.reward.cpu()),
        "return": float(batch.returns[rollout]),
        "group": int(batch.group[rollout]),
        **extra,
    }


def prm800k(
    found: Labelled, rollout: int, seen: Sequence[str], about: str, name: str, generator: str
) -> dict[str, Any]:
    """Returns one rollout as a line of PRM800K: every admissible action of every step rated. Arguments as above."""
    table, choices = found.table, found.choices
    actions = found.sample.trajectories.action[rollout].tolist()
    out = []
    for t, words in enumerate(seen):
        i = int(found.step_number[rollout, t])
        offered = range(choices.start[i], choices.start[i + 1])
        named = [int(choices.action[k]) for k in offered]
        completions = [
            {
                "text": _step(table, t, words, int(choices.action[k])),
                "rating": int(choices.rating[k]),
                "flagged": False,
                "advantage": float(choices.advantage[k]),
                "regret": float(choices.regret[k]),
            }
            for k in offered
        ]
        if actions[t] not in named:  # an inadmissible action was taken
            named.append(actions[t])
            completions.append(
                {
                    "text": _step(table, t, words, actions[t]),
                    "rating": int(found.rating[rollout, t]),
                    "flagged": False,
                    "advantage": float(found.advantage[rollout, t]),
                    "regret": float(found.regret[rollout, t]),
                }
            )
        chosen = named.index(actions[t])
        out.append({"completions": completions, "human_completion": None, "chosen_completion": chosen})
    reason = "solution" if found.won[rollout] else "found_error" if found.first_error[rollout] >= 0 else "give_up"
    question = {
        "problem": problem(table, about, seen[0]),
        "ground_truth_solution": None,
        "ground_truth_answer": None,
        "pre_generated_steps": steps(found, rollout, seen),
    }
    return {
        "id": name,
        "labeler": "oracle",
        "generator": generator,
        "question": question,
        "label": {"steps": out, "finish_reason": reason},
    }
