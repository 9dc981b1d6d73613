import gc
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from faceindex.errors import FaceIndexError, ItemError
from faceindex.images.read import photo_id
from faceindex.pipeline.decoders import Decoders
from faceindex.pipeline.decoding_process import WINDOW_BYTES, DecodingProcess, ProcessDiedError
from faceindex.types import Image, PhotoRef
from tests.support.archives import ROOT
from tests.support.decoding import by_content, halved, really, ref_of
from tests.support.pictures import encode, scene

SHARED_MEMORY = Path("/dev/shm")


def photos(folder: Path, *contents: str | bytes) -> list[PhotoRef]:
    refs = []
    for number, content in enumerate(contents):
        path = folder / f"{number}.photo"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        refs.append(ref_of(path))
    return refs


@pytest.fixture(scope="module")
def decoders() -> Iterator[Decoders]:
    with Decoders(by_content, processes=2, limit_s=1.5, memory_bytes=1 << 22) as pool:
        yield pool


def test_photos_come_in_order_and_whole(tmp_path: Path, decoders: Decoders) -> None:
    """One of them takes several windows, which end in the middle of a row."""
    sides = [7, 700, 1, 43, 650, 2]
    assert WINDOW_BYTES < 700 * 701 * 3

    found = list(decoders.decode(photos(tmp_path, *map(str, sides))))

    assert [position for position, _, _ in found] == list(range(6))
    for side, (_, identity, image) in zip(sides, found, strict=True):
        assert identity == photo_id(str(side).encode())
        assert isinstance(image, Image)
        expected = by_content(str(side).encode(), image.path)
        np.testing.assert_array_equal(image.pixels, expected.pixels)
        assert (image.format, image.orientation, image.captured_at) == ("PNG", 6, "2020-02-02T02:02:02")
        assert image.camera != f"process {os.getpid()}"
        assert image.whole is None


def test_a_photo_that_kills_hangs_or_cannot_be_read_costs_only_itself(tmp_path: Path, decoders: Decoders) -> None:
    refs = photos(tmp_path, "3", "kill", "4", "hang", "refuse", "gone", "5")
    Path(os.fsdecode(refs[5].path)).unlink()

    found = list(decoders.decode(refs))

    states = [getattr(result, "state", "ok") for _, _, result in found]
    assert states == ["ok", "crashed_decoder", "ok", "timeout", "unsupported", "vanished", "ok"]
    details = [result.detail for _, _, result in found if isinstance(result, ItemError)]
    assert details[0] == "killed 2 processes that decoded it (signal 9, Killed)"
    assert details[1:3] == ["took longer than 1.5 s to decode", "refused"]
    # What could be read has an id.
    assert [identity is not None for _, identity, _ in found] == [True, False, True, True, True, False, True]


def test_a_photo_is_not_blamed_for_one_death(tmp_path: Path, decoders: Decoders) -> None:
    [(_, _, image)] = decoders.decode(photos(tmp_path, f"once {tmp_path / 'flag'}"))

    assert isinstance(image, Image)


def test_a_defect_is_raised_where_the_photo_is_taken(tmp_path: Path, decoders: Decoders) -> None:
    taken = decoders.decode(photos(tmp_path, "3", "fail", "4"))

    next(taken)
    with pytest.raises(RuntimeError, match="KeyError: 'a defect'"):
        next(taken)
    # The processes are there for the next.
    assert len(list(decoders.decode(photos(tmp_path, "3", "4")))) == 2


def test_nothing_is_asked_for_nothing(decoders: Decoders) -> None:
    assert list(decoders.decode([])) == []


def test_the_next_photos_may_be_asked_for_early(tmp_path: Path, decoders: Decoders) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()

    first = decoders.decode(photos(tmp_path / "a", "3", "4"))
    second = decoders.decode(photos(tmp_path / "b", "5", "6", "7"))

    sides = [image.pixels.shape[0] for taken in (first, second) for _, _, image in taken if isinstance(image, Image)]
    assert sides == [3, 4, 5, 6, 7]


