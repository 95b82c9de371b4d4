"""How many environment steps per second a device samples, and samples with credit and updates, beside its floor.

    python baselines/throughput.py --device cuda
    python baselines/throughput.py --device cpu --rollouts 512 4096 32768

The floor of sampling is the time that the bytes of a step take at the rate that a copy on the same device reaches: every
column of the batch written once, one row of thresholds, one edge and one outcome read once. A policy over single observations
is a table, so with a network sampling costs the same, and the network is evaluated once per update on all observations.
Results: `baselines/throughput/DEVICE.json`, one record per row; `--docs docs` writes `docs/throughput.md` from all of
them.
"""

from __future__ import annotations

import json
import math
import platform
import re
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import tyro

from credit_envs.credit.gigpo import gigpo
from credit_envs.evaluation.config import provenance
from credit_envs.losses.ppo import ppo
from credit_envs.sampling.trajectories import Trajectories
from credit_envs.table.storage import write_atomically
from credit_envs.training import Options, Run

RESULTS = Path(__file__).parent / "throughput"
GROUP = 8
TARGETS = {"sampling tabular": 1e9, "sampling mlp": 1e8, "training tabular": 3e7, "training mlp": 3e7}
"""Environment steps per second that the project aims at on a card."""


@dataclass(frozen=True)
class Arguments:
    """Measures throughput.

    Attributes:
        env: Environment id.
        device: cpu or cuda.
        rollouts: Batch sizes, in rollouts; multiples of 8.
        seconds: About how long every row is measured.
        docs: Writes docs/throughput.md there from all results instead of measuring.
    """

    env: str = "credit/KeyRooms-v0?horizon=64"
    device: str = "cpu"
    rollouts: tuple[int, ...] = (512, 4096, 32768, 262144, 1048576)
    seconds: float = 1.0
    docs: Path | None = None


def name_of(device: str) -> str:
    """Returns what the device is called."""
    if device == "cuda":
        return torch.cuda.get_device_name()
    found = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text()) if sys.platform == "linux" else None
    return f"{found[1] if found else platform.processor()}, {torch.get_num_threads()} thread(s)"


def wait(device: str) -> None:
    """Waits until the device has done what it was told."""
    if device == "cuda":
        torch.cuda.synchronize()


def rate(work: Callable[[], int], device: str, seconds: float) -> float:
    """Returns steps per second of work that returns its steps: the best of at least three rounds, after a warm-up."""
    work()
    wait(device)
    best, until, rounds = 0.0, time.perf_counter() + seconds, 0
    while rounds < 3 or time.perf_counter() < until:
        began = time.perf_counter()
        steps = work()
        wait(device)
        best, rounds = max(best, steps / (time.perf_counter() - began)), rounds + 1
    return best


def bandwidth(device: str) -> float:
    """Returns bytes per second that a copy moves on the device, reads and writes counted."""
    a = torch.randint(0, 255, (1 << 28,), dtype=torch.uint8, device=device)
    b = torch.empty_like(a)

    def copy() -> int:
        b.copy_(a)
        return 2 * a.numel()

    return rate(copy, device, 0.5)


def bytes_per_step(run: Run, batch: Trajectories) -> int:
    """Returns the bytes that a sampled step must move at least."""
    columns = sum(v.element_size() for v in vars(batch).values() if torch.is_tensor(v) and v.shape == batch.mask.shape)
    truth, read = 3 * 8, 8 * run.table.n_actions + 4 * 8
    return columns + truth + read


def prepared(arguments: Arguments, policy: str, rollouts: int, folder: Path) -> Run:
    """Returns a run whose updates are never enough."""
    options = Options(
        env=arguments.env,
        policy=policy,
        groups=rollouts // GROUP,
        group_size=GROUP,
        budget=10**15,
        points=1,
        device=arguments.device,
        output=folder,
        quiet=True,
        tensorboard=False,
    )
    run = Run("gigpo", options)
    run.going()
    return run


def sampling(run: Run) -> int:
    """Lets the sampler follow the policy and draws the groups of one update; returns its steps."""
    before = run.meter.env_steps
    run.next()
    run.sampler.groups(run.options.groups, GROUP)
    return run.meter.env_steps - before


def training(run: Run) -> int:
    """Takes one update of GiGPO, as its agent does; returns its steps."""
    before = run.meter.env_steps
    batch = run.groups().trajectories
    credit = gigpo(batch)
    run.update(run.loss(ppo, batch, credit, mode="seq-mean-token-sum-norm", length=run.table.horizon, dual=None))
    run.next(batch)
    return run.meter.env_steps - before


