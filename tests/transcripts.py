"""Transcripts of optimal play with exact credit per step, as text that a person can read.

``CREDIT_ENVS_REGENERATE=1 pytest tests/test_families_*.py`` writes the goldens anew; look at the difference before keeping it.
"""

import os
from pathlib import Path

import numpy as np

from credit_envs import oracle
from credit_envs.faces.single import TabularEnv

GOLDENS = Path(__file__).parent / "goldens"


def transcript(table, seed=0, view="text", drawn=()):
    """Plays optimally once; ``drawn`` lists the steps at which the characters of the ``picture`` view are shown too."""
    best, even = oracle.optimal(table), oracle.evaluate(table, oracle.uniform(table))
    env = TabularEnv(table, view)
    picture = TabularEnv(table, "ansi") if drawn else None
    shown, _ = env.reset(seed=seed)
    lines = [
        f"{table.name}: optimal play, seed {seed}. J* = {best.J:.6f}, J of uniform play = {even.J:.6f}.",
        "V* is the value of optimal play; A is the exact advantage of the step taken, under uniform play.",
    ]
    total, over = 0.0, False
    while not over:
        t, state, code = env.t, env.state, env.snapshot().code
        edge = int(best.greedy(t)[state])
        first, count = int(table.edge_start[state]), int(table.n_admissible[state])
        shift = int(table.emission.shift[code]) if table.emission.layers else 0
        action = int(table.edge_action[first + (edge - first + shift) % count])
        credit = float(even.advantage_at(np.array(t), np.array(state), np.array(edge)))
        lines += ["", f"[{t}] {shown}"]
        if picture is not None and t in drawn:
            rows = picture._observer.rows(np.array([int(table.emission.base[state]) * table.emission.n_codes + code]))
            lines += ["    " + line for line in rows[0].splitlines() if line != shown]
        shown, reward, over, _, _ = env.step(action)
        total += reward
        value = float(best.V[t, state])
        numbers = f"reward {_number(reward)}   V* {_number(value)}   A {_number(credit)}"
        lines.append(f"  > {table.action_names[action]:<12} {numbers}")
    return "\n".join([*lines, "", f"[{env.t}] {shown}", f"Return {_number(total).strip()} after {env.t} steps.", ""])


def _number(value):
    """Fixed decimals, without a negative zero and without the last bits that differ between machines."""
    return f"{round(value, 4) + 0.0:+.4f}"


def check_golden(name, text):
    """Compares with the golden of that name, or writes it."""
    path = GOLDENS / f"{name}.txt"
    if os.environ.get("CREDIT_ENVS_REGENERATE"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == text
