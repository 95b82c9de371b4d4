"""Price lists: what a sampled step, a policy call and a trained step cost, depending on what is scarce."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Spending:
    """What one replicate of one estimator used.

    Attributes:
        env_steps: environment steps, continuations and replayed prefixes included.
        policy_calls: policy evaluations, those with the image masked included.
        model_calls: evaluations of a critic, a reward model or a judge.
        trained_steps: steps whose credit enters the update.
        seconds: wall time of computing the credit, continuations included.
    """

    env_steps: float
    policy_calls: float
    model_calls: float
    trained_steps: float
    seconds: float


@dataclass(frozen=True)
class Prices:
    """Price of each kind of spending, in arbitrary units."""

    env_step: float = 0.0
    policy_call: float = 0.0
    model_call: float = 0.0
    trained_step: float = 0.0

    def cost(self, spent: Spending) -> float:
        """Returns what the spending costs."""
        return (
            self.env_step * spent.env_steps
            + self.policy_call * spent.policy_calls
            + self.model_call * spent.model_calls
            + self.trained_step * spent.trained_steps
        )


PRICE_LISTS: Mapping[str, Prices] = {
    "simulator": Prices(env_step=1.0),
    # A trained token costs a forward and a backward pass, about three times a generated one; models are policy-sized.
    "language model": Prices(policy_call=1.0, model_call=1.0, trained_step=3.0),
    "data": Prices(trained_step=1.0),
}
"""The three price lists of every report."""
