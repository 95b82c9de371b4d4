"""KLong: long rollouts split into overlapping windows, and a time limit that grows over the stages of training.

    python agents/klong.py --env credit/KeyRooms-v0 --seed 3 --device cpu

    window k covers steps k(L − O) … k(L − O) + L;   each window is a row with the rollout's score, centred in its group
    stage m of M: rollouts are cut off after H · m/M steps

The windows are for models with a context limit. A table sees one observation and forgets nothing, so for it windows only change
which steps are counted how often; the growing limit matters to any policy.

Left out: the pinned prefix, and the distilled start. Reconstruction: there is no official code.

Source: Liu et al. 2026, arXiv 2602.17547.
"""

from __future__ import annotations

import functools
import sys
from dataclasses import dataclass
from typing import Any

from credit_envs.credit.klong import klong as centred_score
from credit_envs.losses.ppo import ppo
from credit_envs.plans.klong import klong
from credit_envs.training import Options, Run, start


@dataclass
class Klong(Options):
    """Trains a policy with KLong.

    Attributes:
        stages: Time limits, from H/stages to H.
        window: Steps of a window (default: the plan's).
        overlap: Steps that windows share (default: the plan's).
        epochs: Updates per batch; from the second on, importance ratios are clipped.
        low: Ratios are clipped below 1 - low.
        high: Ratios are clipped above 1 + high.
    """

    stages: int = 3
    window: int | None = None
    overlap: int | None = None
    epochs: int = 1
    low: float = 0.2
    high: float = 0.2


def train(options: Klong) -> dict[str, Any]:
    """The whole loop."""
    run = Run("klong", options)
    clip = {"low": options.low, "high": options.high, "dual": None, "mode": "seq-mean-token-sum-norm"}
    clip["length"] = run.table.horizon
    while run.going():
        # the stage follows from what is spent, which a resumed run knows
        stage = min(options.stages, 1 + int(run.share * options.stages))
        cut = functools.partial(klong, window=options.window, overlap=options.overlap, limit=stage / options.stages)
        batch = run.groups(cut).trajectories
        credit = centred_score(batch)
        for _ in range(options.epochs):
            run.update(run.loss(ppo, batch, credit, **clip))
        run.next(batch)
    return run.finish()


if __name__ == "__main__":
    sys.exit(start(train, Klong))
