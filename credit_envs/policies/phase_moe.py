"""PA-MoE: a policy whose low-rank experts take turns, one per environment step, as a router sees fit.

    p_t  = softmax( MLP[ o_t + CrossAttn(o_t, goal) ; LSTM(last 5 steps) ] / τ ),    expert z_t = argmax_k p_t
    h    = tanh( (W_1 + s B_{1,k} A_{1,k}) [o_t ; goal] ),   logits_k = (W_2 + s B_{2,k} A_{2,k}) h,   logits = logits_{z_t}

Which phase an episode is in decides which expert acts: this is capacity, not credit assignment. Router and experts learn from
any loss in :mod:`credit_envs.losses` (the paper's is GiGPO's credit with a clipped surrogate) plus the terms of
:mod:`credit_envs.policies.routing`. Observations and goals are words of ids; a table's observation ids are words of one.

Choices where the source is silent or can't be followed. The choice of one expert has no gradient, so the forward pass uses
the argmax and the backward pass the mixture Σ_k p_k logits_k (straight-through); ``soft=True`` mixes in both. B starts at 0, so
all experts start equal to the base, and s = 2 as in the released code (α = 2 r). The residual o_t + is ours: the released
router attends from a pooled observation to *one* pooled goal, and attention to a single key has weight 1 whatever the
query, so it never sees the observation; its released wrapper doesn't call the router at all. There the history is 10 steps.

Reconstruction. Source: Yang et al. 2026, arXiv 2602.17038; released code YsTvT/PA-MoE, ``src/moe``.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from credit_envs.errors import CreditEnvsError, check_range


class PhaseOutput(NamedTuple):
    """What the policy says about a batch of steps.

    Attributes:
        log_prob: ``[N, T, A]``, log-probabilities of the actions.
        routed: ``[N, T, K]``, probabilities p of the experts.
        expert: int64 ``[N, T]``, the chosen one.
        each: ``[N, T, K, A]``, every expert's log-probabilities.
    """

    log_prob: Tensor
    routed: Tensor
    expert: Tensor
    each: Tensor


class Memory(NamedTuple):
    """The last steps of N running episodes.

    Attributes:
        obs: int64 ``[N, history, L]``, observations, −1 where there was none.
        action: int64 ``[N, history]``, actions, −1 where there was none.
    """

    obs: Tensor
    action: Tensor


class LowRank(nn.Module):
    """A linear map with K low-rank experts beside it: x → (W + s B_k A_k) x + b for every k."""

    def __init__(self, inputs: int, outputs: int, experts: int, rank: int, scale: float = 2.0) -> None:
        super().__init__()
        self.base = nn.Linear(inputs, outputs, device="meta")
        self.down = nn.Parameter(torch.empty(experts, rank, inputs, device="meta"))
        self.up = nn.Parameter(torch.empty(experts, outputs, rank, device="meta"))
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        """Maps ``[..., K or 1, inputs]`` to ``[..., K, outputs]``."""
        low = torch.einsum("...ki,kri->...kr", x.expand(*x.shape[:-2], len(self.down), x.shape[-1]), self.down)
        shared: Tensor = self.base(x)
        return shared + self.scale * torch.einsum("...kr,kor->...ko", low, self.up)


class PhaseMoE(nn.Module):
    """The policy.

    Args:
        n_obs: number of observation ids (or of words).
        n_goals: number of goal ids (or of words).
        n_actions: number of actions A.
        generator: luck of the initial weights; drawn on the CPU, so equal seeds give equal weights on every device.
        experts: K.
        rank: rank of the experts.
        width: width of encodings and of the hidden layer.
        history: steps that the router remembers.
        soft: mix experts instead of choosing one.
        device: ``cpu`` or ``cuda``.
        dtype: of the weights.

    Raises:
        CreditEnvsError: for a size below 1.
    """

    def __init__(
        self,
        n_obs: int,
        n_goals: int,
        n_actions: int,
        generator: torch.Generator,
        experts: int = 4,
        rank: int = 4,
        width: int = 32,
        history: int = 5,
        soft: bool = False,
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        sizes = {"n_obs": n_obs, "n_goals": n_goals, "n_actions": n_actions, "experts": experts, "rank": rank}
        for name, size in {**sizes, "width": width, "history": history}.items():
            check_range(name, size, 1, 1 << 30, integer=True)
        super().__init__()
        self.history, self.soft = history, soft
        self.obs_code = nn.Embedding(n_obs, width, device="meta")
        self.goal_code = nn.Embedding(n_goals, width, device="meta")
        self.action_code = nn.Embedding(n_actions, width, device="meta")
        self.query, self.key, self.value = (nn.Linear(width, width, device="meta") for _ in range(3))
        self.lstm = nn.LSTM(2 * width, width, batch_first=True, device="meta")
        self.classifier = nn.Sequential(
            nn.Linear(2 * width, width, device="meta"), nn.Tanh(), nn.Linear(width, experts, device="meta")
        )
        self.hidden = LowRank(2 * width, width, experts, rank)
        self.head = LowRank(width, n_actions, experts, rank)
        self.to_empty(device=device)
        self.to(dtype)
        self._initialise(generator)

    @torch.no_grad()
    def _initialise(self, generator: torch.Generator) -> None:
        for name, weight in self.named_parameters():
            draw = torch.empty(weight.shape, dtype=torch.float64)
            if "code" in name:
                draw.normal_(generator=generator)
            elif name.endswith("up"):
                draw.zero_()  # every expert starts as the base
            else:
                fan = weight.shape[-1] if weight.ndim > 1 else self.obs_code.embedding_dim
                draw.uniform_(-(fan**-0.5), fan**-0.5, generator=generator)
            weight.copy_(draw)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.obs_code.weight.device

    def base_parameters(self) -> list[nn.Parameter]:
        """Returns the weights that all experts share; freezing them leaves low-rank experts and router, as the paper does."""
        shared = (self.obs_code, self.goal_code, self.hidden.base, self.head.base)
        return [weight for part in shared for weight in part.parameters()]

    # -- whole rollouts ------------------------------------------------------------------------------------------

    def forward(
        self,
        obs: Tensor,
        goal: Tensor,
        action: Tensor,
        temperature: float = 1.0,
        allowed: Tensor | None = None,
    ) -> PhaseOutput:
        """Says what the policy does at every step of whole rollouts.

        Args:
            obs: int64 ``[N, T]`` ids or ``[N, T, L]`` words, −1 where a word is missing.
            goal: int64 ``[N]`` ids or ``[N, G]`` words, likewise.
            action: int64 ``[N, T]``, what was done; a step sees the actions before it.
            temperature: τ of the router, above 0.
            allowed: bool ``[N, T, A]``, admissible actions (default: all).

        Raises:
            CreditEnvsError: if shapes don't fit, or τ is out of range.
        """
        words = obs if obs.ndim == 3 else obs[..., None]
        if words.ndim != 3 or action.shape != words.shape[:2] or len(goal) != len(words):
            raise CreditEnvsError(
                f"obs, goal, action: expected shapes [N, T(, L)], [N(, G)], [N, T], got {tuple(obs.shape)}, "
                f"{tuple(goal.shape)}, {tuple(action.shape)}"
            )
        empty = self.start(len(words), words.shape[2])
        before_obs = torch.cat([empty.obs, words], 1).unfold(1, self.history, 1)[:, :-1].transpose(-1, -2)
        before_action = torch.cat([empty.action, action], 1).unfold(1, self.history, 1)[:, :-1]
        return self._decide(words, goal, Memory(before_obs, before_action), temperature, allowed)

    # -- step by step --------------------------------------------------------------------------------------------

    def start(self, n: int, words: int = 1) -> Memory:
        """Returns the memory of N episodes that have just begun, with observations of so many words."""
        missing = torch.full((n, self.history, words + 1), -1, dtype=torch.int64, device=self.device)
        return Memory(missing[..., :words], missing[..., words])

    def act(
        self, obs: Tensor, goal: Tensor, memory: Memory, temperature: float = 1.0, allowed: Tensor | None = None
    ) -> PhaseOutput:
        """Says what the policy does in N running episodes; everything as in :meth:`forward`, with T = 1.

        Args:
            obs: int64 ``[N]`` or ``[N, L]``.
            goal: int64 ``[N]`` or ``[N, G]``.
            memory: of the steps before.
            temperature: τ.
            allowed: bool ``[N, A]``.
        """
        words = obs if obs.ndim == 2 else obs[:, None]
        now = Memory(memory.obs[:, None], memory.action[:, None])
        return self._decide(words[:, None], goal, now, temperature, None if allowed is None else allowed[:, None])

    def remember(self, memory: Memory, obs: Tensor, action: Tensor) -> Memory:
        """Returns the memory after a step; a fork takes its rollout's memory along."""
        words = obs if obs.ndim == 2 else obs[:, None]
        return Memory(
            torch.cat([memory.obs[:, 1:], words[:, None]], 1), torch.cat([memory.action[:, 1:], action[:, None]], 1)
        )

    # -- inside --------------------------------------------------------------------------------------------------

    def _decide(
        self, obs: Tensor, goal: Tensor, before: Memory, temperature: float, allowed: Tensor | None
    ) -> PhaseOutput:
        check_range("temperature", temperature, 0, float("inf"), open_low=True)
        goal = goal if goal.ndim == 2 else goal[:, None]
        seen, wanted = _embed(self.obs_code, obs), _embed(self.goal_code, goal)
        pooled, aim = _pool(seen, obs), _pool(wanted, goal)[:, None].expand(-1, obs.shape[1], -1)
        routed = self._route(seen, obs, wanted, goal, before, temperature)
        x = torch.cat([pooled, aim], -1)[..., None, :]
        logits = self.head(self.hidden(x).tanh())
        expert = routed.argmax(-1)
        gate = routed
        if not self.soft:
            gate = nn.functional.one_hot(expert, routed.shape[-1]) + (routed - routed.detach())
        chosen = (gate[..., None] * logits).sum(-2)
        if allowed is not None:
            chosen = chosen.masked_fill(~allowed, -torch.inf)
            logits = logits.masked_fill(~allowed[..., None, :], -torch.inf)
        return PhaseOutput(chosen.log_softmax(-1), routed, expert, logits.log_softmax(-1))

    def _route(
        self, seen: Tensor, obs: Tensor, wanted: Tensor, goal: Tensor, before: Memory, temperature: float
    ) -> Tensor:
        """Returns p ``[N, T, K]``."""
        there = (goal >= 0)[:, None, None, :]
        score = torch.einsum("ntld,ngd->ntlg", self.query(seen), self.key(wanted)) * seen.shape[-1] ** -0.5
        attention = score.masked_fill(~there, -torch.inf).softmax(-1).nan_to_num()
        attended = torch.einsum("ntlg,ngd->ntld", attention, self.value(wanted))
        view = _pool(seen + attended, obs)
        steps = torch.cat(
            [_pool(_embed(self.obs_code, before.obs), before.obs), _embed(self.action_code, before.action)], -1
        )
        last = self.lstm(steps.flatten(0, 1))[0][:, -1].view(*view.shape)
        logits = self.classifier(torch.cat([view, last], -1))
        return torch.softmax(logits / temperature, -1)


def _embed(code: nn.Embedding, ids: Tensor) -> Tensor:
    """Encodes ids, zeros where they are −1."""
    encoded: Tensor = code(ids.clamp(min=0))
    return encoded * (ids >= 0)[..., None]


def _pool(encoded: Tensor, ids: Tensor) -> Tensor:
    """Averages encodings ``[..., L, d]`` over the words that are there."""
    there = (ids >= 0)[..., None]
    return (encoded * there).sum(-2) / there.sum(-2).clamp(min=1)
