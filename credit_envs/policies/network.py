"""Networks over single observations, for several learners at once: an encoder of a view, then a linear head.

``mlp`` reads planes flat, ``cnn`` by convolutions, ``text`` counts runs of words, ``fusion`` reads picture and words side by
side. All are tables as well: evaluated once on all observations, they are sampled and solved like any table. What a network
does without the picture is its own image-free pass, which VPPO compares with the sighted one
(:meth:`Network.blind_log_prob`); :func:`credit_envs.oracle.masked.image_free` is what a policy *should* do without it.
``planner`` gives keep-or-switch, subgoal and action (the dial ``plan``) a hidden layer each over one trunk, as HiPER's heads.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from credit_envs.errors import CreditEnvsError, check_range
from credit_envs.policies.encoder import Encoder
from credit_envs.policies.policy import Policy, normalised
from credit_envs.policies.stacked import Linear, Luck, luck
from credit_envs.sampling.draws import draws, mix_words, streams
from credit_envs.sampling.statistics import distinct
from credit_envs.sampling.trajectories import Trajectories
from credit_envs.table.draws import ONE, Purpose
from credit_envs.table.mdp import TabularMDP

_FIRST_GAIN = 0.01
_CHUNK = 1 << 13
_SALT = 0xB11D
_PATCHES = 14
_CELLS = 1 << 22
MASKINGS = ("blank", "patches", "noise")
"""How the picture is taken away: all of it black, a share of its patches black at random, or under Gaussian noise."""

NOISE = 189 / 255
"""Standard deviation of the noise, of brightness in [0, 1]: what VPPO's release takes, appendix F of its paper."""


