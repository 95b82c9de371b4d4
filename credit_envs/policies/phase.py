"""PA-MoE as a policy with memory: :class:`~credit_envs.policies.phase_moe.PhaseMoE` on a table's observation ids.

The router remembers ``history`` steps, so a choice depends on this step and as many before: the window is finite and the
policy is exact (:func:`credit_envs.policies.memory.tabulated`). What the losses of :mod:`credit_envs.policies.routing` need
is in :meth:`Phase.outputs`. A table states no goal beside its observations, so the goal is one constant id.
"""

from __future__ import annotations

import torch
from torch import Tensor

from credit_envs.policies.memory import Carry, MemoryPolicy
from credit_envs.policies.phase_moe import Memory, PhaseMoE, PhaseOutput
from credit_envs.policies.transformer import one_at_a_time
from credit_envs.sampling.trajectories import Trajectories
from credit_envs.table.mdp import TabularMDP


class Phase(MemoryPolicy):
    """A mixture of experts that take turns; trains one learner.

    Args:
        table: the table.
        learners: 1.
        seed: of the initial weights.
        view: of no effect: it reads observation ids.
        experts: K.
        rank: rank of the experts.
        width: width of encodings and of the hidden layer.
        history: steps that the router remembers.
        soft: mix experts instead of choosing one.

    Attributes:
        temperature: τ of the router; lower it as training goes on, see :func:`credit_envs.policies.routing.temperature`.

    Raises:
        CreditEnvsError: for a size below 1, and for several learners.
    """

    def __init__(
        self,
        table: TabularMDP,
        learners: int = 1,
        seed: int = 0,
        *,
        view: str | None = None,  # noqa: ARG002 (every policy is asked for one)
        experts: int = 4,
        rank: int = 4,
        width: int = 32,
        history: int = 5,
        soft: bool = False,
    ) -> None:
        one_at_a_time("phase_moe", learners)
        super().__init__(table, learners, seed)
        luck = torch.Generator().manual_seed(seed)
        self.model = PhaseMoE(table.n_obs, 1, table.n_actions, luck, experts, rank, width, history, soft)
        self.context, self.temperature = history + 1, 1.0

    def initial(self, n: int) -> Carry:
        """Returns the empty memory of n episodes, and that they have seen nothing yet."""
        start = self.model.start(n)
        return start.obs, start.action, torch.full((n,), -1, dtype=torch.int64, device=start.obs.device)

    @torch.no_grad()
    def act(self, obs: Tensor, last: Tensor, carry: Carry) -> tuple[Tensor, Carry]:
        """Takes one step, see :meth:`MemoryPolicy.act`."""
        before = Memory(carry[0], carry[1])
        after = self.model.remember(before, carry[2], last)
        moved = last >= 0
        memory = Memory(
            torch.where(moved[:, None, None], after.obs, before.obs),
            torch.where(moved[:, None], after.action, before.action),
        )
        said = self.model.act(obs.clamp(min=0), torch.zeros_like(obs), memory, self.temperature)
        return said.log_prob.squeeze(1), (memory.obs, memory.action, obs)

    def logits(self, obs: Tensor, action: Tensor) -> Tensor:
        """Returns logits of whole episodes, see :meth:`MemoryPolicy.logits`."""
        said: PhaseOutput = self.model(obs, torch.zeros_like(obs[:, 0]), action, self.temperature)
        return said.log_prob

    def outputs(self, batch: Trajectories) -> PhaseOutput:
        """Returns what the model says about a batch, with gradient, for the terms that keep the router in shape."""
        goal = torch.zeros_like(batch.obs[:, 0])
        said: PhaseOutput = self.model(batch.obs, goal, batch.action, self.temperature, self.allowed[batch.obs])
        return said
