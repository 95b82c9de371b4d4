"""A language model as a policy: it reads the text view and weighs the admissible commands by their likelihood.

    π(a | o) ∝ exp( ℓ(a) / |a|^ν ),   ℓ(a) = Σ_i log p(token_i of a and its end | prompt, tokens before),   |a| = tokens

ν = 0 compares commands by their probability, ν = 1 by the mean per token, so that long ones aren't shunned. A command ends
with the end-of-sequence token where the tokenizer has one, so that "take" and "take lamp" are told apart. The prompt holds
the texts and commands of the last ``context`` steps; nothing else is remembered, so a short context really forgets, and the
policy is a table over what a table remembers (:func:`credit_envs.policies.memory.tabulated`).

Every distinct prompt of a call is evaluated once, with its commands beside each other. Any causal model that ``transformers``
loads will do, by name or path: a Qwen checkpoint, or one made for a test.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from credit_envs.errors import CreditEnvsError, check_range, need
from credit_envs.policies.memory import Carry, MemoryPolicy
from credit_envs.policies.transformer import one_at_a_time
from credit_envs.table.mdp import TabularMDP
from credit_envs.table.observer import Observer

_BEFORE = "\n> "


class Language(MemoryPolicy):
    """A language model that chooses among admissible commands; trains one learner.

    Args:
        table: the table.
        name: name or path of a checkpoint.
        instruction: what stands before the first text.
        view: the view that is read; it must show words.
        context: steps whose text is in the prompt, this one included.
        normalise: ν, in [0, 1].
        local_files_only: never fetch anything.
        dtype: of the weights.
        tokens: most tokens that are evaluated at once (rows times the longest).

    Raises:
        CreditEnvsError: for bad arguments, a view without words, or a checkpoint that can't be loaded.
        MissingExtraError: if transformers is not installed.
    """

    context: int

    def __init__(
        self,
        table: TabularMDP,
        name: str | Path,
        *,
        instruction: str = "",
        view: str = "text",
        context: int = 1,
        normalise: float = 0.0,
        local_files_only: bool = False,
        dtype: torch.dtype = torch.float32,
        tokens: int = 1 << 14,
        learners: int = 1,
        seed: int = 0,
    ) -> None:
        one_at_a_time("language", learners)
        check_range("context", context, 1, 1 << 10, integer=True)
        check_range("normalise", normalise, 0, 1)
        check_range("tokens", tokens, 1, 1 << 30, integer=True)
        super().__init__(table, learners, seed)
        self._observer = Observer(table, view)
        first = self._observer.rows(np.zeros(1, dtype=np.int64))
        if not isinstance(first, list):
            raise CreditEnvsError(f"view={view!r}: a language model reads words; use 'text'")
        transformers = need("transformers", "transformers")
        where = {"local_files_only": local_files_only}
        try:
            self.tokenizer = transformers.AutoTokenizer.from_pretrained(str(name), **where)
            self.model = transformers.AutoModelForCausalLM.from_pretrained(str(name), dtype=dtype, **where).eval()
        except (OSError, ValueError) as error:
            raise CreditEnvsError(f"name={str(name)!r}: no checkpoint can be loaded ({error})") from error
        self.context, self.normalise, self.instruction, self._tokens = context, normalise, instruction, tokens
        self._texts: dict[int, str] = {}
        self._known: dict[tuple[int, ...], Tensor] = {}
        begin, end = self.tokenizer.bos_token_id, self.tokenizer.eos_token_id
        # A likelihood needs something before the first word, so what has no beginning begins after an end.
        self._first = [token for token in (end if begin is None else begin,) if token is not None]
        self._commands = [
            self._encode(" " + command) + ([] if end is None else [end]) for command in table.action_names
        ]
        self._names = table.action_names
        if not all(self._commands):
            silent = table.action_names[[not command for command in self._commands].index(True)]
            raise CreditEnvsError(f"name={str(name)!r}: its tokenizer has no token for the command {silent!r}")

    # -- as a policy with memory -----------------------------------------------------------------------------------

    def initial(self, n: int) -> Carry:
        """Returns empty windows of n episodes: observations and actions of the steps before, and the last observation."""
        none = torch.full((n, self.context), -1, dtype=torch.int64, device=self.allowed.device)
        return none[:, 1:], none[:, 1:], none[:, 0]

    def prepare(self) -> None:
        """Forgets what was said in windows; from here on :meth:`act` evaluates each window once."""
        self._known = {}

    @torch.no_grad()
    def act(self, obs: Tensor, last: Tensor, carry: Carry) -> tuple[Tensor, Carry]:
        """Takes one step, see :meth:`MemoryPolicy.act`."""
        seen, done, previous = carry
        moved = (last >= 0)[:, None]
        seen = torch.where(moved, torch.cat([seen, previous[:, None]], 1)[:, 1:], seen)
        done = torch.where(moved, torch.cat([done, last[:, None]], 1)[:, 1:], done)
        windows, place = torch.unique(torch.cat([seen, done, obs.clamp(min=0)[:, None]], 1), dim=0, return_inverse=True)
        keys = [tuple(row) for row in windows.tolist()]
        new = [i for i, key in enumerate(keys) if key not in self._known]
        if new:
            fresh = self._scores(windows[torch.tensor(new, device=obs.device)])
            self._known.update({keys[i]: row for i, row in zip(new, fresh, strict=True)})
        return torch.stack([self._known[key] for key in keys])[place], (seen, done, obs)

    def logits(self, obs: Tensor, action: Tensor) -> Tensor:
        """Returns logits of whole episodes, see :meth:`MemoryPolicy.logits`."""
        n, steps = obs.shape
        k = self.context - 1
        before = torch.full((n, k), -1, dtype=torch.int64, device=obs.device)
        seen = torch.cat([before, obs], 1).unfold(1, k, 1)[:, :steps] if k else obs.new_zeros(n, steps, 0)
        done = torch.cat([before, action], 1).unfold(1, k, 1)[:, :steps] if k else seen
        self._known = {}
        every = torch.cat([seen.flatten(0, 1), done.flatten(0, 1), obs.reshape(-1, 1)], 1)
        windows, place = torch.unique(every, dim=0, return_inverse=True)
        return self._scores(windows)[place].view(n, steps, -1)

    # -- prompts and likelihoods -----------------------------------------------------------------------------------

    def prompt(self, seen: list[int], done: list[int], obs: int) -> str:
        """Returns the prompt of a window.

        Args:
            seen: observation ids of the steps before, oldest first, −1 where there was none.
            done: actions of those steps.
            obs: observation id of this step.
        """
        steps = [f"{self._text(o)}{_BEFORE}{self._names[a]}" for o, a in zip(seen, done, strict=True) if o >= 0]
        return "\n".join(
            [*([self.instruction] if self.instruction else []), *steps, f"{self._text(obs)}{_BEFORE}".rstrip()]
        )

    def _scores(self, windows: Tensor) -> Tensor:
        """Returns ℓ(a)/|a|^ν of windows int64 ``[M, 2 (context − 1) + 1]``, ``[M, A]``; 0 where inadmissible."""
        k = self.context - 1
        texts = [self.prompt(row[:k], row[k:-1], row[-1]) for row in windows.tolist()]
        prompts = [[*self._first, *self._encode(text)] for text in texts]
        admissible = self.allowed[windows[:, -1]]
        pairs = torch.nonzero(admissible).tolist()
        found = self._likelihoods([(prompts[i], self._commands[a]) for i, a in pairs])
        length = torch.tensor([len(self._commands[a]) for _, a in pairs], device=found.device, dtype=found.dtype)
        scores = torch.zeros(admissible.shape, dtype=found.dtype, device=found.device)
        return scores.masked_scatter(admissible, found / length**self.normalise)

    def _likelihoods(self, pairs: list[tuple[list[int], list[int]]]) -> Tensor:
        """Returns ℓ of (prompt, command) token lists, float32 ``[M]``, shortest first, as many at once as may be."""
        order = sorted(range(len(pairs)), key=lambda i: len(pairs[i][0]) + len(pairs[i][1]))
        parts, first = [], 0
        while first < len(order):
            count = 1
            while first + count < len(order):
                prompt, command = pairs[order[first + count]]
                if (count + 1) * (len(prompt) + len(command)) > self._tokens:
                    break
                count += 1
            parts.append(self._evaluated([pairs[i] for i in order[first : first + count]]))
            first += count
        back = torch.empty(len(order), dtype=torch.int64)
        back[torch.tensor(order, dtype=torch.int64)] = torch.arange(len(order))
        return torch.cat(parts)[back.to(parts[0].device)]

    def _evaluated(self, pairs: list[tuple[list[int], list[int]]]) -> Tensor:
        device = self.allowed.device
        width = max(len(prompt) + len(command) for prompt, command in pairs)
        ids = torch.zeros(len(pairs), width, dtype=torch.int64)
        there, said = torch.zeros_like(ids), torch.zeros(len(pairs), width, dtype=torch.bool)
        for i, (prompt, command) in enumerate(pairs):
            whole = len(prompt) + len(command)
            ids[i, :whole] = torch.tensor(prompt + command)
            there[i, :whole] = 1
            said[i, len(prompt) : whole] = True
        ids, there, said = ids.to(device), there.to(device), said.to(device)
        logits: Any = self.model(input_ids=ids, attention_mask=there).logits[:, :-1].to(torch.float32)
        each = logits.gather(2, ids[:, 1:, None]).squeeze(2) - logits.logsumexp(dim=2)
        return torch.where(said[:, 1:], each, 0.0).sum(dim=1)

    def _encode(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    def _text(self, obs: int) -> str:
        if obs not in self._texts:
            self._texts[obs] = self._observer.rows(np.array([obs]))[0]
        return self._texts[obs]
