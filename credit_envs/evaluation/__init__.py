"""Evaluation: every estimator's credit against the truth, at equal budget, with intervals."""

from credit_envs.evaluation.config import Config
from credit_envs.evaluation.prices import PRICE_LISTS, Prices
from credit_envs.evaluation.results import Results, evaluate, open_results
from credit_envs.evaluation.summary import Interval, Row

__all__ = ["PRICE_LISTS", "Config", "Interval", "Prices", "Results", "Row", "evaluate", "open_results"]
