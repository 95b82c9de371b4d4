"""Options that every agent has; each agent's own come on top, in its file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from credit_envs.errors import check_range, unknown
from credit_envs.policies import KINDS
from credit_envs.sampling.device import checked_device


@dataclass
class Options:
    """What to train on, for how long, and where to keep it.

    Attributes:
        env: Id of the environment, with or without knobs (ID?NAME=VALUE&NAME=VALUE).
        seed: Seed of all luck; each learner draws its own.
        learners: Independent learners trained at once, each on its own samples.
        budget: Environment steps per learner, everything metered.
        groups: Groups per update and learner.
        group_size: Rollouts per group.
        policy: Kind of policy, see credit_envs.policies.KINDS.
        view: View that a network reads, such as grid, text, both (default: what suits the environment).
        lr: Learning rate of Adam (default: 0.1 for a table of logits, 0.002 for networks).
        max_grad_norm: Bound on the norm of each learner's gradient.
        points: Exact evaluations along the way, evenly spaced in environment steps.
        rollouts: Rollouts per evaluation of a policy with memory, which has no exact return; not charged.
        device: cpu or cuda.
        output: Folder of the run (default: runs/NAME-ENV-SEED).
        resume: Go on from the checkpoint in the folder, if there is one.
        tensorboard: Write TensorBoard event files, if TensorBoard is installed.
        wandb: Report to Weights & Biases.
        quiet: No progress bar.
    """

    env: str = "credit/KeyRooms-v0"
    seed: int = 0
    learners: int = 1
    budget: int = 1_000_000
    groups: int = 16
    group_size: int = 8
    policy: str = "tabular"
    view: str | None = None
    lr: float | None = None
    max_grad_norm: float = 1e9
    points: int = 40
    rollouts: int = 512
    device: str = "cpu"
    output: Path | None = None
    resume: bool = True
    tensorboard: bool = True
    wandb: bool = False
    quiet: bool = False

    @property
    def rate(self) -> float:
        """Learning rate of Adam."""
        if self.lr is not None:
            return self.lr
        return 0.1 if self.policy == "tabular" else 0.002

    def check(self) -> None:
        """Checks ranges before any work starts.

        Raises:
            CreditEnvsError: naming the first option that is out of range.
        """
        check_range("seed", self.seed, 0, 1 << 40, integer=True)
        check_range("learners", self.learners, 1, 4096, integer=True)
        check_range("budget", self.budget, 1, 1e15, integer=True)
        check_range("groups", self.groups, 1, 1e6, integer=True)
        check_range("group_size", self.group_size, 1, 1e6, integer=True)
        check_range("lr", self.rate, 0, 1e6, open_low=True)
        check_range("max_grad_norm", self.max_grad_norm, 0, 1e300, open_low=True)
        check_range("points", self.points, 1, 1e5, integer=True)
        check_range("rollouts", self.rollouts, 2, 1e7, integer=True)
        if self.policy not in KINDS:
            raise unknown("policy", self.policy, KINDS)
        checked_device(self.device)
