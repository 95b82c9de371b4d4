"""The pictures of the concepts, each computed here from a table, its oracle and samples; nothing is drawn by hand."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from credit_envs import oracle, registry
from credit_envs.evaluation.providers import Provided
from credit_envs.evaluation.scores import GradientFrame
from credit_envs.recipes import recipe
from credit_envs.report.plots import BAND, COLOURS, GRID, INK, SOFT, STYLE, pyplot
from credit_envs.sampling.sampler import Sampler

BLUE, ORANGE, GREEN = COLOURS.values()


def files(folder: Path) -> Iterator[tuple[str, str]]:
    """Writes the pictures that are missing; there is no text."""
    torch.set_num_threads(1)
    images = folder / "images"
    images.mkdir(parents=True, exist_ok=True)
    plt = pyplot("concepts")
    for draw in (granularity, dials, ledger, values, budget):
        path = images / f"{draw.__name__}.png"
        if not path.exists():
            with plt.rc_context(STYLE):
                figure = draw(plt)
                figure.savefig(path, dpi=150, facecolor="white")
                plt.close(figure)
    yield from ()


def granularity(plt):
    """One won rollout of Pivots: the true advantage of its steps, and what three estimators say."""
    table = registry.make_table("Pivots", fillers=3, length=4, actions=2)
    sampler = Sampler(table, oracle.uniform(table), seed=1)
    sample = sampler.groups(64, 8)
    batch, provided = sample.trajectories, Provided(sampler, sample)
    chosen = int(torch.argmax(batch.returns))
    shown = {
        "exact advantage": provided["advantage"],
        "grpo: one number per trajectory": recipe("dr_grpo").credit(batch, provided)[1],
        "gigpo: trajectory + anchor": recipe("gigpo").credit(batch, provided)[1],
        "anchor_graph: values of anchors": recipe("anchor_graph").credit(batch, provided)[1],
    }
    figure, rows = plt.subplots(len(shown), 1, figsize=(8, 5.2), sharex=True, layout="constrained")
    for axes, (name, credit) in zip(rows, shown.items(), strict=True):
        value = credit[chosen].numpy()
        for t in range(0, value.size, 4):
            axes.axvspan(t - 0.5, t + 0.5, color=BAND, linewidth=0)
        axes.bar(np.arange(value.size), value, 0.8, color=np.where(value < 0, ORANGE, BLUE))
        axes.axhline(0, color=SOFT, linewidth=0.6)
        axes.set_title(name, fontsize=9.5)
        axes.tick_params(length=0, labelsize=8)
    rows[-1].set_xlabel("step (shaded: the decisions; between them nothing changes)")
    return figure


def dials(plt):
    """What dials were asked for and what the oracle measures."""
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(9.5, 2.9), layout="constrained")

    def table(**knobs):
        return registry.make_table("KeyRooms", stages=1, horizon_factor=4, **knobs)

    def rho(**knobs):
        turned = table(**knobs)
        return oracle.revisit_rate(turned, oracle.uniform(turned)).value

    def spread(**knobs):
        turned = table(**knobs)
        return oracle.spread(turned, oracle.uniform(turned))

    units, slips, lamps, skins = [1, 2, 3, 4], [0, 0.1, 0.2, 0.4, 0.6, 0.8, 1], [0, 1, 2, 3], [0, 0.25, 0.5, 0.75, 1]
    left.plot(units, [spread(unit=unit).effective_unit for unit in units], "o-", color=BLUE)
    left.set(xlabel="unit (steps per decision)", title="k_eff, effective causal unit", ylim=(0, None))
    middle.plot(slips, [spread(slip=slip).luck_share for slip in slips], "o-", color=ORANGE)
    middle.set(xlabel="slip (chance of a random action)", title="share of luck in the return")
    right.plot(lamps, [rho(distractors=lamp) for lamp in lamps], "o-", color=GREEN, label="structural: number of lamps")
    right.plot(
        [3 * q for q in skins], [rho(skin_rate=q) for q in skins], "s--", color=SOFT, label="cosmetic: skin_rate 0 … 1"
    )
    right.set(title="ρ₈, revisit rate", ylim=(0, 1.05), xticks=lamps)
    right.legend(frameon=False, fontsize=8, loc="lower left")
    for axes in (left, middle, right):
        axes.grid(color=GRID, linewidth=0.6)
        axes.tick_params(length=0, labelsize=8)
    return figure


def ledger(plt):
    """Two rollouts of FrozenLake: skill and luck add up to the return."""
    table = registry.make_table("FrozenLake")
    policy = oracle.ladder(table, (0.5,))[-1].policy
    sampler = Sampler(table, policy, seed=3)
    sample = sampler.groups(40, 8)
    batch, provided = sample.trajectories, Provided(sampler, sample)
    value, advantage = provided["value"].numpy(), provided["advantage"].numpy()
    reward, mask = batch.reward.numpy(), batch.mask.numpy()
    after = np.concatenate([value[:, 1:], np.zeros((len(value), 1))], axis=1)
    after[np.arange(len(value)), mask.sum(axis=1) - 1] = 0
    luck = np.where(mask, reward + after - (value + advantage), 0)
    won, lost = (np.flatnonzero((batch.returns.numpy() > 0) == win) for win in (True, False))
    usual = [group[np.argsort(mask[group].sum(axis=1))[group.size // 2]] for group in (won, lost)]
    figure, both = plt.subplots(1, 2, figsize=(9, 3), sharey=True, layout="constrained")
    for axes, i, word in zip(both, usual, ("won", "lost"), strict=True):
        n = int(mask[i].sum())
        t = np.arange(n + 1)
        skill = np.append(0, advantage[i, :n].cumsum())
        lucky = np.append(0, luck[i, :n].cumsum())
        axes.plot(t, value[i, 0] + skill + lucky, color=INK, label="V₀ + skill + luck")
        axes.plot(t, skill, color=BLUE, label="skill Σ A")
        axes.plot(t, lucky, color=ORANGE, label="luck Σ L")
        axes.axhline(0, color=SOFT, linewidth=0.6)
        axes.set_title(
            f"a rollout that {word}: {value[i, 0]:.2f} {skill[-1]:+.2f} {lucky[-1]:+.2f} = {batch.returns[i]:.0f}"
        )
        axes.set_xlabel("step")
        axes.tick_params(length=0, labelsize=8)
    both[0].legend(frameon=False, fontsize=8)
    return figure


def values(plt):
    """FrozenLake at half of the way to optimal play: V at two steps, and the exact advantage of each direction as arrows."""
    table = registry.make_table("FrozenLake")
    policy = oracle.ladder(table, (0.5,))[-1].policy
    found = oracle.evaluate(table, policy)
    side, holes, goal = 4, {5, 7, 11, 12}, 15
    moves = ((-1, 0), (0, 1), (1, 0), (0, -1))  # left, down, right, up
    figure, panels = plt.subplots(1, 2, figsize=(8, 4), layout="constrained")
    for axes, t in zip(panels, (0, 90), strict=True):
        grid = found.V[t].reshape(side, side)
        axes.imshow(grid, cmap="Blues", vmin=0, vmax=1)
        for state in range(side * side):
            y, x = divmod(state, side)
            if state in holes or state == goal:
                axes.text(x, y, "goal" if state == goal else "hole", ha="center", va="center", color=SOFT, fontsize=9)
                continue
            axes.text(x, y, f"{grid[y, x]:.2f}", ha="center", va="center", fontsize=9, color=INK)
            advantage = found.q(t, state) - found.V[t, state]
            for (dx, dy), worth in zip(moves, advantage, strict=True):
                size = 0.5 * min(1.0, abs(worth) / 0.15)
                start = (x + 0.24 * dx, y + 0.24 * dy)
                colour = BLUE if worth > 0 else ORANGE
                arrow = {"arrowstyle": "-|>", "color": colour, "linewidth": 3 * size + 0.2, "shrinkA": 0, "shrinkB": 0}
                axes.annotate(
                    "", (x + 0.46 * dx, y + 0.46 * dy), start, arrowprops={**arrow, "alpha": 0.25 + 1.5 * size}
                )
        axes.set_title(f"V and A with {table.horizon - t} steps to go")
        axes.set_xticks([])
        axes.set_yticks([])
    return figure


def budget(plt):
    """How close the estimated gradient comes to the exact one as rollouts grow, on KeyRooms at half of optimal play."""
    table = registry.make_table("KeyRooms")
    policy = oracle.ladder(table, (0.5,))[-1].policy
    exact = torch.from_numpy(oracle.exact_gradient(table, policy))
    target = torch.from_numpy(policy.probability)
    sizes, seeds = [1, 4, 16, 64, 256], 6
    lines = {"dr_grpo": SOFT, "gigpo": ORANGE, "anchor_graph": GREEN, "exact": BLUE}
    found = {name: np.zeros((seeds, len(sizes))) for name in lines}
    for seed in range(seeds):
        sampler = Sampler(table, policy, seed=seed)
        for j, groups in enumerate(sizes):
            sample = sampler.groups(groups, 8)
            frame, provided = GradientFrame(sample, exact, target), Provided(sampler, sample)
            for name in lines:
                credit = recipe(name).credit(sample.trajectories, provided)[1]
                slope = frame.total(frame.gradient(credit)).flatten()
                size = float(slope.norm() * exact.norm())
                found[name][seed, j] = float(slope @ exact.flatten()) / size if size else 0.0
    figure, axes = plt.subplots(figsize=(6.4, 3.4), layout="constrained")
    for name, colour in lines.items():
        axes.plot(sizes, found[name].mean(axis=0), "o-", color=colour, label=name)
    axes.set_xscale("log", base=2)
    axes.set(xlabel="groups of 8 rollouts", title="cosine to the exact policy gradient (mean of 6 seeds)")
    axes.grid(color=GRID, linewidth=0.6)
    axes.tick_params(length=0, labelsize=8)
    axes.legend(frameon=False, fontsize=8)
    return figure