def test_what_waits_is_bounded(tmp_path: Path) -> None:
    """With room for one byte each process has at most one photo done that nobody took."""
    refs = photos(tmp_path, *["9"] * 12)
    with Decoders(by_content, processes=2, limit_s=20, memory_bytes=1) as pool:
        taken = pool.decode(refs)
        next(taken)
        [job] = pool._jobs
        for position, _, _ in taken:
            with pool._changed:
                assert job.begun <= position + 1 + 2 + 1
                assert len(job.outcomes) <= 2


def test_an_iterator_that_is_dropped_makes_room_for_the_next(tmp_path: Path) -> None:
    with Decoders(by_content, processes=1, limit_s=20, memory_bytes=1) as pool:
        dropped = pool.decode(photos(tmp_path, *["8"] * 6))
        next(dropped)
        del dropped
        gc.collect()

        assert len(list(pool.decode(photos(tmp_path, "3", "4", "5")))) == 3
        assert pool._waiting_bytes == 0


def test_leaving_does_not_wait_for_a_photo_that_hangs(tmp_path: Path) -> None:
    with Decoders(by_content, processes=1, limit_s=3000, memory_bytes=1 << 20) as pool:
        taken = pool.decode(photos(tmp_path, "3", "hang"))
        next(taken)

    with pytest.raises(FaceIndexError, match="ended before all photos were taken"):
        next(taken)
    assert not any(thread.is_alive() for thread in pool._threads)


def test_a_reduced_photo_can_be_had_in_full(tmp_path: Path) -> None:
    path = tmp_path / "scene.png"
    path.write_bytes(encode(scene(96, 64), "PNG"))
    with Decoders(halved, processes=1, limit_s=20, memory_bytes=1 << 20) as pool:
        [(_, _, image)] = pool.decode([ref_of(path)])

    assert isinstance(image, Image)
    assert image.pixels.shape == (32, 48, 3)
    assert (image.width, image.height) == (96, 64)
    assert image.whole is not None
    np.testing.assert_array_equal(image.whole.decode(1), scene(96, 64))
    path.write_bytes(encode(scene(95, 64), "PNG"))
    with pytest.raises(ItemError, match="changed_while_read"):
        image.whole.decode(1)


def names() -> set[str]:
    return {path.name for path in SHARED_MEMORY.iterdir()}


@pytest.mark.skipif(not SHARED_MEMORY.is_dir(), reason="shared memory cannot be listed here")
def test_shared_memory_has_no_name_once_a_process_is_ready(tmp_path: Path) -> None:
    before = names()
    process = DecodingProcess(really)

    assert names() <= before
    process.kill()
    with pytest.raises(ProcessDiedError):
        process.ask(photos(tmp_path, "3")[0], 20)
    process.close()
    assert names() <= before


KILLED = """
import sys, time
from tests.support.decoding import by_content
from faceindex.pipeline.decoding_process import DecodingProcess
if __name__ == "__main__":
    process = DecodingProcess(by_content)
    print(process._process.pid, flush=True)
    time.sleep(3600)
"""


def test_nothing_is_left_of_a_run_that_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "run.py"
    script.write_text(KILLED)
    before = names() if SHARED_MEMORY.is_dir() else set()
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    run = subprocess.Popen([sys.executable, str(script)], env=environment, stdout=subprocess.PIPE, text=True)
    assert run.stdout is not None
    decoder = int(run.stdout.readline())

    run.send_signal(signal.SIGKILL)
    run.wait()
    run.stdout.close()

    deadline = time.monotonic() + 60
    while Path(f"/proc/{decoder}/cmdline").exists() and Path(f"/proc/{decoder}/cmdline").read_bytes():
        assert time.monotonic() < deadline, "the decoding process lives on"
        time.sleep(0.05)
    assert not SHARED_MEMORY.is_dir() or names() <= before


def test_a_process_that_cannot_start_is_an_error_of_the_run(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    unknown = type("Unknown", (), {"__reduce__": lambda self: (exec, ("raise ValueError('broken')",))})()
    with (
        Decoders(unknown, processes=1, limit_s=20, memory_bytes=1) as pool,
        pytest.raises(FaceIndexError, match=r"did not start: exit code 1"),
    ):
        next(pool.decode(photos(tmp_path, "3")))
    assert "ValueError: broken" in capfd.readouterr().err
