"""What finding faces promises for any input."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from faceindex.faces.area import SumTable
from faceindex.faces.nms import nms
from faceindex.faces.pyramid import CANVAS, STRIDE, cell_count, pyramid_tiles
from faceindex.faces.turned import turned_back
from faceindex.types import Detections
from tests.unit.faces.test_area import by_torch, noise, resized
from tests.unit.faces.test_nms import crowd, one_box_at_a_time
from tests.unit.faces.test_pyramid import level_sizes

sides = st.integers(1, 70)


@given(height=sides, width=sides, new_height=sides, new_width=sides, seed=st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_any_size_is_resized_to_any_other_as_torch_does_it(
    height: int, width: int, new_height: int, new_width: int, seed: int
) -> None:
    pixels = noise(height, width, seed)

    found = resized(SumTable([pixels]), 0, new_height, new_width)

    np.testing.assert_allclose(found, by_torch(pixels, new_height, new_width), rtol=0, atol=1e-4)


@given(data=st.data(), side=st.sampled_from([24, 48]))
@settings(max_examples=40, deadline=None)
def test_any_part_of_any_picture_is_cut_as_if_it_stood_alone(data: st.DataObject, side: int) -> None:
    shapes = data.draw(st.lists(st.tuples(sides, sides), min_size=1, max_size=3))
    pictures = [noise(*shape, seed) for seed, shape in enumerate(shapes)]
    owners, boxes = [], []
    for owner, (height, width) in enumerate(shapes):
        x0, y0 = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
        x1, y1 = data.draw(st.integers(x0 + 1, width)), data.draw(st.integers(y0 + 1, height))
        owners.append(owner)
        boxes.append((x0, y0, x1, y1))

    crops = SumTable(pictures).crops(np.array(owners), np.array(boxes), side)

    for crop, owner, (x0, y0, x1, y1) in zip(crops, owners, boxes, strict=True):
        np.testing.assert_allclose(crop, by_torch(pictures[owner][y0:y1, x0:x1], side, side), rtol=0, atol=1e-4)


@given(count=st.integers(0, 60), seed=st.integers(0, 10**6), threshold=st.floats(0, 1), smaller=st.booleans())
@settings(max_examples=60, deadline=None)
def test_suppression_keeps_what_a_slow_loop_keeps(count: int, seed: int, threshold: float, smaller: bool) -> None:
    boxes, scores, groups = crowd(count, seed)

    kept = nms(boxes, scores, groups, threshold, smaller=smaller)

    assert kept.tolist() == one_box_at_a_time(boxes, scores, groups, threshold, smaller)


@given(
    pictures=st.lists(
        st.tuples(st.integers(1, 900), st.integers(1, 900), st.floats(12, 60)), min_size=1, max_size=4
    ).flatmap(lambda few: st.permutations(few * 2))
)
@settings(max_examples=25, deadline=None)
def test_tiles_stand_apart_and_their_cells_make_up_every_level(pictures: list[tuple[int, int, float]]) -> None:
    covered = {
        (owner, level): np.zeros((cell_count(level_height), cell_count(level_width)), int)
        for owner, (height, width, smallest) in enumerate(pictures)
        for level, (level_height, level_width) in enumerate(level_sizes(height, width, smallest))
    }

    tiles = pyramid_tiles(
        tuple((height, width) for height, width, _ in pictures), tuple(smallest for *_, smallest in pictures)
    )

    taken = np.zeros((tiles["canvas"].max(initial=0) + 1, CANVAS, CANVAS), bool)
    for tile in tiles:
        assert (tile["y"] % 2, tile["x"] % 2, tile["top"] % 2, tile["left"] % 2) == (0, 0, 0, 0)
        height, width = (side + side % 2 for side in (tile["height"], tile["width"]))
        place = taken[tile["canvas"], tile["y"] : tile["y"] + height, tile["x"] : tile["x"] + width]
        assert place.shape == (height, width)
        assert not place.any()
        place[...] = True
        y, x = tile["top"] // STRIDE, tile["left"] // STRIDE
        rows, columns = cell_count(tile["height"]), cell_count(tile["width"])
        part = covered[tile["owner"], tile["level"]][y : y + rows, x : x + columns]
        assert part.shape == (rows, columns)
        part += 1
    assert all(np.all(cells == 1) for cells in covered.values())


@given(height=sides, width=sides, turns=st.integers(0, 3), data=st.data())
@settings(max_examples=60, deadline=None)
def test_faces_of_a_turned_picture_come_back_to_where_they_were(
    height: int, width: int, turns: int, data: st.DataObject
) -> None:
    """The oracle is the picture itself: marked pixels, and a box drawn on it, are turned with it and looked for."""
    x0, y0 = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    x1, y1 = data.draw(st.integers(x0 + 1, width)), data.draw(st.integers(y0 + 1, height))
    points = data.draw(
        st.lists(st.tuples(st.integers(0, width - 1), st.integers(0, height - 1)), min_size=5, max_size=5)
    )
    layers = np.zeros((6, height, width), bool)
    layers[5, y0:y1, x0:x1] = True
    for layer, (x, y) in zip(layers, points, strict=False):
        layer[y, x] = True
    turned = [np.argwhere(np.rot90(layer, turns))[:, ::-1] for layer in layers]
    box = np.concatenate([turned[5].min(axis=0), turned[5].max(axis=0) + 1])
    faces = Detections(
        box[None].astype(np.float32),
        np.concatenate(turned[:5])[None].astype(np.float32),
        np.array([0.9], np.float32),
    )

    found = turned_back(faces, turns, height, width)

    assert found.boxes.tolist() == [[x0, y0, x1, y1]]
    assert found.landmarks.tolist() == [[list(point) for point in points]]
    assert found.confidences.tolist() == faces.confidences.tolist()
