"""What a catalog stores comes back, whatever it is; what was damaged never does."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faceindex.arrays import ids_array
from faceindex.catalog.checksums import JSON_SEAL, TOML_SEAL, seal, unseal
from faceindex.catalog.generations import BatchFiles, Generation, Shard
from faceindex.catalog.live import rows_of
from faceindex.errors import DamagedError
from faceindex.tables import PHOTOS_VIEW
from faceindex.types import FileEntry, IndexQuality, IndexRecipe, ModelId

texts = st.text(max_size=20)
counts = st.integers(0, 2**62)
entries = st.builds(FileEntry, texts, counts, texts)
recipes = st.builds(IndexRecipe, texts, counts, counts, counts)
generations = st.builds(
    Generation,
    number=st.integers(1, 10**6),
    created_at=texts,
    faceindex=texts,
    model=texts.map(ModelId),
    dimension=counts,
    settings_digest=texts,
    photo_counts=st.dictionaries(texts, counts, max_size=3),
    face_count=counts,
    batches=st.dictionaries(texts, st.builds(BatchFiles, entries, entries, st.none() | entries), max_size=3),
    view=entries,
    recipe=recipes,
    shards=st.lists(st.builds(Shard, texts, st.lists(entries, max_size=2).map(tuple), counts, recipes), max_size=2).map(
        tuple
    ),
    tombstones=st.none() | entries,
    runs=st.dictionaries(texts, st.lists(entries, max_size=2).map(tuple), max_size=2),
    previous=st.none() | counts,
    quality=st.none()
    | st.builds(IndexQuality, counts, *[st.floats(0, 1)] * 3, *[st.floats(0, 1e9)] * 2, counts, counts),
)
# Few distinct bytes, zero among them, so that ids share beginnings and end in zeros.
ids = st.binary(min_size=4, max_size=4).map(lambda part: bytes(byte % 3 for byte in part) + bytes(12))


@given(generations)
def test_any_manifest_comes_back_as_it_was(generation: Generation) -> None:
    assert Generation.from_bytes(generation.to_bytes(), "x") == generation


@given(generations, generations)
def test_two_manifests_have_the_same_bytes_only_when_they_are_equal(one: Generation, other: Generation) -> None:
    assert (one.to_bytes() == other.to_bytes()) == (one == other)
    assert replace(one).to_bytes() == one.to_bytes()


@given(st.sampled_from([JSON_SEAL, TOML_SEAL]), st.binary(), st.integers(0), st.integers(1, 255))
def test_a_sealed_text_comes_back_or_is_refused(line: str, body: bytes, place: int, change: int) -> None:
    sealed = seal(line, body)
    at = place % len(sealed)

    assert unseal(line, sealed, "x") == body
    with pytest.raises(DamagedError):
        unseal(line, sealed[:at] + bytes([sealed[at] ^ change]) + sealed[at + 1 :], "x")


@given(st.lists(ids), st.integers(0, 3), st.lists(ids), st.integers(1, 3))
def test_photos_are_found_as_by_looking_at_every_row(
    known: list[bytes], unread: int, wanted: list[bytes], chunks: int
) -> None:
    column = [*sorted(known), *[None] * unread]
    field = PHOTOS_VIEW.field("photo_id")
    ends = np.linspace(0, len(column), chunks + 1).astype(int)
    parts = [pa.array(column[start:end], field.type) for start, end in pairwise(ends)]
    view = pa.table([pa.chunked_array(parts, field.type)], schema=pa.schema([field]))

    expected = [column.index(one) if one in column else -1 for one in wanted]
    assert rows_of(view, ids_array(wanted)).tolist() == expected
