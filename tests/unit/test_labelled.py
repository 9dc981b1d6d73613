from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from faceindex.catalog import generations
from faceindex.catalog.catalog import Catalog
from faceindex.config import Settings
from faceindex.labelled import people_by_name, people_from_folders
from faceindex.query import OpenCatalog
from faceindex.types import PhotoResult
from tests.support.catalogs import make_generation, photo_result, write_batch


def publish(root: Path, results: list[PhotoResult]) -> OpenCatalog:
    catalog = Catalog.create(str(root), Settings(roots=("/photos",)))
    batches = {"01" * 16: write_batch(catalog.files, "01" * 16, results)}
    generations.publish(catalog.files, make_generation(catalog.files, batches, None))
    return OpenCatalog(catalog)


def of(number: int, name: str) -> PhotoResult:
    """Return a photo with as many faces as the number leaves when it is divided by 3."""
    return photo_result(number, f"/photos/{name}/{number}.jpg".encode())


def test_each_photo_is_of_the_one_its_folder_is_named_after(tmp_path: Path) -> None:
    opened = publish(tmp_path / "catalog", [of(1, "Ada"), of(7, "Ada"), of(2, "Grace"), of(3, "Nobody")])

    labelled = people_from_folders(opened)

    assert labelled.photos == ["/photos/Ada/1.jpg", "/photos/Ada/7.jpg", "/photos/Grace/2.jpg"]
    assert labelled.names.tolist() == ["Ada", "Ada", "Grace"]
    assert labelled.subjects.tolist() == [0, 0, 1]
    assert np.allclose(np.linalg.norm(labelled.vectors, axis=1), 1)
    assert labelled.unusable == 0


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0])
def test_embeddings_that_are_no_vectors_are_left_out_and_counted(value: float, tmp_path: Path) -> None:
    broken = of(7, "Ada")
    assert broken.faces is not None
    vectors = np.full_like(broken.faces.vectors, value)
    results = [of(1, "Ada"), replace(broken, faces=replace(broken.faces, vectors=vectors)), of(2, "Grace")]

    labelled = people_from_folders(publish(tmp_path / "catalog", results))

    assert labelled.names.tolist() == ["Ada", "Grace"]
    assert labelled.unusable == 1
    assert np.isfinite(labelled.vectors).all()


def test_a_catalog_without_names_or_faces_has_nobody_labelled(tmp_path: Path) -> None:
    opened = publish(tmp_path / "catalog", [of(1, "Ada"), of(3, "Ada")])
    empty = publish(tmp_path / "empty", [of(3, "Ada")])

    assert people_by_name(opened).photos == []
    assert people_from_folders(empty).photos == []
    assert people_from_folders(empty).vectors.shape[0] == 0
