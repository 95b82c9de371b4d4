"""Search-P1: a reward for the path, by its own plan or by a reference, beside a soft outcome and the format.

    R = 0.3·R_path + 0.6·R_out + 0.1·R_fmt,      R_path = max(S_self, S_ref)
    S_self = r_planner · (n_exec / n_plan) · (n_exec / n_actions)        r_planner ∈ {0.2, 0.6, 1.0, 1.2}
    S_ref  = (n_cov / |R_ref|) · (n_cov / n_actions)
    R_out  = 1 if right, else 0.8·r_acc + 0.2·r_reason

One number with the last step. What the paper leaves to judges is read off labels:

* Reference track (``reference_left``): R_ref are the steps that the reference takes from the start; n_cov is how far the
  rollout got with them, in whatever order they were done.
* Plan track (tables with the ``plan`` dial): n_plan subgoals were announced by a switch, n_exec of them saw the task's own
  subgoal reached while they were in force. r_planner is 1.2 if switches and true boundaries coincide, 1.0 if all
  boundaries are switched at, 0.6 if some are, else 0.2 [R]. Tables without one have the other track alone.
* n_actions counts actions of the task: a spelled command is one, and the fields of a plan are none.
* r_acc is the return, as far as it is graded; r_reason is the probability of the right answer before the last step, given
  what had been read (``answer_share``), else the share of the reference that was covered [R].
* The format is ``valid`` if an answer was given, ``partial`` if the rollout was cut off; ``strict`` counts that as invalid,
  which makes the whole reward 0. Anything else that is malformed cannot be done here.

Open points of the paper, and what is chosen: the algorithm box leaves out the efficiency factors (·/n_actions) that the
equations have: they stand (``efficiency=False`` drops them). R_fmt is 0.1 or 0.05 and is weighted with 0.1 once more: taken
literally, so the format is worth 0.01. The appendix's Jaccard matching and decay of 0.5 contradict the main text: left
out. Critiques (label ``task`` 1) are not paid here. Source: arXiv 2602.22576, §3 (no code).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from credit_envs.errors import CreditEnvsError, check_range
from credit_envs.piece import Labels
from credit_envs.rewards.turns import offered
from credit_envs.sampling.spans import spans
from credit_envs.sampling.trajectories import Trajectories

REQUIRES = ("reference_left|field",)
"""Labels that a table must have."""

SWITCH, SUBGOAL, ACTION = range(3)
"""Values of the label ``field``."""


def search_p1(
    batch: Trajectories,
    *,
    labels: Labels,
    path: float = 0.3,
    outcome: float = 0.6,
    form: float = 0.1,
    soft: bool = True,
    efficiency: bool = True,
    valid: float = 0.1,
    partial: float = 0.05,
    strict: bool = False,
    right: float = 1.0,
) -> Trajectories:
    """Pays each rollout once, with its last step.

    Args:
        batch: rollouts.
        labels: what the environment verifies.
        path: λ of R_path.
        outcome: λ of R_out.
        form: λ of R_fmt.
        soft: whether wrong answers can earn something.
        efficiency: whether tracks are divided by the number of actions.
        valid: R_fmt of rollouts that gave an answer.
        partial: R_fmt of those that were cut off.
        strict: those earn nothing at all.
        right: smallest return that counts as right.

    Raises:
        CreditEnvsError: for a table with neither track, or a weight below 0.
    """
    for name, value in (("path", path), ("outcome", outcome), ("form", form), ("valid", valid), ("partial", partial)):
        check_range(name, value, 0, 1e9)
    covered, finished = _reference(batch, labels)
    actions = acted(batch, labels).sum(dim=1).clamp(min=1) if efficiency else None
    tracks = []
    if covered is not None:
        tracks.append(_track(covered, actions))
    if offered(labels, "field") is not None:
        announced = planned(batch, labels)
        tracks.append(announced.quality * _track((announced.executed, announced.subgoals), actions))
    if not tracks:
        raise CreditEnvsError("search_p1: expected a table with one of the labels reference_left, field")
    score = torch.stack(tracks).amax(dim=0)
    correct = batch.returns >= right
    partly = 0.8 * batch.returns.clamp(0, 1) + 0.2 * _reasoning(batch, labels, covered) if soft else 0.0
    out = torch.where(correct, torch.ones_like(score), torch.zeros_like(score) + partly)
    formed = partial + (valid - partial) * finished.to(score.dtype)
    paid = (path * score + outcome * out + form * formed) * (finished if strict else 1)
    whole = spans(batch, "segment", 1)
    judged = whole.at_end(paid[:, None])
    task = offered(labels, "task")
    return batch.replace(reward=judged if task is None else torch.where(task[:, :1] == 1, batch.reward, judged))


def acted(batch: Trajectories, labels: Labels) -> Tensor:
    """Returns which steps begin an action of the task, bool ``[N, T]``: first tokens, and fields of actions."""
    out, token, field = batch.mask, offered(labels, "token"), offered(labels, "field")
    if field is not None:
        out = out & (field[:, :-1] == ACTION)
    return out if token is None else out & (token[:, :-1] == 0)


class Announced(NamedTuple):
    """What plans were said and what became of them, float64 ``[N]`` each.

    Attributes:
        subgoals: n_plan, subgoals announced.
        executed: n_exec, those in force when a true subgoal was reached.
        quality: r_planner.
    """

    subgoals: Tensor
    executed: Tensor
    quality: Tensor


def planned(batch: Trajectories, labels: Labels) -> Announced:
    """Reads off the plan's labels what was announced and executed."""
    field, symbol, boundary = (labels(name) for name in ("field", "subgoal", "boundary"))
    segment = offered(labels, "segment")
    now, after = slice(None, -1), slice(1, None)
    said = batch.mask & (field[:, now] == SWITCH) & (field[:, after] == SUBGOAL)
    switch = said & (symbol[:, after] == 0)
    item = switch.long().cumsum(dim=1)
    number = item[:, -1]
    reached = torch.zeros_like(batch.mask)
    if segment is not None:
        reached = batch.mask & (segment[:, after] > segment[:, now])
    hit = torch.zeros((len(item), int(number.max()) + 1), dtype=torch.bool, device=item.device)
    hit[torch.arange(len(item), device=item.device)[:, None].expand_as(item)[reached], item[reached]] = True
    later = said & (symbol[:, now] > 0)
    true = later & (boundary[:, now] > 0)
    both = (true & switch).sum(dim=1)
    all_true, all_switched = both == true.sum(dim=1), both == (later & switch).sum(dim=1)
    quality = torch.full_like(batch.returns, 0.2)
    quality[both > 0] = 0.6
    quality[all_true & (both > 0)] = 1.0
    quality[all_true & all_switched] = 1.2
    executed = hit[:, 1:].sum(dim=1)
    return Announced(number.to(quality.dtype), executed.to(quality.dtype), quality)


