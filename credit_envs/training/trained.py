"""Trained agents: small files that travel with the package, and policies that are read back from them.

    agent = credit_envs.load_agent("gigpo", "credit/KeyRooms-v0")
    action = agent.act(obs)

A file holds one policy's weights in half precision, and says of which environment (its fingerprint), how good the policy is
after rounding (exactly, or for a policy with memory by simulation), and the command that trained it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from credit_envs import registry
from credit_envs.arrays import Floats
from credit_envs.errors import CreditEnvsError, unknown
from credit_envs.oracle.evaluation import expected_return
from credit_envs.oracle.policy import Policy as TabularPolicy
from credit_envs.policies import MemoryPolicy, Policy, admissible, make_policy
from credit_envs.policies.policy import normalised
from credit_envs.table.mdp import TabularMDP
from credit_envs.table.observer import Observer
from credit_envs.training import checkpoint, files
from credit_envs.training.learners import simulate

_LOWEST = -60.0
"""Logits of a table are kept relative to the highest of their row, and no lower than this."""

_ROLLOUTS = 4096
"""Rollouts that the return of a policy with memory is estimated from."""

_LUCK = 1 << 45
"""Seed of those rollouts, which no training shares."""


@dataclass(eq=False)
class TrainedAgent:
    """A trained policy.

    Attributes:
        name: the agent that trained it.
        environment: canonical id.
        table: the environment.
        policy: the policy, of one learner.
        about: what the file says: return ``J`` (with memory its ``error``, too), ``normalised``, ``policy``, ``seed``,
            ``seeds``, ``command``, ``version``.
    """

    name: str
    environment: str
    table: TabularMDP
    policy: Policy | MemoryPolicy
    about: dict[str, Any]
    _seen: dict[Any, int] = field(default_factory=dict, init=False, repr=False)
    _carry: Any = field(default=None, init=False, repr=False)
    _last: int = field(default=-1, init=False, repr=False)

    @cached_property
    def probability(self) -> Floats:
        """The whole policy, float64 ``[n_obs, A]``; rows are observation ids, columns actions as named.

        Raises:
            CreditEnvsError: for a policy with memory, which is no table.
        """
        if not isinstance(self.policy, Policy):
            raise CreditEnvsError(
                f"{self.name} on {self.environment}: its policy remembers, so it is no table; use act()"
            )
        table: Floats = self.policy.table().numpy()
        return table

    def reset(self) -> None:
        """Forgets the episode so far; to be called where one begins. A policy without memory has nothing to forget."""
        self._carry, self._last = None, -1

    def probabilities(self, obs_id: int) -> Floats:
        """Returns the probabilities of all actions at an observation id, float64 ``[A]``.

        With memory: after what was acted upon since :meth:`reset`.

        Raises:
            CreditEnvsError: if there is no such id.
        """
        return self._say(obs_id)[0]

    def act(self, obs: Any, generator: np.random.Generator | None = None) -> int:
        """Returns an action, and remembers it where the policy does.

        Args:
            obs: an observation as ``gymnasium.make`` of the environment returns it by default, or its id.
            generator: draws the action; without one it is the likeliest.

        Raises:
            CreditEnvsError: for something that the environment never shows.
        """
        row, self._carry = self._say(self.identify(obs))
        self._last = int(row.argmax()) if generator is None else int(generator.choice(len(row), p=row))
        return self._last

    def identify(self, obs: Any) -> int:
        """Returns the id of an observation (an integer is one already).

        Raises:
            CreditEnvsError: for something that the environment never shows.
        """
        if isinstance(obs, int | np.integer):
            return int(obs)
        if not self._seen:
            observer = Observer(self.table, registry.entry(self.environment).observation)
            for start in range(0, self.table.n_obs, 1 << 12):
                ids = np.arange(start, min(start + (1 << 12), self.table.n_obs))
                for number, row in zip(ids.tolist(), _unstacked(observer.rows(ids), len(ids)), strict=True):
                    self._seen.setdefault(_key(row), number)
        found = self._seen.get(_key(obs))
        if found is None:
            raise CreditEnvsError(f"obs: {self.environment} never shows this observation")
        return found

    def _say(self, obs_id: int) -> tuple[Floats, Any]:
        """Returns the probabilities at an observation id, and the memory after it."""
        if not 0 <= obs_id < self.table.n_obs:
            raise CreditEnvsError(f"obs_id={obs_id}: expected an integer in [0, {self.table.n_obs - 1}]")
        if isinstance(self.policy, Policy):
            own: Floats = self.probability[int(obs_id)]
            return own, None
        obs, last = (torch.tensor([number]) for number in (obs_id, self._last))
        logits, carry = self.policy.act(obs, last, self.policy.initial(1) if self._carry is None else self._carry)
        row: Floats = normalised(logits, self.policy.allowed[obs]).exp()[0].detach().numpy()
        return row / row.sum(), carry


def keep(run: Path, path: Path, command: str) -> None:
    """Packs the best learner of a finished run, by its return at the end, into a small file.

    Args:
        run: folder of the run.
        path: the file.
        command: what trained it.
    """
    result = json.loads((run / "result.json").read_text())
    tensors, state = checkpoint.load(run / "checkpoint.safetensors")
    table = registry.make_table(result["env"])
    last, options = result["curve"][-1], result["options"]
    learners, best = len(last["J"]), int(np.argmax(last["J"]))
    own = {
        name.removeprefix("policy."): value.chunk(learners)[best]
        for name, value in tensors.items()
        if name.startswith("policy.")
    }
    if options["policy"] == files.TABULAR:
        logits = own["logits"].masked_fill(~admissible(table), _LOWEST)
        own["logits"] = (logits - logits.max(dim=1, keepdim=True).values).clamp(min=_LOWEST)
    own = {name: value.half() if value.is_floating_point() else value for name, value in own.items()}
    about = {
        **{name: state[name] for name in ("agent", "fingerprint", "version")},
        **{name: options[name] for name in ("policy", "view")},
        "env": result["env"],
        "seed": options["seed"] + best,
        "seeds": learners,
        "steps": last["steps"][best],
        "command": command,
    }
    gap = result["J_optimal"] - result["J_uniform"]
    about |= _returns(_made(own, table, about), table)
    about["normalised"] = (about["J"] - result["J_uniform"]) / gap if gap > 0 else float("nan")
    checkpoint.save(path, own, about)


def load_agent(name: str, environment: str, policy: str = files.TABULAR) -> TrainedAgent:
    """Loads an agent that travels with the package.

    Args:
        name: the agent, such as ``gigpo``.
        environment: id of the environment, such as ``credit/KeyRooms-v0``.
        policy: kind of policy, such as ``gru``.

    Raises:
        CreditEnvsError: if there is none of this name, environment and policy (with those there are), or if the environment
            or the version of the file is another one than here.
    """
    full = registry.canonical(environment)
    place = files.folder() / "trained"
    path = place / f"{files.slug(name, full, policy)}.safetensors"
    if not path.is_file():
        agents = sorted({p.name.partition("-")[0] for p in place.glob("*.safetensors")})
        if name not in agents:
            raise unknown("trained agent", name, agents)
        here = sorted(p.stem.partition("-")[2] for p in place.glob(f"{name}-*.safetensors"))
        raise unknown(f"environment of trained agent {name!r}", path.stem.partition("-")[2], here)
    return read(path)


def read(path: Path) -> TrainedAgent:
    """Reads a file that :func:`keep` wrote.

    Raises:
        CreditEnvsError: if it cannot be read, or belongs to another environment or version (both are named).
    """
    from credit_envs.evaluation.config import provenance

    tensors, about = checkpoint.load(path)
    if not {"agent", "env", "command"} <= about.keys():
        raise CreditEnvsError(f"agent {str(path)!r}: holds no trained agent")
    table = registry.make_table(about["env"])
    expected = {"fingerprint": table.fingerprint, "version": provenance()["credit_envs"]}
    for word, here in expected.items():
        if about.get(word) != here:
            raise CreditEnvsError(
                f"agent {str(path)!r}: {word} is {about.get(word)!r} there and {here!r} here; train it anew: "
                f"{about.get('command')}"
            )
    try:
        policy = _made(tensors, table, about)
    except RuntimeError as error:
        raise CreditEnvsError(
            f"agent {str(path)!r}: its weights fit no {about.get('policy')} policy ({error})"
        ) from error
    return TrainedAgent(about["agent"], registry.canonical(about["env"]), table, policy, about)


def _made(tensors: dict[str, Tensor], table: TabularMDP, about: dict[str, Any]) -> Policy | MemoryPolicy:
    """Makes the policy that weights belong to."""
    shown = registry.entry(registry.canonical(about["env"])).observation
    policy = make_policy(about.get("policy", files.TABULAR), table, 1, 0, about.get("view"), shown)
    policy.load_state_dict(tensors)
    return policy


def _returns(policy: Policy | MemoryPolicy, table: TabularMDP) -> dict[str, float]:
    """Returns ``J``, exact without memory; with it simulated, and ``error``, half its 95 % interval."""
    if isinstance(policy, Policy):
        return {"J": expected_return(table, TabularPolicy("obs", policy.table().numpy()))}
    found = simulate(table, policy, 1, _ROLLOUTS, _LUCK)
    return {"J": float(found.mean[0]), "error": float(found.error[0])}


def _unstacked(rows: Any, n: int) -> list[Any]:
    """Splits a batch of observations into single ones."""
    if isinstance(rows, dict):
        parts = {name: _unstacked(part, n) for name, part in rows.items()}
        return [{name: part[i] for name, part in parts.items()} for i in range(n)]
    return [rows[i] for i in range(n)]


def _key(obs: Any) -> Any:
    """Returns something hashable that is equal for equal observations."""
    if isinstance(obs, dict):
        return tuple((name, _key(obs[name])) for name in sorted(obs))
    if isinstance(obs, str):
        return obs
    array = np.asarray(obs)
    return array.item() if array.ndim == 0 else (array.shape, array.astype(np.int64).tobytes())
