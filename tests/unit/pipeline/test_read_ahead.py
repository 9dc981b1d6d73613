import threading
import time

import numpy as np
import pytest

from faceindex.clock import Clock
from faceindex.errors import ItemError
from faceindex.pipeline.memory import Memory
from faceindex.pipeline.read_ahead import Lane, Load, Loaded, read_ahead
from faceindex.types import PhotoState

LIMIT_S = 60.0
"""No test waits that long."""

HANGING_S = 0.4
"""Long enough for what does nothing, on a busy machine too."""


def consumed(
    load: Load[str], photo_count: int, memory: Memory, *, limit_s: float = LIMIT_S, clock: Clock | None = None
) -> list[str]:
    """Take photos one by one, releasing the memory of each, and return their outcomes, errors by their text."""
    outcomes = []
    for loaded in read_ahead(load, photo_count, limit_s, memory, clock or Clock()):
        assert loaded is not None, "nothing is held, but room is asked for"
        assert loaded.position == len(outcomes)
        assert not (isinstance(loaded.outcome, ItemError) and loaded.held_bytes), "held for a photo that is not there"
        outcomes.append(str(loaded.outcome))
        memory.release(loaded.held_bytes)
    return outcomes


def test_photos_come_in_order_with_the_memory_held_for_them() -> None:
    memory = Memory(1 << 30)

    def load(position: int, lane: Lane[int]) -> int:
        lane.hold(100)
        lane.hold(position)
        lane.hold(-50)
        return position * position

    loaded = list(read_ahead(load, 20, LIMIT_S, memory, Clock()))

    assert loaded == [Loaded(position, position**2, 50 + position) for position in range(20)]
    assert memory.held_bytes == sum(50 + position for position in range(20))


def test_no_photos_give_nothing() -> None:
    assert consumed(lambda position, lane: "photo", 0, Memory(1000)) == []


def test_photos_are_loaded_in_another_thread_ahead_of_the_caller() -> None:
    loaded, threads = threading.Event(), set()

    def load(position: int, lane: Lane[int]) -> int:
        threads.add(threading.current_thread())
        if position == 3:
            loaded.set()
        return position

    photos = read_ahead(load, 4, LIMIT_S, Memory(1000), Clock())
    next(photos)

    assert loaded.wait(LIMIT_S)
    assert len(list(photos)) == 3
    assert threading.current_thread() not in threads
    assert len(threads) == 1


def test_what_is_wrong_with_a_photo_stands_in_its_place_and_its_memory_is_free() -> None:
    memory = Memory(1000)

    def load(position: int, lane: Lane[str]) -> str:
        lane.hold(100)
        if position in (0, 2, 3):
            raise ItemError(PhotoState.UNREADABLE, f"broken {position}")
        return f"photo {position}"

    outcomes = consumed(load, 5, memory)

    assert outcomes == [
        "unreadable: broken 0",
        "photo 1",
        "unreadable: broken 2",
        "unreadable: broken 3",
        "photo 4",
    ]
    assert memory.held_bytes == 0


def test_a_photo_too_large_for_memory_is_one_that_failed() -> None:
    memory = Memory(1000)

    def load(position: int, lane: Lane[str]) -> str:
        lane.hold(10)
        lane.hold(600 if position == 1 else 60)
        return f"photo {position}"

    outcomes = consumed(load, 3, memory)

    assert (outcomes[0], outcomes[2]) == ("photo 0", "photo 2")
    assert outcomes[1].startswith("too_large: needs")
    assert memory.held_bytes == 0


def test_a_defect_is_raised_to_the_caller_after_the_photos_before_it() -> None:
    def load(position: int, lane: Lane[str]) -> str:
        if position == 2:
            raise KeyError("a defect")
        return f"photo {position}"

    photos = read_ahead(load, 5, LIMIT_S, Memory(1000), Clock())

    assert [next(photos), next(photos)] == [Loaded(0, "photo 0", 0), Loaded(1, "photo 1", 0)]
    with pytest.raises(KeyError, match="a defect"):
        next(photos)


class HangingLoad:
    """Hangs at some photos until it is told to go on, and remembers the threads that loaded each."""

    def __init__(self, *hanging: int) -> None:
        self.hanging = hanging
        self.go_on = threading.Event()
        self.threads: dict[int, threading.Thread] = {}
        self.came_through: list[int] = []

    def __call__(self, position: int, lane: Lane[str]) -> str:
        self.threads[position] = threading.current_thread()
        lane.hold(100)
        with lane.stage("decode"):
            if position in self.hanging:
                self.go_on.wait()
        self.came_through.append(position)
        lane.hold(7)
        return f"photo {position}"

    def end(self) -> None:
        """Let the threads that were given up go on to their end."""
        self.go_on.set()
        for position in self.hanging:
            self.threads[position].join(LIMIT_S)
            assert not self.threads[position].is_alive()


