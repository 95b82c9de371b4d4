"""One episode of optimal play with its credit: numbers against the oracle, and the picture of every family."""

import matplotlib.image
import numpy as np
import pytest

from credit_envs import oracle, registry
from credit_envs.errors import CreditEnvsError
from credit_envs.report.episode import _moments, episode_picture, optimal_episode

TABLES = [
    "Pivots",
    "KeyRooms",
    "Gallery",
    "Team",
    "Shop",
    "Household",
    "Chat",
    "FrozenLake",
    "KeyRooms?stages=6&map=hub",
]


@pytest.fixture(scope="module", params=TABLES)
def episode(request):
    return optimal_episode(registry.make_table(request.param), seed=1)


def test_an_episode_is_optimal_play_with_its_exact_credit(episode):
    table = episode.table
    assert episode.expected == oracle.optimal(table).J
    assert episode.uniform == oracle.evaluate(table, oracle.uniform(table)).J
    for step in episode.steps:
        assert step.advantages.size == table.n_admissible[step.state]
        assert step.advantages.mean() == pytest.approx(0, abs=1e-12)
        assert step.name == step.names[step.chosen]
    if table.is_deterministic:
        assert episode.total == pytest.approx(episode.expected)


def test_credit_of_a_won_episode_adds_up():
    """Without luck, the advantages of an episode add up to what it earned beyond the expected return."""
    for name in ("Pivots", "KeyRooms", "Shop", "Sums"):
        episode = optimal_episode(registry.make_table(name))
        assert episode.credit.sum() == pytest.approx(episode.total - episode.uniform, abs=1e-9)


def test_pivots_by_hand():
    episode = optimal_episode(registry.make_table("Pivots", length=3, actions=2, fillers=1))
    assert episode.credit.tolist() == pytest.approx([1 / 8, 0, 1 / 4, 0, 1 / 2, 0])
    assert _moments(episode) == [0, 1, 2, 4]


def test_pictures_are_written_and_differ(episode, tmp_path):
    path = tmp_path / "new" / "credit.png"
    episode_picture(episode, path)
    image = matplotlib.image.imread(path)
    assert image.shape[1] >= 1300
    assert len(np.unique(np.rint(image[..., :3] * 255).astype(np.int64) @ [1, 256, 65536])) > 50


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CreditEnvsError, match="cannot be written"):
        episode_picture(optimal_episode(registry.make_table("Pivots")), tmp_path / "file" / "credit.png")
