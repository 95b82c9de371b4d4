"""A small causal transformer over what was seen and done, made by ``transformers`` (a Qwen2 body, random at first).

    tokens of step t:   one per part of the view (picture, words), then the action;   the last part's token is read out
    layer l looks back over w_l steps,   Σ_l w_l = context − 1

A window on every layer reaches further with every layer, so a window of ``context`` alone would not forget; split over
the layers, the windows add up to exactly the ``context`` steps that a choice can depend on, keys and values of older steps
can be dropped, and nothing before the window has any influence. Positions are rotary, hence relative: no clock.

The carry is the cache of keys and values. Attention can be looked at (:meth:`Transformer.attention`): over steps, or to the
picture, which is what AT-RL (arXiv 2602.11455) sums per token.
"""

from __future__ import annotations

import inspect
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from credit_envs.errors import CreditEnvsError, check_range, need
from credit_envs.policies.encoder import Reader
from credit_envs.policies.features import default_view, features
from credit_envs.policies.memory import Carry, MemoryPolicy
from credit_envs.policies.stacked import Embedding, Linear, luck
from credit_envs.sampling.statistics import distinct
from credit_envs.sampling.trajectories import Trajectories
from credit_envs.table.mdp import TabularMDP

_FIRST_GAIN = 0.01
_DEVIATION = 0.02
_CELLS = 1 << 25
NEAR, FAR = "full_attention", "sliding_attention"
"""Kinds of layers: those whose window is a step longer than the others' are called ``sliding_attention``."""


class Cache(NamedTuple):
    """What the model keeps of n episodes, aligned at the present.

    Attributes:
        keys: one ``[n, heads, S, d]`` per layer.
        values: likewise.
        step: int64 ``[n, S]``, the episode's own step that each token belongs to, −1 where there is no token.
        now: int64 ``[n]``, steps that each episode has taken.
        seen: int64 ``[n]``, tokens so far, those that are none included.
    """

    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]
    step: Tensor
    now: Tensor
    seen: Tensor


