"""A gated recurrent unit over what was seen and done, for several learners at once.

    x_t = [encoder(o_t); code(a_{t−1})],   r, z = σ(W x_t + U h + b)
    h ← z ∘ h + (1 − z) ∘ tanh(W_c x_t + r ∘ (U_c h + b_c))

Source: Cho et al. 2014, arXiv 1406.1078, in the form that cuDNN and torch use (the reset gate after the product).
"""

from __future__ import annotations

import torch
from torch import Tensor

from credit_envs.errors import check_range
from credit_envs.policies.encoder import Encoder
from credit_envs.policies.memory import Carry, MemoryPolicy
from credit_envs.policies.stacked import Embedding, Linear, Sorted, luck
from credit_envs.sampling.statistics import distinct
from credit_envs.table.mdp import TabularMDP

_FIRST_GAIN = 0.01


class Gru(MemoryPolicy):
    """A recurrent policy.

    Args:
        table: the table that every learner plays.
        learners: number of independent learners.
        seed: learner k's initial weights come from seed + k.
        view: which view is read (default: what suits the table).
        image: ``flat`` or ``conv``, how planes are read.
        width: of the encoder.
        hidden: width of the memory.
        depth: number of hidden layers of the encoder.

    Raises:
        CreditEnvsError: for bad arguments, and for views that can't be tabulated.
    """

    def __init__(
        self,
        table: TabularMDP,
        learners: int = 1,
        seed: int = 0,
        *,
        view: str | None = None,
        image: str = "flat",
        width: int = 64,
        hidden: int = 64,
        depth: int = 1,
    ) -> None:
        check_range("hidden", hidden, 1, 1 << 16, integer=True)
        super().__init__(table, learners, seed)
        generators = luck(learners, seed)
        self.encoder = Encoder(table, generators, view, image, width, depth)
        self.code = Embedding(generators, table.n_actions + 1, width, 1.0)
        self.inward = Linear(generators, self.encoder.width + width, 3 * hidden, 1.0)
        self.onward = Linear(generators, hidden, 3 * hidden, 1.0)
        self.head = Linear(generators, hidden, table.n_actions, _FIRST_GAIN)
        self.hidden = hidden
        self._kept: Tensor | None = None

    def initial(self, n: int) -> Carry:
        """Returns the memory of n episodes that have not begun, ``[n, hidden]``."""
        return torch.zeros(n, self.hidden, device=self.allowed.device)

    def prepare(self) -> None:
        """Encodes all observations once; they serve until the next call, without gradient."""
        with torch.no_grad():
            self._kept = self.encoder(torch.arange(self.n_obs, device=self.allowed.device))

    @torch.no_grad()
    def act(self, obs: Tensor, last: Tensor, carry: Carry) -> tuple[Tensor, Carry]:
        """Takes one step, see :meth:`MemoryPolicy.act`."""
        owner = obs.clamp(min=0).div(self.n_obs, rounding_mode="floor")
        rows = Sorted(owner, self.learners)
        h = rows.apart(carry)
        new = rows.together(self._step(self.inward(rows.apart(self._inputs(obs, last, owner))), h))
        new = torch.where((obs >= 0)[:, None], new, carry)
        return rows.together(self.head(rows.apart(new))), new

    def logits(self, obs: Tensor, action: Tensor) -> Tensor:
        """Returns logits of whole episodes, see :meth:`MemoryPolicy.logits`."""
        n, steps = obs.shape
        self._kept = None
        last = torch.cat([torch.full_like(action[:, :1], -1), action[:, :-1]], dim=1)
        # Padding is observation 0 of learner 0; it belongs to whom the row belongs to.
        owner = obs.amax(dim=1, keepdim=True).div(self.n_obs, rounding_mode="floor").expand(n, steps)
        rows = Sorted(owner[:, 0], self.learners)
        x = rows.apart(self._inputs(obs.reshape(-1), last.reshape(-1), owner.reshape(-1)).view(n, steps, -1))
        gates = self.inward(x.flatten(1, 2)).view(*x.shape[:3], -1)
        h = torch.zeros(*x.shape[:2], self.hidden, device=x.device)
        every = []
        for gate in gates.unbind(2):
            h = self._step(gate, h)
            every.append(h)
        out = self.head(torch.stack(every, dim=2).flatten(1, 2)).view(*x.shape[:3], -1)
        return rows.together(out)

    def _inputs(self, obs: Tensor, last: Tensor, owner: Tensor) -> Tensor:
        """Returns x ``[M, width + width]`` of flat observations, last actions and owners."""
        number = obs.clamp(min=0) % self.n_obs
        if self._kept is not None:
            seen = _rows(self._kept, owner, number)
        else:
            used, place = distinct(number)
            seen = _rows(self.encoder(used), owner, place)
        return torch.cat([seen, _rows(self.code.weight, owner, last + 1)], dim=1)

    def _step(self, gates: Tensor, h: Tensor) -> Tensor:
        """Returns the next memory ``[learners, m, hidden]`` from W x + b and the last one."""
        reset, update, new = gates.chunk(3, dim=-1)
        from_reset, from_update, from_new = self.onward(h).chunk(3, dim=-1)
        z = (update + from_update).sigmoid()
        candidate = (new + (reset + from_reset).sigmoid() * from_new).tanh()
        mixed: Tensor = z * h + (1 - z) * candidate
        return mixed


def _rows(every: Tensor, owner: Tensor, number: Tensor) -> Tensor:
    """Returns rows of ``[learners, n, width]``; unlike plain indexing its gradient is quick to add up."""
    return every.flatten(0, 1).index_select(0, owner * every.shape[1] + number)


__all__ = ["Gru"]