def test_photos_that_hang_are_given_up_and_the_others_go_on() -> None:
    memory, load = Memory(1000), HangingLoad(0, 2, 3)

    outcomes = consumed(load, 5, memory, limit_s=HANGING_S)

    late = "timeout: took longer than 0.4 s to decode"
    assert outcomes == [late, "photo 1", late, late, "photo 4"]
    assert memory.held_bytes == 0
    load.end()


def test_a_thread_that_was_given_up_changes_nothing_any_more() -> None:
    memory, load, clock = Memory(1000), HangingLoad(1), Clock()
    consumed(load, 4, memory, limit_s=HANGING_S, clock=clock)
    before = dict(clock.seconds)

    load.end()

    assert memory.held_bytes == 0
    assert clock.seconds == before
    assert load.came_through == [0, 2, 3]


def test_a_photo_that_hangs_holds_no_memory_that_the_next_one_waits_for() -> None:
    """Together they would be more than may be held."""
    memory = Memory(220)
    load = HangingLoad(0)

    assert consumed(load, 2, memory, limit_s=HANGING_S)[1] == "photo 1"
    load.end()


def test_time_between_the_stages_and_on_other_photos_counts_against_no_photo() -> None:
    def load(position: int, lane: Lane[str]) -> str:
        for name in ("read", "decode"):
            with lane.stage(name):
                time.sleep(0.15)
            time.sleep(0.1)
        return f"photo {position}"

    assert consumed(load, 2, Memory(1000), limit_s=HANGING_S) == ["photo 0", "photo 1"]


def test_room_is_asked_for_with_none_and_waiting_for_it_costs_the_photo_no_time() -> None:
    memory, clock = Memory(1000), Clock()

    def load(position: int, lane: Lane[str]) -> str:
        with lane.stage("decode"):
            lane.hold(400)
        return f"photo {position}"

    outcomes: list[str | None] = []
    for loaded in read_ahead(load, 3, 0.4, memory, clock):
        outcomes.append(None if loaded is None else str(loaded.outcome))
        if loaded is None and memory.held_bytes:
            time.sleep(0.5)
            memory.release(400)

    assert [outcome for outcome in outcomes if outcome] == ["photo 0", "photo 1", "photo 2"]
    assert outcomes[1] is None
    assert clock.seconds["decode"] < 0.4


def test_the_clock_is_given_the_stages_and_how_long_the_caller_waited() -> None:
    clock = Clock()

    def load(position: int, lane: Lane[str]) -> str:
        with lane.stage("read"):
            time.sleep(0.02)
        with lane.stage("decode"):
            time.sleep(0.06)
        return "photo"

    consumed(load, 3, Memory(1000), clock=clock)

    assert set(clock.seconds) == {"read", "decode", "wait"}
    assert clock.seconds["read"] >= 0.06
    assert clock.seconds["decode"] >= 0.18
    assert clock.seconds["wait"] >= 0.2


def test_the_time_of_a_stage_that_failed_is_counted() -> None:
    clock = Clock()

    def load(position: int, lane: Lane[str]) -> str:
        with lane.stage("decode"):
            time.sleep(0.02)
            raise ItemError(PhotoState.TRUNCATED, "cut short")

    consumed(load, 2, Memory(1000), clock=clock)

    assert clock.seconds["decode"] >= 0.04


@pytest.mark.parametrize("seed", range(30))
def test_whatever_the_sizes_every_photo_comes_and_memory_stays_within_its_limits(seed: int) -> None:
    """The caller collects photos, as a batch is recognised in chunks, and releases them when it is asked for room."""
    generator = np.random.default_rng(seed)
    processes = int(generator.integers(1, 4))
    memory = Memory(1000, processes)
    share = 500 // processes
    sizes = generator.integers(0, 500, (40, 3)) // generator.choice([1, 5, 50], (40, 1))
    chunk_bytes, chunk_photos = int(generator.integers(1, 600)), int(generator.integers(1, 10))
    most: list[int] = []

    def load(position: int, lane: Lane[int]) -> int:
        for size, name in zip(sizes[position].tolist(), ("read", "decode", "turn"), strict=True):
            with lane.stage(name):
                lane.hold(size)
                most.append(memory.held_bytes)
        lane.hold(-(lane.held_bytes // 2))
        if position % 7 == 3:
            raise ItemError(PhotoState.UNREADABLE, "broken")
        return position

    positions, held, photos_held = [], 0, 0
    for loaded in read_ahead(load, len(sizes), LIMIT_S, memory, Clock()):
        full = loaded is not None and (photos_held == chunk_photos or held + loaded.held_bytes > chunk_bytes)
        if loaded is None or full:
            memory.release(held)
            held = photos_held = 0
        if loaded is not None:
            positions.append(loaded.position)
            held, photos_held = held + loaded.held_bytes, photos_held + 1
    memory.release(held)

    assert positions == list(range(len(sizes)))
    assert memory.held_bytes == 0
    assert max(most) <= max(share, sizes.sum(axis=1).max())
