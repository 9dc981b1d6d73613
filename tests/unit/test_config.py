from dataclasses import replace

import pytest

from faceindex.config import Settings
from faceindex.errors import ConfigError


def test_settings_come_back_from_their_toml() -> None:
    settings = replace(
        Settings(), roots=('/photos/Zoë\'s "best"\\2024',), photo_timeout_s=0.5, crops=False, index="exact"
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
        ("format = 1\nphoto_timeout_s = 0", "photo_timeout_s must be positive"),
    ],
)
def test_bad_settings_are_one_clear_line(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Settings.from_toml(text, "catalog.toml")


def test_a_root_that_is_not_utf_8_can_be_stored() -> None:
    settings = Settings(roots=("/photos/caf\udce9",))

    assert Settings.from_toml(settings.to_toml(), "catalog.toml").roots == ("/photos/caf?",)
