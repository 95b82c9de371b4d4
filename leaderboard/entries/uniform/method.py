"""Uniform play over admissible actions: the 0 of the scale."""


class Uniform:
    """The policy."""

    def probabilities(self, obs, mask):  # noqa: ARG002
        """Returns rows float64 ``[n, A]``."""
        return mask / mask.sum(axis=1, keepdims=True).clip(1)


def train(make_env, budget, seed, device):  # noqa: ARG001
    """Learns nothing, and spends nothing."""
    return Uniform()