def _track(of: tuple[Tensor, Tensor], actions: Tensor | None) -> Tensor:
    done, wanted = of
    share = done / wanted.clamp(min=1)
    return share if actions is None else share * done / actions


def _reference(batch: Trajectories, labels: Labels) -> tuple[tuple[Tensor, Tensor] | None, Tensor]:
    """Returns (n_cov, |R_ref|), float64 ``[N]``, None without a reference; and who gave an answer, bool ``[N]``."""
    left = offered(labels, "reference_left")
    if left is None:
        return None, torch.ones_like(batch.returns, dtype=torch.bool)
    begun = batch.mask.cumsum(dim=1) > 0
    first = (~begun).sum(dim=1, keepdim=True)
    total = left.gather(1, first)
    visited = torch.cat([begun, torch.ones_like(begun[:, :1])], dim=1)
    fewest = torch.where(visited & (left >= 0), left, total).amin(dim=1)
    total = total[:, 0]
    return ((total - fewest).to(torch.float64), total.to(torch.float64)), left[:, -1] <= 0


def _reasoning(batch: Trajectories, labels: Labels, covered: tuple[Tensor, Tensor] | None) -> Tensor:
    """Returns r_reason, float64 ``[N]``."""
    share, whole = offered(labels, "answer_share"), offered(labels, "answer_whole")
    if share is not None and whole is not None:
        last = spans(batch, "segment", 1).end
        return (share.gather(1, last).to(torch.float64) / whole.gather(1, last))[:, 0]
    if covered is not None:
        return covered[0] / covered[1].clamp(min=1)
    return torch.zeros_like(batch.returns)
