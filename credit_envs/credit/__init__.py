"""Credit estimators: one file per family of methods, one line each in :data:`METHODS`."""

from __future__ import annotations

import functools

from credit_envs.credit import anchor_graph, exact, gigpo, grpo, monte_carlo
from credit_envs.credit.method import NEEDS, CreditFunction, Method
from credit_envs.errors import unknown

_GIGPO, _VINE = "Feng et al. 2025, arXiv 2505.10978", "Kazemnejad et al. 2024, arXiv 2410.01679"
_some = functools.partial

METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        Method("grpo", grpo.grpo, "trajectory", "Shao et al. 2024, arXiv 2402.03300"),
        Method("dr_grpo", grpo.dr_grpo, "trajectory", "Liu et al. 2025, arXiv 2503.20783"),
        Method("rloo", grpo.rloo, "trajectory", "Ahmadian et al. 2024, arXiv 2402.14740"),
        Method("gigpo", gigpo.gigpo, "step", _GIGPO, gamma=0.95),
        Method("gigpo_std", _some(gigpo.gigpo, norm_by_std=True), "step", _GIGPO, gamma=0.95),
        Method("gigpo_similarity", gigpo.gigpo_similarity, "step", _GIGPO, gamma=0.95),
        Method("gigpo_embedding", gigpo.gigpo_embedding, "step", "as told; no such option in the code", gamma=0.95),
        Method("gigpo_key", gigpo.gigpo_key, "step", _GIGPO, gamma=0.95),
        Method("gigpo_state", gigpo.gigpo_state, "step", f"{_GIGPO}; privileged anchors", gamma=0.95),
        Method(
            "gigpo_state_time", _some(gigpo.gigpo_state, time=True), "step", f"{_GIGPO}; privileged anchors", gamma=0.95
        ),
        Method("vineppo_k1", _some(monte_carlo.vineppo, k=1), "step", _VINE, gamma=1.0),
        Method("vineppo", monte_carlo.vineppo, "step", _VINE, gamma=1.0),
        Method("return_minus_value", monte_carlo.return_minus_value, "step", "ours, after VinePPO", "ours", gamma=1.0),
        Method(
            "value_minus_mean",
            monte_carlo.value_minus_trajectory_mean,
            "step",
            "as told under AgentPRM",
            "reconstruction",
            1.0,
        ),
        Method("anchor_graph", anchor_graph.anchor_graph, "step", "ours", "ours", gamma=1.0),
        Method("anchor_graph_time", _some(anchor_graph.anchor_graph, time=True), "step", "ours", "ours", gamma=1.0),
        Method(
            "anchor_graph_state", anchor_graph.anchor_graph_state, "step", "ours; privileged anchors", "ours", gamma=1.0
        ),
        Method(
            "anchor_graph_state_time",
            _some(anchor_graph.anchor_graph_state, time=True),
            "step",
            "ours; privileged anchors",
            "ours",
            gamma=1.0,
        ),
        Method("projected", exact.projected, "step", "oracle"),
        Method("exact", exact.exact, "step", "oracle"),
    )
}
"""Every estimator by name. Adding one: a file beside this one, and a line here."""

DEFAULT = ("grpo", "dr_grpo", "rloo", "gigpo", "vineppo_k1", "vineppo", "anchor_graph", "anchor_graph_time", "exact")
"""What ``credit-envs evaluate`` scores when nothing is named."""


def method(name: str) -> Method:
    """Returns a method by name.

    Raises:
        CreditEnvsError: if there is none; the message names the nearest ones.
    """
    if name not in METHODS:
        raise unknown("estimator", name, METHODS)
    return METHODS[name]


__all__ = ["DEFAULT", "METHODS", "NEEDS", "CreditFunction", "Method", "method"]
