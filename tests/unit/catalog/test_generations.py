import json
from dataclasses import replace

import numpy as np
import pytest

from faceindex.catalog import layout
from faceindex.catalog.catalog import Catalog
from faceindex.catalog.checksums import digest
from faceindex.catalog.generations import (
    Generation,
    current,
    load,
    numbers,
    publish,
    restore_current,
    seal_json,
    unseal_json,
)
from faceindex.config import Settings
from faceindex.errors import CatalogError, DamagedError
from faceindex.types import IndexQuality
from tests.support.catalogs import make_catalog, make_generation, publish_next


def flips(data: bytes, count: int, seed: int) -> list[bytes]:
    """Return copies of `data` with one byte changed, at every place or at `count` of them."""
    generator = np.random.default_rng(seed)
    places = range(len(data)) if count >= len(data) else generator.choice(len(data), count, replace=False)
    return [data[:at] + bytes([data[at] ^ int(generator.integers(1, 256))]) + data[at + 1 :] for at in places]


def test_a_manifest_comes_back_as_it_was_written(root: str) -> None:
    files = make_catalog(root).files
    generation = load(files, 2)
    quality = IndexQuality(100, 0.97, 1.0, 1.0, 0.1, 20.0, 1000, 2000)
    measured = replace(generation, quality=quality, tombstones=None, shards=())

    for one in (generation, measured):
        assert Generation.from_bytes(one.to_bytes(), "x") == one
    assert sorted(entry.path for entry in generation.entries()) == sorted(
        path
        for path in files.paths()
        if path not in ("catalog.toml", "CURRENT", "lock", "generations/000001.json", "generations/000002.json")
        and not path.startswith(("generations/000001", "shards/shard-1"))
    )


def test_nothing_is_served_before_the_first_publish(root: str) -> None:
    catalog = Catalog.create(root, Settings())
    assert current(catalog.files) is None


def test_a_first_publish_killed_before_current_is_none_and_can_be_done_again(root: str) -> None:
    catalog = Catalog.create(root, Settings())
    generation = make_generation(catalog.files, {}, None)
    catalog.files.write(layout.generation_path(1), generation.to_bytes())

    assert current(catalog.files) is None
    publish(catalog.files, generation)
    assert current(catalog.files) == generation


def test_publishing_serves_the_generation_and_keeps_the_one_before(root: str) -> None:
    catalog = make_catalog(root, generation_count=1)
    first = current(catalog.files)
    second = publish_next(catalog)

    assert current(catalog.files) == second
    assert load(catalog.files, 1) == first
    assert numbers(catalog.files) == [1, 2]
    assert catalog.files.read("CURRENT") == b"2 %s\n" % digest(second.to_bytes()).encode()


@pytest.mark.parametrize(("number", "previous"), [(1, None), (2, 1), (4, 2), (3, 1), (3, None)])
def test_a_generation_that_does_not_follow_the_served_one_is_refused(
    root: str, number: int, previous: int | None
) -> None:
    catalog = make_catalog(root)
    served = current(catalog.files)
    assert served

    with pytest.raises(CatalogError, match="generation 3 after 2 wanted, got"):
        publish(catalog.files, replace(served, number=number, previous=previous))
    assert current(catalog.files) == served


def test_every_flipped_byte_of_current_is_damage_that_names_it(root: str) -> None:
    files = make_catalog(root).files
    line = files.read("CURRENT")

    damaged = [*flips(line, len(line), seed=1), *(line[:at] for at in range(len(line))), line + b"\n", b"1" + line]
    damaged.append(b"1 %s\n" % digest(files.read("generations/000001.json")).encode()[::-1])
    damaged.append(b"1" + line[1:])
    for content in damaged:
        files.write("CURRENT", content)
        with pytest.raises(DamagedError, match=r"CURRENT .*; run `faceindex check --repair`"):
            current(files)


def test_every_flipped_byte_of_a_manifest_is_damage_that_names_it(root: str) -> None:
    files = make_catalog(root).files
    for number in (1, 2):
        path = layout.generation_path(number)
        data = files.read(path)
        for content in flips(data, 200, seed=number):
            files.write(path, content)
            with pytest.raises(DamagedError, match=f"{path} is damaged"):
                load(files, number)
        with pytest.raises(DamagedError, match=r"generations/000002.json is damaged|000001.json"):
            (current if number == 2 else lambda files: load(files, 1))(files)
        files.write(path, data)


def test_a_lost_current_is_damage_and_never_an_empty_catalog(root: str) -> None:
    files = make_catalog(root).files
    files.delete("CURRENT")

    with pytest.raises(DamagedError, match=r"CURRENT is missing; run `faceindex check --repair`"):
        current(files)


def test_a_lost_manifest_is_damage_and_no_older_one_is_taken_instead(root: str) -> None:
    files = make_catalog(root).files
    files.delete("generations/000002.json")

    with pytest.raises(DamagedError, match=r"names generation 2, and generations/000002.json is missing"):
        current(files)


def test_on_request_the_newest_whole_generation_is_served_again(root: str) -> None:
    files = make_catalog(root, generation_count=3).files
    files.delete("CURRENT")
    files.write("generations/000003.json", files.read("generations/000003.json")[:-1])

    assert restore_current(files) == load(files, 2)
    assert current(files) == load(files, 2)


def test_without_a_whole_generation_nothing_is_restored(root: str) -> None:
    files = Catalog.create(root, Settings()).files

    assert restore_current(files) is None
    assert not files.exists("CURRENT")


def test_a_manifest_of_a_newer_program_is_refused_by_name(root: str) -> None:
    files = make_catalog(root).files
    document = unseal_json(files.read("generations/000002.json"), "x")

    with pytest.raises(CatalogError, match=r"x has schema faceindex.generation/2, this faceindex reads .*/1; update"):
        Generation.from_bytes(seal_json({**document, "schema": "faceindex.generation/2"}), "x")


def test_fields_that_a_later_version_added_are_ignored(root: str) -> None:
    files = make_catalog(root).files
    document = unseal_json(files.read("generations/000002.json"), "x")

    assert Generation.from_bytes(seal_json({**document, "later": 1}), "x") == load(files, 2)


def test_a_sealed_document_is_ordinary_json() -> None:
    document = {"schema": "x/1", "names": ["Zoë", "\udce9"], "empty": {}, "nested": {"a": [1, 2.5, None]}}
    data = seal_json(document)

    assert json.loads(data) == {"xxh3": data[10:42].decode(), **document}
    assert unseal_json(data, "x") == document