class Network(Policy):
    """A network over single observations.

    Args:
        table: the table that every learner plays.
        learners: number of independent learners.
        seed: learner k's initial weights come from seed + k.
        view: which view is read (default: what suits the table).
        image: ``flat`` or ``conv``, how planes are read.
        width: of the hidden layers.
        depth: number of hidden layers.
        grams: longest run of words that is counted.
        heads: a hidden layer of their own for keep-or-switch, subgoal and action.

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
        depth: int = 2,
        grams: int = 3,
        heads: bool = False,
    ) -> None:
        super().__init__(table, learners, seed)
        generators = luck(learners, seed)
        self.encoder = Encoder(table, generators, view, image, width, depth, grams)
        if image == "conv" and not self.encoder.sees:
            raise CreditEnvsError(
                f"view={self.encoder.view!r}: {table.name} shows no picture there to look at; use the policy 'text' or 'mlp'"
            )
        self.head: Linear | Heads
        if heads:
            self.head = Heads(generators, self.encoder.width, fields(table))
        else:
            self.head = Linear(generators, self.encoder.width, table.n_actions, _FIRST_GAIN)

    def scores(self, rows: Tensor) -> Tensor:
        """Returns logits of rows int64 ``[M]``, float32 ``[M, A]``."""
        used, place = distinct(rows % self.n_obs)
        every: Tensor = self.head(self.encoder(used))
        return every[rows // self.n_obs, place]

    def table(self) -> Tensor:
        """Returns the probabilities of all rows, float64 ``[learners · n_obs, A]``, without gradient."""
        with torch.no_grad():
            chunks = torch.split(torch.arange(self.n_obs, device=self.allowed.device), _CHUNK)
            parts = [normalised(self.head(self.encoder(obs)), self.allowed[obs]).exp() for obs in chunks]
        return torch.cat(parts, dim=1).view(-1, self.n_actions)

    def blind_log_prob(
        self, batch: Trajectories, masking: str = "blank", share: float = 0.5, salt: int = 0, noise: float = NOISE
    ) -> Tensor:
        """Returns what this network says of its actions with its picture taken away, float64 ``[N, T]``, 0 where masked.

        Args:
            batch: the rollouts.
            masking: ``blank`` (the whole picture is black), ``patches`` (each of at most 14 × 14 patches of the picture is
                black with probability ``share``, as VPPO's release does with its 14-pixel patches) or ``noise`` (Gaussian noise
                is added to each cell that is read of the picture, which is then cut to [0, 1]).
            share: probability that a patch is black, in [0, 1].
            salt: with the seed, the luck of patches and noise. One draw spoils all pictures of a rollout, as VPPO's does, so
                a batch of equal size and salt is spoilt alike.
            noise: standard deviation, in [0, 100].

        Raises:
            CreditEnvsError: if the view has no picture, or an argument is out of range.
        """
        log = self._taken_away(batch, masking, share, salt, noise)
        out = torch.zeros_like(batch.log_prob)
        out[batch.mask] = log.gather(1, batch.policy_action[batch.mask][:, None]).squeeze(1)
        return out

    def blind(
        self, batch: Trajectories, masking: str = "blank", share: float = 0.5, salt: int = 0, noise: float = NOISE
    ) -> Tensor:
        """Returns the probabilities of all actions with the picture taken away, float64 ``[N, T, A]``, 0 where masked.

        Arguments and errors as for :meth:`blind_log_prob`; columns as in ``batch.policy_table``.
        """
        out = batch.log_prob.new_zeros((*batch.mask.shape, self.n_actions))
        out[batch.mask] = self._taken_away(batch, masking, share, salt, noise).exp()
        return out

    def _taken_away(self, batch: Trajectories, masking: str, share: float, salt: int, noise: float) -> Tensor:
        """Returns log-probabilities of all actions at the M steps taken, ``[M, A]``."""
        if masking not in MASKINGS:
            raise CreditEnvsError(f"masking={masking!r}: expected one of {', '.join(MASKINGS)}")
        check_range("share", share, 0, 1)
        check_range("noise", noise, 0, 100)
        rows = batch.policy_row[batch.mask]
        first = self.encoder.pictures(rows[:1] % self.n_obs)
        if masking == "blank":
            rows, place = distinct(rows)
            return self._blind(rows, torch.zeros_like(first))[place]
        size = min(_CHUNK, max(1, _CELLS // max(1, self.encoder.eye.cells(first).numel())))
        spoilt = []
        rollouts = torch.nonzero(batch.mask)[:, 0]
        for of, number in zip(torch.split(rows, size), torch.split(rollouts, size), strict=True):
            seen = (
                self._patched(of, number, share, salt) if masking == "patches" else self._noisy(of, number, noise, salt)
            )
            spoilt.append(self._blind(of, seen))
        return torch.cat(spoilt)

    def _blind(self, rows: Tensor, picture: Tensor) -> Tensor:
        """Returns log-probabilities of rows int64 ``[M]`` that see given pictures, see :class:`Encoder`, ``[M, A]``."""
        obs = rows % self.n_obs
        every = self.head(self.encoder(obs, picture))
        own = every[rows // self.n_obs, torch.arange(len(rows), device=rows.device)]
        return normalised(own, self.allowed[obs])

    def _patched(self, rows: Tensor, number: Tensor, share: float, salt: int) -> Tensor:
        shown = self.encoder.pictures(rows % self.n_obs)
        across = [min(side, _PATCHES) for side in shown.shape[1:3]]
        keep = (self._luck(number, salt, across[0] * across[1]) >= share * ONE).view(-1, *across)
        at = [
            torch.arange(side, device=rows.device) * n // side for side, n in zip(shown.shape[1:3], across, strict=True)
        ]
        return shown * keep[:, at[0]][:, :, at[1]][..., None]

    def _noisy(self, rows: Tensor, number: Tensor, noise: float, salt: int) -> Tensor:
        shown = self.encoder.eye.cells(self.encoder.pictures(rows % self.n_obs))
        draw = self._luck(number, salt, shown[0].numel()).to(torch.float64)
        normal: Tensor = torch.special.ndtri((draw + 0.5) / ONE)
        return (shown + noise * normal.view(shown.shape)).clamp(0, 1).to(torch.float32)

    def _luck(self, number: Tensor, salt: int, size: int) -> Tensor:
        """Returns draws of numbered rollouts int64 ``[M]``, int64 ``[M, size]`` in ``[0, 2**53)``."""
        zero = torch.zeros_like(number)
        key = mix_words(streams(self.seed, Purpose.JUDGE, zero + _SALT, zero + salt), number)
        return draws(key[:, None], torch.arange(size, device=number.device))


class Heads(nn.Module):
    """A hidden layer and a linear layer for each field of a plan.

    Args:
        generators: one per learner.
        width: of the trunk.
        columns: for each field, the actions that it chooses among.
    """

    def __init__(self, generators: Luck, width: int, columns: list[list[int]]) -> None:
        super().__init__()
        self.hidden = nn.ModuleList([Linear(generators, width, width) for _ in columns])
        self.out = nn.ModuleList([Linear(generators, width, len(names), _FIRST_GAIN) for names in columns])
        order = [name for names in columns for name in names]
        self._column = sorted(range(len(order)), key=order.__getitem__)

    def forward(self, x: Tensor) -> Tensor:
        """Maps ``[learners, M, width]`` to ``[learners, M, A]``."""
        parts = [out(hidden(x).relu()) for hidden, out in zip(self.hidden, self.out, strict=True)]
        return torch.cat(parts, -1)[..., self._column]


def fields(table: TabularMDP) -> list[list[int]]:
    """Returns the actions of each field of a planned table: keep or switch, subgoals, the task's own.

    Raises:
        CreditEnvsError: if the table has no plan.
    """
    if "field" not in table.labels or "keep" not in table.action_names:
        raise CreditEnvsError(f"policy='planner': {table.name} has no plan; ask for one, as in ID?plan=4")
    keep = len(table.action_names) - 1 - table.action_names[::-1].index("keep")
    every = list(range(table.n_actions))
    return [every[keep : keep + 2], every[keep + 2 :], every[:keep]]


def cnn(table: TabularMDP, learners: int = 1, seed: int = 0, *, view: str | None = None) -> Network:
    """Makes a network that reads planes by convolutions; arguments as for :class:`Network`, default view ``grid``."""
    return Network(table, learners, seed, view=view or "grid", image="conv")


def text(table: TabularMDP, learners: int = 1, seed: int = 0, *, view: str | None = None) -> Network:
    """Makes a network that reads words; arguments as for :class:`Network`, default view ``text``."""
    return Network(table, learners, seed, view=view or "text")


def fusion(table: TabularMDP, learners: int = 1, seed: int = 0, *, view: str | None = None) -> Network:
    """Makes a network that reads picture and words; arguments as for :class:`Network`, default view ``both``."""
    return Network(table, learners, seed, view=view or "both", image="conv")


def planner(table: TabularMDP, learners: int = 1, seed: int = 0, *, view: str | None = None) -> Network:
    """Makes a network with a head each for keep-or-switch, subgoal and action; arguments as for :class:`Network`."""
    return Network(table, learners, seed, view=view, heads=True)


__all__ = ["MASKINGS", "NOISE", "Heads", "Network", "cnn", "fields", "fusion", "planner", "text"]
