"""Trials that need a network: a table shares nothing between observations, has no size, and no picture to look away from."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import numpy as np
import torch
from torch import Tensor

from credit_envs import registry
from credit_envs.credit.gigpo import gigpo
from credit_envs.credit.grpo import dr_grpo
from credit_envs.experiments.trials import Figures
from credit_envs.experiments.trials_learn import apart
from credit_envs.experiments.trials_loops import told, trained
from credit_envs.oracle.control import ladder
from credit_envs.oracle.evaluation import expected_return, occupancy
from credit_envs.plans.gc_rl import gc_rl
from credit_envs.policies.features import default_view
from credit_envs.policies.network import MASKINGS, Network, fusion
from credit_envs.policies.phase import Phase
from credit_envs.policies.routing import balance, diversity, switches, switching, temperature
from credit_envs.rewards.critique import critique_reward
from credit_envs.sampling.divergence import entropy
from credit_envs.sampling.trajectories import Sample, Trajectories
from credit_envs.table.mdp import TabularMDP
from credit_envs.training import Run
from credit_envs.weights.selection import top
from credit_envs.weights.vppo import MEASURES, exact_dependence, sampled_dependence, vppo_mask


def critique(
    environment: str, seeds: range, way: str, budget: int, points: int = 8, groups: int = 4, view: str = "text"
) -> Figures:
    """Trains a network to solve, with or without critiques of its own solutions beside; only solving is measured.

    Args:
        environment: id of a table that holds both tasks (``Sums`` with ``task="both"``).
        seeds: of the learners.
        way: ``solve`` or ``critique``.
        budget: environment steps per learner.
        points: measurements along the way.
        groups: of solutions per update and learner.
        view: what the network reads.

    Returns:
        ``final`` and ``speed``: exact share of right solutions in the end, and its mean over the budget.
    """
    table = registry.make_table(environment)
    solving = alone(table, table.labels["task"][table.start_state] == 0)
    curve: list[list[float]] = []

    def plan(sampler: Any, groups: int, size: int) -> Sample:
        if way == "critique":
            return gc_rl(sampler, groups, size)
        probability = solving.start_probability / solving.start_probability.sum()
        luck = np.random.default_rng([seeds.start, sampler.meter.policy_calls])
        where = luck.choice(table.n_contexts, groups, p=probability)
        owner = sampler.going.numpy()[np.arange(groups) % len(sampler.going)]
        drawn: Sample = sampler.groups(groups, size, context=torch.from_numpy(owner * table.n_contexts + where))
        return drawn

    def credit(run: Run, sample: Sample) -> Tensor:
        batch = sample.trajectories
        return dr_grpo(critique_reward(batch, labels=run.provided(sample)["labels"]) if way == "critique" else batch)

    def after(run: Run, _: Sample) -> None:
        if run.share * points >= len(curve):
            curve.append([expected_return(solving, one) for one in apart(run.policy, table)])  # type: ignore[arg-type]

    options: dict[str, Any] = {"policy": "text" if view == "text" else "mlp", "view": view}
    run, _ = trained(table, environment, seeds, budget, credit, plan, after=after, groups=groups, **options)
    curve.append([expected_return(solving, one) for one in apart(run.policy, table)])  # type: ignore[arg-type]
    return {"final": curve[-1], "speed": np.mean(curve, axis=0).tolist()}


def alone(table: TabularMDP, wanted: Any) -> TabularMDP:
    """Returns a table that starts in some of its contexts only, bool ``[contexts]``."""
    probability = np.where(wanted, table.start_probability, 0.0)
    return dataclasses.replace(table, start_probability=probability / probability.sum(), allow_unreachable=True)


def sized(environment: str, seeds: range, estimator: str, budget: int, log2_width: int, groups: int = 8) -> Figures:
    """Trains a network of one hidden width with GRPO's or GiGPO's credit, on the view that suits the environment.

    The learning rate falls with the root of the width: at 0.005 GRPO destroys every network of width 256 in KeyRooms, and GiGPO
    few, so that one rate for all would have measured how much each bears.
    """
    table = registry.make_table(environment)
    view = default_view(table, registry.parse(environment)[0].observation)
    network = Network(table, len(seeds), seeds.start, view=view, width=2**log2_width)

    def credit(_: Run, sample: Sample) -> Tensor:
        return dr_grpo(sample.trajectories) if estimator == "grpo" else gigpo(sample.trajectories, gamma=1.0)

    rate = 0.02 * 2 ** (-log2_width / 2)
    return told(trained(table, environment, seeds, budget, credit, player=network, groups=groups, lr=rate)[1])


def experts(
    environment: str, seeds: range, number: int, budget: int, width: int = 32, rank: int = 4, groups: int = 16
) -> Figures:
    """Trains PA-MoE with GiGPO's credit, or one expert that has at least as many weights.

    Args:
        environment: id.
        seeds: of the learners, which train one after the other.
        number: experts.
        budget: environment steps per learner.
        width: of the experts' policy; one expert is as much wider as makes up for the missing ones.
        rank: of the experts.
        groups: per update.

    Returns:
        ``final``, ``speed``, ``weights`` (number of parameters) and ``switches`` per rollout at the end.
    """
    table = registry.make_table(environment)
    size = functools.partial(_weights, table)
    if number == 1:
        wanted = size(experts=4, width=width, rank=rank)
        width = next(w for w in range(width, 64 * width) if size(experts=1, width=w, rank=rank) >= wanted)
    out: dict[str, list[float]] = {"final": [], "speed": [], "weights": [], "switches": []}
    for seed in seeds:
        policy = Phase(table, 1, seed, experts=number, width=width, rank=rank)
        moved = [0.0]

        def credit(run: Run, sample: Sample, policy: Phase = policy) -> Tensor:
            policy.temperature = temperature(int(3000 * run.share))
            return gigpo(sample.trajectories)

        def kept(sample: Sample, policy: Phase = policy, moved: list[float] = moved) -> Tensor:
            batch = sample.trajectories
            said = policy.outputs(batch)
            moved[0] = float(switches(said.routed.detach(), batch.mask).double().mean())
            routed, mask = said.routed, batch.mask
            return diversity(said.each, routed, mask) + balance(routed, mask) + switching(routed, mask)

        _, curve = trained(
            table, environment, range(seed, seed + 1), budget, credit, player=policy, groups=groups, lr=0.003,
            beside=kept if number > 1 else None, points=10, rollouts=512,
        )  # fmt: skip
        for name, values in told(curve).items():
            out[name] += values
        out["weights"].append(float(sum(p.numel() for p in policy.parameters())))
        out["switches"].append(moved[0])
    return out


def _weights(table: TabularMDP, experts: int, width: int, rank: int) -> int:
    return sum(p.numel() for p in Phase(table, 1, 0, experts=experts, width=width, rank=rank).parameters())


def dependence(
    environment: str,
    seeds: range,
    budget: int,
    printed_in: str = "",
    keep: str = "",
    level: float = 0.5,
    lessons: int = 300,
    share: float = 0.25,
    groups: int = 8,
    lr: float = 0.0002,
) -> Figures:
    """Trains a network that sees, and asks how well measures of visual dependence find the steps that need the picture.

    Training goes on from a network taught play of a given level, as VPPO's goes on from a model that can see: from nothing, or
    at Adam's usual 0.002, GRPO ended on Charts with networks that don't look (they write last year's heights).

    A measure keeps the ``share`` of each rollout's steps where it is largest, and is scored by the share of the steps with the
    label ``visual`` that it keeps: 1 if it finds all, ``share`` if it is blind.

    Args:
        environment: id of a table with the label ``visual``.
        seeds: of the learners.
        budget: environment steps per learner.
        printed_in: of Charts with printed heights, where they stand: ``text`` or ``picture``. Steps that copy one are then told
            from steps that perceive a bar, among those that can still be paid.
        keep: one of :data:`LOOKS`: credit is kept on the 40 % of each rollout's steps where it is largest (VPPO's mask).
        level: normalised return of the play that is taught.
        lessons: updates of teaching.
        share: in [0, 1].
        groups: per update and learner.
        lr: learning rate of Adam.

    Returns:
        ``taught`` (return before training), ``final`` and ``speed``, and ``recall_NAME`` for :data:`LOOKS`. With
        ``printed_in`` also ``perceived_NAME`` and ``copied_NAME``, the shares that are kept of these steps; ``apart_NAME``, how
        often a perceived step scores higher than a copied one of the same rollout (ties count half); ``read_perceived`` and
        ``read_copied``, how often they are right.
    """
    place = f"{environment}{'&' if '?' in environment else '?'}printed_in={printed_in}" if printed_in else environment
    table = registry.make_table(place)
    network = fusion(table, len(seeds), seeds.start)
    network.load_state_dict(_taught(place, len(seeds), seeds.start, level, lessons))
    out = {"taught": [expected_return(table, one) for one in apart(network, table)]}

    def credit(run: Run, sample: Sample) -> Tensor:
        batch = sample.trajectories
        if not keep:
            return dr_grpo(batch)
        score = _look(network, batch, keep, run.sampler.meter.policy_calls)
        return dr_grpo(batch) * vppo_mask(batch, dependence=score, blind_log_prob=batch.log_prob)

    run, curve = trained(table, place, seeds, budget, credit, groups=groups, player=network, lr=lr)
    out |= told(curve)
    sampler = run.sampler
    sampler.going = torch.arange(len(seeds))
    sample = sampler.groups(32 * len(seeds), 8)
    batch, state = sample.trajectories, sample.truth.state % table.n_states
    owner = sampler.owner(batch.context)

    def label(of: TabularMDP, name: str) -> Tensor:
        return torch.from_numpy(of.labels[name].copy())[state]

    def share_of(part: Tensor, whole: Tensor) -> list[float]:
        every = (whole.flatten(1).double(), (part * whole).flatten(1).double())
        size, hit = (torch.zeros(len(seeds)).double().index_add_(0, owner, each.sum(dim=1)) for each in every)
        return (hit / size).tolist()

    needs = (label(table, "visual") == 1) & batch.mask
    if printed_in:
        # Both tables number their states alike, and only the other one says which heights are printed.
        lettered = label(registry.make_table(environment, printed_in="picture"), "lettered") == 1
        live = (label(table, "right") == 1) & batch.mask
        kinds = {"perceived": needs & live & ~lettered, "copied": live & lettered}
        pairs = kinds["perceived"][:, :, None] & kinds["copied"][:, None, :]
        right = batch.action == label(table, "reference_action")
        out |= {f"read_{name}": share_of(right, steps) for name, steps in kinds.items()}
    for name in LOOKS:
        score = _look(network, batch, name, seeds.start)
        kept = top(score, batch.mask, share)
        out[f"recall_{name}"] = share_of(kept, needs)
        if printed_in:
            out |= {f"{kind}_{name}": share_of(kept, steps) for kind, steps in kinds.items()}
            here, there = score[:, :, None], score[:, None, :]
            out[f"apart_{name}"] = share_of((here > there).double() + (here == there).double() / 2, pairs)
    return out


@functools.lru_cache(maxsize=4)
def _taught(environment: str, learners: int, seed: int, level: float, lessons: int) -> dict[str, Tensor]:
    """Returns the weights of networks fitted to play of a level, by cross-entropy on the states that it visits.

    Arms of a place begin with the same weights, so these are kept.
    """
    table = registry.make_table(environment)
    network, policy = fusion(table, learners, seed), ladder(table, (level,))[-1].policy
    visits = occupancy(table, policy)[:-1].sum(axis=0) * (table.n_admissible > 0)
    seen = np.flatnonzero(visits)
    look = table.emission.base[seen]
    weight = torch.from_numpy(visits[seen] / visits.sum())[:, None]
    goal = torch.from_numpy(policy.probability[look])
    first = torch.arange(learners)[:, None] * network.n_obs
    rows = (first + torch.from_numpy(look) * table.emission.n_codes).flatten()
    optimizer = torch.optim.Adam(network.parameters(), lr=0.005)
    for _ in range(lessons):
        log = network.log_probs(rows).view(learners, *goal.shape)
        optimizer.zero_grad()
        # What is inadmissible has −1e9 and probability 0.
        (-(weight * goal * log).sum()).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return {name: value.detach().clone() for name, value in network.state_dict().items()}


LOOKS = ("k3", "patches", "noise", "gap", "drop", *MEASURES, "entropy", "chance")
"""Measures of visual dependence, and what stands beside them.

From the action taken, the picture black: ``k3`` (VPPO's), ``gap`` (|log-ratio|) and ``drop`` (π(a) with the picture less π(a)
without); k3 with half of the ``patches`` black, or under ``noise``. From all actions, the picture black:
:data:`credit_envs.weights.vppo.MEASURES`. Without a second look: ``entropy`` and ``chance``.
"""


def _look(network: Network, batch: Trajectories, name: str, salt: int) -> Tensor:
    """Returns one of :data:`LOOKS`, float64 ``[N, T]``; ``salt`` is the luck of patches, noise and chance."""
    if name == "chance":
        luck = torch.Generator().manual_seed(salt)
        return torch.rand(batch.mask.shape, generator=luck, dtype=torch.float64)
    if name == "entropy":
        return entropy(batch.policy_table)[batch.policy_row]
    with torch.no_grad():
        if name in MEASURES:
            return exact_dependence(batch, network.blind(batch), name)
        masking = name if name in MASKINGS else "blank"
        blind: Tensor = network.blind_log_prob(batch, masking, salt=salt)
    if name == "gap":
        return (blind - batch.log_prob).abs()
    return batch.log_prob.exp() - blind.exp() if name == "drop" else sampled_dependence(batch, blind)
