"""A split as a Minari data set: observations as the environment shows them, labels in ``infos``.

Every ``info`` is an array of one entry per step, so it has one entry less than the observations. What belongs to a whole
rollout (group, instance, won, first error) stands in the episode's metadata. Pictures are kept as they are: Minari's own
default would store planes as JPEG, which changes them.

Source: Minari (Younis et al. 2024, Farama Foundation), 0.5.4.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from credit_envs.arrays import AnyArray
from credit_envs.errors import CreditEnvsError, need
from credit_envs.export.labels import Labelled
from credit_envs.table.observer import Observer

LABELS = ("advantage", "value", "q", "luck", "regret", "optimal_value", "rating")
_ROOT = "MINARI_DATASETS_PATH"


@dataclass(frozen=True)
class About:
    """What a data set says of itself.

    Attributes:
        dataset_id: its id in Minari.
        description: one sentence.
        policy: who played.
        spec: the environment, where one environment was played.
        returns: exact expected returns of uniform and of perfect play, where one environment was played.
    """

    dataset_id: str
    description: str
    policy: str
    spec: gymnasium.envs.registration.EnvSpec | None
    returns: tuple[float, float] | None


def write(root: Path, about: About, parts: Sequence[tuple[Labelled, Sequence[int], int]], view: str) -> None:
    """Writes a data set below a folder, where ``MINARI_DATASETS_PATH`` can point.

    Args:
        root: the folder.
        about: what it says of itself.
        parts: labelled rollouts, which of them belong here, and the instance that was played.
        view: how observations are shown.

    Raises:
        CreditEnvsError: if instances show observations of different spaces in this view.
        MissingExtraError: if Minari is missing.
    """
    minari: Any = need("minari", "export")
    need("h5py", "export")
    buffer: Any = minari.data_collector.EpisodeBuffer
    episodes, metadata = [], []
    spaces = {}
    for found, chosen, instance in parts:
        observer = Observer(found.table, view)
        spaces[str(observer.space)] = observer.space
        for rollout in chosen:
            episodes.append(_episode(buffer, found, rollout, observer))
            metadata.append(_metadata(found, rollout, instance))
    if len(spaces) > 1:
        listed = " and ".join(list(spaces)[:2])
        raise CreditEnvsError(
            f"observation={view!r}: has another space in each instance, here {listed}; use another view"
        )
    n_actions = max(found.table.n_actions for found, _, _ in parts)
    with _stored_below(root), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about authors and permalinks, which an export has not
        dataset = minari.create_dataset_from_buffers(
            about.dataset_id,
            episodes,
            env=about.spec,
            algorithm_name=about.policy,
            description=about.description,
            observation_space=next(iter(spaces.values())),
            action_space=gymnasium.spaces.Discrete(n_actions),
            requirements=["credit-envs"],
            jpeg_encoding=False,
        )
        scores = zip(("ref_min_score", "ref_max_score"), about.returns or (), strict=False)
        dataset.storage.update_metadata(dict(scores))  # exact, so nothing has to be estimated
        dataset.storage.update_episode_metadata(metadata)


def _episode(buffer: Any, found: Labelled, rollout: int, observer: Observer) -> Any:
    batch, truth = found.sample.trajectories, found.sample.truth
    n = int(batch.lengths[rollout])
    emission = found.table.emission
    # What is shown after the last step was never drawn: it is shown under that step's code.
    final = int(emission.base[int(truth.final[rollout])]) * emission.n_codes + int(truth.code[rollout, n - 1])
    shown = observer.rows(np.append(batch.obs[rollout, :n].cpu().numpy(), final))
    infos: dict[str, AnyArray] = {name: np.asarray(getattr(found, name))[rollout, :n] for name in LABELS}
    infos["error"] = found.error[rollout, :n]
    infos["anchor"] = batch.anchor[rollout, :n].cpu().numpy()
    infos["optimal_action"] = _optimal(found, rollout, n)
    return buffer(
        observations=shown,
        actions=batch.action[rollout, :n].cpu().numpy(),
        rewards=batch.reward[rollout, :n].cpu().numpy(),
        terminations=np.arange(n) == n - 1,
        truncations=np.zeros(n, dtype=bool),
        infos=infos,
    )


def _optimal(found: Labelled, rollout: int, n: int) -> AnyArray:
    """Returns the first action without regret of each step, int64 ``[n]``."""
    choices = found.choices
    bounds = choices.start[np.append(found.step_number[rollout, :n], found.step_number[rollout, n - 1] + 1)]
    which = [first + int(np.argmin(choices.regret[first:last])) for first, last in pairwise(bounds)]
    return np.asarray(choices.action[which])


def _metadata(found: Labelled, rollout: int, instance: int) -> dict[str, Any]:
    batch = found.sample.trajectories
    return {
        "group": int(batch.group[rollout]),
        "instance": instance,
        "won": bool(found.won[rollout]),
        "first_error": int(found.first_error[rollout]),
        "return": float(batch.returns[rollout]),
    }


@contextmanager
def _stored_below(root: Path) -> Iterator[None]:
    """Lets Minari store below a folder; it reads the place from the process's environment only."""
    root.mkdir(exist_ok=True)
    before = os.environ.get(_ROOT)
    os.environ[_ROOT] = str(root.resolve())
    try:
        yield
    finally:
        if before is None:
            del os.environ[_ROOT]
        else:
            os.environ[_ROOT] = before
