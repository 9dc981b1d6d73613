import pytest

from faceindex.catalog import layout

BATCH = "ab12" * 8


def test_paths_are_those_of_the_documented_layout() -> None:
    assert layout.photos_path(BATCH) == f"photos/ab/{BATCH}.parquet"
    assert layout.faces_path(BATCH) == f"faces/ab/{BATCH}.parquet"
    assert layout.crops_path(BATCH) == f"crops/ab/{BATCH}.parquet"
    assert layout.plan_path("r1") == "runs/r1/plan.parquet"
    assert layout.report_path("r1") == "runs/r1/report.json"
    assert layout.report_page_path("r1") == "runs/r1/report.html"
    assert layout.shard_path("s1", "index.faiss") == "shards/s1/index.faiss"
    assert layout.generation_path(7) == "generations/000007.json"
    assert layout.view_path(7) == "generations/000007.photos.arrow"
    assert layout.tombstones_path(7) == "generations/000007.tombstones.npy"


@pytest.mark.parametrize("number", [1, 7, 999_999, 1_000_000])
def test_the_number_of_a_generation_is_read_back_from_its_paths(number: int) -> None:
    for path in (layout.generation_path(number), layout.view_path(number), layout.tombstones_path(number)):
        assert layout.generation_number(path) == number


@pytest.mark.parametrize("path", ["CURRENT", "generations/.tmp-x1", "generations/x.json", "shards/1/1.json", "7.json"])
def test_other_files_belong_to_no_generation(path: str) -> None:
    assert layout.generation_number(path) is None


def test_temporaries_are_known_by_their_name_alone() -> None:
    assert layout.is_temporary("faces/ab/.tmp-x81")
    assert layout.is_temporary(".tmp-x81")
    assert not layout.is_temporary("faces/ab/tmp-x81")
    assert not layout.is_temporary(".tmp-folder/x81")
