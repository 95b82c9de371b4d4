"""One training run: what surrounds the loop that an agent's file shows. It samples, updates, measures, keeps and resumes.

    run = Run("gigpo", options)
    while run.going():
        sample = run.groups()
        credit = gigpo(sample.trajectories)
        run.update(run.loss(reinforce, sample.trajectories, credit))
        run.next(sample.trajectories)
    run.finish()

Everything that a batch depends on is the policy and a few counters, so a run that is killed and resumed from its last
checkpoint gives the same result, to the bit on one device and version, as one that was not.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from credit_envs import policies
from credit_envs.errors import CreditEnvsError
from credit_envs.evaluation.config import provenance
from credit_envs.evaluation.providers import Provided
from credit_envs.oracle.control import optimal
from credit_envs.oracle.evaluation import expected_return
from credit_envs.oracle.policy import Policy as TabularPolicy
from credit_envs.oracle.policy import uniform
from credit_envs.policies import MemoryPolicy, Policy, make_policy
from credit_envs.recipes.recipe import Recipe
from credit_envs.registry import make_table, parse
from credit_envs.sampling.draws import judge_luck
from credit_envs.sampling.statistics import compact
from credit_envs.sampling.trajectories import Meter, Sample, Trajectories, stack
from credit_envs.table.mdp import TabularMDP
from credit_envs.table.storage import write_atomically
from credit_envs.training import checkpoint
from credit_envs.training.account import Account
from credit_envs.training.alarms import Alarms, norms_of, vitals
from credit_envs.training.learners import Learners, simulate
from credit_envs.training.options import Options
from credit_envs.training.reporters import Reporters

_KEPT_EVERY_SECONDS = 20.0
_SOLVED = 0.9
_SIMULATION = 1 << 44
_NOT_PART = {"output", "resume", "tensorboard", "wandb", "quiet", "device"}


class Run:
    """A training run.

    Args:
        name: name of the agent.
        options: see :class:`~credit_envs.training.options.Options`.
        table: the environment (default: what ``options.env`` names).
        policy: the policy to train (default: what ``options.policy`` names), such as a language model.

    Attributes:
        policy: the policy, to be updated by :meth:`update`.
        sampler: draws samples under the policy as it was after the last update.
        meter: environment steps and policy calls so far, of all learners.
        account: what each learner has spent of its budget, and its curve.

    Raises:
        CreditEnvsError: for bad options, and for a folder that holds another run.
    """

    def __init__(
        self,
        name: str,
        options: Options,
        table: TabularMDP | None = None,
        policy: policies.Policy | MemoryPolicy | None = None,
    ) -> None:
        options.check()
        self.name, self.options = name, options
        self.table = make_table(options.env) if table is None else table
        if policy is None:
            shown = parse(options.env)[0].observation if table is None else None
            policy = make_policy(options.policy, self.table, options.learners, options.seed, options.view, shown)
        self.policy = policy.to(options.device)
        self.optimizer = torch.optim.Adam(self.policy.parameters(), lr=options.rate)
        player = self.policy.table() if isinstance(self.policy, Policy) else self.policy
        self._played = player if isinstance(player, Tensor) else None
        self.sampler = Learners(self.table, player, options.learners, options.seed, options.device)
        self.updates = 0
        self._models: dict[str, nn.Module] = {}
        self._error: Any = None
        self._parted: tuple[Trajectories, list[tuple[Tensor, Trajectories]]] | None = None
        self._vitals: dict[str, float] = {"grad_norm": 0.0}
        self._alarms = Alarms()
        self._base = float(expected_return(self.table, uniform(self.table)))
        self._best = float(optimal(self.table).J)
        self.account = Account(self.sampler, options.budget, options.points, self._base, self._best)
        short = options.env.removeprefix("credit/").replace("?", "-").replace("&", "-")
        self.folder = options.output or Path("runs") / f"{name}-{short}-{options.seed}"
        self._reporters: Reporters | None = None
        self._kept_at = time.monotonic()
        self._began = False

    # -- the loop --------------------------------------------------------------------------------------------------

    def require(self, recipe: Recipe) -> None:
        """Raises CreditEnvsError if the environment lacks what a recipe reads."""
        if (lacking := recipe.missing(self.table)) is not None:
            raise CreditEnvsError(f"env={self.options.env!r}: {lacking}")

    def register(self, name: str, model: nn.Module) -> None:
        """Makes a further model (a critic, a reward model) part of checkpoints; before the first :meth:`going`."""
        self._models[name] = model

    def going(self) -> bool:
        """Returns whether the loop goes on; measures, reports and keeps on the way, and resumes on the first call."""
        if not self._began:
            self._begin()
        self._measure()
        share = self.account.share
        self._report(share)
        if share >= 1:
            return False
        if time.monotonic() - self._kept_at > _KEPT_EVERY_SECONDS:
            self._keep()
        return True

    def groups(self, plan: Callable[..., Sample] | None = None) -> Sample:
        """Draws the groups of one update, ``options.groups`` for every learner still below its budget, by a rollout plan.

        Args:
            plan: ``plan(sampler, groups, group_size)`` (default: independent rollouts).
        """
        total, size = self.options.groups * len(self.sampler.going), self.options.group_size
        sample = self.sampler.groups(total, size) if plan is None else plan(self.sampler, total, size)
        self._vitals.update(vitals(sample.trajectories))
        self.account.charge(sample.trajectories)
        return sample

    @property
    def share(self) -> float:
        """Share of the budget that every learner has spent, in [0, 1]."""
        return min(1.0, self.account.share)

    def alone(self, plan: Callable[..., Sample]) -> Callable[..., Sample]:
        """Returns a plan by which each learner draws as if it were alone, for plans that compare or count groups."""

        def each(sampler: Learners, groups: int, size: int) -> Sample:
            everyone, drawn = sampler.going, list[Sample]()
            first = tree = 0
            for learner in everyone:
                sampler.going = learner[None]
                try:
                    own = plan(sampler, groups // len(everyone), size)
                finally:
                    sampler.going = everyone
                batch = own.trajectories
                drawn.append(Sample(batch.replace(group=batch.group + first, tree=batch.tree + tree), own.truth))
                first, tree = first + batch.n_groups, tree + batch.n_trees
            return stack(drawn)

        return each

    def provided(self, sample: Sample) -> Provided:
        """Returns what a piece may ask for beyond the batch, metered."""
        return Provided(self.sampler, sample, noise=self.noise)

    def each(self, sample: Sample) -> Iterator[tuple[Tensor, Sample, Provided]]:
        """Yields what each learner would see if it were alone: its rows int64 ``[n]``, its sample, and what it may ask for.

        Whatever is sampled meanwhile is that learner's.
        """
        everyone = self.sampler.going
        for learner, index in self._rows(sample.trajectories):
            own = sample.rows(index)
            self.sampler.going = torch.tensor([learner], device=everyone.device)
            try:
                own = Sample(_renumbered(own.trajectories), own.truth)
                yield index, own, Provided(self.sampler, own, noise=self.noise)
            finally:
                self.sampler.going = everyone

    def noise(self, salt: int, *shape: int) -> Tensor:
        """Draws luck of judges and masks, uniform float64 in [0, 1): new in every update, in :meth:`each` a learner's own."""
        learner = self.sampler.going[0]
        return judge_luck(self.options.seed, learner, torch.full_like(learner, self.updates), salt, *shape)

    def apart(self, batch: Trajectories, credit: Callable[[Trajectories], Tensor]) -> Tensor:
        """Computes credit learner by learner, for estimators that take statistics over the whole batch; ``[N, T]``."""
        if self.options.learners == 1:
            return credit(batch)
        out, each = torch.zeros_like(batch.reward), self.table.n_obs
        tabulated = isinstance(self.policy, Policy)
        for index, own in self._parts(batch):
            if tabulated:  # a learner alone would have a policy's table of its own, and no other's rows to sum over
                first = int(self.sampler.owner(own.context[0])) * each
                rows = torch.where(own.mask, own.policy_row - first, 0)
                own = own.replace(policy_table=batch.policy_table[first : first + each], policy_row=rows)
            out[index] = credit(own)
        return out

    def loss(self, loss: Callable[..., Tensor], batch: Trajectories, credit: Tensor, **options: Any) -> Tensor:
        """Returns the mean over learners of each one's loss on its own rollouts, a scalar with gradient.

        Args:
            loss: ``loss(log_prob, batch, credit, **options)``, see :mod:`credit_envs.losses`.
            batch: the rollouts.
            credit: float64 ``[N, T]``.
            **options: of the loss.
        """
        log_prob = self.policy.log_prob(batch)
        if self.options.learners == 1:
            return loss(log_prob, batch, credit, **options)
        parts = self._parts(batch)
        every = [loss(log_prob[index], own, credit[index], **options) for index, own in parts]
        return torch.stack(every).sum() / len(self.sampler.going) if every else log_prob.sum() * 0

    def update(self, loss: Tensor) -> None:
        """Takes one step of the optimiser.

        Args:
            loss: scalar, a mean over learners as :meth:`loss` returns it; each one's part counts as if it were alone.

        Raises:
            CreditEnvsError: if the loss or a gradient is not a number; the last good checkpoint stays.
        """
        learners, going = self.options.learners, self.sampler.going
        self.optimizer.zero_grad(set_to_none=True)
        if loss.requires_grad:
            (loss * len(going)).backward()  # type: ignore[no-untyped-call]
        gradients = [p.grad for p in self.policy.parameters() if p.grad is not None]
        if gradients:
            norms = norms_of(gradients, learners)
            if not bool(torch.isfinite(norms).all()) or not bool(torch.isfinite(loss)):
                step = float(self.account.spent.mean())
                raise CreditEnvsError(
                    f"{self.name}: diverged at update {self.updates} (environment step {step:,.0f}): "
                    f"loss {float(loss.detach()):g}; the last good checkpoint is {self._path}"
                )
            scale = (self.options.max_grad_norm / norms).clamp(max=1.0)
            if bool((scale < 1).any()):
                for gradient in gradients:
                    shape = (learners, *(1 for _ in range(gradient.reshape(learners, -1).ndim - 1)))
                    gradient.view(learners, -1).mul_(scale.view(shape).to(gradient.dtype))
            self._vitals["grad_norm"] = float(norms[going].mean())
            self.optimizer.step()

    def next(self, batch: Trajectories | None = None) -> None:
        """Ends an update: the sampler follows the policy, what was spent is charged, alarms are raised.

        Learners that have spent their budget leave: they draw no more rollouts, and their policies stay.

        Args:
            batch: the batch that was trained on (for its entropy).
        """
        self._follow()
        self.updates += 1
        if batch is not None:
            with torch.no_grad():
                entropy = self.policy.entropy(batch)[batch.mask]
            self._vitals["entropy"] = float(entropy.mean()) if entropy.numel() else 0.0
            self.account.charge(batch)
            self._retire()
            solved = bool(np.nanmean(self.account.latest) > _SOLVED)
            for text in self._alarms.watch(self.updates, self._vitals, solved):
                self._say(f"alarm at update {self.updates}: {text}")

    def finish(self) -> dict[str, Any]:
        """Writes the last checkpoint and ``result.json``; returns what it holds."""
        self._keep()
        result = {
            "agent": self.name,
            "env": self.options.env,
            "table": self.table.name,
            "fingerprint": self.table.fingerprint,
            "options": self._settings(),
            "provenance": provenance(),
            "J_uniform": self._base,
            "J_optimal": self._best,
            "updates": self.updates,
            "meter": dataclasses.asdict(self.sampler.meter),
            "alarms": self._alarms.raised,
            "curve": self.account.curve,
        }
        write_atomically(self.folder / "result.json", json.dumps(result).encode())
        if self._reporters is not None:
            self._reporters.close()
        return {**result, "folder": str(self.folder)}

    # -- what the loop does not show ----------------------------------------------------------------------------------

    @property
    def meter(self) -> Meter:
        """What sampling has cost so far, all learners together."""
        return self.sampler.meter

    @property
    def _path(self) -> Path:
        return self.folder / "checkpoint.safetensors"

    def _settings(self) -> dict[str, Any]:
        given = dataclasses.asdict(self.options)
        return {name: value for name, value in given.items() if name not in _NOT_PART}

    def _identity(self) -> dict[str, Any]:
        return {
            "agent": self.name,
            "fingerprint": self.table.fingerprint,
            "version": provenance()["credit_envs"],
            "options": json.loads(json.dumps(self._settings())),
        }

    def _begin(self) -> None:
        self._began = True
        self.folder.mkdir(parents=True, exist_ok=True)
        if self._path.is_file():
            if self.options.resume:
                self._restore()
        elif (self.folder / "result.json").is_file():
            raise CreditEnvsError(
                f"output={str(self.folder)!r}: holds results without a checkpoint; choose another folder"
            )
        self._reporters = Reporters(self.name, self.folder, self.options)

    def _rows(self, batch: Trajectories) -> Iterator[tuple[int, Tensor]]:
        """Yields each learner that has rows in the batch, with their numbers int64 ``[n]``."""
        owner = self.sampler.owner(batch.context)
        for learner in self.sampler.going.tolist():
            index = torch.nonzero(owner == learner).squeeze(1)
            if len(index):
                yield learner, index

    def _parts(self, batch: Trajectories) -> list[tuple[Tensor, Trajectories]]:
        """Returns each learner's rows and its own batch; remembered while one batch is trained on."""
        if self._parted is None or self._parted[0] is not batch:
            self._parted = batch, [(index, _renumbered(batch.rows(index))) for _, index in self._rows(batch)]
        return self._parted[1]

    def _retire(self) -> None:
        """Lets learners that have spent their budget rest; without momentum the optimiser leaves them alone."""
        left = self.account.retire()
        if len(left):
            learners = self.options.learners
            for moments in self.optimizer.state.values():
                moments["exp_avg"].view(learners, -1)[left] = 0

    def _measure(self) -> None:
        """Adds points to the curve: the return of every learner that has passed the next mark of the budget.

        It is exact, or with memory an average with half a 95 % interval beside it (``error``).
        """
        if due := self.account.due():
            about = {"update": self.updates, **self._vitals}
            returns = self.returns(due)
            self.account.add(due, returns, about, None if self._error is None else self._error[due])

    def returns(self, learners: Sequence[int] | None = None) -> Any:
        """Returns the expected return of learners' policies (default: of all), float64 ``[n]``, as the sampler plays them.

        It is exact for policies without memory; with memory it is simulated apart from training, on luck of its own.
        """
        chosen = list(range(self.options.learners)) if learners is None else list(learners)
        if not isinstance(self.policy, Policy):
            o, luck = self.options, self.options.seed + _SIMULATION * (1 + self.updates)
            found = simulate(self.table, self.policy, o.learners, o.rollouts, luck, o.device)
            self._error = found.error.numpy()
            return found.mean.numpy()[chosen]
        assert self._played is not None
        probability = self._played.cpu().numpy().reshape(self.options.learners, self.table.n_obs, -1)
        return np.array([expected_return(self.table, TabularPolicy("obs", probability[k])) for k in chosen])

    def _follow(self) -> None:
        """Lets the sampler follow the policy."""
        self._played = self.policy.table() if isinstance(self.policy, Policy) else None
        self.sampler.follow(self._played)

    def _report(self, share: float) -> None:
        if self._reporters is not None and self.account.curve:
            now = {**self._vitals, "normalised": float(np.nanmean(self.account.latest))}
            self._reporters.tell(min(share, 1.0), float(self.account.spent.mean()), now)

    def _say(self, text: str) -> None:
        if self._reporters is not None:
            self._reporters.say(text)

    def _tensors(self) -> dict[str, Tensor]:
        out = {f"policy.{name}": value for name, value in self.policy.state_dict().items()}
        for model, module in self._models.items():
            out |= {f"{model}.{name}": value for name, value in module.state_dict().items()}
        for number, moments in self.optimizer.state_dict()["state"].items():
            out |= {f"optimizer.{number}.{name}": torch.as_tensor(value) for name, value in moments.items()}
        return out

    def _keep(self) -> None:
        state = {
            **self._identity(),
            "updates": self.updates,
            **self.account.state(),
            "reading": self.sampler.reading(),
            "vitals": self._vitals,
            "alarms": dataclasses.asdict(self._alarms),
        }
        checkpoint.save(self._path, self._tensors(), state)
        self._kept_at = time.monotonic()

    def _restore(self) -> None:
        tensors, state = checkpoint.load(self._path)
        checkpoint.check_same(self._path, state, self._identity())
        for prefix, module in {"policy": self.policy, **self._models}.items():
            module.load_state_dict(part(tensors, f"{prefix}."))
        moments: dict[int, dict[str, Tensor]] = {}
        for name, value in part(tensors, "optimizer.").items():
            number, key = name.split(".", 1)
            moments.setdefault(int(number), {})[key] = value
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": moments})
        self.updates, self._vitals = state["updates"], state["vitals"]
        self._alarms = Alarms(**state["alarms"])
        self.sampler.restore_reading(state["reading"])
        self.account.restore(state)
        self._follow()


def _renumbered(batch: Trajectories) -> Trajectories:
    """Numbers groups and trees without gaps."""
    return batch.replace(group=compact(batch.group)[0], tree=compact(batch.tree)[0])


def part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Returns the tensors whose names start with a prefix, without it."""
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
