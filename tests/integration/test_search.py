"""Searching, verifying and checking a real catalog, as a user does."""

import json
import random
import shutil
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image, ImageFilter

import faceindex
from faceindex.answers import FaceAnswer
from faceindex.cli.main import cli
from faceindex.errors import ConfigError, FaceIndexError
from faceindex.gallery.filters import Filters
from faceindex.pipeline.run import IndexOptions, index_photos
from faceindex.tables import from_float16_column
from tests.support.archives import ROOT, make_archive, portrait

HERE = IndexOptions(workers=0)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_archive(tmp_path_factory.mktemp("archive") / "photos")


@pytest.fixture(scope="module")
def catalog(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A catalog of the archive; not to be changed."""
    folder = tmp_path_factory.mktemp("catalog") / "catalog"
    index_photos(str(folder), [str(archive)], HERE)
    return folder


@pytest.fixture(scope="module")
def group(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A picture of both people."""
    picture = Image.new("RGB", (620, 310), "white")
    picture.paste(portrait("astronaut"), (0, 0))
    picture.paste(portrait("hopper"), (340, 0))
    path = tmp_path_factory.mktemp("queries") / "group.png"
    picture.save(path)
    return path


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [str(argument) for argument in arguments], catch_exceptions=False)


def schema(name: str) -> dict[str, object]:
    return json.loads((ROOT / "schemas" / f"{name}.v1.json").read_text())  # type: ignore[no-any-return]


def test_a_photo_finds_itself_first(archive: Path, catalog: Path) -> None:
    for name in ("00.jpg", "07.jpg"):
        answer = faceindex.open(str(catalog)).search(archive / name)

        first = answer.faces[0].candidates[0]
        assert first.photo == str(archive / name)
        assert first.similarity >= 0.999
        assert answer.faces[0].decision == "identified"


def test_all_candidates_of_a_person_come_before_those_of_another(archive: Path, catalog: Path) -> None:
    answer = faceindex.open(str(catalog)).search(str(archive / "00.jpg"), k=12)

    names = [int(Path(candidate.photo).stem) % 2 for candidate in answer.faces[0].candidates]
    similarities = [candidate.similarity for candidate in answer.faces[0].candidates]
    assert names == [0] * 6 + [1] * 6
    assert similarities == sorted(similarities, reverse=True)


def test_the_json_document_is_what_the_schema_says(catalog: Path, group: Path) -> None:
    result = run("search", group, "-c", catalog, "--json")

    document = json.loads(result.stdout)
    jsonschema.validate(document, schema("search"))
    assert result.exit_code == 0
    assert len(document["faces"]) == 2
    assert document["query"] == {"image": str(group), "width": 620, "height": 310}
    assert document["gallery_size"] == 12


def test_every_face_of_the_picture_is_searched(catalog: Path, group: Path) -> None:
    answer = faceindex.open(str(catalog)).search(group, k=3)

    found = {tuple(int(Path(candidate.photo).stem) % 2 for candidate in face.candidates) for face in answer.faces}
    assert found == {(0, 0, 0), (1, 1, 1)}


def test_arrays_pil_images_and_paths_give_the_same_answer(catalog: Path, group: Path) -> None:
    opened = faceindex.open(str(catalog))

    answers = [opened.search(picture) for picture in (group, Image.open(group), np.asarray(Image.open(group)))]

    assert answers[0].faces == answers[1].faces == answers[2].faces


def test_a_stricter_error_rate_gives_a_higher_threshold_and_a_threshold_of_ones_own_is_taken(catalog: Path) -> None:
    opened = faceindex.open(str(catalog))

    assert opened.resolve_threshold(0.001, None).value > opened.resolve_threshold(0.1, None).value
    assert opened.resolve_threshold(0.1, 0.5).source == "user"
    with pytest.raises(ConfigError, match="between -1 and 1"):
        opened.resolve_threshold(0.1, 1.5)
    with pytest.raises(ConfigError, match="fpir"):
        opened.resolve_threshold(0.0, None)


def test_a_probe_of_low_quality_is_searched_and_marked(archive: Path, catalog: Path) -> None:
    opened = faceindex.open(str(catalog))

    good, bad = (
        opened.search(picture).faces[0]
        for picture in (portrait("astronaut"), portrait("astronaut").filter(ImageFilter.GaussianBlur(6)))
    )

    assert (good.low_quality, bad.low_quality) == (False, True)
    assert bad.quality < opened.catalog.settings.min_quality < good.quality
    assert bad.candidates


