"""Pictures that only Team needs: agents with colours of their own, doors with bars, plates."""

from __future__ import annotations

from functools import lru_cache

from credit_envs.families.tiles import (
    FLOOR,
    INK,
    PAGE,
    STAR,
    WALKER,
    Colour,
    Picture,
    _box,
    _disc,
    _layers,
    _shade,
    _square,
    _union,
)

AGENTS: tuple[Colour, ...] = (WALKER, (226, 106, 44), (38, 150, 110), (146, 82, 178))
_PLACES = {
    1: ((0.5, 0.5),),
    2: ((0.29, 0.5), (0.71, 0.5)),
    3: ((0.29, 0.3), (0.71, 0.3), (0.5, 0.71)),
    4: ((0.29, 0.29), (0.71, 0.29), (0.29, 0.71), (0.71, 0.71)),
}


def tile_size(columns: int) -> int:
    """Returns pixels per tile: 48, less on maps wider than 32 tiles."""
    return max(12, min(48, 1536 // columns))


@lru_cache(maxsize=1024)
def agent(tile: int, number: int, slot: int, together: int, moves: bool, key: Colour | None) -> Picture:
    """An agent, with as many dots as its number; the mover has a golden rim, who has a key in hand its badge.

    Args:
        tile: pixels per tile.
        number: 0 … 3.
        slot: its place among the agents on this cell.
        together: number of agents on this cell.
        moves: whether it is the mover.
        key: colour of the key in hand.
    """
    size = 1.0 if together == 1 else 0.58
    u, v = _PLACES[together][slot]
    at = tuple((part - centre) / size + 0.5 for part, centre in zip(_square(tile), (u, v), strict=True))
    plane = (at[0], at[1])
    dots = [(0.5, 0.5)] if number == 0 else [(x, y) for x, y in _PLACES[number + 1]]
    spread = [(0.5 + (x - 0.5) * 0.62, 0.5 + (y - 0.5) * 0.62) for x, y in dots]
    mark = _union([_disc(plane, x, y, 0.062) for x, y in spread])
    shapes = [
        (_disc(plane, 0.5, 0.5, 0.43) * size, INK),
        (_disc(plane, 0.5, 0.5, 0.4) * size, STAR if moves else PAGE),
        (_disc(plane, 0.5, 0.5, 0.31) * size, AGENTS[number]),
        (mark * size, PAGE),
    ]
    if key is not None:
        small = ((at[0] - 0.73) / 0.5 + 0.5, (at[1] - 0.8) / 0.5 + 0.5)
        badge = _box(plane, 0.5, 0.64, 0.99, 0.97, 0.1) * size
        bow = abs(_disc(small, 0.3, 0.5, 0.135)) - 0.06
        teeth = [_box(small, 0.64, 0.5, 0.73, 0.69), _box(small, 0.8, 0.5, 0.88, 0.72)]
        shape = _union([bow, _box(small, 0.46, 0.44, 0.88, 0.56), *teeth]) * 0.5 * size
        shapes += [(badge - 0.025, _shade(key, 0.5)), (badge, PAGE), (shape, key)]
    return _layers(tile, *shapes)


@lru_cache(maxsize=64)
def gate(tile: int, colour: Colour, is_open: bool) -> Picture:
    """A door with bars, which slide to the sides while it is held open."""
    at = _square(tile)
    frame = _box(at, 0.0, 0.0, 1.0, 1.0, 0.06)
    inner = _box(at, 0.1, 0.1, 0.9, 0.9, 0.03)
    bars = _union(
        [_box(at, x - 0.035, 0.1, x + 0.035, 0.9) for x in ((0.16, 0.84) if is_open else (0.26, 0.42, 0.58, 0.74))]
    )
    return _layers(
        tile, (frame, _shade(colour, 0.75)), (inner, FLOOR if is_open else _shade(colour, 0.35)), (bars, colour)
    )


@lru_cache(maxsize=64)
def plate(tile: int, colour: Colour) -> Picture:
    """A pressure plate in the floor, in the colour of its door."""
    at = _square(tile)
    rim, top = _box(at, 0.06, 0.06, 0.94, 0.94, 0.1), _box(at, 0.14, 0.14, 0.86, 0.86, 0.07)
    light = tuple(round(255 - (255 - c) * 0.45) for c in colour)
    return _layers(tile, (rim, _shade(colour, 0.7)), (top, (light[0], light[1], light[2])))
