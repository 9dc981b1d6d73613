"""Finding the photos under a folder or URL: streams `PhotoRef`s, opens no file, and never stops at what it cannot read.

Whether a file is a picture is told by its first bytes when it is read, not here: the crawl yields every regular file
except those that are surely something else, so that a photo with a wrong extension is found all the same.
"""

import os
import posixpath
import stat
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from faceindex.errors import ConfigError
from faceindex.images.remote import Store, protocol_of
from faceindex.types import PhotoRef

NOT_PICTURES = frozenset(
    b"txt md rst rtf log pdf doc docx odt xls xlsx ods csv tsv ppt pptx odp html htm css js py sh "
    b"json jsonl yaml yml toml ini cfg xml xmp aae url lnk db sqlite sqlite3 parquet lrcat lrprev sha256 md5 "
    b"mov mp4 m4v avi mkv webm mpg mpeg mts m2ts 3gp wmv flv vob mp3 m4a aac wav flac ogg opus wma "
    b"zip gz bz2 xz 7z rar".split()
)
"""Extensions that are left out unread: text, side files of photo programs, data, video, sound and archives."""

NOT_PICTURE_NAMES = frozenset(b"license/licence/readme/copying/notice/authors/sha256sums/md5sums/icon\r".split(b"/"))
"""Names without an extension that are left out likewise; macOS stores a folder's icon as `Icon\\r`."""

SYSTEM_FOLDERS = frozenset(
    b"@eaDir/#recycle/#snapshot/@Recycle/@Recently-Snapshot/@__thumb/lost+found/"
    b"$RECYCLE.BIN/RECYCLER/System Volume Information/__MACOSX".lower().split(b"/")
)
"""Folders of thumbnails, deleted files and file systems, in lower case: Synology, QNAP, Linux, Windows, macOS."""

CATALOG_MARK = b"# xxh3 "
"""How the `catalog.toml` of a catalog of ours begins, from its first moment on; a user's own file does not."""


@dataclass(frozen=True, slots=True)
class CrawlProblem:
    """A folder that could not be listed, or not wholly: photos below it are unseen, which does not mean gone."""

    path: bytes
    detail: str


@dataclass(slots=True)
class CrawlReport:
    """What a crawl passed over; filled while it runs."""

    ignored_files: Counter[str] = field(default_factory=Counter)
    """How many files were left out, by reason: hidden, not a picture, symbolic link, not a regular file."""
    ignored_folders: Counter[str] = field(default_factory=Counter)
    """How many folders were not entered, by reason: hidden, system folder, catalog, loop."""
    problems: list[CrawlProblem] = field(default_factory=list)


def crawl(root: str, report: CrawlReport | None = None) -> Iterator[PhotoRef]:
    """Return an iterator over the files under `root` that may be photos, in no particular order.

    Memory grows with the depth of the tree, not with the number of files or folders (in an object store that is not
    S3: with the largest folder). Symbolic links are not followed, except `root` itself; hidden files and folders,
    system folders and catalogs of ours are passed over.

    Args:
        root: a folder, a single file (yielded whatever its name), or an fsspec URL such as `s3://bucket/album`.
        report: filled with what was left out and what could not be listed.

    Raises:
        ConfigError: `root` does not exist, cannot be read, or is neither folder nor file.
    """
    report = CrawlReport() if report is None else report
    try:
        if protocol_of(root) in (None, "file"):
            return _crawl_disk(root, report)
        return _crawl_store(root, report)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ConfigError(f"{root} does not exist; is the disk mounted?") from error
    except OSError as error:
        raise ConfigError(f"{root} cannot be read: {reason(error)}") from error


def reason(error: Exception) -> str:
    """Return what the system or the client of a store says of an error: one line, without the path."""
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno).lower()
    return " ".join(str(error).split()) or type(error).__name__


class _Folder:
    """A folder being listed."""

    def __init__(self, path: bytes, found: os.stat_result, report: CrawlReport) -> None:
        self.path = path
        self.identity = (found.st_dev, found.st_ino)
        self._listing = os.scandir(path)
        self._failed = False
        self.entries = self._to_the_end(report)
        """What comes next in the folder; an error in the midst is its end."""

    def _to_the_end(self, report: CrawlReport) -> Iterator[os.DirEntry[bytes]]:
        try:
            yield from self._listing
        except OSError as error:
            self.problem(error, report)

    def problem(self, error: OSError, report: CrawlReport) -> None:
        """Report an error once, however many entries have it (in a folder that may be listed but not searched)."""
        if not self._failed:
            report.problems.append(CrawlProblem(self.path, reason(error)))
        self._failed = True

    def close(self) -> None:
        self._listing.close()


def _crawl_disk(root: str, report: CrawlReport) -> Iterator[PhotoRef]:
    path = os.fsencode(os.path.abspath(root.removeprefix("file://")))  # noqa: PTH100 - a Path cannot hold every name
    found = os.stat(path)  # noqa: PTH116
    if stat.S_ISREG(found.st_mode):
        return iter([PhotoRef(path, found.st_size, found.st_mtime_ns)])
    if not stat.S_ISDIR(found.st_mode):
        raise ConfigError(f"{root} is neither a folder nor a regular file")
    if _is_catalog(path):
        report.ignored_folders["catalog"] += 1
        return iter(())
    os.scandir(path).close()  # a folder that cannot be listed is told now, also to a caller who never begins
    return _walk(path, found, report)


def _walk(top: bytes, found: os.stat_result, report: CrawlReport) -> Iterator[PhotoRef]:
    """Yield depth first; the stack holds one open listing a level, which is all the memory there is."""
    stack = [_Folder(top, found, report)]
    try:
        while stack:
            for entry in stack[-1].entries:
                found_here = _examine(entry, stack, report)
                if isinstance(found_here, PhotoRef):
                    yield found_here
                elif found_here:
                    stack.append(found_here)
                    break
            else:
                stack.pop().close()
    finally:
        for folder in stack:
            folder.close()


