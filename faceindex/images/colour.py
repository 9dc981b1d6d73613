"""From any mode Pillow decodes to, to 8-bit RGB; knows nothing of files."""

import io
from typing import Any

import numpy as np
import PIL.Image
from numpy.typing import NDArray

_WHITE_LEVELS = (255, 1023, 4095, 16383, 65535)
"""Largest values of 8, 10, 12, 14 and 16 bits."""


def to_rgb(picture: PIL.Image.Image) -> PIL.Image.Image:
    """Return a loaded picture as 8-bit RGB.

    Transparent parts are shown on white, the paper most cut-outs are made for. CMYK and Lab are converted by colour
    profile. The profile of an RGB picture is not applied: it would take 0.2 s for 12 megapixels, more than decoding
    a JPEG of that size, to move colours by less than a lamp does.
    """
    if picture.mode in ("I", "F") or picture.mode.startswith("I;16"):
        return PIL.Image.fromarray(_to_8_bit(np.asarray(picture))).convert("RGB")
    if picture.mode in ("CMYK", "LAB"):
        return _by_profile(picture)
    if picture.has_transparency_data:
        layer = picture.convert("RGBA")
        page = PIL.Image.new("RGB", layer.size, "white")
        page.paste(layer, mask=layer)
        return page
    return picture if picture.mode == "RGB" else picture.convert("RGB")


def _to_8_bit(grey: NDArray[Any]) -> NDArray[np.uint8]:
    """Scale deep grey by the lowest usual white level that its brightest pixel does not exceed.

    Files of 16 bits often hold 12 or 14, which would be nearly black if taken as 16. Floats may be 0 to 1.
    """
    values = np.nan_to_num(grey.astype(np.float32), posinf=0, neginf=0)
    brightest = float(values.max())
    levels = (1, *_WHITE_LEVELS) if grey.dtype.kind == "f" else _WHITE_LEVELS
    white = next((level for level in levels if brightest <= level), brightest)
    return np.asarray(np.clip(values * (255 / white) + 0.5, 0, 255), dtype=np.uint8)


def _by_profile(picture: PIL.Image.Image) -> PIL.Image.Image:
    """Convert CMYK by the profile in the file, if there is one that works, and Lab by its definition."""
    from PIL import ImageCms

    embedded = picture.info.get("icc_profile", b"")
    if picture.mode == "CMYK" and not embedded:
        return picture.convert("RGB")
    try:
        source = ImageCms.createProfile("LAB") if picture.mode == "LAB" else io.BytesIO(embedded)
        profile, srgb = ImageCms.ImageCmsProfile(source), ImageCms.createProfile("sRGB")
        converted = ImageCms.profileToProfile(picture, profile, srgb, outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, TypeError, ValueError):
        converted = None
    return converted or picture.convert("RGB")
