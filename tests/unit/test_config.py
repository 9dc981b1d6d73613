from dataclasses import replace

import pytest

from faceindex.config import Settings
from faceindex.errors import ConfigError


def test_settings_come_back_from_their_toml() -> None:
    settings = replace(
        Settings(),
        roots=('/photos/Zoë\'s "best"\\2024',),
        photo_timeout_s=0.5,
        crops=False,
        index="exact",
        min_face_px=31,
        min_face_share=0.04,
        detect_side_px=2560,
        turned=True,
    )

    assert Settings.from_toml(settings.to_toml(), "catalog.toml") == settings


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("format = 1\nmin_face = 20", "unknown setting 'min_face'"),
        ("format = 2", "has format 2"),
        ("", "has format None"),
        ("format = ", "not valid TOML"),
        ("format = 1\nmirror = 1", "mirror in catalog.toml must be bool, got 1"),
        ('format = 1\nmin_face_px = "20"', "must be int"),
        ("format = 1\nmin_face_px = 3", "min_face_px must be at least 12, got 3"),
        ("format = 1\nmin_face_share = 1", r"min_face_share must be from 0 to below 1, got 1\.0"),
        ("format = 1\nmin_face_share = -0.1", r"min_face_share must be from 0 to below 1, got -0\.1"),
        ("format = 1\nmin_face_share = true", "min_face_share in catalog.toml must be float, got True"),
        ("format = 1\ndetect_side_px = 63", "detect_side_px must be at least 64, got 63"),
        ("format = 1\nturned = 1", "turned in catalog.toml must be bool, got 1"),
        ("format = 1\nphoto_timeout_s = 0", "photo_timeout_s must be positive"),
        ("format = 1\nmin_quality = 2", "min_quality must be from 0 to 1, got 2.0"),
    ],
)
def test_bad_settings_are_one_clear_line(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Settings.from_toml(text, "catalog.toml")


def test_whole_numbers_stand_for_fractions() -> None:
    assert Settings.from_toml("format = 1\nmin_face_share = 0\nphoto_timeout_s = 3", "catalog.toml") == Settings(
        min_face_share=0.0, photo_timeout_s=3.0
    )


def test_a_root_that_is_not_utf_8_can_be_stored() -> None:
    settings = Settings(roots=("/photos/caf\udce9",))

    assert Settings.from_toml(settings.to_toml(), "catalog.toml").roots == ("/photos/caf?",)


def test_the_gate_of_quality_shapes_no_data_file() -> None:
    assert Settings(min_quality=0.9).data_settings() == Settings().data_settings()


@pytest.mark.parametrize("name", ["min_face_px", "min_face_share", "detect_side_px", "turned"])
def test_how_faces_are_looked_for_shapes_data_files(name: str) -> None:
    assert name in Settings().data_settings()