def _examine(entry: os.DirEntry[bytes], stack: Sequence[_Folder], report: CrawlReport) -> PhotoRef | _Folder | None:
    """Return the ref of a file that may be a photo, or a folder that may hold some, opened."""
    try:
        if entry.is_file(follow_symlinks=False):
            if not _may_be_named(entry.name, report):
                return None
            found = entry.stat(follow_symlinks=False)
            return PhotoRef(entry.path, found.st_size, found.st_mtime_ns)
        if entry.is_dir(follow_symlinks=False):
            return _enter(entry, stack, report) if _may_enter(entry.name, report) else None
        report.ignored_files["symbolic link" if entry.is_symlink() else "not a regular file"] += 1
    except FileNotFoundError:
        pass  # deleted since it was listed
    except OSError as error:
        stack[-1].problem(error, report)
    return None


def _enter(entry: os.DirEntry[bytes], stack: Sequence[_Folder], report: CrawlReport) -> _Folder | None:
    if _is_catalog(entry.path):
        report.ignored_folders["catalog"] += 1
        return None
    try:
        child = _Folder(entry.path, entry.stat(follow_symlinks=False), report)
    except OSError as error:
        report.problems.append(CrawlProblem(entry.path, reason(error)))
        return None
    # Without links only a folder mounted inside itself can go round, and then it stands above itself.
    if any(child.identity == above.identity for above in stack):
        child.close()
        report.ignored_folders["loop"] += 1
        return None
    return child


def _may_enter(name: bytes, report: CrawlReport) -> bool:
    if name.startswith(b"."):
        report.ignored_folders["hidden"] += 1
    elif name.lower() in SYSTEM_FOLDERS:
        report.ignored_folders["system folder"] += 1
    else:
        return True
    return False


def _may_be_named(name: bytes, report: CrawlReport) -> bool:
    lower = name.lower()
    _, dot, extension = lower.rpartition(b".")
    if name.startswith(b"."):
        report.ignored_files["hidden"] += 1
    elif (dot and extension in NOT_PICTURES) or lower in NOT_PICTURE_NAMES:
        report.ignored_files["not a picture"] += 1
    else:
        return True
    return False


def _is_catalog(path: bytes) -> bool:
    try:
        with open(path + b"/catalog.toml", "rb") as settings:  # noqa: PTH123 - a Path cannot hold every name
            return settings.read(len(CATALOG_MARK)) == CATALOG_MARK
    except OSError:
        return False


def _crawl_store(url: str, report: CrawlReport) -> Iterator[PhotoRef]:
    store = Store(url)
    try:
        found = store.info(store.root)
    except OSError:
        raise
    except Exception as error:  # clients of object stores raise errors of their own, such as for missing credentials
        raise ConfigError(f"{url} cannot be read: {reason(error)}") from error
    if found["type"] == "file":
        return iter([store.ref(found)])
    return _walk_objects(store, report) if store.is_flat else _walk_store(store, report)


def _walk_store(store: Store, report: CrawlReport) -> Iterator[PhotoRef]:
    pending = [store.root]
    while pending:
        folder = pending.pop()
        try:
            listing = store.entries(folder)
        except Exception as error:  # noqa: BLE001 - see above
            report.problems.append(CrawlProblem(store.url(folder), reason(error)))
            continue
        settings = [info["name"] for info in listing if posixpath.basename(info["name"]) == "catalog.toml"]
        if settings and store.read(settings[0], len(CATALOG_MARK)) == CATALOG_MARK:
            report.ignored_folders["catalog"] += 1
            continue
        for info in listing:
            name = posixpath.basename(info["name"].rstrip("/")).encode("utf-8", "surrogateescape")
            if info.get("islink"):
                report.ignored_files["symbolic link"] += 1
            elif info["type"] == "directory":
                if _may_enter(name, report):
                    pending.append(info["name"])
            elif info["type"] != "file":
                report.ignored_files["not a regular file"] += 1
            elif _may_be_named(name, report):
                yield store.ref(info)


def _walk_objects(store: Store, report: CrawlReport) -> Iterator[PhotoRef]:
    """Yield what `_walk_store` does, from one listing of all objects; those of a folder follow each other in it."""
    entered, passed_over = store.root, "/"
    try:
        for info in store.objects():
            folder, _, name = info["name"].rpartition("/")
            if info["name"].startswith(passed_over):
                continue
            if folder != entered:
                if closed := _closed_above(folder, store.root, report):
                    passed_over = f"{closed}/"
                    continue
                entered = folder
            # In a catalog the one file before its settings is CURRENT.
            if name in ("catalog.toml", "CURRENT") and _is_stored_catalog(store, folder):
                report.ignored_folders["catalog"] += 1
                passed_over = f"{folder}/"
            elif name and _may_be_named(name.encode("utf-8", "surrogateescape"), report):
                yield store.ref(info)
    except Exception as error:  # noqa: BLE001 - see above
        report.problems.append(CrawlProblem(store.url(store.root), reason(error)))


def _closed_above(folder: str, root: str, report: CrawlReport) -> str | None:
    """Return the topmost folder on the way from the root that is not entered; None where all are."""
    path = root
    for name in folder.removeprefix(root).strip("/").split("/"):
        path = f"{path}/{name}"
        if name and not _may_enter(name.encode("utf-8", "surrogateescape"), report):
            return path
    return None


def _is_stored_catalog(store: Store, folder: str) -> bool:
    try:
        return store.read(f"{folder}/catalog.toml", len(CATALOG_MARK)) == CATALOG_MARK
    except OSError:
        return False