def continuing(run: Run) -> Callable[[], int]:
    """Returns work that draws 8 continuations from steps of a batch; it returns their steps."""
    sample = run.sampler.groups(64, GROUP)
    rollout, step = torch.nonzero(sample.trajectories.mask, as_tuple=True)
    many = max(1, run.options.groups * GROUP // 8 // len(rollout))
    rollout, step = rollout.repeat(many)[: run.options.groups], step.repeat(many)[: run.options.groups]

    def work() -> int:
        before = run.meter.env_steps
        run.sampler.continuations(sample, rollout, step, 8)
        return run.meter.env_steps - before

    return work


def measure(arguments: Arguments) -> dict[str, Any]:
    """Returns one device's record."""
    device, copied = arguments.device, bandwidth(arguments.device)
    rows = []
    for policy in ("tabular", "mlp"):
        for rollouts in arguments.rollouts:
            with tempfile.TemporaryDirectory() as folder:
                run = prepared(arguments, policy, rollouts, Path(folder))
                batch = run.groups().trajectories
                moved, steps = bytes_per_step(run, batch), int(batch.mask.sum())
                del batch
                works = {"sampling": lambda run=run: sampling(run), "training": lambda run=run: training(run)}
                if policy == "tabular":
                    works["continuations"] = continuing(run)
                for what, work in works.items():
                    found = rate(work, device, arguments.seconds)
                    floor = copied / moved if what == "sampling" else None
                    rows.append(
                        {
                            "what": what,
                            "policy": policy,
                            "rollouts": rollouts,
                            "steps": steps,
                            "rate": found,
                            "floor": floor,
                        }
                    )
                    print(f"{what:14} {policy:8} {rollouts:8} rollouts {found:10.3g} steps/s", flush=True)
                del run, works
    return {
        "device": device,
        "name": name_of(device),
        "env": arguments.env,
        "bandwidth": copied,
        "bytes_per_step": moved,
        "provenance": provenance(),
        "torch": torch.__version__,
        "command": f"python baselines/throughput.py --device {device} --env '{arguments.env}'",
        "rows": rows,
    }


def figure(value: float | None) -> str:
    """Returns a number with two digits and a unit of thousands."""
    if not value:
        return "–"
    power = min(int(math.log10(value)) // 3, 4)
    return f"{value / 1000**power:.3g} {['', 'k', 'M', 'G', 'T'][power]}".strip()


SAID = """What it says:

* Sampling is one kernel (`credit_envs/sampling/walk_kernel.py`), compiled for the CPU by numba and for a card by numba-cuda
  from the same source; draws are integers, so a card walks the same rollouts, to the bit (`tests/test_walk.py`).
* An update on the card takes about 10 ms however small it is: the launches of its kernels. It trains as fast as one CPU core at
  about 400 rollouts at once, ten times as fast at 4,096 and near 300 times at a million. The agents here train on 128 rollouts
  per learner; for those a CPU core is the better machine.
* Trained on the card, ten cells of `credit-envs compare --device cuda --seeds 20` (KeyRooms and Shop) gave the very curves that
  are kept from a CPU. That is no promise: sums on a card depend on their order, and a resumed run there is equal to rounding
  only (`tests/test_cuda.py`).
"""


def page() -> str:
    """Returns docs/throughput.md from all results."""
    made = "Generated by `python baselines/throughput.py --docs docs` from `baselines/throughput/*.json`.\n"
    floor = str(__doc__).split("\n\n")[2]
    out = ["# Throughput\n", made, floor.split("\nResults:")[0] + "\n", SAID]
    for path in sorted(RESULTS.glob("*.json"), reverse=True):
        found = json.loads(path.read_text())
        cells = {(row["what"], row["policy"], row["rollouts"]): row for row in found["rows"]}
        columns = list(dict.fromkeys((row["what"], row["policy"]) for row in found["rows"]))
        head = ["rollouts at once", *(f"{what}, {policy}" for what, policy in columns)]
        out += [
            f"## {found['name']}\n",
            f"`{found['command']}`, torch {found['torch']}. A copy moves {figure(found['bandwidth'])}B/s; a sampled step moves "
            f"at least {found['bytes_per_step']} bytes. Environment steps per second, the best of at least three rounds; in "
            "brackets the share of the floor's rate:\n",
            f"| {' | '.join(head)} |",
            "| --- " * len(head) + "|",
        ]
        for rollouts in dict.fromkeys(row["rollouts"] for row in found["rows"]):
            shown = [f"{rollouts:,}"]
            for what, policy in columns:
                row = cells.get((what, policy, rollouts))
                share = f" ({row['rate'] / row['floor']:.2g})" if row and row["floor"] else ""
                shown.append(f"{figure(row['rate'] if row else None)}{share}")
            out.append(f"| {' | '.join(shown)} |")
        if found["device"] == "cuda":
            best = {
                key: max(row["rate"] for row in found["rows"] if f"{row['what']} {row['policy']}" == key)
                for key in TARGETS
            }
            told = [f"{key} {figure(best[key])} (aim {figure(aim)})" for key, aim in TARGETS.items()]
            out.append(f"\nBest: {'; '.join(told)}.")
        out.append("")
    return "\n".join(out)


def main() -> int:
    """Runs the command."""
    arguments = tyro.cli(Arguments, description=__doc__)
    if arguments.docs is not None:
        write_atomically(arguments.docs / "throughput.md", page().encode())
        return 0
    found = measure(arguments)
    slug = re.sub(r"[^a-z0-9]+", "-", found["name"].lower()).strip("-")
    path = RESULTS / f"{slug}.json"
    write_atomically(path, (json.dumps(found, indent=1) + "\n").encode())
    print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
