import numpy as np
import pytest

from faceindex.gallery.ids import places_among
from tests.support.galleries import random_ids


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize(("count", "known"), [(0, 0), (0, 5), (5, 0), (1, 1), (300, 70), (70, 300), (500, 500)])
def test_every_id_stands_where_looking_at_all_of_them_finds_it(count: int, known: int, ordered: bool):
    generator = np.random.default_rng(count + known)
    pool = random_ids(600, 1).view("S16").copy()
    pool[1::3] = [bytes(one)[:8].ljust(8, b"\0") + b"\x01" * 8 for one in pool[0::3]]  # alike in their first half
    ids = generator.choice(pool, count)
    ids = np.sort(ids) if ordered else ids
    ascending = np.sort(generator.choice(np.unique(pool), known, replace=False))

    places = places_among(ids, ascending)

    where = {one: place for place, one in enumerate(ascending.tolist())}
    assert places.tolist() == [where.get(one, -1) for one in ids.tolist()]
