"""What finding faces promises for any input."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from faceindex.faces.area import SumTable
from faceindex.faces.nms import nms
from faceindex.faces.pyramid import CANVAS, cell_count, packed_canvases, pyramid_tiles
from tests.unit.faces.test_area import by_torch, noise
from tests.unit.faces.test_nms import crowd, one_box_at_a_time
from tests.unit.faces.test_pyramid import level_sizes

sides = st.integers(1, 70)


@given(height=sides, width=sides, new_height=sides, new_width=sides, seed=st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_any_size_is_resized_to_any_other_as_torch_does_it(
    height: int, width: int, new_height: int, new_width: int, seed: int
) -> None:
    pixels = noise(height, width, seed)

    resized = SumTable([pixels]).resized(0, new_height, new_width)

    np.testing.assert_allclose(resized, by_torch(pixels, new_height, new_width), rtol=0, atol=1e-4)


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
    shapes=st.lists(st.tuples(st.integers(1, 900), st.integers(1, 900)), min_size=1, max_size=4),
    min_face_px=st.integers(12, 60),
)
@settings(max_examples=25, deadline=None)
def test_tiles_stand_apart_and_their_cells_make_up_every_level(shapes: list[tuple[int, int]], min_face_px: int) -> None:
    table = SumTable([np.zeros((*shape, 3), np.uint8) for shape in shapes])
    covered = {
        (owner, level): np.zeros((cell_count(height), cell_count(width)), int)
        for owner, shape in enumerate(shapes)
        for level, (height, width) in enumerate(level_sizes(*shape, min_face_px))
    }

    for _, tiles in packed_canvases(pyramid_tiles(table, min_face_px)):
        taken = np.zeros((CANVAS, CANVAS), bool)
        for tile in tiles:
            height, width = (side + side % 2 for side in tile.pixels.shape[:2])
            place = taken[tile.y : tile.y + height, tile.x : tile.x + width]
            assert place.shape == (height, width)
            assert not place.any()
            place[...] = True
            rows, columns = tile.cells
            covered[tile.owner, tile.level][
                tile.cell_y : tile.cell_y + rows.stop - rows.start,
                tile.cell_x : tile.cell_x + columns.stop - columns.start,
            ] += 1

    assert all(np.all(cells == 1) for cells in covered.values())
