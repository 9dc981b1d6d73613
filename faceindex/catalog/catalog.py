"""A catalog: where its files are, how it is made, and which generation is served."""

import shlex
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from faceindex.catalog import generations, layout
from faceindex.catalog.checksums import TOML_SEAL, seal, unseal
from faceindex.catalog.files import Files, open_files
from faceindex.catalog.generations import Generation
from faceindex.catalog.lock import writer_lock
from faceindex.config import Settings
from faceindex.errors import CatalogError


@dataclass(frozen=True, slots=True)
class Catalog:
    """One folder or object-store prefix that holds everything derived from the photos.

    Example:
        >>> catalog = Catalog.create("memory://example", Settings())
        >>> catalog.current() is None
        True
        >>> Catalog.open("memory://example").settings == catalog.settings
        True
    """

    files: Files
    settings: Settings

    @property
    def root(self) -> str:
        """Where the catalog is, as messages show it."""
        return self.files.root

    @classmethod
    def open(cls, root: str) -> "Catalog":
        """Open the catalog at a path or URL.

        Raises:
            CatalogError: there is none, or it cannot be read.
            DamagedError: its settings were damaged.
        """
        files = open_files(root)
        return cls(files, read_settings(files))

    @classmethod
    def create(cls, root: str, settings: Settings) -> "Catalog":
        """Make an empty catalog at a path or URL, private to its owner.

        Raises:
            CatalogError: there is one, the folder holds something else, or it cannot be written.
            LockedError: another process is making it.
        """
        files = open_files(root)
        files.make_root()
        with writer_lock(files, "create", settings.lock_lease_s):
            if files.exists(layout.SETTINGS):
                raise CatalogError(f"there is a catalog at {files.root} already; open it or choose another with -c")
            for path in files.paths():
                if path != layout.LOCK and not layout.is_temporary(path):
                    raise CatalogError(f"{files.root} holds other files ({path}); choose a new folder with -c")
            return cls(files, settings).with_settings(settings)

    def with_settings(self, settings: Settings) -> "Catalog":
        """Return the catalog with other settings, once they are stored. For the holder of the writer lock."""
        self.files.write(layout.SETTINGS, seal(TOML_SEAL, settings.to_toml().encode()))
        return replace(self, settings=settings)

    def current(self) -> Generation | None:
        """Return the served generation; None when nothing was published yet.

        Raises:
            DamagedError: which generation is served cannot be told, or its manifest is damaged.
        """
        return generations.current(self.files)

    @contextmanager
    def lock(self, command: str) -> Generator[None]:
        """Hold the writer lock; raises `LockedError` when another process does."""
        with writer_lock(self.files, command, self.settings.lock_lease_s):
            yield


def read_settings(files: Files) -> Settings:
    """Return the settings in a catalog's `catalog.toml`.

    Raises:
        CatalogError: there is no catalog here.
        DamagedError: the file differs from what was written.
        ConfigError: it was made by another version of faceindex.
    """
    if not files.exists(layout.SETTINGS):
        raise CatalogError(
            f"no catalog at {files.root}; make one with: faceindex index PHOTOS -c {shlex.quote(files.root)}"
        )
    source = f"{files.root}/{layout.SETTINGS}"
    return Settings.from_toml(unseal(TOML_SEAL, files.read(layout.SETTINGS), source).decode(), source)
