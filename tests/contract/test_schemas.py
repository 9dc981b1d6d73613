"""The published schemas say what the code does: a column or a field that changes must show in `schemas/`."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pyarrow as pa
import pytest

from faceindex import tables
from faceindex.catalog.catalog import Catalog
from faceindex.catalog.generations import load
from faceindex.pipeline.report import CHANGES
from faceindex.types import ModelId, PhotoState
from tests.support.catalogs import make_catalog

SCHEMAS = Path(__file__).resolve().parents[2] / "schemas"
DIMENSION = 128
MODEL = ModelId("demo@0123456789ab")
TABLES = {
    "photos": tables.PHOTOS,
    "faces": tables.faces_schema(DIMENSION, MODEL),
    "clusters": tables.CLUSTERS,
    "crops": tables.CROPS,
    "links": tables.LINKS,
    "face_rows": tables.FACE_ROWS,
    "missing": tables.MISSING,
    "plan": tables.PLAN,
    "photos_view": tables.PHOTOS_VIEW,
}
BOX = [10.5, 20.0, 90.25, 130.0]
SIDE = {"image": "a.jpg", "width": 640, "height": 480, "faces": 1, "box": BOX, "confidence": 0.99, "quality": 0.7}
DOCUMENTS: dict[str, list[dict[str, Any]]] = {
    "search": [
        {
            "schema": "faceindex.search/1",
            "catalog": "faceindex-catalog",
            "generation": 7,
            "model": MODEL,
            "gallery_size": 13233,
            "query": {"image": "query.jpg", "width": 1024, "height": 768},
            "faces": [
                {
                    "face": 0,
                    "box": BOX,
                    "confidence": 0.999,
                    "quality": 0.8,
                    "decision": "identified",
                    "person": None,
                    "threshold": 0.58,
                    "fpir": 0.01,
                    "threshold_source": "model",
                    "extrapolated": False,
                    "low_quality": False,
                    "candidates": [
                        {
                            "rank": 1,
                            "face_id": "0123456789abcdef" * 2,
                            "photo": "/photos/a.jpg",
                            "box": BOX,
                            "similarity": 0.83,
                            "probability": 0.998,
                            "person": None,
                        }
                    ],
                }
            ],
        },
        {
            "schema": "faceindex.search/1",
            "catalog": "s3://bucket/catalog",
            "generation": 1,
            "model": MODEL,
            "gallery_size": 0,
            "query": {"vectors": "probes.npy", "row": 17},
            "faces": [
                {
                    "face": 0,
                    "box": None,
                    "confidence": None,
                    "quality": None,
                    "decision": "not_recognised",
                    "person": None,
                    "threshold": 0.5,
                    "fpir": None,
                    "threshold_source": "user",
                    "extrapolated": False,
                    "candidates": [],
                }
            ],
        },
    ],
    "status": [
        {
            "schema": "faceindex.status/1",
            "catalog": "faceindex-catalog",
            "generation": 7,
            "model": MODEL,
            "photos": {"ok": 100, "no_face": 20, "truncated": 1},
            "faces": 140,
            "people": 0,
            "clusters": 0,
            "index": {
                "factory": "exact",
                "shards": 1,
                "recall_at_10": None,
                "first_agreement": None,
                "bytes_per_face": 298.5,
            },
            "threshold": {"fpir": 0.01, "value": 0.55, "source": "model", "extrapolated": False},
            "disk_bytes": 123456,
        }
    ],
    "run": [
        {
            "schema": "faceindex.run/1",
            "run": "20260102T030405Z",
            "generation": 8,
            "photos": {"ok": 10, "unreadable": 1},
            "embedded": 10,
            "unchanged": 0,
            "removed": 0,
            "changes": dict.fromkeys(CHANGES, 0),
            "faces": 12,
            "seconds": 3.5,
            "photos_per_second": 3.1,
            "quarantined": [{"photo": "/photos/bad.jpg", "state": "unreadable", "detail": "not a picture"}],
        }
    ],
    "verify": [
        {
            "schema": "faceindex.verify/1",
            "similarity": 0.71,
            "probability": 0.99,
            "threshold": 0.45,
            "fmr": 1e-4,
            "decision": "same",
            "a": SIDE,
            "b": SIDE,
        },
        {
            "schema": "faceindex.verify/1",
            "similarity": None,
            "probability": None,
            "threshold": 0.45,
            "fmr": None,
            "decision": "no_face",
            "a": SIDE,
            "b": {"image": "b.jpg", "faces": 0, "box": None},
        },
    ],
    "check": [
        {
            "schema": "faceindex.check/1",
            "catalog": "/catalog",
            "damaged": 1,
            "problems": [{"path": "CURRENT", "detail": "is missing", "damaged": True}],
        }
    ],
    "evaluate": [
        {
            "schema": "faceindex.evaluate/1",
            "catalog": "/catalog",
            "generation": 7,
            "model": MODEL,
            "labels": "folders",
            "photos": 13233,
            "photos_without_face": 1,
            "people": 5749,
            "people_with_two_faces": 1680,
            "faces": 13232,
            "seed": 0,
            "verification": {
                "mated_comparisons": 242256,
                "nonmated_comparisons": 87290040,
                "person_pairs": 16522626,
                "eer": {"value": 0.009, "low": 0.007, "high": 0.012},
                "points": [],
            },
            "identification": None,
            "blufr_style": None,
            "probability": None,
            "pairs": None,
            "notes": ["no probabilities: no threshold table for this model"],
        }
    ],
    "calibrate": [
        {
            "schema": "faceindex.calibrate/1",
            "catalog": "/catalog",
            "generation": 8,
            "model": "dlib-resnet29@15a9c4f06be8",
            "source": "archive",
            "note": None,
            "gallery_size": 8686,
            "people": 0,
            "cohort": 2000,
            "identification": [
                {
                    "fpir": 0.01,
                    "value": 0.9638,
                    "normalised": 0.2647,
                    "extrapolated": True,
                    "trials": 3377,
                    "pairs": 5,
                    "interval": [0.0054, 0.019],
                }
            ],
            "verification": [
                {
                    "fmr": 0.001,
                    "value": 0.933,
                    "extrapolated": False,
                    "trials": 5700376,
                    "pairs": 5700,
                    "interval": [0.0008, 0.0013],
                }
            ],
        }
    ],
    "cluster": [
        {
            "schema": "faceindex.cluster/1",
            "catalog": "/catalog",
            "generation": 8,
            "clusters": 902,
            "faces": 5120,
            "unclustered": 3566,
            "inserted": 12,
            "seconds": 2.413,
        }
    ],
    "suggestions": [
        {
            "schema": "faceindex.suggestions/1",
            "catalog": "/catalog",
            "generation": 8,
            "questions": 738,
            "suggestions": [
                {
                    "question": "0123456789abcdef",
                    "kind": "same",
                    "cluster": 12,
                    "faces": ["0123456789abcdef" * 2],
                    "person": None,
                    "other": None,
                    "others": ["fedcba9876543210" * 2],
                    "probability": 0.8846,
                    "text": "Is this face of cluster 12 the same person as the other one?",
                }
            ],
        }
    ],
    "compact": [
        {
            "schema": "faceindex.compact/1",
            "catalog": "/catalog",
            "generation": 8,
            "batches": {"before": 120, "after": 2},
            "shards": {"before": 3, "after": 1},
            "removed_files": 0,
            "seconds": 1.25,
        }
    ],
    "erase": [
        {
            "schema": "faceindex.erase/1",
            "catalog": "/catalog",
            "dry_run": False,
            "person": "Anna",
            "faces": 40,
            "photos": 38,
            "events": 7,
            "unnamed": None,
            "batches": None,
            "backups": None,
            "generations": None,
            "generation": 9,
            "removed_files": 24,
            "in_paths": 0,
            "proof": {"files": 120, "bytes": 50_000_000, "hits": 0},
            "seconds": 4.2,
        },
        {
            "schema": "faceindex.erase/1",
            "catalog": "/catalog",
            "dry_run": True,
            "person": "Anna",
            "faces": 40,
            "photos": 38,
            "events": 7,
            "unnamed": 3,
            "batches": 12,
            "backups": 10,
            "generations": 2,
            "generation": 7,
            "removed_files": None,
            "in_paths": None,
            "proof": None,
            "seconds": 0.8,
        },
    ],
    "import": [
        {
            "schema": "faceindex.import/1",
            "catalog": "/catalog",
            "generation": 3,
            "imported": 1000,
            "unchanged": 0,
            "renormalised": False,
        }
    ],
    "event": [
        {
            "schema": "faceindex.event/1",
            "event": "0123456789abcdef" * 2,
            "at": "2026-01-02T03:04:05.678+00:00",
            "author": "anna",
            "kind": "name",
            "person": "Anna Smith",
            "faces": [{"face_id": "0123456789abcdef" * 2, "photo_id": "fedcba9876543210" * 2, "box": BOX}],
        }
    ],
    "people": [
        {
            "schema": "faceindex.people/1",
            "catalog": "/catalog",
            "generation": 3,
            "faces": 100,
            "named": 40,
            "left_out": 2,
            "people": [{"person": "Anna", "faces": 40, "photos": 38, "first": "2019-07-31T12:00:00", "last": None}],
        }
    ],
    "person": [
        {
            "schema": "faceindex.person/1",
            "catalog": "/catalog",
            "generation": 3,
            "kind": "person",
            "person": "Anna",
            "faces": [
                {
                    "face_id": "0123456789abcdef" * 2,
                    "photo": "/photos/a.jpg",
                    "box": BOX,
                    "confidence": 0.99,
                    "quality": 0.8,
                    "captured_at": None,
                    "person": "Anna",
                }
            ],
        }
    ],
    "face_list": [
        {
            "schema": "faceindex.face_list/1",
            "catalog": "/catalog",
            "generation": 3,
            "page": 1,
            "pages": 1,
            "total": 1,
            "faces": [
                {
                    "face_id": "0123456789abcdef" * 2,
                    "photo": "import:a",
                    "box": None,
                    "confidence": None,
                    "quality": None,
                    "captured_at": None,
                    "person": None,
                }
            ],
        }
    ],
    "cluster_list": [
        {
            "schema": "faceindex.cluster_list/1",
            "catalog": "/catalog",
            "generation": 3,
            "page": 1,
            "pages": 1,
            "total": 1,
            "clusters": [
                {"cluster": 12, "faces": 14, "unnamed": 2, "people": ["Anna"], "best": ["0123456789abcdef" * 2]}
            ],
        }
    ],
    "audit": [
        {
            "schema": "faceindex.audit/1",
            "catalog": "/catalog",
            "generation": 3,
            "page": 1,
            "pages": 1,
            "total": 2,
            "entries": [
                {
                    "at": "2026-01-02T03:05:05.678+00:00",
                    "who": "laptop",
                    "act": "search",
                    "query": "0123456789abcdef" * 2,
                    "faces": 2,
                    "hits": 1,
                },
                {
                    "at": "2026-01-02T03:04:05.678+00:00",
                    "who": "anna",
                    "act": "name",
                    "event": "0123456789abcdef" * 2,
                    "text": "5 faces named Anna",
                },
            ],
        }
    ],
    "tokens": [
        {
            "schema": "faceindex.tokens/1",
            "tokens": [{"name": "laptop", "scope": "search", "created": "2026-01-02T03:04:05+00:00"}],
        }
    ],
    "people_import": [{"schema": "faceindex.people_import/1", "new": 2, "events": 3}],
    "models": [{"schema": "faceindex.models/1", "models": [{"name": "mtcnn", "kind": "detector", "weights": "ready"}]}],
}
"""Documents as the command line prints them, by the examples of its documentation."""


def schema(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((SCHEMAS / f"{name}.v1.json").read_text())
    return loaded


def published(field: pa.Field) -> tuple[str, str, bool, dict[str, str] | None]:
    """Return what the schema file must say of a field, with the dimension and the model left open."""
    kind, metadata = str(field.type), None
    if field.name == "embedding":
        kind = kind.replace(str(2 * DIMENSION), "2d")
        open_values = {str(DIMENSION): "d", MODEL: "name@digest of the model"}
        texts = {key.decode(): value.decode() for key, value in field.metadata.items()}
        metadata = {key: open_values.get(value, value) for key, value in texts.items()}
    return field.name, kind, field.nullable, metadata


def test_every_schema_file_is_checked_here() -> None:
    names = {path.name for path in SCHEMAS.glob("*.json")}

    assert names == {f"{name}.v1.json" for name in [*TABLES, *DOCUMENTS, "generation"]}


@pytest.mark.parametrize("name", TABLES)
def test_a_published_table_is_the_stored_one_field_by_field(name: str) -> None:
    document = schema(name)

    fields = [(one["name"], one["type"], one["nullable"], one.get("metadata")) for one in document["fields"]]
    assert fields == [published(field) for field in TABLES[name]]
    assert (document["name"], document["version"]) == (name, 1)
    metadata = {key.decode(): value.decode() for key, value in TABLES[name].metadata.items()}
    assert document["metadata"] == metadata == {"faceindex.table": f"{name}.v1"}


@pytest.mark.parametrize("name", TABLES)
def test_every_field_says_what_it_is(name: str) -> None:
    for field in schema(name)["fields"]:
        assert set(field) - {"metadata"} == {"name", "type", "nullable", "unit", "description"}
        assert len(field["description"]) > 10
        if field["name"].endswith(("_bytes", "_ns")) or field["name"] in ("x0", "y0", "x1", "y1", "width", "height"):
            assert field["unit"] in ("bytes", "ns", "px")


@pytest.mark.parametrize("name", [*DOCUMENTS, "generation"])
def test_a_document_schema_is_itself_valid(name: str) -> None:
    jsonschema.Draft202012Validator.check_schema(schema(name))
    assert schema(name)["$id"] == f"{name}.v1.json"


@pytest.mark.parametrize(("name", "number"), [(name, n) for name, all_ in DOCUMENTS.items() for n in range(len(all_))])
def test_the_documented_examples_are_valid_and_every_required_field_is_required(name: str, number: int) -> None:
    validator = jsonschema.Draft202012Validator(schema(name))
    document = DOCUMENTS[name][number]
    validator.validate(document)

    for key in document:
        without = {other: value for other, value in document.items() if other != key}
        assert not validator.is_valid(without), f"{name} is valid without {key}"
        assert not validator.is_valid({**document, key: object()}), f"{key} of {name} may be anything"
    assert not validator.is_valid({**document, "schema": f"faceindex.{name}/2"})
    assert validator.is_valid({**document, "added_later": 1})


def test_the_states_of_a_photo_are_those_published() -> None:
    states = [str(state) for state in PhotoState]

    assert schema("status")["properties"]["photos"]["propertyNames"]["enum"] == states
    assert schema("run")["properties"]["photos"]["propertyNames"]["enum"] == states
    assert schema("generation")["properties"]["photo_counts"]["propertyNames"]["enum"] == states
    quarantined = schema("run")["properties"]["quarantined"]["items"]["properties"]["state"]["enum"]
    assert quarantined == [state for state in states if state not in ("ok", "no_face")]


def described(value: Any, part: dict[str, Any], whole: dict[str, Any]) -> None:
    """Assert that the schema names every key of a document, at every depth."""
    while "$ref" in part:
        part = whole["$defs"][part["$ref"].rpartition("/")[2]]
    if "anyOf" in part:
        part = part["anyOf"][0]
        described(value, part, whole)
    elif isinstance(value, dict):
        for key, inner in value.items():
            inside = part.get("properties", {}).get(key, part.get("additionalProperties"))
            assert inside, f"{key} is not in the schema"
            described(inner, inside, whole)
    elif isinstance(value, list):
        for inner in value:
            described(inner, part["items"], whole)


def test_a_manifest_is_valid_and_has_no_field_the_schema_does_not_name(tmp_path: Path) -> None:
    catalog: Catalog = make_catalog(str(tmp_path / "catalog"))
    manifest = json.loads(load(catalog.files, 2).to_bytes())

    jsonschema.Draft202012Validator(schema("generation")).validate(manifest)
    described(manifest, schema("generation"), schema("generation"))
    assert set(manifest) == set(schema("generation")["required"])