def test_nobody_recognised_and_no_face_exit_with_4(archive: Path, catalog: Path, tmp_path: Path) -> None:
    portrait("astronaut").point(lambda value: value // 2).save(tmp_path / "darker.png")
    unknown = run("search", tmp_path / "darker.png", "-c", catalog, "--threshold", "1.0", "-k", 1, "--json")
    faceless = run("search", archive / "scene.png", "-c", catalog)

    assert json.loads(unknown.stdout)["faces"][0]["decision"] == "not_recognised"
    assert (unknown.exit_code, faceless.exit_code) == (4, 4)
    assert "no face found" in faceless.stdout


@pytest.mark.parametrize("name", ["broken.jpg", "text.jpg"])
def test_an_unreadable_query_is_one_clear_line(archive: Path, catalog: Path, name: str) -> None:
    result = run("search", archive / name, "-c", catalog)

    assert result.exit_code == 1
    assert result.stderr.startswith(f"faceindex: {archive / name}: ")
    assert result.stderr.count("\n") == 1


def test_a_folder_is_searched_in_one_go_and_bad_pictures_are_named(archive: Path, catalog: Path) -> None:
    result = run("search", archive, "-c", catalog, "--ndjson", "-k", 1)

    documents = [json.loads(line) for line in result.stdout.splitlines()]
    assert result.exit_code == 3
    assert len(documents) == 13
    assert sorted(Path(line.split(": ")[1]).name for line in result.stderr.splitlines()) == ["broken.jpg", "text.jpg"]


def test_ids_and_boxes_of_an_answer_are_those_of_the_faces_table(archive: Path, catalog: Path) -> None:
    opened = faceindex.open(str(catalog))
    rows = {row["face_id"].hex(): row for row in opened.faces().to_pylist()}

    for candidate in opened.search(archive / "03.jpg").faces[0].candidates:
        row = rows[candidate.face_id]
        assert row["photo"] == candidate.photo
        assert np.allclose([row["x0"], row["y0"], row["x1"], row["y1"]], candidate.box, atol=0.051)


def test_status_adds_up_and_follows_its_schema(archive: Path, catalog: Path) -> None:
    document = json.loads(run("status", "-c", catalog, "--json").stdout)

    jsonschema.validate(document, schema("status"))
    assert sum(document["photos"].values()) == len(list(archive.iterdir()))
    assert document["faces"] == 12
    assert document["disk_bytes"] == sum(path.stat().st_size for path in catalog.rglob("*") if path.is_file())


def test_an_index_report_follows_its_schema_and_is_stored(archive: Path, tmp_path: Path) -> None:
    result = run("index", archive, "-c", tmp_path / "catalog", "--workers", 0, "--json")

    document = json.loads(result.stdout)
    jsonschema.validate(document, schema("run"))
    [stored] = (tmp_path / "catalog" / "runs").glob("*/report.json")
    assert {**json.loads(stored.read_text()), "seconds": 0, "photos_per_second": 0} == {
        **document,
        "seconds": 0,
        "photos_per_second": 0,
    }


def answer_or_exit_code(catalog: Path, query: Path) -> list[FaceAnswer] | int:
    try:
        return faceindex.open(str(catalog)).search(query).faces
    except FaceIndexError as error:
        return error.exit_code


def catalog_files(catalog: Path) -> list[Path]:
    return sorted(path for path in catalog.rglob("*") if path.is_file() and path.name != "lock")


@pytest.mark.parametrize("seed", range(3))
def test_one_flipped_byte_anywhere_is_found_and_never_gives_a_wrong_answer(
    archive: Path, catalog: Path, tmp_path: Path, seed: int
) -> None:
    chance = random.Random(seed)
    copy = shutil.copytree(catalog, tmp_path / "catalog")
    truth = faceindex.open(str(copy)).search(archive / "04.jpg").faces
    for path in catalog_files(copy):
        whole = path.read_bytes()
        at = chance.randrange(len(whole))
        path.write_bytes(whole[:at] + bytes([whole[at] ^ (1 << chance.randrange(8))]) + whole[at + 1 :])

        checked = run("check", "-c", copy)
        answer = answer_or_exit_code(copy, archive / "04.jpg")
        assert answer in (5, truth), path
        assert checked.exit_code == 5, path
        assert str(path.relative_to(copy)) in checked.stdout, path
        path.write_bytes(whole)
    assert run("check", "-c", copy).exit_code == 0


def test_a_missing_file_is_named(catalog: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(catalog, tmp_path / "catalog")
    [vectors] = copy.glob("shards/*/vectors.npy")
    vectors.unlink()

    result = run("check", "-c", copy)

    assert result.exit_code == 5
    assert str(vectors.relative_to(copy)) in result.stdout


def test_a_lost_current_is_restored_on_request(archive: Path, catalog: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(catalog, tmp_path / "catalog")
    (copy / "CURRENT").write_text("nonsense")
    assert run("search", archive / "00.jpg", "-c", copy).exit_code == 5

    assert run("check", "-c", copy, "--repair").exit_code == 0
    assert run("search", archive / "00.jpg", "-c", copy).exit_code == 0


def test_timings_go_to_stderr_and_name_the_parts(archive: Path, catalog: Path) -> None:
    result = run("search", archive / "00.jpg", "-c", catalog, "--timings", "--json")

    json.loads(result.stdout)
    for part in ("import", "load models", "detect", "embed", "search", "total"):
        assert part in result.stderr


def test_copies_turned_by_exif_give_the_same_boxes_and_vectors(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    upright = portrait("astronaut")
    undo = {2: [0], 3: [3], 4: [1], 5: [5], 6: [2], 7: [6], 8: [4]}  # PIL.Image.Transpose that stores it turned
    for orientation in range(1, 9):
        picture = upright
        for transpose in undo.get(orientation, []):
            picture = picture.transpose(Image.Transpose(transpose))
        exif = Image.Exif()
        exif[0x0112] = orientation
        picture.save(photos / f"{orientation}.png", exif=exif)
    index_photos(str(tmp_path / "catalog"), [str(photos)], HERE)

    rows = faceindex.open(str(tmp_path / "catalog")).faces().to_pylist()

    assert len(rows) == 8
    assert len({(row["x0"], row["y0"], row["x1"], row["y1"]) for row in rows}) == 1
    assert len({row["embedding"] for row in rows}) == 1


def test_check_and_models_follow_their_schemas(catalog: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(catalog, tmp_path / "catalog")
    (copy / "CURRENT").write_text("nonsense")

    for name, arguments in (
        ("check", ("check", "-c", copy, "--json")),
        ("models", ("models", "list", "--json")),
        ("models", ("models", "verify", "--json")),
    ):
        jsonschema.validate(json.loads(run(*arguments).stdout), schema(name))


def test_a_filter_leaves_out_what_does_not_pass_and_sets_the_error_rate_for_the_rest(
    archive: Path, catalog: Path
) -> None:
    opened = faceindex.open(str(catalog))

    free = opened.search(archive / "00.jpg")
    left = opened.search(archive / "00.jpg", filters=Filters(path="*/0?.jpg"))

    photos = [candidate.photo for candidate in left.faces[0].candidates]
    assert photos
    assert all(Path(photo).name.startswith("0") for photo in photos)
    assert left.gallery_size < free.gallery_size
    assert left.faces[0].threshold <= free.faces[0].threshold
    by_photo = {candidate.photo: candidate.similarity for candidate in free.faces[0].candidates}
    assert all(
        candidate.similarity == by_photo.get(candidate.photo, candidate.similarity)
        for candidate in left.faces[0].candidates
    )


def test_filters_on_the_command_line(archive: Path, catalog: Path) -> None:
    query = archive / "00.jpg"

    nobody = run("search", query, "-c", catalog, "--path", "*/nowhere/*")
    wrong = run("search", query, "-c", catalog, "--since", "2020-13")
    one = run("search", query, "-c", catalog, "--json", "--path", str(query))

    assert (nobody.exit_code, wrong.exit_code, one.exit_code) == (4, 2, 0)
    assert "passes the filter path */nowhere/*" in nobody.stderr
    assert nobody.stderr.count("\n") == wrong.stderr.count("\n") == 1
    document = json.loads(one.stdout)
    jsonschema.validate(document, schema("search"))
    assert {candidate["photo"] for face in document["faces"] for candidate in face["candidates"]} == {str(query)}


def test_embeddings_from_a_file_are_searched_one_document_a_line(archive: Path, catalog: Path, tmp_path: Path) -> None:
    faces = faceindex.open(str(catalog)).faces()
    vectors = from_float16_column(faces["embedding"].combine_chunks()).astype(np.float32)
    np.save(tmp_path / "probes.npy", 2 * vectors[:5])

    found = run("search", "--vectors", tmp_path / "probes.npy", "-c", catalog, "--ndjson", "-k", "3")

    assert found.exit_code == 0
    documents = [json.loads(line) for line in found.stdout.splitlines()]
    assert [document["query"]["row"] for document in documents] == [0, 1, 2, 3, 4]
    for row, document in enumerate(documents):
        jsonschema.validate(document, schema("search"))
        assert document["query"]["vectors"] == str(tmp_path / "probes.npy")
        [face] = document["faces"]
        assert (face["box"], face["confidence"], face["quality"]) == (None, None, None)
        assert face["candidates"][0]["face_id"] == faces["face_id"][row].as_py().hex()
        assert face["candidates"][0]["similarity"] >= 0.999
    assert "not all vectors" in found.stderr


def test_what_cannot_be_searched_with_vectors_is_one_line(archive: Path, catalog: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "two.npy", np.eye(2, 128, dtype=np.float32))
    np.save(tmp_path / "other.npy", np.eye(2, 512, dtype=np.float32))

    several = run("search", "--vectors", tmp_path / "two.npy", "-c", catalog, "--json")
    other = run("search", "--vectors", tmp_path / "other.npy", "-c", catalog, "--ndjson")
    both = run("search", archive / "00.jpg", "--vectors", tmp_path / "two.npy", "-c", catalog)

    assert (several.exit_code, other.exit_code, both.exit_code) == (2, 2, 2)
    assert several.stderr.count("\n") == other.stderr.count("\n") == 1
    assert "use --ndjson" in several.stderr
    assert "(n, 128) wanted, got (2, 512)" in other.stderr
    assert "give pictures, or embeddings with --vectors FILE" in both.stderr
