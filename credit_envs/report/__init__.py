"""Reports: results as terminal tables, as one page, as a picture, and in one sentence per environment."""

from credit_envs.report import overview
from credit_envs.report.lessons import sentences
from credit_envs.report.markdown import markdown
from credit_envs.report.page import write_page
from credit_envs.report.plots import picture
from credit_envs.report.terminal import print_results

__all__ = ["markdown", "overview", "picture", "print_results", "sentences", "write_page"]
