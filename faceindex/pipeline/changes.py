"""What became of the photos of an archive since the last run, told by what is in them."""

from collections import Counter
from collections.abc import Iterable, Sequence

import pyarrow as pa
import pyarrow.compute as pc

_COLUMNS = ["path", "photo_id"]


def count_changes(before: pa.Table, tables: Iterable[pa.Table], gone: Sequence[bytes]) -> Counter[str]:
    """Return how many photos are new, changed, touched, moved, copied and deleted.

    A photo is touched when its bytes are the same under the same path, moved when they stand under another path and
    the old one is gone, copied when the old one is there too; changed also when it could not be read before.

    Args:
        before: tables.PHOTOS_VIEW of the generation before; empty where there was none.
        tables: tables.PHOTOS of the photos that were read.
        gone: paths that are no more.
    """
    rows = pa.concat_tables([before.slice(0, 0).select(_COLUMNS), *(table.select(_COLUMNS) for table in tables)])
    if not rows.num_rows and not gone:
        return Counter()
    wanted = pa.array([*rows["path"].to_pylist(), *gone], pa.binary())
    ids = rows["photo_id"].drop_null().unique()
    near = pc.or_(pc.is_in(before["path"], value_set=wanted), pc.is_in(before["photo_id"], value_set=ids))
    known = before.filter(near)
    id_of = dict(zip(known["path"].to_pylist(), known["photo_id"].to_pylist(), strict=True))
    left: Counter[bytes] = Counter(id_of[path] for path in gone if id_of.get(path))
    seen = {photo_id for photo_id in id_of.values() if photo_id}
    found: Counter[str] = Counter(deleted=len(gone))
    for path, photo_id in zip(rows["path"].to_pylist(), rows["photo_id"].to_pylist(), strict=True):
        if path in id_of:
            found["touched" if photo_id and id_of[path] == photo_id else "changed"] += 1
        elif photo_id and left[photo_id]:
            left[photo_id] -= 1
            found["moved"] += 1
            found["deleted"] -= 1
        else:
            found["copied" if photo_id in seen and photo_id else "new"] += 1
        seen.add(photo_id)
    return found
