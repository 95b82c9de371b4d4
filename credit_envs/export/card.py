"""The data set card: YAML front matter that hubs read, and what people should know before they use the data."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from credit_envs.export.labels import Labelled

_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))

_FIELDS = """| field | what it is |
| --- | --- |
| `problem`, `steps` | the task as first seen; per step what was seen before it (from the second on) and the action |
| `label` | first step that is an error, −1 if none is |
| `final_answer_correct` | the episode ended by an outcome that earns as much as any that ends one |
| `correct`, `rating` | per step: no error; −1 error, 1 better than the policy's average, 0 else |
| `advantage`, `value`, `q` | exact A, V, Q at that step of the policy that played |
| `luck` | what the dynamics drew beyond expectation: r + γV' − Q |
| `regret`, `optimal_value`, `optimal_actions` | V* − Q*, V*, and the actions without regret |
| `anchor` | number of the observation as identity rules see it, within its instance |
| `group`, `instance`, `reward`, `return`, `action` | where the rollout belongs, and what was paid and done |"""


def statistics(parts: Sequence[tuple[Labelled, Sequence[int], int]]) -> dict[str, Any]:
    """Returns the figures of one split: counts, and means over rollouts or over steps."""
    rows = [(found, np.asarray(chosen)) for found, chosen, _ in parts]

    def per_step(name: str) -> Any:
        return np.concatenate([getattr(found, name)[i][found.mask[i]] for found, i in rows])

    returns = np.concatenate([found.sample.trajectories.returns.cpu().numpy()[i] for found, i in rows])
    won = np.concatenate([found.won[i] for found, i in rows])
    first = np.concatenate([found.first_error[i] for found, i in rows])
    lengths = np.concatenate([found.mask[i].sum(axis=1) for found, i in rows])
    rating = per_step("rating")
    return {
        "rollouts": len(won),
        "steps": int(lengths.sum()),
        "steps_per_rollout": float(lengths.mean()),
        "return": float(returns.mean()),
        "won": float(won.mean()),
        "with_an_error": float((first >= 0).mean()),
        "won_in_spite_of_an_error": float((won & (first >= 0)).mean()),
        "lost_without_an_error": float((~won & (first < 0)).mean()),
        "first_error_at_step": float(first[first >= 0].mean()) if (first >= 0).any() else None,
        "steps_in_error": float((rating < 0).mean()),
        "steps_rated_1": float((rating > 0).mean()),
        "advantage_rms": float(np.sqrt((per_step("advantage") ** 2).mean())),
        "luck_rms": float(np.sqrt((per_step("luck") ** 2).mean())),
    }


def text(about: dict[str, Any]) -> str:
    """Returns the card of an export, from what ``export.json`` says."""
    config, splits = about["config"], about["splits"]
    total = sum(split["rollouts"] for split in splits.values())
    return "\n".join([*_front(config, splits, total), "", *_body(about, total)]) + "\n"


def _front(config: dict[str, Any], splits: dict[str, Any], total: int) -> list[str]:
    size = next((name for most, name in _SIZES if total < most), "n>1M")
    lines = [
        "---",
        "license: mit",
        "language: [en]",
        f"pretty_name: {json.dumps('Exact step labels: ' + config['environment'])}",
        f"size_categories: [{size}]",
        "task_categories: [reinforcement-learning, token-classification]",
        "tags: [process-reward-model, credit-assignment, credit_envs]",
    ]
    layouts = [layout for layout in ("processbench", "prm800k") if layout in config["formats"]]
    if layouts:
        lines.append("configs:")
    for layout in layouts:
        lines += [f"- config_name: {layout}", "  data_files:"]
        lines += [part for split in splits for part in (f"  - split: {split}", f"    path: {layout}/{split}.jsonl")]
    return [*lines, "---"]


def _body(about: dict[str, Any], total: int) -> list[str]:
    config = about["config"]
    instances, splits = about["instances"], about["splits"]
    ladder = np.array([one["J"] for one in instances.values()])
    mean = ladder.mean(axis=0)
    tolerance = f"more than {config['tolerance']:g}" if config["tolerance"] else "anything"
    rows = {
        "rollouts": ("rollouts", "{:,}"),
        "steps": ("steps", "{:,}"),
        "steps_per_rollout": ("steps per rollout", "{:.2f}"),
        "return": ("mean return", "{:.4f}"),
        "won": ("won", "{:.1%}"),
        "with_an_error": ("with an error", "{:.1%}"),
        "won_in_spite_of_an_error": ("won in spite of one", "{:.1%}"),
        "lost_without_an_error": ("lost without one", "{:.1%}"),
        "first_error_at_step": ("first error at step (from 0)", "{:.2f}"),
        "steps_in_error": ("steps that are errors", "{:.1%}"),
        "steps_rated_1": ("steps rated 1", "{:.1%}"),
        "advantage_rms": ("root mean square of the advantage", "{:.4f}"),
        "luck_rms": ("root mean square of luck", "{:.4f}"),
    }
    lines = [
        f"# Exact step labels: {config['environment']}",
        "",
        f"{about['environment']} {total:,} rollouts in which every step carries its exact credit, computed by dynamic "
        "programming on the environment's table: no step was labelled by a person, a model or by sampling.",
        "",
        "## How it was made",
        "",
        "```bash",
        about["command"],
        "```",
        "",
        f"The policy that played is `{config['policy']}`: exact expected return {mean[0]:.6g}, where uniform play gets "
        f"{mean[1]:.6g} and perfect play {mean[2]:.6g}{' (means over instances)' if len(ladder) > 1 else ''}. "
        f"{config['groups']} groups of {config['group_size']} rollouts per instance; rollouts of a group begin in the same "
        f"place. Seed {config['seed']}; the same command gives the same data. Versions: "
        f"{', '.join(f'{name} {version}' for name, version in about['versions'].items())}.",
        "",
        "A step is an error where perfect play from then on is worth less than before, by "
        f"{tolerance}. So an error is judged by what is still possible, not by what the policy would make of it; `advantage` "
        "judges by the latter.",
        "",
        "| instance | fingerprint of the table |",
        "| --- | --- |",
        *(f"| {name} | `{one['fingerprint']}` |" for name, one in instances.items()),
        "",
        "## What is in it",
        "",
        f"| | {' | '.join(splits)} |",
        f"| --- |{' ---: |' * len(splits)}",
    ]
    for key, (name, form) in rows.items():
        cells = ["–" if split[key] is None else form.format(split[key]) for split in splits.values()]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    lines.append("")
    if "processbench" in config["formats"]:
        lines += [
            "`processbench/SPLIT.jsonl` has ProcessBench's fields, and the exact ones beside them:",
            "",
            _FIELDS,
            "",
        ]
    if "prm800k" in config["formats"]:
        lines += [
            "`prm800k/SPLIT.jsonl` has PRM800K's layout: at each step every admissible action as a completion with its "
            "rating (and `advantage`, `regret`), and which one was chosen.",
            "",
        ]
    if "minari" in config["formats"]:
        lines += [
            "`minari/` holds one Minari data set per split: point `MINARI_DATASETS_PATH` there. The same labels stand in "
            "`infos`, one per step. Numbers of actions and anchors mean what they do in their own instance.",
            "",
        ]
    lines += [
        "## Limits",
        "",
        "* Synthetic worlds with few words: a reward model that does well here has shown that it can follow these rules, "
        "not that it reasons in general.",
        "* Labels are exact for this table and horizon. With chance in the world a rollout can be lost without an error "
        "and won in spite of one; how often, the table above says.",
        "* Actions with the same regret are equally right here, even if one takes longer, unless time is paid for.",
        f"* {_split_note(config)}",
        "* The observation after the last step is shown (in the Minari data) under the last step's emission code.",
        "",
        "Licence: MIT.",
    ]
    return lines


def _split_note(config: dict[str, Any]) -> str:
    if config["instances"] > 1:
        return "Splits share no instance, but all instances come from one family, so its rules are the same everywhere."
    return "All splits come from one instance: they share states and texts. Export several instances to test generalisation."
