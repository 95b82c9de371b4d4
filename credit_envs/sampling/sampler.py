"""The metered sampler: groups of rollouts from one start, and continuations from inside them."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from credit_envs.errors import CreditEnvsError, check_range
from credit_envs.oracle.policy import PolicyLike, as_policy
from credit_envs.sampling.device import DevicePolicy, DeviceTable
from credit_envs.sampling.draws import draws, mix_words, select_segment, streams
from credit_envs.sampling.search import SearchResult, search
from credit_envs.sampling.search_trees import Fold
from credit_envs.sampling.stepping import History, Play, Remembering, Stepper
from credit_envs.sampling.trajectories import Meter, Sample, Trajectories, Truth, numbered
from credit_envs.sampling.walk import Lanes, Steps, returns, walk
from credit_envs.table.draws import EPISODE, Purpose
from credit_envs.table.mdp import TabularMDP

_MAX_LANES = 1 << 17
RESTORE = ("free", "replay", "none")


class Sampler:
    """Samples from a table under a policy; every environment step and policy evaluation is metered.

    Args:
        table: the table.
        policy: see :data:`~credit_envs.oracle.policy.PolicyLike`, or a policy with memory on the same device.
        seed: first word of every random key; equal seeds give equal samples, on every device.
        device: ``cpu`` or ``cuda``.
        restore: what entering a stored state costs: ``free``, ``replay`` (its prefix, in environment steps) or ``none``
            (impossible).

    Raises:
        CreditEnvsError: for malformed arguments.
    """

    def __init__(
        self,
        table: TabularMDP,
        policy: PolicyLike | Remembering,
        seed: int = 0,
        device: str | torch.device = "cpu",
        restore: str = "free",
    ) -> None:
        if restore not in RESTORE:
            raise CreditEnvsError(f"restore={restore!r}: expected one of {RESTORE}")
        self.table, self.seed, self.restore = table, seed, restore
        self.dynamics = DeviceTable(table, device)
        self.policy: DevicePolicy | Stepper
        if isinstance(policy, Remembering):
            self.policy = Stepper(self.dynamics, policy)
        else:
            self.policy = DevicePolicy(self.dynamics, as_policy(table, policy))
        self.meter = Meter()
        self._groups = self._rollouts = self._branches = self._nodes = self._searches = 0
        self._folds: dict[int, Fold] = {}

    def follow(self, probability: Tensor | None) -> None:
        """Changes the policy's probabilities, float64 ``[rows, A]`` on the sampler's device; counters go on.

        A policy with memory is read anew whenever episodes begin and needs nothing (None).
        """
        if probability is not None:
            self.policy.follow(probability)
        self._folds.clear()

    @property
    def branch_words(self) -> int:
        """Branch word that the next fork takes; with seed, context and rollout it names all luck of what follows."""
        return 1 + self._branches

    # -- groups ----------------------------------------------------------------------------------------------------

    def groups(self, n_groups: int, group_size: int, context: Tensor | None = None, limit: int | None = None) -> Sample:
        """Samples groups: each draws one context, and ``group_size`` independent rollouts of it.

        Args:
            n_groups: number of groups.
            group_size: rollouts per group.
            context: int64 ``[n_groups]``, the contexts (default: drawn).
            limit: steps after which rollouts are cut off, as if the horizon were there (default: the table's).

        Returns:
            ``n_groups · group_size`` rollouts; groups are numbered from 0, rollouts of a group are adjacent.
        """
        check_range("n_groups", n_groups, 1, 1 << 40, integer=True)
        check_range("group_size", group_size, 1, 1 << 30, integer=True)
        if limit is not None:
            check_range("limit", limit, 1, self.table.horizon, integer=True)
        d, device = self.dynamics, self.dynamics.device
        number = torch.arange(self._groups, self._groups + n_groups, device=device)
        if context is None:
            luck = draws(streams(self.seed, Purpose.START, torch.zeros_like(number), number), 0)
            last = torch.full_like(number, self.table.n_contexts - 1)
            context = select_segment(d.start_threshold, torch.zeros_like(number), last, luck, self.table.n_contexts)
        context = context.repeat_interleave(group_size)
        rollout = self._new_rollouts(n_groups * group_size)
        self._groups += n_groups
        group = torch.arange(n_groups, device=device).repeat_interleave(group_size)
        return self._record(context, rollout, group, d.start_state[context], limit=limit)

    def branches(self, sample: Sample, rollout: Tensor, step: Tensor) -> Sample:
        """Forks rollouts: each new one follows a rollout for some steps and then goes on by fresh luck.

        Args:
            sample: where the prefixes come from.
            rollout: int64 ``[M]``, index of the rollout to follow.
            step: int64 ``[M]``, steps to follow it for; it must still take a step then.

        Returns:
            M whole rollouts, prefix included, in the groups and trees of what they follow; shared steps are equal nodes.
            Only steps after the fork are charged, and the prefix where restoring a state means replaying it.

        Raises:
            CreditEnvsError: if the sampler was made with ``restore="none"``.
        """
        self._enter(step, "branches")
        batch, truth = sample.trajectories, sample.truth
        branch = 1 + self._branches + torch.arange(len(rollout), device=self.dynamics.device)
        self._branches += len(rollout)
        context, word = batch.context[rollout], truth.rollout[rollout]
        state = truth.state[rollout, step]
        history = self._history(batch, rollout, step)
        new = self._record(context, word, batch.group[rollout], state, step, branch, history=history)
        if history is not None:  # the prefixes keep what was said there, in rows of the older table
            older, fresh = batch.policy_table, new.trajectories
            both = torch.cat([older, fresh.policy_table])
            fresh = fresh.replace(policy_table=both, policy_row=fresh.policy_row + len(older))
            new = Sample(fresh, new.truth)
        width = new.trajectories.mask.shape[1]
        before = torch.arange(width, device=step.device) < step[:, None]

        def merged(old: Trajectories | Truth, fresh: Trajectories | Truth) -> dict[str, Tensor]:
            out = {}
            for name, value in vars(fresh).items():
                if name == "policy_table" or value is None:
                    continue
                out[name] = value
                if value.ndim == 2:
                    prefix = getattr(old, name)[rollout][:, :width]
                    prefix = torch.nn.functional.pad(prefix, (0, width - prefix.shape[1]))
                    out[name] = torch.where(before, prefix, value)
            return out

        fields = merged(batch, new.trajectories)
        fields["tree"] = batch.tree[rollout]
        kept = Truth(**merged(truth, new.truth))
        return Sample(self._numbered(new.trajectories.replace(**fields), kept.state), kept)

    def _took(self, context: Tensor, times: Tensor | None = None) -> None:
        """Charges for steps that the policy took in contexts int64 ``[M]``, one each or as many as ``times`` says."""
        steps = len(context) if times is None else int(times.sum())
        self.meter.env_steps += steps
        self.meter.policy_calls += steps

    def _history(self, batch: Trajectories, rollout: Tensor, step: Tensor) -> History | None:
        """Returns what a policy with memory has to know of the steps before."""
        if isinstance(self.policy, DevicePolicy):
            return None
        return History(batch.obs[rollout], batch.action[rollout], step)

    def _new_rollouts(self, n: int) -> Tensor:
        self._rollouts += n
        return torch.arange(self._rollouts - n, self._rollouts, device=self.dynamics.device)

    def _enter(self, step: Tensor, what: str, times: int = 1) -> None:
        """Charges for entering stored states."""
        if self.restore == "none":
            raise CreditEnvsError(f"restore='none': this environment cannot be forked, so {what} are impossible")
        if self.restore == "replay":
            self.meter.env_steps += int(step.sum()) * times
        self.meter.restores += len(step) * times

    def _record(
        self,
        context: Tensor,
        rollout: Tensor,
        group: Tensor,
        state: Tensor,
        start: Tensor | None = None,
        branch: Tensor | None = None,
        limit: int | None = None,
        history: History | None = None,
    ) -> Sample:
        """Runs rollouts to their ends. Where they start later than at step 0, the columns before are masked."""
        d = self.dynamics
        begin = torch.zeros_like(context) if start is None else start
        lanes = Lanes(context, rollout, torch.zeros_like(context) if branch is None else branch, state, begin)
        if isinstance(self.policy, Stepper):
            steps, row, said = self._stepwise(self.policy, lanes, limit, history)
        else:
            steps = walk(self.policy, self.seed, lanes, limit)
            said = self.policy.probability
            row = steps.obs
            if self.policy.kind != "obs":
                row = torch.where(steps.mask, self.policy.rows(steps.state, steps.code), 0)
        mask, code, choice, edge = steps.mask, steps.code, steps.choice, steps.edge
        self._took(context, mask.sum(dim=1))
        named = choice
        if self.policy.kind != "obs" and d.shift is not None:
            named = torch.where(edge >= 0, d.edge_action[d.renamed(steps.state, edge, code, +1).clamp(min=0)], choice)
        self._nodes += mask.numel()
        batch = Trajectories(
            obs=steps.obs,
            action=named,
            log_prob=torch.where(mask, said[row, choice].log(), 0),
            reward=steps.reward,
            mask=mask,
            group=group,
            context=context,
            turn=torch.zeros_like(choice),
            segment=torch.zeros_like(choice),
            anchor=steps.anchor,
            policy_row=row,
            policy_action=choice,
            policy_table=said,
            node=torch.arange(self._nodes - mask.numel(), self._nodes, device=d.device).view(mask.shape),
        )
        truth = Truth(steps.state, edge, code, rollout, steps.final)
        return Sample(self._numbered(batch, truth.state), truth)

    def _stepwise(
        self, policy: Stepper, lanes: Lanes, limit: int | None, history: History | None
    ) -> tuple[Steps, Tensor, Tensor]:
        """Walks lanes under a policy with memory, all of them one step at a time; finished ones leave the batch.

        Returns:
            The steps, the rows int64 ``[N, T]`` of what was said at them, and that: float64 ``[steps, A]``.
        """
        d, n = self.dynamics, len(lanes.state)
        play, final = policy.begin(n, history), lanes.state.clone()
        columns: list[tuple[Tensor, ...]] = []
        for lane, *taken, after in self._strides(play, lanes, limit):
            columns.append((lane, *taken))
            final[lane] = after
        lane, when, *flat = (torch.cat(column) for column in zip(*columns, strict=True))
        width = int(when.max()) + 1
        place = lane * width + when

        def padded(value: Tensor, fill: float = 0) -> Tensor:
            out = torch.full((n * width,), fill, dtype=value.dtype, device=d.device)
            out[place] = value
            return out.view(-1, width)

        state, code, choice, edge, paid = flat
        mask = padded(torch.ones_like(lane, dtype=torch.bool))
        steps = Steps(
            mask=mask,
            state=padded(state),
            code=padded(code),
            obs=padded(d.observe(state, code)),
            anchor=padded(d.observe(state, d.anchor_code[code])),
            choice=padded(choice),
            edge=padded(edge, -1),
            reward=padded(paid),
            final=final,
        )
        row, said = play.chosen(state, code)
        return steps, padded(row), said

    def _strides(self, play: Play, lanes: Lanes, limit: int | None = None) -> Iterator[tuple[Tensor, ...]]:
        """Takes one step in all lanes that go on, until none does.

        Yields:
            Of those lanes: number, step, state, code, choice, edge, reward and next state, each ``[m]``.
        """
        d = self.dynamics
        state, t, lane = lanes.state, lanes.step, torch.arange(len(lanes.state), device=self.dynamics.device)
        keys = self._keys(lanes.context, lanes.rollout, lanes.branch)
        while len(lane):
            code = self._emit(state, keys, t)
            choice, edge = play.act(state, code, keys["action"], t)
            after, paid, ended = d.step(state, edge, keys["outcome"], t, limit)
            yield lane, t, state, code, choice, edge, paid, after
            on = torch.nonzero(~ended).squeeze(1)
            state, t = after, t + 1
            if len(on) < len(lane):
                lane, state, t = lane[on], state[on], t[on]
                keys = {name: key[on] for name, key in keys.items()}
                play.keep(on)

    def _numbered(self, batch: Trajectories, state: Tensor) -> Trajectories:
        """Fills in the numbers of turns and segments from the labels of states ``[N, T]``."""
        labels, mask = self.dynamics.labels, batch.mask
        turn, segment = (
            numbered(labels[name][state], mask, starts=name == "turn") if name in labels else None
            for name in ("turn", "segment")
        )
        alone = torch.where(mask, torch.arange(mask.shape[1], device=mask.device), 0)
        return batch.replace(
            turn=alone if turn is None else turn, segment=torch.zeros_like(alone) if segment is None else segment
        )

    # -- continuations ---------------------------------------------------------------------------------------------

    def continuations(
        self, sample: Sample, rollout: Tensor, step: Tensor, k: int, discount: float | None = None
    ) -> Tensor:
        """Samples K fresh continuations from inside rollouts; returns their returns from that step on.

        Args:
            sample: where the states come from.
            rollout: int64 ``[M]``, index of the rollout.
            step: int64 ``[M]``, step at which to continue.
            k: continuations per state.
            discount: γ of the returns (default: the table's).

        Returns:
            float64 ``[M, k]``.

        Raises:
            CreditEnvsError: if the sampler was made with ``restore="none"``.
        """
        check_range("k", k, 1, 1 << 20, integer=True)
        self._enter(step, "continuations", k)
        gamma = self.table.discount if discount is None else discount
        chunk = max(1, _MAX_LANES // k)
        parts = [
            self._continue(sample, rollout[i : i + chunk], step[i : i + chunk], k, gamma)
            for i in range(0, len(rollout), chunk)
        ]
        return torch.cat(parts) if parts else torch.zeros((0, k), dtype=torch.float64, device=self.dynamics.device)

    def _continue(self, sample: Sample, rollout: Tensor, step: Tensor, k: int, gamma: float) -> Tensor:
        d, truth = self.dynamics, sample.truth
        branch = 1 + self._branches + torch.arange(len(rollout) * k, device=d.device)
        self._branches += len(branch)
        who, t = rollout.repeat_interleave(k), step.repeat_interleave(k)
        lanes = Lanes(sample.trajectories.context[who], truth.rollout[who], branch, truth.state[who, t], t)
        if isinstance(self.policy, Stepper):
            return self._continue_stepwise(self.policy, lanes, self._history(sample.trajectories, rollout, step), gamma)
        total, steps = returns(self.policy, self.seed, lanes, gamma)
        self._took(lanes.context, steps)
        return total.view(-1, k)

    def _continue_stepwise(self, policy: Stepper, lanes: Lanes, history: History | None, gamma: float) -> Tensor:
        """Continues under a policy with memory; k lanes in a row share a history."""
        n, device = len(lanes.state), self.dynamics.device
        roots = n if history is None else len(history.steps)
        play = policy.begin(roots, history)
        play.keep(torch.arange(roots, device=device).repeat_interleave(n // max(roots, 1)))
        total, weight = torch.zeros(n, dtype=torch.float64, device=device), 1.0
        for lane, _, _, _, _, _, paid, _ in self._strides(play, lanes):
            total[lane] += weight * paid
            self._took(lanes.context[lane])
            weight *= gamma
        return total.view(roots, -1)

    # -- search ----------------------------------------------------------------------------------------------------

    def search(
        self,
        sample: Sample,
        rollout: Tensor,
        step: Tensor,
        simulations: int,
        c: float = 2**0.5,
        rule: str = "uct",
        nodes: bool = False,
    ) -> SearchResult:
        """Searches from inside rollouts, see :func:`credit_envs.sampling.search.search`.

        Args:
            sample: where the states come from.
            rollout: int64 ``[M]``, index of the rollout.
            step: int64 ``[M]``, step to search from.
            simulations: per root; every simulated step is charged.
            c: weight of exploration.
            rule: ``uct``, ``puct``, ``policy`` or ``agent_q``.
            nodes: whether to return the statistics of all nodes.

        Raises:
            CreditEnvsError: for arguments out of range, if the sampler was made with ``restore="none"``, or if the policy has
                memory.
        """
        if isinstance(self.policy, Stepper):
            raise CreditEnvsError("search: its trees ask a policy in states; a policy with memory can't be asked there")
        return search(self, sample, rollout, step, simulations, c, rule, nodes=nodes)[0]

    def _keys(self, context: Tensor, rollout: Tensor, branch: Tensor | int) -> dict[str, Tensor]:
        keys = {"action": streams(self.seed, Purpose.ACTION, context, rollout, branch)}
        keys["outcome"] = streams(self.seed, Purpose.OUTCOME, context, rollout, branch)
        if self.table.emission.layers:
            keys["emission"] = streams(self.seed, Purpose.EMISSION, context, rollout, branch)
            # A fork wears the skin of its rollout, so what is drawn once per episode ignores the branch.
            keys["episode"] = mix_words(streams(self.seed, Purpose.EMISSION, context, rollout, 0), EPISODE)
        return keys

    def _emit(self, state: Tensor, keys: dict[str, Tensor], t: Tensor | int) -> Tensor:
        if not self.table.emission.layers:
            return torch.zeros_like(state)
        return self.dynamics.emit(state, mix_words(keys["emission"], t), keys["episode"])
