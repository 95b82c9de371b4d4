"""Pictures: every tile is a proper colour with a proper opacity, at every size."""

import numpy as np
import pytest

from credit_envs.families import tiles

RED = tiles.COLOURS["red"]


@pytest.mark.parametrize("tile", [8, 17, 32])
def test_pictures_are_colours_with_opacity(tile):
    pictures = [tiles.floor(tile), tiles.wall(tile), tiles.key(tile, RED), tiles.key(tile, RED, held=True)]
    pictures += [tiles.door(tile, RED, False), tiles.door(tile, RED, True), tiles.lamp(tile, True), tiles.goal(tile)]
    pictures += [tiles.agent(tile), tiles.node(tile, RED, True), tiles.tally(tile, False), tiles.track(tile, RED, None)]
    for picture in pictures:
        assert picture.shape == (tile, tile, 4)
        assert 0 <= picture[..., 3].min() <= picture[..., 3].max() <= 1
        assert 0 <= picture[..., :3].min() <= picture[..., :3].max() <= 255
        assert picture[..., 3].max() > 0.9
    assert len({picture.tobytes() for picture in pictures}) == len(pictures)


def test_walker_covers_the_area_of_its_disc():
    """Summed opacity of a disc of radius 0.385 is its area, π r²; the soft edge neither adds nor takes."""
    assert tiles.agent(32)[..., 3].mean() == pytest.approx(np.pi * 0.385**2, rel=0.01)


def test_stamp_paints_over_what_is_there():
    board = tiles.canvas(2, 3, 8, tiles.PAGE)
    tiles.stamp(board, tiles.floor(8, (10, 20, 30)), np.array([0, 1]), np.array([2, 0]))
    picture = tiles.finish(board)
    assert picture.shape == (16, 24, 3)
    assert picture.dtype == np.uint8
    assert picture[4, 20].tolist() == picture[12, 4].tolist() == [10, 20, 30]
    assert picture[4, 4].tolist() == [255, 255, 255]


def test_wide_maps_get_smaller_tiles():
    assert [tiles.tile_size(columns) for columns in (5, 48, 96, 10_000)] == [32, 32, 16, 8]
