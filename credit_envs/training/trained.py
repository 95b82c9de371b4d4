"""Trained agents: small files that travel with the package, and policies that are read back from them.

    policy = credit_envs.load_agent("gigpo", "credit/KeyRooms-v0")
    action = policy.act(obs)

A file holds the logits of one tabular policy in half precision, and says of which environment (its fingerprint), how good the
policy is exactly (after rounding), and the command that trained it.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import torch

from credit_envs import registry
from credit_envs.arrays import Floats
from credit_envs.errors import CreditEnvsError, unknown
from credit_envs.oracle.evaluation import expected_return
from credit_envs.oracle.policy import Policy
from credit_envs.policies.policy import admissible
from credit_envs.table.mdp import TabularMDP
from credit_envs.table.observer import Observer
from credit_envs.training import checkpoint, files

_LOWEST = -60.0
"""Logits are kept relative to the highest of their row, and no lower than this."""


@dataclasses.dataclass(frozen=True, eq=False)
class TrainedAgent:
    """A trained policy.

    Attributes:
        name: the agent that trained it.
        environment: canonical id.
        table: the environment.
        probability: float64 ``[n_obs, A]``, the policy; rows are observation ids, columns actions as named.
        about: what the file says: exact return ``J``, ``normalised``, ``seed``, ``seeds``, ``command``, ``version``.
    """

    name: str
    environment: str
    table: TabularMDP
    probability: Floats
    about: dict[str, Any]

    def __post_init__(self) -> None:
        object.__setattr__(self, "_seen", {})

    def probabilities(self, obs_id: int) -> Floats:
        """Returns the probabilities of all actions at an observation id, float64 ``[A]``.

        Raises:
            CreditEnvsError: if there is no such id.
        """
        if not 0 <= obs_id < len(self.probability):
            raise CreditEnvsError(f"obs_id={obs_id}: expected an integer in [0, {len(self.probability) - 1}]")
        row: Floats = self.probability[int(obs_id)]
        return row

    def act(self, obs: Any, generator: np.random.Generator | None = None) -> int:
        """Returns an action.

        Args:
            obs: an observation as ``gymnasium.make`` of the environment returns it by default, or its id.
            generator: draws the action; without one it is the likeliest.

        Raises:
            CreditEnvsError: for something that the environment never shows.
        """
        row = self.probabilities(self.identify(obs))
        return int(row.argmax()) if generator is None else int(generator.choice(len(row), p=row))

    def identify(self, obs: Any) -> int:
        """Returns the id of an observation (an integer is one already).

        Raises:
            CreditEnvsError: for something that the environment never shows.
        """
        if isinstance(obs, int | np.integer):
            return int(obs)
        seen: dict[Any, int] = self._seen  # type: ignore[attr-defined]
        if not seen:
            observer = Observer(self.table, registry.entry(self.environment).observation)
            for start in range(0, self.table.n_obs, 1 << 12):
                ids = np.arange(start, min(start + (1 << 12), self.table.n_obs))
                for number, row in zip(ids.tolist(), _unstacked(observer.rows(ids), len(ids)), strict=True):
                    seen.setdefault(_key(row), number)
        found = seen.get(_key(obs))
        if found is None:
            raise CreditEnvsError(f"obs: {self.environment} never shows this observation")
        return found


def keep(run: Path, path: Path, command: str) -> None:
    """Packs the best learner of a finished run, by its exact return at the end, into a small file.

    Args:
        run: folder of the run.
        path: the file.
        command: what trained it.

    Raises:
        CreditEnvsError: for a policy that is no table of logits.
    """
    import json

    result = json.loads((run / "result.json").read_text())
    tensors, state = checkpoint.load(run / "checkpoint.safetensors")
    logits = tensors.get("policy.logits")
    if logits is None:
        raise CreditEnvsError(f"run={str(run)!r}: only tabular policies are kept")
    table = registry.make_table(result["env"])
    last = result["curve"][-1]
    best = int(np.argmax(last["J"]))
    own = logits.view(len(last["J"]), table.n_obs, -1)[best]
    own = own.masked_fill(~admissible(table), _LOWEST)
    own = (own - own.max(dim=1, keepdim=True).values).clamp(min=_LOWEST).to(torch.float16)
    gap = result["J_optimal"] - result["J_uniform"]
    exact = expected_return(table, Policy("obs", _probability(own, table)))
    about = {
        **{name: state[name] for name in ("agent", "fingerprint", "version")},
        "env": result["env"],
        "J": exact,
        "normalised": (exact - result["J_uniform"]) / gap if gap > 0 else float("nan"),
        "seed": best,
        "seeds": len(last["J"]),
        "steps": last["steps"][best],
        "command": command,
    }
    checkpoint.save(path, {"logits": own}, about)


def load_agent(name: str, environment: str) -> TrainedAgent:
    """Loads an agent that travels with the package.

    Args:
        name: the agent, such as ``gigpo``.
        environment: id of the environment, such as ``credit/KeyRooms-v0``.

    Raises:
        CreditEnvsError: if there is none for this pair (with those there are), or if the environment or the version of the
            file is another one than here.
    """
    full = registry.canonical(environment)
    place = files.folder() / "trained"
    path = place / f"{files.slug(name, full)}.safetensors"
    if not path.is_file():
        agents = sorted({p.name.partition("-")[0] for p in place.glob("*.safetensors")})
        if name not in agents:
            raise unknown("trained agent", name, agents)
        here = sorted(p.stem.partition("-")[2] for p in place.glob(f"{name}-*.safetensors"))
        raise unknown(f"environment of trained agent {name!r}", full.removeprefix("credit/"), here)
    return read(path)


def read(path: Path) -> TrainedAgent:
    """Reads a file that :func:`keep` wrote.

    Raises:
        CreditEnvsError: if it cannot be read, or belongs to another environment or version (both are named).
    """
    from credit_envs.evaluation.config import provenance

    tensors, about = checkpoint.load(path)
    if "logits" not in tensors or "env" not in about:
        raise CreditEnvsError(f"agent {str(path)!r}: holds no trained agent")
    table = registry.make_table(about["env"])
    expected = {"fingerprint": table.fingerprint, "version": provenance()["credit_envs"]}
    for word, here in expected.items():
        if about.get(word) != here:
            raise CreditEnvsError(
                f"agent {str(path)!r}: {word} is {about.get(word)!r} there and {here!r} here; train it anew: "
                f"{about.get('command')}"
            )
    return TrainedAgent(
        about["agent"], registry.canonical(about["env"]), table, _probability(tensors["logits"], table), about
    )


def _probability(logits: torch.Tensor, table: TabularMDP) -> Floats:
    wide = logits.to(torch.float64).masked_fill(~admissible(table), -1e9)
    return np.asarray(torch.softmax(wide, dim=1).numpy())


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
