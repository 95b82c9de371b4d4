"""The leaderboard: how a method is entered, why an entry can be trusted, and the page that shows all of them."""

from credit_envs.leaderboard.hidden import Season, new_season, open_season
from credit_envs.leaderboard.manifest import Manifest, read_manifest
from credit_envs.leaderboard.submit import submit
from credit_envs.leaderboard.tracks import TRACKS, Board, board
from credit_envs.leaderboard.verify import Check, Report, verify

__all__ = [
    "TRACKS",
    "Board",
    "Check",
    "Manifest",
    "Report",
    "Season",
    "board",
    "new_season",
    "open_season",
    "read_manifest",
    "submit",
    "verify",
]
