"""Where downloads and converted networks are kept."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """Return FACEINDEX_CACHE, or faceindex's folder in the user's cache; it need not exist, nor be one that can."""
    from platformdirs import user_cache_path

    if chosen := os.environ.get("FACEINDEX_CACHE"):
        return Path(chosen)
    try:
        return user_cache_path("faceindex")
    except RuntimeError:  # no HOME, and a user whom the system does not know, as in containers: nothing is kept
        return Path(os.devnull) / "faceindex"
