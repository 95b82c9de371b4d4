"""credit_envs: environments in which the true credit of every action is known."""

__version__ = "0.1.0"
