"""Where downloads and converted networks are kept."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """Return FACEINDEX_CACHE, or faceindex's folder in the user's cache; it need not exist."""
    from platformdirs import user_cache_path

    return Path(os.environ.get("FACEINDEX_CACHE") or user_cache_path("faceindex"))