class Transformer(MemoryPolicy):
    """A causal transformer over observations and actions; trains one learner.

    Args:
        table: the table.
        learners: 1.
        seed: of the initial weights.
        view: which view is read (default: what suits the table).
        context: steps that a choice may depend on, its own included (default: all).
        width: of the tokens; a multiple of twice the heads.
        layers: number of layers.
        heads: of attention.
        image: ``conv`` or ``flat``, how planes are read.

    Raises:
        CreditEnvsError: for bad arguments, several learners, and views that can't be tabulated.
        MissingExtraError: if transformers is not installed.
    """

    def __init__(
        self,
        table: TabularMDP,
        learners: int = 1,
        seed: int = 0,
        *,
        view: str | None = None,
        context: int | None = None,
        width: int = 64,
        layers: int = 2,
        heads: int = 4,
        image: str = "conv",
    ) -> None:
        one_at_a_time("transformer", learners)
        check_range("layers", layers, 1, 256, integer=True)
        check_range("heads", heads, 1, 256, integer=True)
        if width < 1 or width % (2 * heads):
            raise CreditEnvsError(f"width={width}: expected a multiple of 2 · heads = {2 * heads}")
        if context is not None:
            check_range("context", context, 1, 1 << 20, integer=True)
        super().__init__(table, learners, seed)
        self.context, self.layers, self.width = context, layers, width
        generators = luck(1, seed)
        self.view = default_view(table) if view is None else view
        parts = features(table, self.view)
        self.readers = nn.ModuleList([Reader(part, generators, width, image) for part in parts])
        self.code = Embedding(generators, table.n_actions, width)
        self.role = Embedding(generators, len(parts) + 1, width)
        self.head = Linear(generators, width, table.n_actions, _FIRST_GAIN)
        self.body = body(width, layers, heads, context, generators[0])
        # transformers 5.24 renamed the argument; both names mean the same cache.
        self._cache_word = "cache" if "cache" in inspect.signature(type(self.body).forward).parameters else _OLDER
        self._kept: Tensor | None = None

    @property
    def windows(self) -> list[int] | None:
        """Steps that each layer looks back over; None: all."""
        if self.context is None:
            return None
        each, more = divmod(self.context - 1, self.layers)
        return [each + (layer < more) for layer in range(self.layers)]

    # -- step by step ----------------------------------------------------------------------------------------------

    def initial(self, n: int) -> Carry:
        """Returns the empty cache of n episodes."""
        config, device = self.body.config, self.allowed.device
        empty = torch.zeros(n, config.num_key_value_heads, 0, self.width // config.num_attention_heads, device=device)
        none = torch.zeros(n, 0, dtype=torch.int64, device=device)
        zero = torch.zeros(n, dtype=torch.int64, device=device)
        return Cache((empty,) * self.layers, (empty,) * self.layers, none, zero, zero)

    def prepare(self) -> None:
        """Encodes all observations once; they serve until the next call, without gradient."""
        with torch.no_grad():
            self._kept = self._read(torch.arange(self.n_obs, device=self.allowed.device))

    @torch.no_grad()
    def act(self, obs: Tensor, last: Tensor, carry: Carry) -> tuple[Tensor, Carry]:
        """Takes one step, see :meth:`MemoryPolicy.act`."""
        begun, parts = obs >= 0, len(self.readers)
        number = obs.clamp(min=0)
        seen = self._read(number) if self._kept is None else self._kept[number]
        done = self._act_tokens(last.clamp(min=0))
        tokens = torch.cat([done[:, None], seen], dim=1)
        # The action belongs to the step before; the tokens of an episode that hasn't begun are none.
        step = torch.cat([carry.now[:, None] - 1, carry.now[:, None].expand(-1, parts)], dim=1)
        there = torch.cat([(begun & (last >= 0))[:, None], begun[:, None].expand(-1, parts)], dim=1)
        step = torch.where(there, step, -1)
        every = torch.cat([carry.step, step], dim=1)
        position = carry.seen[:, None] + torch.arange(parts + 1, device=obs.device)
        new = torch.ones(parts + 1, parts + 1, dtype=torch.bool, device=obs.device).tril()
        order = torch.cat([new.new_ones(parts + 1, carry.step.shape[1]), new], dim=1)[None]
        masks = self._masks(step, every, order)
        hidden, keys, values = self._run(tokens, masks, position, carry)
        longest = max(self.windows) if self.windows is not None else None
        if longest is not None:
            # A step later, a layer looks back over at most so many steps before the present one.
            kept = longest * (parts + 1) + parts
            keys, values = tuple(k[:, :, -kept:] for k in keys), tuple(v[:, :, -kept:] for v in values)
            every = every[:, -kept:]
        cache = Cache(keys, values, every, carry.now + begun.long(), carry.seen + parts + 1)
        return self.head(hidden[:, -1])[0], cache

    # -- whole episodes --------------------------------------------------------------------------------------------

    def logits(self, obs: Tensor, action: Tensor) -> Tensor:
        """Returns logits of whole episodes, see :meth:`MemoryPolicy.logits`."""
        self._kept = None
        width = obs.shape[1] * (len(self.readers) + 1)
        rows = max(1, _CELLS // (width * width))
        parts = [self._whole(o, a)[0] for o, a in zip(torch.split(obs, rows), torch.split(action, rows), strict=True)]
        return torch.cat(parts)

    @torch.no_grad()
    def attention(self, batch: Trajectories, to: str = "steps") -> Tensor:
        """Returns where each step's readout attends to, averaged over layers and heads.

        Args:
            batch: the rollouts.
            to: ``steps`` (everything that a step holds, its action included; rows sum to 1), or ``picture`` (the sum over
                the pictures' tokens; over the observations' where the view has no picture).

        Returns:
            float64 ``[N, T, T]`` (from step, to step), or ``[N, T]``; 0 where masked.

        Raises:
            CreditEnvsError: for another ``to``.
        """
        if to not in ("steps", "picture"):
            raise CreditEnvsError(f"to={to!r}: expected 'steps' or 'picture'")
        implementation = self.body.config._attn_implementation
        self.body.set_attn_implementation("eager")
        try:
            maps = self._whole(batch.obs, batch.action, maps=True)[1]
        finally:
            self.body.set_attn_implementation(implementation)
        assert maps is not None
        parts, (n, steps) = len(self.readers), batch.obs.shape
        whole = torch.stack(maps).mean(dim=(0, 2)).to(torch.float64).view(n, steps, parts + 1, steps, parts + 1)
        read = whole[:, :, parts - 1]
        if to == "steps":
            return torch.where(batch.mask[..., None], read.sum(-1), 0.0)
        looks = [i for i, reader in enumerate(self.readers) if reader.kind == "planes"] or list(range(parts))
        return torch.where(batch.mask, read[..., looks].sum((-1, -2)), 0.0)

    # -- inside ----------------------------------------------------------------------------------------------------

    def _whole(self, obs: Tensor, action: Tensor, maps: bool = False) -> tuple[Tensor, tuple[Tensor, ...] | None]:
        n, steps = obs.shape
        parts = len(self.readers)
        used, place = distinct(obs)
        # Embedding looks rows up like an index does, and its gradient is quick to add up.
        seen = nn.functional.embedding(place, self._read(used).flatten(1)).view(n, steps, parts, -1)
        tokens = torch.cat([seen, self._act_tokens(action)[:, :, None]], dim=2).flatten(1, 2)
        step = torch.arange(steps, device=obs.device).repeat_interleave(parts + 1)[None]
        position = torch.arange(1, steps * (parts + 1) + 1, device=obs.device)[None]
        masks = self._masks(step, step, position[:, None, :] <= position[:, :, None])
        out = self.body(
            inputs_embeds=tokens, attention_mask=masks, position_ids=position, use_cache=False, output_attentions=maps
        )
        read = out.last_hidden_state.view(n, steps, parts + 1, -1)[:, :, parts - 1]
        return self.head(read.flatten(0, 1))[0].view(n, steps, -1), out.attentions if maps else None

    def _read(self, obs: Tensor) -> Tensor:
        """Returns the tokens of observations int64 ``[M]``, ``[M, parts, width]``."""
        return torch.stack([reader(obs)[0] for reader in self.readers], dim=1) + self.role.weight[0, :-1]

    def _act_tokens(self, action: Tensor) -> Tensor:
        """Returns the tokens of actions int64 ``[...]``, ``[..., width]``."""
        return nn.functional.embedding(action, self.code.weight[0]) + self.role.weight[0, -1]

    def _masks(self, asks: Tensor, holds: Tensor, order: Tensor) -> dict[str, Tensor]:
        """Returns the additive masks ``[n, 1, Q, S]`` of both kinds of layers.

        Args:
            asks: int64 ``[n, Q]``, steps of the tokens that look.
            holds: int64 ``[n, S]``, steps of the tokens that are looked at, −1 where there is none.
            order: bool ``[1 or n, Q, S]``, which tokens come no later than the one that looks.
        """
        back = asks[:, :, None] - holds[:, None, :]
        seen = order & (holds >= 0)[:, None, :]
        windows = self.windows
        least = torch.finfo(torch.float32).min
        out = {}
        for kind, layer in ((NEAR, -1), (FAR, 0)):
            inside = seen if windows is None else seen & (back <= windows[layer])
            out[kind] = torch.zeros(inside.shape, device=asks.device).masked_fill(~inside, least)[:, None]
        return out

    def _run(
        self, tokens: Tensor, masks: dict[str, Tensor], position: Tensor, carry: Cache
    ) -> tuple[Tensor, tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Runs the body on new tokens ``[n, Q, width]`` after what is cached; returns hidden states, keys and values."""
        kept = list(zip(carry.keys, carry.values, strict=True)) if carry.step.shape[1] else None
        cache = need("transformers", "transformers").DynamicCache(kept)
        out = self.body(
            inputs_embeds=tokens,
            attention_mask=masks,
            position_ids=position,
            use_cache=True,
            **{self._cache_word: cache},
        )
        layers = cache.layers
        return out.last_hidden_state, tuple(x.keys for x in layers), tuple(x.values for x in layers)


_OLDER = "past_key_values"


def body(width: int, layers: int, heads: int, context: int | None, generator: torch.Generator) -> Any:
    """Makes a Qwen2 body with weights from a generator; the global one is left as it was.

    Args:
        width: of the tokens.
        layers: number of layers.
        heads: of attention.
        context: steps that a choice may depend on, None: all.
        generator: luck of the weights.
    """
    transformers = need("transformers", "transformers")
    more = 0 if context is None else (context - 1) % layers
    config = transformers.Qwen2Config(
        vocab_size=1,
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        max_position_embeddings=1 << 20,
        use_sliding_window=more > 0,
        sliding_window=1 << 20,
        layer_types=[FAR if layer < more else NEAR for layer in range(layers)],
        attn_implementation="sdpa",
    )
    with torch.random.fork_rng(devices=[]):
        made = transformers.Qwen2Model(config)
    with torch.no_grad():
        for name, weight in made.named_parameters():
            if name.endswith("bias"):
                weight.zero_()
            elif weight.ndim == 1:
                weight.fill_(1.0)
            else:
                scale = weight.shape[1] ** -0.5
                weight.copy_(torch.randn(weight.shape, generator=generator, dtype=torch.float64) * scale)
    made.embed_tokens.weight.requires_grad_(False)  # tokens come as vectors
    return made.eval()


def one_at_a_time(kind: str, learners: int) -> None:
    """Raises unless there is one learner.

    Raises:
        CreditEnvsError: saying what to do instead.
    """
    if learners != 1:
        raise CreditEnvsError(f"policy={kind!r}: learners={learners}, expected 1; run its seeds one after the other")
